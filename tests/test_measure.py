"""Formats, the error measure, and the points."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from multiact.conformance import measure, oracle, points
from multiact.conformance.measure import Truth
from multiact.conformance.points import FORMATS


def truth(high, low=0.0, slack=0.0, factor=1.0):
    high = np.asarray(high, dtype=np.float64)
    return Truth(high, *(np.broadcast_to(np.asarray(v, dtype=np.float64), high.shape) for v in (low, slack, factor)))


def judge(got, true, dtype, **more):
    return measure.errors(
        np.atleast_1d(np.asarray(got, dtype=np.float64)), truth(np.atleast_1d(true), **more), FORMATS[dtype]
    )


@pytest.mark.parametrize("name", FORMATS)
def test_formats_match_the_dtypes(name):
    fmt = FORMATS[name]
    info = ml_dtypes.finfo(fmt.dtype)
    assert (fmt.smallest, fmt.largest) == (float(info.smallest_normal), float(info.max))
    assert fmt.ulp(np.asarray(1.0)) == float(info.eps)
    assert fmt.ulp(np.asarray(0.0)) == fmt.ulp(np.asarray(fmt.smallest)) == float(info.smallest_subnormal)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32"])
def test_rounding_is_to_nearest_even_and_happens_once(name):
    fmt = FORMATS[name]
    eps = float(fmt.ulp(np.asarray(1.0)))
    cases = {
        1 + eps / 2: 1.0,
        1 + 3 * eps / 2: 1 + 2 * eps,
        # Twice rounded, over float32, these would end on the other side.
        1 + eps / 2 + 2.0**-50: 1 + eps,
        1 + 3 * eps / 2 - 2.0**-50: 1 + eps,
        fmt.largest + 2.0 ** (fmt.high - fmt.digits) * 0.99: fmt.largest,
        fmt.largest + 2.0 ** (fmt.high - fmt.digits): np.inf,
    }
    np.testing.assert_array_equal(fmt.round(np.asarray(list(cases))), list(cases.values()))
    np.testing.assert_array_equal(
        fmt.round(np.asarray([np.inf, -np.inf, np.nan, -0.0])), [np.inf, -np.inf, np.nan, 0.0]
    )


def test_a_tie_broken_by_the_low_part():
    fmt = FORMATS["bfloat16"]
    tie = 1 + 2.0**-8
    rounded = [float(truth([tie], low=low).rounded(fmt)[0]) for low in (-1e-25, 0.0, 1e-25)]
    assert rounded == [1.0, 1.0, 1 + 2.0**-7]


def test_error_is_measured_against_result_and_inputs():
    eps = 2.0**-23
    found = judge([1 + 2 * eps], [1.0], "float32")
    assert (found.error[0], found.ulps[0], found.exact[0]) == (2.0, 2.0, False)
    assert judge([1 + 2 * eps], [1.0], "float32", slack=3 * eps).error[0] == 0.5
    assert judge([1.0], [1.0], "float32", low=0.25 * eps).error[0] == 0.25


def test_results_below_the_smallest_normal_may_be_flushed():
    small = FORMATS["float32"].smallest / 4
    found = judge([0.0, -0.0, 3 * small, 1.5 * small], [small, -small, small, small], "float32")
    assert found.exact.tolist() == [True, True, False, False] and found.error[2] > 1e6
    # Closer to the truth than the zero that would be accepted.
    assert found.error[3] == 1.0
    assert not judge([0.0], [8 * small], "float32").exact[0]
    # In a product the factor that was flushed may have been multiplied.
    assert judge([0.0], [8 * small], "float32", factor=24.0).exact[0]
    assert not judge([0.0], [100 * small], "float32", factor=24.0).exact[0]


def test_nan_and_infinity():
    found = judge([np.nan, np.nan, 1.0, np.inf, -np.inf, np.inf], [np.nan, 1.0, np.nan, np.inf, np.inf, 1.0], "float32")
    assert found.disagree.tolist() == [False, True, True, False, True, True]
    summary = measure.summary(found)
    assert (summary.disagreements, summary.at, summary.worst_error) == (4, 1, 0.0)


def test_overflow_is_right_on_both_sides_of_the_threshold():
    fmt = FORMATS["float32"]
    ulp = float(fmt.ulp(np.asarray(fmt.largest)))
    found = judge([np.inf, fmt.largest, np.inf], [fmt.largest, fmt.largest + ulp, fmt.largest / 2], "float32")
    assert found.disagree.tolist() == [False, False, True]
    assert found.error.tolist() == [1.0, 1.0, np.inf]
    # The truth that is only as large as a double can hold is an overflow too.
    assert judge([np.inf], [np.inf], "float64").exact[0]


def test_the_sign_of_zero_does_not_count():
    assert judge([-0.0], [0.0], "float64").exact[0]


def test_share_is_of_results_that_may_not_be_flushed():
    small = FORMATS["float16"].smallest
    found = judge([1.0, 1.0, small / 3], [1.0, 1 + 2.0**-10, small / 2], "float16")
    assert measure.summary(found).share == 0.5


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_points_are_all_bit_patterns(name):
    fmt = FORMATS[name]
    found = points.patterns(fmt)
    assert found.size == 65536
    with np.errstate(invalid="ignore"):
        back = found.astype(fmt.dtype).view(np.uint16)
    number = ~np.isnan(found)
    np.testing.assert_array_equal(back[number], np.arange(65536, dtype=np.uint16)[number])


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_stratified_points_cover_what_they_should(name):
    fmt = FORMATS[name]

    def evaluate(x):
        return oracle.derivatives("x if x > 0.1 else 1 / (1 + exp(-x))", {"x": x}, [(), ("x",)], tiny=fmt.tiny)

    kink = float(np.float32(0.1)) if name == "float32" else 0.1
    found = points.stratified(evaluate, fmt, np.asarray([0.1]))
    assert 5_000 < found.size < 20_000
    np.testing.assert_array_equal(fmt.round(found), found)
    assert np.isnan(found).any() and {np.inf, -np.inf, 0.0, fmt.largest, -fmt.smallest} <= set(found)
    assert np.signbit(found[found == 0]).tolist().count(True) == 1
    near = fmt.dtype.type(kink)
    assert {float(near), float(np.nextafter(near, near * 2)), float(np.nextafter(near, near / 2))} <= set(found)
    exponents = set(np.frexp(found[np.isfinite(found) & (found > 0)])[1] - 1)
    assert set(range(fmt.low, fmt.high + 1)) <= exponents
    # Where exp(x) turns subnormal: found by bisection, so to the last float.
    edge = points.edges(evaluate, fmt, np.zeros(0))
    assert np.abs(edge - np.log(fmt.smallest)).min() < 1e-4
    np.testing.assert_array_equal(found, points.stratified(evaluate, fmt, np.asarray([0.1])))


def test_rows_hold_masks_ties_and_every_pattern():
    fmt = FORMATS["bfloat16"]
    found = points.rows(fmt, every_pattern=True)
    assert found.shape[1] == points.ROW
    every = points.patterns(fmt)
    assert np.isin(every[~np.isnan(every)], found).all()
    assert (np.isneginf(found).all(axis=1)).any() and np.isposinf(found).any() and np.isnan(found).any()
    assert (found[:, 0] == found[:, 1]).any()
    assert len(points.rows(fmt, every_pattern=False)) < 1000


def test_the_point_shown_is_one_that_failed():
    eps = 2.0**-7
    # E is largest at the first, which is rightly rounded; the second has a large slack and is not.
    true = truth([1 + 0.49 * eps, 1.0], slack=np.asarray([0.0, 100 * eps]))
    found = measure.errors(np.asarray([1.0, 1 + eps]), true, FORMATS["bfloat16"])
    assert found.error[0] > found.error[1] and found.exact.tolist() == [True, False]
    assert measure.summary(found, half=True).at == 1
    assert measure.summary(found).at == 0


def test_faults_are_runs_of_neighbours_and_each_infinity():
    x = np.concatenate([np.linspace(-10, 10, 201), [np.inf, -np.inf, np.nan]])
    got = np.where((x < -5) | (x > 8), 1.5, 1.0)
    got[[3, 202, 203]] = np.nan  # -9.7, -inf, nan
    true = truth(np.where(np.isnan(x), np.nan, 1.0))
    found = measure.errors(got, true, FORMATS["float32"])
    shown = [(f.low, f.high, f.points) for f in measure.faults(found, x, 4.0, half=False)]
    assert shown[:2] == [(-np.inf, -np.inf, 1), (-9.7, -9.7, 1)]
    np.testing.assert_allclose(sorted(shown[2:]), [(-10, -5.1, 49), (8.1, 10, 20), (np.inf, np.inf, 1)])
    assert not measure.faults(measure.errors(true.high, true, FORMATS["float32"]), x, 4.0, half=False)
