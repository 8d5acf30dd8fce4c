"""One page on which all activations can be explored: the command ``multiact explore``."""
