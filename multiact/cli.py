"""The command `multiact`. Commands that live in other rooms are loaded when they are called, by name."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import __version__, registry
from .declaration import Activation
from .errors import MultiactError, ParameterError
from .facts import SATURATED, Facts
from .functions import signature

#: Commands outside the core: name -> ("module:function", what the overview says about it).
ELSEWHERE = {
    "conformance": (
        "multiact.conformance.command:conformance",
        "Compare every activation on every backend with a rigorous reference.",
    ),
    "accuracy": ("multiact.conformance.accuracy:accuracy", "Publish the figures of conformance reports, or check one."),
    "capabilities": (
        "multiact.conformance.matrix:command",
        "Publish which activations survive what: transforms, export, sharding, saving.",
    ),
    "check": (
        "multiact.conformance.check:check",
        "Check activations of your own, declared in a Python file, before they are trusted.",
    ),
    "explore": (
        "multiact.explorer.command:explore",
        "Write one page: curves with sliders, facts, translations, accuracy, cost, the advisor.",
    ),
    "bench": (
        "multiact.benchmarks.command:bench",
        "Time every activation on every backend, beside the framework's own and a copy.",
    ),
    "bench-page": (
        "multiact.benchmarks.command:bench_page",
        "Publish reports of the benchmark as a page with drawings.",
    ),
    "experiment": (
        "multiact.benchmarks.experiments.command:experiment",
        "Train networks with each activation on real data: accuracy, gradients, dead units, cost.",
    ),
    "claims": (
        "multiact.benchmarks.experiments.command:claims",
        "Publish what tutorials claim of activations beside what the experiments measured.",
    ),
    "translate": (
        "multiact.translation_command:translate_command",
        "Say what a framework's own activation is in another framework, and what differs.",
    ),
    "audit": (
        "multiact.translation_command:audit_command",
        "List the activations of a PyTorch or Keras model, and what they become in another framework.",
    ),
    "onnx": ("multiact.backends.ndonnx.command:onnx", "Write an activation as an ONNX model."),
    "advise": (
        "multiact.advisor_command:advise_command",
        "Say which activation, initialisation, output layer and loss to use, and why.",
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

    settings = typer.Option([], "--parameter", "-p", help="A parameter, such as beta=2; may be repeated.")
    several = typer.Argument(help="Their names or aliases.")
    file = typer.Option(None, "--output", "-o", help="A .png, .svg or .pdf to write. Default: a window.")

    @app.command(help="Show what is known about an activation: facts, derivatives, measured errors.")
    def show(
        name: str = typer.Argument(help="Its name or an alias."),
        parameter: list[str] = settings,
    ) -> None:
        _show(registry.get(name), parse_settings(parameter))

    @app.command(help="Draw activations with their first and second derivative.")
    def plot(
        names: list[str] = several,
        parameter: list[str] = settings,
        output: Path = file,
        low: float = typer.Option(-5.0, "--from", help="Where the x axis begins."),
        high: float = typer.Option(5.0, "--to", help="Where it ends."),
    ) -> None:
        _plot(names, parse_settings(parameter), output, low, high)

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


def parse_settings(given: Sequence[str]) -> dict[str, Any]:
    """``["beta=2", "approximate=tanh"]`` as a dictionary, with numbers where they are."""
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ParameterError(f"a parameter is given as NAME=VALUE, for example beta=2. Received: {text!r}.")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = value
    return found


def _plot(names: list[str], parameters: dict[str, Any], output: Path | None, low: float, high: float) -> None:
    from . import plot

    drawn = plot.figure(names, parameters, low, high, window=output is None)
    if output is None:
        plot.show(drawn)
        return
    try:
        plot.save(drawn, output)
    except OSError as error:
        raise MultiactError(f"{output} cannot be written: {error.strerror or error}.") from error


def _show(activation: Activation, parameters: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from . import measured

    console = Console(markup=False)
    table = Table(title=activation.name, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in describe(activation, **parameters).items():
        table.add_row(key, value)
    console.print(table)
    rows = measured.rows(activation.name)
    for title, native in (
        ("measured error E per backend and dtype", False),
        ("how each framework's own version differs", True),
    ):
        head, lines = comparison([r for r in rows if bool(r["native"]) == native], native)
        if lines:
            table = Table(*head, title=title)
            for line in lines:
                table.add_row(*line)
            console.print(table)
        else:
            console.print(f"{title}: not measured; run multiact conformance{' --native' if native else ''}")


ORDERS = {0: "value", 1: "first derivative", 2: "second derivative"}


def comparison(rows: Sequence[Mapping[str, Any]], native: bool) -> tuple[list[str], list[list[str]]]:
    """Measured rows as a table: a line for each implementation and dtype, a column for each order of the derivative.

    With `native` also what it gives where it is worst, at the lowest order at which it misses the budget.
    """
    orders = sorted({r["order"] for r in rows}, key=lambda order: (isinstance(order, str), str(order)))
    groups: dict[tuple[str, str, str], dict[Any, Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["backend"], row["title"], row["dtype"]), {})[row["order"]] = row
    head = ["backend", *(["function"] if native else []), "dtype", *(ORDERS.get(o, f"in {o}") for o in orders)]
    head += ["where it is worst"] if native else []
    lines = []
    for (backend, title, dtype), found in sorted(groups.items()):
        line = [backend, *([title] if native else []), dtype]
        line += [_number(found[o]["worst_error"]) if o in found else "" for o in orders]
        if native:
            faulty = next((o for o in orders if o in found and found[o]["faults"]), None)
            line.append("" if faulty is None else _fault(ORDERS.get(faulty, f"in {faulty}"), found[faulty]["faults"]))
        lines.append(line)
    return head, lines


def _fault(order: str, faults: Sequence[Mapping[str, Any]]) -> str:
    worst = max(faults, key=lambda f: float(f["error"]) if f["error"] is not None else math.inf)
    at, got, wanted = (_number(worst[key]) for key in ("at", "got", "wanted"))
    return f"{order} at {at}: {got}, should be {wanted}"


def _number(value: Any) -> str:
    """A number of a report, which writes infinities as text."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_number, value)) + "]"
    return "" if value is None else f"{float(value):.3g}"


