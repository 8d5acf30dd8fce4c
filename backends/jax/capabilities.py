"""What people do to functions in JAX: each function evaluates an activation in the way of its entry in capabilities.toml."""

from __future__ import annotations

import contextlib
import gc
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, wraps
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from multiact.declaration import Array
from multiact.protocols import Result
from multiact.transforms import Function, Transforms, at

from .harness import push, put, transforms

Weights: TypeAlias = "Sequence[Array | None]"
Derive: TypeAlias = Callable[[Function, tuple[int, ...], Sequence[Array], Weights], Array]

#: So many devices the CPU is divided into, which has to be said before it is used.
DEVICES = 8
with contextlib.suppress(RuntimeError):
    jax.config.update("jax_num_cpu_devices", DEVICES)

#: So many numbers make a row, where an activation is mapped over rows.
WIDTH = 8
#: The rows of a case can be divided by it.
GROUPS = 8
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
COLLECTIVE = re.compile(
    r" (all-reduce|all-gather|all-to-all|collective-permute|collective-broadcast|reduce-scatter)(?:-start)?\("
)
#: How often the members of the softmax family communicate at most, sharded along their axis: in the value, the first and the
#: second derivative. The value takes a maximum and a sum. What sorts its input needs all of it, and is not limited.
_SUMS = (2, 5, 9)
REDUCTIONS = {"softmax": _SUMS, "softmin": _SUMS, "softmax2d": _SUMS, "log_softmax": (2, 3, 5)}


@dataclass(frozen=True)
class Case:
    """What is evaluated. The points lie along the first axis: numbers, or rows along an axis.

    Attributes
    ----------
    arrays, weights : of the arguments and of each entry of `wrt`; a weight is None for ones.
    """

    call: Any
    arrays: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray | None, ...]
    wrt: tuple[int, ...]
    dtype: str
    device: str

    @property
    def along_axis(self) -> bool:
        return bool(self.call.activation.kind == "axiswise")

    def put(self, place: Any = None) -> tuple[tuple[Array, ...], tuple[Array | None, ...]]:
        """The arrays and weights on the device, or where a Sharding or a function of the array says."""
        place = jax.devices(self.device)[0] if place is None else place

        def placed(a: np.ndarray) -> Array:
            return put(a, jnp.dtype(self.dtype), place(a) if callable(place) else place)

        return tuple(map(placed, self.arrays)), tuple(None if w is None else placed(w) for w in self.weights)

    def derivative(self, call: Function, derive: Derive = transforms.reverse) -> Function:
        """The value or derivative asked for of a function, as a function of arrays and weights."""
        return lambda arrays, weights: derive(call, self.wrt, arrays, weights)

    def compiled(self, function: Function) -> Array:
        """What a function of arrays and weights gives inside jax.jit."""
        return jax.jit(function)(*self.put())

    def rows(self, tree: Any) -> Any:
        """Arrays with rows along the first axis."""
        return tree if self.along_axis else jax.tree.map(lambda a: a.reshape(-1, WIDTH), tree)

    def joined(self, found: Array) -> Array:
        """The inverse for a result."""
        return found if self.along_axis else found.reshape(-1)

    def by_rows(self, mapped: Callable[[Sequence[Array]], Array]) -> Function:
        """A function of the arrays out of one of rows."""
        return lambda *arrays: self.joined(mapped(self.rows(arrays)))


def capability(evaluate: Callable[[Case], Array]) -> Callable[..., Result]:
    """A function as the conformance suite calls it out of one of a case."""

    @wraps(evaluate)
    def evaluated(
        call: Function,
        arrays: Sequence[np.ndarray],
        *,
        wrt: tuple[int, ...] = (),
        dtype: str = "float32",
        device: str = "cpu",
        directions: Sequence[np.ndarray] | None = None,
    ) -> Result:
        points = len(arrays[0])

        def padded(a: np.ndarray) -> np.ndarray:
            return np.concatenate([a, np.repeat(a[-1:], -points % (GROUPS * WIDTH), axis=0)])

        weights = (None,) * len(wrt) if directions is None else tuple(map(padded, directions))
        case = Case(call, tuple(map(padded, arrays)), weights, wrt, dtype, device)
        with jax.enable_x64(dtype == "float64"):
            found = evaluate(case)
            return Result(np.asarray(found).astype(np.float64)[:points], str(found.dtype))

    return evaluated


