"""The experiments F1 to F7: each trains or times networks, and gives rows, a table and a drawing."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from multiact.diagnostics import dead_neurons, gradient_flow
from multiact.networks import NONE, Choice, Network, Stage

from .. import runner
from .study import (
    STARTS,
    Row,
    Setup,
    Study,
    Trained,
    band,
    dense,
    grouped,
    mean,
    percent,
    spread,
    train,
    value,
)

COLUMNS = "accuracy over the data for testing, training loss, epochs to 25 % training errors, ms per epoch"
USUAL = ("relu", "leaky_relu", "prelu", "elu", "selu", "gelu", "silu", "mish", "tanh", "sigmoid")
WIDTH = 64


def _state(found: Trained, x: np.ndarray) -> Row:
    """What has become of the units of a network, over all training data."""
    if found.diverged:
        return {"dead": math.nan, "zeros": math.nan}
    model = found.classifier
    seen = dead_neurons(model.model, model.inputs(x), progress=False)
    known = [place for place in seen.places if place.units.count]
    zeros = statistics.fmean(p.after.sparsity for p in known) if known else math.nan
    return {"dead": seen.share, "zeros": zeros}


def _cosine(over: float) -> float:
    """From 1 to 0 (Loshchilov and Hutter, SGDR, 2017)."""
    return 0.5 * (1 + math.cos(math.pi * over))


# F1 and F7: the same network with one activation after the other


def _compared(setup: Setup, network: Any, data: Any, epochs: int, rate: float, **settings: Any) -> Iterator[Row]:
    runs = list(itertools.product(range(setup.seeds), setup.choices()))  # in turns, so that noise meets all of them
    for done, (seed, choice) in enumerate(runs):
        setup.advance(f"{choice.text}, seed {seed}", done, len(runs))
        found = train(setup, network(choice), data, seed, epochs, rate, look=partial(_state, x=data.x), **settings)
        before = found.before["zeros"]
        yield {"activation": choice.text, "seed": seed, **found.rows(), **_state(found, data.x), "zeros_before": before}


def _compare(setup: Setup) -> Iterator[Row]:
    data = setup.data.flat()
    return _compared(setup, lambda choice: dense(data, [choice] * 3, WIDTH), data, COMPARE.epochs, 1e-3)


def _convolve(setup: Setup) -> Iterator[Row]:
    data = setup.data.images()

    def network(choice: Choice) -> Network:
        stages = (Stage(16, choice, True), Stage(32, choice, True, 2), Stage(32, choice, True))
        return Network(data.shape, stages, data.classes)

    return _compared(setup, network, data, CONVOLUTION.epochs, 0.05, optimizer="sgd", schedule=_cosine)


def _compared_lines(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    columns = ["activation", "accuracy, %", "loss", "to 25 %", "dead, %", "zeros, %", "ms"]
    lines = []
    groups = sorted(grouped(rows, "activation").items(), key=lambda g: -mean(g[1], "accuracy"))
    for (name,), own in groups:
        loss = statistics.fmean(value({"v": row["losses"][-1]}, "v") for row in own)
        lines.append(
            [
                name,
                percent(own, "accuracy"),
                f"{loss:.4f}",
                f"{statistics.fmean(epochs_to(row, 0.25) for row in own):.1f}",
                *(f"{v:.1f}" if math.isfinite(v) else "-" for v in (100 * mean(own, "dead"), 100 * mean(own, "zeros"))),
                f"{1e3 * statistics.median(row['seconds'] for row in own):.0f}",
            ]
        )
    return columns, lines


def epochs_to(row: Row, error: float) -> float:
    """After how many epochs the share of wrong answers over the training data is at most this; inf for never."""
    return next((i + 1.0 for i, v in enumerate(row["errors"]) if v <= error), math.inf)


def _compared_draw(figure: Any, rows: Sequence[Row]) -> None:
    panels = figure.subplots(1, 2)
    for number, ((name,), own) in enumerate(grouped(rows, "activation").items()):
        band(panels[0], own, "losses", number, name)
        band(panels[1], own, "accuracies", number, name)
    panels[0].set_yscale("log")
    panels[0].set_ylabel("training loss")
    panels[1].set_ylabel("accuracy over the data for testing")
    low = min(min(row["accuracies"][len(row["accuracies"]) // 3 :]) for row in rows)
    panels[1].set_ylim(max(0.0, low - 0.03), 1.005)
    for panel in panels:
        panel.set_xlabel("epoch")
    panels[1].legend(fontsize=8, ncols=2, loc="lower right")


COMPARE = Study(
    "compare",
    "F1",
    f"the same network with each activation; {COLUMNS}",
    USUAL,
    20,
    _compare,
    _compared_lines,
    _compared_draw,
)
CONVOLUTION = Study(
    "convolution",
    "F7",
    f"a small convolutional network with each activation, its rate falling as a cosine; {COLUMNS}",
    ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh", "sigmoid"),
    12,
    _convolve,
    _compared_lines,
    _compared_draw,
)


# F2: gradients through 20 layers

DEPTH = 20
LOOKED_AT = 512
FLOW_STARTS = ("paired", "glorot", "torch")


def _flow(setup: Setup) -> Iterator[Row]:
    data = setup.data.flat()
    runs = list(itertools.product(setup.choices(), FLOW_STARTS, range(setup.seeds)))
    for done, (choice, start, seed) in enumerate(runs):
        setup.advance(f"{choice.text}, {start}, seed {seed}", done, len(runs))
        network = dense(data, [choice] * DEPTH, WIDTH)
        made = setup.room().classifier(network, network.draw(seed, STARTS[start]), "sgd")
        x, y = data.x[:LOOKED_AT], data.y[:LOOKED_AT]
        seen = gradient_flow(made.model, (made.inputs(x), y), made.loss, progress=False)
        yield {
            "activation": choice.text,
            "start": start,
            "seed": seed,
            "ratio": seen.ratio,
            "verdict": seen.verdict,
            "gradients": [layer.gradient.norm for layer in seen.layers],
            "signals": [layer.signal.rms for layer in seen.layers],
        }


def geometric(rows: Sequence[Row], key: str) -> float:
    """The geometric mean over the seeds; 0 where one of them is."""
    values = [value(row, key) for row in rows]
    return statistics.geometric_mean(values) if min(values) > 0 else 0.0


def _flow_lines(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    starts = list(dict.fromkeys(row["start"] for row in rows))
    lines = []
    for (name,), own in grouped(rows, "activation").items():
        by = {start: [row for row in own if row["start"] == start] for start in starts}
        verdicts = [", ".join(dict.fromkeys(row["verdict"] for row in by[start])) for start in starts]
        lines.append([name, *(f"{geometric(by[s], 'ratio'):.2g}" for s in starts), "; ".join(verdicts)])
    named = {"paired": "its own start", "glorot": "Keras' default", "torch": "torch's default"}
    return ["activation", *(named.get(s, s) for s in starts), "verdicts in this order"], lines


def _flow_draw(figure: Any, rows: Sequence[Row]) -> None:
    starts = list(dict.fromkeys(row["start"] for row in rows))
    panels = np.atleast_1d(figure.subplots(1, len(starts), sharey=True))
    for panel, start in zip(panels, starts):
        own = [row for row in rows if row["start"] == start]
        for number, ((name,), group) in enumerate(grouped(own, "activation").items()):
            band(panel, group, "gradients", number, name)
        panel.set_yscale("log")
        panel.set_title(f"start: {start}", fontsize=10)
        panel.set_xlabel("layer")
    panels[0].set_ylabel("norm of the gradient in the output of the layer")
    panels[-1].legend(fontsize=8)


FLOW = Study("flow", "F2", "gradients, first over last of 20 layers", USUAL, 0, _flow, _flow_lines, _flow_draw, (13, 5))


# F3: dead units over rates and starts

RATES = (0.01, 0.1, 0.5, 1.0)
DEAD_STARTS = ("paired", "glorot", "small", "large")


def _dead(setup: Setup) -> Iterator[Row]:
    data = setup.data.flat()
    runs = list(itertools.product(setup.choices(), DEAD_STARTS, RATES, range(setup.seeds)))
    for done, (choice, start, rate, seed) in enumerate(runs):
        setup.advance(f"{choice.text}, {start}, rate {rate}, seed {seed}", done, len(runs))
        network = dense(data, [choice] * 3, WIDTH)
        look = partial(_state, x=data.x)
        found = train(setup, network, data, seed, DEAD.epochs, rate, optimizer="sgd", start=start, look=look)
        yield {
            "activation": choice.text,
            "start": start,
            "rate": rate,
            "seed": seed,
            "dead_before": found.before["dead"],
            **{k: v for k, v in found.rows().items() if k in ("accuracy", "diverged")},
            **_state(found, data.x),
        }


def _dead_lines(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    rates = list(dict.fromkeys(row["rate"] for row in rows))
    lines = []
    for (name, start), own in grouped(rows, "activation", "start").items():
        cells = []
        for rate in rates:
            runs = [row for row in own if row["rate"] == rate]
            lost = sum(row["diverged"] for row in runs)
            dead = "-" if lost == len(runs) else f"{100 * mean(runs, 'dead'):.1f}"
            cells.append(f"{dead}{f', {lost} of {len(runs)} diverged' if lost else ''}")
        lines.append([name, start, f"{100 * mean(own, 'dead_before'):.1f}", *cells])
    return ["activation", "start", "before, %", *(f"rate {rate:g}, %" for rate in rates)], lines


def _dead_draw(figure: Any, rows: Sequence[Row]) -> None:
    names = list(dict.fromkeys(row["activation"] for row in rows))
    starts, rates = (list(dict.fromkeys(row[key] for row in rows)) for key in ("start", "rate"))
    panels = np.atleast_1d(figure.subplots(1, len(names), sharey=True))
    for panel, name in zip(panels, names):
        cells = np.full((len(starts), len(rates)), np.nan)
        for i, j in np.ndindex(cells.shape):
            key = (name, starts[i], rates[j])
            cells[i, j] = 100 * mean([r for r in rows if (r["activation"], r["start"], r["rate"]) == key], "dead")
        image = panel.imshow(cells, vmin=0, vmax=100, cmap="magma_r", aspect="auto")
        for i, j in np.ndindex(cells.shape):
            text = "diverged" if math.isnan(cells[i, j]) else f"{cells[i, j]:.0f}"
            panel.text(j, i, text, ha="center", va="center", fontsize=8, color="w" if cells[i, j] > 55 else "k")
        panel.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
        panel.set_yticks(range(len(starts)), starts)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("rate of learning")
    panels[0].set_ylabel("start")
    figure.colorbar(image, ax=list(panels), label="dead units after training, %")


DEAD = Study(
    "dead",
    "F3",
    "dead units after training with SGD and momentum, by rate of learning and start",
    ("relu", "leaky_relu", "elu", "gelu"),
    10,
    _dead,
    _dead_lines,
    _dead_draw,
    (13, 4),
)


# F4: cost

COST_SIZE = 1 << 20


def _cost(setup: Setup) -> Iterator[Row]:
    """Every installed backend in every mode, by `multiact bench`; of the setup the activations alone are used."""
    asked = runner.request(
        activations=tuple(choice.activation.name for choice in setup.choices() if choice.activation is not None),
        dtypes=("float32",),
        sizes=(COST_SIZE,),
        quick=True,
        build=True,
        naive=True,
        watch=0.0,
    )
    keys = (
        "seconds",
        "native_seconds",
        "naive_seconds",
        "copy_seconds",
        "saved_bytes",
        "native_saved_bytes",
        "peak_bytes",
    )
    for row in runner.run(asked, advance=setup.advance).rows:
        about = {key: getattr(row, key) for key in ("activation", "backend", "mode", "direction")}
        yield {**about, **{key: getattr(row, key) for key in keys}}


def relative(rows: Sequence[Row], key: str = "seconds") -> dict[tuple[str, str, str], dict[str, float]]:
    """By backend, mode and direction: seconds of every activation over those of ReLU."""
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for where, own in grouped(rows, "backend", "mode", "direction").items():
        known = {row["activation"]: row[key] for row in own if row[key]}
        if "relu" in known:
            found[where] = {name: seconds / known["relu"] for name, seconds in known.items()}
    return found


def _cost_lines(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Time over that of ReLU, ours and the framework's own; and what torch keeps for the backward pass."""
    ours, native = relative(rows), relative(rows, "native_seconds")
    places = list(dict.fromkeys((row["backend"], row["mode"]) for row in rows))
    lines = []
    for direction in dict.fromkeys(row["direction"] for row in rows):
        for name in dict.fromkeys(row["activation"] for row in rows):
            cells = []
            for place in places:
                pair = [known.get((*place, direction), {}).get(name) for known in (ours, native)]
                cells.append(" / ".join("-" if v is None else f"{v:.1f}" for v in pair))
            if any(cell != "- / -" for cell in cells):
                lines.append([f"{name}, {direction.replace('_', ' + ')}", *cells, _saved(rows, name, direction)])
    return ["ours / own", *map(" ".join, places), "saved, tensors"], lines


