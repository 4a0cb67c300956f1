"""Programs that are easy to get wrong, each with its right result."""

import pickle
import threading

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd import functional as F


def leaf(x):
    return nag.Tensor(np.array(x, dtype=float), requires_grad=True)


# ---- transforms of functions that assign


def test_a_function_that_writes_into_its_argument():
    def f(x):
        x *= 2
        return (x * x * x).sum()  # 8 x³

    for x in (np.ones(2), nag.Tensor(np.ones(2)), leaf(np.ones(2))):
        assert nag.grad(f)(x).tolist() == [24, 24]
        assert nag.hessian(f)(x).tolist() == [[48, 0], [0, 48]]
        assert nag.hvp(f, (x,), (np.ones(2),))[0].tolist() == [48, 48]
        assert x.tolist() == [1, 1]  # the caller's array is the caller's
    weights = {"w": leaf([1.0, 2.0])}

    def g(p):
        p["w"] += 1
        return (p["w"] ** 2).sum()

    assert nag.grad(g)(weights)["w"].tolist() == [4, 6]
    assert weights["w"].tolist() == [1, 2]


def test_a_function_that_returns_what_was_written_behind_its_back():
    def f(x):
        y = x * 1.0
        y[0][0] = x[1, 1] * 7  # into a view of y
        return y

    for transform in (
        lambda: nag.vjp(f, np.ones((2, 2))),
        lambda: nag.jacobian(f)(np.ones((2, 2))),
        lambda: nag.jvp(f, (np.ones((2, 2)),), (np.ones((2, 2)),)),
    ):
        with pytest.raises(nag.GraphError, match="shares memory"):
            transform()


def test_a_function_that_does_not_depend_on_its_argument():
    for constant in (np.array(3.0), np.float64(3.0), nag.Tensor(3.0)):
        assert nag.grad(lambda x: constant)(np.ones(2)).tolist() == [0, 0]
    d = nag.grad(lambda x, y: x.sum(), (0, 1))(np.ones(2), np.array([np.inf, 1]))
    assert d[1].tolist() == [0, 0]


def test_tangents_of_other_shapes_are_refused():
    with pytest.raises(nag.ShapeError, match=r"\(1,\).*\(3,\)"):
        nag.hvp(lambda x: (x * x).sum(), (np.ones(3),), (np.ones(1),))
    with pytest.raises(nag.ShapeError, match="hvp"):
        nag.hvp(lambda x: (x * x).sum(), (np.ones(3),), (np.ones(3), np.ones(3)))


# ---- memory


@pytest.mark.parametrize(
    "call",
    [
        lambda x, a: F.rnn(a[:, None], None, x[:, :2], x, bias=False)[0],
        lambda x, a: F.scaled_dot_product_attention(x[:, :2], a, a),
        lambda x, a: F.cross_entropy(x, np.array([0, 1, 2]), weight=a[:, 0] ** 2),
    ],
)
def test_a_batch_that_is_reused_before_the_walk(call):
    # What a hand-derived operation keeps of an array is a copy of it.
    gradients = []
    for overwrite in (False, True):
        x, a = leaf(np.linspace(-1, 1, 9).reshape(3, 3)), np.linspace(1, 2, 6).reshape(3, 2)
        y = call(x, a)
        if overwrite:
            a[...] = 0
        (y * 2).sum().backward()
        gradients.append(x.grad.numpy())
    assert gradients[0].tolist() == gradients[1].tolist() and gradients[0].any()


def test_replaced_data_keeps_the_dtype_and_its_gradient():
    x = leaf([1.0, 2.0])
    y = (x * 2).sum()
    x.data = [1, 2]  # keeps its dtype
    assert x.dtype == float
    with pytest.raises(TypeError, match="floating-point"):
        x.data = np.array([1, 2])
    x.data = np.ones(3)
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3, 3, 3]
    with pytest.warns(UserWarning, match="whose data was replaced"):
        y.backward()  # of the old x, which nobody can ask any more
    assert x.grad.tolist() == [3, 3, 3]


@pytest.mark.parametrize("share", [lambda b: b, lambda b: b.detach()])
def test_data_shared_between_tensors_is_watched(share):
    a, b = leaf([1.0, 2.0]), leaf([5.0, 6.0])
    y = (b * b).sum()
    a.data = share(b)
    with nag.no_grad():
        a += 1
    with pytest.raises(nag.GraphError, match="multiply needs"):
        y.backward()


def test_data_from_an_array_is_a_copy():
    a, b = leaf([1.0, 2.0]), np.array([5.0, 6.0])
    a.data = b
    b[:] = 0
    assert a.tolist() == [5, 6]


