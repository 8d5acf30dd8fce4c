"""The functions of NumPy that are activations by name of ours."""

from __future__ import annotations

from multiact.natives import Entry

PACKAGE = "numpy"
BACKEND = "numpy"
IGNORED = ("out", "where", "dtype")

NATIVES = (
    Entry("numpy.tanh", "tanh"),
    Entry("numpy.exp", "exponential"),
    Entry("numpy.abs", "abs"),
    Entry("numpy.sin", "sine"),
    Entry("numpy.cos", "cosine"),
    Entry("numpy.arctan", "arctan"),
    Entry("numpy.arcsinh", "asinh"),
)
