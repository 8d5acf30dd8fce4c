"""Settings of Sphinx for the site; `make site` runs it over what tools/build_site.py writes."""

from __future__ import annotations

import re

import multiact

project = "multiact"
release = version = multiact.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 3

default_role = "code"
highlight_language = "none"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"multiact {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_search_summary = False  # it is fetched, which browsers refuse from disk
html_show_sourcelink = False

#: What begins a list of names with their meaning in our docstrings.
LISTS = ("Parameters", "Attributes", "Returns", "Raises")


def _docstring(app: object, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Our docstrings in the form that napoleon reads: ``name : meaning`` as a name and, below it, what it means."""
    text, inside, margin = [], False, ""
    for i, line in enumerate(lines):
        if i + 1 < len(lines) and re.fullmatch(r"\s*-{3,}", lines[i + 1]):
            inside, margin = line.strip() in LISTS, line[: len(line) - len(line.lstrip())]
        line = re.sub(r"(?<!`)\|(?!`)", r"\|", line)  # |x| is no substitution
        match = re.match(rf"{margin}(\S.*?) : (.*)", line) if inside else None
        text += [f"{margin}{match[1]}", f"{margin}    {match[2]}"] if match else [line]
    lines[:] = text


def setup(app: object) -> None:
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # type: ignore[attr-defined]  # before napoleon
