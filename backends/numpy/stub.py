"""How the types of this framework are written in the generated stub."""

IMPORTS: tuple[str, ...] = ()
ARRAY = "_Array"  # any array of any array API library, returned as it came
LAYER = None
