"""Every operation in the table, in every way the table makes possible."""

import numpy as np
import pytest
from hypothesis import given, settings

import nanoautograd as nag
from nanoautograd.backends import threads, to_device, to_numpy
from nanoautograd.core.tensor import wrap
from nanoautograd.testing import gradcheck
from nanoautograd.testing.mutants import in_threads
from nanoautograd.testing.operations import EDGES, KINKS, LARGE, OPERATIONS

each_operation = pytest.mark.parametrize("name", OPERATIONS)


def test_every_public_differentiable_operation_is_in_the_table():
    functions = [f"functional.{name}" for name in nag.functional.__all__]
    missing = {*nag.ops.DIFFERENTIABLE, *functions} - set(OPERATIONS)
    assert not missing, f"without a row in nanoautograd/testing/operations.py: {sorted(missing)}"
    constant = {name for name in nag.ops.__all__ if name not in nag.ops.DIFFERENTIABLE}
    assert constant == set(nag.ops.CONSTANT)


@each_operation
def test_forward_is_that_of_plain_numpy(name, backend):
    @given(OPERATIONS[name].calls)
    def check(call):
        results = call(*[backend.tensor(x) for x in call.inputs])
        for result, expected in zip(results, call.in_numpy(), strict=True):
            assert result.shape == np.shape(expected)
            assert isinstance(result, nag.Tensor)
            np.testing.assert_allclose(backend.numpy(result), expected, rtol=1e-11, atol=1e-13)

    check()


