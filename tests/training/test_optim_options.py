"""Optimisers, clipping and averages given anything: options, parameters and states of every kind,
16 bits, the largest and smallest numbers, and interrupts."""

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
from nanoautograd.optim import SGD, Adam, AdamW, AveragedModel, clip_grad_norm_, learning_rate

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
def test_what_are_no_parameters(kind, use, grouped):
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
def test_iterables_of_parameters(make, grouped):
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


# ---- clipping


def with_gradients(arrays, device="cpu"):
    params = [Parameter(to_device(np.zeros_like(a), device)) for a in arrays]
    for p, a in zip(params, arrays):
        p.grad = Tensor(to_device(a, device))
    return [*params, Parameter(np.zeros(2))]  # and one without


def exact_norm(arrays, p):
    """In Python's integers and fractions of floats: no power can overflow."""
    values = [abs(float(x)) for a in arrays for x in a.astype(np.float64).ravel()]
    if any(math.isnan(x) for x in values):
        return NAN
    top = max(values, default=0.0)
    if p == INF or top in (0.0, INF):
        return top
    return top * math.fsum((x / top) ** p for x in values) ** (1 / p)


shapes = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)


@st.composite
def gradient_arrays(draw):
    dtype = draw(st.sampled_from(["float16", "float32", "float64"]))
    width = np.finfo(dtype).bits
    values = draw(
        st.sampled_from(
            [
                st.floats(-10, 10, width=width),
                st.floats(width=width, allow_nan=False, allow_infinity=False),
                st.floats(width=width),
            ]
        )
    )
    return draw(st.lists(hnp.arrays(dtype, shapes, elements=values), min_size=1, max_size=3))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(
    gradient_arrays(),
    st.sampled_from([0.5, 1.0, 2.0, 3.5, INF]),
    st.sampled_from([0.0, 1e-3, 1.0, 1e30, INF]),
    st.sampled_from(["cpu", "strict"]),
)
@example([np.array([1.0]), np.array([NAN])], INF, 1.0, "cpu")
@example([np.array([INF]), np.array([NAN])], 2.0, 1.0, "cpu")
@example([np.array([3e200, 4e200])], 2.0, 1.0, "cpu")
@example([np.array([3e200, 4e200])], 2.0, 1.0, "strict")
@example([np.array([3e-200, 4e-200])], 2.0, 1.0, "cpu")
@example([np.array([3e30, 4e30], "f")], 2.0, 1.0, "strict")
@example([np.full(300, 300.0, "e")], 2.0, 1.0, "cpu")
@example([np.full((100, 100), 6e4, "e")], 2.0, 1.0, "strict")
def test_clipping(arrays, p, max_norm, device):
    right = exact_norm(arrays, p)
    params = with_gradients(arrays, device)
    bits = np.finfo(arrays[0].dtype).bits
    if right == INF and all(np.isfinite(a).all() for a in arrays):
        if device == "cpu":
            with pytest.raises(FloatingPointError, match="above 1.8e308"):
                clip_grad_norm_(params, max_norm, p)
        return
    norm = float(clip_grad_norm_(params, max_norm, p))
    tolerance = 1e-9 if bits == 64 else 1e-4
    if right > 1e38 and bits < 64 and device != "cpu":
        assert norm == INF or norm == pytest.approx(right, rel=tolerance)
    else:
        assert norm == pytest.approx(right, rel=tolerance, abs=0, nan_ok=True)
    if not math.isfinite(right):
        with pytest.raises(FloatingPointError, match=str(right)):
            clip_grad_norm_(with_gradients(arrays, device), 1.0, p, error_if_nonfinite=True)
    if math.isnan(right):
        assert all(np.isnan(nag.backends.to_numpy(w.grad.data)).all() for w in params[:-1])
    elif right < INF:
        scale = min(1.0, max_norm / (right + 1e-6))
        for w, a in zip(params, arrays):
            assert w.grad.dtype == a.dtype and w.grad.shape == a.shape
            wanted = (a.astype(np.longdouble) * np.longdouble(scale)).astype(a.dtype)
            np.testing.assert_allclose(
                nag.backends.to_numpy(w.grad.data),
                wanted,
                rtol=2e-3 if bits == 16 else tolerance,
                atol=2 * float(np.finfo(a.dtype).smallest_subnormal),
            )
    assert params[-1].grad is None


def test_a_parameter_that_is_given_twice_counts_once():
    (w, *_) = with_gradients([np.array([3.0, 4.0])])
    assert clip_grad_norm_([w, w], 1.0) == 5.0
    np.testing.assert_allclose(w.grad.data, [0.6, 0.8], rtol=1e-5)


@pytest.mark.parametrize("max_norm", [NAN, -1.0, -INF, None, "1", True, 1j, np.ones(2)])
def test_limits_that_are_none(max_norm):
    params = with_gradients([np.array([3.0, 4.0])])
    with pytest.raises((TypeError, ValueError), match="clip_grad_norm_: max_norm must be"):
        clip_grad_norm_(params, max_norm)
    for norm_type in (0, -1, NAN):
        with pytest.raises(ValueError, match="norm_type must be above 0"):
            clip_grad_norm_(params, 1.0, norm_type)
    assert params[0].grad.data.tolist() == [3.0, 4.0]


