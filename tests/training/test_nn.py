"""Modules: how parameters are found, kept and loaded; and the layers, against PyTorch's."""

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd.nn import GRU, LSTM, RNN, Embedding, Linear, Module, Parameter


class Tagger(Module):
    """A model with everything that names can go wrong with: nesting, no bias, a shared weight."""

    def __init__(self, rng=None):
        rng = np.random.default_rng(rng)
        self.scale = Parameter(np.ones(()))
        self.embedding = Embedding(5, 3, rng=rng)
        self.inner = Module()
        self.inner.rnn = RNN(3, 4, bidirectional=True, rng=rng)
        self.output = Linear(3, 5, bias=False, rng=rng)
        self.output.weight = self.embedding.weight
        self.size = 3


NAMES = [
    "scale",
    "embedding.weight",
    *(
        f"inner.rnn.{kind}_l0{way}"
        for way in ("", "_reverse")
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ),
]


def test_parameters_are_named_by_the_way_to_them():
    model = Tagger()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert list(model.state_dict()) == NAMES + ["output.weight"]
    assert [name for name, _ in model.named_modules()] == [
        "",
        "embedding",
        "inner",
        "inner.rnn",
        "output",
    ]
    assert len(model.parameters()) == len(NAMES)


def test_train_and_eval_reach_all_modules():
    model = Tagger()
    model.eval()
    assert not any(m.training for _, m in model.named_modules())
    assert model.train() is model
    assert all(m.training for _, m in model.named_modules())
    assert Tagger().training


def test_state_dict_is_a_copy_and_loads_back(backend):
    model, other = Tagger(0).to(backend.device), Tagger(1)
    state = model.state_dict()
    for p in model.parameters():
        p.data *= 2
    other.load_state_dict(state)  # across devices
    for name, p in other.named_parameters():
        assert p.device == "cpu" and p.requires_grad
        assert np.array_equal(p.data, backend.numpy(state[name]))
        p.data *= 2
    assert not np.array_equal(other.scale.data, backend.numpy(state["scale"]))


def test_load_state_dict_reports_everything_and_changes_nothing():
    model = Linear(3, 2, rng=0)
    before = model.state_dict()
    with pytest.raises(ValueError) as e:
        model.load_state_dict({"weight": np.ones((3, 2)), "bais": np.ones(2)})
    assert str(e.value).splitlines()[1:] == [
        "  missing: bias (2,)",
        "  unexpected: bais (2,)",
        "  mis-shaped: weight is (3, 2), the model has (2, 3)",
    ]
    assert all(np.array_equal(p.data, before[name]) for name, p in model.named_parameters())
    model.load_state_dict({"bias": np.ones(2)}, strict=False)
    assert (model.bias.data == 1).all()
    with pytest.raises(ValueError, match="mis-shaped"):
        model.load_state_dict({"bias": np.ones(3)}, strict=False)


def test_to_keeps_the_parameters(backend):
    model = Linear(3, 2, rng=0)
    weight = model.weight
    model(nag.Tensor(np.ones((1, 3), np.float32))).sum().backward()
    assert model.to(backend.device) is model
    assert model.weight is weight and weight.device.startswith(backend.device)
    assert weight.requires_grad and weight.grad is None or backend.device == "cpu"
    y = model(backend.array(np.ones((1, 3)), np.float32))
    y.sum().backward()
    np.testing.assert_allclose(backend.numpy(weight.grad), np.ones((2, 3)))


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: Linear(64, 3, rng=rng),
        lambda rng: RNN(3, 64, 2, bidirectional=True, rng=rng),
        lambda rng: LSTM(3, 64, 2, bidirectional=True, rng=rng),
        lambda rng: GRU(3, 64, 2, bidirectional=True, rng=rng),
    ],
)
def test_weights_start_uniform_as_documented(make):
    for name, p in make(0).named_parameters():
        assert p.dtype == np.float32
        assert abs(p.data).max() <= 1 / 8, name
        if p.size > 100:
            assert abs(p.data).max() > 0.95 / 8, name
            assert p.data.std() == pytest.approx(1 / 8 / 3**0.5, rel=0.1), name