def _by_direction(case: Case, tangents: Callable[[Function, Array, Sequence[Array]], Array]) -> Derive:
    """A gradient out of forward mode, which gives what reverse mode gives of numbers, but of a row one entry at a time.

    Parameters
    ----------
    tangents : of a function at a point, the derivative along each of the directions.
    """

    def derive(call: Function, wrt: tuple[int, ...], arrays: Sequence[Array], weights: Weights) -> Array:
        if not wrt:
            return call(*arrays)
        function, x = at(call, arrays, wrt[0]), arrays[wrt[0]]
        if not case.along_axis:
            return tangents(function, x, [jnp.ones_like(x)] * len(wrt))
        cotangent, *given = weights
        units = [jnp.zeros_like(x).at[:, i].set(1) for i in range(x.shape[1])]
        found = [(cotangent * tangents(function, x, [*given, unit])).sum(axis=1) for unit in units]
        return jnp.stack(found, axis=1)

    return derive


def _along(function: Function, x: Array, directions: Sequence[Array]) -> Array:
    """The derivative along directions, by jax.jvp of jax.jvp."""
    if not directions:
        return function(x)
    return push(lambda v: _along(function, v, directions[:-1]), x, directions[-1])


# Derivatives


@capability
def third(case: Case) -> Array:
    return case.compiled(case.derivative(case.call))


@capability
def third_forward(case: Case) -> Array:
    return case.compiled(case.derivative(case.call, transforms.forward_over_reverse))


def _jacobian(case: Case, jacobian: Callable[..., Function]) -> Array:
    (i,) = case.wrt

    def function(arrays: Sequence[Array], weights: Weights) -> Array:
        rows = case.rows(arrays)
        found = jax.vmap(lambda *row: jacobian(case.call, argnums=i)(*row))(*rows)
        if not case.along_axis:
            return found
        size, out = rows[0].shape[0], weights[0].shape[1]  # type: ignore[union-attr]
        product = weights[0].reshape(size, out, 1) * found.reshape(size, out, -1)  # type: ignore[union-attr]
        return product.sum(axis=1).reshape(rows[i].shape)

    return _diagonal(case, case.compiled(function))


def _diagonal(case: Case, found: Array) -> Array:
    """Of a matrix for each row of numbers, which has nothing beside its diagonal."""
    if case.along_axis:
        return found
    matrices = np.asarray(found).astype(np.float64)
    own = np.eye(WIDTH, dtype=bool)
    finite = np.isfinite(matrices).all(axis=(1, 2))
    if np.any(matrices[finite][:, ~own]):
        raise AssertionError("one point has a derivative in another")
    return found[:, own].reshape(-1)


@capability
def jacrev(case: Case) -> Array:
    return _jacobian(case, jax.jacrev)


@capability
def jacfwd(case: Case) -> Array:
    return _jacobian(case, jax.jacfwd)


