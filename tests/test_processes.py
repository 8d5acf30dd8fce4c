"""Threads, forked and spawned workers, and modules that are executed again."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import multiact as ma
from multiact import registry

THREADS = 8

#: Eight threads meet everything for the first time at once: the catalogue, a backend, functions, Modules, gradients.
FIRST_USE = """
import threading
import numpy as np
import multiact as ma
{imports}

names = ["gelu", "mish", "prelu", "softmax", "swiglu"]
x = np.linspace(-4, 4, 64, dtype=np.float32)
barrier, results, errors = threading.Barrier(8), [None] * 8, []

def use(i):
    try:
        barrier.wait()
        results[i] = [np.asarray(value) for name in (names[i % 5 :] + names[: i % 5]) for value in evaluate(name)]
    except BaseException as error:
        errors.append(repr(error))

{evaluate}

threads = [threading.Thread(target=use, args=(i,)) for i in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not errors, errors
for i in range(8):
    per_name = len(results[i]) // 5
    turned = results[i][(5 - i % 5) % 5 * per_name :] + results[i][: (5 - i % 5) % 5 * per_name]
    for one, other in zip(turned, results[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(v.any() for v in results[i])
print("same")
"""

EVALUATE = {
    "numpy": (
        "",
        "def evaluate(name): return [getattr(ma, name)(x), ma.get(name).derivative(x) if name in names[:3] else x]",
    ),
    "torch": (
        "import torch",
        """
        def evaluate(name):
            from multiact.backends import torch as ours
            t = torch.from_numpy(x.copy()).requires_grad_()
            y = getattr(ours, ma.get(name).class_name)()(t)
            (g,) = torch.autograd.grad((y * y).sum(), t)
            return [y.detach(), g]
        """,
    ),
    "jax": (
        "import jax",
        """
        def evaluate(name):
            f = getattr(ma, name)
            return [f(jax.numpy.asarray(x)), jax.grad(lambda v: (f(v) ** 2).sum())(jax.numpy.asarray(x))]
        """,
    ),
    "tensorflow": (
        "import tensorflow as tf",
        """
        def evaluate(name):
            t = tf.constant(x)
            with tf.GradientTape() as tape:
                tape.watch(t)
                y = getattr(ma, name)(t)
                z = y * y
            return [y, tape.gradient(z, t)]
        """,
    ),
    "keras": (
        "import keras",
        """
        def evaluate(name):
            from multiact.backends import keras as ours
            return [keras.ops.convert_to_numpy(getattr(ours, ma.get(name).class_name)()(keras.ops.convert_to_tensor(x[None])))]
        """,
    ),
}


def program_passes(source: str) -> str:
    found = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    return found.stdout


@pytest.mark.parametrize("framework", EVALUATE)
def test_first_use_by_eight_threads_at_once(framework: str) -> None:
    pytest.importorskip(framework)
    imports, evaluate = EVALUATE[framework]
    source = FIRST_USE.format(imports=imports, evaluate=textwrap.dedent(evaluate))
    assert "same" in program_passes(f"import sys; sys.path[:] = {sys.path!r}\n{source}")


LOADER = """
import numpy as np
import torch
import multiact as ma
from multiact.backends.torch import GELU, PReLU

class Rows(torch.utils.data.Dataset):
    def __init__(self):
        self.unit = PReLU()
    def __len__(self):
        return 8
    def __getitem__(self, i):
        x = torch.linspace(-3, 3, 200_000) + i
        return {"module": self.unit(x).detach()[::1000], "function": ma.gelu(x)[::1000], "numpy": ma.mish(x.numpy())[::1000]}

if __name__ == "__main__":
    expected = list(torch.utils.data.DataLoader(Rows(), batch_size=2))  # the parent has used its threads before it forks
    for way in ("fork", "spawn"):
        loader = torch.utils.data.DataLoader(Rows(), batch_size=2, num_workers=2, multiprocessing_context=way, timeout=120)
        for got, wanted in zip(loader, expected, strict=True):
            for key in wanted:
                torch.testing.assert_close(got[key], wanted[key], rtol=3e-6, atol=1e-7)
    print("loaded")
"""


def test_workers_of_a_data_loader(tmp_path) -> None:
    pytest.importorskip("torch")
    script = tmp_path / "loader.py"
    script.write_text(f"import sys; sys.path[:] = [*{sys.path!r}, *sys.path]\n{LOADER}", encoding="utf-8")
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0 and "loaded" in found.stdout, found.stderr[-2000:]


def test_the_package_may_be_reloaded() -> None:
    before, gelu = ma.names(), ma.get("gelu")
    x = np.linspace(-2, 2, 5)
    value = ma.gelu(x)
    try:
        assert importlib.reload(ma) is ma
        assert ma.names() == before and ma.get("gelu") is gelu
        np.testing.assert_array_equal(ma.gelu(x), value)
    finally:
        del ma.__path__[2:]  # a checkout that is not installed is put there again


def test_a_backend_may_be_reloaded() -> None:
    torch = pytest.importorskip("torch")
    import multiact.backends.torch as ours

    unit = ours.GELU()
    importlib.reload(ours)
    x = torch.linspace(-2, 2, 5)
    assert type(ours.GELU()) is type(unit)  # what was made and pickled before is still of the class of that name
    torch.testing.assert_close(ours.GELU()(x), unit(x))


OWN = """
import multiact as ma
times = ma.define("test_times", lambda xp, x, /: {factor} * x, {{"x": lambda xp, x, /: xp.full_like(x, {factor})}}, aliases=("test_t",))
"""


def test_a_module_that_is_reloaded_replaces_what_it_declared(tmp_path, monkeypatch) -> None:
    file = tmp_path / "test_reloaded_module.py"
    file.write_text(OWN.format(factor=2.0), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the new file may have the time of the old one
    x = np.ones(2)
    module = importlib.import_module("test_reloaded_module")
    try:
        old = module.times
        file.write_text(OWN.format(factor=30.0), encoding="utf-8")
        importlib.invalidate_caches()
        importlib.reload(module)
        for function in (module.times, ma.test_times, ma.test_t):
            np.testing.assert_array_equal(function(x), 30 * x)
        np.testing.assert_array_equal(old(x), 2 * x)
        with pytest.raises(ma.DefinitionError, match="the name 'test_times' is taken by"):
            ma.define("test_times", lambda xp, x, /: x, {"x": lambda xp, x, /: xp.ones_like(x)})
    finally:
        registry.unregister("test_times")
        del sys.modules["test_reloaded_module"]


def test_a_cell_of_a_notebook_may_be_run_again() -> None:
    cell = 'ma.define("test_cell", lambda xp, x, /: x, {"x": lambda xp, x, /: xp.ones_like(x)})'
    notebook = {"ma": ma, "__name__": "__main__"}
    try:
        for _ in range(2):
            exec(compile(cell, "<cell>", "exec"), notebook)  # noqa: S102
        with pytest.raises(ma.DefinitionError, match="'test_cell' is taken"):
            exec(compile(f"{cell}\n{cell}", "<cell 2>", "exec"), notebook)  # noqa: S102
        with pytest.raises(ma.DefinitionError, match="'test_cell' is taken"):
            exec(compile(cell, "<cell>", "exec"), {**notebook, "__name__": "another_module"})  # noqa: S102
    finally:
        registry.unregister("test_cell")
