"""How the types of this framework are written in the generated stub."""

IMPORTS = ("import torch",)
ARRAY = "torch.Tensor"
LAYER = "torch.nn.Module"
