"""The backward walk: right sums, one visit a node, no recursion, no cycles, no leaks."""

import gc
import tracemalloc
from functools import wraps

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd.core.backward import topological_order
from nanoautograd.manual import softmax


def leaf(x, backend):
    return backend.tensor(np.array(x, dtype=float), requires_grad=True)


# ---- sums


def test_a_gradient_that_arrives_twice_is_not_aliased(backend):
    # y feeds two operations of which one hands its gradient on unchanged: storing that array and
    # adding into it later would corrupt the other. (Several engines give 6 for y here.)
    x, y = leaf([1.0], backend), leaf([1.0], backend)
    (x * 5 + (x + y)).sum().backward()
    assert backend.numpy(x.grad) == 6
    assert backend.numpy(y.grad) == 1


def test_gradients_of_two_leaves_are_two_arrays(backend):
    x, y = leaf(np.ones(3), backend), leaf(np.ones(3), backend)
    (x + y).sum().backward()
    x.grad.data *= 10
    assert backend.numpy(y.grad).tolist() == [1, 1, 1]


def test_the_given_gradient_is_neither_kept_nor_changed(backend):
    x = leaf(np.ones(3), backend)
    g = backend.array(np.array([1.0, 2.0, 3.0]))
    x.backward(g)
    (x + x).backward(g)
    assert backend.numpy(g).tolist() == [1, 2, 3]
    assert backend.numpy(x.grad).tolist() == [3, 6, 9]
    x.grad.data *= 0
    assert backend.numpy(g).tolist() == [1, 2, 3]


def gives_saved_values():
    """Operations whose rules return, against what is asked of them, something that was saved."""
    several = nag.function(lambda *arrays: (arrays[0] * arrays[1]).sum())
    several.defvjp(arrays=lambda g, arrays: [arrays[1], arrays[0]])
    two = nag.function(lambda x, y: (x * 1.0, y * 1.0))
    two.defvjp(x=lambda g, out: out[0], y=lambda g, out: out[1])
    kept = nag.function(lambda x, y: x + y)
    kept.defvjp(x=lambda g, x: x, y=lambda g, y: y)
    by_hand = nag.custom_vjp(
        "by_hand",
        lambda x, y: (x + y, {"x": x, "more": [y]}),
        lambda g, cache, needs=None: (cache["x"], cache["more"][0]),
        lambda x, y: x + y,
    )
    return several, two, kept, by_hand


@pytest.mark.parametrize("number", range(4))
def test_saved_values_that_a_rule_returns_are_not_given_away(number):
    f = gives_saved_values()[number]
    x, y = nag.Tensor([1.0, 2.0], requires_grad=True), nag.Tensor([3.0, 4.0], requires_grad=True)
    z = f(x, y)
    results = z if isinstance(z, tuple) else (z,)
    total = results[0].sum() + results[-1].sum()
    total.backward(retain_graph=True)
    total.backward(retain_graph=True)
    for t in (x, y):
        t.grad.data[...] = 99
    assert x.tolist() == [1, 2] and y.tolist() == [3, 4]
    x.grad = y.grad = None
    total.backward()
    assert 99 not in x.grad.tolist() + y.grad.tolist()


def test_a_constant_that_a_rule_returns_is_not_added_into():
    constant = np.array([3.0, 4.0])
    f = nag.function(lambda x: (x * constant).sum())
    f.defvjp(x=lambda g: constant)
    x = nag.Tensor([1.0, 2.0], requires_grad=True)
    (f(x) + f(x)).backward()
    assert constant.tolist() == [3, 4] and x.grad.tolist() == [6, 8]


def test_a_rule_that_returns_an_array_with_create_graph():
    @nag.function
    def total(x):
        return x.sum()

    total.defvjp(x=lambda g, x_shape: np.full(x_shape, float(g.item())))
    x = nag.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    (g,) = nag.autograd.grad(total(x[:2]) + (x**2).sum(), x, create_graph=True)
    assert g.tolist() == [3, 5, 6]
    assert nag.autograd.grad(g.sum(), x)[0].tolist() == [2, 2, 2]


def test_a_gradient_that_goes_two_ways_at_every_block(backend):
    # h = h + f(h) over and over: the same gradient goes two ways at every block.
    x = leaf([0.3, -0.2], backend)
    h = x
    for _ in range(5):
        h = h + nag.tanh(h)
    h.sum().backward()
    n, d = np.array([0.3, -0.2]), np.ones(2)
    for _ in range(5):
        d = d * (1 + 1 - np.tanh(n) ** 2)
        n = n + np.tanh(n)
    np.testing.assert_allclose(backend.numpy(x.grad), d, rtol=1e-14)


