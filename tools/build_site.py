"""Build the documentation site from the registry, the guides and the measurements.

Usage: python tools/build_site.py [FOLDER], by default build/site; the pages that Sphinx reads are written beside it.
"""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

import multiact as ma
from multiact import advisor, diagnostics, dispatch, measured, natives, plot, stubs, translation
from multiact.cli import describe
from multiact.errors import ParameterError
from multiact.explorer.data import DTYPES, mathml, required
from multiact.natives import Entry

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

TITLES = {
    "torch": "PyTorch",
    "jax": "JAX",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "flax": "Flax",
    "equinox": "Equinox",
    "mlx": "MLX",
    "numpy": "NumPy",
    "tf_keras": "Keras 2 (tf_keras)",
    "onnx": "ONNX",
    "transformers": "Hugging Face transformers",
}
#: Half of the x axis, where [-5, 5] shows too little or too much.
REACH = {"siren": 0.5, "finer": 0.75, "wire": 0.5, "softcap": 90.0, "clipped_gelu": 15.0, "sinc": 15.0}
#: Of `describe`, what the page has in other places than its table of facts.
FORMULAS = ("definition", "first derivative", "second derivative")
ELSEWHERE = (*FORMULAS, "call", "class", "also called", "kind", "formula", "notes", "reference", "budget")
#: Other settings drawn beside the default.
OTHERS = 2
#: In a reference: where a paper can be read.
SOURCES = (
    (r"arXiv:(\d{4}\.\d{4,5})", "https://arxiv.org/abs/{}"),
    (r"doi:(10\.[^\s,;)]+?)(?=[.,;)]*(?:\s|$))", "https://doi.org/{}"),
    (r"((?:[a-z-]+\.)+(?:com|ai|pub)\b(?:/[\w./-]*[\w])?)", "https://{}"),
)


# Text


def prose(text: str) -> Markup:
    """Text of a declaration as HTML: names in backticks as code, papers and pages as links."""
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    for pattern, address in SOURCES:
        html = re.sub(pattern, lambda m: f'<a href="{address.format(m[1])}">{m[0]}</a>', html)  # noqa: B023
    return Markup(html)


def code(text: str) -> Markup:
    return Markup("<code>{}</code>").format(text)


def page_of(name: str) -> str:
    return f"[{name}]({name}.md)"


def linked(ours: str, folder: str = "") -> Markup:
    """A call of ours, as ``multiact.silu(x, beta=2)``, with the name as a link to its page."""
    before, _, rest = ours.removeprefix("multiact.").partition("(")
    return Markup('<code><a href="{}{}.html">{}</a>({}</code>').format(folder, before, before, rest)


def worst(rows: Iterable[Mapping[str, Any]], key: str = "worst_error") -> str:
    """The largest error of measured rows: "NaN" when something is not finite that should be, or the reverse."""
    rows = list(rows)
    if any(row["nonfinite_disagreements"] for row in rows):
        return "NaN"
    return f"{max(float(row[key]) for row in rows):.3g}" if rows else "·"


def read(path: Path) -> str:
    """A document for the site: links to files that are not part of it become the names of these files.

    The empty line with which doctest ends a session is left out of blocks of code.
    """
    text = path.read_text(encoding="utf-8").replace("\n\n```\n", "\n```\n")

    def link(match: re.Match[str]) -> str:
        target = (path.parent / match[2].partition("#")[0]).resolve()
        inside = path.is_relative_to(DOCS) and target.is_relative_to(DOCS) and target.exists()
        return match[0] if inside or "://" in match[2] else f"{match[1]} (`{target.name}`)"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", link, text)


# One activation


def offered() -> dict[str, tuple[set[str], set[str]]]:
    """The functions and the classes of each backend, out of its stub: no framework is imported."""
    found = {}
    for name, path in stubs.paths().items():
        if name in dispatch.BUILTIN:
            body = ast.parse(path.read_text(encoding="utf-8")).body
            functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
            found[name] = (functions, {node.name for node in body if isinstance(node, ast.ClassDef)})
    return found


