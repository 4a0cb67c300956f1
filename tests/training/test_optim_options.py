"""Optimisers given anything: options, parameters and states of every kind, 16 bits, and the largest
and smallest numbers."""

import copy
import math
import sys

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nanoautograd as nag
from nanoautograd.backends import strict, to_device
from nanoautograd.core.tensor import Tensor
from nanoautograd.nn import Linear, Module, Parameter
from nanoautograd.optim import SGD, Adam, AdamW, AveragedModel, clip_grad_norm_

CLASSES = {"SGD": SGD, "Adam": Adam, "AdamW": AdamW}
NAN, INF = math.nan, math.inf


def stepped(optimizer, params, gradients):
    for g in gradients:
        for p in params:
            p.grad = Tensor(np.full(p.shape, g), dtype=p.dtype)
        optimizer.step()


# ---- options

numbers = st.sampled_from([0.0, 1e-8, 0.3, 0.9, 1.0, 1, np.float32(0.5), 2.0])
odd = st.sampled_from([NAN, INF, -INF, -1.0, 1.5, "0.1", None, True, 1j, [0.1], np.ones(2)])
any_number = numbers | odd
OPTIONS = {
    "SGD": st.fixed_dictionaries(
        {},
        optional={
            "lr": any_number,
            "momentum": any_number,
            "dampening": any_number,
            "weight_decay": any_number,
            "nesterov": st.booleans() | st.sampled_from(["no", 2]),
        },
    ),
    "Adam": st.fixed_dictionaries(
        {},
        optional={
            "lr": any_number,
            "betas": st.tuples(any_number, any_number)
            | st.lists(numbers, max_size=3)
            | st.sampled_from([0.9, None, "ab", ()]),
            "eps": any_number,
            "weight_decay": any_number,
        },
    ),
}
OPTIONS["AdamW"] = OPTIONS["Adam"]
calls = st.sampled_from(sorted(CLASSES)).flatmap(lambda c: st.tuples(st.just(c), OPTIONS[c]))


def in_range(name, options):
    """Whether these are options that an optimiser can step with, said once more."""

    def real(x, high=sys.float_info.max):
        return type(x) in (int, float, np.float32) and 0 <= x <= high

    o = {"lr": 0.1, "weight_decay": 0.0, **options}
    good = real(o["lr"]) and real(o["weight_decay"])
    if name != "SGD":
        betas = o.get("betas", (0.9, 0.99))
        good &= isinstance(betas, (tuple, list)) and len(betas) == 2
        return good and all(real(b, 1) and b < 1 for b in betas) and real(o.get("eps", 0.1))
    momentum, dampening = o.get("momentum", 0.0), o.get("dampening", 0.0)
    good &= real(momentum, 1) and real(dampening, 1) and type(o.get("nesterov", True)) is bool
    return good and not (o.get("nesterov") and (momentum == 0 or dampening != 0))


@given(calls)
@example(("Adam", {"betas": (0.9,)}))
@example(("SGD", {"lr": NAN}))
def test_options_out_of_range_are_refused_at_once(call):
    name, options = call
    w = Parameter(np.ones(3))
    for params, rest in (([w], options), ([{"params": [w], **options}], {})):
        if in_range(name, options):
            stepped(CLASSES[name](params, **rest), [w], [0.5, -0.1])
        else:
            with pytest.raises((TypeError, ValueError), match=f"^{name}: ") as e:
                CLASSES[name](params, **rest)
            assert any(option in str(e.value) for option in options)
    assert not in_range(name, options) or np.isfinite(w.data).all()


@given(calls)
def test_options_that_are_set_later_are_checked_before_anything_is_changed(call):
    name, options = call
    assume(not in_range(name, options))
    w = Parameter(np.ones(3))
    optimizer = CLASSES[name]([w])
    stepped(optimizer, [w], [0.5])
    before, state = w.data.copy(), copy.deepcopy(optimizer.state)
    optimizer.param_groups[0].update(options)
    with pytest.raises((TypeError, ValueError), match=f"^{name}: "):
        optimizer.step()
    assert np.array_equal(w.data, before)
    assert str(optimizer.state) == str(state)


