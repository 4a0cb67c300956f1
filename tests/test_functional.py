"""nag.functional: the functions that are not in manual/, and how those that are get wrapped."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd.testing import strategies


def test_relu_and_its_slope_of_one_half_at_zero(backend):
    x = backend.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    y = F.relu(x)
    y.sum().backward()
    np.testing.assert_array_equal(backend.numpy(y.detach()), [0, 0, 2])
    np.testing.assert_array_equal(backend.numpy(x.grad), [0, 0.5, 1])
    assert F.relu(backend.tensor([1.0], dtype="float32")).dtype == np.float32


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,), (2, 0, 3)])
@pytest.mark.parametrize("biased", [False, True])
def test_linear_and_its_gradients_are_products(backend, batch, biased):
    rng = np.random.default_rng(0)
    x, W = rng.standard_normal((*batch, 4)), rng.standard_normal((5, 4))
    b, g = rng.standard_normal(5) if biased else None, rng.standard_normal((*batch, 5))
    tx, tW = (backend.tensor(a, requires_grad=True) for a in (x, W))
    tb = backend.tensor(b, requires_grad=True) if biased else None
    y = F.linear(tx, tW, tb)
    y.backward(backend.tensor(g))
    np.testing.assert_allclose(backend.numpy(y.detach()), x @ W.T + (b if biased else 0))
    np.testing.assert_allclose(backend.numpy(tx.grad), g @ W)
    x, g = x.reshape(-1, 4) if x.size else x.reshape(0, 4), g.reshape(x.size // 4, 5)
    np.testing.assert_allclose(backend.numpy(tW.grad), g.T @ x, atol=1e-12)
    if biased:
        np.testing.assert_allclose(backend.numpy(tb.grad), g.sum(axis=0), atol=1e-12)


def test_linear_names_the_shapes():
    with pytest.raises(ValueError, match=r"input \(2, 3\) and weight \(5, 4\)"):
        F.linear(np.ones((2, 3)), np.ones((5, 4)))


def test_embedding_takes_lists_and_tensors(backend):
    table = backend.tensor(np.arange(6.0).reshape(3, 2))
    for ids in ([[2, 0]], backend.tensor([[2, 0]])):
        np.testing.assert_array_equal(backend.numpy(F.embedding(ids, table)), [[[4, 5], [0, 1]]])


CALLS = {
    "softmax": lambda x, i: F.softmax(x, dim=0),
    "log_softmax": lambda x, i: F.log_softmax(x),
    "cross_entropy": lambda x, i: F.cross_entropy(x, i),
    "mse_loss": lambda x, i: F.mse_loss(x, x + 1, "none"),
    "binary_cross_entropy_with_logits": lambda x, i: F.binary_cross_entropy_with_logits(
        x, x, reduction="none"
    ),
    "linear_cross_entropy": lambda x, i: F.linear_cross_entropy(x, x, i),
    "scaled_dot_product_attention": lambda x, i: F.scaled_dot_product_attention(x, x, x),
    "lstm": lambda x, i: F.lstm(x, None, *[nag.concatenate([x] * 4)] * 2, bias=False)[0],
    "gru": lambda x, i: F.gru(x, None, *[nag.concatenate([x] * 3)] * 2, bias=False)[0],
    "rnn": lambda x, i: F.rnn(x, None, x, x, bias=False)[0],
    "relu": lambda x, i: F.relu(x),
    "linear": lambda x, i: F.linear(x, x),
    "gelu": lambda x, i: F.gelu(x),
    "silu": lambda x, i: F.silu(x),
    "layer_norm": lambda x, i: F.layer_norm(x, 3, x[0], x[1]),
    "rms_norm": lambda x, i: F.rms_norm(x, 3, x[0]),
    "dropout": lambda x, i: F.dropout(x, seed=0),
    "crf_log_partition": lambda x, i: F.crf_log_partition(x[:, None], x, x[0], x[1]),
    "crf_loss": lambda x, i: F.crf_loss(x[:, None], i[:, None], x, x[0], x[1], reduction="none"),
    "rotary_embedding": lambda x, i: F.rotary_embedding(x[:, :2]),
    "gaussian_kl_divergence": lambda x, i: F.gaussian_kl_divergence(x, x),
    "embedding": lambda x, i: F.embedding(i, x),
}


@pytest.mark.parametrize("name", CALLS)
def test_arrays_give_arrays_and_tensors_tensors(backend, name):
    x, i = backend.array(np.eye(3)), backend.array([0, 2, 1])
    of_arrays = CALLS[name](x, i)
    assert isinstance(of_arrays, type(x)) or "cross_entropy" in name  # a NumPy scalar
    t = nag.Tensor(x, requires_grad=True)
    of_tensors = CALLS[name](t, i)
    assert isinstance(of_tensors, nag.Tensor) and of_tensors.requires_grad
    np.testing.assert_array_equal(backend.numpy(of_tensors.detach()), backend.numpy(of_arrays))
    with nag.no_grad():
        assert not CALLS[name](t, i).requires_grad


def test_every_public_function_is_called_here():
    assert set(CALLS) == set(F.__all__)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_the_squared_error(backend, dtype, reduction):
    x, y = np.array([[300.0, 1.0], [0.5, -2.0]], dtype), np.array([[1.0, 1.0], [2.0, -1.0]], dtype)
    expected = (x.astype(float) - y) ** 2
    with np.errstate(over="ignore"):
        expected = {"none": expected, "sum": expected.sum(), "mean": expected.mean()}[reduction]
        expected = expected.astype(dtype)
    tx, ty = (backend.tensor(a, requires_grad=True) for a in (x, y))
    with np.errstate(over="ignore"):
        loss = F.mse_loss(tx, ty, reduction)
    assert loss.dtype == dtype
    np.testing.assert_allclose(backend.numpy(loss.detach()), expected, rtol=1e-6)
    (loss * 0.25).sum().backward()
    scale = 0.5 / (4 if reduction == "mean" else 1)
    np.testing.assert_allclose(backend.numpy(tx.grad), scale * (x - y), rtol=1e-3)
    np.testing.assert_allclose(backend.numpy(ty.grad), scale * (y - x), rtol=1e-3)


def test_a_squared_error_is_of_two_alike():
    for shapes in (((3,), (3, 1)), ((2, 3), (3,)), ((2,), ())):
        with pytest.raises(ValueError, match=r"one shape; got input .*target.reshape"):
            F.mse_loss(*map(np.ones, shapes))
    for x, y in (
        (np.ones(2, int), np.ones(2)),
        (np.ones(2), np.ones(2) > 0),
        (np.ones(2), [1j, 2]),
    ):
        with pytest.raises(TypeError, match="input must be floating, and target real numbers"):
            F.mse_loss(x, y)
    with pytest.raises(ValueError, match="reduction must be 'none', 'mean' or 'sum'; got 'avg'"):
        F.mse_loss(np.ones(2), np.ones(2), "avg")
    assert F.mse_loss(np.ones(2), [1, 3]) == 2


BCE = F.binary_cross_entropy_with_logits


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@given(st.data())
def test_binary_cross_entropy_is_that_of_pytorch(dtype, reduction, data):
    torch = pytest.importorskip("torch")
    shape = data.draw(strategies.shapes(min_side=reduction == "mean"))
    x = data.draw(strategies.arrays(shape, -30.0, 30.0)).astype(dtype)
    y = data.draw(st.sampled_from([np.float64(x > 0), np.float64(x < 0), 1 / (1 + abs(x))]))
    w, p = (data.draw(st.none() | strategies.arrays(shape[-1:], 0.2, 3.0)) for _ in range(2))
    xs = [a if a is None else a.astype(dtype) for a in (x, y, w, p)]
    ours = [a if a is None else nag.Tensor(a, requires_grad=True) for a in xs]
    theirs = [a if a is None else torch.tensor(a, requires_grad=i < 2) for i, a in enumerate(xs)]
    loss = BCE(*ours[:3], pos_weight=ours[3], reduction=reduction)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        *theirs[:3], pos_weight=theirs[3], reduction=reduction
    )
    rtol, atol = (1e-5, 1e-4) if dtype == "float32" else (1e-10, 1e-11)
    np.testing.assert_allclose(loss.tolist(), expected.tolist(), rtol, atol)
    assert loss.dtype == dtype
    layer = nag.nn.BCEWithLogitsLoss(w, pos_weight=p, reduction=reduction)
    np.testing.assert_array_equal(layer(*ours[:2]).detach(), loss.detach())
    loss.sum().backward()
    expected.sum().backward()
    for a, b in zip(ours[:2], theirs):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_binary_cross_entropy_has_no_score_too_large_and_its_digits_at_small_losses(backend, dtype):
    x = backend.tensor(np.array([-1e4, 1e4, -1e4, 1e4, 0.0], dtype), requires_grad=True)
    loss = BCE(x, [0, 1, 1, 0, 0.5], reduction="none")
    assert loss.dtype == dtype
    expected = np.array([0, 0, 1e4, 1e4, np.log(2.0)]).astype(dtype)
    np.testing.assert_allclose(backend.numpy(loss.detach()), expected, rtol=1e-6)
    loss.sum().backward()
    np.testing.assert_array_equal(backend.numpy(x.grad), [0, 0, -1, 1, 0])
    small = backend.tensor(np.array([-9.0, 9.0], dtype))
    found = backend.numpy(BCE(small, [0, 1], reduction="none"))
    np.testing.assert_allclose(
        found, np.log1p(np.exp(-9.0)), rtol=2e-3 if dtype == "float16" else 1e-6
    )
    assert np.isnan(BCE(np.array([np.nan, 1.0]), [1, 1]))


@pytest.mark.parametrize("labels", [[True, False], [1, 0], np.array([1, 0], np.int8), [1.0, 0.0]])
def test_labels_of_binary_cross_entropy_keep_the_dtype_of_the_scores(backend, labels):
    x = np.array([0.5, 2.0], np.float32)
    labels = backend.array(labels) if isinstance(labels, np.ndarray) else labels
    loss = BCE(backend.tensor(x), labels)
    assert loss.dtype == np.float32
    expected = (np.log1p(np.exp(-0.5)) + np.log1p(np.exp(2.0))) / 2
    np.testing.assert_allclose(backend.numpy(loss), expected, rtol=1e-6)


def test_what_binary_cross_entropy_refuses(backend):
    ones = lambda *shape: backend.array(np.ones(shape))  # noqa: E731
    for shapes in (((3, 1), (3,)), ((3,), (3, 1)), ((2, 3), (3,)), ((2,), ())):
        for loss in (BCE, nag.nn.BCEWithLogitsLoss()):
            with pytest.raises(ValueError, match=r"one shape; got input .*target.reshape"):
                loss(*(ones(*shape) for shape in shapes))
    for target, got in ((2.0, "1 to 2"), (-1.0, "-1 to 1"), (1.5, "1 to 1.5")):
        with pytest.raises(ValueError, match=f"0 or 1, or a probability between; got {got}"):
            BCE(ones(2), backend.array([1.0, target]))
    for weights in ({"weight": ones(3)}, {"pos_weight": ones(2, 2)}, {"weight": ones(2, 1)}):
        with pytest.raises(ValueError, match=r"must broadcast to the shape of input, \(2,\); got"):
            BCE(ones(2), ones(2), **weights)
    for x, y, w in (([1, 0], [1, 0], None), ([1.0], [1j], None), ([1.0], [1.0], [1j])):
        x, y = np.array(x), np.array(y)
        with pytest.raises(TypeError, match="floating|real numbers"):
            BCE(x, y, w)
    with pytest.raises(ValueError, match="reduction must be 'none', 'mean' or 'sum'; got 'avg'"):
        BCE(ones(2), ones(2), reduction="avg")
    with pytest.raises(ValueError, match="BCEWithLogitsLoss: reduction must be"):
        nag.nn.BCEWithLogitsLoss(reduction="avg")
    with pytest.raises(nag.GraphError, match="would lose the gradient"):
        nag.nn.BCEWithLogitsLoss(pos_weight=nag.Tensor([1.0], requires_grad=True))
    layer = nag.nn.BCEWithLogitsLoss([1.0, 2.0], pos_weight=[3.0], reduction="sum")
    assert repr(layer) == (
        "BCEWithLogitsLoss(weight=[1.0, 2.0], pos_weight=[3.0], reduction='sum')"
    )


def test_losses_as_layers():
    x, i = np.eye(3) + 0.5, np.array([0, 2, 1])
    weight = np.array([1.0, 2.0, 0.5])
    loss = nag.nn.CrossEntropyLoss(weight, ignore_index=2, reduction="sum", label_smoothing=0.1)
    assert loss(x, i) == F.cross_entropy(
        x, i, weight, ignore_index=2, reduction="sum", label_smoothing=0.1
    )
    assert nag.nn.CrossEntropyLoss()(x, i) == F.cross_entropy(x, i)
    assert nag.nn.MSELoss()(x, 2 * x) == F.mse_loss(x, 2 * x)
    assert nag.nn.MSELoss("none")(x, 2 * x).tolist() == (x * x).tolist()
    assert repr(nag.nn.MSELoss()) == "MSELoss(reduction='mean')"
    assert repr(loss).startswith("CrossEntropyLoss(weight=[1.0, 2.0, 0.5], ignore_index=2, ")
    with pytest.raises(ValueError, match="MSELoss: reduction must be"):
        nag.nn.MSELoss("avg")
    with pytest.raises(nag.GraphError, match="would lose the gradient"):
        nag.nn.CrossEntropyLoss(nag.Tensor(weight, requires_grad=True))
