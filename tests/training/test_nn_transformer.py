"""Attention with heads and the layers of the Transformer: against PyTorch's, and their errors."""

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd import nn

SMALL = dict(dim_feedforward=7, dropout=0.0, dtype=np.float64)


def same(ours, theirs, inputs, options, gradients_of_inputs=True):
    """Names and shapes of the weights; then results and gradients, with PyTorch's weights moved
    from where they start, so that none is 0 or 1. options: NumPy arrays become tensors."""
    torch = pytest.importorskip("torch")
    assert [(n, p.shape) for n, p in ours.named_parameters()] == [
        (n, tuple(p.shape)) for n, p in theirs.named_parameters()
    ]
    with torch.no_grad():
        for p in theirs.parameters():
            p += torch.linspace(-0.3, 0.4, p.numel()).reshape(p.shape)
    ours.load_state_dict({n: p.numpy() for n, p in theirs.state_dict().items()})
    xs = {id(x): nag.Tensor(x, requires_grad=True) for x in inputs}
    ts = {id(x): torch.tensor(x, requires_grad=True) for x in inputs}
    y = ours(*[xs[id(x)] for x in inputs], **options)
    y_t = theirs(
        *[ts[id(x)] for x in inputs],
        **{k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()},
    )
    ys, ys_t = [
        [r for r in (y if isinstance(y, tuple) else (y,)) if r is not None] for y in (y, y_t)
    ]
    rng = np.random.default_rng(1)
    us = [rng.standard_normal(r.shape) for r in ys]
    for r, r_t in zip(ys, ys_t, strict=True):
        np.testing.assert_allclose(r.data, r_t.detach().numpy(), rtol=1e-9, atol=1e-11)
    sum((r * u).sum() for r, u in zip(ys, us)).backward()
    sum((r * torch.tensor(u)).sum() for r, u in zip(ys_t, us)).backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=name)
    for x, t in zip(xs.values(), ts.values(), strict=True):
        np.testing.assert_allclose(x.grad.data, t.grad.numpy(), rtol=1e-8, atol=1e-10)


def mask_of(kind, *shape):
    """True = not seen, or floating; the first key is always seen."""
    if kind is None:
        return None
    hidden = np.random.default_rng(len(shape)).random(shape) < 0.4
    hidden[..., 0] = False
    return hidden if kind == "boolean" else np.where(hidden, -np.inf, 0.3)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "attn, padding",
    [
        (None, None),
        ("boolean", None),
        (None, "boolean"),
        ("boolean", "boolean"),
        ("added", None),
        ("added", "boolean"),
        ("boolean", "added"),
        ("added", "added"),
        ("heads", "boolean"),
    ],
)
@pytest.mark.parametrize("average", [True, False, None])
def test_attention_is_that_of_pytorch(rng, batch_first, bias, attn, padding, average):
    torch = pytest.importorskip("torch")
    options = dict(bias=bias, batch_first=batch_first)
    ours = nn.MultiheadAttention(6, 2, dtype=np.float64, **options)
    theirs = torch.nn.MultiheadAttention(6, 2, dtype=torch.float64, **options)
    B, T, S = 3, 4, 5
    query, key = rng.standard_normal((B, T, 6)), rng.standard_normal((B, S, 6))
    if not batch_first:
        query, key = query.swapaxes(0, 1).copy(), key.swapaxes(0, 1).copy()
    value = key + 1.0
    masks = {
        "attn_mask": mask_of("added", 2 * B, T, S) if attn == "heads" else mask_of(attn, T, S),
        "key_padding_mask": mask_of(padding, B, S),
    }
    options = {"need_weights": average is not None, "average_attn_weights": average is not False}
    same(ours, theirs, (query, key, value), masks | options)
    if attn is None:  # one product for all three, and for one sequence alone
        same(ours, theirs, (key, key, key), masks | options)
        one = {"key_padding_mask": mask_of(padding, S)}
        x = rng.standard_normal((S, 6))
        same(ours, theirs, (x, x, x), one | options)