def test_backward_adds_to_grad_and_earlier_readings_stay(backend):
    x = leaf([1.0, 2.0], backend)
    (x * x).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert backend.numpy(first).tolist() == [2, 4]
    assert backend.numpy(x.grad).tolist() == [4, 8]


def test_many_reads_of_one_array_cost_one_array(backend):
    # T slices of x, as a recurrent network reads its input. With a dense gradient for each, the
    # peak would be T times as high.
    T, n = 200, 1000
    x = leaf(np.ones((T, n)), backend)
    y = x[0]
    for t in range(1, T):
        y = y + x[t]
    tracemalloc.start()
    y.sum().backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert backend.numpy(x.grad).tolist() == np.ones((T, n)).tolist()
    assert peak < 4 * x.data.nbytes


def test_the_gradient_has_the_dtype_and_shape_of_its_tensor(backend):
    x = backend.tensor(np.ones((3, 1), np.float32), requires_grad=True)
    y = backend.tensor(np.ones((1, 4), np.float32), requires_grad=True)
    (2.0 * x * y / 3 + 1.5 - 0.1 * y**2).sum().backward()
    assert x.grad.shape == (3, 1) and x.grad.dtype == np.float32
    assert y.grad.shape == (1, 4) and y.grad.dtype == np.float32


def test_mixed_precision_comes_back_in_each_ones_dtype(backend):
    with backend.allow_promotion():
        x = backend.tensor(np.ones(3, np.float32), requires_grad=True)
        y = backend.tensor(np.ones(3), requires_grad=True)
        z = x * y
        assert z.dtype == np.float64
        z.sum().backward()
        assert x.grad.dtype == np.float32 and y.grad.dtype == np.float64


# ---- size and depth


def test_a_chain_of_100_000_operations():
    x = nag.Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(50_000):
        y = y * 1.0
        y = y + 0.0
    y.backward()
    assert x.grad.item() == 1


def test_a_chain_of_100_000_operations_is_dropped_without_a_walk():
    y = nag.Tensor(1.0, requires_grad=True)
    for _ in range(100_000):
        y = y + 0.0
    del y  # freeing must not recurse either


def test_a_ladder_of_10_000_diamonds_visits_each_node_once():
    # 2^10000 paths lead from the top to the bottom.
    x = nag.Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(10_000):
        y = y * 0.5 + y * 0.5
    assert len(topological_order([y._edge])) == 30_001
    y.backward()
    assert x.grad.item() == 1


class Counting:
    """A node that counts how often it is asked for its parents."""

    made = 0

    def __init__(self, *parents):
        self._parents, self.reads = parents, 0
        Counting.made = self.number = Counting.made + 1

    @property
    def parents(self):
        self.reads += 1
        return self._parents


@pytest.mark.parametrize("n", [100, 1000])
def test_the_walks_order_takes_steps_in_proportion_to_the_size(n):
    node = bottom = Counting()
    nodes = [bottom]
    for _ in range(n):
        left, right = Counting((node, 0)), Counting((node, 0), None)
        node = Counting((left, 0), (right, 0))
        nodes += [left, right, node]
    order = topological_order([(node, 0)])
    assert len(order) == len(nodes) == 3 * n + 1
    assert [node.reads for node in nodes] == [1] * len(nodes)
    position = {node: i for i, node in enumerate(order)}
    assert all(
        position[node] < position[parent]
        for node in nodes
        for edge in node._parents
        if edge
        for parent in edge[:1]
    )


KEPT = np.full((100, 100), 2.0)  # more than LARGE numbers


def _of_a_user(kind):
    """An operation with the gradient KEPT."""

    def weighted(a):
        return (a * KEPT).sum()

    def rule(g):
        return KEPT

    def backward(dy, cache):
        return (KEPT,)

    if kind == "custom VJP":
        return nag.custom_vjp(
            "f", lambda a: (weighted(a), None), backward, lambda a: nag.sum(a * KEPT)
        )
    if kind in ("backward of a user", "form of a user"):
        f, b, r = softmax.forward, softmax.backward, softmax.reference
        operation = nag.custom_vjp("f", f, b if kind == "form of a user" else backward, r)
        if kind == "form of a user":
            operation.cpu = operation.form(f, backward)
        return operation
    if kind == "of no module":
        weighted.__module__ = rule.__module__ = None
    if kind == "named as one of the package":
        weighted, rule = map(wraps(nag.negative.__wrapped__), (weighted, rule))
        rule.__wrapped__ = lambda g: None
    if kind == "rule of a user":
        weighted = nag.negative.__wrapped__
    return nag.function(weighted).defvjp(rule)


