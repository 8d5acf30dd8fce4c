"""Diagnostics of PyTorch models: what is measured, what the report names, and that models are left as they were."""

from __future__ import annotations

import math

import numpy as np
import pytest

import multiact as ma
from multiact import diagnostics, weights
from multiact.diagnostics import probing
from multiact.diagnostics.neurons import band
from multiact.diagnostics.statistics import Moments

torch = pytest.importorskip("torch")
from torch import nn
from torch.nn import functional

CROSS_ENTROPY = nn.CrossEntropyLoss()


def images(count=256):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, 1, 8, 8, generator=generator), torch.randint(0, 10, (count,), generator=generator)


class Block(nn.Module):
    def __init__(self, channels, norm=True, skip=True):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.act = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.skip = skip

    def forward(self, x):
        h = self.second(self.act(self.norm(self.first(x))))
        return functional.relu(x + h if self.skip else h)


class Residual(nn.Module):
    """Like a ResNet: a stem, eight residual blocks, the mean over places, a linear layer."""

    def __init__(self, channels=12, depth=8, norm=True, skip=True, end=None):
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.Sequential(*[Block(channels, norm, skip) for _ in range(depth)])
        self.head = nn.Linear(channels, 10)
        self.end = end or nn.Identity()

    def forward(self, x):
        return self.end(self.head(self.blocks(functional.relu(self.stem(x))).mean((2, 3))))


class Sigmoids(nn.Module):
    """Ten layers with sigmoids, residual unless they are made to vanish."""

    def __init__(self, width=64, depth=10, norm=True, skip=True, end=None):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) if norm else nn.Identity() for _ in range(depth))
        self.acts = nn.ModuleList(nn.Sigmoid() for _ in range(depth))
        self.head = nn.Linear(width, 10)
        self.skip, self.end = skip, end or nn.Identity()

    def forward(self, x):
        h = x.flatten(1)
        for layer, norm, act in zip(self.layers, self.norms, self.acts):
            h = act(norm(layer(h))) + (h if self.skip else 0)
        return self.end(self.head(h))


def drawn(model, factor=1.0):
    """Weights as their activations want them, or so many times that."""
    recommended = ma.facts("relu" if isinstance(model, Residual) else "sigmoid").initialisation
    generator = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            fan_out, fan_in = module.weight.shape[0], module.weight[0].numel()
            module.weight.data.normal_(0, factor * recommended.std(fan_in, fan_out), generator=generator)
            module.bias.data.zero_()
    return model


def with_bias(model, value):
    for name, module in model.named_modules():
        if "norm" in name and hasattr(module, "bias"):
            module.bias.data.fill_(value)
    return model


SICK = {
    "residual, drawn too large": (lambda: drawn(Residual(norm=False), 5.0), "wrong initialisation"),
    "residual, dead by bias": (lambda: with_bias(drawn(Residual()), -10.0), "dead neurons"),
    "residual, vanishing": (lambda: drawn(Residual(norm=False, skip=False), 0.4), "vanishing gradients"),
    "residual, softmax twice": (lambda: drawn(Residual(end=nn.Softmax(-1))), "output does not fit the loss"),
    "sigmoids, drawn too small": (lambda: drawn(Sigmoids(norm=False), 0.05), "wrong initialisation"),
    "sigmoids, dead by bias": (lambda: with_bias(drawn(Sigmoids()), -25.0), "dead neurons"),
    "sigmoids, vanishing": (lambda: drawn(Sigmoids(skip=False)), "vanishing gradients"),
    "sigmoids, softmax twice": (lambda: drawn(Sigmoids(end=nn.Softmax(-1))), "output does not fit the loss"),
}


@pytest.mark.parametrize("name", SICK)
def test_the_report_names_the_cause(name):
    make, cause = SICK[name]
    found = diagnostics.report(make(), images(), CROSS_ENTROPY)
    assert cause in found.causes, str(found)
    for finding in found:
        assert finding.where and finding.figure and finding.change
        assert any(c.isdigit() for c in finding.figure)
    if "bias" in name:
        (dead,) = [f for f in found if f.cause == "dead neurons"]
        assert "bias" in dead.figure and "100%" in dead.figure


