"""What the experiments have in common: what is asked for, how a network is trained, and what comes out."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import multiact
from multiact.diagnostics.showing import Shown, draw, table
from multiact.dispatch import require
from multiact.errors import MultiactError, ParameterError
from multiact.files import check_writable, write
from multiact.networks import NONE, Choice, Classifier, Network, Optimizer, Stage, cross_entropy

from ..runner import processor
from .data import Data, load

if TYPE_CHECKING:
    from rich.table import Table

Row = dict[str, Any]
#: In which networks can be trained: ours, and on what it runs.
FRAMEWORKS = {
    "torch": ("torch",),
    "keras": ("keras",),
    "keras-torch": ("keras", "torch"),
    "keras-jax": ("keras", "jax"),
    "keras-tensorflow": ("keras", "tensorflow"),
    "flax": ("flax", "jax"),
}
BATCH = 64
SEEDS = 3
#: How weights may start: the standard deviation for the numbers of inputs and outputs of a unit; None for what goes with the activation.
STARTS: dict[str, Callable[[float, float], float] | None] = {
    "paired": None,
    "glorot": lambda inputs, outputs: math.sqrt(2 / (inputs + outputs)),  # Keras' own
    "torch": lambda inputs, outputs: math.sqrt(
        1 / (3 * inputs)
    ),  # of torch.nn.Linear, which is uniform up to 1 / sqrt(inputs)
    "he": lambda inputs, outputs: math.sqrt(2 / inputs),
    "small": lambda inputs, outputs: 0.01,
    "large": lambda inputs, outputs: 3 * math.sqrt(2 / inputs),
}


def _nothing(what: str, done: int, total: int) -> None:
    """No one wants to know how far it has come."""


@dataclass(frozen=True)
class Setup:
    """What an experiment is asked for.

    Attributes
    ----------
    data : see `multiact.benchmarks.experiments.load`.
    framework : one of `FRAMEWORKS`.
    activations : ``name`` or ``name(parameter=number)``; empty for those of the experiment.
    seeds : how many runs, each with other weights and another order of the examples.
    epochs : None for as many as the experiment usually takes.
    advance : told what runs, how much is done, and how much there is.
    """

    data: Data
    framework: str = "torch"
    activations: tuple[str, ...] = ()
    seeds: int = SEEDS
    epochs: int | None = None
    advance: Callable[[str, int, int], None] = _nothing

    def __post_init__(self) -> None:
        """
        Raises
        ------
        ParameterError : the framework is unknown, or a number is not positive.
        UnknownActivationError : there is no such activation.
        BackendNotAvailableError : the framework is not installed.
        """
        if self.framework not in FRAMEWORKS:
            raise ParameterError(f"there is no framework {self.framework!r}. There are: {', '.join(FRAMEWORKS)}.")
        for name in ("seeds", "epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ParameterError(f"{name} is a number from 1 on. Received: {value}.")
        for text in self.activations:
            Choice.parse(text)
        for name in FRAMEWORKS[self.framework]:
            require(name)

    def choices(self) -> list[Choice]:
        return [Choice.parse(text) for text in self.activations]

    def room(self) -> Any:
        """What the framework's folder has for training. Keras is imported with the backend that was asked for.

        Raises
        ------
        ParameterError : Keras runs on another backend already.
        """
        framework, *below = FRAMEWORKS[self.framework]
        if below and framework == "keras":
            if "keras" not in sys.modules:
                os.environ["KERAS_BACKEND"] = below[0]
            running = importlib.import_module("keras").backend.backend()
            if running != below[0]:
                raise ParameterError(
                    f"Keras runs on {running} in this process already, and chooses once. Start a new one for {self.framework}."
                )
        return importlib.import_module(f"multiact.backends.{framework}.training")


@dataclass
class Trained:
    """A network after training.

    Attributes
    ----------
    losses, errors : mean loss of every epoch while it ran, and the share of wrong answers over the training data after it.
    accuracies : over the data for testing, after every epoch.
    seconds : of one epoch, the median of all but the first, in which frameworks compile.
    diverged : whether the loss was no longer a number, where training ends.
    before : what was asked of it before training.
    """

    classifier: Classifier
    losses: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    seconds: float = math.nan
    diverged: bool = False
    before: Row = field(default_factory=dict)

    def rows(self) -> Row:
        """What is kept of it."""
        return {
            "losses": self.losses,
            "errors": self.errors,
            "accuracies": self.accuracies,
            "accuracy": self.accuracies[-1],
            "seconds": self.seconds,
            "diverged": self.diverged,
        }


def dense(data: Data, choices: Sequence[Choice], width: int) -> Network:
    """A hidden layer for each choice, of so many units."""
    return Network(data.shape, tuple(Stage(width, choice) for choice in choices), data.classes)


def train(
    setup: Setup,
    network: Network,
    data: Data,
    seed: int,
    epochs: int,
    rate: float,
    *,
    optimizer: Optimizer = "adam",
    start: str = "paired",
    schedule: Callable[[float], float] | None = None,
    look: Callable[[Trained], Row] | None = None,
) -> Trained:
    """Train a network of the framework asked for.

    Parameters
    ----------
    schedule : what the rate is multiplied with, for the share of the epochs that are over.
    look : what is kept of the network before it is trained, as `Trained.before`.
    """
    made = setup.room().classifier(network, network.draw(seed, STARTS[start]), optimizer)
    found, random, times = Trained(made), np.random.default_rng(seed), []
    if look is not None:
        found.before = look(found)
    parts = math.ceil(len(data.x) / BATCH)
    for epoch in range(setup.epochs or epochs):
        factor = schedule(epoch / (setup.epochs or epochs)) if schedule is not None else 1.0
        batches = np.array_split(random.permutation(len(data.x)), parts)
        began = time.perf_counter()
        found.losses.append(made.epoch(data.x, data.y, batches, factor * rate))
        times.append(time.perf_counter() - began)
        outputs, tested = made.logits(data.x), made.logits(data.test_x)
        found.errors.append(float(np.mean(outputs.argmax(-1) != data.y)))
        found.accuracies.append(float(np.mean(tested.argmax(-1) == data.test_y)))
        if not math.isfinite(cross_entropy(outputs, data.y)):
            found.diverged = True
            break
    found.seconds = statistics.median(times[1:] or times)
    return found


# Results


@dataclass(frozen=True)
class Study:
    """An experiment.

    Attributes
    ----------
    name, row : of the command, and F1 to F7.
    title : what it answers.
    activations, epochs : those that it usually takes; no epochs where nothing is trained.
    run : gives the rows, one after the other, and says how far it has come.
    lines : the table: its columns, and the texts of every row.
    draw : draws the rows.
    data : the name of the data set that it is about; None for any.
    """

    name: str
    row: str
    title: str
    activations: tuple[str, ...]
    epochs: int
    run: Callable[[Setup], Iterator[Row]]
    lines: Callable[[Sequence[Row]], tuple[list[str], list[list[str]]]]
    draw: Callable[[Any, Sequence[Row]], None]
    size: tuple[float, float] = (11.0, 5.0)
    data: str | None = None

    def __call__(self, setup: Setup) -> Result:
        """Run it.

        Raises
        ------
        ParameterError, UnknownActivationError, BackendNotAvailableError : see `Setup`.
        """
        activations = setup.activations or self.activations
        if NONE not in self.activations and NONE in activations:
            raise ParameterError(
                f"{self.name} compares activations; 'none' is for the experiments ablation and boundary."
            )
        data = setup.data if self.data is None else load(self.data)
        setup = dataclasses.replace(setup, activations=activations, data=data)
        began = time.perf_counter()
        with getattr(setup.room(), "running", contextlib.nullcontext)():
            rows = list(self.run(setup))
        settings: Row = {"activations": list(activations), "seconds": time.perf_counter() - began}
        if "seed" in rows[0]:
            settings |= {"data": setup.data.name, "framework": setup.framework, "seeds": setup.seeds}
        if self.epochs:
            settings |= {"epochs": setup.epochs or self.epochs, "batch": BATCH}
        timed = dict.fromkeys(part for row in rows for part in row.get("backend", "").split("-") if part)
        return Result(self, rows, settings, environment(timed or FRAMEWORKS[setup.framework]))


@dataclass(frozen=True)
class Result(Shown):
    """What an experiment found: `rows`, and under which `settings` and in which `environment`."""

    study: Study
    rows: Sequence[Row]
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]

    @property
    def about(self) -> str:
        """One line: on what and with what it was found."""
        s, e = self.settings, self.environment
        versions = ", ".join(f"{name} {version}" for name, version in e["versions"].items())
        parts = [str(s[k]) for k in ("data", "framework") if k in s]
        parts += [f"{s[k]} {k}" for k in ("seeds", "epochs") if k in s]
        what = f"{', '.join(parts)}; " if parts else ""
        return f"{what}{e['cpu']}, {e['cores']} cores; {versions}; {e['date'][:10]}; {s['seconds']:.0f} s"

    def table(self) -> Table:
        return table(f"{self.study.row} {self.study.title}", *self.study.lines(self.rows))

    def plot(self, path: str | Path) -> Path:
        """Draw it: a .png, .svg or .pdf."""
        return draw(path, lambda figure: self.study.draw(figure, self.rows), self.study.size)

    def as_json(self) -> str:
        content = {
            "study": self.study.name,
            "settings": self.settings,
            "environment": self.environment,
            "rows": self.rows,
        }
        return json.dumps(_short(content), allow_nan=False, indent=None) + "\n"

    def write(self, folder: str | Path) -> list[Path]:
        """``<name>.json`` and ``<name>.png`` in a folder.

        Raises
        ------
        OSError : they cannot be written there.
        MultiactError : matplotlib is not installed.
        """
        paths = [Path(folder) / f"{self.study.name}.{ending}" for ending in ("json", "png")]
        for path in paths:
            check_writable(path)
        write(paths[0], self.as_json())
        self.plot(paths[1])
        return paths


def _short(value: Any) -> Any:
    """Numbers with six digits, and None for what is none."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: _short(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(v) for v in value]
    return value