@pytest.mark.parametrize(
    "kind",
    [
        "primitive",
        "custom VJP",
        "of no module",
        "named as one of the package",
        "rule of a user",
        "backward of a user",
        "form of a user",
    ],
)
def test_a_gradient_that_a_users_rule_keeps_is_not_given_away(kind):
    f, w = _of_a_user(kind), nag.Tensor(np.ones(KEPT.shape), requires_grad=True)
    f(w).sum().backward()
    assert not np.shares_memory(w.grad.numpy(), KEPT)
    with nag.no_grad():
        w.grad *= 0.5
    f(w).sum().backward()
    assert (KEPT == 2).all() and (w.grad.numpy() == 3).all()


# ---- memory


def train(steps, model):
    for _ in range(steps):
        w, x = model
        loss = (nag.tanh(x @ w) @ w).sum() + nag.sort(nag.concatenate([w[0], w[1]])).sum()
        a, _ = nag.split(nag.tanh(loss) * w, 2, axis=0)
        loss = loss + a.sum() + nag.functional.log_softmax(x @ w).sum()
        loss.backward()
        w.data -= 1e-6 * w.grad.data
        w.grad = None


def test_100_training_steps_leave_no_cycles_and_constant_memory():
    w = nag.Tensor(np.full((20, 20), 0.01), requires_grad=True)
    model = w, nag.Tensor(np.ones((50, 20)))
    train(5, model)
    gc.collect()
    gc.disable()
    try:
        tracemalloc.start()
        train(800, model)  # until the free lists of Python and NumPy are full
        before = tracemalloc.get_traced_memory()[0]
        train(100, model)
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert gc.collect() == 0
    finally:
        gc.enable()
    assert after - before < 10_000  # bytes; one forgotten step would hold 50,000


def test_saved_values_are_freed_during_the_walk():
    # Each tanh keeps its result. If the walk held on to them all, and to all gradients, the peak
    # would be twice what the forward pass holds.
    x = nag.Tensor(np.ones(100_000), requires_grad=True)
    y = x
    for _ in range(20):
        y = nag.tanh(y)
    y = y.sum()
    tracemalloc.start()
    y.backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * x.data.nbytes


def test_only_the_gradients_that_are_needed_are_computed():
    calls = []

    @nag.function
    def product(a, b):
        return a * b

    product.defvjp(
        a=lambda g, b: calls.append("a") or g * b, b=lambda g, a: calls.append("b") or g * a
    )
    a, b = nag.Tensor(2.0, requires_grad=True), nag.Tensor(3.0)
    y = product(a, b)
    assert [kept[0] for kept in y._edge[0].saved] == [3]  # and only what they read is saved
    y.backward()
    assert calls == ["a"] and a.grad.item() == 3


def test_grad_walks_only_towards_what_is_wanted():
    calls = []

    @nag.function
    def same(a):
        return a + 0

    same.defvjp(a=lambda g: calls.append(1) or g)
    x, other = nag.Tensor(2.0, requires_grad=True), nag.Tensor(3.0, requires_grad=True)
    middle = x * x
    y = same(other) + middle * 2
    assert nag.autograd.grad(y, middle)[0].item() == 2
    assert not calls and other.grad is None


# ---- several outputs, several walks


def test_an_output_of_several_can_be_dropped(backend):
    x = leaf(np.arange(6.0), backend)
    first, _, last = nag.split(x, 3)
    del first, _
    (last * last).sum().backward()
    assert backend.numpy(x.grad).tolist() == [0, 0, 0, 0, 8, 10]


def test_an_output_of_several_can_be_dropped_at_second_order(backend):
    x = leaf(np.arange(6.0), backend)
    _, last = nag.split(x**3, 2)
    (g,) = nag.autograd.grad(last.sum(), x, create_graph=True)
    (h,) = nag.autograd.grad(g.sum(), x)
    assert backend.numpy(h).tolist() == [0, 0, 0, 18, 24, 30]


