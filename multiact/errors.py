"""The errors that multiact raises, each also an instance of the built-in error a caller would expect."""

from __future__ import annotations


class MultiactError(Exception):
    """Base class of all errors raised by multiact."""

    # Made from a message and nothing else, which tracers that raise an error again with more context rely on.
    __init__ = Exception.__init__


class UnknownActivationError(MultiactError, AttributeError, KeyError):
    """No activation of that name is registered."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class ParameterError(MultiactError, ValueError, TypeError):
    """A parameter is unknown, missing, out of its allowed range, or of a shape that does not fit the input."""


class InputError(MultiactError, TypeError):
    """The input is not an array of a real floating-point dtype."""


class ShapeError(MultiactError, ValueError):
    """The shape of the input does not fit the activation, for example an odd axis that has to be halved."""


class DefinitionError(MultiactError, ValueError):
    """A declaration of an activation is incomplete or contradicts itself or another one."""


class MissingDerivativeError(MultiactError, NotImplementedError):
    """A gradient was asked for that the declaration does not give."""


class BackendNotAvailableError(MultiactError, ImportError):
    """The backend does not exist, or its framework is not installed."""
