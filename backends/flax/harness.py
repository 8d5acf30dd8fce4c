"""Flax's own activations under test, on the harness of JAX."""

from __future__ import annotations

import flax

from multiact.natives import NativeHarness

harness = NativeHarness("flax", "jax", lambda: {"flax": flax.__version__})