def test_two_walks_need_retain_graph():
    x = nag.Tensor(2.0, requires_grad=True)
    y = (x * x).exp()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.item(), 2 * 4 * np.exp(4))
    with pytest.raises(nag.GraphError, match=r"freed .* at exp.*retain_graph=True"):
        y.backward()


def test_two_walks_of_an_operation_that_keeps_nothing_need_it_too():
    x = nag.Tensor(2.0, requires_grad=True)
    y = x + 1
    y.backward()
    with pytest.raises(nag.GraphError, match="retain_graph=True"):
        y.backward()


def test_a_failing_walk_changes_no_gradient():
    x, w = nag.Tensor([1.0, 2.0], requires_grad=True), nag.Tensor([3.0, 4.0], requires_grad=True)
    early = x.exp()
    y = (w + early * 2).sum()
    early[0] = 5.0
    with pytest.raises(nag.GraphError, match="exp"):
        y.backward()
    assert w.grad is None and x.grad is None


def test_grad_with_create_graph_leaves_no_cycles():
    gc.collect()
    gc.disable()
    try:
        x = nag.Tensor(np.ones(3), requires_grad=True)
        y = nag.functional.softmax(x.exp() * x).std()
        (g,) = nag.autograd.grad(y, x, create_graph=True)
        nag.autograd.grad((g * g).sum(), x)
        del x, y, g
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_create_graph_within_no_grad():
    x = nag.Tensor(3.0, requires_grad=True)
    y = x**3
    with nag.no_grad():
        (g,) = nag.autograd.grad(y, x, create_graph=True)
    (h,) = nag.autograd.grad(g, x)
    assert h.item() == 18


def test_one_tensor_as_two_arguments(backend):
    x = leaf([2.0, 3.0], backend)
    (g,) = nag.autograd.grad((x * x * x).sum(), x, create_graph=True)
    (h,) = nag.autograd.grad(g.sum(), x, create_graph=True)
    (i,) = nag.autograd.grad(h.sum(), x)
    assert backend.numpy(g).tolist() == [12, 27]
    assert backend.numpy(h).tolist() == [12, 18]
    assert backend.numpy(i).tolist() == [6, 6]


def test_an_input_computed_from_another_input():
    # By hand, q and k get gradients of their own, also at higher order, where k depends on q.
    q = nag.Tensor(np.random.default_rng(0).normal(size=(3, 2)))

    def f(q):
        k = nag.tanh(q)
        return nag.functional.scaled_dot_product_attention(q, k, q * k).sum()

    analytic = nag.grad(lambda q: (nag.grad(f)(q) ** 2).sum())(q)
    d = np.random.default_rng(1).normal(size=(3, 2))
    h = 1e-5
    slopes = [(nag.grad(f)(q.numpy() + s * h * d).numpy() ** 2).sum() for s in (1, -1)]
    np.testing.assert_allclose(
        (analytic.numpy() * d).sum(), (slopes[0] - slopes[1]) / (2 * h), rtol=1e-8
    )


# ---- errors


def test_backward_of_a_constant():
    with pytest.raises(nag.GraphError, match="does not depend on any Tensor with requires_grad"):
        nag.Tensor(1.0).backward()


def test_backward_of_what_is_no_scalar_needs_a_gradient():
    x = nag.Tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(nag.ShapeError, match=r"shape \(2, 3\).*scalar"):
        (x * 2).backward()
    with pytest.raises(nag.ShapeError, match=r"shape \(3,\).*shape \(2, 3\)"):
        (x * 2).backward(np.ones(3))
    assert x.grad is None


def test_shapes_that_do_not_broadcast(backend):
    x = leaf(np.ones((2, 3)), backend)
    for f, name in [
        (lambda y: x + y, "add"),
        (lambda y: x / y, "divide"),
        (lambda y: nag.where(x > 0, x, y), "where"),
        (lambda y: x**y, "power"),
    ]:
        with pytest.raises(ValueError, match=name + r": the shapes .*\(2, 3\), \(4,\).* or 1"):
            f(leaf(np.ones(4), backend))


def test_an_operations_own_message_stays(backend):
    q, k = leaf(np.ones((2, 3, 4)), backend), leaf(np.ones((5, 3, 4)), backend)
    with pytest.raises(ValueError, match="attention: the batch axes do not broadcast; got q"):
        nag.functional.scaled_dot_product_attention(q, k, k)


