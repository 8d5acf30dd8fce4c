"""The explorer: its formulas against NumPy, and the page in a real browser."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

import multiact as ma
from multiact.explorer import command, javascript

POINTWISE = [name for name in ma.names() if ma.get(name).kind == "pointwise"]
X = np.concatenate(
    [np.linspace(-12, 12, 97), [0.0, -0.0, 1e-9, -1e-9, 30, -30, 500, -500, 1e5, -1e5, np.inf, -np.inf, np.nan]]
)


def literal(value):
    return javascript._literal(float(value))


@pytest.fixture(scope="module")
def engine():
    """JavaScript: a function of source code that gives the value."""
    quickjs = pytest.importorskip("quickjs")
    context = quickjs.Context()
    context.eval(f"const X = [{','.join(map(literal, X))}]")
    return context.eval


@pytest.mark.parametrize("name", POINTWISE)
def test_javascript_computes_what_numpy_does(name, engine):
    activation = ma.get(name)
    given = {p.name: p.default for p in activation.parameters}
    settings = [given, *({**given, **example} for example in activation.examples)]
    functions = javascript.tower(activation)
    for parameters in settings:
        if None in parameters.values():
            continue
        numbers = "".join(f", {literal(v)}" for v in parameters.values())
        for order, function in enumerate(functions):
            got = json.loads(engine(f"JSON.stringify(X.map(x => String(({function})(x{numbers}))))"))
            got = np.asarray([float(v) for v in got])
            want = activation(X, **parameters) if order == 0 else activation.derivative(X, order=order, **parameters)
            # The functions of a JavaScript engine are a few ulp from those of NumPy.
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-300, err_msg=f"order {order}, {parameters}")


def test_a_formula_that_asks_for_a_value_cannot_be_written():
    with pytest.raises(TypeError, match="use xp.where"):
        javascript.written(javascript.maximum(1.0, 2.0) if javascript.Expression("x") > 0 else 0.0)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    for package in ("bokeh", "latex2mathml"):
        pytest.importorskip(package)
    import typer

    app = typer.Typer()
    app.command()(command.explore)
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    result = CliRunner().invoke(app, [str(path)])
    assert result.exit_code == 0, result.output
    return path


def test_the_page_needs_nothing_beside_itself(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.encode()) < 3_000_000
    shell = text.partition('<script type="application/json"')[0]
    assert "src=" not in shell and "<link" not in shell and "http" not in shell
    data = text.partition('id="data">')[2].partition("</script>")[0]
    known = json.loads(data)
    assert sorted(known["activations"]) == ma.names()
    assert known["benchmark"]["rows"] and known["advisor"]["tree"]["nodes"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no/such/folder/page.html"], "no/such/folder"),
        (["page.html", "--bench", "missing.json"], "missing.json is no report of the benchmark"),
    ],
)
def test_what_cannot_be_written_or_read_is_told(arguments, said, tmp_path, monkeypatch):
    import typer

    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(command.explore)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and said in " ".join(result.output.split())
    assert not (tmp_path / "page.html").exists()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_page(browser, file):
    """A function that opens the page at an address; afterwards the console must be without errors."""
    wrong, pages = [], []

    def open_at(address="", **settings):
        page = browser.new_page(**settings)
        pages.append(page)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(f"file://{file}{address}")
        page.wait_for_function("figures.length === 3 && sources[0][0].data.x.length > 0")
        return page

    yield open_at
    for page in pages:
        page.close()
    assert wrong == []


def curve(page, order=0, line=0):
    return page.evaluate(
        f"({{x: Array.from(sources[{order}][{line}].data.x), y: Array.from(sources[{order}][{line}].data.y, String)}})"
    )


def test_sliders_move_curves_and_the_address(open_page):
    page = open_page("#a=elu&x=-3,3")
    before = curve(page)
    page.get_by_label("elu alpha", exact=True).fill("2")
    after = curve(page)
    y = np.asarray([float(v) for v in after["y"]])
    np.testing.assert_allclose(y, ma.elu(np.asarray(after["x"]), alpha=2.0), rtol=1e-12)
    assert before["y"] != after["y"] and "a=elu;alpha=2" in page.evaluate("location.hash")
    again = open_page(page.evaluate("location.hash"))
    assert curve(again) == after
    assert again.get_by_label("elu alpha, exact").input_value() == "2"


def test_a_jump_breaks_the_line(open_page):
    page = open_page("#a=relu&x=-1,1")
    slope = curve(page, order=1)
    at = slope["y"].index("NaN")
    assert abs(slope["x"][at]) < 1e-9 and slope["y"][at - 1] == "0" and slope["y"][at + 1] == "1"
    assert "NaN" not in curve(page)["y"]


def test_every_activation_can_be_shown(open_page):
    page = open_page()
    for name in ma.names():
        page.evaluate(f"state.chosen = []; add({name!r})")
        lengths = page.evaluate("sources.map(s => s[0].data.x.length)")
        assert all(lengths) == (ma.get(name).kind == "pointwise"), name
        for tab in ("facts", "frameworks", "accuracy", "survives", "cost"):
            page.evaluate(f"state.tab = {tab!r}; show()")
            assert name in page.locator(f"#{tab}").inner_text()
        page.evaluate("state.tab = 'curves'")


def test_search_keyboard_and_themes(open_page):
    page = open_page("#a=relu", color_scheme="dark")
    assert page.evaluate("figures[0].background_fill_color") == "#16181b"
    page.keyboard.press("/")
    page.keyboard.type("swish")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert page.evaluate("state.chosen.map(c => c.name)") == ["relu", "silu"]
    page.keyboard.press("ArrowRight")
    assert page.evaluate("state.tab") == "facts" and page.locator("#facts").is_visible()
    page.locator("#theme").click()
    assert page.evaluate("figures[0].background_fill_color") == "#ffffff"
    page.get_by_label("remove relu").click()
    assert page.evaluate("state.chosen.map(c => c.name)") == ["silu"]


def test_the_advisor_reaches_every_leaf(open_page):
    page = open_page("#tab=advisor")
    reached = page.evaluate(
        """() => {
            const {tree, rules} = data.advisor;
            const seen = new Set();
            const visited = new Set();
            const walk = (at, answers) => {
                if (visited.has(at)) return;
                visited.add(at);
                const node = tree.nodes[at];
                if (!node.question) {
                    state.answers = [...answers];
                    show();
                    const leaf = document.getElementById("leaf");
                    if (leaf && leaf.innerText.startsWith(rules[node.rule].recommend)) seen.add(node.rule);
                    return;
                }
                for (const a of node.answers) walk(a.next, [...answers, `${node.question}:${a.answer}`]);
            };
            walk(tree.root, []);
            return [...seen].sort();
        }"""
    )
    from multiact import advisor

    assert reached == sorted(rule.id for rule in advisor.rules())
    page.evaluate("state.answers = []; show()")
    page.locator("#advisor button").first.click()
    assert "q=architecture" in page.evaluate("location.hash")


@pytest.mark.parametrize(("width", "height"), [(1400, 1000), (390, 844)])
def test_nothing_is_wider_than_the_window(open_page, width, height):
    page = open_page("#a=leaky_relu&a=gelu", viewport={"width": width, "height": height})
    for tab in ("curves", "facts", "frameworks", "accuracy", "survives", "cost", "advisor"):
        page.evaluate(f"state.tab = {tab!r}; show()")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
