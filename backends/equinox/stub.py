"""How the types of this framework are written in the generated stub."""

IMPORTS = ("import equinox", "import jax")
ARRAY = "jax.Array"
LAYER = "equinox.Module"
