"""The activations of Hugging Face transformers under test, on the harness of torch."""

from __future__ import annotations

import transformers

from multiact.natives import NativeHarness

harness = NativeHarness("transformers", "torch", lambda: {"transformers": transformers.__version__})
