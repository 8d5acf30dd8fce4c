"""Equinox's own activation under test, on the harness of JAX."""

from __future__ import annotations

import equinox

from multiact.natives import NativeHarness

harness = NativeHarness("equinox", "jax", lambda: {"equinox": equinox.__version__})
