"""From an activation and a backend to the function a user calls: arguments checked, variants chosen, gates split."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from .declaration import DTYPES, Activation, Array, Axiswise, Elementwise
from .errors import InputError, MissingDerivativeError, ParameterError, ShapeError
from .protocols import Backend
from .registry import get

#: What `rng` may be, for the documentation.
RNG = (
    "the generator of the random numbers: a torch.Generator, numpy.random.Generator, tf.random.Generator or "
    "keras.random.SeedGenerator, by default the global or a fresh one (torch.compile takes the global one only); a key in JAX, "
    "which has to be given, and in MLX, by default its global state."
)

#: What is told of a call: the activation, its inputs, its keyword arguments, and what computes the result. It gives the result.
Observer: TypeAlias = Callable[[Activation, tuple[Array, ...], dict[str, Any], Callable[[], Array]], Array]


class _Watch:
    """One observer, the thread whose calls it is told of, and whether such a call is running."""

    def __init__(self, observer: Observer) -> None:
        self.observer, self.thread, self.busy = observer, threading.get_ident(), False


#: Looking whether there are any costs 10 ns a call, and torch.compile can trace that.
_watches: list[_Watch] = []
_UNTOLD: Any = object()


@contextlib.contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Tell `observer` of every call of a function of ours in this thread, on any backend, but not of calls inside of calls."""
    watch = _Watch(observer)
    _watches.append(watch)
    try:
        yield
    finally:
        _watches.remove(watch)


def _told(call: Callable[..., Array], activation: Activation, inputs: tuple[Array, ...], given: dict[str, Any]) -> Any:
    """What the newest observer of this thread makes of a call; `_UNTOLD` if there is none, or it made the call itself."""
    mine = [watch for watch in _watches if watch.thread == threading.get_ident()]
    if not mine or mine[-1].busy:
        return _UNTOLD
    watch = mine[-1]
    watch.busy = True
    try:
        return watch.observer(activation, inputs, given, lambda: call(*inputs, **given))
    finally:
        watch.busy = False


def settings(activation: Activation, given: Mapping[str, Any]) -> tuple[Activation, list[Any], dict[str, Any]]:
    """Check keyword arguments: the activation that a variant option selects, its parameters in order, its options.

    Raises
    ------
    ParameterError : one is unknown, missing, or out of its allowed range.
    """
    for option in activation.options:
        if option.variants and option.name in given:
            choice = option.check(given[option.name], activation.name)
            rest = {k: v for k, v in given.items() if k != option.name}
            if option.variants[choice] != activation.name:
                return settings(get(option.variants[choice]), rest)
            given = rest
    parameters: list[Any] = []
    used = 0
    for p in activation.parameters:
        if p.name in given:
            parameters.append(p.check(given[p.name], activation.name))
            used += 1
        elif p.default is None and not p.random:
            raise ParameterError(f"{activation.name} needs {p.name}=..., which has no default.")
        else:
            parameters.append(p.default)
    options: dict[str, Any] = {}
    for option in activation.options:
        if option.name in given:
            options[option.name] = option.check(given[option.name], activation.name)
            used += 1
        elif not option.variants:
            options[option.name] = option.default
    if used != len(given):
        accepted = [p.name for p in signature(activation).parameters.values() if p.kind is p.KEYWORD_ONLY]
        unknown = [name for name in given if name not in accepted]
        takes = f"It takes: {', '.join(accepted)}." if accepted else "It takes no parameters."
        raise ParameterError(f"{activation.name} has no parameter {unknown[0]!r}. {takes}")
    return activation, parameters, options


def _usual(activation: Activation) -> tuple[list[Any], dict[str, Any]] | None:
    """What `settings` gives without keyword arguments; None where a parameter has no default."""
    if any(p.default is None for p in activation.parameters):
        return None
    return settings(activation, {})[1:]