@pytest.mark.parametrize(
    "copied",
    [
        lambda x: x.astype(float),
        lambda x: np.take(x, 0, axis=0),
        lambda x: np.prod(x, axis=2),
        lambda x: np.pad(x, 0, mode="edge"),
        lambda x: np.tile(x, 1),
        lambda x: np.repeat(x, 1),
    ],
)
def test_what_is_a_copy_in_numpy_is_one_here(copied):
    x = nag.Tensor(np.ones((2, 3, 1)))
    y = copied(x)
    y[...] = 9
    assert (x.numpy() == 1).all()


def test_a_failed_assignment_changes_nothing():
    x = leaf([1.0, 2.0])
    y = x * x
    with pytest.raises(ValueError):
        y[0] = np.ones(7)
    y.sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_an_assigned_value_may_have_more_axes_of_length_1():
    x, v = leaf(np.zeros((2, 3))), leaf(np.ones((1, 3)))
    y = x * 1
    y[0] = v
    (y + nag.index_put(x, 1, v)).sum().backward()
    assert v.grad.shape == (1, 3) and v.grad.tolist() == [[2, 2, 2]]


def test_assignment_into_a_0_d_tensor():
    x, v = leaf([1.0, 2.0]), leaf(3.0)
    y = x[0] * 2
    y *= 3.0
    z = x.sum()
    z[()] = v * v
    (y + z).backward()
    assert x.grad.tolist() == [6, 0] and v.grad.tolist() == 6


def test_gradients_are_arrays_of_their_own_with_create_graph_too():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    gx, gy = nag.autograd.grad((x + y).sum(), [x, y], create_graph=True)
    gx.detach().data[...] = 7
    assert gy.tolist() == [1, 1]
    g = nag.grad(lambda t: t.sum())(x)
    g.detach().data[...] = 7  # no read-only view either


# ---- threads