def imports(a: ma.Activation, offers: dict[str, tuple[set[str], set[str]]]) -> Iterator[list[Any]]:
    """Framework, import line, and what that gives."""
    for backend, (functions, classes) in offers.items():
        layer = "Layer" if backend == "keras" else "Module"
        names = {a.class_name: layer} if a.class_name in classes else {}
        names |= {a.name: "function"} if a.name in functions else {}
        if names:
            line = f"from multiact.backends.{backend} import {', '.join(names)}"
            yield [TITLES[backend], code(line), " and ".join(names.values())]


def accuracy(a: ma.Activation) -> list[tuple[str, list[list[str]]]]:
    """For each measure its title, and a line for each backend with a cell for each dtype."""
    rows = [row for row in measured.rows(a.name) if not row["native"]]
    tables = []
    for key, title in (
        ("worst_error", "The error E, which excuses what one ulp of the input does:"),
        ("worst_ulp", "The plain error in ulp, which is large wherever the function passes through 0:"),
    ):
        lines = []
        for backend in dict.fromkeys(row["backend"] for row in rows):
            line = [backend]
            for dtype in DTYPES:
                own = [row for row in rows if (row["backend"], row["dtype"]) == (backend, dtype)]
                line.append(" / ".join(worst((r for r in own if r["order"] == order), key) for order in (0, 1, 2)))
            lines.append(line)
        tables.append((title, lines))
    return tables if rows else []


def as_ours(framework: str, entry: Entry) -> translation.Translation | None:
    """None for one with arguments that must be given."""
    try:
        return translation.stated(framework, entry)
    except ParameterError:
        return None


def there(entry: Entry, found: translation.Translation | None) -> str:
    """How a framework's own is written, with the arguments that make it this activation."""
    return entry.spelling.replace("{", "").replace("}", "") if found is None else found.spelling


def meaning(entry: Entry, found: translation.Translation | None, folder: str = "") -> Markup:
    """What a framework's own is."""
    if entry.definition:
        return code(entry.definition)
    if found is not None:
        return linked(found.ours, folder)
    return Markup("{}, its arguments must be given").format(linked(f"multiact.{entry.activation}(x)", folder))


def natives_of(a: ma.Activation) -> dict[str, list[Any]]:
    """The table of what frameworks call it, remarks on them, and where they are off."""
    lines: list[list[Any]] = []
    remarks: dict[str, list[Markup]] = {}
    off: dict[tuple[str, str], Markup] = {}
    for framework, entry in natives.of(a.name):
        found = as_ours(framework, entry)
        figures = [row for row in translation.figures(entry) if row["dtype"] == "float32"]
        errors = [worst(row for row in figures if row["order"] == order) for order in (0, 1)]
        spelling = there(entry, found)
        lines.append([TITLES.get(framework, framework), code(spelling), meaning(entry, found), *errors])
        for note in (entry.notes,) if found is None else found.notes:
            remarks.setdefault(note, []).append(code(spelling))
        if found is not None:
            for text in translation.deviations(found):
                fault = text.removeprefix(f"{entry.spelling}: ")
                off.setdefault((entry.same_as or entry.spelling, fault), Markup("{}: {}").format(code(spelling), fault))
    differences = [
        Markup("{}: {}").format(Markup(", ").join(who), prose(note)) for note, who in remarks.items() if note
    ]
    return {"natives": lines, "differences": differences, "deviations": list(off.values())}


def costs(a: ma.Activation) -> list[list[str]]:
    found = [cost for device in ("cpu", "cuda") for cost in advisor.costs(a.name, device) if cost.mode == "compiled"]
    return [[TITLES[c.backend], f"{c.size:,}", c.machine, f"{c.ratio:.2f}"] for c in found]