@capability
def hessian(case: Case) -> Array:
    i = case.wrt[0]

    def of_numbers(arrays: Sequence[Array], weights: Weights) -> Array:
        matrix = jax.hessian(lambda *row: case.call(*row).sum(), argnums=i)
        return jax.vmap(matrix)(*case.rows(arrays))

    def along_axis(arrays: Sequence[Array], weights: Weights) -> Array:
        """Of the steps in each entry of the row and of one in the given direction: the products of these with that."""

        def row(cotangent: Array, tangent: Array, *inputs: Array) -> Array:
            def stepped(steps: Array) -> Array:
                x = inputs[i] + steps[:-1].reshape(inputs[i].shape) + steps[-1] * tangent
                return (cotangent * case.call(*inputs[:i], x, *inputs[i + 1 :])).sum()

            steps = jnp.zeros(inputs[i].size + 1, inputs[i].dtype)
            return jax.hessian(stepped)(steps)[-1, :-1].reshape(inputs[i].shape)

        return jax.vmap(row)(*weights, *arrays)

    return _diagonal(case, case.compiled(along_axis if case.along_axis else of_numbers))


# Transforms


@capability
def nested_jvp(case: Case) -> Array:
    return case.compiled(case.derivative(case.call, _by_direction(case, _along)))


def _transposed(function: Function, x: Array, weight: Array | None) -> Array:
    result, linear = jax.linearize(function, x)
    return jax.linear_transpose(linear, x)(jnp.ones_like(result) if weight is None else weight)[0]


@capability
def linearized(case: Case) -> Array:
    return case.compiled(case.derivative(case.call, Transforms(_transposed, push).reverse))


@capability
def nested_vmap(case: Case) -> Array:
    def function(arrays: Sequence[Array], weights: Weights) -> Array:
        def apart(a: Array) -> Array:
            return a.reshape(GROUPS, -1, *a.shape[1:])

        inner = jax.vmap(case.derivative(case.call), in_axes=0)
        found = jax.vmap(inner, in_axes=1, out_axes=1)(*jax.tree.map(apart, case.rows((arrays, weights))))
        return case.joined(found.reshape(-1, *found.shape[2:]))

    return case.compiled(function)


def _scanned(case: Case, call: Function) -> Function:
    def mapped(rows: Sequence[Array]) -> Array:
        return lax.scan(lambda carry, row: (carry, call(*row)), None, tuple(rows))[1]

    return case.by_rows(mapped)


@capability
def scan(case: Case) -> Array:
    return case.compiled(case.derivative(_scanned(case, case.call)))


@capability
def cond(case: Case) -> Array:
    def function(condition: Array, arrays: Sequence[Array], weights: Weights) -> Array:
        def call(*inputs: Array) -> Array:
            return lax.cond(condition, case.call, lambda *inputs: -case.call(*inputs), *inputs)

        return case.derivative(call)(arrays, weights)

    return jax.jit(function)(jnp.asarray(True), *case.put())


@capability
def while_loop(case: Case) -> Array:
    def mapped(rows: Sequence[Array]) -> Array:
        size = rows[0].shape[0]

        def body(state: tuple[Array, Array]) -> tuple[Array, Array]:
            i, result = state
            row = [lax.dynamic_index_in_dim(a, i, keepdims=False) for a in rows]
            return i + 1, lax.dynamic_update_index_in_dim(result, case.call(*row), i, 0)

        shaped = jax.eval_shape(case.call, *(a[0] for a in rows))
        start = jnp.zeros((), jnp.int32), jnp.zeros((size, *shaped.shape), shaped.dtype)
        return lax.while_loop(lambda state: state[0] < size, body, start)[1]

    return case.compiled(case.derivative(case.by_rows(mapped), _by_direction(case, _along)))


@capability
def jaxpr(case: Case) -> Array:
    arrays, weights = case.put()
    traced = jax.make_jaxpr(case.call)(*arrays)

    def call(*inputs: Array) -> Array:
        return jax.core.eval_jaxpr(traced.jaxpr, traced.consts, *inputs)[0]  # type: ignore[no-any-return]

    return case.derivative(call)(arrays, weights)


def _in_kernel(case: Case, arrays: Sequence[Any], interpret: bool) -> Function:
    """The activation as a Pallas kernel on whole arrays."""

    def kernel(*references: Any) -> None:
        *inputs, result = references
        result[...] = case.call(*(r[...] for r in inputs))

    shaped = jax.eval_shape(case.call, *arrays)
    shape = jax.ShapeDtypeStruct(shaped.shape, shaped.dtype)
    return jax.jit(pallas.pallas_call(kernel, out_shape=shape, interpret=interpret))