def _saved(rows: Sequence[Row], name: str, direction: str) -> str:
    """How many tensors of the input's size are kept for the backward pass, ours and the framework's own, at most."""
    own = [row for row in rows if row["activation"] == name and row["direction"] == direction]
    known = [[row[key] for row in own if row[key] is not None] for key in ("saved_bytes", "native_saved_bytes")]
    return " / ".join(f"{max(values) / (4 * COST_SIZE):.1f}" if values else "-" for values in known)


def _cost_draw(figure: Any, rows: Sequence[Row]) -> None:
    from multiact.plot import COLOURS

    panels = np.atleast_1d(figure.subplots(1, 2, sharey=True))
    for panel, direction in zip(panels, ("forward", "forward_backward")):
        known = {where[:2]: ratios for where, ratios in relative(rows).items() if where[2] == direction}
        names = list(dict.fromkeys(name for ratios in known.values() for name in ratios))
        for number, (where, ratios) in enumerate(known.items()):
            at = [names.index(name) + (number - len(known) / 2) * 0.09 for name in ratios]
            colour, marker = COLOURS[number % len(COLOURS)], "osD^vPX"[number // len(COLOURS) % 7]
            panel.plot(list(ratios.values()), at, marker, markersize=5, color=colour, label=" ".join(where))
        panel.axvline(1, color="0.4", linewidth=1)
        panel.set_xscale("log")
        panel.set_xticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
        panel.minorticks_off()
        panel.set_yticks(range(len(names)), names)
        panel.grid(axis="y", color="0.9")
        panel.set_xlabel(f"time over that of ReLU, {direction.replace('_', ' + ')}")
    panels[0].legend(fontsize=8)


COST = Study(
    "cost",
    "F4",
    f"what activations cost, {COST_SIZE:,} elements in float32",
    ("relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "mish", "softplus", "tanh", "sigmoid"),
    0,
    _cost,
    _cost_lines,
    _cost_draw,
    (12, 6),
)


# F5: which layer has which activation

LAYERS = 3


def _ablate(setup: Setup) -> Iterator[Row]:
    data = setup.data.flat()
    runs = list(itertools.product(range(setup.seeds), itertools.product(setup.choices(), repeat=LAYERS)))
    for done, (seed, choices) in enumerate(runs):
        names = [choice.text for choice in choices]
        setup.advance(f"{' '.join(names)}, seed {seed}", done, len(runs))
        found = train(setup, dense(data, choices, 32), data, seed, ABLATION.epochs, 1e-3)
        yield {"layers": names, "seed": seed, **{k: found.rows()[k] for k in ("accuracy", "accuracies", "diverged")}}


def by_layer(rows: Sequence[Row], layer: int) -> dict[str, list[Row]]:
    """The runs by the activation of a layer, whatever the others have."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["layers"][layer], []).append(row)
    return found


def _combinations(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(", ".join(row["layers"]), []).append(row)
    return sorted(found.items(), key=lambda item: -mean(item[1], "accuracy"))


def _ablate_lines(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    lines = []
    for layer in range(len(rows[0]["layers"])):
        for name, own in by_layer(rows, layer).items():
            lines.append([f"layer {layer + 1}: {name}", percent(own, "accuracy"), f"{len(own)} runs, any others"])
    combinations = _combinations(rows)
    shown = combinations if len(combinations) <= 12 else [*combinations[:5], *combinations[-5:]]
    lines += [[name, percent(own, "accuracy"), f"{len(own)} seeds"] for name, own in shown]
    return ["activations", "test accuracy, %", "over"], lines


def _ablate_draw(figure: Any, rows: Sequence[Row]) -> None:
    panels = figure.subplots(1, 2, width_ratios=(1, 1.6))
    names = list(by_layer(rows, 0))
    layers = range(len(rows[0]["layers"]))
    cells = np.asarray([[100 * mean(by_layer(rows, layer)[name], "accuracy") for name in names] for layer in layers])
    middle = (cells.min() + cells.max()) / 2
    reach = max(2.0, np.ptp(cells) / 2)  # points, so that noise does not look like a difference
    panels[0].imshow(cells, vmin=middle - reach, vmax=middle + reach, cmap="viridis", aspect="auto")
    for i, j in np.ndindex(cells.shape):
        colour = "k" if cells[i, j] > middle else "w"
        panels[0].text(j, i, f"{cells[i, j]:.1f}", ha="center", va="center", color=colour)
    panels[0].set_xticks(range(len(names)), names)
    panels[0].set_yticks(layers, [f"layer {i + 1}" for i in layers])
    panels[0].set_title("mean accuracy with this activation in this layer, %", fontsize=10)
    combinations = _combinations(rows)
    for i, (_, own) in enumerate(reversed(combinations)):
        panels[1].barh(i, 100 * mean(own, "accuracy"), xerr=100 * spread(own, "accuracy"), color="#0072B2", height=0.7)
    panels[1].set_yticks(range(len(combinations)), [name for name, _ in reversed(combinations)], fontsize=7)
    low = min(100 * mean(own, "accuracy") for _, own in combinations)
    panels[1].set_xlim(max(0, low - 5), 100)
    panels[1].set_xlabel("accuracy over the data for testing, %")


ABLATION = Study(
    "ablation",
    "F5",
    "which of three layers has which activation",
    (NONE, "relu", "tanh"),
    12,
    _ablate,
    _ablate_lines,
    _ablate_draw,
    (12, 6),
)


# F6: why a network needs something that is not linear

GRID = 61


def _boundary(setup: Setup) -> Iterator[Row]:
    data = setup.data
    line = np.linspace(-1, 1, GRID)
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2).astype("float32")
    runs = list(itertools.product(setup.choices(), range(setup.seeds)))
    for done, (choice, seed) in enumerate(runs):
        setup.advance(f"{choice.text}, seed {seed}", done, len(runs))
        found = train(setup, dense(data, [choice] * 2, 16), data, seed, BOUNDARY.epochs, 1e-2)
        answers = found.classifier.logits(grid).argmax(-1).reshape(GRID, GRID)
        picture = ["".join(map(str, row)) for row in answers] if seed == 0 else []
        kept = {k: found.rows()[k] for k in ("accuracy", "accuracies", "diverged")}
        most = float(np.bincount(data.test_y).max() / len(data.test_y))
        yield {"activation": choice.text, "seed": seed, **kept, "guessing": most, "picture": picture}


def _boundary_lines(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    lines = [
        [name, percent(own, "accuracy"), f"{100 * mean(own, 'guessing'):.1f}"]
        for (name,), own in grouped(rows, "activation").items()
    ]
    return ["activation", "test accuracy, %", "always the same answer, %"], lines


def _boundary_draw(figure: Any, rows: Sequence[Row]) -> None:
    groups = grouped(rows, "activation")
    panels = np.atleast_1d(figure.subplots(1, len(groups), sharey=True))
    angle = np.linspace(0, 2 * np.pi, 200)
    radius = math.sqrt(2 / math.pi)
    for panel, ((name,), own) in zip(panels, groups.items()):
        picture = next(row["picture"] for row in own if row["picture"])
        cells = np.asarray([[int(c) for c in line] for line in picture])
        panel.imshow(cells, extent=(-1, 1, -1, 1), origin="lower", cmap="Blues", vmin=-0.3, vmax=1.6)
        panel.plot(radius * np.cos(angle), radius * np.sin(angle), color="#D55E00", linewidth=1.5)
        panel.set_title(f"{name}: {100 * mean(own, 'accuracy'):.1f} %", fontsize=10)
        panel.set_xticks([-1, 0, 1])
        panel.set_yticks([-1, 0, 1])


BOUNDARY = Study(
    "boundary",
    "F6",
    "is a point inside of a circle? With and without activations",
    (NONE, "relu", "tanh", "gelu"),
    40,
    _boundary,
    _boundary_lines,
    _boundary_draw,
    (12, 3.6),
    "circles",
)

STUDIES: dict[str, Study] = {s.name: s for s in (COMPARE, FLOW, DEAD, COST, ABLATION, BOUNDARY, CONVOLUTION)}