@pytest.mark.parametrize(
    "f",
    [
        nag.sum,
        nag.mean,
        nag.max,
        nag.prod,
        nag.var,
        nag.logsumexp,
        nag.cumsum,
        nag.sort,
        nag.norm,
        nag.flip,
        nag.squeeze,
        nag.argmax,
        lambda x, axis: nag.concatenate([x, x], axis),
        lambda x, axis: nag.stack([x, x], axis),
        lambda x, axis: nag.split(x, 1, axis),
        lambda x, axis: nag.take(x, [0], axis),
        lambda x, axis: nag.roll(x, 1, axis),
        lambda x, axis: nag.repeat(x, 2, axis),
        lambda x, axis: nag.moveaxis(x, 0, axis),
        lambda x, axis: nag.swapaxes(x, 0, axis),
        lambda x, axis: nag.expand_dims(x, axis + 1),
    ],
)
def test_a_wrong_axis_is_named(f, backend):
    with pytest.raises(ValueError, match=r"axis|axes") as error:
        f(leaf(np.ones((2, 3)), backend), axis=5)
    assert any(n in str(error.value) for n in "56")


def test_a_rule_with_the_wrong_shape_is_named():
    @nag.function
    def halved(a):
        return a[: len(a) // 2]

    halved.defvjp(a=lambda g: g)
    x = nag.Tensor(np.ones(4), requires_grad=True)
    with pytest.raises(nag.ShapeError, match=r"rule of halved .* \(2,\) .* \(4,\)"):
        halved(x).sum().backward()


@pytest.mark.parametrize("dtype", [int, bool, np.int8, np.uint16])
def test_integers_and_booleans_cannot_require_a_gradient(dtype):
    with pytest.raises(TypeError, match=r"dtype .* cannot require a gradient"):
        nag.Tensor([1, 0], dtype=dtype, requires_grad=True)
    t = nag.Tensor([1, 0], dtype=dtype)
    with pytest.raises(TypeError, match="cannot require a gradient"):
        t.requires_grad = True


def test_a_tensor_holds_numbers():
    with pytest.raises(TypeError, match="a Tensor takes numbers; got"):
        nag.Tensor(["a", "b"])


def test_autograd_grad_says_what_is_wrong():
    x, y = nag.Tensor(1.0, requires_grad=True), nag.Tensor(1.0, requires_grad=True)
    z = x * 2
    with pytest.raises(nag.GraphError, match="do not depend on input 1"):
        nag.autograd.grad(z, [x, y], retain_graph=True)
    assert nag.autograd.grad(z, [x, y], allow_unused=True)[1] is None
    with pytest.raises(nag.GraphError, match="input 0.*requires no gradient"):
        nag.autograd.grad(x * 2, nag.Tensor(1.0))
    with pytest.raises(ValueError, match="2 outputs, but 1 grad_outputs"):
        nag.autograd.grad([x * 2, x * 3], x, [None])


@pytest.mark.parametrize("size", [10, 10_000])  # a large array is given out without a copy
@pytest.mark.parametrize(
    "f",
    [
        lambda x, w: x * w,
        lambda x, w: x + w,
        lambda x, w: nag.reshape(x, (2, -1)) + nag.reshape(w, (2, -1)),
        lambda x, w: nag.functional.silu(x) * 1.0 + w * w + x,
        lambda x, w: x,
        lambda x, w: x[::-1] - w,
    ],
)
def test_gradients_that_are_returned_are_arrays_of_their_own(size, f):
    rng = np.random.default_rng(0)
    x, w = (nag.Tensor(rng.standard_normal(size), requires_grad=True) for _ in range(2))
    h = x * 2
    y = f(h, w)
    u = np.ones(y.shape)
    first = nag.autograd.grad(y, [x, w, h, x, w, h], u, retain_graph=True, allow_unused=True)
    arrays = [g.data for g in first if g is not None]
    before = [a.copy() for a in arrays]
    others = [x.data, w.data, h.data, y.data, u]
    for i, a in enumerate(arrays):
        for b in arrays[:i] + others:
            assert not np.shares_memory(a, b)
        a[...] = np.nan  # what the caller does with it
    again = nag.autograd.grad(y, [x, w, h, x, w, h], u, allow_unused=True)
    for a, g in zip(before, [g for g in again if g is not None], strict=True):
        np.testing.assert_array_equal(a, g.data)