@pytest.mark.parametrize("name", CLASSES)
def test_an_option_that_was_taken_out_is_missed_before_anything_is_changed(name):
    w = Parameter(np.ones(3))
    for option in CLASSES[name]([w]).defaults:
        optimizer = CLASSES[name]([w])
        del optimizer.param_groups[0][option]
        with pytest.raises(ValueError, match=f"{name}: a group lacks {option}"):
            stepped(optimizer, [w], [0.5])
        assert (w.data == 1).all()


MODERATE = st.sampled_from([0.0, 0.1, 0.5, 0.9])
gradient_values = st.lists(
    hnp.arrays(
        np.float64,
        4,
        elements=st.floats(-1e100, 1e100) | st.sampled_from([0.0, 5e-324, -1e-200, 1e-8, 3.0]),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(
    st.one_of(
        st.tuples(
            st.just("SGD"),
            st.fixed_dictionaries(
                {
                    "lr": MODERATE,
                    "momentum": st.sampled_from([0.0, 0.5, 0.9, 1.0]),
                    "dampening": st.sampled_from([0.0, 0.3, 1.0]),
                    "weight_decay": MODERATE,
                    "nesterov": st.booleans(),
                }
            ),
        ),
        st.tuples(
            st.sampled_from(["Adam", "AdamW"]),
            st.fixed_dictionaries(
                {
                    "lr": MODERATE,
                    "betas": st.tuples(MODERATE, MODERATE),
                    "eps": st.sampled_from([1e-8, 1e-3, 1.0]),
                    "weight_decay": MODERATE,
                }
            ),
        ),
    ),
    gradient_values,
    st.booleans(),
)
def test_steps_are_those_of_pytorch_or_both_refuse(call, gradients, missing):
    torch = pytest.importorskip("torch")
    name, options = call
    start = np.array([1.0, -2.0, 0.0, 1e3])
    ours, theirs = Parameter(start), torch.nn.Parameter(torch.tensor(start))
    try:
        other = getattr(torch.optim, name)([theirs], **options)
    except ValueError:
        with pytest.raises(ValueError):
            CLASSES[name]([ours], **options)
        return
    optimizer = CLASSES[name]([ours], **options)
    for i, g in enumerate(gradients):
        ours.grad, theirs.grad = Tensor(g), torch.tensor(g)
        if missing and i % 2:
            ours.grad = theirs.grad = None
        optimizer.step()
        other.step()
        scale = max(abs(start).max(), max(abs(g).max() for g in gradients) * options["lr"])
        right = theirs.detach().numpy()
        np.testing.assert_allclose(ours.data, right, rtol=1e-9, atol=1e-10 * scale)
    resumed = CLASSES[name]([twin := Parameter(ours.data)], **options)
    resumed.load_state_dict(other.state_dict())  # PyTorch's own goes on here
    ours.grad, twin.grad = Tensor(start), Tensor(start)
    optimizer.step()
    resumed.step()
    np.testing.assert_allclose(twin.data, ours.data, rtol=1e-9, atol=1e-10 * scale)


# ---- parameters

w0 = np.array([1.0, 2.0])
KINDS = {
    "Tensor": (lambda: Parameter(w0), "got Parameter: put it in a list"),
    "Module": (lambda: Linear(2, 1), r"got Linear: give its \.parameters\(\)"),
    "dict": (lambda: {"params": [Parameter(w0)]}, "got dict: a group is a dict in a list"),
    "set": (lambda: {Parameter(w0)}, "got set: a set has no order"),
    "number": (lambda: 3, "got int"),
    "None": (lambda: None, "got NoneType"),
    "computed": (lambda: [Parameter(w0) * 0.01], "parameter 0, of shape .* computed by multiply"),
    "view": (lambda: [Parameter(w0), Parameter(w0)[:1]], "parameter 1, of shape"),
    "array": (lambda: [w0], "number 0 is of type ndarray"),
    "names": (lambda: ["weight"], "number 0 is of type str"),
    "named": (lambda: Linear(2, 1).named_parameters(), "tuple: give parameters"),
    "module in a list": (lambda: [Linear(2, 1)], "number 0 is of type Linear"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use", [SGD, AdamW, lambda params: clip_grad_norm_(params, 1.0)])
@pytest.mark.parametrize("grouped", [False, True])
def test_what_are_no_parameters_is_refused(kind, use, grouped):
    make, said = KINDS[kind]
    params, clips = make(), use not in (SGD, AdamW)
    if clips and grouped or kind == "Tensor" and (clips or grouped):
        return  # a Tensor alone is a list of one there, as in PyTorch
    with pytest.raises((TypeError, ValueError), match=said):
        use([{"params": params}] if grouped else params)


@pytest.mark.parametrize(
    "make", [list, tuple, iter, lambda ps: (p for p in ps), lambda ps: dict.fromkeys(ps).keys()]
)
@pytest.mark.parametrize("grouped", [False, True])
def test_any_iterable_of_parameters_is_taken(make, grouped):
    params = [Parameter(w0), Parameter(w0)]
    optimizer = SGD([{"params": make(params)}] if grouped else make(params), lr=1.0)
    stepped(optimizer, params, [0.5])
    assert all(np.array_equal(p.data, w0 - 0.5) for p in params)


def test_parameters_that_are_none_or_twice_or_in_bad_groups():
    w, v = Parameter(w0), Parameter(w0)
    for empty in ([], (), iter([]), [{"params": []}], [{"params": iter([])}]):
        with pytest.raises(ValueError, match="got no parameters"):
            SGD(empty)
    SGD([{"params": [w]}, {"params": []}])
    for twice in ([w, w], [{"params": [w]}, {"params": [v, w]}], [{"params": w}, {"params": w}]):
        with pytest.raises(ValueError, match="more than once"):
            SGD(twice)
    for bad in ([{"lr": 0.1}], [w, {"params": [v]}], [{"params": [w]}, v]):
        with pytest.raises(TypeError, match='a group is a dict with "params"'):
            SGD(bad)
    with pytest.raises(ValueError, match="the iterator gave no parameters"):
        clip_grad_norm_(iter([]), 1.0)
    assert clip_grad_norm_([], 1.0) == 0.0


def test_parameters_that_are_exchanged_or_change_their_shape(backend):
    w, v = Parameter(w0), Parameter(w0)
    optimizer = Adam([w])
    stepped(optimizer, [w], [1.0])
    for change in (
        lambda: optimizer.param_groups[0]["params"].append(v),
        lambda: optimizer.param_groups.append({**optimizer.param_groups[0], "params": [v]}),
        lambda: optimizer.param_groups[0].update(params=[v]),
    ):
        before = [{**g, "params": list(g["params"])} for g in optimizer.param_groups]
        change()
        with pytest.raises(ValueError, match="not those that it was made with"):
            optimizer.step()
        optimizer.param_groups[:] = before
    for data in (np.ones((2, 1)), np.ones(3), np.ones(2, np.float32)):
        p = Parameter(w0)
        optimizer = Adam([p])
        stepped(optimizer, [p], [1.0])
        p.data = data
        with pytest.raises(ValueError, match="make a new optimiser"):
            stepped(optimizer, [p], [1.0])
        assert optimizer.state[0]["step"] == 1 and np.array_equal(p.data, data)
    w.data = to_device(w.data, backend.device)  # after that its state can follow
    optimizer = Adam([w])
    w.grad = backend.tensor(w0)
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step()


def test_one_that_is_frozen_stays():
    w = Parameter(w0)
    optimizer = SGD([w], lr=1.0)
    w.grad = Tensor(w0)
    w.requires_grad = False
    optimizer.step()
    assert np.array_equal(w.data, w0)
    optimizer.zero_grad()
    assert w.grad is None
    w.requires_grad = True
    w.sum().backward()
    assert np.array_equal(w.grad.data, np.ones(2))


# ---- states


def trained(name, dtype=np.float64, **options):
    """Two parameters and an optimiser after three steps."""
    params = [Parameter(np.linspace(-1, 1, 4), dtype=dtype), Parameter(np.ones(()), dtype=dtype)]
    optimizer = CLASSES[name](params, lr=0.1, **options)
    stepped(optimizer, params, [0.5, -0.2, 0.3])
    return params, optimizer


def snapshot(optimizer):
    return repr((optimizer.state, [{**g, "params": 0} for g in optimizer.param_groups]))


def spoil(draw, state, dtype):
    """Makes one thing in the state dict wrong."""
    per, group = state["state"], state["param_groups"][0]
    i = draw(st.sampled_from([0, 1]))
    key = draw(st.sampled_from(sorted(per[i])))
    good = np.asarray(per[i][key])
    wrong = [
        lambda: per[i].pop(key),
        lambda: per[i].clear(),
        lambda: per[i].update({key: np.ones(7, good.dtype)}),
        lambda: per[i].update({key: np.full(good.shape, NAN, dtype)}),
        lambda: per[i].update({key: np.full(good.shape, -INF, dtype)}),
        lambda: per[i].update({key: good.astype(complex)}),
        lambda: per[i].update({key: "text"}),
        lambda: per[i].update({key: None}),
        lambda: per[i].update(more=good),
        lambda: per.update({2: per[0]}),
        lambda: per.update({-1: per[0]}),
        lambda: per.update({"0": per[0]}),
        lambda: per.update({0: None}),
        lambda: per.update({0: [1, 2]}),
        lambda: group.update(lr=NAN),
        lambda: group.update(weight_decay=-1.0),
        lambda: group.pop("lr"),
        lambda: group.update(maximize=True),
        lambda: group.update(params=[1, 0]),
        lambda: group.update(params=[0]),
        lambda: group.pop("params"),
        lambda: state.pop("state"),
        lambda: state.pop("param_groups"),
        lambda: state.update(param_groups=[None]),
        lambda: state.update(state=3),
    ]
    if key == "step":
        wrong += [lambda: per[i].update(step=-1), lambda: per[i].update(step=2.5)]
    else:
        other = np.float32 if good.dtype == np.float64 else np.float64
        wrong += [lambda: per[i].update({key: good.astype(other)})]
        wrong += [lambda: per[i].update({key: np.ones_like(good, np.int64)})]
    if key.endswith("_sq"):
        wrong += [lambda: per[i].update({key: good - 1.0})]
    draw(st.sampled_from(wrong))()


@given(st.sampled_from(["SGD", "Adam", "AdamW"]), st.sampled_from(["e", "f", "d"]), st.data())
def test_a_state_that_is_damaged_is_refused_and_nothing_is_taken(name, dtype, data):
    momentum = {"momentum": 0.9} if name == "SGD" else {}
    _, optimizer = trained(name, dtype, **momentum)
    state = copy.deepcopy(optimizer.state_dict())
    params, other = trained(name, dtype, **momentum)
    stepped(other, params, [0.7])
    before = snapshot(other)
    spoil(data.draw, state, "f" if dtype == "e" else dtype)
    with pytest.raises((TypeError, ValueError), match=f"^{name}") as e:
        other.load_state_dict(state)
    assert "Error" not in str(e.value) and snapshot(other) == before


@given(
    calls, st.sampled_from(["e", "f", "d"]), st.integers(0, 3), st.sampled_from(["cpu", "strict"])
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_state_goes_on_to_the_bit(call, dtype, n, device):
    name, options = call
    assume(in_range(name, options))

    def on_device(arrays):
        return [Parameter(to_device(a, device)) for a in arrays]

    def steps(optimizer, params, k):
        for g in rng.standard_normal(k):
            for p in params:
                p.grad = Tensor(to_device(np.full(p.shape, g, dtype), device))
            optimizer.step()

    rng = np.random.default_rng(n)
    start = [rng.standard_normal(s).astype(dtype) for s in ((3,), (), (2, 0), (2, 2))]
    params = on_device(start)
    optimizer = CLASSES[name](params, **options)
    steps(optimizer, params[: n + 1], n)
    state, resumed = optimizer.state_dict(), [Parameter(p.data.copy()) for p in params]
    assume(all(np.isfinite(nag.backends.to_numpy(p.data)).all() for p in params))
    again = CLASSES[name](resumed)
    again.load_state_dict(state)
    for opt, ps in ((optimizer, params), (again, resumed)):
        rng = np.random.default_rng(7)
        steps(opt, ps, 3)
    for p, q in zip(params, resumed):
        a, b = nag.backends.to_numpy(p.data), nag.backends.to_numpy(q.data)
        assert a.tobytes() == b.tobytes() and a.dtype == b.dtype == np.dtype(dtype)


# ---- 16 bits


@pytest.fixture(params=["float16", "bfloat16"])
def narrow(request):
    if request.param == "float16":
        return np.dtype(np.float16)
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)


@pytest.mark.parametrize("name, options", [("SGD", {}), ("SGD", {"momentum": 0.9})] + [
    (name, {}) for name in ("Adam", "AdamW")
])  # fmt: skip
def test_16_bits_step_as_32_do(narrow, name, options):
    """Also where a step is smaller than the last bit of the weight, the square of a gradient
    smaller than the smallest number, and eps no number at all."""
    gradients = np.array([1.0, 1e-3, -3e-5, 0.0, 0.3])
    found = Parameter(np.ones(5), dtype=narrow)
    right = Parameter(np.ones(5), dtype=np.float32)
    opts = [CLASSES[name]([p], lr=1e-4, **options) for p in (found, right)]
    for i in range(300):
        g = (gradients * (1.0 + 0.5 * (-1) ** i)).astype(narrow)
        found.grad, right.grad = Tensor(g), Tensor(g.astype(np.float32))
        for opt in opts:
            opt.step()
    assert found.dtype == narrow and (right.data != 1.0).sum() >= 3
    assert np.array_equal(found.data, right.data.astype(narrow))
    found.data = np.full(5, 2.0).astype(narrow)  # what the user sets counts
    right.data = np.full(5, 2.0, np.float32)
    for opt in opts:
        opt.step()
    assert np.array_equal(found.data, right.data.astype(narrow))


def test_averages_of_16_bits(narrow, backend):
    model = Module()
    model.w = Parameter(np.ones(3), dtype=narrow)
    model.to(backend.device)
    average = AveragedModel(model, 0.999)
    average.update()
    model.w.data = backend.array(np.full(3, 2.0).astype(narrow))
    for _ in range(1000):
        average.update()
    np.testing.assert_allclose(backend.numpy(average.averages["w"]), 2 - 0.999**1000, rtol=1e-4)
    again = AveragedModel(model)
    again.load_state_dict(average.state_dict())
    with again.applied():
        assert model.w.dtype == narrow and 1.6 < float(model.w.data[0]) < 1.65
    assert (model.w.data.astype(float) == 2.0).all()


def test_options_and_states_on_the_fake_wait_for_nothing():
    w = Parameter(to_device(w0, "strict"))
    optimizer = AdamW([w])
    w.grad = Tensor(to_device(w0, "strict"))
    with strict.no_sync():
        optimizer.step()
        clip_grad_norm_([w], 1.0, 3.5)
        optimizer.step()