def related(a: ma.Activation) -> str:
    """Links to the activations that it is made of or that are made of it."""
    parts = {"gate": a.gate_of, "value": a.value_of}
    found = [
        f"{page_of(part.name)}, the factor of the {side}"
        for side, part in parts.items()
        if part and part.name in ma.names()
    ]
    found += [f"{page_of(a.based_on)}, whose formulas it uses"] if a.based_on else []
    for other in map(ma.get, ma.names()):
        if other.based_on == a.name:
            found.append(f"{page_of(other.name)} with other settings")
        elif other.gate_of is a or other.value_of is a:
            found.append(f"{page_of(other.name)}, the gated unit")
    return "; ".join(found)


# Pictures


def draw(a: ma.Activation, folder: Path) -> dict[str, str]:
    """Write the two drawings; gives the text and the style of the large one."""
    reach = REACH.get(a.name, 5.0)
    given: dict[str, Any] = dict(required(a))
    shown = a
    if a.kind == "axiswise":
        big, small = plot.along_axis((a, given), -reach, reach), plot.thumbnail((a, given), -reach, reach)
        caption = f"The entries of `{a.name}` of the row (x, 0), over x."
        style = "row"
    else:
        settings: list[Any] = [(a, given), *((a, example) for example in a.examples[:OTHERS] if example != given)]
        caption = "Value, first and second derivative" + (
            ", with other parameters in other colours" * (len(settings) > 1)
        )
        if a.kind == "gated":
            assert a.gate_of is not None
            settings = [a.gate_of, *([] if a.value_of is None else [a.value_of])]
            caption = "The factor of the gate" + (" and that of the value" * (len(settings) > 1))
            shown = a.gate_of
        big = plot.figure(settings, None, -reach, reach, size=(11, 4))
        small = plot.thumbnail(shown if a.kind == "gated" else (a, given), -reach, reach)
        caption += ". A dot is a kink; at a jump the filled dot is what is taken there."
        style = "curve"
    plot.save(big, folder / f"{a.name}.svg")
    plot.save(small, folder / f"{a.name}-small.svg")
    return {"alt": f"curve of {a.name}", "caption": caption, "style": style}


def content(name: str, offers: dict[str, tuple[set[str], set[str]]], pictures: Path) -> dict[str, Any]:
    """What the template of an activation's page is filled with; its pictures are written."""
    a = ma.get(name)
    known = describe(a, **required(a))
    settings = [
        [code(word), prose(text)]
        for key, text in known.items()
        for kind, _, word in [key.partition(" ")]
        if kind in ("parameter", "option") and word
    ]
    facts = [
        [key, prose(text)]
        for key, text in known.items()
        if key not in ELSEWHERE and not key.startswith(("parameter ", "option "))
    ]
    return {
        "name": a.name,
        "kind": a.kind.capitalize(),
        "family": a.family.replace("_", " "),
        "anchor": a.family.replace("_", "-"),
        "aliases": [f"`{alias}`" for alias in a.aliases],
        "picture": draw(a, pictures),
        "notes": prose(a.notes),
        "mathml": Markup(mathml(a.formula)),
        "formulas": [[key, code(known[key])] for key in FORMULAS if key in known],
        "reference": prose(a.reference),
        "related": related(a),
        "imports": list(imports(a, offers)),
        "call": Markup(known["call"]),  # into a block of code
        "settings": settings,
        "facts": facts,
        "accuracy": accuracy(a),
        "dtypes": list(DTYPES),
        "budget": prose(known.get("budget", "")),
        **natives_of(a),
        "costs": costs(a),
    }


# The other pages


def families() -> list[dict[str, Any]]:
    names: dict[str, list[str]] = {}
    for name in ma.names():
        names.setdefault(ma.get(name).family, []).append(name)
    return [
        {"title": family.replace("_", " ").capitalize(), "names": found, "count": len(found)}
        for family, found in sorted(names.items())
    ]


