"""Initialisation: the table of pairings, gains and schemes, models of PyTorch and Flax; those of Keras are in keras_cases."""

from __future__ import annotations

import copy
import math
import re

import numpy as np
import pytest

import multiact as ma
from multiact import pairing, weights
from multiact.initialisation import Initialisation, of_output, recommended
from multiact.weights import Follower, WeightLayer

YEAR = re.compile(r"\b(19|20)\d\d\b")
#: Those that are functions of one number with their default parameters.
POINTWISE = [n for n in ma.names() if ma.get(n).kind == "pointwise" and n != "threshold"]
WIDTH, DEPTH = 1024, 50


# The table


def test_the_table_is_complete_and_has_sources():
    table = pairing.table()
    for rule in table.hidden:
        assert bool(rule.activations) != bool(rule.property), rule.id
        assert all(ma.get(name).name == name for name in rule.activations), rule.id
        assert isinstance(rule.gain, float) or rule.gain in pairing.GAINS
        assert rule.reason and YEAR.search(rule.source), rule.id
        assert not rule.property or rule.property in pairing.PROPERTIES
    for output in table.outputs.values():
        for name in (output.activation, *output.others):
            assert ma.get(name).name == name
        assert output.in_model in ("yes", "logits") and YEAR.search(output.source), output.task
    used = {pairing.pair(n, ma.get(n).kind, _slope(n), vars(ma.facts(n)))[0].id for n in POINTWISE}
    others = [n for n in ma.names() if ma.get(n).kind != "pointwise"]
    used |= {pairing.pair(n, ma.get(n).kind, 0.0, {"forward_gain": 1.0})[0].id for n in others}
    assert used == {rule.id for rule in table.hidden}, "each rule is for some activation"


def _slope(name: str) -> float:
    return float(ma.get(name).derivative(np.asarray(0.0)))


@pytest.mark.parametrize("name", [n for n in ma.names() if n != "threshold"])
def test_every_activation_has_one_and_facts_have_the_same(name):
    found = ma.initialisation(name)
    assert found.gain > 0 and math.isfinite(found.gain) and found.reason and YEAR.search(found.reference)
    if name != "gumbel_softmax":
        assert found == ma.facts(name).initialisation


def test_known_pairs():
    siren = ma.initialisation("siren")
    assert siren.scheme == "SIREN" and siren.distribution == "uniform"
    assert siren.bound(256, 9) == pytest.approx(math.sqrt(6 / 256) / 30)
    assert siren.bound(2, 9, first=True) == pytest.approx(1 / 2), "the first layer is within 1 / fan_in"
    assert ma.initialisation("finer", omega=10.0).bound(24, 1) == pytest.approx(math.sqrt(6 / 24) / 10)
    assert (ma.initialisation("selu").scheme, ma.initialisation("identity").gain) == ("LeCun", 1.0)
    assert ma.initialisation("swiglu").gain == pytest.approx(ma.gain("silu"))
    assert of_output().std(10, 30) == pytest.approx(math.sqrt(2 / 40))


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2, 1.0])
def test_schemes_of_any_activation(slope):
    gain = math.sqrt(2 / (1 + slope**2))
    he, xavier, lecun = (ma.initialisation("leaky_relu", s, negative_slope=slope) for s in ("He", "xavier", "lecun"))
    assert he.std(64, 16) == pytest.approx(gain / 8) and he.bound(64, 16) == pytest.approx(math.sqrt(3) * gain / 8)
    assert xavier.scheme == "Glorot" and xavier.std(64, 16) == pytest.approx(gain * math.sqrt(2 / 80))
    assert lecun.scheme == "LeCun" and lecun.std(64, 16) == pytest.approx(gain / 8)
    back = ma.initialisation("leaky_relu", fan="fan_out", negative_slope=slope)
    assert back.std(64, 16) == pytest.approx(gain / 4)


def test_where_torch_knows_the_gain():
    init = pytest.importorskip("torch").nn.init
    assert ma.gain("relu") == pytest.approx(init.calculate_gain("relu"))
    assert ma.gain("leaky_relu", negative_slope=0.3) == pytest.approx(init.calculate_gain("leaky_relu", 0.3))
    assert ma.initialisation("gelu", "he").gain == pytest.approx(1.5335, abs=1e-4)
    assert ma.initialisation("tanh", "he").gain == ma.gain("tanh") != ma.initialisation("tanh").gain == 1.0
    assert ma.initialisation("tanh", "glorot") == ma.initialisation("tanh"), "the paired gain in the paired scheme"
    assert ma.initialisation("gelu", fan="fan_out").gain == ma.gain("gelu", backward=True)


