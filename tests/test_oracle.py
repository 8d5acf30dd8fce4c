"""The oracle against numbers computed by other means, and what it refuses."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from multiact.conformance import oracle

VALUE, FIRST, SECOND, THIRD = (), ("x",), ("x", "x"), ("x", "x", "x")


def both(pair: oracle.Pair) -> mpmath.mpf:
    return mpmath.mpf(float(pair[0][0])) + mpmath.mpf(float(pair[1][0]))


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(60):
        yield


# Fifty digits, computed with mpmath.
HIGH_PRECISION = [
    ("x / (1 + exp(-x))", -1.5, VALUE, "-0.27363828570953451058917423201562762868063873462864"),
    ("x / (1 + exp(-x))", -1.5, FIRST, "-0.041294154299142944359517294307265292623966783886437"),
    ("x * erfc(-x / sqrt(2)) / 2", -10.0, VALUE, "-7.619853024160526065973343251599308363504033277957e-23"),
    ("x * tanh(log(1 + exp(x)))", -2.0, VALUE, "-0.25250148269570886363507290380986535604839423304747"),
    ("log(1 + exp(x))", -50.0, VALUE, "1.9287498479639177830171568127282115329546846903571e-22"),
    ("x - tanh(x)", 0.001, VALUE, "3.3333320000005398904876660823707253068822470208501e-10"),
    ("tanh(x)", 20.0, FIRST, "1.6993417021166355836928828103801419206655762475304e-17"),
    ("x + sin(x)**2", 3.0, SECOND, "1.920340573300732041091304595845848810903875358422"),
]


@pytest.mark.parametrize(("text", "x", "wrt", "expected"), HIGH_PRECISION)
def test_typed_in_values(text, x, wrt, expected):
    got = both(oracle.derivatives(text, {"x": np.asarray([x])}, [wrt])[wrt])
    assert abs(got - mpmath.mpf(expected)) < mpmath.mpf("1e-30") * abs(mpmath.mpf(expected))


MPMATH = {
    "x / (1 + exp(-x))": lambda x: x / (1 + mpmath.exp(-x)),
    "x * erfc(-x / sqrt(2)) / 2": lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "x * tanh(log(1 + exp(x)))": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    "x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))": lambda x: (
        x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)))
    ),
    "(x + sqrt(x**2 + 4)) / 2": lambda x: (x + mpmath.sqrt(x * x + 4)) / 2,
    "atan(x) * cos(x)": lambda x: mpmath.atan(x) * mpmath.cos(x),
    "exp(x) - 1": mpmath.expm1,
    "sinc(x)": mpmath.sinc,
    "x * tanh(exp(x))": lambda x: x * mpmath.tanh(mpmath.exp(x)),
}


@pytest.mark.parametrize("text", MPMATH)
@pytest.mark.parametrize("x", [-31.0, -2.25, -1e-3, 0.375, 5.0])
def test_derivatives_of_every_order_agree_with_mpmath(text, x):
    found = oracle.derivatives(text, {"x": np.asarray([x])}, [VALUE, FIRST, SECOND, THIRD])
    with mpmath.workdps(200):
        for order, wrt in enumerate((VALUE, FIRST, SECOND, THIRD)):
            true = mpmath.diff(MPMATH[text], mpmath.mpf(x), order, method="step", h=mpmath.mpf(10) ** -35)
            assert abs(both(found[wrt]) - true) <= mpmath.mpf("1e-29") * abs(true)


def test_partials_in_parameters_and_mixed_ones():
    x, b = 0.7, 1.25
    text = "x / (1 + exp(-beta * x))"
    inputs = {"x": np.asarray([x]), "beta": np.asarray([b])}
    orders = {("beta",): (0, 1), ("x", "beta"): (1, 1), ("beta", "beta"): (0, 2), ("x", "x", "beta"): (2, 1)}
    found = oracle.derivatives(text, inputs, list(orders))
    for wrt, order in orders.items():
        true = mpmath.diff(lambda u, v: u / (1 + mpmath.exp(-v * u)), (x, b), order)
        assert abs(both(found[wrt]) - true) <= mpmath.mpf("1e-20") * abs(true)


def test_conditions_choose_the_subgradient():
    text = "x if x > 0 else 0.25 * x"
    found = oracle.derivatives(text, {"x": np.asarray([-1.0, 0.0, -0.0, 5e-324, 2.0])}, [VALUE, FIRST, SECOND])
    assert found[FIRST][0].tolist() == [0.25, 0.25, 0.25, 1.0, 1.0]
    assert found[SECOND][0].tolist() == [0.0] * 5
    chained = oracle.derivatives("1 if -1 < x <= 1 and not x == 0.5 else 0", {"x": np.asarray([-1.0, 1.0, 0.5])}, [()])
    assert chained[()][0].tolist() == [0.0, 1.0, 0.0]


REMOVABLE = {"exprel(x)": lambda u: mpmath.expm1(u) / u, "logrel(x)": lambda u: mpmath.log1p(u) / u}


@pytest.mark.parametrize("text", REMOVABLE)
@pytest.mark.parametrize("x", [-0.75, -1e-3, 1e-200, 0.49, 0.51, 0.99, 1.01, 40.0])
def test_quotients_with_a_removable_singularity(text, x):
    found = oracle.derivatives(text, {"x": np.asarray([x])}, [VALUE, FIRST, SECOND, THIRD])
    with mpmath.workdps(900):
        true = mpmath.taylor(REMOVABLE[text], mpmath.mpf(x), 3, method="step", h=mpmath.mpf(10) ** -260)
        for order, wrt in enumerate((VALUE, FIRST, SECOND, THIRD)):
            expected = true[order] * mpmath.factorial(order)
            assert abs(both(found[wrt]) - expected) <= mpmath.mpf("1e-29") * abs(expected)


def test_quotients_at_the_singularity_itself():
    zero = {"x": np.asarray([0.0])}
    orders = [VALUE, FIRST, SECOND, THIRD]
    for text, expected in (("exprel(x)", (1, 1 / 2, 1 / 3, 1 / 4)), ("logrel(x)", (1, -1 / 2, 2 / 3, -3 / 2))):
        found = oracle.derivatives(text, zero, orders)
        assert [found[w][0][0] for w in orders] == list(expected)


def test_where_a_definition_has_no_value_is_nan():
    x = np.asarray([-np.inf, -1.0, 0.0, 1.0])
    found = oracle.derivatives("log(x) if x > 0 else nan", {"x": x}, [VALUE, FIRST])
    np.testing.assert_array_equal(found[VALUE][0], [np.nan, np.nan, np.nan, 0.0])
    np.testing.assert_array_equal(found[FIRST][0], [np.nan, np.nan, np.nan, 1.0])


def test_infinities_are_limits_and_nan_stays():
    x = np.asarray([-np.inf, np.inf, np.nan])
    found = oracle.derivatives("x / (1 + exp(-x))", {"x": x}, [VALUE, FIRST])
    np.testing.assert_array_equal(found[VALUE][0], [0.0, np.inf, np.nan])
    np.testing.assert_array_equal(found[FIRST][0], [0.0, 1.0, np.nan])
    swinging = oracle.derivatives("x + sin(x)**2", {"x": x}, [VALUE, FIRST])
    np.testing.assert_array_equal(swinging[VALUE][0], [-np.inf, np.inf, np.nan])
    assert np.isnan(swinging[FIRST][0]).all()


def test_sinc_is_certain_at_its_removable_singularity():
    found = oracle.derivatives("sinc(x)", {"x": np.asarray([0.0, 1e-300, -1e-20])}, [VALUE, FIRST, SECOND, THIRD])
    assert found[VALUE][0].tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(found[FIRST][0], [0.0, -1e-300 / 3, 1e-20 / 3], rtol=1e-15)
    np.testing.assert_allclose(found[SECOND][0], -1 / 3, rtol=1e-15)
    np.testing.assert_allclose(found[THIRD][0], [0.0, 1e-300 / 5, -1e-20 / 5], rtol=1e-15)


def test_extreme_inputs_are_certain():
    x = np.asarray([1e308, -1e308, 5e-324, -745.0])
    found = oracle.derivatives("x * erfc(-x / sqrt(2)) / 2", {"x": x}, [VALUE])[VALUE][0]
    np.testing.assert_array_equal(found, [1e308, 0.0, 0.0, 0.0])
    found = oracle.derivatives("x * tanh(exp(x))", {"x": x}, [VALUE, FIRST])
    np.testing.assert_allclose(found[FIRST][0], [1.0, 0.0, np.tanh(1.0), 0.0], rtol=1e-15, atol=1e-300)


def test_rows_agree_with_mpmath():
    row, c, d = [0.3, -1.2, 2.0, 0.1], [0.5, -1.0, 2.0, 0.25], [1.0, -0.5, 0.75, 2.0]

    def weighted(*x):
        exps = [mpmath.exp(v / 2) for v in x]
        return sum(w * e for w, e in zip(c, exps)) / sum(exps)

    def ask(kind):
        rows = np.asarray([[*row, 2.0]])
        direction = np.asarray([[*d, 0.0]])
        text = "exp(x / temperature) / sum(exp(x / temperature))"
        return oracle.along_axis(text, ["temperature"], kind, rows, 4, cotangent=np.asarray([c]), direction=direction)[
            0, :, :2
        ].sum(axis=1)

    total = sum(mpmath.exp(v / 2) for v in map(mpmath.mpf, row))
    np.testing.assert_allclose(ask("value"), [float(mpmath.exp(mpmath.mpf(v) / 2) / total) for v in row], rtol=1e-15)
    gradient = [mpmath.diff(weighted, tuple(row), tuple(int(i == j) for j in range(4))) for i in range(4)]
    np.testing.assert_allclose(ask("vjp")[:4], [float(g) for g in gradient], rtol=1e-14)

    def moved(t, *offset):
        return weighted(*(v + t * s + o for v, s, o in zip(row, d, offset)))

    second = [mpmath.diff(moved, (0, 0, 0, 0, 0), (1, *(int(i == j) for j in range(4)))) for i in range(4)]
    np.testing.assert_allclose(ask("second"), [float(s) for s in second], rtol=1e-12)


def test_rows_with_masks():
    rows = np.asarray([[0.0, -np.inf, 0.0], [np.inf, 1.0, 2.0], [-np.inf] * 3, [np.nan, 0.0, 0.0]])
    found = oracle.along_axis(
        "exp(x) / sum(exp(x))", [], "value", rows, 3, cotangent=np.ones((4, 3)), direction=np.ones((4, 3))
    )[..., 0]
    np.testing.assert_array_equal(found[:2], [[0.5, 0.0, 0.5], [1.0, 0.0, 0.0]])
    assert np.isnan(found[2:]).all(), "no limit when all are -inf: it depends on how they go there"


def along(text, rows, kind="value", *, parameters=(), values=(), results=None, cotangent=1.0, direction=1.0, **options):
    """Values or derivatives row by row; the parameters are the same in every row."""
    rows = np.atleast_2d(np.asarray(rows, dtype=float))
    width = rows.shape[1]
    inputs = np.concatenate([rows, np.tile(np.asarray(values, dtype=float), (len(rows), 1))], axis=1)
    c = np.broadcast_to(cotangent, (len(rows), results or width))
    d = np.broadcast_to(direction, inputs.shape)
    found = oracle.along_axis(
        text, list(parameters), kind, inputs, width, cotangent=c, direction=d, options=options or None
    )
    return found[..., 0] + found[..., 1]


def test_rows_that_change_their_size():
    row = [[-1.0, 2.0, 2.0, 0.0]]
    assert along("concat(positive(x), positive(-x))", row, results=8).tolist() == [[0, 2, 2, 0, 1, 0, 0, 0]]
    weights = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    slope = along("concat(positive(x), positive(-x))", row, "vjp", results=8, cotangent=weights)
    assert slope.tolist() == [[-5, 2, 3, 0]], "both slopes at 0 are 0"
    assert along("pool(x, n)", row, results=2, n=2).tolist() == [[2, 2]]
    assert along("pool(x, n)", [[1.0, 3.0, 3.0]], "vjp", results=1, n=3).tolist() == [[0, 1, 0]], "the first maximum"
    assert along("pool(x, 2)", row, "jvp", results=2, direction=[1.0, 2.0, 3.0, 4.0]).tolist() == [[2, 3]]
    assert along("argmax(x)", [[1.0, 3.0, 3.0], [-np.inf] * 3]).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_what_a_row_with_nan_does_not_depend_on_it():
    found = along("concat(positive(x), positive(-x))", [[np.nan, 2.0]], results=4)
    np.testing.assert_array_equal(found, [[np.nan, 2.0, np.nan, 0.0]])
    assert np.isnan(along("exp(x) / sum(exp(x))", [[np.nan, 2.0]])).all()


ENTMAX = "simplex((alpha - 1) * x, 1 / (alpha - 1))"


def entmax(x, alpha):
    """alpha-entmax by bisection: the threshold to the last of 60 digits."""
    z = [(alpha - 1) * v for v in x]
    low, high = max(z) - 1, max(z)
    for _ in range(220):
        middle = (low + high) / 2
        if sum(max(v - middle, mpmath.mpf(0)) ** (1 / (alpha - 1)) for v in z) > 1:
            low = middle
        else:
            high = middle
    return [max(v - low, mpmath.mpf(0)) ** (1 / (alpha - 1)) for v in z]


@pytest.mark.parametrize("row", [[0.3, -1.2, 0.5, 0.1], [5.0, 4.75, -3.0, 4.5], [0.25] * 4, [-2.0, 40.0, 1.0, 39.9]])
@pytest.mark.parametrize("alpha", [1.0625, 1.25, 1.5, 1.875, 2.0])
def test_simplex_is_entmax(alpha, row):
    true = [float(v) for v in entmax([mpmath.mpf(v) for v in row], mpmath.mpf(alpha))]
    got = along(ENTMAX, row, parameters=["alpha"], values=[alpha])[0]
    np.testing.assert_allclose(got, true, rtol=1e-15, atol=1e-50)
    closed = {2.0: "simplex(x, 1)", 1.5: "simplex(x / 2, 2)"}.get(alpha)
    if closed:
        np.testing.assert_array_equal(along(closed, row), [got])


def test_derivatives_of_entmax():
    row, alpha, c = [0.3, -1.2, 0.5, 0.1], 1.375, [0.5, -1.0, 2.0, 0.25]

    def weighted(*v):
        return sum(w * p for w, p in zip(c, entmax(v[:4], v[4])))

    at, step = [*map(mpmath.mpf, row), mpmath.mpf(alpha)], mpmath.mpf(10) ** -15
    moved = lambda i, h: [v + h * (i == j) for j, v in enumerate(at)]
    true = [(weighted(*moved(i, step)) - weighted(*moved(i, -step))) / (2 * step) for i in range(5)]
    got = along(ENTMAX, row, "vjp", parameters=["alpha"], values=[alpha], cotangent=c)[0]
    np.testing.assert_allclose(got, [float(t) for t in true], rtol=1e-14)
    d = [1.0, -0.5, 0.75, 2.0, 0.0]

    def gradient(h, i):
        shifted = [v + h * w for v, w in zip(at, d)]
        up, down = ([v + s * (i == j) for j, v in enumerate(shifted)] for s in (step, -step))
        return (weighted(*up) - weighted(*down)) / (2 * step)

    second = [(gradient(step, i) - gradient(-step, i)) / (2 * step) for i in range(4)]
    got = along(ENTMAX, row, "second", parameters=["alpha"], values=[alpha], cotangent=c, direction=d)[0]
    np.testing.assert_allclose(got, [float(t) for t in second], rtol=1e-12)


def test_an_entry_exactly_at_the_threshold_is_outside():
    for text, row in (("simplex(x, 1)", [1.0, 0.0, 1.0, 0.5]), ("simplex(x / 2, 2)", [2.0, 0.0])):
        got = along(text, row)[0]
        at_threshold = [i for i, v in enumerate(got) if v == 0]
        assert at_threshold and got.sum() == 1
        slopes = along(text, row, "jvp", direction=[float(i in at_threshold) for i in range(len(row))])
        assert not slopes.any()
    assert along(ENTMAX, [[2.0, 0.0]], parameters=["alpha"], values=[1.5]).tolist() == [[1, 0]]


def test_conditions_along_an_axis():
    text = "x * 0 if sum(x**2) == 0 else x / sqrt(sum(x**2))"
    assert along(text, [[0.0, 0.0], [3.0, 4.0]]).tolist() == [[0, 0], [0.6, 0.8]]
    with pytest.raises(oracle.OracleError, match="a whole row has in common"):
        along("x if x > 0 else 0", [[1.0, 2.0]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no definition"),
        ("x +", "not a Python expression"),
        ("x * y", "the name 'y'"),
        ("__import__('os')", "__import__"),
        ("x.real", "x.real"),
        ("abs(x)", "abs(x)"),
        ("[x][0]", "[x][0]"),
        ("lambda: x", "lambda"),
        ("'text'", "'text'"),
    ],
)
def test_definitions_that_are_refused(text, said):
    with pytest.raises(oracle.OracleError) as error:
        oracle.Definition(text, ("x",))
    assert said in str(error.value)


def test_what_cannot_be_certain_is_an_error_not_a_number():
    # The two sides are equal but not recognisably so: the condition can never be decided.
    with pytest.raises(oracle.OracleError, match="not certain"):
        oracle.derivatives("x if sqrt(x)**2 > x else 0", {"x": np.asarray([2.0])}, [()])


def test_the_cache_survives_damage(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIACT_CACHE", str(tmp_path))
    name = oracle.key("test", np.arange(3.0))
    assert oracle.load(name) is None
    oracle.save(name, np.arange(3.0))
    np.testing.assert_array_equal(oracle.load(name), np.arange(3.0))
    (tmp_path / "truth" / f"{name}.npy").write_bytes(b"half a fi")
    assert oracle.load(name) is None
    assert not list(tmp_path.glob("**/*.tmp"))
    assert oracle.key("test", np.arange(3.0)) != oracle.key("test", np.arange(4.0))
