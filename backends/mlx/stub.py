"""How the types of this framework are written in the generated stub."""

IMPORTS = ("import mlx.core as mx", "import mlx.nn as nn")
ARRAY = "mx.array"
LAYER = "nn.Module"
