"""Is every formula right when a framework differentiates it itself? Some paths of the frameworks bypass declared derivatives.

``where`` with an infinite branch that is not taken has the gradient inf * 0, and abs, maximum and minimum have another
slope at a tie in each framework: such formulas give right values and wrong gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from multiact import dispatch
from multiact.declaration import Activation, Elementwise
from multiact.protocols import Harness

from . import oracle

#: Where exponentials vanish, overflow in float64 and beyond; kinks come to them.
POINTS = (0.0, 1e-8, 0.3, 1.0, 2.5, 7.0, 30.0, 150.0, 1e6, 1e20)
#: Gradients that are built from right pieces are not always accurate: only wrong ones are found.
RELATIVE, ABSOLUTE = 1e-6, 1e-12


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
