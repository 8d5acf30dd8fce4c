"""A stand-in for CuPy made of NumPy: arrays of a class of its own that NumPy's functions refuse, and a device.

It shows which functions of CuPy are called, and that no array of it is handed to NumPy unasked; not what CuPy computes.
"""

from __future__ import annotations

import operator
import sys
import types

import numpy as np

__version__ = "stand-in"


def _in(x):
    if isinstance(x, ndarray):
        return x._held
    if isinstance(x, (list, tuple)):
        return type(x)(map(_in, x))
    if isinstance(x, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")  # as CuPy says
    return x


def _out(x):
    return ndarray(np.asarray(x)) if isinstance(x, (np.ndarray, np.generic)) else x


def _wrapped(function):
    def call(*arguments, **given):
        with np.errstate(all="ignore"):
            found = function(*map(_in, arguments), **{k: _in(v) for k, v in given.items()})
        return tuple(map(_out, found)) if isinstance(found, tuple) else _out(found)

    return call


class ndarray:
    __array_ufunc__ = None

    def __init__(self, held):
        self._held = held

    def __getattr__(self, name):
        found = getattr(self._held, name)
        return _wrapped(found) if callable(found) else _out(found) if isinstance(found, np.ndarray) else found

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __getitem__(self, key):
        return _out(self._held[_in(key)])

    def __setitem__(self, key, value):
        self._held[_in(key)] = _in(value)

    def __bool__(self):
        return bool(self._held)

    def __len__(self):
        return len(self._held)

    @property
    def device(self):
        return cuda.Device(0)

    def get(self):
        return self._held


for _name in ("add", "sub", "mul", "truediv", "pow", "mod", "and", "or", "xor"):
    _word = f"__{_name}__"
    _function = getattr(operator, _word)
    setattr(ndarray, _word, lambda a, b, f=_function: _wrapped(f)(a, b))
    setattr(ndarray, f"__r{_name}__", lambda a, b, f=_function: _wrapped(f)(b, a))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "invert", "abs", "pos"):
    _word = f"__{_name}__"
    _function = getattr(operator, _word)
    setattr(ndarray, _word, lambda *a, f=_function: _wrapped(f)(*a))
ndarray.__hash__ = object.__hash__


def asarray(obj, dtype=None, **_):
    return ndarray(np.asarray(obj._held if isinstance(obj, ndarray) else obj, dtype=dtype))


def asnumpy(x):
    return x.get()


class _Runtime:
    CUDARuntimeError = RuntimeError

    @staticmethod
    def getDeviceCount():
        return 1


class _Device:
    def __init__(self, number=None):
        self.id = number or 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


cuda = types.ModuleType("cupy.cuda")
cuda.runtime, cuda.Device = _Runtime, _Device
cuda.device = types.ModuleType("cupy.cuda.device")
cuda.device.Device = _Device
__path__: list[str] = []
sys.modules |= {"cupy.cuda": cuda, "cupy.cuda.device": cuda.device}

for _name in dir(np):
    if not _name.startswith("_") and _name not in globals():
        _found = getattr(np, _name)
        _plain = isinstance(_found, (type, types.ModuleType)) or not callable(_found)
        globals()[_name] = _found if _plain else _wrapped(_found)
for _name in ("linalg", "fft"):
    sys.modules[f"cupy.{_name}"] = globals()[_name]
__all__ = [n for n in dir(np) if not n.startswith("_")]
