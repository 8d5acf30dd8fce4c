"""Our activations in models of Hugging Face transformers, made without weights from elsewhere."""

from __future__ import annotations

import pytest

import multiact as ma

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers.activations import ACT2FN

from multiact.backends.torch import Mish, register_transformers


def bert(act):
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "vocab_size": 30,
    }
    return transformers.BertModel(transformers.BertConfig(**sizes, hidden_act=act)).eval()


IDS = torch.arange(12).reshape(2, 6)


def test_a_model_with_an_activation_that_transformers_does_not_have(tmp_path):
    assert "multiact/golu" in register_transformers()
    model = bert("multiact/golu")
    inner = [m for m in model.modules() if type(m).__name__ == "GoLU"]
    assert len(inner) == 2 and inner[0] is not inner[1]
    y = model(IDS).last_hidden_state
    y.square().sum().backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if "pooler" not in n)
    model.save_pretrained(tmp_path)
    again = transformers.BertModel.from_pretrained(tmp_path).eval()
    assert again.config.hidden_act == "multiact/golu"
    torch.testing.assert_close(again(IDS).last_hidden_state, y)


@pytest.mark.parametrize(("own", "theirs"), [("mish", "mish"), ("gelu", "gelu"), ("gelu_tanh", "gelu_pytorch_tanh")])
def test_the_same_function_gives_the_same_model(own, theirs):
    (name,) = register_transformers(own)
    torch.testing.assert_close(bert(name)(IDS).last_hidden_state, bert(theirs)(IDS).last_hidden_state)


def test_a_learned_activation_is_trained_and_saved(tmp_path):
    register_transformers("prelu")
    model = bert("multiact/prelu")
    slopes = [p for n, p in model.named_parameters() if "intermediate_act_fn" in n]
    assert len(slopes) == 2
    model(IDS).last_hidden_state.square().sum().backward()
    with torch.no_grad():
        for p in slopes:
            p -= 0.1 * p.grad.sign()
    model.save_pretrained(tmp_path)
    again = transformers.BertModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(IDS).last_hidden_state, model(IDS).last_hidden_state)


def test_names_that_fit_and_those_that_do_not():
    names = register_transformers()
    assert names == register_transformers() and "multiact/softmax" in names and "multiact/glu" not in names
    assert type(ACT2FN["multiact/mish"]) is Mish and "mish" in ACT2FN
    for name in names:
        y = ACT2FN[name](torch.linspace(-2, 2, 8).reshape(1, 2, 2, 2))
        assert torch.isfinite(y).all(), name
    with pytest.raises(ma.ParameterError, match="glu takes a value and a gate"):
        register_transformers("glu")
    with pytest.raises(ma.ParameterError, match="threshold needs"):
        register_transformers("threshold")
    with pytest.raises(ma.UnknownActivationError):
        register_transformers("gelo")


def test_an_activation_of_ones_own():
    ma.define("hf_cube", lambda xp, x, /: x * x * x, {"x": lambda xp, x, /: 3 * x * x}, definition="x**3")
    try:
        (name,) = register_transformers("hf_cube")
        torch.testing.assert_close(ACT2FN[name](torch.tensor([2.0])), torch.tensor([8.0]))
    finally:
        ma.registry.unregister("hf_cube")


def test_activations_of_a_model_are_exchanged():
    model = bert("gelu")
    found = ma.swap(model, {"*.intermediate_act_fn": "mish"})
    assert [c.path for c in found] == [f"encoder.layer.{i}.intermediate.intermediate_act_fn" for i in range(2)]
    torch.testing.assert_close(model(IDS).last_hidden_state, bert("mish")(IDS).last_hidden_state)
