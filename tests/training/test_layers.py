"""The layers that have few weights or none, against PyTorch's."""

import copy
import pickle

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd import nn
from nanoautograd.nn import random_state


def same_as_torch(ours, theirs, x):
    """Names and shapes of the weights; then output and gradients, with PyTorch's weights moved
    from where they start, so that none is 0 or 1."""
    torch = pytest.importorskip("torch")
    assert {n: p.shape for n, p in ours.state_dict().items()} == {
        n: tuple(p.shape) for n, p in theirs.state_dict().items()
    }
    for name, p in theirs.named_parameters():
        np.testing.assert_array_equal(ours.state_dict()[name], p.detach().numpy(), name)
        with torch.no_grad():
            p += torch.linspace(0.1, 1.0, p.numel()).reshape(p.shape)
    ours.load_state_dict({n: p.detach().numpy() for n, p in theirs.named_parameters()})
    t, tx = nag.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, ty = ours(t), theirs(tx)
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y.data, ty.detach().numpy(), rtol=1e-5, atol=1e-6)
    g = np.cos(np.arange(y.size, dtype=x.dtype)).reshape(y.shape)
    y.backward(nag.Tensor(g))
    ty.backward(torch.tensor(g))
    np.testing.assert_allclose(t.grad.data, tx.grad.numpy(), rtol=1e-4, atol=1e-5)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "args, options",
    [
        ((3,), {}),
        (([4, 3],), {}),
        ((3,), {"elementwise_affine": False}),
        ((3, 0.5), {}),
        ((3,), {"bias": False}),
    ],
)
def test_layer_norm_is_pytorchs(rng, args, options):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, 4, 3)).astype(np.float32)
    same_as_torch(nn.LayerNorm(*args, **options), torch.nn.LayerNorm(*args, **options), x)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "name, args", [("ReLU", ()), ("Tanh", ()), ("SiLU", ()), ("GELU", ()), ("GELU", ("tanh",))]
)
def test_activations_are_pytorchs(rng, name, args):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, 4, 3)).astype(np.float32)
    same_as_torch(getattr(nn, name)(*args), getattr(torch.nn, name)(*args), x)
    assert repr(getattr(nn, name)(*args)) == repr(getattr(torch.nn, name)(*args))


@pytest.mark.oracle
@pytest.mark.parametrize(
    "args, options",
    [((3,), {}), (([4, 3],), {}), ((3,), {"elementwise_affine": False}), ((3, 0.5), {})],
)
def test_rms_norm_is_pytorchs(rng, args, options):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, 4, 3)).astype(np.float32)
    same_as_torch(nn.RMSNorm(*args, **options), torch.nn.RMSNorm(*args, **options), x)


def test_dropout_drops_its_share_and_the_seed_decides(backend):
    x = backend.tensor(np.ones((40, 50), np.float32), requires_grad=True)
    layer, again, other = nn.Dropout(0.2, rng=0), nn.Dropout(0.2, rng=0), nn.Dropout(0.2, rng=1)
    first, second = (backend.numpy(layer(x)) for _ in range(2))
    assert set(np.unique(first)) == {0, np.float32(1.25)} and abs((first == 0).mean() - 0.2) < 0.05
    assert 0.25 < (first != second).mean() < 0.4  # a new mask: 2 · 0.2 · 0.8
    np.testing.assert_array_equal(backend.numpy(again(x)), first)  # the seed decides
    assert 0.25 < (backend.numpy(other(x)) != first).mean() < 0.4
    assert again.offset == 2000
    layer.offset = 0  # and where it is up to
    np.testing.assert_array_equal(backend.numpy(layer(x)), first)
    y = layer(x)
    y.sum().backward()
    np.testing.assert_array_equal(backend.numpy(x.grad), backend.numpy(y.detach()))

    assert layer.eval() is layer and layer.offset == 4000
    np.testing.assert_array_equal(backend.numpy(layer(x)), 1)
    assert layer.offset == 4000 and layer.state_dict() == {}
    assert repr(layer) == "Dropout(p=0.2)"
    with pytest.raises(ValueError, match="from 0 to 1; got 2"):
        nn.Dropout(2)


