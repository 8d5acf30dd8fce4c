"""What the speed should be, as data, and how far the rows of a report are from it. Nothing here fails: it is reported."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from multiact import measured
from multiact.declaration import Budget

Row = Mapping[str, Any]
MILLION = 1 << 20
LARGE = 1 << 26
ITEM = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
#: How many activations are listed that fall short.
LISTED = 8
#: Frameworks give back the input itself: there is nothing to compare.
LEFT_OUT = ("identity",)


@dataclass(frozen=True)
class Target:
    """One demand on all rows that it is about.

    Attributes
    ----------
    about : what it compares, for people.
    where : the fields that a row must have, or the fields with the values of which it must have one.
    figure : gives the number of a row; None where it has none.
    statistic : "geometric mean" of all rows, or each row is "at least" or "at most" the bound.
    exceptions : other bounds, by the activation.
    """

    about: str
    where: Mapping[str, Any]
    figure: Callable[[Row], float | None]
    statistic: Literal["geometric mean", "at least", "at most"]
    bound: float
    unit: str = ""
    exceptions: Mapping[str, float] = field(default_factory=dict)

    def concerns(self, row: Row) -> bool:
        return row["activation"] not in LEFT_OUT and all(_fits(row.get(k), v) for k, v in self.where.items())


@dataclass(frozen=True)
class Outcome:
    """What came of a target: `value` is the mean, or the worst of all rows; `short` are the activations that fall short."""

    about: str
    statistic: str
    bound: float
    unit: str
    verdict: Literal["met", "fell short", "not measured"]
    value: float | None
    count: int
    short: list[tuple[str, float]]


def _fits(value: Any, wanted: Any) -> bool:
    if callable(wanted):
        return bool(wanted(value))
    return value in wanted if isinstance(wanted, tuple) else value == wanted


def _speedup(row: Row) -> float | None:
    return row["speedup"]  # type: ignore[no-any-return]


def _of_limit(row: Row) -> float | None:
    return row["of_limit"]  # type: ignore[no-any-return]


def _saved(row: Row) -> float | None:
    """In tensors of the input's size."""
    return None if row["saved_bytes"] is None else row["saved_bytes"] / (row["size"] * ITEM[row["dtype"]])


def _overhead(row: Row) -> float | None:
    """Microseconds of a call more than the framework's own."""
    return None if row["speedup"] is None else 1e6 * (row["seconds"] - row["native_seconds"])


def _certain_overhead(row: Row) -> float | None:
    """The same, as far as it is more than the rounds differ among themselves."""
    more = _overhead(row)
    return None if more is None else more - 1e6 * max(row["spread"], row["native_spread"])


def _within_budget(row: Row) -> float | None:
    """The speed-up over a native that keeps the error budget of conformance in what is timed."""
    orders = (0,) if row["direction"] == "forward" else (0, 1)
    own = [
        r
        for r in measured.rows(row["activation"])
        if r["native"] and r["backend"] == row["backend"] and r["dtype"] == row["dtype"] and r["order"] in orders
    ]
    kept = own and all(
        r["nonfinite_disagreements"] == 0 and float(r["worst_error"]) <= Budget().order(r["order"]) for r in own
    )
    return row["speedup"] if kept else None


def _comparison(about: str, mean: float | None, least: float, where: Mapping[str, Any], **more: Any) -> list[Target]:
    found = [
        Target(about, where, _speedup, "at least", least, "x", **more),
        Target(f"{about}, natives within the error budget", where, _within_budget, "at least", least, "x"),
    ]
    return ([Target(about, where, _speedup, "geometric mean", mean, "x")] if mean else []) + found