def test_embedding_starts_normal():
    w = Embedding(100, 100, rng=0).weight.data
    assert w.mean() == pytest.approx(0, abs=0.05) and w.std() == pytest.approx(1, abs=0.05)


def test_a_seed_decides_all_weights():
    a, b, c = Tagger(0).state_dict(), Tagger(0).state_dict(), Tagger(1).state_dict()
    for name in a:
        assert np.array_equal(a[name], b[name])
        assert name == "scale" or not np.array_equal(a[name], c[name])
    assert not np.array_equal(a["inner.rnn.weight_hh_l0"], a["inner.rnn.weight_hh_l0_reverse"])


def leaves(results):
    """out, (h_n, c_n) or out, h_n as a list."""
    out, last = results
    return [out, *(last if isinstance(last, tuple) else [last])]


@pytest.mark.oracle
@pytest.mark.parametrize("layer", [RNN, LSTM, GRU])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_recurrent_layers_are_those_of_pytorch(rng, layer, bias, bidirectional, batch_first):
    torch = pytest.importorskip("torch")
    options = dict(num_layers=2, bias=bias, batch_first=batch_first, bidirectional=bidirectional)
    if layer is RNN:
        options["nonlinearity"] = "relu"
    ours = layer(3, 4, rng=rng, dtype=np.float64, **options)
    theirs = getattr(torch.nn, layer.__name__)(3, 4, dtype=torch.float64, **options)
    assert [(n, p.shape) for n, p in ours.named_parameters()] == [
        (n, tuple(p.shape)) for n, p in theirs.named_parameters()
    ]
    theirs.load_state_dict({n: torch.tensor(a) for n, a in ours.state_dict().items()})
    x, h, c = rng.standard_normal((5, 5, 3)), *rng.standard_normal((2, 2 + 2 * bidirectional, 5, 4))
    lengths = [5, 2, 4, 1, 3]
    outs = leaves(ours(x, (h, c) if layer is LSTM else h, lengths))
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.tensor(x), lengths, batch_first=batch_first, enforce_sorted=False
    )
    h, c = torch.tensor(h), torch.tensor(c)
    packed, *last = leaves(theirs(packed, (h, c) if layer is LSTM else h))
    outs_t = [torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=batch_first)[0], *last]
    cotangents = [rng.standard_normal(y.shape) for y in outs]
    for y, y_t in zip(outs, outs_t, strict=True):
        np.testing.assert_allclose(y.data, y_t.detach().numpy(), rtol=1e-10, atol=1e-12)
    sum((y * u).sum() for y, u in zip(outs, cotangents)).backward()
    sum((y * torch.tensor(u)).sum() for y, u in zip(outs_t, cotangents)).backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.oracle