@each_operation
def test_arrays_give_arrays_with_the_same_values(name, backend):
    @settings(max_examples=settings.default.max_examples // 5)
    @given(OPERATIONS[name].calls)
    def check(call):
        results = call(*[backend.array(x) for x in call.inputs])
        tensors = call(*[backend.tensor(x) for x in call.inputs])
        for result, tensor in zip(results, tensors, strict=True):
            assert not isinstance(result, nag.Tensor)
            assert backend.numpy(result).tobytes() == backend.numpy(tensor).tobytes()

    check()


@each_operation
def test_gradients_of_first_and_second_order(name):
    @given(OPERATIONS[name].calls)
    def check(call):
        gradcheck(call, call.inputs, order=2)

    check()


@each_operation
def test_gradients_are_the_same_on_every_backend(name, backend):
    """Exactly those that finite differences have confirmed on NumPy, and of second order, too."""

    @settings(max_examples=settings.default.max_examples // 5)
    @given(OPERATIONS[name].calls)
    def check(call):
        expected = gradients(call, [nag.Tensor(x, requires_grad=True) for x in call.inputs])
        found = gradients(call, [backend.tensor(x, requires_grad=True) for x in call.inputs])
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(to_numpy(a.data), b.data, rtol=1e-10, atol=1e-12)

    check()


@each_operation
def test_arrays_of_a_device_stay_in_one_thread(name, monkeypatch):
    """Where the stream and the memory pool are that CuPy computes with; the fake refuses
    others. Blocks are so small that all that is cut is cut here."""
    monkeypatch.setattr(threads, "BLOCK", 7)
    monkeypatch.setattr(threads, "LEAST", 1)

    @settings(max_examples=settings.default.max_examples // 5)
    @given(OPERATIONS[name].calls)
    def check(call):
        xs = [nag.Tensor(to_device(x, "strict"), requires_grad=True) for x in call.inputs]
        gradients(call, xs)

    with in_threads(3):
        check()


def gradients(call, xs):
    """First and second order, with cotangents that depend on the position."""
    outs = call(*xs)
    first = nag.autograd.grad(
        outs, xs, [cotangent(y) for y in outs], create_graph=True, allow_unused=True
    )
    found = [g for g in first if g is not None]
    again = [g for g in found if g.requires_grad]
    second = (
        nag.autograd.grad(again, xs, [cotangent(g) for g in again], allow_unused=True)
        if again
        else ()
    )
    return [g.detach() for g in (*found, *second) if g is not None]


def cotangent(y):
    u = np.cos(np.arange(y.size, dtype=float) + 1).reshape(y.shape).astype(y.dtype.name)
    return nag.Tensor(u, device=y.device)


# astype and bincount change the dtype: test_gradients_come_back_in_the_old_dtype.
@pytest.mark.parametrize(
    "name", [name for name in OPERATIONS if name not in ("astype", "bincount")]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_and_shape_of_results_and_gradients(name, dtype, backend):
    @settings(max_examples=settings.default.max_examples // 5)
    @given(OPERATIONS[name].calls)
    def check(call):
        xs = [backend.tensor(x, requires_grad=True, dtype=dtype) for x in call.inputs]
        outs = call(*xs)
        assert {y.dtype.name for y in outs} == {dtype}
        found = nag.autograd.grad(outs, xs, [cotangent(y) for y in outs], allow_unused=True)
        exact = [
            nag.Tensor(x.astype(dtype).astype("float64"), requires_grad=True) for x in call.inputs
        ]
        expected = call(*exact)
        expected = nag.autograd.grad(
            expected, exact, [cotangent(y) for y in expected], allow_unused=True
        )
        for x, g, h in zip(xs, found, expected, strict=True):
            if g is not None:
                assert (g.dtype, g.shape, g.device) == (x.dtype, x.shape, x.device)
                size = np.abs(h.data).max(initial=1.0)
                accuracy = 1e-3 * size if dtype == "float32" else 1e-11 * size
                np.testing.assert_allclose(backend.numpy(g), h.data, rtol=0, atol=accuracy)

    check()


@pytest.mark.parametrize(
    "f, new",
    [
        (lambda x: nag.astype(x, "float16"), "float16"),
        (lambda x: nag.bincount([0, 1], weights=x), "float64"),
    ],
)
def test_gradients_come_back_in_the_old_dtype(f, new, backend):
    x = backend.tensor([1.0, 2.0], requires_grad=True, dtype="float32")
    y = f(x)
    assert y.dtype == new
    (g,) = nag.autograd.grad(y, x, nag.Tensor(np.array([0.5, 3], new), device=x.device))
    assert g.dtype == np.float32
    np.testing.assert_array_equal(backend.numpy(g), [0.5, 3])


@each_operation
def test_memory_layout_does_not_matter_and_inputs_are_not_modified(name):
    @settings(max_examples=settings.default.max_examples // 5)
    @given(OPERATIONS[name].calls)
    def check(call):
        views = [scattered(x) for x in call.inputs]
        for view in views:
            view.flags.writeable = False
        usual = gradients(call, [nag.Tensor(x, requires_grad=True) for x in call.inputs])
        found = gradients(call, [wrap(v).requires_grad_() for v in views])
        for a, b in zip(found, usual, strict=True):
            np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-14)
        for view, x in zip(views, call.inputs):
            np.testing.assert_array_equal(view, x)

    check()


def scattered(x):
    """`x` as a view with gaps, its axes in another order in memory, and reversed."""
    room = np.full(tuple(2 * n for n in reversed(x.shape)), np.nan)
    view = room[(..., *[slice(None, None, 2) for _ in x.shape])].T
    view = view[(..., *[slice(None, None, -1) for _ in x.shape])]
    view[...] = x
    return view


@pytest.mark.parametrize("name", KINKS)
def test_ties_share_the_gradient_as_central_differences_do(name):
    call = KINKS[name]
    gradcheck(call, call.inputs)


@pytest.mark.parametrize("name", EDGES)
def test_where_a_formula_could_divide_by_zero_or_overflow(name):
    call = EDGES[name]
    with np.errstate(all="ignore"):
        gradcheck(call, call.inputs, order=2)


@pytest.mark.parametrize("name", LARGE)
def test_large_arrays_which_are_computed_in_blocks_have_the_same_gradients(name):
    gradcheck(LARGE[name], LARGE[name].inputs)
    with in_threads(2):
        gradcheck(LARGE[name], LARGE[name].inputs)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_slopes_of_angles_where_squares_are_out_of_range(dtype, backend):
    """The slopes of arctan2(3r, 4r) are 4/25r and -3/25r, for tiny r and for huge."""
    limits = np.finfo(dtype)
    for r in (limits.tiny * 4, limits.max / 16):
        x1, x2 = (backend.tensor(np.array(k * float(r), dtype)) for k in (3, 4))
        found = nag.grad(nag.arctan2, argnums=(0, 1))(x1, x2)
        for g, k in zip(found, (4, -3)):
            assert float(g) == pytest.approx(k / 25 / float(r), rel=8 * float(limits.eps))
    x = backend.tensor(np.array(float(limits.max) ** 0.4, dtype))
    slope = float(nag.grad(nag.arctan)(x))
    assert slope == pytest.approx(1 / (1 + float(x) ** 2), rel=8 * float(limits.eps))


def test_ties_of_many_share_equally():
    x = nag.Tensor([3.0, 1.0, 3.0, 3.0], requires_grad=True)
    nag.max(x).backward()
    np.testing.assert_allclose(x.grad.data, [1 / 3, 0, 1 / 3, 1 / 3])