def test_what_makes_no_sense():
    with pytest.raises(ma.ParameterError, match="there is no scheme 'xaver'. Did you mean 'xavier'"):
        ma.initialisation("relu", "xaver")
    with pytest.raises(ma.ParameterError, match="there is no fan 'fan_inn'"):
        ma.initialisation("relu", fan="fan_inn")
    with pytest.raises(ma.ParameterError, match="SIREN is for sines"):
        ma.initialisation("relu", "siren")
    with pytest.raises(ma.UnknownActivationError):
        ma.initialisation("no_such")
    with pytest.raises(ma.MissingDerivativeError, match="step has no backward gain"):
        ma.initialisation("step", fan="fan_out")
    with pytest.raises(ma.MissingDerivativeError, match="no weights keep the size of a signal through threshold"):
        ma.initialisation("threshold", threshold=100.0, value=0.0)


# Signals through fifty layers


def _spread(name: str, elasticity: float) -> float:
    """The standard deviation of the logarithm of a signal's mean square after fifty layers of 1024 units with the exact gain.

    Each layer adds the fluctuation of a mean over its units and multiplies what it got by the elasticity; 2 / width is that of
    the mean square itself.
    """
    z = np.random.default_rng(1).standard_normal(200_000)
    with np.errstate(all="ignore"):
        squares = np.asarray(ma.get(name)(z)) ** 2
    v = np.mean(squares**2) / np.mean(squares) ** 2 - 1
    return math.sqrt(v / WIDTH * sum(elasticity ** (2 * k) for k in range(DEPTH)) + 2 / WIDTH)