def read(path: Path, studies: Mapping[str, Study]) -> Result:
    """A result that was written.

    Raises
    ------
    MultiactError : it is none.
    OSError : it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        study = studies[content["study"]]
        return Result(study, content["rows"], content["settings"], content["environment"])
    except (ValueError, KeyError, TypeError):
        raise MultiactError(
            f"{path} is no result of an experiment. Write one with: multiact experiment all --output FOLDER"
        ) from None


def environment(frameworks: Iterable[str]) -> dict[str, Any]:
    """Where, when and with which versions."""
    of = metadata.packages_distributions()
    names = dict.fromkeys(("numpy", *frameworks))
    return {
        "multiact": multiact.__version__,
        "python": platform.python_version(),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "versions": {name: metadata.version(of[name][0]) for name in names if name in of},
    }


# Figures out of rows


def value(row: Mapping[str, Any], key: str) -> float:
    """A number of a row; NaN for one that was none when it was written."""
    found = row[key]
    return math.nan if found is None else float(found)


def grouped(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """The runs with different seeds of the same thing."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def mean(rows: Iterable[Row], key: str) -> float:
    values = [v for v in (value(row, key) for row in rows) if math.isfinite(v)]
    return statistics.fmean(values) if values else math.nan


def spread(rows: Iterable[Row], key: str) -> float:
    """The standard deviation over the seeds; 0 of one."""
    values = [v for v in (value(row, key) for row in rows) if math.isfinite(v)]
    return statistics.stdev(values) if len(values) > 1 else 0.0


def percent(rows: Sequence[Row], key: str) -> str:
    """Mean, and spread over the seeds if there are several, on one line."""
    if len(rows) < 2:
        return f"{100 * mean(rows, key):.2f}"
    return f"{100 * mean(rows, key):.2f}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{100 * spread(rows, key):.2f}"


def curve(rows: Sequence[Row], key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, least and most of a list in every row, as far as the shortest goes."""
    length = min(len(row[key]) for row in rows)
    values = np.asarray([[math.nan if v is None else v for v in row[key][:length]] for row in rows], dtype=float)
    return values.mean(0), values.min(0), values.max(0)


def band(panel: Any, rows: Sequence[Row], key: str, number: int, label: str, first: int = 1) -> None:
    """A curve with its spread, in the colour and style of its number."""
    from matplotlib.ticker import MaxNLocator

    from multiact.plot import COLOURS, STYLES

    middle, low, high = curve(rows, key)
    at = np.arange(first, first + len(middle))
    colour, style = COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]
    panel.plot(at, middle, color=colour, linestyle=style, label=label)
    panel.fill_between(at, low, high, color=colour, alpha=0.12, linewidth=0)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
