"""The PyTorch backend: every function of a tower is an autograd.Function whose derivatives are the next ones.

Only the arguments are saved for backward, or the result in place of x where it suffices. Each Function exists three times: with a jvp and setup_context for torch.func and
forward mode; without for torch.compile, which refuses Functions that define a jvp; and for plain calls, because torch inspects
the signature of a Function with setup_context in every call, 10 us.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling

from multiact.adaptive import Adaptive
from multiact.declaration import Activation, Array, Axiswise, Elementwise
from multiact.exports import BackendBase, check_generator
from multiact.registry import get

from . import namespace
from .eager import Eager, keeps_result

Tensor: TypeAlias = torch.Tensor
Rule = Callable[..., Any]

_DTYPES = {d: str(d).removeprefix("torch.") for d in vars(torch).values() if isinstance(d, torch.dtype)}
_HALF = (torch.float16, torch.bfloat16)  # Dynamo cannot trace a table that also holds dtypes of TensorFlow


class TorchBackend(BackendBase):
    """Functions of torch Tensors, and torch Modules."""

    name = "torch"
    namespace = namespace
    has_layers = True

    def owns(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor)

    def dtype(self, x: Array) -> str:
        return _DTYPES[x.dtype]

    def __init__(self) -> None:
        super().__init__()
        self._eager: dict[Elementwise | Axiswise, Eager] = {}

    def eager(self, activation: Activation) -> Eager:
        """How the function of an activation is evaluated in eager mode."""
        register = self.elementwise if isinstance(activation.function, Elementwise) else self.axiswise
        register(activation.function)
        found = self._eager[activation.function]
        if found.activation is None:
            found.belongs_to(activation)
        return found

    def function(self, activation: Activation) -> Callable[..., Array]:
        if id(activation) not in self._functions:
            self.eager(activation)
            # All that a call may need is made now: torch.compile can trace a call, but not the making of a Function.
            super().function(activation)
            for option in activation.options:
                for variant in (option.variants or {}).values():
                    self.function(get(variant))
        return self._functions[id(activation)]

    def uniform(self, like: Array, dtype: str, rng: Any) -> Tensor:
        if rng is None:
            return torch.rand_like(like, dtype=getattr(torch, dtype))
        check_generator(self.name, rng, (torch.Generator,), "a torch.Generator, or None for the global one")
        return torch.rand(like.shape, dtype=getattr(torch, dtype), device=like.device, generator=rng)

    def register_elementwise(self, function: Elementwise) -> Callable[..., Array]:
        def plain(*arguments: Any) -> Tensor:
            return evaluated(function, arguments)

        def partial(i: int, traced: bool) -> Rule:
            node: Any = function.require(function.arguments[i])
            if traced:  # Dynamo follows no Function inside the backward of another
                return lambda *inputs: node(namespace, *inputs)
            return self.elementwise(node)

        def vjp(
            inputs: list[Any], y: Tensor | None, grad: Tensor, needed: Sequence[bool], traced: bool
        ) -> list[Tensor | None]:
            if y is not None:
                return [grad * (saved(y) if traced else y)]
            return [grad * partial(i, traced)(*inputs) if need else None for i, need in enumerate(needed)]

        def jvp(inputs: list[Any], tangents: list[Tensor | None]) -> Tensor:
            terms = [t * partial(i, False)(*inputs) for i, t in enumerate(tangents) if t is not None]
            return sum(terms[1:], start=terms[0])

        partials = [function.partial(a) for a in function.arguments]
        for node in partials:
            if node not in (None, function):
                self.elementwise(node)
        missing = [i for i, node in enumerate(partials) if function.order and node is None]
        ways = self._eager[function] = Eager(function, plain)
        return _differentiable(function, plain, vjp, jvp, missing, ways)

    def register_axiswise(self, function: Axiswise) -> Callable[..., Array]:
        count, names = len(function.arguments), function.options

        # The options travel behind the arguments.
        def parted(given: Sequence[Any]) -> tuple[Sequence[Any], dict[str, int]]:
            return given[:count], dict(zip(names, given[count:]))

        def plain(*arguments: Any) -> Tensor:
            arrays, options = parted(wide(arguments))
            return rounded(function.value(namespace, *arrays, **options), arguments[0])

        def vjp(
            inputs: list[Any], y: Tensor | None, grad: Tensor, needed: Sequence[bool], traced: bool
        ) -> list[Tensor | None]:
            arrays, options = parted(inputs)
            if y is None:
                y = plain(*inputs) if traced else call(*inputs)
            elif traced:
                y = saved(y)
            return [*function.vjp(namespace, arrays, y, grad, needed[:count], **options), *(None for _ in names)]

        def jvp(inputs: list[Any], tangents: list[Tensor | None]) -> Tensor:
            arrays, options = parted(inputs)
            return function.jvp(namespace, arrays, call(*inputs), tangents[:count], **options)

        ways = self._eager[function] = Eager(function, plain)
        call = _differentiable(function, plain, vjp, jvp, [], ways)

        def entry(*arguments: Any, **options: int) -> Tensor:
            return call(*arguments, *(options[name] for name in names))

        return entry

    def make_layer(self, activation: Activation) -> type:
        from .layers import make_layer

        return make_layer(activation)

    def make_adaptive(self, kind: type[Adaptive]) -> type:
        from .adaptive import make_adaptive

        return make_adaptive(kind)


def _differentiable(
    function: Elementwise | Axiswise, plain: Rule, vjp: Rule, jvp: Rule, missing: list[int], ways: Eager
) -> Callable[..., Tensor]:
    """`plain`, a function of Tensors and Python numbers, with its derivatives registered.

    Where a derivative is needed in an argument listed in `missing`, autograd differentiates the body instead. `ways` are those
    to evaluate it in eager mode.
    """
    eager = _autograd_function(function, plain, vjp, ways=ways)
    transformable = _autograd_function(function, plain, vjp, jvp)
    traced = _autograd_function(function, plain, vjp, traced=True)
    value = ways.forward
    # as Function.apply does for a Function without setup_context, but for looking through signatures and wrappers, 1 us
    apply = super(torch.autograd.Function, eager).apply

    def call(*arguments: Any) -> Tensor:
        if is_dynamo_compiling():
            needed = [_requires_grad(a) for a in arguments]
            if any(needed) and not any(needed[i] for i in missing):
                if _numbers_are_symbols():
                    # A number first met inside a Function belongs to its graph, and Dynamo cannot use it in the next one.
                    # So all constants are met here before; the results are dropped from the graph.
                    y = plain(*arguments)
                    vjp(wide(arguments), None, y, tuple(needed), True)
                return traced.apply(*arguments)
            return plain(*arguments)
        transformed = True
        if not torch._C._are_functorch_transforms_active() and forward_ad._current_level < 0:
            if torch._C._is_tracing():
                return plain(*arguments)
            if not torch.is_grad_enabled() or not (
                arguments[0].requires_grad or any(map(_requires_grad, arguments[1:]))
            ):
                return value(*arguments)
            transformed = False
        for i in missing:
            if _requires_grad(arguments[i]) or transformed and isinstance(arguments[i], torch.Tensor):
                return plain(*arguments)
        return transformable.apply(*arguments) if transformed else apply(*arguments)

    return call


@torch.compiler.assume_constant_result
def _numbers_are_symbols() -> bool:
    """Whether torch.compile is tracing with dynamic=True, which makes inputs of the graph of all constants."""
    return not torch._dynamo.config.assume_static_by_default


def _requires_grad(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.requires_grad


def _primal(x: Any) -> Any:
    """A Tensor without its tangent of the level that is being evaluated."""
    return forward_ad.unpack_dual(x, level=0).primal if isinstance(x, torch.Tensor) else x


def _autograd_function(
    function: Elementwise | Axiswise,
    plain: Rule,
    vjp: Rule,
    jvp: Rule | None = None,
    traced: bool = False,
    ways: Eager | None = None,
) -> type[torch.autograd.Function]:
    """A Function of `plain`; with `jvp` one for forward mode and the transforms of torch.func."""
    value = plain if ways is None else ways.forward
    may_keep_result = jvp is None and function.result_suffices

    def setup_context(ctx: Any, inputs: Sequence[Any], output: Any) -> None:
        ctx.set_materialize_grads(False)
        if not any(map(torch.is_tensor, inputs[1:])):
            tensors, ctx.constants = inputs[:1], inputs[1:]
        else:
            tensors = [a if isinstance(a, torch.Tensor) else None for a in inputs]
            ctx.constants = [None if isinstance(a, torch.Tensor) else a for a in inputs[1:]]
        ctx.save_for_backward(*tensors)
        if jvp is not None:
            ctx.save_for_forward(*tensors)

    def forward(ctx: Any, *arguments: Any) -> Tensor:
        y: Tensor = value(*arguments)
        if may_keep_result:
            ctx.keeps_result = keeps_result(function, arguments[0].dtype, arguments[1:])
            if ctx.keeps_result:
                arguments = (y, *arguments[1:])
        setup_context(ctx, arguments, y)
        return y

    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        arguments = _restored(ctx)
        if grad is None:
            return (None,) * len(arguments)
        if ways is not None:
            at_once = ways.backward(arguments, grad, ctx.needs_input_grad)
            if at_once is not None:
                return at_once
        y = arguments[0] if may_keep_result and ctx.keeps_result else None
        inputs = wide(arguments)
        given = inputs if y is None else [None, *inputs[1:]]
        grads = vjp(given, y, grad.to(inputs[0].dtype), ctx.needs_input_grad, traced)
        return tuple([None if g is None else _sum_to(g, a.shape).to(a.dtype) for g, a in zip(grads, arguments)])

    members: dict[str, Any] = {"backward": staticmethod(backward)}
    if jvp is None:
        members["forward"] = staticmethod(forward)
    else:
        rule = jvp

        def forward_mode(ctx: Any, *tangents: Tensor | None) -> Tensor | None:
            arguments = _restored(ctx)
            if all(t is None for t in tangents):
                return None
            # torch calls this with forward mode turned off, in which outer levels of it lose their tangents (pytorch#197867).
            with forward_ad._set_fwd_grad_enabled(True):
                inputs = wide([_primal(a) for a in arguments])
                tangent: Tensor = rule(inputs, [None if t is None else t.to(inputs[0].dtype) for t in tangents])
                return tangent.to(arguments[0].dtype)

        members |= {
            "generate_vmap_rule": True,
            "forward": staticmethod(value),
            "setup_context": staticmethod(setup_context),
            "jvp": staticmethod(forward_mode),
        }
    return type(function.name.replace("/", "_"), (torch.autograd.Function,), members)


def _restored(ctx: Any) -> list[Any]:
    """The arguments of forward."""
    x, *others = ctx.saved_tensors
    if not others:
        return [x, *ctx.constants]
    return [x, *(c if t is None else t for t, c in zip(others, ctx.constants))]


def wide(arguments: Sequence[Any]) -> list[Any]:
    """The Tensors among `arguments` in the precision of the computation: float32 for 16-bit input, else that of x."""
    dtype = arguments[0].dtype
    dtype = torch.float32 if dtype in _HALF else dtype
    return [a.to(dtype) if isinstance(a, torch.Tensor) else a for a in arguments]


def evaluated(function: Elementwise, arguments: Sequence[Any]) -> Tensor:
    """The value of a formula, as `Elementwise.evaluate` has it; that Dynamo cannot trace."""
    x, inputs = arguments[0], wide(arguments)
    y = function(namespace, *inputs)
    return rounded(function.off_ties(namespace, y, *inputs) if x.dtype in _HALF else y, x)


def rounded(y: Tensor, x: Tensor) -> Tensor:
    if x.dtype in _HALF:
        return y.to(x.dtype)
    return y.clone() if y is x else y  # autograd would take the input itself for a view


def saved(y: Tensor) -> Tensor:
    """The result, which torch.compile would evaluate again from the input unless something is done with it that it cannot fuse."""
    return torch.empty_like(y).copy_(y)


def _sum_to(grad: Tensor, shape: torch.Size) -> Tensor:
    return grad if grad.shape == shape else grad.sum_to_size(shape)


backend = TorchBackend()
