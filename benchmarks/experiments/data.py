"""The data of the experiments: scikit-learn's digits, which need no network, or larger sets where there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from multiact.dispatch import installed
from multiact.errors import MultiactError, ParameterError
from multiact.models import room

#: Of the examples, for testing.
TESTED = 0.2


class DataError(MultiactError):
    """A data set is not there: what reads it is not installed, or it could not be fetched."""


@dataclass(frozen=True)
class Data:
    """A data set in two parts.

    Attributes
    ----------
    x, test_x : float32 of shape (examples, height, width, channels), from 0 to 1, or (examples, entries).
    y, test_y : the numbers of the classes, int64.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return self.x.shape[1:]

    @property
    def classes(self) -> int:
        return int(self.y.max()) + 1

    def flat(self) -> Data:
        """Its examples as rows of numbers, of mean 0 and variance 1 over the training part, as initialisations expect."""
        x, test_x = (a.reshape(len(a), -1) for a in (self.x, self.test_x))
        mean, std = x.mean(), x.std()
        return replace(self, x=(x - mean) / std, test_x=(test_x - mean) / std)

    def images(self) -> Data:
        """The same as `flat`, and images stay images.

        Raises
        ------
        ParameterError : they are none.
        """
        if len(self.shape) != 3:
            raise ParameterError(
                f"a convolutional network needs images. {self.name} has rows of {self.shape[0]} numbers."
            )
        flat = self.flat()
        return replace(flat, x=flat.x.reshape(self.x.shape), test_x=flat.test_x.reshape(self.test_x.shape))


def load(name: str = "digits") -> Data:
    """A data set by its name.

    Raises
    ------
    ParameterError : there is no such data set.
    DataError : what reads it is not installed, or it could not be fetched.
    """
    if name not in DATA:
        raise ParameterError(f"there is no data set {name!r}. There are: {', '.join(DATA)}.")
    return DATA[name]()


def _digits() -> Data:
    """1,797 images of 8 by 8 (Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI, 1998)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("digits come with scikit-learn. Install it with: pip install 'multiact[bench]'") from None
    images, labels = load_digits(return_X_y=True)
    return _split("digits", images.reshape(-1, 8, 8, 1) / 16, labels)


def _circles() -> Data:
    """Points of a square, of which those inside of a circle are one half (row F6)."""
    random = np.random.default_rng(0)
    points = random.uniform(-1, 1, (2000, 2))
    return _split("circles", points, (np.hypot(*points.T) < np.sqrt(2 / np.pi)).astype("int64"))


def _split(name: str, x: np.ndarray, y: np.ndarray) -> Data:
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order].astype("float32"), y[order].astype("int64")
    tested = int(TESTED * len(x))
    return Data(name, x[tested:], y[tested:], x[:tested], y[:tested])


def _fetched(name: str, keras_name: str, torchvision_name: str) -> Callable[[], Data]:
    def fetch() -> Data:
        reasons = []
        for framework, known_as in (("keras", keras_name), ("torch", torchvision_name)):
            if not installed(framework):
                reasons.append(f"{framework} is not installed")
                continue
            try:
                (x, y), (test_x, test_y) = room(framework, "training").data_set(known_as)
            except Exception as error:  # noqa: BLE001  Keras raises Exception itself where there is no network
                reasons.append(f"{framework}: {error}")
                continue
            x, test_x = (a.reshape(len(a), *a.shape[1:3], -1).astype("float32") / 255 for a in (x, test_x))
            return Data(name, x, y.reshape(-1).astype("int64"), test_x, test_y.reshape(-1).astype("int64"))
        raise DataError(
            f"{name} could not be fetched ({'; '.join(reasons)}). It needs a network once, and Keras or torchvision. "
            f"'digits' needs none."
        )

    return fetch


DATA: dict[str, Callable[[], Data]] = {
    "digits": _digits,
    "circles": _circles,
    "mnist": _fetched("mnist", "mnist", "MNIST"),
    "cifar10": _fetched("cifar10", "cifar10", "CIFAR10"),
}