def test_a_dropout_counts_on_wherever_it_is_used(backend):
    """Here and on the CPU in turn, and in copies, it goes on as one that stays on the CPU."""
    layer, same = nn.Dropout(0.4, rng=0), nn.Dropout(0.4, rng=0)
    x = np.ones((3, 7), np.float32)
    for i, here in enumerate((True, True, False, True, True, False)):
        if i == 4:
            layer = pickle.loads(pickle.dumps(copy.deepcopy(layer)))
        y = layer(backend.tensor(x) if here else nag.Tensor(x))
        np.testing.assert_array_equal(backend.numpy(y), same(nag.Tensor(x)).data)
        assert type(layer.offset) is int and layer.offset == same.offset
    assert random_state(layer) == {"": [same.seed, same.offset]}


@pytest.mark.oracle
@pytest.mark.parametrize("padding", [None, 2, -2])
def test_embedding_is_pytorchs(rng, padding):
    torch = pytest.importorskip("torch")
    ours, theirs = nn.Embedding(5, 3, padding, rng=rng), torch.nn.Embedding(5, 3, padding)
    if padding is not None:
        assert not ours.weight.data[padding].any()
    theirs.load_state_dict({n: torch.tensor(a) for n, a in ours.state_dict().items()})
    ids = np.array([[3, 2, 3], [0, 3, 3]])
    y, ty = ours(ids), theirs(torch.tensor(ids))
    np.testing.assert_array_equal(y.data, ty.detach().numpy())
    (y * y).sum().backward()
    (ty * ty).sum().backward()
    np.testing.assert_allclose(ours.weight.grad.data, theirs.weight.grad.numpy(), rtol=1e-6)
    assert repr(nn.Embedding(5, 3)) == "Embedding(5, 3)"


def test_crf_learns_which_tags_follow(backend, rng):
    """Emissions say nothing here: 0 1 2 0 1 2 ... is learnt from the transitions alone."""
    layer = nn.CRF(3, rng=0).to(backend.device)
    assert {n: p.shape for n, p in layer.named_parameters()} == {
        "start_transitions": (3,),
        "end_transitions": (3,),
        "transitions": (3, 3),
    }
    assert 0.05 < abs(layer.transitions.data).max() <= 0.1
    tags = np.arange(6)[:, None] % 3 * np.ones(2, int)
    mask = np.arange(6)[:, None] < np.array([6, 4])
    x = backend.array(np.zeros((6, 2, 3), np.float32))
    first = layer(x, backend.array(tags), mask).item()
    for _ in range(60):
        layer.zero_grad()
        layer(x, backend.array(tags), mask).backward()
        for p in layer.parameters():
            p.data -= p.grad.data
    assert layer(x, backend.array(tags), mask).item() < 0.25 * first
    np.testing.assert_array_equal(backend.numpy(layer.decode(x))[:, 0], tags[:, 0])
    np.testing.assert_array_equal(backend.numpy(layer.decode(nag.Tensor(x), mask))[4:, 1], 0)
    assert repr(layer) == "CRF(3)"
    with pytest.raises(ValueError, match="an integer, 1 or more; got 0"):
        nn.CRF(0)


@pytest.mark.oracle
def test_sequential_is_pytorchs(rng):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    ours, theirs = (
        m.Sequential(
            m.Linear(3, 4),
            m.Tanh(),
            m.Sequential(m.LayerNorm(4), m.GELU()),
            m.Dropout(),
            m.Linear(4, 2),
        )
        for m in (nn, torch.nn)
    )
    ours.load_state_dict({n: a.numpy() for n, a in theirs.state_dict().items()})
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    ours.eval(), theirs.eval()
    same_as_torch(ours, theirs, rng.standard_normal((5, 3)).astype(np.float32))

    assert len(ours) == 5 and ours[1] is list(ours)[1] and ours[-1].out_features == 2
    assert len(ours[1:3]) == 2 and ours[1:3][0] is ours[1] and list(nn.Sequential()) == []
    named = nn.Sequential({"first": ours[0], "then": ours[1]})
    assert list(named.state_dict()) == ["first.weight", "first.bias"] and named.then is ours[1]
    x = rng.standard_normal((5, 3)).astype(np.float32)
    np.testing.assert_array_equal(named(x).data, ours[:2](x).data)
    assert repr(nn.Sequential(nn.ReLU())) == "Sequential(\n  (0): ReLU()\n)"
    with pytest.raises(TypeError, match="takes Modules; '1' is a function, tanh"):
        nn.Sequential(nn.ReLU(), nag.tanh)
