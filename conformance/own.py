"""Activations of one's own: running the Python file that defines them, in whatever process they are tested."""

from __future__ import annotations

import dataclasses
import sys
import traceback
import types
from collections.abc import Iterable
from pathlib import Path

from multiact import registry
from multiact.declaration import Activation, Elementwise
from multiact.errors import MultiactError

from . import oracle
from .ball_namespace import Formula


class FileError(MultiactError):
    """A file of activations cannot be used: it is missing, cannot be run, or defines none."""


@dataclasses.dataclass(frozen=True)
class Own:
    """An activation and the line of the file that declares it."""

    activation: Activation
    line: int
    definition: str


#: The name that the file has as a module; not "__main__", so that what it does as a script is left out.
MODULE = "multiact_own"


def load(path: str, folder: str) -> list[Own]:
    """Run a file and return the activations it declares.

    One without a definition is given a name for its own formula in high precision, which the oracle evaluates in its place.

    Parameters
    ----------
    path : the Python file.
    folder : where results that depend on formulas of the file are kept instead of the cache.

    Raises
    ------
    FileError : there is no such file, it raises an error when run, or it declares no activation.
    """
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise FileError(
            f"cannot read {path}: {error.strerror}. Give a Python file that calls multiact.define."
        ) from None
    declared: list[tuple[Activation, int]] = []

    def listen(activation: Activation) -> None:
        declared.append((activation, _line_below(path)))

    registry.names()  # the catalogue, which would be taken for the file's otherwise
    registry.listeners.append(listen)
    try:
        _run(source, path)
        # What the file itself takes back is not meant to be checked.
        kept = [(a, line) for a, line in declared if _registered(a)]
        if not kept:
            raise FileError(
                f"{path} declares no activation. It has to call multiact.define(name, value, derivatives) when it is run "
                f"(not below if __name__ == '__main__')."
            )
    except FileError:
        for activation, _ in declared:
            if _registered(activation):
                registry.unregister(activation.name)
        raise
    finally:
        registry.listeners.remove(listen)
    return [_judged(a, line, folder) for a, line in kept]


def _run(source: bytes, path: str) -> None:
    module = types.ModuleType(MODULE)
    module.__file__ = path
    sys.modules[MODULE] = module
    folder = str(Path(path).resolve().parent)
    sys.path.insert(0, folder)
    try:
        exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - what the command is for
    except SyntaxError as error:
        raise FileError(f"{error.filename}:{error.lineno}: {error.msg}. Correct the syntax.") from None
    except (Exception, SystemExit) as error:
        frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        place = f"{path}:{frames[-1]}" if frames else path
        what = str(error) if isinstance(error, MultiactError) else f"{type(error).__name__}: {error}"
        raise FileError(f"{place}: {what.rstrip('.')}. The file has to run from the top without an error.") from error
    finally:
        sys.path.remove(folder)


def _registered(activation: Activation) -> bool:
    return activation.name in registry.names() and registry.get(activation.name) is activation


def forget(found: Iterable[Own]) -> None:
    """Take the activations of a file back."""
    for own in found:
        registry.unregister(own.activation.name)
        oracle.formulas.pop(own.activation.definition, None)


def _line_below(filename: str) -> int:
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != filename:  # type: ignore[redundant-expr]
        frame = frame.f_back  # type: ignore[assignment]
    return frame.f_lineno if frame is not None else 0


def _judged(activation: Activation, line: int, folder: str) -> Own:
    text = activation.definition
    if text or not isinstance(activation.function, Elementwise) or activation.kind != "pointwise":
        return Own(activation, line, text)
    name = f"the formula of {activation.name}"
    oracle.formulas[name] = (Formula(activation.function), Path(folder))
    registry.unregister(activation.name)
    return Own(registry.register(dataclasses.replace(activation, definition=name)), line, "")
