"""multiact.swap on PyTorch models; that of Keras models is in keras_cases."""

from __future__ import annotations

import copy
import pickle

import pytest

import multiact as ma

torch = pytest.importorskip("torch")
from torch import nn

from multiact.backends.torch import GELU, LeakyReLU, Mish, PReLU

F = nn.functional


def chain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 4), nn.ReLU6(), nn.Hardtanh()))


class Block(nn.Module):
    """Functions that are called, and one that is kept."""

    def __init__(self):
        super().__init__()
        self.up, self.down, self.act = nn.Linear(4, 8), nn.Linear(8, 4), F.gelu

    def forward(self, x):
        return self.down(self.act(F.relu(self.up(x)))).relu()


def test_by_class_each_place_has_its_own():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU())
    state = copy.deepcopy(model.state_dict())
    x = torch.randn(5, 3)
    found = ma.swap(model, {nn.ReLU: PReLU(init=0.1)})
    assert found.model is model and len(found) == 2 and not found.left
    assert model[1] is not model[3] and model[1].weight is not model[3].weight
    for name, value in state.items():
        assert torch.equal(model.state_dict()[name], value)
    h = F.prelu(F.linear(x, state["0.weight"], state["0.bias"]), torch.tensor([0.1]))
    torch.testing.assert_close(model(x), F.prelu(F.linear(h, state["2.weight"], state["2.bias"]), torch.tensor([0.1])))
    assert str(found).splitlines()[0].startswith("1: ReLU() -> PReLU(")


def test_a_class_is_not_one_derived_from_it():
    """torch.nn.ReLU6 is a Hardtanh."""
    model = chain()
    found = ma.swap(model, {nn.Hardtanh: "mish"})
    assert [c.path for c in found] == ["2.2"] and type(model[2][1]) is nn.ReLU6


@pytest.mark.parametrize(
    ("key", "paths"),
    [
        ("2.*", ["2.1", "2.2"]),
        ("1", ["1"]),
        (lambda path, layer: isinstance(layer, nn.Hardtanh) and path.startswith("2"), ["2.1", "2.2"]),
    ],
)
def test_by_pattern_and_predicate(key, paths):
    model = chain()
    assert [c.path for c in ma.swap(model, {key: Mish})] == paths
    assert all(type(model.get_submodule(p)) is Mish for p in paths)
    assert type(model[0]) is nn.Linear, "a pattern is of activations"


def test_the_first_rule_that_fits_counts_and_a_function_sees_the_old_one():
    model = nn.Sequential(nn.LeakyReLU(0.3), nn.ReLU())
    ma.swap(model, {nn.LeakyReLU: lambda old: LeakyReLU(2 * old.negative_slope), "*": "gelu"})
    assert model[0].negative_slope == 0.6 and type(model[1]) is GELU


def test_one_module_at_two_places_stays_one():
    shared = nn.ReLU()
    model = nn.Sequential(shared, nn.Linear(2, 2), shared)
    assert len(ma.swap(model, {nn.ReLU: PReLU})) == 2
    assert model[0] is model[2] and len([n for n, _ in model.named_parameters()]) == 3


def test_a_function_that_is_kept_twice_is_exchanged_twice():
    """It is one object, unlike what takes its place."""
    model = nn.Sequential(Block(), Block(), Block())
    ma.swap(model, {"2.act": "silu", F.gelu: PReLU})
    assert type(model[0].act) is PReLU and model[0].act is not model[1].act
    assert type(model[2].act).__name__ == "SiLU"


def test_one_module_at_two_places_may_be_two_afterwards():
    shared = nn.ReLU()
    model = nn.Sequential(shared, shared)
    ma.swap(model, {"0": "mish", "1": "gelu"})
    assert type(model[0]) is Mish and type(model[1]) is GELU