@pytest.fixture(scope="module")
def deep():
    """For each activation the mean squares in fifty layers with its computed gain, and how much of the last tells inputs apart."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((len(POINTWISE), 8, WIDTH)).astype("float32")
    sizes = []
    with np.errstate(all="ignore"):
        for _ in range(DEPTH):
            w = rng.standard_normal((WIDTH, WIDTH), dtype="float32") / np.float32(math.sqrt(WIDTH))
            h = np.stack([np.float32(ma.gain(n)) * np.asarray(ma.get(n)(z[i])) for i, n in enumerate(POINTWISE)])
            z = (h.astype("float32").reshape(-1, WIDTH) @ w).reshape(z.shape)
            sizes.append(np.mean(z.astype("float64") ** 2, axis=(1, 2)))
        apart = z.astype("float64").var(axis=1).mean(axis=1) / sizes[-1]
    return {n: (np.asarray(sizes)[:, i], float(apart[i])) for i, n in enumerate(POINTWISE)}


def _off(sizes) -> float:
    """The largest factor by which the size was off, as a logarithm."""
    ends = float(np.min(sizes)), float(np.max(sizes))
    return max(abs(math.log(e)) if 0 < e < math.inf else math.inf for e in ends)


@pytest.mark.parametrize("name", POINTWISE)
def test_the_second_moment_through_fifty_layers(name, deep):
    """Within a factor of 2, or 4 where deviations neither die out nor grow; those that cannot keep it have elasticity > 1.

    A gain that is 3 % off is a factor of 19 after fifty layers of relu.
    """
    sizes, _ = deep[name]
    elasticity = ma.facts(name).elasticity
    spread = _spread(name, elasticity)
    assert _off(sizes) < 4 * spread or elasticity > 1.01, "further off than chance explains"
    if elasticity < 0.99:
        assert _off(sizes) < math.log(2)
    elif elasticity < 1.01:
        assert _off(sizes) < math.log(4)
    elif elasticity > 1.1:
        assert _off(sizes) > math.log(2), "its elasticity says that the size of the signal runs away"
    else:
        assert _off(sizes) < 4 * spread


def test_which_keep_it(deep):
    """Said by the data, so that nobody is surprised: gelu and silu need normalisation however they are initialised."""
    growing = {n for n in POINTWISE if ma.facts(n).elasticity > 1.01}
    assert {"gelu", "silu", "relu_squared", "exponential", "tanh_shrink", "star_relu"} <= growing
    assert not growing & {"relu", "leaky_relu", "tanh", "sigmoid", "selu", "elu", "softplus", "softsign"}
    assert len(growing) < len(POINTWISE) / 3


def test_contractions_to_a_constant(deep):
    """Where (forward / backward gain)^2 < 1 all inputs become one: the second moment is kept, and is that of a constant."""
    for name in POINTWISE:
        f = ma.facts(name)
        jumps = any(k.order == 0 for k in f.kinks)
        if not jumps and f.elasticity < 1 and f.backward_gain < math.inf:
            ratio = (f.forward_gain / f.backward_gain) ** 2
            if ratio < 0.8:
                assert deep[name][1] < 1e-3, name
            elif ratio > 1.05:
                assert deep[name][1] > 0.01, name
    assert deep["sigmoid"][1] < 1e-3 < deep["tanh"][1]


def test_a_wrong_gain_does_not_keep_it():
    rng = np.random.default_rng(3)
    z = rng.standard_normal((8, 256))
    for _ in range(DEPTH):
        z = np.maximum(z, 0) @ (rng.standard_normal((256, 256)) / 16)
    assert np.mean(z * z) < 1e-10


def test_gated_units_through_fifty_layers():
    """gtu keeps the size; the others are products whose deviations add up, elasticity above 1."""
    rng = np.random.default_rng(4)
    z, gain = rng.standard_normal((8, 2 * 256)), ma.gain("gtu")
    for _ in range(DEPTH):
        z = gain * ma.gtu(z) @ (rng.standard_normal((256, 2 * 256)) / 16)
    assert 0.5 < np.mean(z * z) < 2
    assert ma.facts("gtu").elasticity < 1 < ma.facts("glu").elasticity < ma.facts("swiglu").elasticity
    assert ma.facts("bilinear").elasticity == pytest.approx(2)


def _alpha_dropout(x, rate, rng):
    """Klambauer et al. 2017, section 3: what is dropped becomes selu(-inf), then an affine map restores mean 0 and variance 1."""
    low = float(ma.selu(np.asarray(-math.inf)))
    kept = rng.random(x.shape) >= rate
    a = 1 / math.sqrt((1 - rate) * (1 + rate * low**2))
    return (a * np.where(kept, x, low) - a * rate * low).astype(x.dtype)


def _is_normalised(x):
    """Mean 0 and variance 1.

    With 1024 units and 64 examples the mean over a layer, whose units share weights, has a standard deviation of about
    1 / sqrt(1024) = 0.03, and the logarithm of the variance one of 0.06 (`_spread`): the bounds are three of them.
    """
    assert abs(float(x.mean())) < 0.1 and 0.8 < float(x.var()) < 1.25


def test_selu_with_alpha_dropout_in_numpy():
    rng = np.random.default_rng(5)
    x, std = rng.standard_normal((64, WIDTH), dtype="float32"), ma.initialisation("selu").std(WIDTH, WIDTH)
    for _ in range(DEPTH):
        x = ma.selu(x @ (np.float32(std) * rng.standard_normal((WIDTH, WIDTH), dtype="float32")))
        x = _alpha_dropout(x, 0.1, rng)
        _is_normalised(x)


def test_selu_with_alpha_dropout_in_torch():
    torch = pytest.importorskip("torch")
    from multiact.backends.torch import SELU

    torch.manual_seed(0)
    with torch.device("meta"):  # no weights are drawn twice
        blocks = [m for _ in range(DEPTH) for m in (torch.nn.Linear(WIDTH, WIDTH), SELU(), torch.nn.AlphaDropout(0.1))]
        model = torch.nn.Sequential(*blocks, torch.nn.Linear(WIDTH, 1))
    model.to_empty(device="cpu").train()
    report = ma.init_for(model, seed=0)
    assert [layer.chosen.scheme for layer in report] == ["LeCun"] * DEPTH + ["Glorot"] and not report.left
    with torch.no_grad():
        x = torch.randn(64, WIDTH)
        for module in model[:-1]:
            x = module(x)
            if isinstance(module, torch.nn.AlphaDropout):
                _is_normalised(x.double())


# PyTorch


@pytest.fixture
def nn():
    return pytest.importorskip("torch").nn


def _described(report):
    return {layer.path: (layer.follower.role, layer.follower.activation, layer.chosen.scheme) for layer in report}


def test_a_sequence_of_modules(nn):
    from multiact.backends.torch import SIREN, SwiGLU

    model = nn.Sequential(
        *(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.LeakyReLU(0.2), nn.Dropout()),
        nn.Sequential(nn.Linear(64, 64), nn.Tanh()),
        *(nn.Linear(64, 64), SwiGLU(), nn.Linear(32, 32), nn.Linear(32, 10), nn.Softmax(-1)),
    )
    report = ma.init_for(model, seed=0)
    assert _described(report) == {
        "0": ("hidden", "leaky_relu", "He"),
        "4.0": ("hidden", "tanh", "Glorot"),
        "5": ("hidden", "swiglu", "He"),
        "7": ("linear", "", "LeCun"),
        "8": ("output", "softmax", "Glorot"),
    }
    assert report.layers[0].follower.normalised and report.layers[0].chosen.gain == ma.gain(
        "leaky_relu", negative_slope=0.2
    )
    for layer in report:
        module = model.get_submodule(layer.path)
        assert float(module.weight.detach().std()) == pytest.approx(layer.std, rel=0.15) and not module.bias.any()
    assert "0 (Linear, 8 -> 64), before leaky_relu(negative_slope=0.2) [graph]: He" in str(report)
    again = copy.deepcopy(model)
    ma.init_for(again, seed=0)
    assert all((a == b).all() for a, b in zip(model.parameters(), again.parameters()))
    ma.init_for(again, seed=1)
    assert (again[0].weight != model[0].weight).any()
    siren = nn.Sequential(nn.Linear(2, 256), SIREN(), nn.Linear(256, 256), SIREN(), nn.Linear(256, 1))
    ma.init_for(siren, seed=0)
    assert 0.48 < float(siren[0].weight.detach().abs().max()) <= 0.5
    assert float(siren[2].weight.detach().abs().max()) <= math.sqrt(6 / 256) / 30


def test_functions_that_are_called_and_branches(nn):
    torch = pytest.importorskip("torch")
    F = nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
            self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

        def forward(self, x):
            return F.elu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.blocks = nn.Conv2d(3, 8, 3, stride=2), nn.Sequential(Block(), Block())
            self.gate, self.up, self.down = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 8)
            self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)
            self.layers, self.head = nn.ModuleList([nn.Linear(8, 8)]), nn.Linear(8, 1)

        def forward(self, x):
            x = self.blocks(F.leaky_relu(self.stem(x), 0.3)).mean((2, 3))
            x = x + self.down(F.silu(self.gate(x)) * self.up(x))
            x = F.softmax(self.query(x) @ self.key(x).transpose(-1, -2), -1) @ x
            for layer in self.layers:
                x = torch.tanh(layer(x).view(x.shape[0], -1))
            return torch.sigmoid(self.head(x))

    report = ma.init_for(Net(), seed=0)
    assert _described(report) == {
        "stem": ("hidden", "leaky_relu", "He"),
        **{f"blocks.{i}.conv1": ("hidden", "relu", "He") for i in (0, 1)},
        **{f"blocks.{i}.conv2": ("hidden", "elu", "He") for i in (0, 1)},
        "gate": ("hidden", "silu", "He"),
        "up": ("hidden", "silu", "He"),
        "down": ("linear", "", "LeCun"),
        "layers.0": ("hidden", "tanh", "Glorot"),
        "head": ("output", "sigmoid", "Glorot"),
    }
    assert dict(report.layers[0].follower.parameters) == {"negative_slope": 0.3}
    assert [left.path for left in report.left] == ["query", "key"] and "attention" in report.left[0].reason


def test_what_is_left_and_what_cannot_be_seen(nn):
    class Opaque(nn.Module):
        def __init__(self, between):
            super().__init__()
            self.first = nn.Linear(8, 8)
            self.act = between
            self.last = nn.Linear(8, 8)

        def forward(self, x):
            if x.sum() > 0:  # torch.fx cannot trace this
                x = x + 1
            return self.last((self.act or nn.functional.gelu)(self.first(x)))

    report = ma.init_for(Opaque(nn.ELU()), seed=0)
    assert _described(report)["first"] == ("hidden", "elu", "He")
    assert report.layers[0].follower.how == "order of modules"
    model = Opaque(None)
    before = model.first.weight.detach().clone()
    report = ma.init_for(model, seed=0)
    assert [left.path for left in report.left] == ["first"] and "cannot trace" in report.left[0].reason
    assert (model.first.weight == before).all() and len(report) == 1
    report = ma.init_for(model, "gelu", seed=0)
    assert _described(report)["first"] == ("hidden", "gelu", "He") and not report.left
    tied = nn.Sequential(nn.Embedding(8, 8), nn.LSTM(8, 8), nn.Linear(8, 8, bias=False), nn.LazyLinear(3))
    tied[2].weight = tied[0].weight
    kinds = {left.kind: left.reason for left in ma.init_for(tied, "relu").left}
    assert set(kinds) == {"Embedding", "LSTM", "Linear", "LazyLinear"}
    assert kinds["Linear"] == "its weights are those of 0" and "run the model" in kinds["LazyLinear"]


def test_transformer_layers_and_sizes(nn):
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu")
    report = ma.init_for(layer, seed=0)
    assert _described(report) == {"linear1": ("hidden", "gelu", "He"), "linear2": ("linear", "", "LeCun")}
    assert [left.path for left in report.left] == ["self_attn"]
    from multiact.backends.torch.initialisation import fans

    assert fans(nn.Linear(3, 5)) == (3, 5)
    assert fans(nn.Conv2d(8, 16, (3, 5), groups=4)) == (2 * 15, 4 * 15)
    assert fans(nn.ConvTranspose2d(8, 16, 4, stride=2)) == (8 * 4, 16 * 16), "a unit has one tap in two each way"


def test_the_outputs_of_a_transposed_convolution_keep_their_size(nn):
    torch = pytest.importorskip("torch")
    model = nn.Sequential(
        nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU()
    )
    ma.init_for(model, seed=0)
    with torch.no_grad():
        hidden = model[0](torch.randn(4, 64, 16, 16).relu() * math.sqrt(2))
        assert 1.5 < float(hidden[:, :, 2:-2, 2:-2].square().mean()) < 2.5
        assert 1.5 < float(model[2](model[1](hidden))[:, :, 4:-4, 4:-4].square().mean()) < 2.8


def test_arguments_of_init_for(nn):
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    report = ma.init_for(
        model, "leaky_relu", "xavier", negative_slope=0.5, seed=np.random.default_rng(0), distribution="uniform"
    )
    first = report.layers[0]
    assert (first.follower.how, first.chosen.scheme, first.distribution) == ("given", "Glorot", "uniform")
    assert float(model[0].weight.detach().abs().max()) <= math.sqrt(3) * first.std
    before = model[0].weight.detach().clone()
    for wrong, error, said in (
        ({"activation": "no_such"}, ma.UnknownActivationError, "no_such"),
        ({"activation": "relu", "slope": 1.0}, ma.ParameterError, "slope"),
        ({"scheme": "hee"}, ma.ParameterError, "Did you mean 'he'"),
        ({"distribution": "gamma"}, ma.ParameterError, "'normal' or 'uniform'"),
        ({"negative_slope": 0.1}, ma.ParameterError, "no activation that has such parameters"),
    ):
        with pytest.raises(error, match=said):
            ma.init_for(model, **wrong)
    assert (model[0].weight == before).all(), "an error changes nothing"
    with pytest.raises(
        ma.ParameterError, match="init_for expects a Keras model, a flax.nnx.Module or a torch.nn.Module"
    ):
        ma.init_for(object())
    half = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)).half()
    ma.init_for(half, seed=0)
    assert str(half[0].weight.dtype) == "torch.float16" and half[0].weight.requires_grad


# The check


def _layer(std, activation="relu", role="hidden", size=4096, **more):
    return WeightLayer("a", "Linear", 64, 64, size, std, Follower(role, activation, **more))


def test_check_as_a_function_of_numbers():
    good = math.sqrt(2) / 8
    assert not weights.check([_layer(good), _layer(good * 0.51), _layer(good * 1.99)])
    small, large = weights.check([_layer(good / 3), _layer(good * 3)])
    assert small.ratio == pytest.approx(1 / 3) and "shrinks" in str(small) and "2015" in small.source
    assert large.recommended == pytest.approx(good) and "grows" in str(large) and "init_for" in large.remedy
    assert weights.check([_layer(good * 1.5)], band=(0.9, 1.1))
    for fine in (
        _layer(good / 99, normalised=True),
        _layer(good * 99, role="unknown"),
        _layer(good * 99, size=8),
        _layer(0.0, "", "output"),
        _layer(1e-3, "", "linear"),
        _layer(good * 99, "threshold"),
    ):
        assert not weights.check([fine])
    assert weights.check([_layer(1.0, "", "linear"), _layer(1.0, "softmax", "output")])
    assert weights.check([WeightLayer("a", "Linear", 2, 64, 128, 0.29, Follower("hidden", "siren"), first=True)]) == []


def test_check_of_models(nn):
    torch = pytest.importorskip("torch")

    def made():
        return nn.Sequential(*(m for _ in range(4) for m in (nn.Linear(64, 64), nn.ReLU())), nn.Linear(64, 4))

    model = made()
    assert len(ma.check_initialisation(model)) == 4, "PyTorch's own weights are 0.41 of what relu needs"
    ma.init_for(model, seed=0)
    assert ma.check_initialisation(model) == []
    with torch.no_grad():
        model[4].weight.mul_(10)
        model[6].weight.zero_()
    assert [(f.path, f.ratio > 1) for f in ma.check_initialisation(model)] == [("4", True), ("6", False)]


# Flax


def test_flax():
    nnx = pytest.importorskip("flax.nnx")
    from multiact.backends.flax import GELU
    from multiact.backends.flax.initialisation import fans

    rngs = nnx.Rngs(0)
    start = {"rngs": rngs, "kernel_init": nnx.initializers.zeros}  # no compiler draws what is drawn anew
    model = nnx.Sequential(
        *(nnx.Linear(8, 64, **start), nnx.leaky_relu, nnx.Linear(64, 64, **start), nnx.LayerNorm(64, rngs=rngs)),
        *(GELU(), nnx.Linear(64, 64, **start), nnx.Linear(64, 3, **start), nnx.softmax),
    )
    report = ma.init_for(model, seed=0)
    assert list(_described(report).values()) == [
        ("hidden", "leaky_relu", "He"),
        ("hidden", "gelu", "He"),
        ("linear", "", "LeCun"),
        ("output", "softmax", "Glorot"),
    ]
    kernel = np.asarray(model.layers[0].kernel[...])
    assert kernel.std() == pytest.approx(report.layers[0].std, rel=0.15)
    assert ma.check_initialisation(model) == []
    other = nnx.Sequential(*model.layers)
    ma.init_for(other, seed=0)
    assert np.array_equal(np.asarray(other.layers[0].kernel[...]), kernel)
    model.layers[0].kernel[...] = model.layers[0].kernel[...] * 5
    assert [f.activation for f in ma.check_initialisation(model)] == ["leaky_relu"]

    class Called(nnx.Module):
        def __init__(self):
            self.conv = nnx.Conv(3, 8, (3, 3), **start)
            self.embed = nnx.Embed(4, 8, rngs=rngs, embedding_init=nnx.initializers.zeros)
            self.attention = nnx.MultiHeadAttention(2, 8, **start)
            self.blocks = nnx.List([nnx.Linear(8, 8, **start)])
            self.head = nnx.Linear(8, 2, **start)

        def __call__(self, x):
            return self.head(nnx.relu(self.blocks[0](nnx.relu(self.conv(x)))))

    called = Called()
    report = ma.init_for(called, seed=0)
    assert [layer.path for layer in report] == ["head"]
    assert {left.kind for left in report.left} == {"Conv", "Linear", "Embed", "MultiHeadAttention"}
    report = ma.init_for(called, "relu", seed=0)
    assert list(_described(report).values()) == [("hidden", "relu", "He")] * 2 + [("output", "", "Glorot")]
    assert fans(nnx.Conv(8, 16, (3, 3), feature_group_count=4, **start)) == (2 * 9, 4 * 9)
    assert fans(nnx.ConvTranspose(8, 16, (4, 4), strides=(2, 2), **start)) == (8 * 4, 16 * 16)


def test_of_no_gain():
    known = {
        "forward_gain": math.inf,
        "zero_centred": True,
        "symmetry": "odd",
        "monotonic": True,
        "saturation": (None, None),
    }
    assert recommended("other", 1.0, known) is None
    assert isinstance(recommended("softmax", 0.0, {}, "axiswise"), Initialisation)
