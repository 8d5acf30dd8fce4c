"""Train a small classifier in PyTorch, move its weights to the other frameworks, and compare the logits.

``python -m multiact.benchmarks.port_model`` trains on scikit-learn's digits (64-64-32-10, GELU then PReLU with a learned
slope for each channel) and prints, for each framework, the largest difference of a logit from PyTorch's: with our
activations; with GELU as the framework has it by default; with its PReLU, or leaky ReLU where it has none, at the slope
it starts with.

Each framework runs in a process of its own, Keras once on each framework below it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from multiact import dispatch
from multiact.files import replacing

TARGETS = ("torch", "jax", "tensorflow", "keras/torch", "keras/jax", "keras/tensorflow", "numpy")
VARIANTS = {"ours": (), "gelu": ("gelu",), "prelu": ("prelu",), "both": ("gelu", "prelu")}


class Port(Protocol):
    """The module ``port`` of a backend."""

    VERSIONS: dict[str, str]
    #: how the framework spells its own activations.
    OWN: dict[str, str]

    def logits(self, weights: dict[str, np.ndarray], images: np.ndarray, own: tuple[str, ...] = ()) -> np.ndarray: ...


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images and labels, test images and labels: 1437 and 360 digits of 8 by 8 pixels, from 0 to 1."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError:
        sys.exit(
            "port_model needs scikit-learn, which is not installed. Install it with: pip install 'multiact[bench]'"
        )
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels.astype("int64"), test_size=360, random_state=0, stratify=labels
    )
    return train_x, train_y, test_x, test_y


def _port(target: str) -> Port:
    module: Any = importlib.import_module(f"multiact.backends.{target.partition('/')[0]}.port")
    return module


def work(target: str, folder: Path, epochs: int) -> None:
    """What one process does: train where it is PyTorch's, then write the logits of every variant."""
    port: Any = _port(target)
    train_x, train_y, test_x, _ = digits()
    if target == "torch":
        np.savez(folder / "weights.npz", **port.train(train_x, train_y, epochs))
    with np.load(folder / "weights.npz") as saved:
        weights = dict(saved)
    variants = {name: own for name, own in VARIANTS.items() if not own or port.OWN}
    np.savez(folder / "logits.npz", **{name: port.logits(weights, test_x, own) for name, own in variants.items()})
    (folder / "about.json").write_text(json.dumps({"versions": port.VERSIONS, "own": port.OWN}))


def missing(target: str) -> list[str]:
    """The backends of a target whose framework is not installed."""
    return [name for name in target.split("/") if not dispatch.installed(name)]


def run(target: str, folder: Path, epochs: int) -> dict[str, Any]:
    """Run `work` in a process of its own: {"logits": {variant: array}, "versions": ..., "own": ...}."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    if target.startswith("keras/"):
        environment["KERAS_BACKEND"] = target.partition("/")[2]
    command = [sys.executable, "-m", "multiact.benchmarks.port_model", "--worker", target, str(folder)]
    command += ["--epochs", str(epochs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{target} failed:\n{done.stderr[-2000:]}")
    with np.load(folder / "logits.npz") as saved:
        found = dict(saved)
    return {"logits": found, **json.loads((folder / "about.json").read_text())}


def compare(results: dict[str, dict[str, Any]], labels: np.ndarray) -> list[dict[str, Any]]:
    """A row for each target: the largest difference of a logit from PyTorch's with our activations, and the accuracy."""
    reference = results["torch"]["logits"]["ours"]
    return [
        {
            "target": target,
            "versions": result["versions"],
            "own": result["own"],
            "difference": {v: float(np.abs(x - reference).max()) for v, x in result["logits"].items()},
            "accuracy": {v: float((x.argmax(-1) == labels).mean()) for v, x in result["logits"].items()},
            "largest_logit": float(np.abs(reference).max()),
        }
        for target, result in results.items()
    ]


def show(rows: list[dict[str, Any]], skipped: dict[str, list[str]]) -> None:
    """The rows as a table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Digits, trained in PyTorch: largest difference of a logit from PyTorch's")
    for heading in ("framework", "ours", "its own GELU", "its own PReLU", "accuracy, ours", "its own"):
        table.add_column(heading, justify="left" if heading == "framework" else "right", overflow="fold")
    for row in rows:
        d, own, accuracy = row["difference"], row["own"], row["accuracy"]
        cells = [f"{d[v]:.1e}\n{own[v]}" if own else "none" for v in ("gelu", "prelu")]
        last = f"{accuracy['both']:.2%}" if own else "none"
        table.add_row(row["target"], f"{d['ours']:.1e}", *cells, f"{accuracy['ours']:.2%}", last)
    for target, names in skipped.items():
        extras = ",".join(names)
        table.add_row(target, f"not installed: pip install 'multiact[{extras}]'")
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print(f"The largest logit is {rows[0]['largest_logit']:.1f}.")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m multiact.benchmarks.port_model", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--target", action="append", choices=TARGETS, help="only these; PyTorch always")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    parser.add_argument("--worker", nargs=2, metavar=("TARGET", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker[0], Path(given.worker[1]), given.epochs)
        return
    if missing("torch"):
        sys.exit("port_model trains in PyTorch, which is not installed. Install it with: pip install 'multiact[torch]'")
    try:
        from rich.progress import track
    except ImportError:
        sys.exit("port_model needs rich, which is not installed. Install it with: pip install 'multiact[bench]'")
    if given.json:
        try:
            given.json.touch()
        except OSError as error:  # noticed before the work
            parser.error(f"{given.json} cannot be written: {error.strerror}. Give --json a file in an existing folder.")
    labels = digits()[3]
    targets = [t for t in TARGETS if t == "torch" or given.target is None or t in given.target]
    skipped = {t: missing(t) for t in targets if missing(t)}
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for target in track([t for t in targets if t not in skipped], description="frameworks", transient=True):
            results[target] = run(target, Path(folder), given.epochs)
    rows = compare(results, labels)
    show(rows, skipped)
    if given.json:
        with replacing(given.json) as temporary:
            temporary.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
