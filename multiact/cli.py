"""The command `multiact`. Commands that live in other rooms are loaded when they are called, by name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import __version__, registry
from .declaration import Activation
from .errors import MultiactError
from .functions import signature

#: Commands outside the core: name -> ("module:function", what the overview says about it).
ELSEWHERE = {
    "conformance": (
        "multiact.conformance.command:conformance",
        "Compare every activation on every backend with a rigorous reference.",
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the process exits with 0, with 1 on an error, with 2 when an argument makes no sense."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app = _app(arguments)
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "multiact":
            raise
        sys.exit(
            f"the command line needs {missing}, which is not installed. "
            f"Install it with: pip install 'multiact[conformance]'"
        )
    try:
        app(args=arguments, prog_name="multiact")
    except MultiactError as error:
        sys.exit(f"multiact: {error}")


def _app(arguments: Sequence[str]) -> Callable[..., Any]:
    import rich  # noqa: F401  missing rich is noticed here
    import typer

    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Activation functions, each defined once, the same in PyTorch, JAX, TensorFlow, Keras and NumPy.",
    )

    @app.callback(invoke_without_command=True)
    def overview(version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
        if version:
            typer.echo(f"multiact {__version__}")
            raise typer.Exit

    @app.command("list", help="List the activations.")
    def list_(family: str = typer.Option(None, help="Only this family.")) -> None:
        _list(family)

    @app.command(help="Show what is known about an activation.")
    def show(name: str = typer.Argument(help="Its name or an alias.")) -> None:
        _show(registry.get(name))

    called = next((a for a in arguments if not a.startswith("-")), None)
    for name, (place, text) in ELSEWHERE.items():
        app.command(name, help=text)(_load(place) if name == called else _not_loaded)
    return app


def _load(place: str) -> Callable[..., Any]:
    module, _, function = place.partition(":")
    return getattr(importlib.import_module(module), function)


def _not_loaded() -> None:
    """Stands for a command of another room in the overview."""


def _list(family: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "aliases", "parameters", "kind", "family")
    for name in registry.names(family):
        a = registry.get(name)
        table.add_row(name, ", ".join(a.aliases), str(signature(a))[1:-1].partition("*, ")[2], a.kind, a.family)
    Console(markup=False).print(table)


def _show(activation: Activation) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=activation.name, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in facts(activation).items():
        table.add_row(key, value)
    Console(markup=False).print(table)


def facts(activation: Activation) -> dict[str, str]:
    """What is known about an activation, as text, without what is not."""
    a = activation
    rows = {
        "call": f"multiact.{a.name}{signature(a)}",
        "class": a.class_name,
        "also called": ", ".join(a.aliases),
        "kind": f"{a.kind}, family {a.family}",
        "formula": a.formula,
        "definition": a.definition,
    }
    for p in a.parameters:
        default = "required" if p.default is None else f"default {p.default:g}"
        learned = ", learned unless asked otherwise" if p.learned else ""
        rows[f"parameter {p.name}"] = f"{default}, in {p.allowed}{learned}. {p.description}".rstrip(". ")
    for o in a.options:
        choices = f", one of {', '.join(map(str, o.choices))}" if o.choices else ""
        rows[f"option {o.name}"] = f"default {o.default!r}{choices}. {o.description}".rstrip(". ")
    rows |= {
        "range": "" if a.range is None else f"{a.range[0]:g} to {a.range[1]:g}",
        "limits": "" if a.limits is None else " and ".join("none" if v is None else f"{v:g}" for v in a.limits),
        "monotonic": "" if a.monotonic is None else "yes" if a.monotonic else "no",
        "smoothness": a.smoothness,
        "kinks": ", ".join(a.kinks),
        "Lipschitz constant": "" if a.lipschitz is None else f"{a.lipschitz:.6g}",
        "notes": a.notes,
        "reference": a.reference,
        "budget": a.budget.reason
        and f"E up to {a.budget.value:g}, {a.budget.first:g}, {a.budget.second:g} "
        f"(value, first, second derivative): {a.budget.reason}",
    }
    return {key: value for key, value in rows.items() if value}


if __name__ == "__main__":
    main()