@pytest.mark.parametrize("make", [Residual, Sigmoids])
@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_found_in_a_healthy_network(make, training):
    model = drawn(make()).train(training)
    if not training and make is Residual:  # running statistics as after some training
        model.train()
        for _ in range(50):
            model(images()[0])
        model.eval()
    found = diagnostics.report(model, images(), CROSS_ENTROPY)
    assert found.findings == (), str(found)
    assert found.flow.verdict == "healthy" and found.neurons.verdict == "healthy"
    assert str(found).startswith("nothing was found to be wrong")


def state(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def test_a_model_is_left_as_it_was():
    model, (x, y) = drawn(Residual()), images(64)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    before, mode = state(model), torch.random.get_rng_state()
    diagnostics.report(model, (x, y), CROSS_ENTROPY)
    diagnostics.gradient_flow(model, x)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(torch.random.get_rng_state(), mode) and model.training
    assert torch.equal(model.head.weight.grad, torch.ones_like(model.head.weight)) and model.stem.weight.grad is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_hooks_are_removed_when_the_pass_raises():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.act = nn.BatchNorm1d(4), nn.ReLU()

        def forward(self, x):
            self.act(self.norm(x))
            raise RuntimeError("broken on purpose")

    model = Fails()
    before = state(model)
    with pytest.raises(RuntimeError, match="on purpose"):
        diagnostics.dead_neurons(model, torch.randn(8, 4))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    functional.relu(torch.randn(3))  # nothing sees this any more


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (lambda model, x: x.__setitem__((0, 0, 0, 0), math.nan), "data"),
        (lambda model, x: model.blocks[2].first.weight.data.fill_(math.nan), "blocks.2.first"),
        (lambda model, x: model.stem.weight.data.fill_(1e38), "stem"),
    ],
)
def test_nan_is_a_finding(spoil, where):
    model, (x, y) = drawn(Residual(norm=False)), images(32)
    spoil(model, x)
    (found,) = diagnostics.report(model, (x, y), CROSS_ENTROPY)
    assert (found.cause, found.where) == ("not finite", (where,))


def test_gradients_are_those_of_autograd():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Linear(7, 3))
    x, y = torch.randn(40, 5), torch.randn(40, 3)
    found = diagnostics.gradient_flow(model, (x, y), nn.functional.mse_loss)
    hidden = model[0](x)
    value = nn.functional.mse_loss(model[2](torch.relu(hidden)), y)
    by_hand = torch.autograd.grad(value, [hidden, model[0].weight])
    assert found.loss == pytest.approx(float(value.detach()))
    for moments, gradient in zip((found.layers[0].gradient, found.layers[0].weight_gradient), by_hand):
        assert moments.norm == pytest.approx(float(gradient.norm()), rel=1e-5)
        assert moments.mean == pytest.approx(float(gradient.mean()), abs=1e-8)
        assert moments.std == pytest.approx(float(gradient.std(correction=0)), rel=1e-5)
        assert (moments.low, moments.high) == (float(gradient.min()), float(gradient.max()))
    first, last = found.layers[0].gradient.norm, found.layers[1].gradient.norm
    assert found.ratio == pytest.approx(first / last)


def test_dead_units_are_dead_over_the_whole_data_set():
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    model[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    model[0].bias.data = torch.tensor([0.0, 0.0, -1.0, 1.0])
    one, two = torch.tensor([[1.0, -1.0]]), torch.tensor([[-1.0, 1.0]])
    alone = diagnostics.dead_neurons(model, one)
    assert alone.dead == 2 and alone.share == 0.5
    both = diagnostics.dead_neurons(model, [one, (two, None)])
    assert both.dead == 1 and both.places[0].dead.tolist() == [2]
    assert both.places[0].after.sparsity == 0.5  # each of the first two once, the dead one twice
    assert both.verdict == "many dead" and both.verdict in str(both)
    assert diagnostics.dead_neurons(model, torch.cat([one, two]), max_batches=1).dead == 1
    assert [band(s) for s in (0.0, 0.05, 0.1, 0.2, 0.4)] == [
        "healthy",
        "watch",
        "watch",
        "many dead",
        "most of the layer is lost",
    ]


def test_a_feature_map_is_a_unit():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.LeakyReLU(0.0), nn.Conv2d(3, 1, 3))
    model[0].bias.data = torch.tensor([0.0, -100.0, 0.0])
    found = diagnostics.dead_neurons(model, torch.randn(16, 1, 8, 8)).places[0]
    assert found.units.count == 3 and found.dead.tolist() == [1]
    assert found.parameters == {"negative_slope": 0.0}


