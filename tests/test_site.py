"""The documentation site: it is built whole, its links lead somewhere, and what it shows can be typed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import multiact as ma
from multiact import dispatch, natives

ROOT = Path(__file__).resolve().parent.parent
for package in ("sphinx", "furo", "myst_parser", "latex2mathml", "matplotlib"):
    pytest.importorskip(package)
bs4 = pytest.importorskip("bs4")

#: Attributes with an address that a browser follows by itself.
LOADED = {"img": "src", "script": "src", "link": "href", "source": "srcset", "iframe": "src", "object": "data"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    target = tmp_path_factory.mktemp("documentation") / "site"
    command = [sys.executable, str(ROOT / "tools" / "build_site.py"), str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.fixture(scope="module")
def pages(site):
    """Every page, parsed, by its path."""
    found = {path: bs4.BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in site.rglob("*.html")}
    assert site / "index.html" in found
    return found


def test_there_is_a_page_for_every_activation(site, pages):
    for name in ma.names():
        page = pages[site / "activations" / f"{name}.html"]
        text = page.find("article").get_text(" ")
        a = ma.get(name)
        assert page.find("h1").get_text().startswith(name)
        headings = [h.contents[0] for h in page.find_all("h2")]
        assert headings == ["Formula", "How to use it", "Facts", "Accuracy", "In the frameworks", "Cost"], name
        assert all(re.search(rf"\b{alias}\b", text) for alias in a.aliases), name
        assert all(re.search(rf"\b{s.name}\b", text) for s in a.settings), name
        assert page.find("math") or not a.formula, name
        pictures = [image["src"] for image in page.find("article").find_all("img")]
        assert any(p.endswith(f"/{name}.svg") for p in pictures), name
    index = pages[site / "activations" / "index.html"]
    cards = {a["href"] for card in index.find_all(class_="cards") for a in card.find_all("a")}
    assert cards == {f"{name}.html" for name in ma.names()}


def test_guides_and_measurements_are_there(site, pages):
    sources = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "guides").glob("*.md")]
    for source in sources:
        assert (site / source.relative_to(ROOT / "docs")).with_suffix(".html") in pages
    assert pages[site / "api.html"].find(id="multiact.translate")


def test_internal_links_and_anchors_lead_somewhere(site, pages):
    anchors = {path: {tag["id"] for tag in page.find_all(id=True)} for path, page in pages.items()}
    checked = 0
    for path, page in pages.items():
        for tag in page.find_all("a", href=True):
            address = urlsplit(tag["href"])
            if address.scheme:
                assert address.scheme in ("http", "https", "mailto"), (path, tag["href"])
                assert re.fullmatch(r"(?:[\w-]+\.)+[a-z]{2,}", address.netloc), (path, tag["href"])
                assert not re.search(r"[\s.,;)]$", tag["href"]), (path, tag["href"])
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            assert target.is_file(), (path, tag["href"])
            assert target.is_relative_to(site)
            if address.fragment and target in anchors:
                assert unquote(address.fragment) in anchors[target], (path, tag["href"])
            checked += 1
    assert checked > 10_000


def test_nothing_is_loaded_from_elsewhere(site, pages):
    for path, page in pages.items():
        for tag in page.find_all(list(LOADED)):
            address = tag.get(LOADED[tag.name])
            if address and not address.startswith("#"):
                split = urlsplit(address)
                assert not split.netloc and split.scheme in ("", "data"), (path, address)
                assert split.scheme or (path.parent / unquote(split.path)).is_file(), (path, address)
        for style in page.find_all("style"):
            assert "http" not in style.get_text()
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", text), sheet
    for picture in site.rglob("*.svg"):
        assert not re.search(r"(?:href|src)=\"(?:https?:)?//", picture.read_text(encoding="utf-8")), picture


@pytest.mark.parametrize("backend", list(dispatch.BUILTIN))
def test_import_lines_work(backend, pages):
    """All of a framework in one process of its own."""
    if not dispatch.installed(backend):
        pytest.skip(f"needs {backend}")
    prefix = f"from multiact.backends.{backend} import "
    lines = {
        path.stem: code.get_text()
        for path, page in pages.items()
        for code in page.find_all("code")
        if path.parent.name == "activations" and code.get_text().startswith(prefix)
    }
    assert sorted(lines) == ma.names()
    layers = backend in ("torch", "keras", "flax", "equinox", "mlx")
    assert all((line.removeprefix(prefix)[0].isupper()) == layers for line in lines.values())
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines.values())], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_the_frameworks_call_them_is_complete(site, pages):
    page = pages[site / "names.html"].find("article")
    written = [code.get_text() for code in page.find_all("code")]
    shown = {re.sub(r"\([^()]*\)$", "", text) for text in written}
    assert "jax.nn.gelu(x, approximate=False)" in written, "the default is another function"
    for framework in natives.frameworks():
        for entry in natives.table(framework):
            assert entry.composed or entry.activation not in ma.names() or entry.spelling in shown, entry.spelling


def test_what_the_site_is_built_with_is_in_its_extra():
    """The generator imports nothing that neither the extra nor the core brings."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = {re.split(r"[>=\[]", r)[0] for r in extras["docs"]}
    assert named == {"furo", "jinja2", "latex2mathml", "matplotlib", "myst-parser", "sphinx", "sympy"}
    assert "multiact[all,docs]" in extras["dev"]
