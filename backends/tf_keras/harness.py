"""tf_keras' own activations under test, on the harness of TensorFlow."""

from __future__ import annotations

import tf_keras

from multiact.natives import NativeHarness

harness = NativeHarness("tf_keras", "tensorflow", lambda: {"tf_keras": tf_keras.__version__})
