"""How the types of this framework are written in the generated stub."""

IMPORTS = ("import jax", "from flax import nnx")
ARRAY = "jax.Array"
LAYER = "nnx.Module"
