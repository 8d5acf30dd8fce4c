"""What ONNX calls an activation: the operators of the default domain, evaluated by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from multiact.natives import Argument, Entry, only, sets

PACKAGE = "onnx"
BACKEND = None
IGNORED = ()

#: Opsets in which an operator is tried, the newest first: onnxruntime knows no kernels for the last ones of some.
OPSETS = (28, 24)


def _operator(name: str, activation: str, since: int, /, notes: str = "", **facts: Any) -> Entry:
    """`since`: the opset that introduced the operator, or gave it the meaning that is described here."""
    arguments = {n: facts.pop(n) for n in list(facts) if isinstance(facts[n], Argument)}
    notes = f"An operator since opset {since}. {notes}".strip()
    return Entry(f"onnx.{name}", activation, arguments, notes=notes, **facts)


def _inputs(*names: str) -> Callable[[Any, Mapping[str, Any]], Callable[..., Any]]:
    """For operators that take these settings as inputs rather than attributes."""

    def prepare(operator: Any, given: Mapping[str, Any]) -> Callable[..., Any]:
        import numpy as np

        return lambda x: operator(x, *(np.asarray(given[n]).astype(x.dtype) for n in names))

    return prepare


def _inverse(value: float) -> float:
    """Attributes are float32, so that 1/6 comes back with eight digits."""
    return float(f"{1 / value:.7g}")


_GELU = "The other form is another value of the attribute approximate."

NATIVES = (
    _operator("Gelu", "gelu", 20, _GELU, approximate=only("none", "none")),
    _operator("Gelu", "gelu_tanh", 20, _GELU, approximate=only("tanh", "none")),
    _operator("Identity", "identity", 1),
    _operator("Relu", "relu", 1),
    _operator("LeakyRelu", "leaky_relu", 1, alpha=sets("negative_slope", 0.01)),
    _operator(
        "PRelu",
        "prelu",
        7,
        "The slope is an input that broadcasts to x.",
        slope=sets("negative_slope"),
        prepare=_inputs("slope"),
    ),
    _operator("ThresholdedRelu", "thresholded_relu", 10, alpha=sets("threshold", 1.0)),
    _operator("Elu", "elu", 1, alpha=sets("alpha", 1.0)),
    _operator("Celu", "celu", 12, alpha=sets("alpha", 1.0)),
    _operator("Selu", "selu", 1, alpha=only(1.67326319217681884765625, 1.67326319217681884765625)),
    _operator("Swish", "silu", 24, alpha=sets("beta", 1.0)),
    _operator("Mish", "mish", 18),
    _operator("Softplus", "softplus", 1),
    _operator("Softsign", "softsign", 1),
    _operator("Sigmoid", "sigmoid", 1, "onnxruntime gives 0 far below 0, where the others still have digits."),
    _operator("Tanh", "tanh", 1),
    _operator(
        "HardSigmoid",
        "hard_sigmoid",
        1,
        "alpha is 0.2 by default, as in Keras 2, where the other frameworks have 1/6.",
        alpha=sets("width", 0.2, ours=_inverse, theirs=lambda width: 1 / width),
        beta=sets("offset", 0.5),
    ),
    _operator("HardSwish", "hard_swish", 14),
    _operator("Shrink", "hard_shrink", 9, lambd=sets("lambd", 0.5), bias=only(0.0, 0.0)),
    _operator("Shrink", "soft_shrink", 9, lambd=sets("lambd", 0.5), bias=sets("lambd", 0.0)),
    _operator(
        "Clip", "relu6", 11, "The bounds are inputs.", min=only(0.0), max=only(6.0), prepare=_inputs("min", "max")
    ),
    _operator(
        "Clip",
        "bounded_relu",
        11,
        "The bounds are inputs.",
        min=only(0.0),
        max=sets("max_val"),
        prepare=_inputs("min", "max"),
        measured=False,
    ),
    _operator(
        "Clip",
        "hard_tanh",
        11,
        "The bounds are inputs.",
        min=sets("min_val"),
        max=sets("max_val"),
        prepare=_inputs("min", "max"),
    ),
    _operator("Softmax", "softmax", 13, "Before, it took all axes from `axis` on as one.", axis=sets("axis", -1)),
    _operator(
        "LogSoftmax", "log_softmax", 13, "Before, it took all axes from `axis` on as one.", axis=sets("axis", -1)
    ),
    _operator("Hardmax", "hardmax", 13, "Before, it took all axes from `axis` on as one.", axis=sets("axis", -1)),
    _operator(
        "SwiGLU",
        "swiglu",
        28,
        "The first input, A, is the gate.",
        inputs=("gate", "value"),
        alpha=sets("beta", 1.0),
        prepare=lambda operator, given: lambda value, gate: operator(gate, value, **given),
    ),
    _operator("Exp", "exponential", 1),
    _operator("Abs", "abs", 1),
    _operator("Sin", "sine", 7),
    _operator("Cos", "cosine", 7),
    _operator("Atan", "arctan", 7),
    _operator("Asinh", "asinh", 9),
    _operator("Erf", "erf", 9),
)


def resolve(spelling: str) -> Callable[..., Any]:
    """The operator as a function of NumPy arrays and its attributes."""
    name = spelling.partition(".")[2]

    def operator(*inputs: Any, **attributes: Any) -> Any:
        run = _session(name, len(inputs), str(inputs[0].dtype), tuple(sorted(attributes.items())))
        return run(inputs)

    return operator


@lru_cache(maxsize=256)
def _session(name: str, inputs: int, dtype: str, attributes: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    """A model of one node, in the newest opset for which onnxruntime has a kernel.

    Raises
    ------
    NotImplementedError : there is none for this dtype.
    """
    import onnxruntime
    from onnx import TensorProto, helper

    kind = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16}.get(dtype)
    if kind is None:
        raise NotImplementedError(f"onnxruntime takes no NumPy arrays of {dtype}")
    names = [f"x{i}" for i in range(inputs)]
    node = helper.make_node(name, names, ["y"], **dict(attributes))
    values = [helper.make_tensor_value_info(n, kind, None) for n in (*names, "y")]
    graph = helper.make_graph([node], name, values[:-1], values[-1:])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    why = ""
    for opset in OPSETS:
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common base
            why = why or str(error).partition(" : ")[2]
            continue
        return lambda given: session.run(None, dict(zip(names, given)))[0]
    raise NotImplementedError(f"onnxruntime has no {name} of {dtype}: {why}")


def read(thing: Any) -> tuple[str, dict[str, Any]] | None:
    """A node of a model, onnx.NodeProto."""
    from onnx import NodeProto, helper

    if not isinstance(thing, NodeProto):
        return None
    values = {a.name: helper.get_attribute_value(a) for a in thing.attribute}
    return f"onnx.{thing.op_type}", {n: v.decode() if isinstance(v, bytes) else v for n, v in values.items()}
