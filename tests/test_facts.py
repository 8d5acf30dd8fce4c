"""The computed facts, each checked against the function in another way than it was computed, and against the reference."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

import multiact as ma
from multiact import registry
from multiact.facts import SATURATED, Extremum, Kink, Piece
from multiact.initialisation import recommended

oracle = pytest.importorskip("multiact.conformance.oracle")
integrate = pytest.importorskip("scipy.integrate")

INF = math.inf
POINTWISE = [n for n in ma.names() if ma.get(n).kind == "pointwise"]


def all_settings(name):
    """The defaults, where there are any, and the examples."""
    activation = ma.get(name)
    defaults = {p.name: p.default for p in activation.parameters}
    every = [{**defaults, **e} for e in activation.examples]
    return every if None in defaults.values() else [defaults, *every]


CASES = [
    pytest.param(name, given, id=f"{name}-{i}" if i else name)
    for name in POINTWISE
    for i, given in enumerate(all_settings(name))
]
every_setting = pytest.mark.parametrize(("name", "given"), CASES)


def places(name, given):
    return sorted({float(eval(k, {"__builtins__": {}, **vars(math)}, given)) + 0.0 for k in ma.get(name).kinks})


def spread(seed, size=40_000, low=-INF, high=INF):
    """Random numbers of all magnitudes, more of them near 0 and near the ends of an interval, inside it; in order."""
    rng = np.random.default_rng(seed)
    part = size // 4
    far = np.ldexp(rng.uniform(1, 2, part), rng.integers(-1000, 1000, part)) * rng.choice([-1, 1], part)
    wide = np.ldexp(rng.uniform(1, 2, part), rng.integers(-30, 30, part)) * rng.choice([-1, 1], part)
    near = rng.uniform(-40, 40, part)
    ends = [e for e in (low, high) if math.isfinite(e)] or [0.0]
    beside = np.concatenate([e + rng.normal(size=part // len(ends)) for e in ends])
    inner = rng.uniform(low, high, part) if len(ends) == 2 else []
    x = np.concatenate([far, wide, near, beside, inner])
    return np.sort(x[(x > low) & (x < high)])


def dense(name, given, size, reach=40.0):
    """Numbers evenly spread around 0, where there is a value."""
    low, high = ma.facts(name, **given).domain
    x = np.linspace(-reach - 0.01, reach + 0.03, size)
    return x[(x > low) & (x < high)]


def anywhere(name, given, seed):
    low, high = ma.facts(name, **given).domain
    return spread(seed, low=low, high=high)


def ulp(values):
    return np.spacing(np.abs(np.where(np.isfinite(values), values, 1.0)))


def true(name, x, order=0, **given):
    """The value or a derivative by ball arithmetic from the textbook definition."""
    x = np.atleast_1d(np.asarray(x, dtype=np.float64))
    inputs = {"x": x} | {k: np.full(x.shape, v) for k, v in given.items()}
    return oracle.derivatives(ma.get(name).definition, inputs, [("x",) * order])[("x",) * order][0]


@every_setting
def test_no_value_is_outside_the_range_and_its_ends_are_reached(name, given):
    f = ma.facts(name, **given)
    low, high = f.range
    beside = [np.nextafter(k, side) for k in places(name, given) for side in (-INF, INF)]
    values = ma.get(name)(np.concatenate([anywhere(name, given, 1), dense(name, given, 400_001), beside]), **given)
    assert (values >= low - 8 * ulp(low)).all() and (values <= high + 8 * ulp(high)).all()
    for reached, end in ((values.min(), low), (values.max(), high)):
        if math.isinf(end):
            assert abs(reached) > (100 if f.domain == (-INF, INF) else 10) and reached * end > 0
        else:
            assert reached == pytest.approx(end, rel=1e-6, abs=1e-6 * (min(high, 1) - max(low, -1)))


@every_setting
def test_extreme_values_are_taken_where_it_says(name, given):
    f = ma.facts(name, **given)
    for extremum, end, sign in ((f.minimum, f.range[0], 1), (f.maximum, f.range[1], -1)):
        if extremum is None:
            continue
        assert math.isfinite(extremum.at)
        assert true(name, extremum.at, **given)[0] == pytest.approx(extremum.value, rel=1e-14, abs=1e-300)
        assert extremum.value == pytest.approx(end, rel=1e-14, abs=0)
        around = extremum.at + np.asarray([-1, -1e-2, -1e-4, 1e-4, 1e-2, 1])
        assert (sign * (true(name, around, **given) - extremum.value) >= -4 * ulp(extremum.value)).all()


@every_setting
def test_an_extreme_value_that_is_not_taken_is_a_limit_or_beside_a_jump(name, given):
    f = ma.facts(name, **given)
    for extremum, end in ((f.minimum, f.range[0]), (f.maximum, f.range[1])):
        if extremum is None and math.isfinite(end):
            jumps = [k.at for k in f.kinks if k.order == 0]
            beside = [np.nextafter(k, side) for k in jumps for side in (-INF, INF)]
            beside += [np.nextafter(e, -e) for e in f.domain if math.isfinite(e)]
            ends = [*f.limits, *(ma.get(name)(np.asarray(beside), **given) if beside else [])]
            assert any(v == pytest.approx(end, rel=1e-12, abs=0) for v in ends if v is not None)


@every_setting
def test_limits_are_those_of_the_definition(name, given):
    found = true(name, [-INF, INF], **given)
    for side, limit, wanted in zip((-1, 1), ma.facts(name, **given).limits, found):
        if not math.isnan(wanted):
            assert limit == pytest.approx(wanted, rel=1e-15, abs=0)
            continue
        # No limit that the reference can see: none there is, or one that is approached like a logarithm.
        far = true(name, side * 2.0 ** np.asarray([200.0, 251.3, 302.6, 353.9, 405.2, 456.5, 507.8, 559.1]), **given)
        far = far[np.isfinite(far)]
        if not far.size:  # there the function is not defined
            assert limit is None
            continue
        steps = np.diff(far) * np.sign(far[-1])
        assert (limit is None) == (not (steps > 0).all())
        if limit is not None:
            assert math.isinf(limit) and limit * far[-1] > 0 and steps[-1] > 0.9 * steps[0] > 1e-3


@every_setting
def test_the_sign_changes_at_zeros_and_nowhere_else(name, given):
    zeros = ma.facts(name, **given).zeros
    x = dense(name, given, 200_003, 30.3)
    signs = np.sign(ma.get(name)(x, **given))
    changes = x[1:][signs[1:] * signs[:-1] < 0]
    if zeros is None:
        assert changes.size > 3
        return
    inside = [z for z in zeros if abs(z) < 30]
    assert len(changes) + np.isin(inside, x).sum() >= len(inside)
    for change in changes:
        assert min(abs(change - z) for z in inside) < 1e-3
    for zero in zeros:
        width = 1e-6 * max(1.0, abs(zero))
        before, after = true(name, [zero - width, zero + width], **given)
        assert before * after < 0


@every_setting
def test_pieces_go_the_way_they_say(name, given):
    f = ma.facts(name, **given)
    if f.pieces is None:
        x = dense(name, given, 200_001)
        turns = np.diff(np.sign(np.diff(ma.get(name)(x, **given))))
        assert (turns != 0).sum() > 3
        return
    assert (f.pieces[0].low, f.pieces[-1].high) == pytest.approx(f.domain, rel=1e-15)
    for before, after in itertools.pairwise(f.pieces):
        assert before.high == after.low and math.isfinite(after.low)
    jumps = [k for k in f.kinks if k.order == 0]
    for piece in f.pieces:
        inner = ma.get(name)(spread(2, low=piece.low, high=piece.high), **given)
        with np.errstate(invalid="ignore"):
            steps = np.diff(inner[np.isfinite(inner)])
        slack = 8 * ulp(inner[np.isfinite(inner)][1:])
        if piece.direction == "constant":
            assert (steps == 0).all()
        else:
            sign = 1 if piece.direction == "increasing" else -1
            assert (sign * steps >= -slack).all() and (sign * steps > slack).any()
    for before, after in itertools.pairwise(f.pieces):
        assert before.direction != after.direction or any(k.at == after.low for k in jumps)


@every_setting
def test_monotonic(name, given):
    steps = np.diff(values := ma.get(name)(dense(name, given, 60_001), **given))
    slack = 4 * ulp(values[1:])
    rises, falls = bool((steps > slack).any()), bool((steps < -slack).any())
    assert ma.facts(name, **given).monotonic == (not (rises and falls))


@every_setting
def test_no_secant_is_steeper_than_the_lipschitz_constant_and_some_are_as_steep(name, given):
    constant = ma.facts(name, **given).lipschitz
    f = ma.get(name)
    rng = np.random.default_rng(3)
    x = anywhere(name, given, 4)
    a = np.concatenate([x, x, x])
    b = np.concatenate([rng.permutation(x), np.roll(x, 1), x + rng.normal(size=x.size)])
    short = np.asarray([(k, k + h) for k in places(name, given) for h in (-1e-6, 1e-6)]).reshape(-1, 2)
    a, b = np.concatenate([a, short[:, 0]]), np.concatenate([b, short[:, 1]])
    with np.errstate(all="ignore"):
        rise, run = np.abs(f(a, **given) - f(b, **given)), np.abs(a - b)
        room = 8 * (ulp(f(a, **given)) + ulp(f(b, **given)))
        finite = np.isfinite(rise) & np.isfinite(run)
    even = dense(name, given, 400_001)
    measurable = finite & (rise > room * 1e6) & (run > 0)
    edges = [e for e in ma.facts(name, **given).domain if math.isfinite(e)]
    steep = np.concatenate(
        [np.abs(np.diff(f(even, **given))) / np.diff(even), rise[measurable] / run[measurable]]
    ).max()
    if constant == INF:
        assert steep > 1000 or f.smoothness == "discontinuous" or edges
    else:
        assert (rise <= constant * (1 + 1e-12) * run + room)[finite].all()
        assert steep >= constant * (1 - 1e-4)


@every_setting
def test_symmetry(name, given):
    x = spread(5)
    x = x[(np.abs(x) < 1e150) & ~np.isin(np.abs(x), [abs(k.at) for k in ma.facts(name, **given).kinks])]
    plus, minus = ma.get(name)(x, **given), ma.get(name)(-x, **given)
    small = 1e-9 * np.abs(plus)
    found = {
        "odd": bool((np.abs(plus + minus) <= small).all()),
        "even": bool((np.abs(plus - minus) <= small).all()),
    }
    assert ma.facts(name, **given).symmetry == next((word for word, holds in found.items() if holds), "none")


@every_setting
def test_convexity_by_chords(name, given):
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(2, 200_000)) * rng.choice([0.1, 1, 10], 200_000)
    low, high = ma.facts(name, **given).domain
    inside = (np.fmin(a, b) > low) & (np.fmax(a, b) < high)
    a, b = a[inside], b[inside]
    f = ma.get(name)
    ends, middle = (f(a, **given) + f(b, **given)) / 2, f((a + b) / 2, **given)
    slack = 1e-12 * (1 + np.abs(ends) + np.abs(a) + np.abs(b))
    below, above = bool((middle < ends - slack).any()), bool((middle > ends + slack).any())
    wanted = {(True, False): "convex", (False, True): "concave", (False, False): "linear", (True, True): "neither"}
    assert ma.facts(name, **given).convexity == wanted[below, above]


@every_setting
def test_saturation_regions(name, given):
    for side, at in zip((-1, 1), ma.facts(name, **given).saturation):
        if math.isfinite(ma.facts(name, **given).domain[0 if side < 0 else 1]):
            assert at is None
            continue
        slopes = lambda x: np.abs(ma.get(name).derivative(x, **given))
        far = side * np.ldexp(np.random.default_rng(7).uniform(1, 2, 2000), np.arange(2000) % 900 + 10)
        if at is None:
            wiggles = np.diff(np.sign(ma.get(name).derivative(side * np.linspace(1, 1000, 50_000), **given)))
            assert (slopes(far) >= SATURATED).sum() > 100 or (wiggles != 0).sum() > 100
            continue
        assert (slopes(far) < SATURATED)[side * (far - at) > 0].all()
        if math.isfinite(at):
            outside = at + side * np.geomspace(1e-9, 1e3, 40) * max(1.0, abs(at))
            assert (np.abs(true(name, outside, order=1, **given)) < SATURATED).all()
            assert abs(true(name, at - side * 1e-9 * max(1.0, abs(at)), order=1, **given)[0]) > 0.999 * SATURATED


@every_setting
def test_kinks_with_the_slopes_beside_them(name, given):
    f, found = ma.get(name), ma.facts(name, **given).kinks
    assert {k.at for k in found} <= set(places(name, given))
    for kink in found:
        h = 1e-7 * max(1.0, abs(kink.at))
        x = kink.at + h * np.asarray([-2, -1, 0, 1, 2])
        y = f(x, **given)
        left, right = (y[1] - y[0]) / h, (y[4] - y[3]) / h
        assert kink.left == pytest.approx(left, rel=1e-5, abs=1e-5)
        assert kink.right == pytest.approx(right, rel=1e-5, abs=1e-5)
        assert kink.slope == float(f.derivative(np.asarray(kink.at), **given))
        assert kink.slope == pytest.approx(true(name, kink.at, order=1, **given)[0], rel=1e-14, abs=0)
        jump = y[3] - y[1] - (abs(left) + abs(right)) * h
        assert kink.jump == pytest.approx(y[3] - y[1], abs=4e-7 * (1 + abs(left) + abs(right) + abs(kink.at)))
        wanted = 0 if abs(jump) > 1e-3 else 1 if abs(left - right) > 1e-4 else 2
        assert kink.order == wanted
        if wanted == 2:
            second = f.derivative(x, order=2, **given)
            assert max(abs(second[3] - second[1]), abs(second[2] - second[1]), abs(second[3] - second[2])) > 1e-3


@pytest.mark.parametrize("name", POINTWISE)
def test_smoothness_is_the_declared_one(name):
    if None not in [p.default for p in ma.get(name).parameters]:
        assert ma.facts(name).smoothness == ma.get(name).smoothness


def test_smoothness_follows_the_parameters():
    assert [ma.facts("elu", alpha=a).smoothness for a in (0.5, 1.0)] == ["C0", "C1"]
    assert ma.facts("leaky_relu", negative_slope=1.0).smoothness == "Cinf"
    assert ma.facts("leaky_relu", negative_slope=1.0).kinks == ()
    assert ma.facts("threshold", threshold=0.0, value=0.0).smoothness == "C0"


MATH = {name: getattr(math, name) for name in oracle.FUNCTIONS if hasattr(math, name)} | {"pi": math.pi}


@every_setting
def test_moments_by_another_quadrature(name, given):
    """QUADPACK on the textbook definition and on the derivative, split at the kinks."""
    f, found = ma.get(name), ma.facts(name, **given)
    if found.domain != (-INF, INF):
        assert found.mean is found.forward_gain is found.backward_gain is found.initialisation is None
        with pytest.raises(ma.MissingDerivativeError, match="it is not defined for every number, only on"):
            ma.gain(name, **given)
        return
    code = compile(f.definition, "<definition>", "eval")
    known = set(code.co_names) <= {*MATH, *given, "x"}
    textbook = lambda x: eval(code, {"__builtins__": {}, **MATH, **given, "x": x})
    value = textbook if known else lambda x: true(name, x, **given)[0]
    slope = lambda x: float(f.derivative(np.asarray(x), **given))
    density = lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    centres = [0.0, *(k for k in places(name, given) if abs(k) < 11)]
    edges = [-12.0, 12.0, *(c + h for c in centres for h in (-1e-2, -1e-4, -1e-6, 0.0, 1e-6, 1e-4, 1e-2))]

    def mean(g):
        parts = itertools.pairwise(sorted(set(edges)))
        return sum(integrate.quad(lambda x: g(x) * density(x), a, b, limit=400, epsabs=1e-13)[0] for a, b in parts)

    size = math.sqrt(mean(lambda x: value(x) ** 2))
    assert found.mean == pytest.approx(mean(value), rel=1e-9, abs=1e-10 * size)
    assert found.zero_centred == (abs(mean(value)) < 1e-7 * size)
    assert found.forward_gain == pytest.approx(1 / size, rel=1e-9)
    slopes = mean(lambda x: slope(x) ** 2)
    assert found.backward_gain == (pytest.approx(1 / math.sqrt(slopes), rel=1e-9) if slopes else INF)
    assert ma.gain(name, **given) == found.forward_gain
    assert ma.gain(name, backward=True, **given) == found.backward_gain


#: Computed elsewhere and once more by hand where there is a closed form: relu sqrt(2), relu_squared sqrt(2 / 3) and sqrt(1 / 2).
GAINS = {
    "relu": (1.4142, 1.4142),
    "gelu": (1.5335, 1.4811),
    "silu": (1.6765, 1.6233),
    "mish": (1.4868, 1.4448),
    "elu": (1.2452, 1.2234),
    "selu": (1.0000, 0.9660),
    "hard_swish": (1.7367, 1.6701),
    "tanh": (1.5925, 1.4674),
    "softsign": (2.3375, 2.0958),
    "hard_tanh": (1.3920, 1.2103),
    "sigmoid": (1.8462, 4.7226),
    "softplus": (1.0419, 1.8462),
    "relu_squared": (0.8165, 0.7071),
    "quick_gelu": (1.5395, 1.4915),
    "leaky_relu": (1.4141, 1.4141),
}


@pytest.mark.parametrize("name", GAINS)
def test_known_gains(name):
    assert (round(ma.gain(name), 4), round(ma.gain(name, backward=True), 4)) == GAINS[name]


def test_known_facts():
    """Numbers as they are found in papers and textbooks."""
    assert ma.facts("silu").minimum == pytest.approx((-1.27846, -0.27846), abs=5e-6)
    assert ma.facts("gelu").minimum == pytest.approx((-0.75179, -0.16997), abs=5e-6)
    assert ma.facts("mish").minimum == pytest.approx((-1.1924, -0.30884), abs=5e-5)
    assert ma.facts("hard_swish").minimum == Extremum(-1.5, -0.375)
    assert ma.facts("hard_swish").lipschitz == 1.5 and ma.facts("hard_sigmoid").lipschitz == 1 / 6
    assert ma.facts("gelu").lipschitz == pytest.approx(1.1289, abs=5e-5)
    assert ma.facts("silu").lipschitz == pytest.approx(1.0998, abs=5e-5)
    assert ma.facts("silu", beta=50.0).lipschitz == pytest.approx(1.0998, abs=5e-5), "it does not depend on beta"
    assert ma.facts("sigmoid").lipschitz == 0.25 and ma.facts("tanh").lipschitz == 1.0
    assert ma.facts("softplus").limits == (0.0, INF) and ma.facts("tanh").range == (-1.0, 1.0)
    assert ma.facts("selu").mean == pytest.approx(0, abs=1e-12) and ma.facts("selu").zero_centred
    assert ma.facts("relu").mean == pytest.approx(1 / math.sqrt(2 * math.pi), rel=1e-14)
    assert ma.gain("relu") == pytest.approx(math.sqrt(2), rel=1e-14)
    for slope in (0.0, 0.01, 0.25, -0.5):  # He et al., 2015, equation 15
        assert ma.gain("leaky_relu", negative_slope=slope) == pytest.approx(math.sqrt(2 / (1 + slope**2)), rel=1e-14)
    assert ma.facts("relu").pieces == (Piece(-INF, 0.0, "constant"), Piece(0.0, INF, "increasing"))
    assert ma.facts("relu").kinks == (Kink(0.0, 1, 0.0, 0.0, 1.0, 0.0),)
    assert ma.facts("hard_shrink").kinks[0] == Kink(-0.5, 0, 0.0, 1.0, 0.0, 0.5)
    assert ma.facts("hard_tanh").saturation == (-1.0, 1.0) and ma.facts("identity").saturation == (None, None)


@pytest.fixture
def defined():
    """A function that defines an activation for one test."""
    names = []

    def define(value, first, second=None, **facts):
        names.append(f"test_facts_{len(names)}")
        derivatives = {"x": first} if second is None else {"x": first, ("x", "x"): second}
        ma.define(names[-1], value, derivatives, **facts)
        return ma.facts(names[-1])

    yield define
    for name in names:
        registry.unregister(name)


def bounded(xp, x):
    """x where it is finite: what the sine of an infinity stands for."""
    return xp.where(xp.isinf(x), 0.0, x)


@pytest.mark.parametrize("w", [0.01, 1.0, 30.0, 1e4])
def test_a_sine(defined, w):
    f = defined(
        lambda xp, x, /: xp.sin(bounded(xp, w * x)),
        lambda xp, x, /: w * xp.cos(bounded(xp, w * x)),
        lambda xp, x, /: -w * w * xp.sin(bounded(xp, w * x)),
    )
    assert f.range == (-1.0, 1.0) and f.limits == (None, None) and f.lipschitz == w
    assert f.zeros is None and f.pieces is None and not f.monotonic and f.symmetry == "odd"
    assert f.minimum == pytest.approx((-math.pi / 2 / w, -1.0)) and f.saturation == (None, None)
    assert ma.gain(f.activation) == pytest.approx(1 / math.sqrt((1 - math.exp(-2 * w * w)) / 2), rel=1e-12)


def test_an_oscillation_that_grows_and_one_that_fades(defined):
    def gcu_x(xp, x, /):
        u = bounded(xp, x)
        return xp.cos(u) - u * xp.sin(u)

    f = defined(lambda xp, x, /: bounded(xp, x) * xp.cos(bounded(xp, x)), gcu_x)
    assert f.range == (-INF, INF) and f.limits == (None, None) and f.lipschitz == INF
    assert f.minimum is None and f.maximum is None and f.zeros is None and not f.monotonic

    def sinc(xp, x, /):
        u = xp.where(xp.abs(x) < 1e-4, 1.0, x)
        return xp.where(xp.abs(x) < 1e-4, 1 - x * x / 6, xp.sin(bounded(xp, u)) / u)

    def sinc_x(xp, x, /):
        u = xp.where(xp.abs(x) < 1e-4, 1.0, x)
        return xp.where(xp.abs(x) < 1e-4, -x / 3, (xp.cos(bounded(xp, u)) - xp.sin(bounded(xp, u)) / u) / u)

    f = defined(sinc, sinc_x)
    assert f.range == pytest.approx((-0.21723362821122166, 1.0), rel=1e-12) and f.limits == (0.0, 0.0)
    assert f.maximum == (0.0, 1.0) and abs(f.minimum.at) == pytest.approx(4.493409457909064, rel=1e-9)
    assert f.lipschitz == pytest.approx(0.4361818172714585, rel=1e-9) and f.zeros is None and f.pieces is None


def test_an_oscillation_of_growing_frequency(defined):
    def phase(xp, x):
        u = xp.where(xp.abs(x) > 1e150, 0.0, x)
        return 30 * (xp.abs(u) + 1) * u, 30 * (2 * xp.abs(u) + 1)

    f = defined(lambda xp, x, /: xp.sin(phase(xp, x)[0]), lambda xp, x, /: phase(xp, x)[1] * xp.cos(phase(xp, x)[0]))
    assert f.range == (-1.0, 1.0) and f.lipschitz == INF and f.zeros is None


def test_jumps_against_the_slope(defined):
    f = defined(
        lambda xp, x, /: xp.where(x > 1, x - 3, x),
        lambda xp, x, /: xp.ones_like(x),
        lambda xp, x, /: xp.zeros_like(x),
        kinks=("1",),
    )
    assert f.kinks == (Kink(1.0, 0, 1.0, 1.0, 1.0, -3.0),) and f.smoothness == "discontinuous"
    assert not f.monotonic and f.lipschitz == INF and f.convexity == "neither"
    assert f.pieces == (Piece(-INF, 1.0, "increasing"), Piece(1.0, INF, "increasing"))
    assert f.zeros == pytest.approx((0.0, 1.0, 3.0), rel=1e-15)


def test_a_staircase_is_monotonic(defined):
    f = defined(
        lambda xp, x, /: xp.where(x > 1, 2 * xp.ones_like(x), xp.where(x > -1, 1.0, 0.0)),
        lambda xp, x, /: xp.zeros_like(x),
        lambda xp, x, /: xp.zeros_like(x),
        kinks=("-1", "1"),
    )
    assert f.monotonic and [p.direction for p in f.pieces] == ["constant"] * 3
    assert f.range == (0.0, 2.0) and f.minimum.value == 0.0 and f.maximum.value == 2.0
    assert f.backward_gain == INF and f.saturation == (INF, -INF)


def test_overflow_and_underflow(defined):
    f = defined(
        lambda xp, x, /: xp.exp(x * x),
        lambda xp, x, /: 2 * x * xp.exp(x * x),
        lambda xp, x, /: (2 + 4 * (x * x)) * xp.exp(x * x),
    )
    assert f.range == (1.0, INF) and f.minimum == (0.0, 1.0) and f.lipschitz == INF and f.convexity == "convex"
    assert f.forward_gain == 0.0 and f.initialisation is None, "its second moment is infinite"
    f = defined(
        lambda xp, x, /: xp.exp(-xp.exp(-x)),
        lambda xp, x, /: xp.exp(-xp.where(x < -100, 100.0, x) - xp.exp(-x)),
    )
    assert f.range == (0.0, 1.0) and f.pieces == (Piece(-INF, INF, "increasing"),), "an underflow is no plateau"
    assert f.minimum is None and f.maximum is None and f.convexity is None and f.limits == (0.0, 1.0)


def test_where_there_is_no_value(defined):
    f = defined(
        lambda xp, x, /: xp.where(x > -1.5, xp.log(xp.where(x > -1.5, x + 1.5, 1.0)), math.nan),
        lambda xp, x, /: xp.where(x > -1.5, 1 / xp.where(x > -1.5, x + 1.5, 1.0), math.nan),
        lambda xp, x, /: xp.where(x > -1.5, -1 / xp.where(x > -1.5, x + 1.5, 1.0) ** 2, math.nan),
    )
    assert f.domain == (-1.5, INF) and f.range == (-INF, INF) and f.limits == (None, INF)
    assert f.lipschitz == INF and f.convexity == "concave" and f.symmetry == "none" and f.minimum is None
    assert f.zeros == pytest.approx((-0.5,)) and f.monotonic and len(f.pieces) == 1
    assert f.mean is None and f.initialisation is None
    with pytest.raises(ma.MissingDerivativeError, match=r"only on \(-1.5, inf\)"):
        ma.gain(f.activation)
    f = defined(
        lambda xp, x, /: xp.where(xp.abs(x) <= 2, xp.sqrt(xp.where(xp.abs(x) <= 2, 4 - x * x, 1.0)), math.nan),
        lambda xp, x, /: xp.where(xp.abs(x) <= 2, -x / xp.sqrt(xp.where(xp.abs(x) <= 2, 4 - x * x, 1.0)), math.nan),
    )
    assert f.domain == (-2.0, 2.0) and f.range == (0.0, 2.0) and f.limits == (None, None)
    assert f.maximum == (0.0, 2.0) and abs(f.minimum.at) == 2.0 and f.minimum.value == 0.0 and f.symmetry == "even"
    assert f.lipschitz == INF and [p.direction for p in f.pieces] == ["increasing", "decreasing"]


def test_what_the_second_derivative_is_not_needed_for():
    activation = ma.get("mish")
    first = activation.function.partial("x")
    ma.define("test_no_second", lambda xp, x, /: activation.function(xp, x), {"x": lambda xp, x, /: first(xp, x)})
    try:
        known, bare = ma.facts("mish"), ma.facts("test_no_second")
        assert bare.lipschitz == pytest.approx(known.lipschitz, rel=1e-11)
        assert (bare.range, bare.pieces, bare.zeros) == (known.range, known.pieces, known.zeros)
    finally:
        registry.unregister("test_no_second")


def test_facts_far_from_one(defined):
    """Scales of 1e-9 and 1e9 are seen as well."""
    for scale in (1e-9, 1e9):
        f = defined(
            lambda xp, x, /: scale * xp.tanh(x / scale - 1),
            lambda xp, x, /: 1 - xp.tanh(x / scale - 1) ** 2,
            lambda xp, x, /: -2 / scale * xp.tanh(x / scale - 1) * (1 - xp.tanh(x / scale - 1) ** 2),
        )
        assert f.range == pytest.approx((-scale, scale)) and f.lipschitz == pytest.approx(1, rel=1e-12)
        assert f.zeros == pytest.approx((scale,), rel=1e-12) and f.monotonic
    f = defined(lambda xp, x, /: 1e-20 * (x * x * x), lambda xp, x, /: 3e-20 * (x * x))
    assert f.zeros == (0.0,) and f.range == (-INF, INF) and f.symmetry == "odd", "its values underflow around 0"


# Initialisation


def test_recommended_initialisations():
    for name in ("relu", "gelu", "silu", "leaky_relu", "softplus", "sigmoid"):
        found = ma.facts(name).initialisation
        assert found.scheme == "He" and found.gain == ma.gain(name) and "2015" in found.reference
        assert found.std(100, 7) == pytest.approx(ma.gain(name) / 10)
    for name in ("tanh", "softsign", "hard_tanh"):
        found = ma.facts(name).initialisation
        assert (found.scheme, found.gain) == ("Glorot", 1.0) and "2010" in found.reference
        assert found.std(30, 20) == pytest.approx(math.sqrt(2 / 50))
    found = ma.facts("selu").initialisation
    assert (found.scheme, found.gain) == ("LeCun", 1.0) and "Self-normalizing" in found.reference
    sine = dict(vars(ma.facts("tanh")), symmetry="odd", saturation=(None, None))
    found = recommended("sine", 30.0, sine)
    assert found.scheme == "SIREN" and "2006.09661" in found.reference
    assert found.std(256, 1) == pytest.approx(math.sqrt(6 / 256) / 30 / math.sqrt(3)), (
        "uniform within sqrt(6 / n) / omega"
    )
    assert recommended("other", 30.0, sine).scheme == "He"


@pytest.mark.parametrize("name", ["relu", "gelu", "mish", "hard_swish", "selu", "elu", "softplus", "sigmoid", "snake"])
def test_signals_keep_their_size_through_a_deep_network(name):
    rng = np.random.default_rng(8)
    width = 400
    std = ma.facts(name).initialisation.std(width, width)
    z = rng.normal(size=(width, 200))
    for _ in range(6):
        z = rng.normal(size=(width, width)) @ ma.get(name)(z) * std
    assert 0.5 < np.mean(z * z) < 2
    lost = rng.normal(size=(width, 200))
    for _ in range(6):
        lost = rng.normal(size=(width, width)) @ ma.get(name)(lost) * (std / 2)
    assert np.mean(lost * lost) < 0.5 * np.mean(z * z), "a network that forgives any weights shows nothing"


# The interface


def test_properties_are_the_facts_at_the_defaults():
    for name in POINTWISE:
        activation = ma.get(name)
        if None in [p.default for p in activation.parameters]:
            continue
        f = ma.facts(name)
        found = (activation.range, activation.limits, activation.monotonic, activation.lipschitz)
        assert found == (f.range, f.limits, f.monotonic, f.lipschitz)
        assert activation.facts() is f
    assert ma.get("silu").facts(beta=2.0) is ma.facts("swish", beta=2) is not ma.facts("silu")
    threshold = ma.get("threshold")
    assert threshold.range is threshold.limits is threshold.monotonic is threshold.lipschitz is None
    assert ma.facts("gelu", approximate="tanh") is ma.facts("gelu_tanh")


def test_what_is_known_where_there_is_more_than_one_number():
    f = ma.facts("softmax")
    assert f.smoothness == "Cinf" and f.range is None and f.forward_gain is None and ma.get("softmax").limits is None
    f = ma.facts("swiglu", beta=2.0, gate="second")
    assert f.range == (-INF, INF) and f.lipschitz == INF and f.limits is None
    rng = np.random.default_rng(9)
    value, gate = rng.normal(size=(2, 2_000_000))
    assert f.forward_gain == pytest.approx(1 / np.sqrt(np.mean(ma.swiglu(gate, value, beta=2.0) ** 2)), rel=1e-2)
    for backward in (False, True):
        with pytest.raises(
            ma.MissingDerivativeError, match="softmax has no .* gain: it is not a function of one number"
        ):
            ma.gain("softmax", backward=backward)


def test_wrong_requests():
    with pytest.raises(ma.UnknownActivationError, match="Did you mean 'gelu'"):
        ma.facts("gelo")
    with pytest.raises(ma.ParameterError, match=r"needs threshold=\.\.\., which has no default"):
        ma.facts("threshold", value=1.0)
    with pytest.raises(ma.ParameterError, match="has no parameter 'alpha'"):
        ma.gain("silu", alpha=1.0)
    with pytest.raises(
        ma.ParameterError, match="beta must be a number. Received: ndarray. Call facts once for each value"
    ):
        ma.facts("silu", beta=np.ones(3))
    with pytest.raises(ma.ParameterError, match="negative_slope must be in"):
        ma.facts("leaky_relu", negative_slope=INF)


def test_asking_for_nothing_imports_no_numpy():
    code = "import sys, multiact; multiact.names(); multiact.facts, multiact.gain; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    done = subprocess.run(
        [sys.executable, "-c", code.replace("; print", "('relu'); print")], capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr
