"""What tutorials and papers claim of activations, beside what the experiments measured: docs/claims.md."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from multiact.errors import MultiactError

from .studies import DEPTH, by_layer, epochs_to, geometric, relative
from .study import Result, Row, grouped, mean, spread

Verdict = Literal["confirmed", "wrong", "depends", "not seen here"]
Found = tuple[Verdict, str]
Results = Mapping[str, Result]


@dataclass(frozen=True)
class Claim:
    """A claim, where it is made, the experiments that it is judged by, and how."""

    text: str
    source: str
    studies: tuple[str, ...]
    judge: Callable[[Results], Found]


CLAIMS: list[Claim] = []
#: The two networks that are trained with one activation after the other, and what they are.
NETWORKS = (("compare", "dense"), ("convolution", "convolutional"))


def claim(text: str, source: str, *studies: str) -> Callable[[Callable[[Results], Found]], Callable[[Results], Found]]:
    def add(judge: Callable[[Results], Found]) -> Callable[[Results], Found]:
        CLAIMS.append(Claim(text, source, studies, judge))
        return judge

    return add


def judged(results: Results) -> list[tuple[Claim, Verdict, str]]:
    """Every claim with its verdict.

    Raises
    ------
    MultiactError : results are missing of an experiment, or of an activation in one.
    """
    found = []
    for one in CLAIMS:
        missing = [name for name in one.studies if name not in results]
        if missing:
            raise MultiactError(
                f"the claims need the results of the experiments {', '.join(missing)}. Run: multiact experiment all"
            )
        try:
            found.append((one, *one.judge(results)))
        except KeyError as error:
            raise MultiactError(
                f"the claim {one.text!r} needs {error.args[0]!r} among the activations of: {', '.join(one.studies)}."
            ) from None
    return found


def _of(result: Result, name: str, **conditions: object) -> list[Row]:
    """The runs of an activation."""
    found = [r for r in result.rows if r["activation"] == name and all(r[k] == v for k, v in conditions.items())]
    if not found:
        raise KeyError(name)
    return found


def _as_far(good: Sequence[bool], nowhere: Verdict) -> Verdict:
    """Confirmed where it holds everywhere, and where it does not hold anywhere this."""
    return "confirmed" if all(good) else "depends" if any(good) else nowhere


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


# Gradients


@claim(
    f"Through {DEPTH} layers of sigmoids the gradient shrinks to at most 0.25^{DEPTH}, about 1e-12.",
    "the usual explanation of vanishing gradients, from the largest slope of the sigmoid, 0.25; Hochreiter, 1991, has the argument",
    "flow",
)
def _sigmoid(results: Results) -> Found:
    ratios = {s: geometric(_of(results["flow"], "sigmoid", start=s), "ratio") for s in ("glorot", "torch", "paired")}
    bound = 0.25**DEPTH
    verdict: Verdict = "depends"
    if all(r <= 2 * bound for r in ratios.values()):
        verdict = "confirmed"
    elif all(r > 100 * bound for r in ratios.values()):
        verdict = "wrong"
    return verdict, (
        f"First over last layer: {ratios['torch']:.1g} with torch's default weights, {ratios['glorot']:.1g} with Glorot's as in "
        f"Keras, {ratios['paired']:.1g} with weights that make up for the slope. The bound leaves the weights out: each layer "
        f"multiplies by slope times gain, and the gain is chosen by the initialisation."
    )


@claim(
    "ReLU has slope 1, so gradients pass through many layers unchanged.",
    "tutorials; Glorot, Bordes and Bengio, Deep sparse rectifier neural networks, 2011, say it of the active paths",
    "flow",
)
def _relu(results: Results) -> Found:
    ratios = {s: geometric(_of(results["flow"], "relu", start=s), "ratio") for s in ("paired", "glorot", "torch")}
    good = [0.1 < r < 10 for r in ratios.values()]
    return _as_far(good, "wrong"), (
        f"First over last of {DEPTH} layers: {ratios['paired']:.2g} with He's weights, {ratios['glorot']:.1g} with Glorot's, "
        f"{ratios['torch']:.1g} with torch's default. Half of the paths are closed; only weights with the gain sqrt(2) make up for it."
    )


@claim(
    "With Xavier's initialisation deep rectifier networks stall, with He's they do not.",
    "He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015, figure 3 (30 layers)",
    "flow",
)
def _he(results: Results) -> Found:
    he, glorot = (geometric(_of(results["flow"], "relu", start=s), "ratio") for s in ("paired", "glorot"))
    verdict: Verdict = "confirmed" if he > 0.1 and glorot < 0.01 else "not seen here"
    return (
        verdict,
        f"The gradient reaches the first of {DEPTH} layers {he / glorot:,.0f} times as large with He's weights.",
    )


@claim(
    "SELU keeps signals and gradients at their size by itself.",
    "Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural networks, 2017",
    "flow",
)
def _selu(results: Results) -> Found:
    rows = _of(results["flow"], "selu", start="paired")
    ratio, others = geometric(rows, "ratio"), geometric(_of(results["flow"], "selu", start="torch"), "ratio")
    signals = [row["signals"][DEPTH - 1] for row in rows]
    verdict: Verdict = "depends" if 0.1 < ratio < 10 and not 0.1 < others < 10 else "confirmed"
    if not 0.1 < ratio < 10:
        verdict = "wrong"
    return verdict, (
        f"With LeCun's weights the gradient's ratio is {ratio:.2g} and the signal in layer {DEPTH} has the size "
        f"{statistics.fmean(signals):.2f}; with torch's default weights the ratio is {others:.1g}. It holds together with its initialisation."
    )


# Dead units and zeros


@claim(
    "As much as 40 % of a ReLU network can be dead if the rate of learning is too high.",
    "Karpathy and others, CS231n, Convolutional neural networks for visual recognition, course notes, Stanford, from 2015",
    "dead",
)
def _dying(results: Results) -> Found:
    by = {rate: own for (rate,), own in grouped(_of(results["dead"], "relu", start="paired"), "rate").items()}
    cells = {rate: mean(own, "dead") for rate, own in by.items()}
    known = {rate: share for rate, share in cells.items() if math.isfinite(share)}
    worst = max(known, key=lambda rate: known[rate])
    verdict: Verdict = "confirmed" if known[worst] >= 0.4 else "not seen here"
    listed = ", ".join(f"{_percent(share)} at {rate:g}" for rate, share in known.items())
    lost = sum(row["diverged"] for own in by.values() for row in own)
    return verdict, (
        f"SGD with momentum 0.9 from He's weights: {listed}"
        f"{f'; {lost} runs diverged' if lost else ''}. At the rates that learn best few die; above, it can be more than 40 %."
    )


@claim(
    "Weights that are too small or too large kill ReLU units.",
    "tutorials on dying ReLU; Lu, Shin, Su and Karniadakis, Dying ReLU and initialization, 2019, for deep and narrow networks",
    "dead",
)
def _starts(results: Results) -> Found:
    rate = min(row["rate"] for row in results["dead"].rows)
    cells = {
        start: (mean(own, "dead_before"), mean([row for row in own if row["rate"] == rate], "dead"))
        for (start,), own in grouped(_of(results["dead"], "relu"), "start").items()
    }
    worse = [s for s in ("small", "large") if cells[s][1] > cells["paired"][1] + 0.05]
    verdict: Verdict = "confirmed" if len(worse) == 2 else "depends" if worse else "not seen here"
    listed = "; ".join(
        f"{start}: {_percent(a)} before, {_percent(b)} after training" for start, (a, b) in cells.items()
    )
    return verdict, (
        f"Rate {rate:g}, three layers. {listed}. Without biases the scale of the weights does not change which units fire at the start; "
        f"it changes how large the first steps are."
    )


@claim(
    "Leaky ReLU has no dead units.",
    "Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic models, 2013",
    "dead",
)
def _leaky(results: Results) -> Found:
    own = _of(results["dead"], "leaky_relu")
    worst = max(
        (row["dead"] for row in own if row["dead"] is not None and math.isfinite(row["dead"])), default=math.nan
    )
    lost = sum(row["diverged"] for row in own)
    return "confirmed" if worst == 0 else "wrong", (
        f"At most {_percent(worst)} over all rates and starts, by definition: its slope is nowhere 0. "
        f"It does not make high rates safe: {lost} of {len(own)} runs diverged."
    )


@claim(
    "Of ReLU about half of the outputs are exactly 0; of smooth activations none are.",
    "Glorot, Bordes and Bengio, Deep sparse rectifier neural networks, 2011, for the start of training",
    "compare",
)
def _zeros(results: Results) -> Found:
    relu, before = (mean(_of(results["compare"], "relu"), key) for key in ("zeros", "zeros_before"))
    smooth = {name: mean(_of(results["compare"], name), "zeros") for name in ("gelu", "silu", "elu")}
    trained = {name: mean(_of(result, "relu"), "zeros") for name, result in results.items() if name == "convolution"}
    verdict: Verdict = "confirmed" if 0.35 < before < 0.65 and max(smooth.values()) < 0.01 else "wrong"
    more = "".join(f" (convolutional: {_percent(v)})" for v in trained.values())
    return verdict, (
        f"ReLU: {_percent(before)} at the start and {_percent(relu)} after training{more}; "
        + ", ".join(f"{name} {_percent(share)}" for name, share in smooth.items())
        + "."
    )


# Cost


@claim("GELU costs 12 times as much as ReLU, Mish even more.", "tables of relative cost in tutorials", "cost")
def _gelu_cost(results: Results) -> Found:
    rows = results["cost"].rows
    ours, own = (
        {where: known for where, known in relative(rows, key).items() if where[2] == "forward"}
        for key in ("seconds", "native_seconds")
    )

    def span(found: Mapping[tuple[str, str, str], Mapping[str, float]], name: str) -> str:
        values = {where: known[name] for where, known in found.items() if name in known}
        if not values:
            raise KeyError(name)
        low, high = (choose(values, key=lambda where: values[where]) for choose in (min, max))
        return f"{values[low]:.1f} ({low[0]} {low[1]}) to {values[high]:.1f} ({high[0]} {high[1]})"

    ratios = [known["gelu"] for found in (ours, own) for known in found.values() if "gelu" in known]
    near = [10 <= r <= 15 for r in ratios]
    verdict: Verdict = "confirmed" if all(near) else "wrong" if not any(r >= 10 for r in ratios) else "depends"
    return verdict, (
        f"Forward, over ReLU in the same backend and mode: GELU {span(ours, 'gelu')} with ours, {span(own, 'gelu')} with the frameworks' "
        f"own; Mish {span(ours, 'mish')} and {span(own, 'mish')}. Where a compiler fuses it, reading and writing the data is most of "
        f"the cost of both. In float32 on this processor alone; on a GPU see docs/performance.md."
    )


@claim(
    "Expensive activations make training noticeably slower.",
    "tutorials, from the cost of the function alone",
    "compare",
    "convolution",
)
def _slower(results: Results) -> Found:
    parts = []
    worst = 0.0
    for name, what in NETWORKS:
        seconds = {
            a: statistics.median(r["seconds"] for r in own)
            for (a,), own in grouped(results[name].rows, "activation").items()
        }
        ratios = {a: s / seconds["relu"] for a, s in seconds.items() if a in ("gelu", "silu", "mish")}
        worst = max(worst, *ratios.values())
        parts.append(f"{what}: " + ", ".join(f"{a} {r:.2f}" for a, r in ratios.items()))
    verdict: Verdict = "not seen here" if worst < 1.15 else "depends"
    return (
        verdict,
        f"Time of an epoch over that with ReLU, {results['compare'].settings['framework']}. {'; '.join(parts)}.",
    )


# How well and how fast they learn


def _difference(rows: Sequence[Row], better: str, worse: str, key: str) -> tuple[float, float]:
    """The mean over the seeds of the difference, and half of its 95 % interval (Student, 1908); inf for one seed."""
    from scipy.stats import t

    of = {name: {row["seed"]: row[key] for row in rows if row["activation"] == name} for name in (better, worse)}
    for name, found in of.items():
        if not found:
            raise KeyError(name)
    differences = [value - of[worse][seed] for seed, value in of[better].items() if seed in of[worse]]
    count = len(differences)
    if count < 2:
        return statistics.fmean(differences), math.inf
    error = statistics.stdev(differences) / math.sqrt(count)
    return statistics.fmean(differences), float(t.ppf(0.975, count - 1)) * error


def _ranked(results: Results, better: str, *worse: str) -> Found:
    """Whether an activation is more accurate than others in both networks, beyond the 95 % interval."""
    parts, signs = [], []
    for name, what in NETWORKS:
        for other in worse:
            difference, error = _difference(results[name].rows, better, other, "accuracy")
            signs.append(0 if abs(difference) <= error else math.copysign(1, difference))
            parts.append(f"{what}, over {other}: {100 * difference:+.2f} ± {100 * error:.2f}")
    verdict: Verdict = "not seen here"
    if all(s > 0 for s in signs):
        verdict = "confirmed"
    elif all(s < 0 for s in signs):
        verdict = "wrong"
    elif any(signs):
        verdict = "depends"
    return (
        verdict,
        f"Accuracy of {better} in points, mean over {results['compare'].settings['seeds']} seeds and 95 % interval: {'; '.join(parts)}.",
    )


@claim(
    "GELU is more accurate than ReLU and ELU.",
    "Hendrycks and Gimpel, Gaussian error linear units, 2016",
    "compare",
    "convolution",
)
def _gelu(results: Results) -> Found:
    return _ranked(results, "gelu", "relu", "elu")


@claim(
    "Swish is as accurate as ReLU or more.",
    "Ramachandran, Zoph and Le, Searching for activation functions, 2017",
    "compare",
    "convolution",
)
def _swish(results: Results) -> Found:
    verdict, text = _ranked(results, "silu", "relu")
    worse = [_difference(results[name].rows, "silu", "relu", "accuracy") for name in ("compare", "convolution")]
    if all(difference >= -error for difference, error in worse):
        verdict = "confirmed"
    return verdict, f"{text} As accurate is what it says too."


@claim(
    "Mish is more accurate than Swish.",
    "Misra, Mish: a self regularized non-monotonic activation function, 2019",
    "compare",
    "convolution",
)
def _mish(results: Results) -> Found:
    return _ranked(results, "mish", "silu")


@claim(
    "ReLU reaches 25 % training errors six times faster than tanh.",
    "Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks, 2012, figure 1 (CIFAR-10)",
    "convolution",
)
def _six(results: Results) -> Found:
    needed = {n: [epochs_to(row, 0.25) for row in _of(results["convolution"], n)] for n in ("relu", "tanh")}
    relu, tanh = (statistics.fmean(needed[name]) for name in ("relu", "tanh"))
    factor = tanh / relu if math.isfinite(relu) else math.nan
    verdict: Verdict = "confirmed" if factor >= 4 else "not seen here" if factor > 1 else "wrong"
    return verdict, (
        f"Epochs until then: ReLU {relu:.1f}, tanh {tanh:.1f}, in a network of three convolutions on {results['convolution'].settings['data']}. "
        f"Each starts from the weights that go with it, which the paper's did not."
    )


@claim(
    "ELU learns faster than ReLU.",
    "Clevert, Unterthiner and Hochreiter, Fast and accurate deep network learning by exponential linear units, 2015",
    "compare",
    "convolution",
)
def _elu(results: Results) -> Found:
    parts, signs = [], []
    for name, what in NETWORKS:
        first = {
            a: statistics.fmean(statistics.fmean(row["losses"][:3]) for row in _of(results[name], a))
            for a in ("elu", "relu")
        }
        signs.append(first["elu"] < first["relu"])
        parts.append(f"{what}: {first['elu']:.3f} and {first['relu']:.3f}")
    return _as_far(signs, "wrong"), f"Mean loss over the first three epochs, ELU and ReLU: {'; '.join(parts)}."


@claim(
    "A tanh network converges faster than a sigmoid one.",
    "LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998",
    "compare",
)
def _tanh(results: Results) -> Found:
    losses = {n: statistics.fmean(row["losses"][-1] for row in _of(results["compare"], n)) for n in ("tanh", "sigmoid")}
    verdict: Verdict = "confirmed" if losses["tanh"] < 0.8 * losses["sigmoid"] else "not seen here"
    epochs = results["compare"].settings["epochs"]
    return verdict, f"Training loss after {epochs} epochs: tanh {losses['tanh']:.3f}, sigmoid {losses['sigmoid']:.3f}."


@claim(
    "The choice among modern activations changes the accuracy noticeably.",
    "rankings of activations in tutorials",
    "compare",
    "convolution",
)
def _ranking(results: Results) -> Found:
    parts, larger = [], []
    for name, what in NETWORKS:
        modern = {
            a: own for (a,), own in grouped(results[name].rows, "activation").items() if a not in ("sigmoid", "tanh")
        }
        means = {a: mean(own, "accuracy") for a, own in modern.items()}
        best, worst = (choose(means, key=lambda a: means[a]) for choose in (max, min))
        noise = statistics.fmean(spread(own, "accuracy") for own in modern.values())
        larger.append(means[best] - means[worst] > 3 * noise)
        parts.append(
            f"{what}: {best} {_percent(means[best])} to {worst} {_percent(means[worst])}, one activation's spread over the seeds {100 * noise:.2f} points"
        )
    return _as_far(larger, "not seen here"), f"{'; '.join(parts)}."


# Why activations


@claim(
    "Without activations a network can only draw straight lines.",
    "every textbook; Minsky and Papert, Perceptrons, 1969",
    "boundary",
)
def _linear(results: Results) -> Found:
    shares = {name: mean(own, "accuracy") for (name,), own in grouped(results["boundary"].rows, "activation").items()}
    guessing = mean(results["boundary"].rows, "guessing")
    others = min(share for name, share in shares.items() if name != "none")
    verdict: Verdict = "confirmed" if shares["none"] < guessing + 0.15 and others > 0.9 else "wrong"
    listed = ", ".join(f"{name} {_percent(share)}" for name, share in shares.items())
    return verdict, f"Inside of a circle or not: {listed}; always the same answer {_percent(guessing)}."


@claim(
    "Every hidden layer needs an activation.",
    "tutorials",
    "ablation",
)
def _every(results: Results) -> Found:
    rows = results["ablation"].rows
    linear: list[Row] = []
    whole: list[Row] = []
    one: list[Row] = []
    for row in rows:
        active = sum(name != "none" for name in row["layers"])
        (linear if active == 0 else whole if active == len(row["layers"]) else one if active == 1 else []).append(row)
    if not linear:
        raise KeyError("none")
    means = {name: mean(group, "accuracy") for name, group in (("none", linear), ("one", one), ("all", whole))}
    in_first = [row for name, own in by_layer(one, 0).items() if name != "none" for row in own]
    gain, noise = means["all"] - means["none"], spread(whole, "accuracy")
    verdict: Verdict = "depends" if means["one"] < means["none"] + 0.75 * gain else "wrong"
    needed = "more than one helps here"
    if gain <= 2 * noise:
        verdict, needed = (
            "not seen here",
            "straight lines are nearly enough for these data; for others see the circle above",
        )
    elif verdict == "wrong":
        needed = "one does most of the work"
    return verdict, (
        f"{results['ablation'].settings['data']}, three layers, accuracy with none {_percent(means['none'])}, with one "
        f"{_percent(means['one'])} ({_percent(mean(in_first, 'accuracy'))} where it is the first), with all "
        f"{_percent(means['all'])} ± {100 * noise:.2f}: {needed}. A layer without one is a factor of the next layer's weights, so it adds nothing."
    )
