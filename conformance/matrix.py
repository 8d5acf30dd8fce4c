"""Which activations survive what, in which framework: the command ``multiact capabilities`` and docs/capabilities.md."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from xml.etree import ElementTree

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from multiact.capabilities import LETTERS, capabilities
from multiact.commands import refusing, template
from multiact.files import check_writable, write
from multiact.registry import get

from .accuracy import ReportError, read
from .runner import BACKENDS

#: The modes of the harnesses, in the words of the frameworks.
MODES = {
    "eager": "called",
    "compiled": "compiled, with gradients: torch.compile, jax.jit, tf.function, mx.compile",
    "xla": "compiled by XLA: tf.function(jit_compile=True)",
    "vmapped": "vectorised: torch.func.vmap, jax.vmap, tf.vectorized_map, mx.vmap",
    "reverse": "reverse mode: torch.func.vjp, jax.vjp, tf.GradientTape, mx.vjp",
    "forward": "forward mode: torch.func.jvp, jax.jvp, tf.autodiff.ForwardAccumulator, mx.jvp",
    "second": "second derivative",
}
HARNESS = "every framework"
#: Of a reason on the page.
LONG = 400


@dataclass
class Cell:
    """What became of a set of activations, or of the framework's own, in one capability.

    Attributes
    ----------
    verdicts : the worst of each, by its name: "fail", "known", "pass" or "skip". "known" is one of the framework's own that
        works and misses the budget, which is the matter of docs/accuracy.md.
    """

    verdicts: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, verdict: str) -> None:
        order = ("skip", "pass", "known", "fail")
        self.verdicts[name] = max(self.verdicts.get(name, "skip"), verdict, key=order.index)

    def count(self, *verdicts: str) -> int:
        return sum(v in verdicts for v in self.verdicts.values())

    @property
    def tried(self) -> int:
        return self.count("pass", "known", "fail")

    @property
    def text(self) -> str:
        """For the page: a tick, how many passed, and how many did not."""
        if not self.tried:
            return "n/a" if self.verdicts else ""
        known, failing = self.count("known"), self.count("fail")
        mark = "✗" if failing else "◐" if known else "✓"
        rest = "".join(f", {n} {what}" for n, what in ((known, "known"), (failing, "failing")) if n)
        return f"{mark} {self.count('pass')}{rest}"

    @property
    def own(self) -> str:
        """For the framework's own: within the budget, working but not within it, and not working."""
        marks = (("pass", "✓"), ("known", "≈"), ("fail", "✗"))
        return " ".join(f"{self.count(verdict)} {mark}" for verdict, mark in marks if self.count(verdict))


@dataclass
class Line:
    """One capability of one backend: a cell for each family, ours and the framework's own."""

    name: str
    title: str
    group: str
    ours: dict[str, Cell] = field(default_factory=dict)
    native: dict[str, Cell] = field(default_factory=dict)

    def total(self, native: bool = False) -> Cell:
        cells = self.native if native else self.ours
        return Cell({name: v for cell in cells.values() for name, v in cell.verdicts.items()})


def _inaccurate(row: Mapping[str, Any]) -> bool:
    """Whether a row that fails has numbers, if not the right ones."""
    return row["verdict"] in ("fail", "known") and row["worst_error"] is not None


Rows = Sequence[tuple[bool, Mapping[str, Any]]]


def lines(rows: Rows) -> dict[str, list[Line]]:
    """The capabilities of each backend in the order of their tables, the modes of the harness first."""
    found: dict[str, dict[str, Line]] = {}
    for native, row in rows:
        backend, mode, name = row["backend"], row["mode"], row["activation"]
        if name == "*" or mode not in MODES and mode not in capabilities(backend):
            continue
        if mode not in found.setdefault(backend, {}):
            entry = capabilities(backend).get(mode)
            title, group = (entry.title, entry.group) if entry else (MODES[mode], HARNESS)
            found[backend][mode] = Line(mode, title, group)
        line = found[backend][mode]
        cells = line.native if native else line.ours
        cell = cells.setdefault(get(name).family, Cell())
        cell.add(row["setting"] if native else name, "known" if native and _inaccurate(row) else row["verdict"])

    def place(backend: str) -> tuple[int, str]:
        return (BACKENDS.index(backend) if backend in BACKENDS else len(BACKENDS)), backend

    ordered = {}
    for backend in sorted(found, key=place):
        names = [*MODES, *capabilities(backend)]
        ordered[backend] = sorted(found[backend].values(), key=lambda line: names.index(line.name))
    return ordered