@capability
def pallas_kernel(case: Case) -> Array:
    arrays, _ = case.put()
    return _in_kernel(case, arrays, case.device == "cpu")(*arrays)


@capability
def pallas_tpu(case: Case) -> Array:
    block = [jax.ShapeDtypeStruct((8, 128), jnp.dtype(case.dtype))] * len(case.arrays)
    try:
        jax.export.export(_in_kernel(case, block, False), platforms=["tpu"])(*block)
    except NotImplementedError as error:
        why = "Pallas lowers no custom_jvp with symbolic zeros, which functions of several arrays have, for TPU."
        raise NotImplementedError(str(error) or why) from error
    arrays, _ = case.put()
    return _in_kernel(case, arrays, True)(*arrays)


# Debugging


@capability
def strict(case: Case) -> Array:
    gc.freeze()  # JAX collects garbage at every level, which takes long over all that is there already
    try:
        with jax.checking_leaks(), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
            return case.compiled(case.derivative(case.call))
    finally:
        gc.unfreeze()


@capability
def debug_nans(case: Case) -> Array:
    def at_finite(a: np.ndarray, other: float) -> np.ndarray:
        return np.where(finite.reshape(-1, *(1,) * (a.ndim - 1)), a, other)

    finite = np.logical_and.reduce([np.isfinite(a.reshape(len(a), -1)).all(axis=1) for a in case.arrays])
    tame = replace(case, arrays=tuple(at_finite(a, 0.5) for a in case.arrays))
    with jax.debug_nans(True):
        found = jax.block_until_ready(tame.compiled(tame.derivative(case.call)))
    others = case.compiled(case.derivative(case.call))
    return jnp.where(finite.reshape(-1, *(1,) * (found.ndim - 1)), found, others)


@capability
def disable_jit(case: Case) -> Array:
    with jax.disable_jit():
        return case.derivative(case.call)(*case.put())


# Sharding


def _mesh(case: Case, shape: tuple[int, ...], axis_types: AxisType) -> Mesh:
    devices = jax.devices(case.device)
    if case.device == "cpu" and len(devices) < DEVICES:
        raise RuntimeError(f"the CPU was used before it was divided into {DEVICES} devices: {len(devices)} are there.")
    if len(devices) < DEVICES:
        raise NotImplementedError(f"there are {len(devices)} devices, {DEVICES} are needed.")
    names = ("rows", "axis")[: len(shape)]
    return jax.make_mesh(shape, names, (axis_types,) * len(shape), devices=devices[:DEVICES])


def collectives(text: str) -> dict[str, int]:
    """How often a compiled program communicates, by operation."""
    found = COLLECTIVE.findall(text)
    return {name: found.count(name) for name in dict.fromkeys(found)}


def _on_devices(case: Case, call: Function, sharding: NamedSharding) -> Array:
    """A value or derivative on sharded arrays, which is sharded as they are and needs no communication."""
    arrays, weights = case.put(sharding)
    program = jax.jit(case.derivative(call)).lower(arrays, weights).compile()
    found = program(arrays, weights)
    communication = collectives(program.as_text())
    if communication:
        raise AssertionError(f"the compiled program communicates: {communication}")
    # A slope may be a constant, which depends on no input.
    constant = found.sharding.is_fully_replicated and len(np.unique(np.asarray(found), equal_nan=True)) == 1
    if not constant and not found.sharding.is_equivalent_to(sharding, found.ndim):
        raise AssertionError(f"the result is sharded as {found.sharding}, the input as {sharding}")
    return found  # type: ignore[no-any-return]