def names_there() -> Iterator[tuple[str, list[list[Any]]]]:
    """For each framework its own names, what they are, and what to know."""
    for framework in natives.frameworks():
        rows = []
        for entry in natives.table(framework):
            if not entry.composed and entry.activation in ma.names():
                found = as_ours(framework, entry)
                rows.append([code(there(entry, found)), meaning(entry, found, "activations/"), prose(entry.notes)])
        if rows:
            yield TITLES.get(framework, framework), rows


def api() -> Iterator[tuple[str, str, list[str]]]:
    """Title, module and directives of each group of public names."""
    names = vars(ma)["__all__"]
    public = {name: getattr(ma, name) for name in names if not inspect.ismodule(getattr(ma, name))}
    errors = {n for n, v in public.items() if isinstance(v, type) and issubclass(v, Exception)}
    classes = {n for n, v in public.items() if isinstance(v, type)} - errors
    yield "Functions", "multiact", [f".. autofunction:: {n}" for n in sorted(public.keys() - classes - errors)]
    shown = "\n   :members:\n"
    yield "Diagnostics", "multiact.diagnostics", list(_members(diagnostics))
    yield "Classes", "multiact", [f".. autoclass:: {n}{shown}" for n in sorted(classes)]
    yield "Errors", "multiact", [f".. autoexception:: {n}" for n in sorted(errors)]


def _members(module: Any) -> Iterator[str]:
    for name in module.__all__:
        if isinstance(getattr(module, name), type):
            yield f".. autoclass:: {name}\n   :members:\n"
        else:
            yield f".. autofunction:: {name}"


def write(folder: Path) -> None:
    """All that Sphinx reads, into an empty folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(DOCS / "templates"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=True,
    )

    def render(target: str, template: str, **given: Any) -> None:
        text = environment.get_template(template).render(given)
        (folder / target).write_text(text, encoding="utf-8")

    shutil.copytree(DOCS, folder, ignore=shutil.ignore_patterns("conf.py", "templates", "static", "__pycache__"))
    measured_pages = sorted(path.stem for path in folder.glob("*.md"))
    guides = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in (folder / "guides").glob("*.md"))
    for page in folder.rglob("*.md"):
        page.write_text(read(DOCS / page.relative_to(folder)), encoding="utf-8")
    for name in ("CONTRIBUTING", "CHANGELOG"):
        (folder / f"{name.lower()}.md").write_text(read(ROOT / f"{name}.md"), encoding="utf-8")

    titles = [re.match(r"# (.*)", (folder / f"{page}.md").read_text(encoding="utf-8"))[1] for page in guides]  # type: ignore[index]
    readme = read(ROOT / "README.md").partition("\n## What there is")[0]
    render("index.md", "index.md.j2", readme=Markup(readme), guides=list(zip(guides, titles)), measured=measured_pages)
    render("names.md", "names.md.j2", frameworks=list(names_there()))
    render("api.md", "api.md.j2", groups=[(t, m, [Markup(d) for d in ds]) for t, m, ds in api()])

    pictures = folder / "activations" / "pictures"
    pictures.mkdir(parents=True)
    render("activations/index.md", "activations.md.j2", families=families(), names=ma.names())
    with ProcessPoolExecutor() as pool:  # drawing takes most of the time
        for name, given in zip(ma.names(), pool.map(partial(content, offers=offered(), pictures=pictures), ma.names())):
            render(f"activations/{name}.md", "activation.md.j2", **given)


def main(target: Path) -> int:
    """Build the site; gives the exit status of Sphinx, which counts warnings as errors."""
    source = target.with_name(f"{target.name}-source")
    for folder in (source, target):
        shutil.rmtree(folder, ignore_errors=True)
    source.parent.mkdir(parents=True, exist_ok=True)
    write(source)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-j", "auto", "-c", str(DOCS)]
    done = subprocess.run([*command, "-d", str(source / ".doctrees"), str(source), str(target)], check=False)
    if done.returncode == 0:
        print(target / "index.html")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"))
