"""linear_cross_entropy on a GPU: the kernels of cross_entropy.cu, launched for chunks of scores."""

import numpy as np
import pytest
from cases import Case, normal
from comparing import compare, drawn
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd.backends import strict, to_device, to_numpy
from nanoautograd.kernels import linear_cross_entropy as shared
from nanoautograd.kernels.cuda import emulator
from nanoautograd.kernels.cuda.runtime import device_assertions, source

pytestmark = pytest.mark.skipif(not emulator.available(), reason="needs g++")


def call(rng, dtype, N, V, D, bias, reduction, ignored, smoothing, early):
    y = rng.integers(0, V, N)
    y[rng.random(N) < ignored] = -100
    b = normal(rng, dtype, V) if bias else None
    return (
        normal(rng, dtype, N, D),
        normal(rng, dtype, V, D),
        y.astype(rng.choice(["int32", "int64"])),
        b,
    ), {
        "reduction": reduction,
        "label_smoothing": smoothing,
        "needs": (early,) * 5,
    }


CASE = Case(
    "cross_entropy",
    st.tuples(
        st.integers(0, 9),
        st.integers(1, 300),
        st.integers(0, 5),
        st.booleans(),
        st.sampled_from(["mean", "sum", "none"]),
        st.sampled_from([0.0, 0.3, 1.0]),
        st.sampled_from([0.0, 0.1]),
        st.booleans(),
    ),
    call,
    (),
    manual="linear_cross_entropy",
    host="launchers/linear_cross_entropy",
)


@given(data=st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_is_that_of_manual(dtype, data):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    shape = data.draw(CASE.shapes)
    args, options = drawn(CASE, shape, dtype, data.draw(st.integers(0, 99)))
    with emulator.emulated(seed=1), pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "CHUNK", data.draw(st.sampled_from([1, 3, 100])) * shape[1])
        compare(CASE, args, options)


def operands(*learn):
    rng = np.random.default_rng(0)
    h, W, b = (
        nag.Tensor(to_device(rng.standard_normal(s), "strict"), requires_grad=name in learn)
        for name, s in (("h", (2, 3, 4)), ("W", (5, 4)), ("b", (5,)))
    )
    return h, W, to_device(rng.integers(0, 5, (2, 3)), "strict"), b


@pytest.fixture
def launched(monkeypatch):
    """The names of the kernels that are launched."""
    names, launch = [], source.Source.launch

    def noted(self, kernel, *args, **options):
        names.append(kernel)
        return launch(self, kernel, *args, **options)

    monkeypatch.setattr(source.Source, "launch", noted)
    return names


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_a_step_by_kernels_waits_for_nothing(launched, monkeypatch, reduction):
    """So it can be captured. Two chunks, of four rows and of two."""
    monkeypatch.setattr(shared, "CHUNK", 4 * 5)
    found = []
    for emulated in (True, False):
        h, W, y, b = operands("h", "W", "b")
        g = nag.Tensor(to_device(np.linspace(1, 2, 6).reshape(2, 3), "strict"))
        one = nag.Tensor(to_device(np.array(1.0), "strict"))

        def step():
            loss = F.linear_cross_entropy(h, W, y, b, reduction=reduction)
            loss.backward(g if reduction == "none" else one)
            return loss

        if emulated:
            with emulator.emulated(seed=1), strict.no_sync():
                loss = step()
            once = ["forward", "backward"] * 2
            assert launched == (["forward"] * 2 + once if reduction == "none" else once)
        else:
            loss = step()
        found.append([to_numpy(t.data) for t in (loss, h.grad, W.grad, b.grad)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_what_the_kernels_do_not_take_is_computed_all_the_same(launched):
    h, W, y, b = operands("h", "W")
    with emulator.emulated():
        w = to_device(np.arange(1.0, 6.0), "strict")
        loss = F.linear_cross_entropy(h, W, y, b, w)
        loss.backward()
    assert not launched
    other = F.linear_cross_entropy(
        *(to_numpy(a.data) for a in (h, W)), to_numpy(y), b.numpy(), w.get()
    )
    np.testing.assert_allclose(loss.item(), other)


def test_a_target_out_of_range_is_named_by_its_row_in_the_whole(monkeypatch):
    monkeypatch.setattr(shared, "CHUNK", 2 * 5)
    h, W, y, _ = operands("W")
    y[1, 1] = 7
    with emulator.emulated():
        with pytest.raises(
            IndexError, match=r"cross_entropy: target 7 at position \(4,\) is out of range"
        ):
            F.linear_cross_entropy(h, W, y)
        device_assertions.check(strict.xp, "strict")