def test_linear_and_embedding_are_those_of_pytorch(rng):
    torch = pytest.importorskip("torch")
    for ours, theirs, x in [
        (Linear(3, 2, rng=rng), torch.nn.Linear(3, 2), rng.random((4, 5, 3), np.float32)),
        (Embedding(6, 2, rng=rng), torch.nn.Embedding(6, 2), rng.integers(6, size=(4, 5))),
    ]:
        theirs.load_state_dict({n: torch.tensor(a) for n, a in ours.state_dict().items()})
        y, y_t = ours(x), theirs(torch.tensor(x))
        np.testing.assert_allclose(y.data, y_t.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.oracle
def test_recurrent_layers_train_as_in_pytorch(rng):
    """Five steps of gradient descent on the last states, in float32, stay together."""
    torch = pytest.importorskip("torch")
    x, wanted = rng.random((6, 3, 2), np.float32), rng.random((3, 4), np.float32)
    for layer in (RNN, LSTM, GRU):
        ours = layer(2, 4, rng=rng)
        theirs = getattr(torch.nn, layer.__name__)(2, 4)
        theirs.load_state_dict({n: torch.tensor(a) for n, a in ours.state_dict().items()})
        for _ in range(5):
            loss = ((leaves(ours(x))[1][0] - wanted) ** 2).sum()
            loss_t = ((leaves(theirs(torch.tensor(x)))[1][0] - torch.tensor(wanted)) ** 2).sum()
            assert loss.item() == pytest.approx(loss_t.item(), rel=1e-5)
            ours.zero_grad()
            theirs.zero_grad()
            loss.backward()
            loss_t.backward()
            for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
                p.data -= 0.1 * p.grad.data
                q.data -= 0.1 * q.grad
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", [RNN, LSTM, GRU])
def test_dropout_between_recurrent_layers(backend, layer):
    x = backend.tensor(np.random.default_rng(0).random((7, 5, 3), np.float32))
    models = [
        layer(3, 4, num_layers=3, dropout=p, bidirectional=True, rng=0).to(backend.device)
        for p in (0.5, 0.5, 0.0)
    ]
    drops, again, keeps = [[backend.numpy(model(x)[0]) for _ in range(2)] for model in models]
    assert np.array_equal(drops, again)  # the seed decides
    assert not np.array_equal(*drops) and np.array_equal(*keeps)
    here = layer(3, 4, num_layers=3, dropout=0.5, bidirectional=True, rng=0)
    np.testing.assert_allclose(here(backend.numpy(x))[0].data, drops[0], rtol=1e-4, atol=1e-6)
    for name, p in models[0].named_parameters():  # and the weights are those without dropout
        assert np.array_equal(
            backend.numpy(p), backend.numpy(dict(models[2].named_parameters())[name])
        )
    assert np.array_equal(backend.numpy(models[0].eval()(x)[0]), keeps[0])
    models[1](x)[0].sum().backward()
    assert all(p.grad is not None for p in models[1].parameters())


def test_dropout_keeps_the_expectation():
    """With weights that only pass on, the last layer gets m / (1 - p) times the first's output."""
    net = RNN(1, 1, num_layers=2, nonlinearity="relu", bias=False, dropout=0.25, rng=0)
    for name, p in net.named_parameters():
        p.data[...] = name.startswith("weight_ih")
    y = net(np.ones((100, 100, 1), np.float32))[0].data
    assert set(np.unique(y)) == {np.float32(0), np.float32(4 / 3)}
    assert y.mean() == pytest.approx(1, abs=0.03)


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match=r"lstm: hx must be a pair of arrays \(h_0, c_0\), or None"):
        LSTM(3, 4)(np.ones((2, 1, 3), np.float32), np.ones((1, 1, 4), np.float32))
    with pytest.raises(ValueError, match="GRU: input_size must be an integer, 1 or more; got 0"):
        GRU(0, 4)
    with pytest.raises(ValueError, match="probability, from 0 to 1; got 1.5"):
        LSTM(3, 4, 2, dropout=1.5)
    with pytest.raises(ValueError, match="nonlinearity must be 'tanh' or 'relu', got 'sigmoid'"):
        RNN(3, 4, nonlinearity="sigmoid")
    with pytest.raises(ValueError, match="hidden_size must be an integer, 1 or more; got 0"):
        RNN(3, 0)
    with pytest.raises(NotImplementedError, match="Tagger"):
        Tagger()(1)
    with pytest.raises(IndexError, match="7.*5"):
        Embedding(5, 3)(np.array([1, 7]))


def test_repr_shows_the_tree():
    assert repr(Linear(3, 2)) == "Linear(3, 2, bias=True)"
    assert "\n  (inner): Module(\n    (rnn): RNN(3, 4, num_layers=1)\n  )\n" in repr(Tagger())
