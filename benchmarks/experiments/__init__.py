"""Experiments on real data: what choosing an activation changes, measured (rows F1 to F7), and what tutorials claim beside it.

>>> from multiact.benchmarks.experiments import Setup, compare, load
>>> found = compare(Setup(load("digits"), activations=("relu", "gelu"), seeds=1, epochs=2))
>>> [row["activation"] for row in found.rows]
['relu', 'gelu']
"""

from __future__ import annotations

from .data import Data, load
from .studies import ABLATION, BOUNDARY, COMPARE, CONVOLUTION, COST, DEAD, FLOW, STUDIES
from .study import Result, Setup, Study, read

compare, flow, dead, cost, ablation, boundary, convolution = COMPARE, FLOW, DEAD, COST, ABLATION, BOUNDARY, CONVOLUTION

__all__ = [
    "STUDIES",
    "Data",
    "Result",
    "Setup",
    "Study",
    "ablation",
    "boundary",
    "compare",
    "convolution",
    "cost",
    "dead",
    "flow",
    "load",
    "read",
]
