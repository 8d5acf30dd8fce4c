"""Why does a network not train? Gradients, dead units, saturation, over a data set, in any framework.

>>> import torch
>>> from multiact import diagnostics
>>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
>>> diagnostics.gradient_flow(model, torch.ones(16, 4)).verdict
'healthy'
"""

from __future__ import annotations

from .flow import GradientFlow, gradient_flow
from .monitoring import Monitor
from .neurons import Neurons, dead_neurons
from .patterns import Patterns, activation_patterns
from .pruning import Pruned, prune
from .reporting import Finding, Report, report

__all__ = [
    "Finding",
    "GradientFlow",
    "Monitor",
    "Neurons",
    "Patterns",
    "Pruned",
    "Report",
    "activation_patterns",
    "dead_neurons",
    "gradient_flow",
    "prune",
    "report",
]
