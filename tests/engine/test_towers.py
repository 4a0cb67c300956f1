"""Transforms nest in any order: towers of grad, vjp, jvp, hvp and jacobian, drawn at random.

At each level the point, the direction and the function itself may depend on the variables of all
levels outside. A result has a history exactly if something outside is being differentiated.
"""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import nanoautograd as nag

N = 2
KINDS = ("grad", "vjp", "jvp", "hvp", "jacobian", "value")
POINT = np.array([0.4, -0.7])


class Nag:
    """The functions of this package that a tower needs."""

    sin, tanh, sum, array = nag.sin, nag.tanh, nag.sum, np.array
    grad, vjp, jvp, hvp, jacobian = nag.grad, nag.vjp, nag.jvp, nag.hvp, nag.jacobian


def jax_library():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)

    class Jax:
        sin, tanh, sum, array = jax.numpy.sin, jax.numpy.tanh, jax.numpy.sum, jax.numpy.array
        grad, vjp, jvp, jacobian = jax.grad, jax.vjp, jax.jvp, jax.jacrev

        def hvp(f, primals, tangents):
            return jax.jvp(jax.grad(f), primals, tangents)[1:]

    return Jax


# Which of the variables outside something depends on, by number: an empty list is a constant.
some = st.lists(st.integers(0, 4), max_size=3)
levels = st.fixed_dictionaries(
    {"kind": st.sampled_from(KINDS), "point": some, "direction": some, "closure": some}
)
towers = st.lists(levels, min_size=1, max_size=3)


def mixed(L, which, variables, seed):
    """A vector that depends on some of the variables, nonlinearly."""
    rng = np.random.default_rng(seed)
    y = L.array(rng.uniform(0.3, 0.9, N))
    for k in which:
        v = variables[k % len(variables)]
        y = L.sin(y * v + L.array(rng.uniform(-1, 1, N))) + L.array(rng.uniform(0.5, 1.5, N)) * v
    return y


def tower(L, plan, variables):
    """The vector that a plan computes from the variables of the levels outside."""
    level, *rest = plan
    depth = len(variables)
    point = mixed(L, level["point"], variables, depth)
    direction = mixed(L, level["direction"], variables, depth + 10)

    def f(t):
        inside = [*variables, t]
        y = mixed(L, [depth, *level["closure"]], inside, depth + 20)
        return L.tanh(y) * (tower(L, rest, inside) if rest else y)

    def scalar(t):
        return L.sum(f(t) * f(t))

    if level["kind"] == "grad":
        return L.grad(scalar)(point) * direction
    if level["kind"] == "vjp":
        y, pull = L.vjp(f, point)
        return pull(direction)[0] * y
    if level["kind"] == "jvp":
        y, dy = L.jvp(f, (point,), (direction,))
        return dy + y
    if level["kind"] == "hvp":
        return L.hvp(scalar, (point,), (direction,))[0]
    if level["kind"] == "jacobian":
        return L.sum(L.jacobian(f)(point) * direction, axis=1)
    return f(point) * direction


def total(L, plan):
    return lambda x: L.sum(tower(L, plan, [x]))


INNER_COTANGENT = [{"kind": "vjp", "point": [], "direction": [0], "closure": []}]
INNER_TANGENT = [{"kind": "jvp", "point": [], "direction": [0], "closure": []}]


@given(towers)
@example(INNER_COTANGENT)
@example(INNER_TANGENT)
def test_towers_agree_with_differences(plan):
    f = total(Nag, plan)
    g = nag.grad(f)(POINT)
    assert not g.requires_grad
    d, h = np.array([0.6, 0.8]), 1e-4

    def at(t):
        y = f(POINT + t * d)
        y = y if isinstance(y, np.ndarray | np.generic) else y.item()
        return float(y)

    # Richardson's extrapolation of two central differences: an error of order h⁴
    wide, narrow = [(at(s) - at(-s)) / (2 * s) for s in (2 * h, h)]
    slope = (4 * narrow - wide) / 3
    np.testing.assert_allclose((g.numpy() * d).sum(), slope, rtol=1e-6, atol=1e-6)


@given(towers)
def test_a_result_has_a_history_exactly_if_something_outside_is_differentiated(plan):
    constant = tower(Nag, plan, [POINT])
    assert not getattr(constant, "requires_grad", False)
    x = nag.Tensor(POINT, requires_grad=True)
    depends = tower(Nag, plan, [x])
    first = plan[0]
    reached = first["point"] or first["direction"] or any(k % 2 == 0 for k in first["closure"])
    if reached and first["kind"] != "hvp":
        assert depends.requires_grad
    with nag.no_grad():
        assert not getattr(tower(Nag, plan, [x]), "requires_grad", False)


@pytest.mark.oracle
@given(towers)
def test_towers_agree_with_jax(plan):
    jax = jax_library()
    expected = jax.grad(total(jax, plan))(jax.array(POINT))
    found = nag.grad(total(Nag, plan))(POINT)
    assert not found.requires_grad
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0,)])
def test_a_constant_result_has_the_derivative_0(shape):
    for y in (np.ones(shape), nag.Tensor(np.ones(shape)), np.ones(shape)[()]):
        assert nag.jacobian(lambda x: y)(POINT).tolist() == np.zeros((*shape, N)).tolist()
        assert nag.vjp(lambda x: y, POINT)[1](np.ones(shape))[0].tolist() == [0, 0]
        assert nag.jvp(lambda x: y, (POINT,), (POINT,))[1].tolist() == np.zeros(shape).tolist()
    assert nag.hessian(lambda x: np.float64(2))(POINT).tolist() == [[0, 0], [0, 0]]


def test_what_a_finished_call_leaves_is_no_history():
    def f(x, y):
        return nag.sin(x) * y * y

    second = nag.grad(lambda x: nag.grad(f, 1)(x, 2.0))(0.3)
    np.testing.assert_allclose(float(second), 4 * np.cos(0.3))
    kept = []
    nag.grad(lambda x: kept.append(x) or (x * x).sum())(POINT)
    assert not nag.grad(lambda v: (v * kept[0]).sum())(POINT).requires_grad


def test_a_pull_that_is_called_inside_of_another_level():
    y, pull = nag.vjp(nag.sin, POINT)
    v = np.array([1.0, 2.0])
    g = nag.grad(lambda v: (pull(v)[0] ** 2).sum())(v)
    np.testing.assert_allclose(g.numpy(), 2 * np.cos(POINT) ** 2 * v)
    assert not y.requires_grad and not pull(v)[0].requires_grad


def test_auxiliary_values_have_no_history_of_the_call():
    def f(x):
        y = nag.sin(x)
        return (y * y).sum(), {"y": y, "n": 3}

    _, aux = nag.grad(f, has_aux=True)(POINT)
    assert not aux["y"].requires_grad and aux["n"] == 3
