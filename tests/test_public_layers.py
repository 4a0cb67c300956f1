"""Every layer, made and called with arguments of every kind: a right answer, or a clear refusal."""

import numpy as np
import pytest
from clear_refusals import check_text
from hypothesis import given
from hypothesis import strategies as st
from public_arguments import FLOATS, anything, build, made

import nanoautograd as nag
from nanoautograd import functional, nn

SEED = {"rng": 0, "dtype": np.float32}
RECURRENT = {
    **{"num_layers": 2, "bias": True, "batch_first": False, "dropout": 0.1},
    **{"bidirectional": True, **SEED},
}
X3 = made("np.ones((5, 2, 4), np.float32)")
BATCH = made("np.ones((2, 3, 4), np.float32)")
ENCODER = {
    **{"dim_feedforward": 8, "dropout": 0.1, "activation": "relu", "layer_norm_eps": 1e-5},
    **{"batch_first": True, "norm_first": False, "bias": True, **SEED},
}
MASKS = {"key_padding_mask": None, "attn_mask": None, "need_weights": True, "is_causal": False}
# name: (arguments, options, what the layer is called with)
LAYERS = {
    "Linear": ([4, 3], {"bias": True, **SEED}, [X3]),
    "Embedding": ([5, 4], {"padding_idx": 1, **SEED}, [made("np.array([0, 4])")]),
    "Dropout": ([0.5], {"rng": 0}, [X3]),
    "GELU": (["tanh"], {}, [X3]),
    "LayerNorm": ([4], {"eps": 1e-5, "elementwise_affine": True, "bias": True}, [X3]),
    "RMSNorm": ([4], {"eps": None, "elementwise_affine": True, "dtype": np.float32}, [X3]),
    "RNN": ([4, 3], {"nonlinearity": "relu", **RECURRENT}, [X3]),
    "LSTM": ([4, 3], RECURRENT, [X3]),
    "GRU": ([4, 3], RECURRENT, [X3]),
    "MultiheadAttention": (
        [4, 2],
        {"dropout": 0.1, "bias": True, "kdim": 4, "vdim": 4, "batch_first": True, **SEED},
        [BATCH, BATCH, BATCH],
    ),
    "CausalSelfAttention": ([4, 2], {"dropout": 0.1, "bias": True, **SEED}, [BATCH]),
    "RotaryEmbedding": ([100.0], {}, [BATCH]),
    "CRF": ([4], SEED, [X3, made("np.zeros((5, 2), int)")]),
    "TransformerEncoderLayer": ([4, 2], ENCODER, [BATCH]),
    "TransformerDecoderLayer": ([4, 2], ENCODER, [BATCH, BATCH]),
    "TransformerEncoder": (
        [made("nn.TransformerEncoderLayer(4, 2, 8)"), 2],
        {"norm": None},
        [BATCH],
    ),
    "TransformerDecoder": (
        [made("nn.TransformerDecoderLayer(4, 2, 8)"), 2],
        {"norm": None},
        [BATCH, BATCH],
    ),
    "LoRALinear": ([made("nn.Linear(4, 3)"), 2], {"alpha": 16.0, "rng": 0}, [X3]),
    "Sequential": ([made("nn.Linear(4, 3)"), made("nn.Tanh()")], {}, [X3]),
    "ModuleList": ([[made("nn.Linear(4, 3)")]], {}, None),
    "Parameter": ([FLOATS], {"dtype": np.float32}, None),
    "KVCache": ([BATCH, BATCH], {}, None),
    "add_adapters": (
        [made("nn.Sequential(nn.Linear(4, 3))"), 2],
        {"alpha": 16.0, "names": (), "rng": 0},
        None,
    ),
    "BCEWithLogitsLoss": ([[2.0, 1.0, 1.0, 0.5]], {"pos_weight": [3.0]}, [X3, X3]),
    "MSELoss": (["sum"], {}, [X3, X3]),
    "CrossEntropyLoss": (
        [made("np.ones(4)")],
        {"ignore_index": 1, "reduction": "mean", "label_smoothing": 0.1},
        [made("np.ones((5, 4), np.float32)"), made("np.array([0, 1, 2, 3, 0])")],
    ),
    **{name: ([], {}, [X3]) for name in ("Identity", "ReLU", "Sigmoid", "SiLU", "Tanh")},
    **{name: ([made("nn.Linear(4, 3)")], {}, None) for name in ("adapters", "merge_adapters")},
    "functional_call": ([made("nn.Linear(4, 3)"), {"bias": FLOATS}, X3], {"kwargs": {}}, None),
    "random_state": ([made("nn.Dropout()")], {}, None),
    "load_random_state": ([made("nn.Dropout()"), {"": [1, 2]}], {}, None),
    "uniform": ([0, 0.5, 2, 3], {"dtype": np.float32}, None),
    "xavier_uniform": ([0, 2, 3], {"dtype": np.float32}, None),
}
OF_LAYERS = {"Module", "Recurrent"}  # which others inherit
SIZES = "num_layers", 1  # of which any number is made, in a time that is as long


