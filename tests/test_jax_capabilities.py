"""What people do to JAX functions and to the Modules over them: a sample in every way, and that wrong activations fail in them.

The ways are run in processes of their own, since the CPU cannot be divided into devices once JAX is in use.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from multiact.capabilities import capabilities
from multiact.dispatch import installed

pytest.importorskip("jax")

from multiact.conformance import runner

FRAMEWORKS = [name for name in ("jax", "flax", "equinox") if installed(name)]
SAMPLE = {"jax": ("swiglu", "softmax"), "flax": ("leaky_relu", "softmax"), "equinox": ("snake", "softmax")}
#: Second derivatives of what lax.scan runs are those of the formulas of the first ones; see known.toml.
KNOWN = {("scan", 2)}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_way_gives_right_numbers(framework):
    table = capabilities(framework)
    dtypes = ("float32", "float64") if framework == "jax" else ("float32",)
    found = runner.run(runner.request([framework], SAMPLE[framework], dtypes, modes=list(table), fresh=True))[1]
    assert {row.mode for row in found} == set(table)
    bad = [(r.activation, r.mode, r.order, r.verdict, r.reason) for r in found if r.verdict not in ("pass", "skip")]
    assert [b for b in bad if b[1:4] not in {(*k, "known") for k in KNOWN}] == []
    skipped = {(r.activation, r.mode) for r in found if r.verdict == "skip"}
    assert skipped <= {("swiglu", "pallas_tpu")}, skipped


WRONG = """
import numpy as np
import jax, jax.numpy as jnp
from multiact.backends.jax import capabilities as ways

class Pointwise:
    kind, name = "pointwise", "wrong"

class Call:
    activation = Pointwise
    def __init__(self, function): self.function = function
    def __call__(self, x): return self.function(x)

X = np.linspace(-1, 1, 64)

def refused(way, function, said, order=0):
    try:
        way(Call(function), [X], wrt=(0,) * order)
    except Exception as error:
        assert said in f"{type(error).__name__}: {error}", (way, error)
    else:
        raise SystemExit(f"{way.__name__} found nothing wrong")

assert len(jax.devices()) == 8
mean = lambda x: x - x.mean()
refused(ways.sharded, mean, "communicates: {'all-reduce'")
refused(ways.explicit_sharding, mean, "communicates: {'all-reduce'")
refused(ways.sharded, lambda x: jnp.roll(x, 1), "collective-permute")
refused(ways.sharded, lambda x: jnp.arange(64.0), "the result is sharded as")
refused(ways.jacrev, mean, "one point has a derivative in another", 1)
refused(ways.hessian, lambda x: x * x.sum(), "one point has a derivative in another", 2)
refused(ways.strict, lambda x: x + jnp.ones(64, jnp.bfloat16), "TypePromotionError")
refused(ways.strict, lambda x: (x.reshape(8, 8) + jnp.ones(8)).reshape(-1), "rank")
leaked = []
refused(ways.strict, lambda x: (leaked.append(x), x)[1], "Leaked")
refused(ways.debug_nans, lambda x: jnp.sqrt(x), "invalid value (nan)")
refused(ways.exported, lambda x: jax.pure_callback(np.sin, x, x), "multi-platform lowering")
refused(ways.exported, lambda x: x + jnp.linalg.eigvalsh(jnp.eye(2)).sum(), "the exported program calls")
refused(ways.pallas_kernel, lambda x: x * jnp.asarray(X, x.dtype), "captures constants")
"""


def test_the_ways_find_what_is_wrong():
    done = subprocess.run([sys.executable, "-c", WRONG], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


def test_modules_over_jax_are_judged_in_their_capabilities_alone():
    assert set(FRAMEWORKS[1:]) & set(runner.request().backends) == set()
    for name in FRAMEWORKS[1:]:
        with pytest.raises(runner.BackendNotAvailableError, match="the capabilities of its Modules, with --mode cap"):
            runner.request([name])
        assert runner.request([name], modes=["capabilities"]).backends == (name,)
        assert runner.request([name], native=True).backends == (name,)
        assert name in runner.request(modes=["capabilities"]).backends
        assert name not in runner.request(modes=["eager"]).backends