@pytest.mark.oracle
def test_attention_over_other_features_is_that_of_pytorch(rng):
    torch = pytest.importorskip("torch")
    options = dict(kdim=3, vdim=5, batch_first=True)
    inputs = [rng.standard_normal((2, n, d)) for n, d in ((4, 6), (3, 3), (3, 5))]
    same(
        nn.MultiheadAttention(6, 3, dtype=np.float64, **options),
        torch.nn.MultiheadAttention(6, 3, dtype=torch.float64, **options),
        inputs,
        {},
    )


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm_first": True},
        {"batch_first": True, "activation": "gelu"},
        {"bias": False},
        {"norm_first": True, "activation": "gelu", "layer_norm_eps": 0.1},
    ],
)
@pytest.mark.parametrize("masks", ["none", "boolean", "causal"])
@pytest.mark.parametrize("final", [True, False])
def test_encoder_and_decoder_are_those_of_pytorch(rng, options, masks, final):
    torch = pytest.importorskip("torch")
    B, T, S = 3, 4, 5
    src, tgt = rng.standard_normal((B, S, 6)), rng.standard_normal((B, T, 6))
    if not options.get("batch_first"):
        src, tgt = src.swapaxes(0, 1).copy(), tgt.swapaxes(0, 1).copy()
    causal = np.triu(np.ones((T, T), bool), 1)
    of_src = (
        {}
        if masks == "none"
        else {"mask": mask_of("boolean", S, S), "src_key_padding_mask": mask_of("boolean", B, S)}
    )
    of_tgt = (
        {}
        if masks == "none"
        else {
            "tgt_mask": causal,
            "memory_mask": mask_of("boolean", T, S),
            "tgt_key_padding_mask": mask_of("boolean", B, T),
            "memory_key_padding_mask": mask_of("boolean", B, S),
        }
    )
    for kind, inputs, given in (("Encoder", (src,), of_src), ("Decoder", (tgt, src), of_tgt)):
        layer = getattr(nn, f"Transformer{kind}Layer")(6, 2, **SMALL, **options)
        layer_t = getattr(torch.nn, f"Transformer{kind}Layer")(
            6, 2, **(SMALL | {"dtype": torch.float64}), **options
        )
        norm, norm_t = (
            (nn.LayerNorm(6, dtype=np.float64), torch.nn.LayerNorm(6, dtype=torch.float64))
            if final
            else (None, None)
        )
        ours = getattr(nn, f"Transformer{kind}")(layer, 2, norm)
        extra = {"enable_nested_tensor": False} if kind == "Encoder" else {}
        theirs = getattr(torch.nn, f"Transformer{kind}")(layer_t, 2, norm_t, **extra)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        same(ours, theirs, inputs, given)
        if masks == "causal" and kind == "Decoder":  # without the mask, by the flag alone
            flag = given | {"tgt_mask": None, "tgt_is_causal": True}
            np.testing.assert_allclose(
                ours(*inputs, **flag).data, ours(*inputs, **given).data, rtol=1e-12, atol=1e-13
            )


def test_steps_are_the_causal_forward_pass(backend):
    rng = np.random.default_rng(0)
    for norm_first in (True, False):
        layer = nn.TransformerDecoderLayer(
            6, 2, norm_first=norm_first, batch_first=True, rng=0, **SMALL
        ).to(backend.device)
        x, memory = (backend.array(rng.standard_normal((3, n, 6))) for n in (5, 4))
        hidden = np.arange(4) >= np.array([[2], [4], [3]])
        whole = layer(x, memory, memory_key_padding_mask=backend.array(hidden), tgt_is_causal=True)
        _, k, v = layer.multihead_attn.heads(None, memory, memory)
        seen, cache, parts = backend.array(~hidden[:, None, None]), nn.KVCache(), []
        for i, j in ((0, 1), (1, 2), (2, 5)):
            y = layer.step(x[:, i:j], cache, (k, v), seen)
            parts.append(backend.numpy(y))
        assert len(cache) == 5 and cache.k.shape == (3, 2, 5, 3)
        np.testing.assert_allclose(np.concatenate(parts, 1), backend.numpy(whole), rtol=1e-12)


