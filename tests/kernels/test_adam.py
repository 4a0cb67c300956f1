"""Adam and AdamW by kernels, on the fake, against NumPy's lines; test_kernels.py tests the
kernels alone."""

import numpy as np
import pytest

from nanoautograd import optim
from nanoautograd.backends import available, strict, to_device, to_numpy
from nanoautograd.core.tensor import Tensor
from nanoautograd.kernels.cuda import emulator, use_kernels
from nanoautograd.kernels.cuda.launchers import adam, many
from nanoautograd.nn import Parameter

pytestmark = pytest.mark.skipif(not emulator.available(), reason="needs g++")
SHAPES = [(), (3,), (2, 0), (7, 11), (5, 3, 4), (4111,), (1, 30)]
TOLERANCE = {"float32": 1e-6, "float64": 1e-14}
OPTIONS = [
    ("Adam", {}),
    ("Adam", {"weight_decay": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}),
    ("AdamW", {"weight_decay": 0.3, "lr": 0.1}),
    ("AdamW", {"lr": 0.01}),
]


def trained(device, optimizer, options, dtype="float32", steps=4, order="C", start=None):
    """Parameters and optimiser after some steps, in which not every parameter has a gradient."""
    rng = np.random.default_rng(0)

    def array(shape):
        return to_device(np.array(rng.standard_normal(shape), dtype, order=order), device)

    params = [Parameter(array(shape)) for shape in SHAPES]
    opt = getattr(optim, optimizer)(
        [{"params": params[:4], "lr": 0.02}, {"params": params[4:]}], **options
    )
    if start:
        opt.load_state_dict(start)
    for step in range(steps):
        opt.zero_grad()
        for i, p in enumerate(params):
            g = array(p.shape)
            if (i + step) % 3 and i != 1:
                p.grad = Tensor(g)
        opt.param_groups[0]["lr"] = 0.02 / (step + 1)
        with strict.no_sync():
            opt.step()
    return params, opt


def agree(found, right, dtype, looser=1):
    close = {"rtol": looser * TOLERANCE[dtype], "atol": looser * TOLERANCE[dtype]}
    for p, q in zip(found[0], right[0], strict=True):
        assert p.dtype.name == dtype and p.shape == q.shape
        np.testing.assert_allclose(to_numpy(p.data), q.data, **close)
    a, b = (opt.state_dict() for _, opt in (found, right))
    assert a["param_groups"] == b["param_groups"] and list(a["state"]) == list(b["state"])
    for i, state in b["state"].items():
        assert list(a["state"][i]) == list(state)
        for name, value in state.items():
            if name == "step":
                assert type(value) is int and a["state"][i][name] == value
            else:
                assert a["state"][i][name].dtype.name == dtype
                np.testing.assert_allclose(to_numpy(a["state"][i][name]), value, **close)


@pytest.fixture
def launches(monkeypatch):
    """The numbers of parameters in the launches so far."""
    made, tables = [], adam.tables

    def noted(jobs):
        for chunks, table in tables(jobs):
            if len(table["x"]) == 4:  # of update, which follows the one of count
                made.append(int((table["size"] > 0).sum()))
            yield chunks, table

    monkeypatch.setattr(adam, "tables", noted)
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer, options", OPTIONS)
def test_is_as_on_numpy(optimizer, options, dtype, launches):
    """Groups, sizes that are no multiple of anything, parameters that have a gradient now and then,
    or never, rates that change; and nobody waits."""
    right = trained("cpu", optimizer, options, dtype)
    assert not launches
    with emulator.emulated(seed=1):
        agree(trained("strict", optimizer, options, dtype), right, dtype)
    assert len(launches) == 4  # one a step
    with emulator.emulated(), use_kernels(False):
        agree(trained("strict", optimizer, options, dtype), right, dtype)
    assert len(launches) == 4


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer, options", OPTIONS)
def test_is_as_on_numpy_on_a_gpu(optimizer, options, dtype, launches):
    if not available()["cupy"].usable:
        pytest.skip("there is no GPU")
    agree(
        trained("cuda", optimizer, options, dtype),
        trained("cpu", optimizer, options, dtype),
        dtype,
        looser=10,
    )
    assert len(launches) == 4


def test_a_table_is_asked_for():
    a = np.ones(3)
    with pytest.raises(TypeError, match=r"update's p is a struct, got array"):
        many.kernels("adam.cu", a).launch("update", 1, 256, a, a)


def test_many_parameters_take_few_launches(monkeypatch, launches):
    monkeypatch.setattr(many, "MAX_PARAMETERS", 4)
    right = trained("cpu", "AdamW", {})
    with emulator.emulated(seed=2):
        agree(trained("strict", "AdamW", {}), right, "float32")
    assert max(launches) == 4 and len(launches) <= 8


def test_other_layouts_and_other_optimisers_are_left_to_the_fallback(launches):
    right = trained("cpu", "Adam", {}, order="F")
    with emulator.emulated():
        agree(trained("strict", "Adam", {}, order="F"), right, "float32")
        before = list(launches)
        trained("strict", "SGD", {})

        class Other(optim.Adam):
            def update(self, group, t, theta, g, m, v):
                theta -= group["lr"] * g

        p = Parameter(to_device(np.ones(3), "strict"))
        p.grad = Tensor(to_device(np.ones(3), "strict"))
        Other([p], lr=0.5).step()
    assert to_numpy(p.data).tolist() == [0.5] * 3 and launches == before
    assert sum(launches) < sum(p.size > 0 for p in right[0]) * 4


def test_the_state_goes_from_a_backend_to_the_other():
    state = trained("cpu", "AdamW", {})[1].state_dict()
    right = trained("cpu", "AdamW", {}, start=state)
    with emulator.emulated():
        there = trained("strict", "AdamW", {})[1].state_dict()
        agree(trained("strict", "AdamW", {}, start=state), right, "float32")
    for s in there["state"].values():
        s.update({name: to_numpy(a) for name, a in s.items() if name != "step"})
    agree(trained("cpu", "AdamW", {}, start=there), right, "float32")


def test_launches_made_again_are_the_next_step(monkeypatch):
    """As a captured graph replays them: with the same arguments. They count, and read the rate."""

    def parameters():
        rng = np.random.default_rng(0)
        ps = [Parameter(to_device(rng.standard_normal(n).astype("f"), "strict")) for n in (5, 300)]
        for p in ps:
            p.grad = Tensor(to_device(rng.standard_normal(p.shape).astype("f"), "strict"))
        return ps

    launches, run = [], emulator.run
    with emulator.emulated():
        plain, replayed = parameters(), parameters()
        a, b = optim.AdamW(plain, lr=0.1), optim.AdamW(replayed, lr=0.1)
        a.step()
        with monkeypatch.context() as patch:
            patch.setattr(emulator, "run", lambda *args: launches.append(args) or run(*args))
            b.step()
        for step in range(4):
            a.param_groups[0]["lr"] = b.param_groups[0]["lr"] = 0.1 / (step + 2)
            a.step()
            for args in launches:
                run(*args)
    for p, q in zip(plain, replayed):
        assert np.array_equal(to_numpy(p.data), to_numpy(q.data))
    assert len(launches) == 2 and b.state_dict()["state"][1]["step"] == 5