def drawn(activation: Activation, backend: Backend, x: Array, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments without `training` and `rng`, and with random numbers for `x` where they ask for them.

    Raises
    ------
    ParameterError : `rng` is no generator of the framework, or is missing where there is no global one.
    """
    rest, p = dict(given), activation.random
    if p is None:
        return rest
    rng = rest.pop("rng", None)
    wanted = p.default is None or rest.pop("training", False)
    if rest.get(p.name) is None:
        rest.pop(p.name, None)
        if wanted:
            check_input(activation, backend, x)
            assert p.random is not None
            rest[p.name] = backend.draw(p.random, x, rng)
    return rest


def check_input(activation: Activation, backend: Backend, *inputs: Array) -> None:
    """Raise `InputError` unless every input is a real floating-point array, all of one dtype."""
    first = backend.dtype(inputs[0])
    for i, x in enumerate(inputs):
        dtype = backend.dtype(x) if i else first
        if dtype not in DTYPES:
            raise InputError(
                f"{activation.name} expects a real floating-point array ({', '.join(DTYPES)}). Received: dtype={dtype}. "
                f"Convert it first, for example to float32."
            )
        if dtype != first:
            raise InputError(
                f"{activation.name} expects value and gate in one dtype. Received: {first} and {dtype}. Convert one first."
            )


def check_shapes(activation: Activation, x: Array, parameters: list[Any]) -> None:
    """Raise `ParameterError` unless every parameter given as an array broadcasts to the shape of `x`."""
    for p, value in zip(activation.parameters, parameters):
        if not isinstance(value, float):
            _check_broadcast(
                activation,
                x,
                p.name,
                value,
                "One value for each channel has to be shaped along the channel axis, e.g. (channels, 1, 1) for NCHW.",
            )


def _check_broadcast(activation: Activation, x: Array, name: str, value: Any, remedy: str) -> None:
    """Raise `ParameterError` unless `value`, if it has a shape, broadcasts to the shape of `x`, as far as both are known."""
    shape = getattr(value, "shape", None)
    if shape is None or getattr(x.shape, "rank", 0) is None or getattr(shape, "rank", 0) is None:
        return
    own, target = tuple(shape), tuple(x.shape)
    tail = target[len(target) - len(own) :] if len(own) <= len(target) else ()
    if len(own) > len(target) or any(
        isinstance(a, int) and isinstance(b, int) and a not in (1, b) for a, b in zip(own, tail)
    ):
        raise ParameterError(
            f"{activation.name}: {name} of shape {own} does not broadcast to the input of shape {target}. {remedy}"
        )


def check_mask(activation: Activation, x: Array, where: Any) -> None:
    """Raise `ParameterError` unless `where` is an array of booleans that broadcasts to the shape of `x`."""
    if "bool" not in str(getattr(where, "dtype", "")):
        received = getattr(where, "dtype", type(where).__name__)
        raise ParameterError(
            f"{activation.name}: where must be an array of booleans, true for the entries that count. Received: {received}. "
            f"Compare a mask of numbers with 0 first."
        )
    _check_broadcast(activation, x, "where", where, "A mask of one row for all has the size of that axis alone.")


def check_along_axis(activation: Activation, x: Array, parameters: list[Any], options: Mapping[str, int]) -> None:
    """Raise `ShapeError` or `ParameterError` unless shapes are right for a function along an axis."""
    assert isinstance(activation.function, Axiswise)
    shape = known_shape(x)
    if shape is not None:
        activation.function.output_shape(shape, options)
    check_shapes(activation, x, parameters)
    _check_constant(activation, x, parameters, activation.function.axis(options))


def _check_constant(activation: Activation, x: Array, parameters: list[Any], axis: int) -> None:
    """Raise `ParameterError` unless every parameter given as an array is constant along `axis` of `x`."""
    target = known_shape(x)
    for p, value in zip(activation.parameters, parameters):
        own = None if isinstance(value, float) or p.random else known_shape(value)
        if own is None or target is None:
            continue
        from_end = len(target) - axis if axis >= 0 else -axis
        if from_end <= len(own) and own[len(own) - from_end] not in (1, None):
            raise ParameterError(
                f"{activation.name}: {p.name} of shape {own} changes along axis {axis} of the input of shape {target}. "
                f"Give one value for each row, with size 1 along that axis."
            )


def known_shape(x: Array) -> tuple[Any, ...] | None:
    """The shape of `x`, with None for a size that is not known yet; None when not even the rank is (TensorFlow)."""
    return None if getattr(x.shape, "rank", 0) is None else tuple(x.shape)


def _same_shape(x: Array, other: Array) -> bool:
    """Whether two arrays have one shape, as far as it is known."""
    a, b = known_shape(x), known_shape(other)
    if a is None or b is None:
        return True
    return len(a) == len(b) and all(p is None or q is None or p == q for p, q in zip(a, b))


def check_split(x: Array, axis: int, name: str) -> None:
    """Raise `ShapeError` unless `axis` is an axis of `x` of even size."""
    shape = known_shape(x)
    if shape is not None and not -len(shape) <= axis < len(shape):
        raise ShapeError(f"{name}: axis {axis} is out of range for an input of shape {shape}.")
    if shape is not None and isinstance(shape[axis], int) and shape[axis] % 2:
        raise ShapeError(
            f"{name} splits axis {axis} into two halves, so its size must be even. Received: shape {shape}."
        )


def split(x: Array, axis: int, gate: str, name: str) -> tuple[Array, Array]:
    """The value and the gate out of one array.

    Raises
    ------
    ShapeError : the axis is out of range, or its size is odd.
    """
    check_split(x, axis, name)
    before = (slice(None),) * (axis % len(x.shape))
    if gate == "interleaved":
        return x[(*before, slice(1, None, 2))], x[(*before, slice(0, None, 2))]
    half = x.shape[axis] // 2
    first, second = x[(*before, slice(None, half))], x[(*before, slice(half, None))]
    return (second, first) if gate == "first" else (first, second)


def build(activation: Activation, backend: Backend) -> Callable[..., Array]:
    """The public function ``f(x, *, parameters)`` of an activation on a backend."""
    if activation.kind == "gated":
        call = _gated(activation, backend)
    elif activation.kind == "axiswise":
        call = _axiswise(activation, backend)
    else:
        call = _pointwise(activation, backend)
    if activation.random:
        call = _random(call, activation, backend)
    if activation.left_out is not None:
        call = _masked(call, activation, backend, *activation.left_out)
    return _present(call, activation)


def _masked(
    call: Callable[..., Array], activation: Activation, backend: Backend, counts_as: float, becomes: float
) -> Callable[..., Array]:
    def with_mask(x: Array, /, *, where: Array | None = None, **given: Any) -> Array:
        if where is None:
            return call(x, **given)
        check_input(activation, backend, x)
        check_mask(activation, x, where)
        return backend.select(where, call(backend.select(where, x, counts_as), **given), becomes)

    return with_mask


def _random(call: Callable[..., Array], activation: Activation, backend: Backend) -> Callable[..., Array]:
    def with_numbers(x: Array, /, **given: Any) -> Array:
        return call(x, **drawn(activation, backend, x, given))

    return with_numbers


def _pointwise(activation: Activation, backend: Backend) -> Callable[..., Array]:
    assert isinstance(activation.function, Elementwise)
    own, usual = backend.elementwise(activation.function), _usual(activation)

    def call(x: Array, /, **given: Any) -> Array:
        if _watches and (told := _told(call, activation, (x,), given)) is not _UNTOLD:
            return told
        check_input(activation, backend, x)
        if not given and usual is not None:
            return own(x, *usual[0])
        chosen, parameters, _ = settings(activation, given)
        check_shapes(chosen, x, parameters)
        function = own if chosen is activation else backend.elementwise(chosen.function)  # type: ignore[arg-type]
        return function(x, *parameters)

    return call


def _gated(activation: Activation, backend: Backend) -> Callable[..., Array]:
    assert isinstance(activation.function, Elementwise)
    own, usual = backend.elementwise(activation.function), _usual(activation)

    def call(x: Array, other: Array | None = None, /, **given: Any) -> Array:
        if _watches and (told := _told(call, activation, (x,) if other is None else (x, other), given)) is not _UNTOLD:
            return told
        parameters, options = settings(activation, given)[1:] if given or usual is None else usual
        if other is None:
            check_input(activation, backend, x)
            value, gate = backend.split(x, options["axis"], options["gate"], activation.name)
        else:
            check_input(activation, backend, x, other)
            if not _same_shape(x, other):
                raise ShapeError(
                    f"{activation.name} expects two inputs of one shape. "
                    f"Received: {known_shape(x)} and {known_shape(other)}."
                )
            value, gate = (x, other) if options["gate"] == "second" else (other, x)
        check_shapes(activation, value, parameters)
        return own(value, gate, *parameters)

    return call


def _axiswise(activation: Activation, backend: Backend) -> Callable[..., Array]:
    assert isinstance(activation.function, Axiswise)
    own, usual = backend.axiswise(activation.function), _usual(activation)

    def call(x: Array, /, **given: Any) -> Array:
        if _watches and (told := _told(call, activation, (x,), given)) is not _UNTOLD:
            return told
        check_input(activation, backend, x)
        chosen, parameters, options = settings(activation, given) if given or usual is None else (activation, *usual)
        check_along_axis(activation, x, parameters, options)
        function = own if chosen is activation else backend.axiswise(chosen.function)  # type: ignore[arg-type]
        return function(x, *parameters, **options)

    return call


def derivative_function(activation: Activation, backend: Backend, order: int, wrt: str) -> Callable[..., Array]:
    """The public function of a derivative of a pointwise activation; see `Activation.derivative`."""
    if order not in (1, 2) or (order == 2 and wrt != "x"):
        raise ParameterError(f"order must be 1, or 2 with wrt='x'. Received: order={order}, wrt={wrt!r}.")

    def call(x: Array, /, **given: Any) -> Array:
        chosen, parameters, _ = settings(activation, given)
        if chosen.kind != "pointwise":
            raise MissingDerivativeError(
                f"{chosen.name} is {chosen.kind}: its derivative is not one number for each element. "
                f"Use the framework's vjp or jvp on it."
            )
        node: Any = chosen.function
        for _ in range(order):
            if wrt not in node.arguments:
                raise ParameterError(f"{chosen.name} has no parameter {wrt!r}. It has: {', '.join(node.arguments)}.")
            node = node.partial(wrt)
            if node is None:
                raise MissingDerivativeError(
                    f"{chosen.name} does not declare the derivative of order {order} in {wrt!r}."
                )
        check_input(chosen, backend, x)
        check_shapes(chosen, x, parameters)
        return backend.elementwise(node)(x, *parameters)

    return call


def dispatching(activation: Activation) -> Callable[..., Array]:
    """The function of an array of any framework, ``multiact.<name>``."""
    from .dispatch import backend_of, prepare

    prepare(activation)
    called: list[bool] = []

    def first_call() -> None:
        prepare(activation)
        called.append(True)

    # torch.compile runs what has this mark instead of tracing it: torch may have been imported after this function was made.
    first_call._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def function_of(x: Array) -> Callable[..., Array]:
        if not called:
            first_call()
        return backend_of(x).function(activation)

    if activation.kind == "gated":

        def call(x: Array, other: Array | None = None, /, **given: Any) -> Array:
            f = function_of(x)
            return f(x, **given) if other is None else f(x, other, **given)
    else:

        def call(x: Array, /, **given: Any) -> Array:  # type: ignore[misc]
            return function_of(x)(x, **given)

    return _present(call, activation)


def signature(activation: Activation) -> inspect.Signature:
    """The signature of the public function, with every parameter and option a keyword."""
    kinds = inspect.Parameter
    inputs = [kinds("x", kinds.POSITIONAL_ONLY)]
    if activation.kind == "gated":
        inputs.append(kinds("other", kinds.POSITIONAL_ONLY, default=None))
    keywords = []
    for p in activation.settings:
        required = p.default is None and p is not activation.random
        keywords.append(kinds(p.name, kinds.KEYWORD_ONLY, default=kinds.empty if required else p.default))
    if activation.random:
        if activation.random.default is not None:
            keywords.append(kinds("training", kinds.KEYWORD_ONLY, default=False))
        keywords.append(kinds("rng", kinds.KEYWORD_ONLY, default=None))
    if activation.left_out is not None:
        keywords.append(kinds("where", kinds.KEYWORD_ONLY, default=None))
    return inspect.Signature([*inputs, *keywords])


def documentation(activation: Activation) -> str:
    """The docstring of the public function, from the declaration."""
    lines = [
        f":math:`{activation.formula}`" if activation.formula else f"{activation.name}, a user's own activation.",
        "",
    ]
    if activation.notes:
        lines += [activation.notes, ""]
    lines += ["Parameters", "----------"]
    if activation.kind == "gated":
        lines.append("x : array, real floating-point: value and gate side by side along `axis`, or the first of two.")
        lines.append("other : array of the same shape and dtype, the second of two inputs; optional.")
    else:
        lines.append("x : array of any shape, real floating-point (float16, bfloat16, float32, float64).")
    for p in activation.parameters:
        missing = "drawn by default" if p.random else "required"
        default = missing if p.default is None else f"default {p.default}"
        lines.append(
            f"{p.name} : number in {p.allowed} or array that broadcasts to `x`, {default}. {p.description}".rstrip()
        )
    for o in activation.options:
        kind = f"one of {list(o.choices)}" if o.choices else "integer"
        lines.append(f"{o.name} : {kind}, default {o.default!r}. {o.description}".rstrip())
    if activation.random:
        if activation.random.default is not None:
            lines.append(
                f"training : True draws `{activation.random.name}`, one number for each element; default False."
            )
        lines.append(f"rng : {RNG}")
    if activation.left_out is not None:
        lines.append(
            "where : array of booleans that broadcasts to `x`, true for the entries that count; default None, all of them. The "
            f"others become {activation.left_out[1]:g}, whatever they are, and their derivative is 0."
        )
    shape = "the shape of `x`"
    if activation.kind == "gated":
        shape = "half the size along `axis`, or the shape of one of two inputs"
    elif isinstance(activation.function, Axiswise) and activation.function.size is not None:
        shape = "the shape of `x` but for the size along `axis`"
    lines += [
        "",
        "Returns",
        "-------",
        f"array with the dtype of `x`, {shape}. 16-bit input is computed in float32 and rounded once.",
    ]
    lines += ["", "Raises", "------", "InputError (a TypeError) : the dtype is integer, boolean or complex."]
    if activation.settings or activation.left_out is not None:
        lines.append("ParameterError (a ValueError) : a parameter is unknown, out of range, or does not broadcast.")
    if activation.kind == "gated":
        lines.append("ShapeError (a ValueError) : the axis is out of range or odd.")
    elif isinstance(activation.function, Axiswise):
        ranks, size = activation.function.ranks, activation.function.size
        lines.append(
            "ShapeError (a ValueError) : the axis is out of range"
            + (f", or the input has not {' or '.join(map(str, ranks))} axes" if ranks else "")
            + (", or its size is not one that is taken." if size is not None else ".")
        )
    if activation.reference:
        lines += ["", "References", "----------", activation.reference]
    return "\n".join(lines)


def _present(call: Callable[..., Array], activation: Activation) -> Callable[..., Array]:
    call.__name__ = call.__qualname__ = activation.name
    # Code of its own: tracebacks name the activation, and torch.compile limits recompilations for each code object.
    call.__code__ = call.__code__.replace(co_name=activation.name)  # type: ignore[attr-defined]
    call.__doc__ = documentation(activation)
    call.__signature__ = signature(activation)  # type: ignore[attr-defined]
    call.activation = activation  # type: ignore[attr-defined]
    return call
