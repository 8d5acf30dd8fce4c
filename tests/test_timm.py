"""Our activations in models of timm, made without weights from elsewhere.

timm is no requirement of the tests, since it needs torchvision, whose wheels are for torch on CUDA and cannot be imported beside
one for the CPU. Where timm alone is installed (``pip install --no-deps timm``) empty names stand in for torchvision, of which
nothing here is used.
"""

from __future__ import annotations

import importlib.util
import sys
import types

import pytest

import multiact as ma

torch = pytest.importorskip("torch")
if importlib.util.find_spec("timm") is None:
    pytest.skip("timm is not installed", allow_module_level=True)

TORCHVISION = [
    "torchvision",
    "torchvision.datasets",
    "torchvision.models",
    "torchvision.models.feature_extraction",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
]


class _Torchvision(types.ModuleType):
    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"BILINEAR": 1, "BICUBIC": 2, "NEAREST": 3, "LANCZOS": 4, "HAMMING": 5, "BOX": 6})


def _import_timm():
    try:
        import torchvision  # noqa: F401
    except Exception:  # noqa: BLE001 - missing, or made for another torch
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        try:
            for name in TORCHVISION:
                sys.modules[name] = module = _Torchvision(name)
                parent, _, last = name.rpartition(".")
                if parent:
                    setattr(sys.modules[parent], last, module)
            import timm
        finally:
            for name in TORCHVISION:
                sys.modules.pop(name, None)
    import timm

    return timm


timm = _import_timm()

from timm.layers import create_act, create_act_layer, get_act_fn, get_act_layer

from multiact.backends.torch import GoLU, Mish, PReLU, golu, register_timm


def transformer(act):
    torch.manual_seed(0)
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
    return timm.models.VisionTransformer(**sizes, act_layer=act).eval()


def residual(act):
    torch.manual_seed(0)
    block = timm.models.resnet.BasicBlock
    return timm.models.ResNet(
        block, [1, 1, 1, 1], channels=(8, 8, 8, 8), stem_width=8, num_classes=3, act_layer=act
    ).eval()


IMAGES = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)


def test_names_that_fit_and_those_that_do_not():
    names = register_timm()
    assert names == register_timm() and "multiact/softmax" in names and "multiact/glu" not in names
    assert get_act_layer("multiact/mish") is Mish and get_act_layer("mish") is not Mish
    assert type(create_act_layer("multiact/golu", inplace=True)) is GoLU
    x = torch.linspace(-2, 2, 8)
    assert torch.equal(get_act_fn("multiact/golu")(x, inplace=True), golu(x))
    for name in names:
        for inplace in (None, True):
            y = create_act_layer(name, inplace=inplace)(x.reshape(1, 2, 2, 2))
            assert torch.isfinite(y).all(), name
    with pytest.raises(ma.ParameterError, match="timm calls .* glu takes a value and a gate"):
        register_timm("glu")
    with pytest.raises(ma.ParameterError, match="threshold needs"):
        register_timm("threshold")


@pytest.mark.parametrize("make", [transformer, residual])
def test_a_model_with_an_activation_that_timm_does_not_have(make):
    register_timm("golu")
    model = make("multiact/golu")
    inner = [m for m in model.modules() if isinstance(m, GoLU)]
    assert len(inner) > 1 and inner[0] is not inner[1]
    model(IMAGES).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("make", [transformer, residual])
def test_the_same_function_gives_the_same_model(make):
    register_timm("mish")
    torch.testing.assert_close(make("multiact/mish")(IMAGES), make("mish")(IMAGES))


def test_learned_parameters_are_parameters_of_the_model():
    register_timm("prelu")
    model = transformer("multiact/prelu")
    slopes = [m.weight for m in model.modules() if isinstance(m, PReLU)]
    assert len(slopes) == 2
    model(IMAGES).sum().backward()
    assert all(s.grad is not None for s in slopes)
    assert create_act_layer("multiact/prelu", num_parameters=4).weight.shape == (4,)


def test_an_activation_of_ones_own():
    ma.define("timm_cube", lambda xp, x, /: x * x * x, {"x": lambda xp, x, /: 3 * x * x}, definition="x**3")
    try:
        (name,) = register_timm("timm_cube")
        torch.testing.assert_close(create_act_layer(name, inplace=True)(torch.tensor([2.0])), torch.tensor([8.0]))
    finally:
        ma.registry.unregister("timm_cube")
        del create_act._ACT_LAYER_DEFAULT[name], create_act._ACT_FN_DEFAULT[name]
