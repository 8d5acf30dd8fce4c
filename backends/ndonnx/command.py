"""The command ``multiact onnx``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from multiact.cli import parse_settings
from multiact.declaration import Activation
from multiact.errors import BackendNotAvailableError, MultiactError, ParameterError
from multiact.files import check_writable, replacing
from multiact.registry import get


def onnx(
    name: Annotated[str, typer.Argument(help="Its name or an alias.")],
    file: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="A parameter or an option, such as beta=2 or axis=1; may be repeated."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, float64 or float16, which is computed in float32.")] = "float32",
    shape: Annotated[
        str | None,
        typer.Option(help="Of the input: sizes or names for any size, e.g. batch,10. Default: two axes of any size."),
    ] = None,
) -> None:
    """Write an activation as an ONNX model, checked, and run once if onnxruntime is installed.

    Its input is x and its output y; a gated unit has the inputs value and gate, and gumbel_softmax takes its noise as one.
    """
    activation = get(name)
    for needed in ("ndonnx", "onnx"):
        if importlib.util.find_spec(needed) is None:
            raise BackendNotAvailableError(
                f"multiact onnx needs {needed}, which is not installed. Install it with: pip install 'multiact[onnx]'"
            )
    from .model import differs, inputs_of, model_of, opset

    given = _settings(activation, parameter or [])
    try:
        check_writable(file)
        model = model_of(activation, dtype, None if shape is None else _shape(shape), **given)
        ran = importlib.util.find_spec("onnxruntime") is not None
        with replacing(file) as temporary:
            temporary.write_bytes(model.SerializeToString())
            wrong = differs(model, activation, dtype, **given) if ran else ""
            if wrong:
                raise MultiactError(f"{file} is not written, as onnxruntime computes something else of it: {wrong}.")
    except OSError as error:
        raise MultiactError(str(error)) from error
    shown = ", ".join(f"{n}: {dtype} ({', '.join(map(str, s))})" for n, s in inputs_of(model).items())
    how = "run by onnxruntime" if ran else "not run, since onnxruntime is not installed"
    console = Console(markup=False, highlight=False)
    console.print(f"{file}: {activation.name} of {shown}; opset {opset(model)}, checked, {how}", soft_wrap=True)


def _settings(activation: Activation, texts: list[str]) -> dict[str, Any]:
    """Settings by name; a number for an option without choices is an integer."""
    whole = {o.name for o in activation.options if o.choices is None}
    return {
        n: int(v) if n in whole and isinstance(v, float) and v.is_integer() else v
        for n, v in parse_settings(texts).items()
    }


def _shape(text: str) -> tuple[int | str, ...]:
    """``batch,10`` as ("batch", 10)."""
    found: list[int | str] = []
    for word in (part.strip() for part in text.split(",")):
        if not (word.isidentifier() or word.isdigit() and int(word) > 0):
            raise ParameterError(
                f"--shape takes sizes and names, separated by commas, for example batch,10. Received: {text!r}."
            )
        found.append(int(word) if word.isdigit() else word)
    return tuple(found)