def targets() -> list[Target]:
    """All of them: of float32, of bfloat16, of memory, of small arrays, of GPUs."""
    both = {"forward": "forward", "forward_backward": "forward + backward"}
    exact = {"exceptions": {"gelu": 0.5}}  # torch's loses its digits in the tail
    found: list[Target] = []
    for dtype, mean in (("float32", None), ("bfloat16", 1.3)):
        usual = {"device": "cpu", "dtype": dtype, "size": MILLION}
        least = 0.9 if mean is None else 0.8
        for mode, title in (("compiled", "torch.compile"), ("eager", "torch eager, kernels built")):
            where = {**usual, "backend": "torch", "mode": mode, "built": True, "direction": "forward_backward"}
            found += _comparison(f"{title}, {dtype}, forward + backward", mean or 1.5, least, where, **exact)
        for direction, said in both.items():
            where = {**usual, "backend": "jax", "mode": "compiled", "direction": direction}
            found += _comparison(f"JAX jitted, {dtype}, {said}", mean or 1.8, least, where)
            where = {**usual, "backend": "tensorflow", "mode": "xla", "direction": direction}
            found += _comparison(f"TensorFlow XLA, {dtype}, {said}", mean or 1.5, least, where)
            where = {**usual, "backend": "tensorflow", "mode": "compiled", "direction": direction}
            found += _comparison(f"tf.function, {dtype}, {said}", None, 0.8, where)
    for direction, said in both.items():
        where = {"device": "cpu", "dtype": "float32", "size": MILLION, "backend": "torch", "mode": "eager"}
        where |= {"built": False, "direction": direction}
        about = f"torch eager, nothing built, native within budget, {said}"
        found.append(Target(about, where, _within_budget, "at least", 0.8, "x"))
    where = {"kind": "pointwise", "direction": "forward_backward", "size": lambda size: size >= 1 << 14}
    for backend in ("torch", "jax"):
        about = f"{backend}, tensors saved for backward"
        found.append(Target(about, {**where, "backend": backend}, _saved, "at most", 1.0))
    small = {"device": "cpu", "dtype": "float32", "size": 64}
    for direction, bound in (("forward", 25.0), ("forward_backward", 60.0)):
        where = {**small, "backend": "torch", "mode": "eager", "direction": direction}
        about = f"torch eager, 64 elements, {both[direction]}, more than native"
        found.append(Target(about, where, _overhead, "at most", bound, "us"))
        where = {**small, "backend": "jax", "mode": "compiled", "direction": direction}
        about = f"JAX jitted, 64 elements, {both[direction]}, more than native beyond the spread"
        found.append(Target(about, where, _certain_overhead, "at most", 0.0, "us"))
    gpu = {"device": ("cuda", "gpu"), "kind": "pointwise", "size": lambda size: size >= LARGE}
    for backend, mode, title in (
        ("torch", "compiled", "torch.compile"),
        ("torch", "eager", "torch eager, kernels built"),
        ("jax", "compiled", "JAX jitted"),
    ):
        for dtype in ("float32", "bfloat16"):
            for direction, said in both.items():
                where = {**gpu, "backend": backend, "mode": mode, "dtype": dtype, "direction": direction}
                where |= {"built": True} if mode == "eager" else {}
                about = f"GPU, {title}, {dtype}, {said}"
                found.append(Target(f"{about}, share of the copy limit", where, _of_limit, "at least", 0.85))
                found.append(Target(f"{about}, against native", where, _speedup, "at least", 1.0, "x"))
    return found


def judge(target: Target, rows: Iterable[Row]) -> Outcome:
    """What came of one target in the rows of one report or several."""
    found = [(r["activation"], v) for r in rows if target.concerns(r) and (v := target.figure(r)) is not None]
    facts = {"about": target.about, "statistic": target.statistic, "bound": target.bound, "unit": target.unit}
    if not found:
        return Outcome(**facts, verdict="not measured", value=None, count=0, short=[])  # type: ignore[arg-type]
    if target.statistic == "geometric mean":
        value = geometric_mean([v for _, v in found])
        short = [] if value >= target.bound else sorted(found, key=lambda f: f[1])[:LISTED]
    else:
        most = target.statistic == "at most"
        value = (max if most else min)(v for _, v in found)
        by_name: dict[str, float] = {}
        for name, v in found:
            bound = target.exceptions.get(name, target.bound)
            if v > bound * 1.001 if most else v < bound:
                by_name[name] = (max if most else min)(v, by_name.get(name, v))
        short = sorted(by_name.items(), key=lambda f: -f[1] if most else f[1])
    verdict = "fell short" if short else "met"
    return Outcome(**facts, verdict=verdict, value=value, count=len(found), short=short)  # type: ignore[arg-type]


def outcomes(rows: Sequence[Row]) -> list[Outcome]:
    return [judge(target, rows) for target in targets()]


def usual_size(rows: Iterable[Row]) -> int:
    """The size at which most was measured, of several the largest; 0 for no rows."""
    counts = Counter(r["size"] for r in rows)
    return max(counts, key=lambda size: (counts[size], size), default=0)


def geometric_mean(values: Iterable[float]) -> float:
    """Of positive numbers; of none, NaN."""
    given = list(values)
    return statistics.geometric_mean(given) if given else math.nan


@dataclass(frozen=True)
class Group:
    """All activations of one backend, mode, dtype, direction and size: how they compare, and which come off worst."""

    backend: str
    mode: str
    dtype: str
    device: str
    direction: str
    size: int
    count: int
    compared: int
    speedup: float
    over_naive: float
    at_limit: float
    of_limit: float
    worst: list[tuple[str, float]]


GROUP = ("backend", "mode", "dtype", "device", "direction", "size")


def groups(rows: Iterable[Row]) -> list[Group]:
    """In the order of the rows; `speedup`, `over_naive` and `at_limit` are geometric means, `of_limit` is the median.

    `at_limit` is what `speedup` would be if nothing of ours took longer than the copy.
    """
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["seconds"] is not None:
            found.setdefault(tuple(row[k] for k in GROUP), []).append(row)
    result = []
    for key, group in found.items():
        compared = [r for r in group if r["speedup"] is not None and r["activation"] not in LEFT_OUT]
        naive = [r["naive_seconds"] / r["seconds"] for r in group if r["naive_seconds"] is not None]
        limits = [r["of_limit"] for r in group if r["of_limit"] is not None]
        result.append(
            Group(
                **dict(zip(GROUP, key)),
                count=len(group),
                compared=len(compared),
                speedup=geometric_mean(r["speedup"] for r in compared),
                over_naive=geometric_mean(naive),
                at_limit=geometric_mean(
                    r["native_seconds"] / min(r["seconds"], r["copy_seconds"])
                    for r in compared
                    if r["copy_seconds"] is not None
                ),
                of_limit=statistics.median(limits) if limits else math.nan,
                worst=sorted(((r["activation"], r["speedup"]) for r in compared), key=lambda f: f[1])[:3],
            )
        )
    return result
