"""Whatever activation a framework has, multiact has: the frameworks' own names are read and compared with the tables.

A name that is in no table and has no reason here fails, so that an activation that a new version adds is noticed.
"""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys

import pytest

from multiact import natives, registry

#: Modules of a framework whose names are all looked at.
MODULES = {
    "torch": ("torch.nn", "torch.nn.functional"),
    "jax": ("jax.nn",),
    "keras": ("keras.activations", "keras.layers"),
    "tensorflow": ("tensorflow.nn",),
    "mlx": ("mlx.nn",),
}

LOSS, POOLING, CONVOLUTION = "a loss", "pooling", "a convolution"
NORMALISATION, DROPOUT = "normalisation by statistics or a norm", "dropout or noise"
RECURRENT, ATTENTION, SHAPE = "recurrent", "attention", "moves, pads or resizes, and changes no value"
LINEAR, PLUMBING, REDUCTION = "a linear map or an embedding", "no function of an array", "a reduction or a distance"
QUANTISED, IMAGE, MERGE = (
    "scaled matrix products for low precision",
    "image or data preparation",
    "combines several inputs",
)
IN_PLACE = "the in-place form of a function that is in the table"

#: Names that are no activations, and why; a name that ends in * stands for all that begin so.
NO_ACTIVATION: dict[str, dict[str, str]] = {
    "torch.nn": {
        **dict.fromkeys(("*Loss", "*Loss2d", "LinearCrossEntropyOptions"), LOSS),
        **dict.fromkeys(("*Pool1d", "*Pool2d", "*Pool3d"), POOLING),
        **dict.fromkeys(("Conv*", "LazyConv*", "Fold", "Unfold"), CONVOLUTION),
        **dict.fromkeys(("*BatchNorm*", "*InstanceNorm*", "GroupNorm", "LayerNorm", "RMSNorm", "*LRN2d"), NORMALISATION),
        **dict.fromkeys(("LocalResponseNorm",), NORMALISATION),
        **dict.fromkeys(("*Dropout", "Dropout*"), DROPOUT),
        **dict.fromkeys(("RNN*", "LSTM*", "GRU*"), RECURRENT),
        **dict.fromkeys(("MultiheadAttention", "Transformer*", "attention"), ATTENTION),
        **dict.fromkeys(("*Pad1d", "*Pad2d", "*Pad3d", "Flatten", "Unflatten", "*Shuffle", "*Unshuffle"), SHAPE),
        **dict.fromkeys(("Upsample", "Upsampling*", "MaxUnpool*"), SHAPE),
        **dict.fromkeys(("Linear", "LazyLinear", "Bilinear", "Embedding", "EmbeddingBag"), LINEAR),
        **dict.fromkeys(("CosineSimilarity", "PairwiseDistance"), REDUCTION),
        **dict.fromkeys(("Module*", "Parameter*", "Buffer", "Uninitialized*", "Sequential", "Container", "factory_kwargs"), PLUMBING),
        "DataParallel": PLUMBING,
    },
    "torch.nn.functional": {
        **dict.fromkeys(("*_loss", "*cross_entropy*", "kl_div", "ctc_loss"), LOSS),
        **dict.fromkeys(("*_pool1d*", "*_pool2d*", "*_pool3d*"), POOLING),
        **dict.fromkeys(("conv*", "fold", "unfold"), CONVOLUTION),
        **dict.fromkeys(("*_norm", "local_response_norm", "normalize"), NORMALISATION),
        **dict.fromkeys(("*dropout*",), DROPOUT),
        **dict.fromkeys(("multi_head_attention_forward", "scaled_dot_product_attention"), ATTENTION),
        **dict.fromkeys(("pad", "*shuffle", "*unshuffle", "interpolate", "upsample*", "max_unpool*"), SHAPE),
        **dict.fromkeys(("affine_grid", "grid_sample"), SHAPE),
        **dict.fromkeys(("linear", "bilinear", "embedding", "embedding_bag", "one_hot", "grouped_mm"), LINEAR),
        **dict.fromkeys(("pdist", "pairwise_distance", "cosine_similarity"), REDUCTION),
        **dict.fromkeys(("scaled_mm", "scaled_grouped_mm"), QUANTISED),
        **dict.fromkeys(("relu_", "elu_", "celu_", "selu_", "hardtanh_", "leaky_relu_", "rrelu_", "threshold_"), IN_PLACE),
        **dict.fromkeys(("has_torch_function*", "handle_torch_function", "assert_int_or_pair", "boolean_dispatch"), PLUMBING),
        **dict.fromkeys(("BroadcastingList*", "Callable", "DType", "Optional", "Tensor", "ScalingType"), PLUMBING),
        "SwizzleType": PLUMBING,
    },
    "jax.nn": {
        "dot_product_attention": ATTENTION,
        "logsumexp": REDUCTION,
        "logmeanexp": REDUCTION,
        "log1mexp": "log(1 - exp(-x)), a helper for logarithms of probabilities",
        "one_hot": LINEAR,
        "standardize": NORMALISATION,
        **dict.fromkeys(("scaled_matmul", "scaled_dot_general", "get_scaled_dot_general_config"), QUANTISED),
    },
    "keras.activations": dict.fromkeys(("get", "serialize", "deserialize"), PLUMBING),
    "keras.layers": {
        **dict.fromkeys(("*Pooling*", "*MaxPool*", "*AvgPool*"), POOLING),
        **dict.fromkeys(("Conv*", "*Conv1D", "*Conv2D", "*Convolution1D", "*Convolution2D"), CONVOLUTION),
        **dict.fromkeys(("*Normalization",), NORMALISATION),
        **dict.fromkeys(("*Dropout", "SpatialDropout*", "GaussianNoise"), DROPOUT),
        **dict.fromkeys(("*RNN*", "LSTM*", "GRU*", "ConvLSTM*", "Bidirectional", "TimeDistributed"), RECURRENT),
        **dict.fromkeys(("*Attention",), ATTENTION),
        **dict.fromkeys(("Cropping*", "ZeroPadding*", "UpSampling*", "Flatten", "Permute", "Reshape", "RepeatVector"), SHAPE),
        **dict.fromkeys(("Dense", "EinsumDense", "*Embedding", "STFTSpectrogram", "MelSpectrogram"), LINEAR),
        **dict.fromkeys(("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"), MERGE),
        **dict.fromkeys(("add", "average", "concatenate", "dot", "maximum", "minimum", "multiply", "subtract"), MERGE),
        **dict.fromkeys(("Random*", "RandAugment", "AugMix", "AutoContrast", "CenterCrop", "CutMix", "MixUp"), IMAGE),
        **dict.fromkeys(("Contrast*", "Equalization", "Solarization", "Rescaling", "Resizing", "Pipeline"), IMAGE),
        **dict.fromkeys(("CategoryEncoding", "Discretization", "Hash*", "*Lookup", "TextVectorization"), IMAGE),
        "MaxNumBoundingBoxes": IMAGE,
        "Activation": "holds any function of keras.activations",
        **dict.fromkeys(("ActivityRegularization", "Masking", "Lambda", "Layer", "Wrapper", "Input*"), PLUMBING),
        **dict.fromkeys(("JaxLayer", "FlaxLayer", "TFSMLayer", "TorchModuleWrapper", "serialize", "deserialize"), PLUMBING),
    },
    "tensorflow.nn": {
        **dict.fromkeys(("*_loss", "*_loss_*", "*cross_entropy_with_logits", "ctc_*", "collapse_repeated"), LOSS),
        **dict.fromkeys(("avg_pool*", "max_pool*", "fractional_*", "pool", "dilation2d", "erosion2d"), POOLING),
        **dict.fromkeys(("*conv*", "space_to_*", "depth_to_space", "with_space_to_batch"), CONVOLUTION),
        **dict.fromkeys(("batch_norm*", "*moments", "lrn", "local_response_normalization", "l2_normalize"), NORMALISATION),
        "sufficient_statistics": NORMALISATION,
        "dropout": DROPOUT,
        "RNNCell*": RECURRENT,
        **dict.fromkeys(("*_sampler", "approx_*", "top_k", "in_top_k", "compute_accidental_hits"), REDUCTION),
        "zero_fraction": REDUCTION,
        **dict.fromkeys(("bias_add", "*embedding_lookup*"), LINEAR),
        "isotonic_regression": "a regression along an axis, an operation of optimisers and rankings",
    },
    "mlx.nn": {
        **dict.fromkeys(("AvgPool*", "MaxPool*"), POOLING),
        "Conv*": CONVOLUTION,
        **dict.fromkeys(("BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "RMSNorm"), NORMALISATION),
        "Dropout*": DROPOUT,
        **dict.fromkeys(("GRU", "LSTM", "RNN"), RECURRENT),
        **dict.fromkeys(("MultiHeadAttention", "Transformer*", "ALiBi", "RoPE", "SinusoidalPositionalEncoding"), ATTENTION),
        "Upsample": SHAPE,
        **dict.fromkeys(("*Linear", "Bilinear", "*Embedding"), LINEAR),
        **dict.fromkeys(("Module", "Sequential", "FullyShardedModule", "fully_shard", "average_gradients"), PLUMBING),
        **dict.fromkeys(("quantize", "value_and_grad"), PLUMBING),
    },
}  # fmt: skip


def excused(name: str, reasons: dict[str, str]) -> bool:
    import fnmatch

    return any(fnmatch.fnmatchcase(name, pattern) for pattern in reasons)


def known(framework: str, module: str) -> set[str]:
    """What the table of a framework has of a module."""
    root = getattr(natives.room(framework), "ROOT", framework)
    prefix = f"{root}.{module.partition('.')[2]}."
    return {
        e.name for e in natives.table(framework) if not e.composed and e.spelling.rpartition(".")[0] + "." == prefix
    }


def public(module: str) -> list[str]:
    """The functions and classes of a module; not the modules and constants in it."""
    found = importlib.import_module(module)
    names = [n for n in dir(found) if not n.startswith("_")]
    return [n for n in names if callable(getattr(found, n)) and not inspect.ismodule(getattr(found, n))]


def unexplained(framework: str, module: str, names: list[str]) -> set[str]:
    return {n for n in names if n not in known(framework, module) and not excused(n, NO_ACTIVATION[module])}


MODULE_CASES = [(framework, module) for framework, modules in MODULES.items() for module in modules]


@pytest.mark.parametrize(("framework", "module"), MODULE_CASES)
def test_every_activation_has_a_counterpart(framework, module):
    pytest.importorskip(framework)
    names = public(module)
    assert not unexplained(framework, module, names), "neither in the table nor with a reason"
    assert len(set(names) & known(framework, module)) >= 6


@pytest.mark.parametrize(("framework", "module"), MODULE_CASES)
def test_a_new_name_is_noticed(framework, module):
    assert unexplained(framework, module, ["newlu", "NewLU"]) == {"newlu", "NewLU"}


@pytest.mark.parametrize(("framework", "module"), MODULE_CASES)
def test_no_activation_is_excused(framework, module):
    """A pattern that is too wide would hide one."""
    assert not [n for n in known(framework, module) if excused(n, NO_ACTIVATION[module])]


def test_every_key_of_transformers_is_there():
    activations = pytest.importorskip("transformers.activations")
    keys = {e.spelling.partition("[")[2].strip("]'") for e in natives.table("transformers")}
    assert keys == set(activations.ACT2FN)


def test_every_activation_of_flax_is_there():
    pytest.importorskip("flax")
    jax_nn = importlib.import_module("jax.nn")
    for module in ("flax.linen", "flax.nnx"):
        found = importlib.import_module(module)
        names = {n for n in public("jax.nn") if getattr(found, n, None) is getattr(jax_nn, n)} | {"PReLU"}
        names -= {n for n in names if excused(n, NO_ACTIVATION["jax.nn"])}
        assert {e.name for e in natives.table("flax") if e.spelling.startswith(module)} == names


def test_every_activation_of_equinox_is_there():
    pytest.importorskip("equinox")
    layers = importlib.import_module("equinox.nn")
    names = {n for n in public("equinox.nn") if getattr(layers, n).__module__.endswith("_activations")} | {"Identity"}
    assert {e.name for e in natives.table("equinox")} == names


def test_every_activation_of_tf_keras_is_there():
    """In a process of its own, beside which Keras 3 would not load."""
    pytest.importorskip("tensorflow")
    code = """
import importlib.util, inspect, sys
if importlib.util.find_spec("tf_keras") is None: sys.exit()
import tf_keras
from multiact import natives
here = {e.spelling for e in natives.table("tf_keras")}
names = {f"tf_keras.activations.{n}" for n in dir(tf_keras.activations) if n[0] != "_"}
names -= {f"tf_keras.activations.{n}" for n in ("get", "serialize", "deserialize")}
layers = {n for n, v in vars(tf_keras.layers).items() if inspect.isclass(v) and ".layers.activation." in v.__module__}
names |= {f"tf_keras.layers.{n}" for n in layers - {"Activation"}}
assert names == here, names ^ here
"""
    assert_runs(code)


# Facts of the tables


ENTRIES = [(f, e) for f in natives.frameworks() for e in natives.table(f)]


def titles(entries):
    return [pytest.param(f, e, id=f"{e.spelling}-{e.activation}") for f, e in entries]


@pytest.mark.parametrize(("framework", "entry"), titles(ENTRIES))
def test_an_entry_names_what_multiact_has(framework, entry):
    activation = registry.get(entry.activation)
    assert activation.name == entry.activation, "the canonical name"
    own = {s.name for s in activation.settings}
    assert {a.sets for a in entry.arguments.values() if a.sets} | set(entry.fixed) <= own
    spellings = {e.spelling for _, e in ENTRIES}
    assert not entry.same_as or entry.same_as in spellings


#: Parameters of a native that are its input, or say nothing about the function.
INPUTS = {"x", "input", "features", "logits", "args", "kwargs", "self", "activations"}


def signature(thing):
    try:
        return inspect.signature(thing)
    except (TypeError, ValueError):
        return None  # a builtin


PYTHON = [(f, e) for f, e in ENTRIES if f not in ("onnx", "transformers", "numpy", "tf_keras") and not e.composed]


def check_signature(framework, entry):
    """The arguments of an entry are those of the native, with their defaults."""
    native = natives.resolve(framework, entry.spelling)
    parameters = getattr(signature(native), "parameters", None)
    if parameters is None or set(parameters) <= {"args", "kwargs", "x", "out", "where"} - {"self"}:
        return
    ignored = set(natives.room(framework).IGNORED)
    for name, argument in entry.arguments.items():
        assert name in parameters, f"{entry.spelling} has no argument {name}"
        assert parameters[name].default == argument.default, f"{entry.spelling}({name}=...)"
    first = next(iter(parameters))
    rest = set(parameters) - set(entry.arguments) - ignored - INPUTS - ({first} if not entry.layer else set())
    assert not rest, f"{entry.spelling} has arguments that the table does not know"


@pytest.mark.parametrize(("framework", "entry"), titles(PYTHON))
def test_defaults_are_those_of_the_native(framework, entry):
    pytest.importorskip(framework)
    check_signature(framework, entry)


def test_defaults_of_tf_keras():
    pytest.importorskip("tensorflow")
    assert_runs("""
import importlib.util, sys
if importlib.util.find_spec("tf_keras") is None: sys.exit()
sys.path.insert(0, "tests")
import test_parity
from multiact import natives
for entry in natives.table("tf_keras"):
    test_parity.check_signature("tf_keras", entry)
""")


def test_defaults_of_onnx():
    onnx = pytest.importorskip("onnx")
    import numpy as np

    for entry in natives.table("onnx"):
        schemas = [s for s in onnx.defs.get_all_schemas_with_history() if s.name == entry.name and s.domain == ""]
        latest = max(schemas, key=lambda s: s.since_version)
        inputs = {i.name for i in latest.inputs}
        opset = int(entry.notes.split("since opset ")[1].split(".")[0])
        assert opset in {s.since_version for s in schemas}, entry.spelling
        for name, argument in entry.arguments.items():
            if argument.default is natives.REQUIRED:
                assert name in inputs
                continue
            default = onnx.helper.get_attribute_value(latest.attributes[name].default_value)
            wanted = argument.default.encode() if isinstance(argument.default, str) else argument.default
            assert default == (np.float32(wanted) if isinstance(wanted, float) else wanted), (entry.spelling, name)
        if entry.name != "Selu":  # whose constants are not the ones of ours
            assert set(latest.attributes) <= set(entry.arguments), entry.spelling


def test_defaults_that_porters_stumble_over():
    """The first lines of every list of traps, by the tables alone."""
    from multiact.translation import translate

    slopes = {
        ("torch", "LeakyReLU"): 0.01,
        ("jax", "leaky_relu"): 0.01,
        ("tensorflow", "leaky_relu"): 0.2,
        ("keras", "leaky_relu"): 0.2,
        ("keras", "LeakyReLU"): 0.3,
        ("tf_keras", "LeakyReLU"): 0.3,
        ("onnx", "LeakyRelu"): 0.01,
        ("transformers", "leaky_relu"): 0.01,
    }
    for (framework, name), slope in slopes.items():
        assert translate(framework, name).parameters == {"negative_slope": slope}, framework
    gelu = {
        f: translate(f, "gelu").activation.name for f in ("torch", "jax", "flax", "keras", "tensorflow", "transformers")
    }
    assert [f for f, name in gelu.items() if name == "gelu_tanh"] == ["jax", "flax"]
    assert translate("keras", "keras.ops.gelu").activation.name == "gelu_tanh"
    assert translate("onnx", "Gelu").activation.name == "gelu"
    starts = {f: translate(f, "PReLU").parameters["negative_slope"] for f in ("torch", "flax", "keras", "tf_keras")}
    assert starts == {"torch": 0.25, "flax": 0.01, "keras": 0.0, "tf_keras": 0.0}
    assert translate("transformers", "gelu_new").activation.name == "gelu_tanh"


def test_hard_sigmoid_has_changed_its_meaning():
    from multiact.translation import translate

    assert translate("keras", "hard_sigmoid").activation.name == "hard_sigmoid"
    assert translate("tf_keras", "hard_sigmoid").activation.name == "hard_sigmoid_legacy"
    assert translate("onnx", "HardSigmoid").parameters["width"] == 5.0
    assert translate("torch", "Hardsigmoid", to="onnx").spelling == f"onnx.HardSigmoid(x, alpha={1 / 6!r})"
    apart = translate("torch", "Hardsigmoid", to="tf_keras").difference
    assert apart.largest == pytest.approx(1 / 12) and abs(apart.at) == 2.5


def assert_runs(code):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