@pytest.mark.oracle
@given(
    hnp.arrays(np.float64, 5, elements=st.floats(-1e100, 1e100)),
    st.sampled_from([1.0, 2.0, 3.5, INF]),
    st.sampled_from([0.0, 1e-3, 1.0, INF]),
    st.sampled_from([None, NAN, INF, -INF]),
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_clipping_is_that_of_pytorch(g, p, max_norm, odd):
    torch = pytest.importorskip("torch")
    if odd is not None:
        g[0] = odd
    assume(p in (1.0, INF) or odd is not None or 1e-50 < abs(g).max() < 1e80)  # its powers overflow
    assume(max_norm < INF or odd not in (INF, -INF))  # there nan: infinity times 1 / infinity
    theirs = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    theirs.grad = torch.tensor(g)
    norm_t = float(torch.nn.utils.clip_grad_norm_([theirs], max_norm, p))
    (ours, _) = with_gradients([g])
    norm = clip_grad_norm_([ours], max_norm, p)
    assert norm == pytest.approx(norm_t, rel=1e-12, nan_ok=True)
    np.testing.assert_allclose(ours.grad.data, theirs.grad.numpy(), rtol=1e-12)


# ---- averages and schedules


@pytest.mark.parametrize("decay", [NAN, -0.1, 1.0, INF, "0.9", None])
def test_decays_that_are_none(decay):
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\)"):
        AveragedModel(Linear(1, 1), decay)
    with pytest.raises(TypeError, match="AveragedModel: takes a Module; got list"):
        AveragedModel([Parameter(w0)])


@pytest.mark.parametrize(
    "damage",
    [
        {"n_averaged": np.array(-1)},
        {"n_averaged": np.array(2.5)},
        {"n_averaged": np.array(NAN)},
        {"n_averaged": None},
        {"module.bias": np.array([NAN])},
        {"module.bias": np.array([INF])},
        {"module.bias": np.array([1e300])},
        {"module.bias": np.array([1j])},
        {"module.bias": None},
    ],
)
def test_averages_that_are_damaged_are_refused_and_nothing_is_taken(damage):
    model = Linear(2, 1, rng=0)
    average = AveragedModel(model)
    average.update()
    before = average.state_dict()
    state = {**before, "module.weight": np.zeros((1, 2), "f"), **damage}
    with pytest.raises(ValueError, match="AveragedModel.load_state_dict"):
        average.load_state_dict(state)
    for name, a in average.state_dict().items():
        assert np.array_equal(a, before[name]), name


def test_an_average_of_another_shape():
    model = Linear(2, 1, rng=0)
    average = AveragedModel(model)
    model.weight.data = np.ones((1, 1), np.float32)
    with pytest.raises(ValueError, match="weight has by now the shape"):
        average.update()


@pytest.mark.parametrize("where", ["averages.py", "contextlib.py"])
def test_an_interrupt_leaves_the_weights_of_the_model(where):
    """KeyboardInterrupt before each bytecode in turn, until there is none left."""
    model = Linear(2, 2, rng=0)
    average = AveragedModel(model)
    own = [p.data for p in model.parameters()]
    average.averages = {name: a + 1.0 for name, a in average.averages.items()}

    def interrupted(n):
        left = n

        def trace(frame, event, arg):
            nonlocal left
            if frame.f_code.co_filename.endswith(where):
                frame.f_trace_opcodes = True
                if event == "opcode":
                    left -= 1
                    if left == 0:
                        raise KeyboardInterrupt
                return trace

        sys.settrace(trace)
        try:
            with average.applied():
                assert not any(p.data is a for p, a in zip(model.parameters(), own))
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(None)
        return False

    n = 1
    while interrupted(n):
        assert all(p.data is a for p, a in zip(model.parameters(), own)), n
        assert not average.is_applied
        n += 1
    assert n > 20


def test_averages_are_applied_once_at_a_time():
    average = AveragedModel(Linear(1, 1))
    with average.applied():
        with pytest.raises(RuntimeError, match=r"applied\(\) within applied\(\)"):
            with average.applied():
                pass
    average.update()


@pytest.mark.parametrize(
    "options",
    [
        {"step": -1},
        {"step": NAN},
        {"peak": NAN},
        {"peak": -1.0},
        {"floor": INF},
        {"warmup": -1},
        {"steps": None},
        {"step": 0, "warmup": 5, "decay": "step"},
    ],
)
def test_schedules_that_are_none(options):
    with pytest.raises((TypeError, ValueError), match="^learning_rate: "):
        learning_rate(**{"step": 1, "peak": 0.1, "steps": 10, **options})


def test_options_and_states_on_the_fake_wait_for_nothing():
    w = Parameter(to_device(w0, "strict"))
    optimizer = AdamW([w])
    w.grad = Tensor(to_device(w0, "strict"))
    with strict.no_sync():
        optimizer.step()
        clip_grad_norm_([w], 1.0, 3.5)
        optimizer.step()