def test_walks_of_many_threads_that_meet_in_one_leaf(monkeypatch):
    import sys

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        x = leaf(1.0)
        threads = [
            threading.Thread(target=lambda: [(x * 1).backward() for _ in range(200)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert x.grad.item() == 800


def test_one_no_grad_object_in_two_threads():
    block, errors = nag.no_grad(), []
    both = threading.Barrier(2)

    def work():
        try:
            with block:
                both.wait(10)
                assert not nag.is_grad_enabled()
                both.wait(10)
            assert nag.is_grad_enabled()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


# ---- values


def test_logsumexp_of_nan_and_infinities():
    assert np.isnan(nag.logsumexp(np.array([np.nan, 1.0])))
    assert nag.logsumexp(np.array([-np.inf, -np.inf])) == -np.inf
    with np.errstate(invalid="ignore"):
        assert nag.logsumexp(np.array([np.inf, 1.0])) == np.inf


def test_integers_as_in_numpy():
    a = np.full((2, 3), 100, np.int8)
    t = nag.Tensor(a)
    assert nag.norm(t).item() == np.linalg.norm(a)
    for dtype in (np.int8, np.int32, np.uint8, bool):
        a = np.full(6, 100).astype(dtype)
        assert nag.prod(nag.Tensor(a)).dtype == np.prod(a).dtype
        assert nag.prod(nag.Tensor(a)).item() == np.prod(a)
    t = nag.Tensor([6, 5])
    assert (t & 3).tolist() == [2, 1] and (t | 1).tolist() == [7, 5]
    assert (t ^ 1).tolist() == [7, 4] and (~t).tolist() == [-7, -6]
    assert (~(t > 5)).tolist() == [False, True]


def test_norms_have_the_slope_0_at_0():
    for order in (None, 1, 2, 3, 2.5, np.inf):
        x = leaf(np.zeros(3))
        nag.norm(x, order).backward()
        assert x.grad.tolist() == [0, 0, 0], order


def test_var_and_std_of_too_few_as_in_numpy():
    a = np.array([1.0, 3.0])
    with np.errstate(all="ignore"):
        for ddof in (2, 3):
            assert nag.var(leaf(a), ddof=ddof).item() == np.inf
            assert nag.std(leaf(a), ddof=ddof).item() == np.inf


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("kind", [np.matrix, np.ma.masked_array])
def test_arrays_with_a_meaning_of_their_own_are_refused(kind):
    other = kind([[1.0, 2.0]])
    for call in (lambda: leaf([[1.0], [2.0]]) * other, lambda: other * leaf([[1.0], [2.0]])):
        with pytest.raises((TypeError, nag.GraphError), match="np.asarray|detach"):
            call()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16])
def test_rows_named_by_small_integers(dtype):
    x = leaf(np.ones((128, 3)))
    x[np.array([1, 2, 2], dtype)].sum().backward()
    assert x.grad.numpy()[:4, 0].tolist() == [0, 1, 2, 0]


def test_einsum_of_index_lists_orders_the_axes_as_numpy():
    a = np.arange(12.0).reshape(3, 4)
    for lists in ([26, 0], [0, 26], [51, 25], [1, 0]):
        np.testing.assert_array_equal(
            nag.einsum(leaf(a), lists).detach().numpy(), np.einsum(a, lists)
        )


def test_einsum_of_lengths_0_and_1():
    a, b, c = leaf(np.ones(2)), leaf(np.ones((0, 3))), leaf(np.ones(1))
    y = nag.einsum("j,il,i->j", a, b, c)
    assert y.tolist() == np.einsum("j,il,i->j", np.ones(2), np.ones((0, 3)), np.ones(1)).tolist()
    y.sum().backward()
    assert c.grad.shape == (1,)


def test_0_d_arrays_have_the_axis_0_in_reductions():
    x = leaf(3.0)
    for f in (np.sum, np.max, np.prod):
        assert f(x, axis=0).item() == 3
        f(x, axis=-1).backward()


# ---- gradients that would be lost


def test_a_gradient_is_not_lost_in_a_conversion():
    t, a = leaf(2.0) * 1, np.zeros(2)
    for convert in (
        lambda: nag.Tensor(t),
        lambda: float(t),
        lambda: int(t),
        lambda: a.__setitem__(0, t),
        lambda: np.float64(t),
    ):
        with pytest.raises(
            (nag.GraphError, TypeError, ValueError), match="detach|item|real|element"
        ):
            convert()
    assert t.item() == 2 and float(t.detach()) == 2


def test_a_leaf_that_is_frozen_and_thawed_is_the_same_leaf():
    x = leaf([1.0, 2.0])
    y = (x * 3).sum()
    x.requires_grad = False
    assert not (x * 3).requires_grad
    x.requires_grad = True
    y.backward()
    assert x.grad.tolist() == [3, 3]


def test_an_assigned_nan_is_an_anomaly():
    y = leaf([1.0, 2.0]) * 1
    with nag.detect_anomaly():
        with pytest.raises(nag.AnomalyError, match="assignment.*NaN.*test_surprises"):
            y[1] = np.nan


def test_leaves_are_pickled_and_computed_tensors_refused():
    t = pickle.loads(pickle.dumps(leaf([1.0, 2.0])))
    assert t.requires_grad and t.tolist() == [1, 2]
    with pytest.raises(nag.GraphError, match="detach"):
        pickle.dumps(t * 2)


@pytest.mark.oracle
def test_torch_gets_a_copy_of_what_is_read_backwards():
    torch = pytest.importorskip("torch")
    assert torch.from_dlpack(nag.flip(nag.Tensor([1.0, 2.0]))).tolist() == [2, 1]


@pytest.mark.parametrize("with_needs", [False, True])
def test_a_backward_that_writes_into_what_it_was_given(with_needs):
    def overwrites(dy, cache, needs=None):
        dy *= 2
        return (dy,)

    def empties(dy, cache, needs=None):
        cache[0][...] = 0
        return (2 * dy,)

    for backward in (overwrites, empties):
        given = backward if with_needs else lambda dy, cache: backward(dy, cache)
        double = nag.custom_vjp("double", lambda a: (a * 2, [a]), given, lambda a: a * 2)
        w = nag.Tensor(np.ones(3), requires_grad=True)
        y = w * 1.0
        loss = ((double(y) + y) * np.arange(3.0)).sum()  # one array arrives at both terms
        with pytest.raises(TypeError, match=r"backward of double wrote into .* shape \(3,\)"):
            loss.backward()
        assert w.grad is None


def test_a_rule_that_writes_into_what_it_was_given():
    """Another term has the same g, and what was saved of an argument is that argument."""

    def overwrites(g, a):
        g *= 2
        return g

    def empties(g, a):
        a *= 0
        return 2 * g

    for rule in (overwrites, empties):

        @nag.function
        def double(a):
            return a * 2

        double.defvjp(a=rule)
        w = nag.Tensor(np.ones(3), requires_grad=True)
        y = w * 1.0
        loss = ((double(y) + y) * np.arange(3.0)).sum()
        with pytest.raises(TypeError, match=r"the rule of double for 'a' wrote into .* \(3,\)"):
            loss.backward()
        assert w.grad is None
