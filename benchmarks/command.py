"""The commands ``multiact bench`` and ``multiact bench-page``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from multiact.commands import refusing
from multiact.files import check_writable, write
from multiact.plot import require
from multiact.progress import progress

from . import figures, page, report, runner
from .cases import DIRECTIONS, MODES


def bench(
    backend: Annotated[
        list[str] | None,
        typer.Option(help="A backend; may be repeated. Default: all installed but keras, which means all three."),
    ] = None,
    activation: Annotated[
        list[str] | None, typer.Option(help="An activation; may be repeated. Default: the whole catalogue.")
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(help="float32, float64, float16, bfloat16; may be repeated. Default: float32 and bfloat16."),
    ] = None,
    mode: Annotated[list[str] | None, typer.Option(help=f"{', '.join(MODES)}; may be repeated.")] = None,
    size: Annotated[
        list[int] | None, typer.Option(help="Elements; may be repeated. Default: 64, 16384 and 1048576.")
    ] = None,
    direction: Annotated[list[str] | None, typer.Option(help=f"{', '.join(DIRECTIONS)}; may be repeated.")] = None,
    device: Annotated[str, typer.Option(help="Where to run: cpu, cuda, ...")] = "cpu",
    network: Annotated[
        bool, typer.Option("--network", help="Measure what activations cost of two networks instead.")
    ] = False,
    first_call: Annotated[
        bool, typer.Option("--first-call", help="Measure first calls in fresh processes instead.")
    ] = False,
    build: Annotated[
        bool, typer.Option("--build/--no-build", help="Build torch's eager kernels before, or use none.")
    ] = True,
    naive: Annotated[bool, typer.Option("--naive/--no-naive", help="Measure the naive formula too.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer rounds, up to 16384 elements.")] = False,
    watch: Annotated[
        float, typer.Option(help="Of --first-call: seconds in which the longest call is looked for.")
    ] = 10.0,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the rows: a .png, .svg or .pdf to write.")] = None,
) -> None:
    """Is every backend fast? Ours, the framework's own, the naive formula and a copy, in turns in one process.

    Ends with exit code 2 when something that was asked for does not exist, or nothing could be measured.
    """
    console, errors = Console(), Console(stderr=True)
    with refusing(errors, "bench"):
        if network and first_call:
            raise runner.BenchError("--network and --first-call are measured one at a time. Give one of them.")
        if plot is not None and (network or first_call):
            raise runner.BenchError(
                "--plot draws the rows of activations, which --network and --first-call do not measure."
            )
        measurement: runner.Measurement = "networks" if network else "first_calls" if first_call else "activations"
        asked = runner.request(
            backend or (),
            activation or (),
            dtype or (("float32",) if quick else ()),
            mode or (),
            size or (runner.SIZES[:2] if quick else ()),
            direction or (),
            device,
            measurement,
            quick=quick,
            build=build,
            naive=naive,
            watch=watch,
        )
        if plot is not None:
            require(plot)
        for path in filter(None, (json, plot)):
            check_writable(path)
        with progress(errors) as advance:
            found = runner.run(asked, advance=advance)
        content = report.as_json(found)
        if json is not None:
            report.write_json(json, content)
        report.print_report(console, content, hint=f"; all in {json}" if json else "; all with --json FILE")
        if plot is not None and any(row["seconds"] is not None for row in content["rows"]):
            figures.write(figures.figure(content["rows"], report.environment(content["environment"])), plot)
    if not any(_measured(content)):
        errors.print("multiact bench: nothing was measured.", style="red")
        raise typer.Exit(2)


def _measured(content: Mapping[str, Any]) -> list[bool]:
    rows = [row["seconds"] is not None for row in (*content["rows"], *content["networks"])]
    return rows + [row["first_seconds"] is not None for row in content["first_calls"]]


def bench_page(
    reports: Annotated[list[Path], typer.Argument(help="Reports: multiact bench --json FILE.")],
    markdown: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/performance.md"),
    plots: Annotated[
        Path | None, typer.Option(help="The folder of the drawings. Default: the one of the page, in performance/.")
    ] = None,
) -> None:
    """Publish reports of the benchmark: docs/performance.md and its drawings."""
    console, errors = Console(), Console(stderr=True)
    with refusing(errors, "bench-page"):
        contents = [report.read(path) for path in reports]
        require()
        check_writable(markdown)
        folder = plots if plots is not None else markdown.parent / "performance"
        folder.mkdir(exist_ok=True)
        drawings = page.drawings(contents)
        for name in drawings:
            check_writable(folder / name)
        for name, drawn in drawings.items():
            figures.write(drawn, folder / name)
        where = Path(os.path.relpath(folder, markdown.parent)).as_posix()
        text = page.page(contents, [path.name for path in reports], where)
        write(markdown, text)
        console.print(f"{markdown} and {len(drawings)} drawings in {folder} written", soft_wrap=True, highlight=False)
