"""The command ``multiact explore``."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .. import __version__
from ..advisor import LARGE, report_files
from ..commands import refusing, template
from ..errors import MultiactError
from ..files import check_writable, write
from .data import everything

#: The parts of BokehJS that are put into the page.
BOKEH = ("bokeh.min.js", "bokeh-api.min.js")


def _newest() -> Path | None:
    """The newest report of the benchmark in the checkout in which large arrays were timed."""
    dates = {}
    for path in map(Path, report_files()):
        report = json.loads(path.read_text(encoding="utf-8"))
        if any(
            isinstance(r, dict) and r.get("size", 0) >= LARGE and r.get("copy_seconds") for r in report.get("rows", [])
        ):
            dates[path] = report["environment"]["date"]
    return max(dates, key=dates.__getitem__) if dates else None


def page(benchmark: Path | None = None) -> str:
    """The page; it needs nothing beside itself.

    Raises
    ------
    MultiactError : a package that it is made with is not installed; a report cannot be read.
    """
    for package in ("bokeh", "latex2mathml"):
        if importlib.util.find_spec(package) is None:
            raise MultiactError(
                f"the page is made with {package}, which is not installed. Install it with: pip install 'multiact[explore]'"
            )
    import bokeh

    scripts = Path(bokeh.__file__).parent / "server" / "static" / "js"
    return template(Path(__file__).with_name("page.html.j2")).render(
        version=__version__,
        bokeh=[(scripts / name).read_text(encoding="utf-8").replace("</script", "<\\/script") for name in BOKEH],
        script=Path(__file__).with_name("page.js").read_text(encoding="utf-8"),
        # "</" would end the script element that holds the data.
        data=json.dumps(_finite(everything(benchmark)), separators=(",", ":"), allow_nan=False).replace("</", "<\\/"),
    )


def _finite(value: Any) -> Any:
    """Infinities, which JSON does not have, as text."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value)
    return value


def explore(
    file: Annotated[Path, typer.Argument(help="Where to write the page.")] = Path("multiact.html"),
    bench: Annotated[
        Path | None, typer.Option(help="A report of multiact bench --json; the newest of the checkout without it.")
    ] = None,
) -> None:
    """Write one page with curves, facts, translations, accuracy, cost and the advisor; it works from disk, without network."""
    console, errors = Console(), Console(stderr=True)
    with refusing(errors, "explore"):
        check_writable(file)
        text = page(bench or _newest())
        write(file, text)
    console.print(f"{file}: {len(text.encode()) / 1e6:.1f} MB. Open it in a browser.", soft_wrap=True)
