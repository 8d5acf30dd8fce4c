"""The commands ``multiact experiment`` and ``multiact claims``."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from multiact.commands import refusing, template
from multiact.errors import ParameterError
from multiact.files import check_writable, write
from multiact.progress import progress

from . import claims as judging
from .data import DATA, load
from .studies import STUDIES
from .study import FRAMEWORKS, SEEDS, Setup, Study, read

ALL = "all"


def experiment(
    names: Annotated[
        list[str], typer.Argument(help=f"{', '.join(STUDIES)}, or {ALL}.", show_default=False, metavar="NAME...")
    ],
    framework: Annotated[str, typer.Option(help=f"{', '.join(FRAMEWORKS)}.")] = "torch",
    activation: Annotated[
        list[str] | None,
        typer.Option(
            help="Such as gelu or 'leaky_relu(negative_slope=0.2)'; may be repeated. Default: see the experiment."
        ),
    ] = None,
    data: Annotated[str, typer.Option(help=f"{', '.join(DATA)}.")] = "digits",
    seeds: Annotated[int, typer.Option(help="How many runs, with other weights and another order each.")] = SEEDS,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data. Default: see the experiment.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="A folder for a JSON and a drawing of each; made if missing.")
    ] = None,
) -> None:
    """Train networks with each activation on real data, and say what differs.

    Ends with exit code 2 when something that was asked for does not exist or is not installed.
    """
    console, errors = Console(), Console(stderr=True)
    with refusing(errors, "experiment"):
        studies = _studies(names)
        setup = Setup(load(data), framework, tuple(activation or ()), seeds, epochs)
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            check_writable(output / f"{studies[0].name}.json")
        for study in studies:
            with progress(errors) as advance:
                found = study(replace(setup, advance=advance))
            console.print(found.table())
            console.print(found.about, style="dim", highlight=False, soft_wrap=True)
            if output is not None:
                paths = found.write(output)
                console.print(f"{' and '.join(map(str, paths))} written", highlight=False, soft_wrap=True)


def _studies(names: list[str]) -> list[Study]:
    if ALL in names:
        return list(STUDIES.values())
    for name in names:
        if name not in STUDIES:
            raise ParameterError(f"there is no experiment {name!r}. There are: {', '.join(STUDIES)}, and {ALL}.")
    return [STUDIES[name] for name in dict.fromkeys(names)]


def claims(
    folder: Annotated[Path, typer.Argument(help="Results: multiact experiment all --output FOLDER.")],
    markdown: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/claims.md"),
) -> None:
    """Publish what tutorials claim beside what was measured: docs/claims.md and its drawings."""
    console, errors = Console(), Console(stderr=True)
    with refusing(errors, "claims"):
        results = {found.study.name: found for path in sorted(folder.glob("*.json")) for found in [read(path, STUDIES)]}
        judged = judging.judged(results)
        check_writable(markdown)
        drawings = markdown.with_suffix("")
        drawings.mkdir(exist_ok=True)
        shown = [results[name] for name in STUDIES if name in results]
        for found in shown:
            found.plot(drawings / f"{found.study.name}.png")
        counts = Counter(verdict for _, verdict, _ in judged)
        tables = [
            {"study": found.study, "about": found.about, "columns": columns, "lines": lines}
            for found in shown
            for columns, lines in [found.study.lines(found.rows)]
        ]
        page = template(Path(__file__).with_name("claims.md.j2"))
        where = Path(os.path.relpath(drawings, markdown.parent)).as_posix()
        text = page.render(claims=judged, counts=counts, results=tables, where=where)
        write(markdown, text)
        console.print(f"{markdown} and {len(shown)} drawings in {drawings} written", highlight=False, soft_wrap=True)
