"""The commands ``multiact translate`` and ``multiact audit``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from . import natives
from .errors import ParameterError
from .translation import Audit, Equivalent, Translation, audit, translate


def translate_command(
    framework: Annotated[
        str, typer.Argument(help="torch, jax, keras, tensorflow, flax, equinox, mlx, tf_keras, onnx, transformers.")
    ],
    name: Annotated[str | None, typer.Argument(help="Its name there; without one, all are listed.")] = None,
    to: Annotated[str | None, typer.Option(help="A framework. Default: all.")] = None,
    argument: Annotated[
        list[str] | None, typer.Option("--with", help="An argument of it, as NAME=VALUE; may be repeated.")
    ] = None,
) -> None:
    """What a framework's own activation is in another, or in all others, and what differs."""
    console = Console(markup=False, highlight=False)
    if name is None:
        console.print(_list(framework))
        return
    given = dict(map(_argument, argument or ()))
    source = translate(framework, name, **given)
    assert isinstance(source, Translation)
    console.print(str(source))
    targets = [to] if to else [f for f in natives.frameworks() if f not in (framework, "numpy")]
    found = [source.to(target) for target in targets]
    console.print(_table(found))
    for equivalent in found:
        for line in equivalent.differs:
            if not line.startswith(f"{source.spelling}: ") and not line.startswith(_stem(source)):
                console.print(f"{equivalent.framework}: {line}", soft_wrap=True)


def _stem(source: Translation) -> str:
    """What lines about the source begin with; they were printed with it."""
    return f"{source.entry.spelling}: " if source.entry is not None else "\n"


def _argument(text: str) -> tuple[str, Any]:
    import ast

    name, sign, value = text.partition("=")
    if not sign:
        raise ParameterError(f"--with takes NAME=VALUE. Received: {text!r}.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _list(framework: str) -> Table:
    table = Table("native", "multiact", "settings there", title=f"activations of {framework}")
    spellings = dict.fromkeys(e.spelling for e in natives.table(framework))
    for spelling in spellings:
        entries = [e for e in natives.table(framework) if e.spelling == spelling]
        for entry in entries:
            shown = [
                f"{a.sets}: {n}" + ("" if a.default is natives.REQUIRED else f"={a.default!r}")
                if a.sets
                else f"{n}={a.value!r}"
                for n, a in entry.arguments.items()
                if a.sets or a.bound
            ]
            shown += [f"{n} is {v!r}" for n, v in entry.fixed.items()]
            shown += [f"is {entry.definition}"] if entry.definition else []
            table.add_row(spelling if entry is entries[0] else "", entry.activation, ", ".join(shown))
    return table


def _table(found: list[Equivalent]) -> Table:
    table = Table("framework", *(Column(c, overflow="fold") for c in ("the same there", "otherwise")))
    for e in found:
        far = f"{e.nearest}: {e.difference}" if e.nearest else ""
        ours = f"exact: {e.ours}" if e.ours and not e.exact else ""
        table.add_row(e.framework, e.spelling or "none", "\n".join(filter(None, (far, ours))))
    return table


def audit_command(
    model: Annotated[
        str, typer.Argument(help="MODULE:ATTRIBUTE, or FILE.py:ATTRIBUTE: a model, its class or a factory.")
    ],
    to: Annotated[str, typer.Option(help="A framework.")],
) -> None:
    """Every activation in a PyTorch or Keras model, what it becomes in another framework, and the traps."""
    console = Console(markup=False, highlight=False)
    natives.room(to)
    report = audit(load(model), to=to)
    console.print(_report(report))
    for text in report.unseen:
        console.print(f"not seen: {text}", soft_wrap=True)
    console.print(f"{len(report)} activations, {sum(f.equivalent is None or not f.equivalent.exact for f in report)} "
                  f"without an exact equivalent in {to}")  # fmt: skip


def _report(report: Audit) -> Table:
    table = Table("where", "what", f"in {report.to}", "watch", show_lines=True)
    for f in report:
        if f.equivalent is None:
            becomes = "unknown"
        else:
            becomes = f.equivalent.spelling or (f"none; {f.equivalent.ours}" if f.equivalent.ours else "none")
        table.add_row(f.path, f.spelling, becomes, "\n".join(filter(None, (*f.traps, f.problem))))
    return table


def load(place: str) -> Any:
    """The model at MODULE:ATTRIBUTE: an instance as it is, a class or factory called without arguments.

    Raises
    ------
    ParameterError : it cannot be found or made.
    """
    module, sign, attribute = place.rpartition(":")
    if not sign or not module or not attribute:
        raise ParameterError(f"expected MODULE:ATTRIBUTE or FILE.py:ATTRIBUTE. Received: {place!r}.")
    try:
        if module.endswith(".py"):
            path = Path(module)
            specification = importlib.util.spec_from_file_location(path.stem, path)
            assert specification is not None and specification.loader is not None
            loaded = importlib.util.module_from_spec(specification)
            sys.modules.setdefault(path.stem, loaded)
            specification.loader.exec_module(loaded)
        else:
            sys.path.insert(0, "")
            loaded = importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise ParameterError(f"cannot load {module}: {error}.") from None
    found: Any = loaded
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ParameterError(f"{module} has no {attribute}.")
        found = getattr(found, part)
    if isinstance(found, type) or not any(hasattr(found, a) for a in ("named_modules", "_flatten_layers")):
        if not callable(found):
            raise ParameterError(f"{place} is {type(found).__name__}, not a model, a class or a factory.")
        try:
            found = found()
        except TypeError as error:
            raise ParameterError(f"{place} cannot be called without arguments: {error}.") from error
    return found