def describe(activation: Activation, **parameters: Any) -> dict[str, str]:
    """What is known about an activation with these parameters, as text, without what is not."""
    from .symbolic import derivatives

    a = activation
    missing = [p.name for p in a.parameters if p.default is None and p.name not in parameters]
    known = None if missing else a.facts(**parameters)
    if known is not None and known.activation != a.name:
        a = registry.get(known.activation)  # an option chose it
    rows = {
        "call": f"multiact.{a.name}{signature(a)}",
        "class": a.class_name,
        "also called": ", ".join(a.aliases),
        "kind": f"{a.kind}, family {a.family}",
        "formula": a.formula,
        "definition": a.definition,
    }
    rows |= dict(zip(("first derivative", "second derivative"), derivatives(a)))
    for p in a.parameters:
        default = ("drawn" if p.random else "required") if p.default is None else f"default {p.default:g}"
        learned = ", learned unless asked otherwise" if p.learned else ""
        rows[f"parameter {p.name}"] = f"{default}, in {p.allowed}{learned}. {p.description}".rstrip(". ")
    for o in a.options:
        choices = f", one of {', '.join(map(str, o.choices))}" if o.choices else ""
        rows[f"option {o.name}"] = f"default {o.default!r}{choices}. {o.description}".rstrip(". ")
    if known is None:
        rows["facts"] = f"depend on {' and '.join(missing)}: show {a.name} {' '.join(f'-p {m}=...' for m in missing)}"
    else:
        rows |= _facts(known)
    rows |= {
        "notes": a.notes,
        "reference": a.reference,
        "budget": a.budget.reason
        and f"E up to {a.budget.value:g}, {a.budget.first:g}, {a.budget.second:g} "
        f"(value, first, second derivative): {a.budget.reason}",
    }
    return {key: value for key, value in rows.items() if value}


def _facts(known: Facts) -> dict[str, str]:
    """Facts as text; "" for what is not known or not there."""
    f = known
    rows = {
        "with": ", ".join(f"{name} = {value:g}" for name, value in f.parameters.items()),
        "domain": ""
        if f.domain in (None, (-math.inf, math.inf))
        else f"{f.domain[0]:g} to {f.domain[1]:g}, elsewhere NaN",
        "range": "" if f.range is None else f"{f.range[0]:g} to {f.range[1]:g}",
    }
    for word in ("minimum", "maximum"):
        extremum = getattr(f, word)
        rows[word] = "" if extremum is None else f"{extremum.value:g} at {extremum.at:g}"
    if f.limits is not None:
        rows["limits"] = ", ".join(
            f"{'none' if value is None else f'{value:g}'} at {at}" for value, at in zip(f.limits, ("-inf", "inf"))
        )
        rows["sign changes at"] = "infinitely many places" if f.zeros is None else ", ".join(f"{z:g}" for z in f.zeros)
    if f.pieces is not None:
        rows["monotonic"] = f"{'yes' if f.monotonic else 'no'}: " + ", ".join(
            f"{p.direction} on ({p.low:g}, {p.high:g})" for p in f.pieces
        )
    elif f.monotonic is not None:
        rows["monotonic"] = "no: infinitely many turning points"
    rows["convexity"] = f.convexity or ""
    rows["symmetry"] = f.symmetry or ""
    rows["Lipschitz constant"] = "" if f.lipschitz is None else f"{f.lipschitz:.6g}"
    if f.saturation is not None:
        sides = [f"x {sign} {at:g}" for sign, at in zip("<>", f.saturation) if at is not None]
        rows["saturation"] = f"slope below {SATURATED:g} for {' and '.join(sides)}" if sides else "none"
    rows["smoothness"] = f.smoothness
    rows["kinks"] = "; ".join(
        f"at {k.at:g}: slope {k.slope:g}"
        + (f", {k.left:g} on the left and {k.right:g} on the right" if k.left != k.right else "")
        + (f", the value jumps by {k.jump:g}" if k.jump else "")
        for k in f.kinks
    )
    gains = (("forward", f.forward_gain), ("backward", f.backward_gain))
    rows["gain"] = ", ".join(f"{value:.4f} {word}" for word, value in gains if value is not None)
    if f.elasticity is not None:
        fate = "dies out" if f.elasticity < 0.999 else "stays" if f.elasticity < 1.001 else "grows"
        rows["elasticity"] = (
            f"{f.elasticity:.3f}: with that gain a deviation of the signal's size {fate} over the layers"
        )
    if f.mean is not None:
        rows["mean of normal input"] = f"{f.mean:.4f}" + (" (zero-centred)" if f.zero_centred else "")
    if f.initialisation is not None:
        i = f.initialisation
        rows["initialisation"] = f"{i}; {i.reason}. {i.reference}"
    return rows


if __name__ == "__main__":
    main()
