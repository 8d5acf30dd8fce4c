"""The command ``multiact conformance``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from multiact.errors import MultiactError

from . import report, runner
from .oracle import OracleError


def conformance(
    backend: Annotated[
        list[str] | None,
        typer.Option(help="A backend; may be repeated. keras means all three. Default: all installed."),
    ] = None,
    activation: Annotated[
        list[str] | None, typer.Option(help="An activation; may be repeated. Default: the whole catalogue.")
    ] = None,
    dtype: Annotated[
        list[str] | None, typer.Option(help="float32, float64, float16, bfloat16; may be repeated. Default: all.")
    ] = None,
    mode: Annotated[list[str] | None, typer.Option(help=f"{', '.join(runner.MODES)}; may be repeated.")] = None,
    device: Annotated[str, typer.Option(help="Where to run: cpu, gpu, ...")] = "cpu",
    native: Annotated[
        bool, typer.Option("--native", help="Judge the frameworks' own activations instead of ours.")
    ] = False,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Every dtype in every mode, also where two stand for all: Keras, compiled parameters."
        ),
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file.")] = None,
) -> None:
    """Is every backend right? Values and gradients of every activation against ball arithmetic.

    Ends with exit code 1 when anything misses its budget, 2 when something that was asked for does not exist.
    """
    console, errors = Console(), Console(stderr=True)
    try:
        asked = runner.request(backend or (), activation or (), dtype or (), mode or (), device, native, full)
        for path in filter(None, (json, html)):
            report.check_writable(path)
        with Progress(
            TextColumn("{task.description:42}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=errors,
            transient=True,
        ) as progress:
            task, told = progress.add_task("starting", total=None), ""

            def advance(what: str, done: int, total: int) -> None:
                nonlocal told
                progress.update(task, description=what, completed=done, total=total)
                # A log has no bar: there every tenth of a stage is a line.
                line = f"{'true values' if what.startswith('true values') else 'cases'} {10 * (10 * done // total)} %"
                if not errors.is_terminal and line != told and total >= 100:
                    errors.print(line, highlight=False)
                    told = line

            environment, rows = runner.run(asked, advance=advance, processes=max(1, min(2, os.cpu_count() or 1)))
    except (MultiactError, OracleError, OSError) as error:
        errors.print(f"multiact conformance: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    if not rows:
        errors.print("multiact conformance: nothing to run for these options.", style="red")
        raise typer.Exit(2)
    if json is not None:
        report.write_json(json, environment, rows)
    if html is not None:
        report.write_page(html, environment, rows)
    hint = f"; all in {html or json}" if html or json else "; all with --json FILE or --html FILE"
    report.print_report(console, environment, rows, hint=hint)
    if runner.failed(rows):
        raise typer.Exit(1)