@capability
def sharded(case: Case) -> Array:
    return _on_devices(case, case.call, NamedSharding(_mesh(case, (DEVICES,), AxisType.Auto), P("rows")))


@capability
def explicit_sharding(case: Case) -> Array:
    mesh = _mesh(case, (DEVICES,), AxisType.Explicit)
    with jax.set_mesh(mesh):
        return _on_devices(case, case.call, NamedSharding(mesh, P("rows")))


@capability
def shard_map(case: Case) -> Array:
    mesh = _mesh(case, (DEVICES,), AxisType.Auto)
    call = jax.shard_map(lambda *inputs: case.call(*inputs), mesh=mesh, in_specs=P("rows"), out_specs=P("rows"))
    return _on_devices(case, call, NamedSharding(mesh, P("rows")))


@capability
def sharded_axis(case: Case) -> Array:
    mesh = _mesh(case, (2, 4), AxisType.Auto)

    def place(a: np.ndarray) -> NamedSharding:
        return NamedSharding(mesh, P("rows", "axis" if a.shape[1] % 4 == 0 else None))

    arrays, weights = case.put(place)
    program = jax.jit(case.derivative(case.call)).lower(arrays, weights).compile()
    communication, name = collectives(program.as_text()), case.call.activation.name
    if name in REDUCTIONS and sum(communication.values()) > REDUCTIONS[name][len(case.wrt)]:
        raise AssertionError(f"{name} communicates more than its sums need: {communication}")
    return program(arrays, weights)  # type: ignore[no-any-return]


# Export


@lru_cache(maxsize=4)
def _serialized(call: Any, shapes: tuple[tuple[int, ...], ...], dtype: str) -> bytes:
    (batch,) = jax.export.symbolic_shape("batch")
    given = [jax.ShapeDtypeStruct((batch, *shape), jnp.dtype(dtype)) for shape in shapes]
    exported = jax.export.export(jax.jit(lambda *inputs: call(*inputs)), platforms=PLATFORMS)(*given)
    calls = set(re.findall(r"custom_call @(\w+)", exported.mlir_module())) - {"shape_assertion"}
    if calls:
        raise AssertionError(f"the exported program calls {calls}, which another version of JAX need not know")
    return bytes(exported.serialize(vjp_order=2))


@capability
def exported(case: Case) -> Array:
    written = _serialized(case.call, tuple(a.shape[1:] for a in case.arrays), case.dtype)
    return case.compiled(case.derivative(jax.export.deserialize(bytearray(written)).call))


@capability
def ahead_of_time(case: Case) -> Array:
    dtype = jnp.dtype(case.dtype)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, dtype), (case.arrays, case.weights))
    program = jax.jit(case.derivative(case.call)).lower(*shapes).compile()
    return program(*case.put())  # type: ignore[no-any-return]


# Training


@capability
def checkpoint(case: Case) -> Array:
    return case.compiled(case.derivative(jax.checkpoint(lambda *inputs: case.call(*inputs))))


@capability
def checkpointed_scan(case: Case) -> Array:
    return case.compiled(case.derivative(_scanned(case, jax.checkpoint(lambda *inputs: case.call(*inputs)))))


@capability
def donated(case: Case) -> Array:
    (x, *others), weights = case.put()
    function = case.derivative(case.call)
    donating = jax.jit(lambda x, others, weights: function((x, *others), weights), donate_argnums=0, keep_unused=True)
    shape = x.shape
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Some donated buffers were not usable")  # a result of another shape
        found = donating(x, others, weights)
    if found.shape == shape and not x.is_deleted():
        raise AssertionError("the buffer of the donated input was not used")
    return found


@capability
def static_argument(case: Case) -> Array:
    function = jax.jit(lambda activation, *given: case.derivative(activation)(*given), static_argnums=0)
    given = case.put()
    function(case.call, *given)
    found = function(case.call, *given)
    if function._cache_size() != 1:
        raise AssertionError("the same activation was compiled twice")
    return found
