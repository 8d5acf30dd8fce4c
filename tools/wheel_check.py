"""Build the wheel, install it with each extra alone into an empty environment, and use it there.

Usage: python tools/wheel_check.py [--extra NAME ...]
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

#: Each extra, the backends that work with it, and the environment they need.
CASES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "": (("numpy",), {}),
    "conformance": (("numpy",), {}),
    "bench": (("numpy",), {}),
    "plot": (("numpy",), {}),
    "torch": (("numpy", "torch"), {}),
    "jax": (("numpy", "jax"), {}),
    "tensorflow": (("numpy", "tensorflow", "keras"), {"KERAS_BACKEND": "tensorflow"}),
    "keras": (("numpy",), {}),
    "flax": (("numpy", "jax", "flax"), {}),
    "equinox": (("numpy", "jax", "equinox"), {}),
    "mlx": (("numpy", "mlx"), {}),
    "keras,torch": (("numpy", "torch", "keras"), {"KERAS_BACKEND": "torch"}),
}
#: The extras with which the command line runs.
COMMANDS = ("conformance", "bench", "plot")
BACKENDS = ("torch", "jax", "tensorflow", "keras", "flax", "equinox", "mlx", "numpy")


def build(folder: Path) -> Path:
    """Build sdist, and from it the wheel; every file of the packages must be in it."""
    import link_tree

    quiet = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(link_tree.ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    if quiet.returncode:
        sys.exit(quiet.stdout[-3000:] + quiet.stderr[-3000:])
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {n for n in archive.namelist() if ".dist-info/" not in n}
        licences = [n for n in archive.namelist() if n.endswith("/LICENSE")]
    tree = link_tree.make(folder / "tree")
    expected = {path.relative_to(tree).as_posix() for path in walk(tree / "multiact")}
    assert packed == expected, f"missing: {sorted(expected - packed)}, unexpected: {sorted(packed - expected)}"
    assert licences, "the licence is not in the wheel"
    return wheel


def walk(folder: Path) -> list[Path]:
    """Every file below, through links, without caches and the results of benchmarks, which stay in the repository."""
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            found += [] if entry.name in ("__pycache__", "results") else walk(entry)
        else:
            found.append(entry)
    return found


def check(extra: str, wheel: Path, folder: Path) -> None:
    """Install the wheel with one extra into an empty environment, and run `inside` there."""
    target = folder / f"environment-{extra or 'none'}"
    venv.create(target, with_pip=True)
    python = target / ("Scripts" if os.name == "nt" else "bin") / "python"
    constraints = Path(__file__).parent.parent / "constraints.txt"
    requirement = f"{wheel}[{extra}]" if extra else str(wheel)
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile", "--constraint", constraints, requirement]
    subprocess.run(install, check=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "KERAS_BACKEND")}
    environment |= {**CASES[extra][1], "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([python, "-I", __file__, "--inside", extra], check=True, cwd=folder, env=environment)


def inside(extra: str) -> None:
    """What is asserted in the environment of one extra."""
    import multiact

    assert Path(multiact.__file__).is_relative_to(sys.prefix), multiact.__file__
    working = CASES[extra][0]
    modules = [m.name for m in pkgutil.iter_modules(multiact.__path__, "multiact.")]
    if extra not in COMMANDS:
        modules = [m for m in modules if not m.endswith("_command")]
    modules += [m.name for b in working for m in modules_of(f"multiact.backends.{b}")]
    if extra == "conformance":
        modules += [m.name for m in modules_of("multiact.conformance")]
    if extra == "bench":
        modules += [m.name for m in modules_of("multiact.benchmarks")]
    for module in modules:
        importlib.import_module(module)
    for backend in BACKENDS:
        if backend in working:
            use(backend)
        else:
            refused(backend, extra)
    command_line(extra)
    print(f"  {len(modules)} modules imported, {', '.join(working)} used")


def modules_of(package: str) -> list[pkgutil.ModuleInfo]:
    return list(pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."))


def use(backend: str) -> None:
    """GELU of 1 is the normal distribution function at 1, its slope that plus the density; so on every framework."""
    module = importlib.import_module(f"multiact.backends.{backend}")
    value, slope = 0.8413447460685429, 1.0833154705876862
    if backend == "numpy":
        import numpy

        got = [float(module.gelu(numpy.asarray(1.0))), float(module.gelu.activation.derivative(numpy.asarray(1.0)))]
    elif backend == "torch":
        import torch

        x = torch.tensor(1.0, requires_grad=True)
        y = module.GELU()(x)
        y.backward()
        got = [float(y.detach()), float(x.grad)]
    elif backend == "jax":
        import jax

        got = [float(module.gelu(jax.numpy.float32(1))), float(jax.grad(module.gelu)(1.0))]
    elif backend in ("flax", "equinox"):
        import jax

        layer = module.GELU()
        got = [float(layer(jax.numpy.float32(1))), float(jax.grad(layer)(1.0))]
    elif backend == "mlx":
        import mlx.core as mx

        got = [float(module.GELU()(mx.array(1.0))), float(mx.grad(module.gelu)(mx.array(1.0)))]
    elif backend == "tensorflow":
        import tensorflow as tf

        x = tf.Variable(1.0)
        with tf.GradientTape() as tape:
            y = module.gelu(x)
        got = [float(y), float(tape.gradient(y, x))]
    else:
        import keras

        got = [float(keras.ops.convert_to_numpy(module.GELU()(keras.ops.ones((1, 1))))[0, 0]), slope]
    assert abs(got[0] - value) < 1e-6 and abs(got[1] - slope) < 1e-6, (backend, got)


def refused(backend: str, extra: str) -> None:
    """A backend without its framework says what to install."""
    import multiact

    try:
        importlib.import_module(f"multiact.backends.{backend}")
    except multiact.BackendNotAvailableError as error:
        wanted = "multiact[keras,torch]" if extra == "keras" == backend else f"multiact[{backend}]"
        assert f"pip install '{wanted}'" in str(error), error
    else:
        raise AssertionError(f"multiact.backends.{backend} was imported without its framework")


def command_line(extra: str) -> None:
    """`multiact list` and `multiact plot` run with what they need, and name the extra without."""
    script = Path(sys.executable).with_name("multiact")
    done = subprocess.run([script, "list"], capture_output=True, text=True, check=False)
    if extra in COMMANDS:
        assert done.returncode == 0 and "leaky_relu" in done.stdout, done.stderr
        plot = [script, "plot", "gelu", "--output", Path(sys.prefix) / "gelu.svg"]
        done = subprocess.run(plot, capture_output=True, text=True, check=False)
        assert done.returncode == (extra != "plot"), done.stderr
        assert extra == "plot" or "pip install 'multiact[plot]'" in done.stderr, done.stderr
    else:
        assert done.returncode == 1 and "pip install 'multiact[conformance]'" in done.stderr, done.stderr
    if extra == "conformance":
        small = ["--backend", "numpy", "--activation", "relu", "--dtype", "float32"]
        done = subprocess.run([script, "conformance", *small], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "relu" in done.stdout, done.stdout + done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extra", action="append", choices=list(CASES), help="only these")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside is not None:
        inside(given.inside)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.monotonic()
        wheel = build(folder)
        print(f"{wheel.name} has every file ({time.monotonic() - start:.0f} s)", flush=True)
        for extra in given.extra or CASES:
            start = time.monotonic()
            check(extra, wheel, folder)
            print(f"multiact[{extra}] works ({time.monotonic() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
