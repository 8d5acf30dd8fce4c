"""The command ``multiact advise``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from .advisor import advise, questions
from .errors import MultiactError


def advise_command(
    architecture: Annotated[str | None, typer.Option(help="What kind of network it is.")] = None,
    symptom: Annotated[str | None, typer.Option(help="What is wrong with it.")] = None,
    task: Annotated[str | None, typer.Option(help="What it predicts.")] = None,
    resources: Annotated[str | None, typer.Option(help="Where it runs.")] = None,
    bench: Annotated[
        list[Path] | None, typer.Option(help="A report of multiact bench --json for the cost; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which activation, initialisation, output layer and loss to use, and why; without options, the questions."""
    console = Console(markup=False, highlight=False)
    if not any((architecture, symptom, task, resources)):
        if as_json:
            typer.echo(json.dumps({q.name: {"text": q.text, "answers": dict(q.answers)} for q in questions().values()}))
            return
        for question in questions().values():
            table = Table(title=f"--{question.name}: {question.text}", show_header=False, title_justify="left")
            table.add_column(no_wrap=True)
            table.add_column(overflow="fold")
            for answer, text in question.answers.items():
                table.add_row(answer, text)
            console.print(table)
        return
    try:
        advice = advise(architecture, symptom, task, resources, bench=bench or None)
    except OSError as error:
        raise MultiactError(f"a report cannot be read: {error}.") from error
    if as_json:
        typer.echo(json.dumps(advice.as_dict()))
        return
    table = Table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in advice.lines():
        table.add_row(title, text)
    console.print(table)