def replaced(draw, args, options, left=()):
    """(args, options), of which one is anything."""
    args, options = [*args], {**options}
    places = [place for place in (*range(len(args)), *options) if place not in left]
    if places:
        place = draw(st.sampled_from(places))
        (options if isinstance(place, str) else args)[place] = draw(anything)
    return args, options


def leaf(recipe):
    return nag.Tensor(recipe.array, requires_grad=True)


@pytest.mark.parametrize("name", sorted(LAYERS))
@given(st.data())
def test_a_layer_is_made_rightly_or_refused_clearly(name, data):
    args, options, inputs = LAYERS[name]
    left = SIZES if name in ("TransformerEncoder", "TransformerDecoder") else SIZES[:1]
    args, options = replaced(data.draw, args, options, left)
    make = getattr(nn, name)
    layer = check_text(lambda: make(*build(args, leaf), **build(options, leaf)))
    if layer is not None and inputs is not None:
        inputs, _ = replaced(data.draw, inputs, {}) if data.draw(st.booleans()) else (inputs, {})
        check_text(lambda: layer(*build(inputs, leaf)))


def test_all_layers_are_made():
    names = {name for name, value in vars(nn).items() if name[0] != "_" and callable(value)}
    assert {*LAYERS} | OF_LAYERS == names


@pytest.mark.parametrize("flag", [float("nan"), None, 1, "yes", [True], np.array([True])])
def test_a_flag_is_true_or_false(flag):
    x = np.ones((2, 3, 4))
    for call in (
        lambda: functional.scaled_dot_product_attention(x, x, x, is_causal=flag),
        lambda: functional.scaled_dot_product_attention(x, x, x, return_weights=flag),
        lambda: functional.rotary_embedding(x, interleaved=flag),
        lambda: functional.layer_norm(x, 4, residual=x, return_sum=flag),
        lambda: functional.dropout(x, training=flag),
        lambda: functional.rnn(x, None, x[0, :, :3], x[0, :, :3], bias=flag),
        lambda: nn.MultiheadAttention(4, 2)(x, x, x, is_causal=flag),
    ):
        with pytest.raises(TypeError, match="is True or False; got"):
            call()


def test_a_slice_of_an_embedding_is_of_its_rows():
    table = nn.Embedding(5, 4, padding_idx=1, rng=0)
    y = table(slice(0, 3))
    np.testing.assert_array_equal(y.data, table.weight.data[:3])
    y.sum().backward()
    assert table.weight.grad.numpy()[:, 0].tolist() == [1, 0, 1, 0, 0]
    for rows in (slice(3, 9), slice(-2, None), slice(4, 2), slice(0, 4, 2), slice("a", None)):
        with pytest.raises((IndexError, TypeError, ValueError), match="embedding: "):
            table(rows)
    with pytest.raises(TypeError, match="num_embeddings must be an integer"):
        nn.Embedding(slice(3, 9), 4)
    with pytest.raises(TypeError, match="padding_idx must be an integer"):
        nn.Embedding(9, 4, padding_idx=slice(3, 9))


@pytest.mark.parametrize("mode", [nag.no_grad, nag.enable_grad, nag.detect_anomaly, nag.use_manual])
def test_a_mode_without_parentheses(mode):
    with pytest.raises(TypeError, match=rf"write `with {mode.__name__}\(\):`"):
        with mode:
            pass