def test_weights_of_the_old_are_named_and_mode_device_and_dtype_taken_over():
    model = nn.Sequential(nn.Linear(2, 2), nn.PReLU(2)).double().eval()
    (change,) = ma.swap(model, {nn.PReLU: PReLU(learnable=True)})
    assert change.dropped == ("weight",) and "weight dropped" in str(change)
    assert model[1].weight.dtype == torch.float64 and not model[1].training


def test_the_model_itself():
    found = ma.swap(nn.ReLU(), {nn.ReLU: Mish})
    assert type(found.model) is Mish and [c.path for c in found] == ["the model"]


def test_functions_that_are_kept():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval()
    x = torch.randn(2, 3, 8)
    with torch.no_grad():
        before = layer(x)
        found = ma.swap(layer, {F.relu: "relu"})
        assert [c.path for c in found] == ["activation"]
        torch.testing.assert_close(layer(x), before)  # takes the usual way, not torch's fused kernel of ReLU
        ma.swap(layer, {"activation": Mish()})
        wanted = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, activation=F.mish).eval()
        wanted.load_state_dict(layer.state_dict())
        torch.testing.assert_close(layer(x), wanted(x))


def test_functions_that_are_called_are_told_and_rewritten_when_asked():
    torch.manual_seed(0)
    model = nn.Sequential(Block(), Block())
    x, state = torch.randn(5, 4), copy.deepcopy(model.state_dict())
    told = ma.swap(copy.deepcopy(model), {nn.ReLU: LeakyReLU(0.2)})
    assert not told.changes and len(told.left) == 4 and "rewrite=True" in told.left[0]
    found = ma.swap(model, {nn.ReLU: LeakyReLU(0.2), F.gelu: Mish()}, rewrite=True)
    assert len(found) == 6 and not found.left
    assert list(model.state_dict()) == list(state)

    def block(b, x):
        h = F.mish(F.leaky_relu(F.linear(x, b.up.weight, b.up.bias), 0.2))
        return F.leaky_relu(F.linear(h, b.down.weight, b.down.bias), 0.2)

    torch.testing.assert_close(model(x), block(model[1], block(model[0], x)))
    again = pickle.loads(pickle.dumps(model))
    torch.testing.assert_close(again(x), model(x))
    again.load_state_dict(state)


def test_what_a_call_was_given_is_shown():
    class Net(nn.Module):
        def forward(self, x):
            return F.softmax(x, dim=1)

    (change,) = ma.swap(Net(), {nn.Softmax: "sparsemax"}, rewrite=True)
    assert str(change) == "softmax: softmax(dim=1) -> Sparsemax()"


class Noisy(nn.Module):
    def forward(self, x):
        return F.dropout(F.relu(x), 0.5, self.training)


class Branching(nn.Module):
    def forward(self, x):
        return F.relu(x) if x.sum() > 0 else x


class Unused(Block):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(1, 1)


def hooked():
    model = Block()
    model.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize(
    ("model", "why"),
    [(Noisy(), "training mode"), (Branching(), "cannot trace"), (Unused(), "spare.bias"), (hooked(), "hooks")],
)
def test_what_cannot_be_rewritten_is_left_and_told(model, why):
    parts, kind = list(model.state_dict()), type(model)
    found = ma.swap(model, {F.relu: Mish()}, rewrite=True)
    assert found.model is model and type(model) is kind and not found.changes
    assert found.left and all(why in line for line in found.left)
    assert list(model.state_dict()) == parts


def test_what_swap_refuses():
    with pytest.raises(ma.ParameterError, match="expects a Keras model or a torch.nn.Module"):
        ma.swap([1], {})
    with pytest.raises(ma.ParameterError, match="a key of swap is"):
        ma.swap(nn.ReLU(), {3: Mish})
    with pytest.raises(ma.ParameterError, match="a replacement is a torch layer"):
        ma.swap(nn.ReLU(), {nn.ReLU: 3})
    with pytest.raises(ma.UnknownActivationError):
        ma.swap(nn.ReLU(), {nn.ReLU: "rellu"})
    assert str(ma.swap(nn.Linear(2, 2), {nn.ReLU: Mish})) == "nothing was changed"