def causes(rows: Rows, native: bool, verdicts: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Backend, capability, which activations, and why, each reason once."""
    groups: dict[tuple[str, str, str], dict[str, None]] = {}
    everything: dict[tuple[str, str], set[str]] = {}
    for theirs, row in rows:
        if theirs == native:
            everything.setdefault((row["backend"], row["mode"]), set()).add(row["setting" if native else "activation"])
    for theirs, row in rows:
        if theirs == native and row["verdict"] in verdicts and row["activation"] != "*":
            reason = " ".join(row["reason"].split())
            reason = reason if len(reason) <= LONG else f"{reason[:LONG].rstrip()} ..."
            if native and _inaccurate(row):
                reason = (
                    "NaN or infinite, or the reverse" if row["nonfinite_disagreements"] else "misses the error budget"
                )
            key = (row["backend"], row["mode"], reason)
            groups.setdefault(key, {})[row["setting"] if native else row["activation"]] = None
    found = []
    for (backend, mode, reason), names in groups.items():
        every = len(names) > 1 and everything[backend, mode] == set(names)
        found.append((backend, mode, "all" if every else ", ".join(sorted(names)), reason))
    return found


@dataclass(frozen=True)
class Whole:
    """A file of tests of whole models, threads or processes, and what became of them."""

    title: str
    file: str
    passed: int
    failed: int
    skipped: int


def whole(path: Path) -> list[Whole]:
    """What pytest's JUnit file says, a line for each file of tests; its docstring is the title.

    Raises
    ------
    ReportError : the file is none of pytest.
    """
    try:
        cases = list(ElementTree.parse(path).iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        raise ReportError(f"{path} is no JUnit file ({error}). Write one with: pytest --junitxml={path}") from None
    counts: dict[str, list[int]] = {}
    for case in cases:
        count = counts.setdefault(case.get("classname", "").replace(".", "/") + ".py", [0, 0, 0])
        kinds = {child.tag for child in case}
        count[1 if kinds & {"failure", "error"} else 2 if "skipped" in kinds else 0] += 1
    found = []
    for file, (passed, failed, skipped) in sorted(counts.items()):
        source = Path(file).read_text(encoding="utf-8") if Path(file).is_file() else ""
        title = (ast.get_docstring(ast.parse(source)) or file).partition("\n\n")[0]
        found.append(Whole(" ".join(title.split()), file, passed, failed, skipped))
    return found


def page(environment: Mapping[str, Any], rows: Rows, tests: Iterable[Whole]) -> str:
    """docs/capabilities.md."""
    by_backend = lines(rows)
    families = sorted({family for found in by_backend.values() for line in found for family in line.ours})
    return template(Path(__file__).with_name("matrix.md.j2")).render(
        environment=environment,
        backends=by_backend,
        families=families,
        activations=len({row["activation"] for native, row in rows if not native} - {"*"}),
        groups=_together(by_backend),
        known=_by_cause(causes(rows, False, ("known",))),
        failing=causes(rows, False, ("fail",)),
        skipped=_by_cause(causes(rows, False, ("skip",))),
        own=causes(rows, True, ("fail", "known")),
        tests=list(tests),
    )


def published(environment: Mapping[str, Any], rows: Rows) -> str:
    """multiact/survived.json: of every capability a letter for each activation, "-" where it was not tried."""
    by_backend = lines(rows)
    names = sorted({row["activation"] for native, row in rows if not native} - {"*"})

    def of(line: Line) -> str:
        verdicts = line.total().verdicts
        return "".join(LETTERS.get(verdicts.get(name, ""), "-") for name in names)

    backends = {b: [[line.group, line.title, line.name, of(line)] for line in own] for b, own in by_backend.items()}
    about = {key: environment[key] for key in ("date", "versions")}
    content = {"environment": about, "activations": names, "backends": backends}
    return json.dumps(content, ensure_ascii=False).replace("], [", "],\n[") + "\n"


def _by_cause(found: Iterable[tuple[str, str, str, str]]) -> list[tuple[str, str, str]]:
    """Each cause once: which activations, and where."""
    names: dict[str, dict[str, None]] = {}
    places: dict[str, dict[str, dict[str, None]]] = {}
    for backend, mode, activations, reason in found:
        names.setdefault(reason, {}).update(dict.fromkeys(activations.split(", ")))
        places.setdefault(reason, {}).setdefault(backend, {})[f"`{mode}`"] = None
    return [
        (reason, ", ".join(sorted(own)), "; ".join(f"{b}: {', '.join(m)}" for b, m in places[reason].items()))
        for reason, own in sorted(names.items(), key=lambda item: -len(item[1]))
    ]


def _together(by_backend: Mapping[str, Sequence[Line]]) -> dict[str, dict[str, Cell]]:
    """For each group of capabilities and each backend all its activations in all its ways."""
    found: dict[str, dict[str, Cell]] = {}
    for backend, own in by_backend.items():
        for line in own:
            cell = found.setdefault(line.group, {}).setdefault(backend, Cell())
            for name, verdict in line.total().verdicts.items():
                cell.add(f"{line.name} {name}", verdict)
    return found


def _merged(environments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged = dict(max(environments, key=lambda e: e["date"]))
    merged["versions"] = {k: v for e in environments for k, v in e["versions"].items()}
    return merged


def command(
    reports: Annotated[
        list[Path],
        typer.Argument(help="Reports of multiact conformance --mode capabilities --json FILE, also with --native."),
    ],
    tests: Annotated[Path | None, typer.Option(help="What pytest --junitxml has written.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Where to write the page.")] = None,
    data: Annotated[Path | None, typer.Option(help="Where to write the verdicts, as multiact/survived.json.")] = None,
) -> None:
    """Show which activations survive what in each framework, beside the framework's own, and write the page of it.

    Ends with exit code 1 when one of ours does not, and the cause is not known.
    """
    console, errors = Console(), Console(stderr=True)
    with refusing(errors, "capabilities"):
        for path in filter(None, (markdown, data)):
            check_writable(path)
        found = [read(path) for path in reports]
        rows = [(bool(environment.get("native")), row) for environment, part in found for row in part]
        wholes = whole(tests) if tests is not None else []
        by_backend = lines(rows)
        if not by_backend:
            raise ReportError(
                "the reports hold no rows. Write one with: multiact conformance --mode capabilities --json FILE"
            )
        merged = _merged([environment for environment, _ in found])
        if markdown is not None:
            write(markdown, page(merged, rows, wholes))
        if data is not None:
            write(data, published(merged, rows))
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("backend", "capability", "ours", "the framework's own"):
        table.add_column(name)
    for backend, those in by_backend.items():
        for line in those:
            total = line.total()
            style = "bold red" if total.count("fail") else "yellow" if total.count("known") else ""
            table.add_row(backend, line.name, total.text, line.total(native=True).own, style=style)
    console.print(table)
    for backend, mode, names, reason in causes(rows, False, ("fail",)):
        console.print(
            f"{backend} {mode}: {names}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True
        )
    for test in wholes:
        if test.failed:
            console.print(f"{test.file}: {test.failed} failing", style="red")
    if any(row["verdict"] == "fail" for native, row in rows if not native) or any(test.failed for test in wholes):
        raise typer.Exit(1)