def test_every_backend_gives_the_same(backend):
    rng = np.random.default_rng(0)
    x, hidden = rng.random((4, 3, 6), np.float32), mask_of("boolean", 3, 4)
    results = []
    for device, array in (("cpu", np.array), (backend.device, backend.array)):
        encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(6, 2, 7, dropout=0.3, rng=0), 2
        ).to(device)
        y = encoder(array(x), src_key_padding_mask=array(hidden), is_causal=True)
        (y * y).sum().backward()
        assert y.dtype == np.float32
        results.append([backend.numpy(a) for a in (y, *(p.grad for p in encoder.parameters()))])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_query_that_sees_nothing_gets_the_bias(backend):
    layer = nn.MultiheadAttention(4, 2, batch_first=True, rng=0)
    layer.out_proj.bias.data[:] = [1, 2, 3, 4]
    layer.to(backend.device)
    x = backend.tensor(np.random.default_rng(0).random((2, 3, 4), np.float32), requires_grad=True)
    hidden = backend.array([[False, True, False], [True, True, True]])
    y, weights = layer(x, x, x, hidden)
    assert (backend.numpy(y)[1] == [1, 2, 3, 4]).all() and not backend.numpy(weights)[1].any()
    np.testing.assert_allclose(backend.numpy(weights)[0].sum(-1), 1, rtol=1e-6)
    y.sum().backward()
    assert np.isfinite(backend.numpy(x.grad)).all()


def test_attention_weights_are_dropped_from_a_random_state():
    layer = nn.MultiheadAttention(4, 2, 0.5, batch_first=True, rng=0)
    x = np.random.default_rng(0).random((2, 3, 4), np.float32)
    state = nn.random_state(layer)
    (_, first), (_, second) = (layer(x, x, x, average_attn_weights=False) for _ in range(2))
    assert layer.dropout.offset == 2 * first.size
    assert 0.2 < (first.data == 0).mean() < 0.8 and not np.array_equal(first.data, second.data)
    nn.load_random_state(layer, state)
    np.testing.assert_array_equal(layer(x, x, x, average_attn_weights=False)[1].data, first.data)
    _, kept = layer.eval()(x, x, x, average_attn_weights=False)
    np.testing.assert_allclose(first.data, (first.data > 0) * 2 * kept.data, rtol=1e-6)


def test_copies_have_the_same_weights_and_other_dropout():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, rng=0), 3)
    weights = [layer.state_dict() for layer in encoder.layers]
    for name, a in weights[0].items():
        assert all(np.array_equal(a, w[name]) for w in weights)
    assert len({id(p) for p in encoder.parameters()}) == 3 * len(weights[0])
    seeds = [seed for seed, _ in nn.random_state(encoder).values()]
    assert len(set(seeds)) == len(seeds) == 3 * 4


def test_weights_start_as_documented():
    """In PyTorch too: the bounds are those of the documentation."""
    layer = nn.MultiheadAttention(64, 4, rng=0)
    bounds = {"in_proj_weight": (6 / 256) ** 0.5, "out_proj.weight": 1 / 8}
    other = nn.MultiheadAttention(64, 4, kdim=32, vdim=16, rng=0)
    bounds_other = {
        "q_proj_weight": (6 / 128) ** 0.5,
        "k_proj_weight": (6 / 96) ** 0.5,
        "v_proj_weight": (6 / 80) ** 0.5,
        "out_proj.weight": 1 / 8,
    }
    for module, wanted in ((layer, bounds), (other, bounds_other)):
        for name, p in module.named_parameters():
            assert p.dtype == np.float32
            if name in wanted:
                assert 0.98 * wanted[name] < abs(p.data).max() <= wanted[name], name
                assert p.data.std() == pytest.approx(wanted[name] / 3**0.5, rel=0.05), name
            else:
                assert name.endswith("bias") and not p.data.any()


@pytest.mark.oracle
def test_weights_start_where_those_of_pytorch_do():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    options = dict(kdim=48, vdim=64)
    for ours, theirs in [
        (nn.MultiheadAttention(96, 4, rng=0), torch.nn.MultiheadAttention(96, 4)),
        (
            nn.MultiheadAttention(96, 4, rng=0, **options),
            torch.nn.MultiheadAttention(96, 4, **options),
        ),
        (nn.TransformerDecoderLayer(96, 4, 64, rng=0), torch.nn.TransformerDecoderLayer(96, 4, 64)),
        (nn.Linear(300, 20, rng=0), torch.nn.Linear(300, 20)),
        (nn.LSTM(20, 40, 2, rng=0), torch.nn.LSTM(20, 40, 2)),
        (nn.Embedding(70, 60, rng=0), torch.nn.Embedding(70, 60)),
    ]:
        theirs = dict(theirs.named_parameters())
        for name, p in ours.named_parameters():
            q = theirs[name].detach().numpy()
            if p.size > 500:
                assert p.data.std() == pytest.approx(q.std(), rel=0.1), name
                assert abs(p.data).max() == pytest.approx(abs(q).max(), rel=0.3), name
            else:
                assert abs(p.data).max() == pytest.approx(abs(q).max(), rel=0.3, abs=1e-9), name


