"""Is every formula right when a framework differentiates it itself? Some paths of the frameworks bypass declared derivatives.

``where`` with an infinite branch that is not taken has the gradient inf * 0, and abs, maximum and minimum have another
slope at a tie in each framework: such formulas give right values and wrong gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from multiact import dispatch
from multiact.declaration import Activation, Elementwise
from multiact.protocols import Harness

from . import oracle
from .points import ROW

Evaluate = Callable[..., Any]

#: Where exponentials vanish, overflow in float64 and beyond; kinks come to them.
POINTS = (0.0, 1e-8, 0.3, 1.0, 2.5, 7.0, 30.0, 150.0, 1e6, 1e20)
#: Gradients that are built from right pieces are not always accurate: only wrong ones are found.
RELATIVE, ABSOLUTE = 1e-6, 1e-12
#: Beyond it third derivatives are 0 or oscillate, and nearer to a kink they are those of the other side.
FAR, NEAR = 1e3, 1e-6
#: Of finite differences.
STEP = 1e-5


@dataclass(frozen=True)
class Wrong:
    """A gradient that is not what it should be: at which x, what it is, and the true one."""

    at: float
    got: float
    wanted: float


def tower(function: Elementwise, depth: int = 2) -> Iterator[tuple[tuple[str, ...], Elementwise]]:
    """A function and its declared derivatives with what they are differentiated in, each once."""
    nodes: dict[tuple[str, ...], Elementwise] = {(): function}
    for _ in range(depth):
        for wrt, node in list(nodes.items()):
            for argument in function.arguments:
                partial = node.partial(argument)
                more = tuple(sorted((*wrt, argument), key=function.arguments.index))
                if partial is not None and len(more) <= depth:
                    nodes.setdefault(more, partial)
    yield from nodes.items()


def orders(activation: Activation) -> list[str]:
    """Every declared formula in every argument: in "alpha/x" that of the derivative in alpha is differentiated in x."""
    assert isinstance(activation.function, Elementwise)
    found = [(*wrt, a) for wrt, _ in tower(activation.function) for a in activation.function.arguments]
    return ["/".join(wrt) for wrt in found if len(set(wrt)) <= 2]  # what the oracle knows


def points(kinks: Sequence[float]) -> np.ndarray:
    """Numbers of all sizes, both zeros, and the kinks."""
    positive = np.asarray(POINTS)
    return np.concatenate([positive, -positive, kinks])


def wrong(
    harness: Harness, activation: Activation, order: str, parameters: dict[str, float], x: np.ndarray, device: str
) -> list[Wrong]:
    """Where a framework's own derivative of a formula is NaN or not the true one, in float64."""
    *below, last = order.split("/")
    node = activation.function
    for argument in below:
        assert isinstance(node, Elementwise)
        node = node.partial(argument)  # type: ignore[assignment]
    assert isinstance(node, Elementwise)
    inputs = {"x": x, **{n: np.full_like(x, v) for n, v in parameters.items()}}
    names = list(inputs)
    wrt = tuple(sorted((*below, last), key=names.index))
    truth, _ = oracle.derivatives(activation.definition, inputs, [wrt])[wrt]
    xp = dispatch.backend(harness.name).namespace
    arrays = list(inputs.values())
    with np.errstate(all="ignore"):
        call = lambda *given: node(xp, *given)
        result = harness.evaluate(call, arrays, wrt=(names.index(last),), dtype="float64", device=device)
        got = np.broadcast_to(result.values, x.shape)
        large = np.isinf(truth) | (np.abs(truth) > 1e300)
        near = np.isnan(truth) | (np.abs(got - truth) <= RELATIVE * np.abs(truth) + ABSOLUTE)
    bad = ~large & (np.isnan(got) | ~near)
    return [Wrong(float(x[i]), float(got[i]), float(truth[i])) for i in np.flatnonzero(bad)]


def higher(evaluate: Evaluate, subject: Any, call: Any, order: int, device: str) -> tuple[list[Wrong], int]:
    """Where a derivative above the second is wrong, in float64, away from kinks, and at how many points that was asked.

    Along an axis finite differences of the derivative of one order less take the place of the truth.
    """
    parameters = dict(subject.parameters)
    settings: dict[str, Any] = {"dtype": "float64", "device": device}
    if subject.activation.kind == "axiswise":
        return _along_axis(evaluate, subject, call, order, settings)
    kinks = np.asarray(subject.activation.kinks_at(parameters), dtype=np.float64)
    x = points(())
    x = x[np.abs(x) < FAR]
    if kinks.size:
        x = x[np.abs(x[:, None] - kinks).min(axis=1) > NEAR]
    inputs = {n: np.full_like(x, v) for n, v in parameters.items()}
    gated = subject.activation.kind == "gated"
    inputs = ({"value": np.full_like(x, 1.5)} if gated else {}) | {"x": x} | inputs
    wrt = ("x",) * order
    truth, _ = oracle.derivatives(subject.activation.definition, inputs, [wrt])[wrt]
    arrays = [inputs["x" if n == "gate" else n] for n in subject.names]
    at = subject.names.index("gate" if gated else "x")
    with np.errstate(all="ignore"):
        got = evaluate(call, arrays, wrt=(at,) * order, **settings).values.ravel()
    bad = ~(np.abs(got - truth) <= RELATIVE * np.abs(truth) + ABSOLUTE) & ~np.isnan(truth)
    return [Wrong(float(x[i]), float(got[i]), float(truth[i])) for i in np.flatnonzero(bad)], x.size


def _along_axis(
    evaluate: Evaluate, subject: Any, call: Any, order: int, settings: dict[str, Any]
) -> tuple[list[Wrong], int]:
    random = np.random.default_rng(31)
    function = subject.activation.function
    options = {o.name: o.default for o in subject.activation.options if not o.variants}
    trailing = (1,) * (-1 - function.axis(options))
    out = function.output_shape((ROW, *trailing), options)[0]
    x, *tangents = (random.normal(size=(5, ROW, *trailing)) for _ in range(order))
    cotangent = random.normal(size=(5, out, *trailing))

    def below(shift: float) -> np.ndarray:
        given = [cotangent, *tangents[: order - 2]]
        found = evaluate(call, [x + shift * tangents[-1]], wrt=(0,) * (order - 1), directions=given, **settings)
        return np.asarray(found.values)

    directions = [cotangent, *tangents]
    got = np.asarray(evaluate(call, [x], wrt=(0,) * order, directions=directions, **settings).values)
    wanted = (below(STEP) - below(-STEP)) / (2 * STEP)
    bad = ~(np.abs(got - wanted) <= 1e-5 * np.maximum(1.0, np.abs(wanted)))
    return [Wrong(float(x[i]), float(got[i]), float(wanted[i])) for i in zip(*np.nonzero(bad))], got.size
