"""From a function of arrays to an ONNX model, and from a model to a function of NumPy arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ndonnx
import numpy as np
import onnx

from multiact import __version__, dispatch
from multiact.declaration import Activation, Array, Axiswise
from multiact.errors import MultiactError, ParameterError
from multiact.functions import settings

Shape = Sequence[int | str]
DTYPES = ("float32", "float64", "float16")


def build(function: Callable[..., Array], inputs: Mapping[str, Shape], dtype: str) -> onnx.ModelProto:
    """A model of a function of so many arrays.

    Parameters
    ----------
    inputs : the shape of each, by its name in the model. A size is a number, or a name, which is any size, the same one wherever
        the name stands.
    dtype : one of `DTYPES`.

    Raises
    ------
    NotImplementedError : an operation is not to be had in this precision.
    """
    given = {name: ndonnx.argument(shape=tuple(shape), dtype=getattr(ndonnx, dtype)) for name, shape in inputs.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "(?s).*lossy cast", UserWarning)
        try:
            result = function(*given.values())
        except UserWarning as warning:
            operation = str(warning).split("'")[1]
            raise NotImplementedError(
                f"ndonnx computes {operation} of {dtype} in float32, for want of a kernel of onnxruntime"
            ) from None
    return ndonnx.build(given, {"y": result}, drop_unused=False)  # type: ignore[no-any-return]


def run(model: onnx.ModelProto, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """What onnxruntime gives for these arrays, in the order of the inputs, on one core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(inputs_of(model), arrays)))[0]  # type: ignore[no-any-return]


def inputs_of(model: onnx.ModelProto) -> dict[str, Shape]:
    """The inputs of a model and their shapes."""
    return {i.name: [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}


def function_of(activation: Activation, **given: Any) -> tuple[tuple[str, ...], Callable[..., Array]]:
    """An activation with these parameters as a function of positional arrays, and what they are.

    They are "x", or "value" and "gate" of a gated unit, and after them random numbers that a function always takes.

    Raises
    ------
    ParameterError : a parameter is unknown, missing or out of range.
    """
    settings(activation, given)
    function = dispatch.backend("numpy").function(activation)
    if activation.kind == "gated":
        value_first = given.get("gate", activation.option("gate").default) == "second"
        return ("value", "gate"), lambda value, gate: function(
            *((value, gate) if value_first else (gate, value)), **given
        )
    random = activation.random
    if random is not None and random.default is None:
        return ("x", random.name), lambda x, numbers: function(x, **given, **{random.name: numbers})
    return ("x",), lambda x: function(x, **given)


def usual_shape(activation: Activation) -> Shape:
    """The shape of an input where none is asked for: of any size, with the number of axes that is taken."""
    ranks = activation.function.ranks if isinstance(activation.function, Axiswise) else ()
    return ("batch", "channels", "height", "width")[: 2 if not ranks or 2 in ranks else max(ranks)]


def model_of(
    activation: Activation, dtype: str = "float32", shape: Shape | None = None, **given: Any
) -> onnx.ModelProto:
    """An ONNX model of an activation with these parameters, whose inputs are those of `function_of`, and its output "y".

    Parameters
    ----------
    dtype : one of `DTYPES`. float16 is computed in float32 and rounded once.
    shape : of every input, as for `build`; by default two axes of any size.

    Raises
    ------
    ParameterError, ShapeError : a parameter, the dtype or the shape is not one that is taken.
    MultiactError : the formula needs to know a size that the shape leaves open, or an operation that onnxruntime lacks.
    """
    if dtype not in DTYPES:
        raise ParameterError(f"dtype must be one of {list(DTYPES)}. Received: {dtype!r}.")
    shape = usual_shape(activation) if shape is None else shape
    names, function = function_of(activation, **given)
    try:
        model = build(function, dict.fromkeys(names, shape), dtype)
    except MultiactError:
        raise
    except NotImplementedError as error:
        raise MultiactError(f"{activation.name} cannot be written in {dtype}: {error}. Use float32.") from None
    except Exception as error:
        if all(isinstance(n, int) for n in shape):
            raise
        raise MultiactError(
            f"{activation.name} cannot be written for an input of shape {tuple(shape)}: {error}. Give sizes as numbers."
        ) from error
    model.graph.name, model.producer_name, model.producer_version = activation.name, "multiact", __version__
    for size, known in zip(model.graph.output[0].type.tensor_type.shape.dim, _output_shape(activation, shape, given)):
        if isinstance(known, str):
            size.dim_param = known  # ndonnx names the sizes of inputs alone
    shown = ", ".join(f"{k}={v}" for k, v in given.items())
    model.doc_string = f"{activation.name}({shown}): {activation.definition or activation.formula}"
    onnx.checker.check_model(model, full_check=True)
    return model


def _output_shape(activation: Activation, shape: Shape, given: Mapping[str, Any]) -> list[int | str | None]:
    """The shape of the result, as far as sizes are those of the input."""
    sizes: list[int | str | None] = [*shape]
    if isinstance(activation.function, Axiswise) and activation.function.size is not None:
        options = {o.name: given.get(o.name, o.default) for o in activation.options}
        sizes[activation.function.axis(options)] = None
    return sizes


def opset(model: onnx.ModelProto) -> int:
    """The version of the operators of ONNX that it uses."""
    return next(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))


def differs(model: onnx.ModelProto, activation: Activation, dtype: str, **given: Any) -> str:
    """Run a model once by onnxruntime; what is wrong with its result beside that of NumPy, "" if nothing is."""
    names = dict.fromkeys(n for shape in inputs_of(model).values() for n in shape if isinstance(n, str))
    sizes = {name: 2 * i + 2 for i, name in enumerate(names)}  # even, as some split an axis into halves
    random = np.random.default_rng(0)
    arrays = [
        random.normal(size=[n if isinstance(n, int) else sizes[n] for n in shape]).astype(dtype)
        for shape in inputs_of(model).values()
    ]
    got, wanted = run(model, arrays), np.asarray(function_of(activation, **given)[1](*arrays))
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"it gives {got.dtype} of shape {got.shape}, NumPy {wanted.dtype} of shape {wanted.shape}"
    largest = float(np.abs(got.astype(float) - wanted.astype(float)).max(initial=0.0))
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    within = largest <= 32 * float(np.finfo(dtype).eps) * scale
    return "" if within else f"the largest difference from NumPy is {largest:.3g}"