def test_wrong_arguments_are_named():
    x = np.ones((2, 3, 4), np.float32)
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    with pytest.raises(ValueError, match="embed_dim must be a multiple.*got 5 and 2"):
        nn.MultiheadAttention(5, 2)
    with pytest.raises(
        ValueError,
        match=r"key must have 4 features; got query \(2, 3, 4\), key "
        r"\(2, 3, 2\)",
    ):
        layer(x, x[..., :2], x)
    with pytest.raises(ValueError, match="one value for each key"):
        layer(x, x, x[:, :2])
    with pytest.raises(ValueError, match="the batch, axis 0 as batch_first is True, differs"):
        layer(x, x[:1], x[:1])
    with pytest.raises(ValueError, match="three axes, or two each"):
        layer(x[0], x, x)
    with pytest.raises(ValueError, match=r"attn_mask must be \(T, S\) = \(3, 3\) or .* got \(2, 3"):
        layer(x, x, x, attn_mask=np.ones((2, 3), bool))
    with pytest.raises(ValueError, match=r"key_padding_mask must be \(B, S\) = \(2, 3\); got \(3,"):
        layer(x, x, x, np.ones((3, 2), bool))
    with pytest.raises(TypeError, match="attn_mask must be boolean .* or float32.* got int64"):
        layer(x, x, x, attn_mask=np.ones((3, 3), np.int64))
    with pytest.raises(ValueError, match="'relu', 'gelu' or a function; got 'tanh'"):
        nn.TransformerEncoderLayer(4, 2, activation="tanh")


def test_a_random_state_is_saved_and_goes_on():
    model = nn.Sequential(nn.Dropout(0.5, rng=0), nn.LSTM(3, 3, 2, dropout=0.5, rng=0))
    x = np.ones((4, 2, 3), np.float32)
    model[1](model[0](x))
    state = nn.random_state(model)
    assert {name: offset for name, (_, offset) in state.items()} == {"0": 24, "1.between": 24}
    after = model[1](model[0](x))[0].data
    other = nn.Sequential(nn.Dropout(0.5), nn.LSTM(3, 3, 2, dropout=0.5))
    other.load_state_dict(model.state_dict())
    nn.load_random_state(other, state)
    np.testing.assert_array_equal(other[1](other[0](x))[0].data, after)
    with pytest.raises(ValueError) as e:
        nn.load_random_state(model, {"0": [1, -1], "2": [0, 0]})
    assert str(e.value).splitlines()[1:] == [
        "  missing: 1.between",
        "  unexpected: 2",
        "  0 is [1, -1], not [seed, offset], integers from 0 to 2**64 - 1",
    ]
    assert nn.random_state(nn.Linear(2, 2)) == {}


def test_a_module_list_is_a_list_whose_parameters_are_found():
    layers = nn.ModuleList([nn.Linear(2, 3), nn.Identity()])
    assert layers.append(nn.ReLU()) is layers and len(layers) == 3
    assert list(layers.state_dict()) == ["0.weight", "0.bias"]
    assert (
        isinstance(layers[2], nn.ReLU)
        and [type(m) for m in layers[:2]] == [nn.Linear, nn.Identity]
        and isinstance(layers[:2], nn.ModuleList)
    )
    x = np.ones(2)
    assert layers[1](x) is x
    with pytest.raises(TypeError, match="ModuleList: takes Modules; '3' is of type int"):
        layers.append(3)


@pytest.mark.parametrize("B, T, S", [(0, 3, 4), (2, 0, 4), (0, 0, 0)])
def test_batches_and_sequences_of_nothing(B, T, S):
    x, m = np.zeros((B, T, 8), np.float32), np.zeros((B, S, 8), np.float32)
    out, weights = nn.MultiheadAttention(8, 2, batch_first=True)(x, m, m)
    assert out.shape == (B, T, 8) and weights.shape == (B, T, S)
