"""A step as it is computed, small parameters together and large ones in blocks, is the step as it
is written, whatever happens in between."""

import copy
import threading
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd.backends import threads, to_device
from nanoautograd.core.tensor import Tensor
from nanoautograd.nn import Parameter
from nanoautograd.optim import SGD, Adam, AdamW, Optimizer, fast
from nanoautograd.optim.blocks import in_blocks

OPTIMISERS = {
    "SGD": lambda params: SGD(params, lr=0.1, weight_decay=0.1),
    "momentum": lambda params: SGD(params, lr=0.1, momentum=0.9, dampening=0.3),
    "Adam": lambda params: Adam(params, lr=0.1, weight_decay=0.1),
    "AdamW": lambda params: AdamW(
        [{"params": params[:2], "lr": 0.02}, {"params": params[2:]}], betas=(0.8, 0.9), eps=1e-3
    ),
}
SHAPES = [(3,), (), (2, 0), (3,), (2, 3), (fast.SMALL + 1,), (4, 5)]
TOLERANCE = {"e": 2e-3, "f": 1e-5, "d": 1e-12}

BETWEEN = "nothing", "copied", "states exchanged", "a state copied", "weights set", "state loaded"


def changed(how, params, optimizer):
    """(params, optimizer) after something that may happen between two steps."""
    if how == "state loaded":
        optimizer.load_state_dict(optimizer.state_dict())
    elif how == "copied":
        params, optimizer = copy.deepcopy((params, optimizer))
    elif how == "states exchanged":  # of the same shape
        state = optimizer.state
        state[0], state[3] = state[3], state[0]
    elif how == "a state copied":
        optimizer.state[4] = copy.deepcopy(optimizer.state[4])
    elif how == "weights set":
        params[4].data = params[4].data * 2
        params[1].data = np.array(0.5, params[1].dtype)
    return params, optimizer


@given(
    st.sampled_from(sorted(OPTIMISERS)),
    st.sampled_from("efd"),
    st.sampled_from("CF"),
    st.lists(
        st.tuples(st.sampled_from(BETWEEN), st.sets(st.integers(0, len(SHAPES) - 1))),
        min_size=1,
        max_size=5,
    ),
)
@example("Adam", "f", "C", [(how, set()) for how in BETWEEN])
@example("momentum", "d", "F", [(how, {i, i + 1}) for i, how in enumerate(BETWEEN)])
def test_a_fast_step_is_the_step_as_it_is_written(name, dtype, order, steps):
    found = []
    for by_hand in (False, True):
        rng = np.random.default_rng(0)
        params = [
            Parameter(np.array(rng.standard_normal(s), order=order), dtype=dtype) for s in SHAPES
        ]
        optimizer = OPTIMISERS[name](params)
        for how, without in steps:
            params, optimizer = changed(how, params, optimizer)
            optimizer.zero_grad()
            for i, p in enumerate(params):
                g = rng.standard_normal(p.shape)
                if i not in without:
                    p.grad = Tensor(g, dtype=dtype)
            with nag.use_manual() if by_hand else nullcontext():
                optimizer.step()
        found.append((params, optimizer.state_dict()))
    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    (params, state), (right, wanted) = found
    for p, q in zip(params, right):
        np.testing.assert_allclose(p.data, q.data, **close)
    assert state["state"].keys() == wanted["state"].keys()
    for i, s in wanted["state"].items():
        assert state["state"][i].keys() == s.keys()
        for key, a in s.items():
            np.testing.assert_allclose(state["state"][i][key], a, **close)


def test_small_parameters_keep_their_place_from_step_to_step():
    params = [Parameter(np.ones(n)) for n in (3, 4)]
    optimizer = Adam(params)
    arrays = []
    for _ in range(3):
        for p in params:
            p.grad = Tensor(np.ones(p.shape))
        optimizer.step()
        arrays.append([s["exp_avg"] for s in optimizer.state])
    assert all(a is b for before in arrays for a, b in zip(before, arrays[-1]))
    assert arrays[0][0].base is arrays[0][1].base


@pytest.mark.parametrize("size", [3, fast.SMALL + 1])
def test_an_optimiser_of_ones_own_is_computed_as_it_is_written(size):
    class Other(Adam):
        def update(self, group, t, theta, g, m, v):
            theta -= group["lr"] * t * g

    class Plain(Optimizer):
        def update(self, group, t, theta, g):
            theta -= group["lr"] * g

    for optimizer, moved in ((Other, 3.0), (lambda ps, lr: Plain(ps, lr=lr), 2.0)):
        p = Parameter(np.zeros(size))
        opt = optimizer([p], lr=1.0)
        for _ in range(2):
            p.grad = Tensor(np.ones(size))
            opt.step()
        assert (p.data == -moved).all()


def test_arrays_of_a_gpu_stay_in_the_thread_that_has_its_stream(monkeypatch):
    monkeypatch.setattr(threads._team, "size", 3)
    a = [to_device(np.zeros(5), "strict") for _ in range(9)]
    here = in_blocks(lambda x: threading.get_ident(), [((), (x,)) for x in a])
    assert here == [threading.get_ident()] * 9


def test_small_parameters_of_two_dtypes_that_take_turns_keep_their_digits():
    params = [Parameter(np.full(2, 1 / 3), dtype=dtype) for dtype in ("float32", "float64")]
    optimizer = SGD(params, lr=0.1)
    for p in params:  # at each step another one has a gradient
        optimizer.zero_grad()
        p.grad = Tensor(np.ones(2, p.dtype))
        optimizer.step()
    np.testing.assert_allclose(params[1].data, 1 / 3 - 0.1, rtol=1e-15)
