"""Assignment, views and saved values: differentiated right, or refused; never silently wrong."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag


def leaf(x, backend):
    return backend.tensor(np.array(x, dtype=float), requires_grad=True)


def test_an_assignment_is_differentiated(backend):
    x, v = leaf([1.0, 2.0, 3.0], backend), leaf(5.0, backend)
    y = x * 2
    y[1] = v * v
    (y * y).sum().backward()
    assert backend.numpy(y).tolist() == [2, 25, 6]
    assert backend.numpy(x.grad).tolist() == [8, 0, 24]
    assert backend.numpy(v.grad) == 2 * 25 * 10


def test_a_buffer_filled_row_by_row(backend):
    x = leaf(np.arange(6.0).reshape(3, 2), backend)
    out = backend.tensor(np.zeros((3, 2)))
    for t in range(3):
        out[t] = nag.tanh(x[t]) * (t + 1)
    (out * out).sum().backward()
    n = np.arange(6.0).reshape(3, 2)
    k = np.array([[1.0], [2.0], [3.0]])
    np.testing.assert_allclose(
        backend.numpy(x.grad), 2 * k**2 * np.tanh(n) * (1 - np.tanh(n) ** 2), rtol=1e-14
    )


def test_of_values_for_one_place_the_last_stays(backend):
    x, v = leaf(np.zeros(3), backend), leaf([1.0, 2.0, 3.0], backend)
    index = backend.array([0, 2, 0])
    for y in (nag.index_put(x, index, v), x * 1):
        if y._edge[0].operation.name != "index_put":
            y[index] = v
        assert backend.numpy(y).tolist() == [3, 0, 2]
        (y * backend.array([1.0, 10.0, 100.0])).sum().backward()
    assert backend.numpy(v.grad).tolist() == [0, 200, 2]
    assert backend.numpy(x.grad).tolist() == [0, 20, 0]


def test_a_broadcast_value_gets_the_sum(backend):
    x, v = leaf(np.zeros((3, 4)), backend), leaf(2.0, backend)
    y = nag.index_put(x, (slice(1, None), backend.array([0, 3])), v)
    y.sum().backward()
    assert backend.numpy(v.grad) == 4
    assert backend.numpy(x.grad).sum() == 8


def test_second_order_through_an_assignment(backend):
    x = leaf([1.0, 2.0, 3.0], backend)
    y = x * x
    y[0] = x[1] ** 3
    (g,) = nag.autograd.grad((y * y).sum(), x, create_graph=True)
    (h,) = nag.autograd.grad(g.sum(), x)
    n = np.array([1.0, 2.0, 3.0])  # f = x1^6 + x1^4 + x2^4
    np.testing.assert_allclose(backend.numpy(g), [0, 6 * n[1] ** 5 + 4 * n[1] ** 3, 4 * n[2] ** 3])
    np.testing.assert_allclose(
        backend.numpy(h), [0, 30 * n[1] ** 4 + 12 * n[1] ** 2, 12 * n[2] ** 2]
    )


def test_into_a_leaf_it_is_refused():
    x = nag.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(nag.GraphError, match="leaf that requires a gradient.*nag.index_put"):
        x[0] = 5.0
    with pytest.raises(nag.GraphError, match="leaf"):
        x += 1
    assert x.numpy is not None and x.data.tolist() == [1, 2]
    with nag.no_grad():
        x[0] = 5.0
    assert x.data.tolist() == [5, 2]


def test_into_integers_a_gradient_cannot_go():
    x = nag.Tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match="dtype int64.*cannot carry"):
        nag.Tensor([1, 2])[0] = x[0]


@pytest.mark.parametrize(
    "kept, name",
    [
        (lambda y: y * y, "multiply"),
        (lambda y: nag.sin(y), "sin"),
        (lambda y: nag.maximum(y, 0.5), "maximum"),
        (lambda y: nag.power(y, 3), "power"),
        (lambda y: nag.matmul(y, y), "matmul"),
        (lambda y: nag.functional.softmax(y), "softmax"),
    ],
)
def test_a_saved_argument_that_changed_is_detected_and_the_operation_named(kept, name):
    x = nag.Tensor([1.0, 2.0], requires_grad=True)
    y = x + 1
    z = kept(y).sum()
    y[0] = 7.0
    with pytest.raises(nag.GraphError, match=f"{name} needs.*overwritten in place"):
        z.backward()


@pytest.mark.parametrize("kept, name", [(nag.exp, "exp"), (nag.tanh, "tanh"), (nag.sqrt, "sqrt")])
def test_a_saved_result_that_changed_is_detected(kept, name):
    x = nag.Tensor([1.0, 2.0], requires_grad=True)
    y = kept(x)
    z = (y + 1).sum()
    y *= 2
    with pytest.raises(nag.GraphError, match=f"{name} needs its result"):
        z.backward()


def test_a_saved_result_of_a_hand_derived_operation_that_changed_is_detected():
    x = nag.Tensor([1.0, 2.0], requires_grad=True)
    y = nag.functional.softmax(x)
    z = (y * 2).sum()
    y[0] = 0.0
    with pytest.raises(nag.GraphError, match="softmax needs its result"):
        z.backward()


def test_into_a_computed_tensor_within_no_grad_it_is_refused():
    y = nag.Tensor([1.0, 2.0], requires_grad=True) * 2
    with nag.no_grad(), pytest.raises(nag.GraphError, match="within no_grad"):
        y[0] = 5.0
    assert y.detach().numpy().tolist() == [2, 4]


def test_a_change_that_nobody_needs_is_fine():
    x = nag.Tensor([1.0, 2.0], requires_grad=True)
    y = x * 3  # keeps nothing of y
    z = (y + 1).sum()
    y[0] = 7.0
    z.backward()
    assert x.grad.numpy().tolist() == [3, 3]


def test_an_optimisers_write_between_steps_is_fine_and_within_a_step_detected():
    w = nag.Tensor([1.0, 2.0], requires_grad=True)
    for _ in range(3):
        (w * w).sum().backward()
        w.data -= 0.1 * w.grad.data
        w.grad = None
    y = (w * w).sum()
    w.data -= 1.0
    with pytest.raises(nag.GraphError, match="multiply needs its"):
        y.backward()


def test_replaced_data_leaves_the_old_value_to_what_was_computed():
    w = nag.Tensor([1.0, 2.0], requires_grad=True)
    y = (w * w).sum()
    w.data = np.array([10.0, 20.0])
    y.backward()
    assert w.grad.numpy().tolist() == [2, 4]
    with pytest.raises(nag.GraphError, match="computed Tensor"):
        (w * 2).data = np.zeros(2)


# ---- views


VIEWS = [
    lambda y: y[1:],
    lambda y: y.reshape(2, 2),
    lambda y: y.T,
    lambda y: nag.split(y, 2)[1],
    lambda y: y.detach(),
    lambda y: nag.broadcast_to(y, (3, 4)),
    lambda y: nag.flip(y),
    lambda y: nag.expand_dims(y, 0),
]


@pytest.mark.parametrize("view", VIEWS)
def test_a_write_through_a_view_of_a_saved_value_is_detected(view, backend):
    x = leaf([1.0, 2.0, 3.0, 4.0], backend)
    y = x + 1
    seen = view(y.detach())
    z = (y * y).sum()
    if seen.shape != (3, 4):  # NumPy's broadcast views are read-only
        seen[...] = 0.0
        with pytest.raises(nag.GraphError, match="multiply needs its"):
            z.backward()


@pytest.mark.parametrize("view", VIEWS[:4] + VIEWS[5:])
def test_a_view_with_a_history_cannot_be_used_after_a_write_to_its_base(view, backend):
    y = leaf([1.0, 2.0, 3.0, 4.0], backend) + 1
    seen = view(y)
    y[0] = 7.0
    with pytest.raises(nag.GraphError, match="shares memory"):
        seen * 2
    assert (y * 2).requires_grad


def test_a_base_cannot_be_used_after_a_recorded_write_to_a_view():
    v = nag.Tensor(5.0, requires_grad=True)
    base = nag.Tensor(np.zeros(4))
    part = base[:2]
    part[0] = v * 2  # now base[0] depends on v, and cannot know it
    with pytest.raises(nag.GraphError, match="shares memory"):
        base.sum()
    assert part.sum().requires_grad


def test_constants_share_memory_as_numpys_arrays_do(backend):
    base = backend.tensor(np.zeros(4))
    part = base[1:3]
    part[0] = 5.0
    base[2] = 6.0
    assert backend.numpy(base).tolist() == [0, 5, 6, 0]
    assert backend.numpy(part * 1).tolist() == [5, 6]
    base += 1
    assert backend.numpy(part).tolist() == [6, 7]


def test_overlapping_assignment_reads_before_it_writes(backend):
    y = leaf([1.0, 2.0, 3.0], backend) * 1
    y[1:] = y[:-1]
    assert backend.numpy(y).tolist() == [1, 1, 2]


def test_arrays_are_copied_when_they_are_kept():
    # An array has no version, so one that a rule needs is copied: a batch may be reused.
    x, batch = nag.Tensor([1.0, 2.0], requires_grad=True), np.array([3.0, 4.0])
    rows, mask = np.array([0, 0]), np.array([True, False])
    y = (x * batch).sum() + x[rows].sum() + x[mask].sum() + nag.where(mask, x, 0).sum()
    batch[:], rows[:], mask[:] = 0, 1, False
    y.backward()
    assert x.grad.numpy().tolist() == [3 + 2 + 1 + 1, 4]


def test_a_tensor_is_a_copy_of_what_it_is_made_of():
    a = np.ones(3)
    t = nag.Tensor(a)
    a[0] = 5
    assert t.numpy().tolist() == [1, 1, 1]


NAMES = ["add", "sub", "mul", "truediv", "matmul", "mod", "pow"]
WHICH = {
    "another": lambda y, u: u,
    "a number": lambda y, u: 2,
    "itself": lambda y, u: y,
    "a view of itself": lambda y, u: y.T,
    "a row of itself": lambda y, u: y[:1],
}


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(sorted(WHICH))), max_size=3),
    st.booleans(),
)
def test_augmented_assignment_is_in_place_and_differentiated(backend, steps, is_constant):
    """y *= u and the like, one after the other: the same as y = y * u, to the second order; y may
    be a constant before, and the operation may need the old value of y, or a view of it."""
    start = np.array([[1.25, 0.75], [0.5, 1.75]])
    u0, v = np.array([[1.5, 0.75], [1.25, 0.5]]), np.array([[1.0, 2.0], [-1.0, 0.5]])

    def run(in_place):
        x, u = backend.tensor(start, requires_grad=True), backend.tensor(u0, requires_grad=True)
        y = same = backend.tensor(start) if is_constant else x * 1.0
        for name, which in steps:
            if name == "matmul" and which in ("a number", "a row of itself"):
                continue
            y = getattr(operator, f"i{name}" if in_place else name)(y, WHICH[which](y, u))
        assert not in_place or y is same
        if not y.requires_grad:
            return [backend.numpy(y)]
        first = nag.autograd.grad(y, [x, u], backend.array(v), create_graph=True, allow_unused=True)
        first = [t * 0 if g is None else g for t, g in zip((x, u), first)]
        total = (x * u).sum() + sum((g * g).sum() for g in first)
        return [backend.numpy(t) for t in (y, *first, *nag.autograd.grad(total, [x, u]))]

    with np.errstate(all="ignore"):
        for found, expected in zip(run(True), run(False)):
            np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_augmented_assignment_of_both_factors_and_of_a_power():
    x, w = [nag.Tensor(a, requires_grad=True) for a in ([2.0, 3.0], [5.0, 7.0])]
    y = x * 1.0
    y *= w
    y **= 2
    y.sum().backward()
    assert x.grad.tolist() == [2 * 2 * 25, 2 * 3 * 49] and w.grad.tolist() == [2 * 5 * 4, 2 * 7 * 9]
    rows = x * 1.0
    rows[0] *= rows[1]
    assert rows.tolist() == [6, 3]


BACKWARDS = slice(None, None, -1)
INDICES = [0, -1, slice(1), slice(None), (slice(None), 1), (0, 1), ..., [1, 0], BACKWARDS]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(INDICES)), max_size=3))
def test_augmented_assignment_to_a_part(backend, steps):
    """y[i] *= u is y[i] = y[i] * u, where y[i] is a copy."""
    start, v = np.array([[1.25, 0.75], [0.5, 1.75]]), np.array([[1.0, 2.0], [-1.0, 0.5]])

    def run(in_place):
        x, u = backend.tensor(start, requires_grad=True), backend.tensor(1.5, requires_grad=True)
        y = x * 1.0
        for name, i in steps:
            if name == "matmul":
                continue
            if in_place:
                y[i] = getattr(operator, f"i{name}")(y[i], u)
            else:
                y[i] = getattr(operator, name)(y[i].copy(), u)
        ((y + u) * backend.array(v)).sum().backward()
        return [backend.numpy(t) for t in (y, x.grad, u.grad)]

    for found, expected in zip(run(True), run(False), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_part_that_is_assigned_elsewhere_than_it_was_changed_is_refused(backend):
    w = backend.tensor(3.0, requires_grad=True)
    for other in (slice(0, 2), slice(2, 0, -1), slice(1, 2), ..., [1, 2]):
        y = backend.tensor([1.0, 2.0, 4.0], requires_grad=True) * 1.0
        part = y[1:]
        part *= w
        with pytest.raises(nag.GraphError, match="take the view again"):
            y[other] = part
        with pytest.raises(nag.GraphError, match="take the view again"):
            y + 1
    y = backend.tensor([1.0, 2.0, 4.0], requires_grad=True) * 1.0
    first = y[:1]
    first *= w
    first *= w  # two writes that y has not seen
    with pytest.raises(nag.GraphError, match="take the view again"):
        y[:1] = first
    x = leaf([1.0, 2.0], backend)
    with pytest.raises(nag.GraphError):
        x[1:] *= w


def test_what_others_saved_of_the_old_value_is_refused_after_an_augmented_assignment():
    y = nag.Tensor([2.0, 3.0], requires_grad=True) * 1.0
    z, part = y * y, y[1:]
    y *= 2.0
    with pytest.raises(nag.GraphError, match="multiply needs its"):
        z.sum().backward()
    with pytest.raises(nag.GraphError, match="take the view again"):
        part + 1


def test_augmented_assignment_does_not_turn_floats_into_integers():
    y = nag.Tensor([1, 2])
    with pytest.raises(TypeError, match="float64.*int64"):
        y *= 1.5
    assert y.numpy().tolist() == [1, 2]


@pytest.mark.parametrize("flip", [False, True])
def test_results_that_share_memory_with_each_other(flip):
    @nag.function
    def both(x):
        h = x * 2
        return (h[1:], h) if not flip else (h, h[1:])

    both.defvjp(x=lambda g: g[0 if flip else 1] * 2)
    results = both(nag.Tensor([1.0, 2.0, 3.0], requires_grad=True))
    part, whole = results[::-1] if flip else results
    w = part * part
    whole[...] = 0.0
    with pytest.raises(nag.GraphError, match="multiply needs its"):
        w.sum().backward()


def test_a_function_may_return_the_array_of_which_its_argument_is_a_view():
    """Then both share memory, and a write into the one is seen by the other's node."""

    @nag.function
    def base_of(a):
        return a.base

    base_of.defvjp(a=lambda g, a_shape: g[: a_shape[0]])
    x = nag.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    v = (x * 1.0)[:2]
    b = base_of(v)
    z = b * b
    v[0] = 100.0
    with pytest.raises(nag.GraphError, match="overwritten"):
        z.sum().backward()


class Holder:
    def __init__(self, array):
        self.array = array


@pytest.mark.parametrize(
    "hold, get",
    [
        (lambda a: a, lambda cache: cache),
        (lambda a: {"a": [a[:]]}, lambda cache: cache["a"][0]),
        (Holder, lambda cache: cache.array),
        (lambda a: [1.0, (Holder(a[:]), None)], lambda cache: cache[1][0].array),
        (lambda a: lambda: a, lambda cache: cache()),
    ],
    ids=["array", "dict", "object", "object in a list", "closure"],
)
def test_a_result_that_a_users_cache_holds_may_not_be_written_to(hold, get):
    def forward(a):
        y = np.exp(a)
        return y, hold(y)

    f = nag.custom_vjp("f", forward, lambda dy, cache: (dy * get(cache),), nag.exp)
    x = nag.Tensor([0.0, 1.0], requires_grad=True)
    y = f(x)
    z = y * 1.0
    y[0] = 5.0
    with pytest.raises(nag.GraphError, match="needs its result"):
        z.sum().backward()