class Calls(nn.Module):
    """Activations that are functions."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.act = functional.gelu

    def forward(self, x):
        h = functional.leaky_relu(self.inner(x), 0.3)
        h = torch.relu(h) + h.sigmoid() + functional.relu(h, inplace=False)
        return functional.log_softmax(self.act(h), dim=-1)


def test_functions_that_a_forward_calls_are_seen():
    places = probing.probe(Calls()).run(torch.randn(6, 4)).places
    seen = [(p.path, p.activation.name, p.layer, p.last) for p in places]
    assert seen == [
        ("leaky_relu", "leaky_relu", "inner", False),
        ("relu", "relu", None, False),
        ("sigmoid", "sigmoid", None, False),
        ("relu #2", "relu", None, False),
        ("gelu", "gelu", None, False),
        ("log_softmax", "log_softmax", None, True),
    ]
    assert places[0].parameters == {"negative_slope": 0.3}


def test_our_own_modules_are_seen_with_their_parameters():
    from multiact.backends.torch import LeakyReLU, Mish, PReLU

    model = nn.Sequential(nn.Linear(3, 3), Mish(), nn.Linear(3, 3), LeakyReLU(0.2), nn.Linear(3, 2), PReLU(2))
    places = probing.probe(model).run(torch.randn(5, 3)).places
    assert [(p.path, p.activation.name, p.layer) for p in places] == [
        ("1", "mish", "0"),
        ("3", "leaky_relu", "2"),
        ("5", "prelu", "4"),
    ]


@pytest.mark.parametrize(
    ("loss", "end", "wrong"),
    [
        (nn.CrossEntropyLoss(), nn.Identity(), False),
        (nn.CrossEntropyLoss(), nn.LogSoftmax(-1), True),
        (nn.CrossEntropyLoss(), nn.ReLU(), True),
        (functional.cross_entropy, nn.Softmax(-1), True),
        (nn.NLLLoss(), nn.LogSoftmax(-1), False),
        (nn.NLLLoss(), nn.Identity(), True),
        (nn.NLLLoss(), nn.Softmax(-1), True),
        (lambda out, y: nn.BCELoss()(out[:, 0], (y % 2).float()), nn.Sigmoid(), False),
    ],
)
def test_the_output_is_held_against_the_loss(loss, end, wrong):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), end)
    causes = diagnostics.report(model, images(64), loss).causes
    assert ("output does not fit the loss" in causes) == wrong


def test_probabilities_are_wanted_where_the_loss_takes_them():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Sigmoid())
    x, y = images(64)
    y = (y % 2).float()[:, None]
    assert not diagnostics.report(model, (x, y), nn.BCELoss()).findings
    (found,) = diagnostics.report(model, (x, y), nn.BCEWithLogitsLoss())
    assert found.cause == "output does not fit the loss" and "BCEWithLogitsLoss applies it once more" in found.figure


def test_moments_of_many_arrays_are_those_of_one():
    random = np.random.default_rng(0)
    parts = [random.normal(3, 2, size=n) for n in (1, 7, 100)]
    whole, found = np.concatenate(parts), Moments()
    for part in parts:
        found.add(part)
    found.add(np.asarray([math.nan, math.inf]))
    assert found.mean == pytest.approx(whole.mean()) and found.std == pytest.approx(whole.std())
    assert found.norm == pytest.approx(np.linalg.norm(whole)) and found.nonfinite == 2
    assert (found.low, found.high, found.count) == (whole.min(), whole.max(), 108)


def test_monitor(tmp_path):
    class Writer:
        def __init__(self):
            self.scalars = {}

        def add_scalar(self, tag, value, step):
            self.scalars[tag, step] = value

    model, writer, live = drawn(Sigmoids(depth=3)), Writer(), tmp_path / "live.png"
    monitor = diagnostics.Monitor(model, images(32), live=live, writer=writer)
    with pytest.raises(ma.ParameterError, match="call look"):
        monitor.plot(live)
    monitor.look()
    with_bias(model, -25.0)
    monitor.look()
    assert [r.figures["dead"] for r in monitor.of("acts.1")] == [0.0, 1.0]
    assert writer.scalars["activations/acts.1/dead", 1] == 1.0 and len(writer.scalars) == 2 * 3 * 7
    assert live.read_bytes().startswith(b"\x89PNG") and "acts.2" in str(monitor)


def test_patterns_and_drawings(tmp_path):
    model, x = drawn(Residual(depth=2)), images(8)[0]
    found = diagnostics.activation_patterns(model, x, "blocks.0.act", example=3)
    assert found.maps.shape == (12, 8, 8)
    inside = model.blocks[0]
    hidden = inside.norm(inside.first(functional.relu(model.stem(x)))).relu()
    np.testing.assert_allclose(found.maps, hidden[3].detach().numpy(), atol=1e-5)
    rows = diagnostics.activation_patterns(Sigmoids(depth=1), x, "acts.0")
    assert rows.maps.shape == (64, 1, 1)
    flow, neurons = diagnostics.gradient_flow(model, x), diagnostics.dead_neurons(model, x)
    for what, name in ((found, "a.png"), (rows, "b.svg"), (flow, "c.png"), (neurons, "d.pdf")):
        assert what.plot(tmp_path / name).stat().st_size > 1000
    with pytest.raises(ma.ParameterError, match="no activation is at 'act'. There are: relu, blocks.0.act"):
        diagnostics.activation_patterns(model, x, "act")
    with pytest.raises(ma.MultiactError, match="written as .png"):
        flow.plot(tmp_path / "a.gif")


def test_fans_are_those_by_which_weights_are_drawn():
    model = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2, stride=2))
    layers = probing.probe(model).run(torch.ones(2, 4, 6, 6)).layers
    drawn_by = [(layer.fan_in, layer.fan_out) for layer in weights.weight_layers(model)]
    assert [(layer.fan_in, layer.fan_out) for layer in layers] == drawn_by == [(18, 36), (8, 16)]


@pytest.mark.parametrize(
    ("model", "data", "said"),
    [
        (
            object(),
            np.ones((2, 2)),
            "a diagnosis expects a Keras model, a flax.nnx.Module or a torch.nn.Module. Received: builtins.object",
        ),
        (nn.Linear(2, 2), [], "there are no data"),
        (nn.Linear(2, 2), 3, "data must be an array, a pair of arrays"),
        (nn.Linear(2, 2), torch.ones(3, 2), "no activation was seen"),
    ],
)
def test_errors(model, data, said):
    with pytest.raises(ma.ParameterError, match=said):
        diagnostics.dead_neurons(model, data)


def network(*, residual=False):
    """Convolutions, normalisation, pooling and linear layers, with units that never respond in each."""
    torch.manual_seed(1)
    first, second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
    model = nn.Sequential(
        first,
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        second,
        nn.PReLU(6),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(96, 10),
        nn.ReLU(),
        nn.Linear(10, 3),
    ).eval()
    model[1].bias.data[[2, 5, 6]] = -50.0
    second.weight.data[4] = 0.0
    second.bias.data[4] = 0.0
    model[8].bias.data[:3] = -50.0
    return model


def test_a_pruned_model_gives_the_same_outputs():
    model, x = network(), images(128)[0]
    before = state(model)
    found = diagnostics.prune(model, x)
    assert {path: gone.tolist() for path, gone in found.removed.items()} == {"0": [2, 5, 6], "4": [4], "8": [0, 1, 2]}
    assert found.units == {"0": 8, "4": 6, "8": 10} and found.left == ()
    torch.testing.assert_close(found.model(x), model(x), rtol=1e-5, atol=1e-6)
    smaller = found.model
    assert (smaller[0].out_channels, smaller[1].num_features, smaller[4].in_channels, smaller[5].num_parameters) == (
        5,
        5,
        5,
        5,
    )
    assert (smaller[8].in_features, smaller[8].out_features, smaller[10].in_features) == (80, 7, 7)
    assert found.before == sum(p.numel() for p in model.parameters())
    assert found.parameters == sum(p.numel() for p in smaller.parameters()) < found.before
    assert f"{found.before} parameters before" in str(found)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    smaller.train()(x).sum().backward()  # it can be trained on
    assert diagnostics.prune(found.model.eval(), x).removed == {}


def test_units_that_feed_a_residual_connection_are_left_and_told():
    model = with_bias(drawn(Residual(depth=2)), -50.0).eval()
    x = images(64)[0]
    found = diagnostics.prune(model, x)
    assert set(found.removed) == {"blocks.0.first", "blocks.1.first"}
    assert found.model.blocks[0].first.out_channels == 1 and len(found.removed["blocks.0.first"]) == 11
    torch.testing.assert_close(found.model(x), model(x), rtol=1e-5, atol=1e-6)
    model.stem.weight.data[3] = 0.0
    model.stem.bias.data[3] = -1.0
    again = diagnostics.prune(model, x)
    assert any("stem: 1 units never respond; the result of relu is used 2 times" in line for line in again.left)
    torch.testing.assert_close(again.model(x), model(x), rtol=1e-5, atol=1e-6)


def test_pruning_refuses_what_it_cannot_trace():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.act, self.b = nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)

        def forward(self, x):
            return self.b(self.act(self.a(x))) if x.sum() > 0 else x

    model = Branches()
    model.a.bias.data.fill_(-100.0)
    with pytest.raises(ma.ParameterError, match="torch.fx cannot trace it"):
        diagnostics.prune(model, torch.ones(4, 2))


class OurCalls(nn.Module):
    def __init__(self):
        from multiact.backends.torch import SiLU

        super().__init__()
        self.inner, self.act = nn.Linear(4, 4), SiLU()

    def forward(self, x):
        from multiact.backends.torch import leaky_relu

        return ma.softmax(self.act(leaky_relu(ma.gelu(self.inner(x)), negative_slope=0.2)), axis=-1)


def test_our_functions_that_a_forward_calls_are_seen():
    model, x = OurCalls(), torch.randn(6, 4)
    found = probing.probe(model).run(x, gradients=True)
    assert [(p.path, p.activation.name, p.layer, p.last) for p in found.places] == [
        ("gelu", "gelu", "inner", False),
        ("leaky_relu", "leaky_relu", None, False),
        ("act", "silu", None, False),
        ("softmax", "softmax", None, True),
    ]
    assert found.places[1].parameters == {"negative_slope": 0.2} and all(p.gradient is not None for p in found.places)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))
    assert not ma.functions._watches


def test_activations_that_are_expensive_everywhere_are_noted(monkeypatch):
    from multiact.advisor import Cost
    from multiact.diagnostics import reporting

    def measured(name):
        about = ("chip", "torch", "eager", "float32", "cpu", 1 << 20, "forward", "2026-01-01")
        yield Cost(3.0 if name == "mish" else 1.2, *about)
        yield Cost(9.0, "chip", "jax", *about[2:])

    monkeypatch.setattr(reporting, "costs", measured)

    def notes(*names):
        layers = [part for name in names for part in (nn.Linear(8, 8), getattr(nn, name)())]
        model = nn.Sequential(*layers, nn.Linear(8, 2))
        data = torch.randn(32, 8), torch.randint(2, (32,))
        found = diagnostics.report(model, data, nn.CrossEntropyLoss()).notes
        return tuple(note for note in found if "activations are" in note)

    (note,) = notes("Mish", "Mish", "ReLU")
    assert note.startswith("2 of 3 activations are mish, which takes 3.00 times relu (forward, torch eager")
    assert notes("Mish", "ReLU", "ReLU") == () == notes("GELU", "GELU", "GELU") == notes("Mish", "Mish")


def test_a_few_dead_units_are_noted():
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    ma.init_for(model, seed=0)
    with torch.no_grad():
        model[0].bias[:2] = -100.0
    data = torch.randn(256, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(256, dtype=torch.long)
    found = diagnostics.report(model, data, nn.CrossEntropyLoss())
    assert found.notes == ("2 of 32 units at 1 are dead. Watch whether they become more with diagnostics.Monitor.",)
    assert "dead neurons" not in found.causes
