"""The command ``multiact conformance``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from multiact.commands import refusing
from multiact.files import check_writable
from multiact.progress import progress

from . import report, runner
from .cases import Effort
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
    quick: Annotated[
        bool,
        typer.Option("--quick", help="In minutes: float32, values in bfloat16, three modes, fewer points."),
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Every dtype in every mode, also where two stand for all.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run again what an earlier run has passed.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file.")] = None,
) -> None:
    """Is every backend right? Values and gradients of every activation against ball arithmetic.

    Ends with exit code 1 when anything misses its budget, 2 when something that was asked for does not exist.
    """
    console, errors = Console(), Console(stderr=True)
    with refusing(errors, "conformance", OracleError):
        if quick and full:
            raise runner.RequestError("--quick and --full cannot both be meant. Give one of them.")
        effort: Effort = "quick" if quick else "full" if full else "usual"
        asked = runner.request(backend or (), activation or (), dtype or (), mode or (), device, native, effort, fresh)
        for path in filter(None, (json, html)):
            check_writable(path)
        with progress(errors) as advance:
            environment, rows = runner.run(asked, advance=advance, processes=max(1, min(2, os.cpu_count() or 1)))
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
