"""What the commands share: how they end on an error, and the templates of the pages that they write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import MultiactError

if TYPE_CHECKING:
    import jinja2
    from rich.console import Console


@contextmanager
def refusing(console: Console, command: str, *kinds: type[Exception]) -> Iterator[None]:
    """Errors of ours, of the operating system and of these kinds are said on a console, and end the process with exit code 2."""
    import typer

    try:
        yield
    except (MultiactError, OSError, *kinds) as error:
        console.print(f"multiact {command}: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None


def template(path: Path) -> jinja2.Template:
    """A template; one of HTML escapes what is put into it, and in others a block alone in a line leaves no line behind."""
    import jinja2

    html = ".html" in path.suffixes
    loader = jinja2.FileSystemLoader(path.parent)
    environment = jinja2.Environment(loader=loader, autoescape=html, trim_blocks=not html, lstrip_blocks=not html)
    return environment.get_template(path.name)
