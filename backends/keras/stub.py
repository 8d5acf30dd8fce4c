"""How the types of this framework are written in the generated stub."""

IMPORTS = ("import keras",)
ARRAY = "Any"  # a tensor of whichever framework Keras runs on, or a KerasTensor
LAYER = "keras.Layer"
