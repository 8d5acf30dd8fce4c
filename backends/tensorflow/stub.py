"""How the types of this framework are written in the generated stub."""

IMPORTS = ("import tensorflow",)
ARRAY = "tensorflow.Tensor"
LAYER = None
