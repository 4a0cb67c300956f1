"""Optimisers, clipping, schedules, accumulation, averages: against PyTorch, and by hand."""

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd.backends import threads, to_device, to_numpy
from nanoautograd.core.tensor import Tensor
from nanoautograd.nn import Linear, Parameter, Sequential, Tanh
from nanoautograd.optim import SGD, Adam, AdamW, AveragedModel, clip_grad_norm_, learning_rate
from nanoautograd.testing.mutants import in_threads

OPTIONS = [
    (SGD, dict(lr=0.1)),
    (SGD, dict(lr=0.05, momentum=0.9)),
    (SGD, dict(lr=0.05, momentum=0.9, dampening=0.3, weight_decay=0.1)),
    (SGD, dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
    (Adam, dict()),
    (Adam, dict(lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1)),
    (AdamW, dict()),
    (AdamW, dict(lr=0.1, betas=(0.8, 0.95), weight_decay=0.3)),
]


def start(rng, dtype=np.float64):
    return [rng.standard_normal(shape).astype(dtype) for shape in [(3, 4), (4,), ()]]


def gradients_of(thetas, target):
    """Of Σ (θ - target)⁴/4: they depend on θ, so that an error at one step shows in all after
    it."""
    return [(theta - target) ** 3 for theta in thetas]


@pytest.mark.oracle
@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("optimizer, options", OPTIONS)
def test_twenty_steps_are_those_of_pytorch(rng, optimizer, options, groups):
    torch = pytest.importorskip("torch")
    ours = [Parameter(a) for a in start(rng)]
    theirs = [torch.nn.Parameter(torch.tensor(p.data)) for p in ours]

    def make(cls, params):
        split = [{"params": params[:1], "lr": 0.02}, {"params": params[1:]}]
        return cls(split if groups else params, **options)

    a, b = make(optimizer, ours), make(getattr(torch.optim, optimizer.__name__), theirs)
    for _ in range(20):
        for p, q, g in zip(ours, theirs, gradients_of([p.data for p in ours], 0.3)):
            p.grad, q.grad = Tensor(g), torch.tensor(g)
        a.step()
        b.step()
        for p, q in zip(ours, theirs):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-12, atol=1e-14)


def scheduler_of(torch, optimizer, peak, steps, warmup, decay, floor):
    """PyTorch's schedulers that together are `learning_rate`."""
    of = torch.optim.lr_scheduler
    rise = of.LinearLR(optimizer, 1 / (warmup + 1), 1.0, warmup)
    rest = steps - 1 - warmup
    fall = {
        "cosine": lambda: of.CosineAnnealingLR(optimizer, rest, floor),
        "linear": lambda: of.LinearLR(optimizer, 1.0, floor / peak, rest),
        "constant": lambda: of.ConstantLR(optimizer, 1.0),
    }[decay]()
    return of.SequentialLR(optimizer, [rise, fall], [warmup])


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("decay", ["cosine", "linear", "constant"])
@pytest.mark.parametrize(
    "optimizer, options",
    [(SGD, dict(momentum=0.9, nesterov=True)), (Adam, dict()), (AdamW, dict(betas=(0.9, 0.99)))],
)
def test_a_whole_training_loop_is_that_of_pytorch(rng, optimizer, options, decay):
    """20 steps: groups with and without weight decay, two parts of a batch each, clipping, warm-up
    and decay of the rate, and a moving average of the weights."""
    torch = pytest.importorskip("torch")
    ours = Sequential(
        Linear(3, 5, rng=0, dtype=np.float64), Tanh(), Linear(5, 2, rng=1, dtype=np.float64)
    )
    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)
    ).double()
    theirs.load_state_dict({n: torch.tensor(a) for n, a in ours.state_dict().items()})
    peak, steps, warmup, floor, norms = 0.05, 20, 4, 0.005, []

    def make(cls, params):
        params = list(params)
        return cls(
            [
                {"params": [p for p in params if p.ndim > 1], "weight_decay": 0.1},
                {"params": [p for p in params if p.ndim == 1]},
            ],
            lr=peak,
            **options,
        )

    a, b = (
        make(optimizer, ours.parameters()),
        make(getattr(torch.optim, optimizer.__name__), theirs.parameters()),
    )
    schedule = scheduler_of(torch, b, peak, steps, warmup, decay, floor)
    average = AveragedModel(ours, 0.8)
    average_t = torch.optim.swa_utils.AveragedModel(
        theirs, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8)
    )
    for step in range(steps):
        a.zero_grad()
        b.zero_grad()
        for _ in range(2):
            x, y = rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
            (((ours(x) - y) ** 2).mean() / 2).backward()
            (((theirs(torch.tensor(x)) - torch.tensor(y)) ** 2).mean() / 2).backward()
        norms.append(clip_grad_norm_(ours.parameters(), 0.7))
        assert norms[-1] == pytest.approx(
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.7).item(), rel=1e-9
        )
        for group in a.param_groups:
            group["lr"] = learning_rate(step, peak, steps, warmup, decay, floor)
            assert group["lr"] == pytest.approx(b.param_groups[0]["lr"], rel=1e-9)
        a.step()
        b.step()
        schedule.step()
        average.update()
        average_t.update_parameters(theirs)
        for kind, state, state_t in (
            ("weight", ours.state_dict(), theirs.state_dict()),
            ("average", average.state_dict(), average_t.state_dict()),
        ):
            assert list(state) == list(state_t)
            for name in state:
                np.testing.assert_allclose(
                    state[name],
                    state_t[name].numpy(),
                    rtol=1e-9,
                    atol=1e-12,
                    err_msg=f"{kind} {name}, step {step}",
                )
    assert min(norms) < 0.7 < max(norms)  # clipped, but not always


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_gradients_add_up_to_that_of_the_whole_batch(backend, parts):
    rng = np.random.default_rng(0)
    model = Linear(3, 2, rng=0, dtype=np.float64).to(backend.device)
    x, y = (backend.array(rng.standard_normal((6, n))) for n in (3, 2))
    ((model(x) - y) ** 2).mean().backward()
    whole = [backend.numpy(p.grad).copy() for p in model.parameters()]
    model.zero_grad()
    n = 6 // parts
    for i in range(0, 6, n):
        (((model(x[i : i + n]) - y[i : i + n]) ** 2).mean() / parts).backward()
    for p, g in zip(model.parameters(), whole):
        np.testing.assert_allclose(backend.numpy(p.grad), g, rtol=1e-13, atol=1e-15)


def test_the_average_of_weights_is_exponential(backend):
    """From the first update's weights, with the weights (1 - β) βⁱ for those i updates ago."""
    model = Linear(2, 1, bias=False, rng=0).to(backend.device)
    average, own = AveragedModel(model, 0.75), model.weight.data
    for value in (4.0, 8.0, 16.0):
        own[...] = value
        average.update()
    with average.applied() as none:
        assert none is None and (backend.numpy(model.weight) == 7.75).all()
        assert backend.numpy(model(backend.array(np.ones((1, 2)), np.float32)))[0, 0] == 15.5
        with pytest.raises(RuntimeError, match=r"update\(\) within applied\(\)"):
            average.update()
    assert (backend.numpy(model.weight) == 16).all()
    with pytest.raises(KeyError), average.applied():
        raise KeyError
    assert (backend.numpy(model.weight) == 16).all() and model.weight.dtype == np.float32
    model.weight.data = model.weight.data * 2
    average.update()
    assert (backend.numpy(average.averages["weight"]) == 0.75 * 7.75 + 0.25 * 32).all()


def test_an_average_goes_on_to_the_bit_and_leaves_training_alone(backend):
    def run(steps, kept=None, averaged=True):
        rng = np.random.default_rng(0)
        model = Linear(3, 3, rng=1).to(backend.device)
        opt, average = AdamW(model.parameters(), lr=0.1), AveragedModel(model, 0.9)
        first = 0
        if kept:
            first, weights, state, averages = kept
            model.load_state_dict(weights)
            opt.load_state_dict(state)
            average.load_state_dict(averages)
        xs = rng.standard_normal((20, 4, 3)).astype(np.float32)
        for x in xs[first : first + steps]:
            opt.zero_grad()
            (model(backend.array(x)) ** 2).mean().backward()
            opt.step()
            if averaged:
                average.update()
                with average.applied(), nag.no_grad():
                    model(backend.array(x))
        return first + steps, model.state_dict(), opt.state_dict(), average.state_dict()

    straight, resumed, plain = run(9), run(4, run(5)), run(9, averaged=False)
    assert int(straight[3]["n_averaged"]) == 9
    for name, a in straight[3].items():
        assert np.array_equal(backend.numpy(a), backend.numpy(resumed[3][name])), name
    for name, a in straight[1].items():
        assert np.array_equal(backend.numpy(a), backend.numpy(plain[1][name])), name
        assert not np.array_equal(backend.numpy(a), backend.numpy(straight[3][f"module.{name}"]))


def test_averages_that_do_not_fit_are_refused():
    model = Linear(3, 2)
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got 1.0"):
        AveragedModel(model, 1.0)
    average = AveragedModel(model)
    state = average.state_dict()
    state["module.weight"], state["module.bais"] = np.zeros((3, 2)), state.pop("module.bias")
    with pytest.raises(ValueError) as e:
        average.load_state_dict(state)
    assert str(e.value).splitlines()[1:] == [
        "  missing: module.bias (2,)",
        "  unexpected: module.bais",
        "  mis-shaped: module.weight is (3, 2), the model has (2, 3)",
    ]


@pytest.mark.parametrize("optimizer, options", OPTIONS)
def test_a_loaded_state_goes_on_to_the_bit(rng, optimizer, options):
    def steps(params, opt, n):
        for _ in range(n):
            for p, g in zip(params, gradients_of([p.data for p in params], 0.3)):
                p.grad = Tensor(g)
            opt.step()

    straight = [Parameter(a) for a in start(rng, np.float32)]
    opt = optimizer(straight, **options)
    steps(straight, opt, 5)
    kept, state = [p.data.copy() for p in straight], opt.state_dict()
    steps(straight, opt, 5)

    resumed = [Parameter(a) for a in kept]
    opt = optimizer(resumed, lr=123.0)
    opt.load_state_dict(state)
    steps(resumed, opt, 5)
    for p, q in zip(straight, resumed):
        assert p.data.dtype == np.float32
        assert np.array_equal(p.data, q.data)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("optimizer, options", OPTIONS)
def test_neither_blocks_nor_threads_change_a_bit(rng, monkeypatch, optimizer, options, order):
    shapes = [(), (3,), (40,), (2, 0), (6, 5), (5, 3, 4), (1, 30), (2,)]
    starts = [np.array(rng.standard_normal(s), np.float32, order=order) for s in shapes]
    found = []
    for block, n in ((1 << 30, 1), (7, 1), (7, 2), (7, 3)):
        monkeypatch.setattr(threads, "BLOCK", block)
        monkeypatch.setattr(threads._team, "size", n)
        params = [Parameter(a) for a in starts]
        average, opt = AveragedModel(Sequential(), 0.9), optimizer(params, **options)
        average.parameters = {str(i): p for i, p in enumerate(params)}
        average.averages = {str(i): np.zeros_like(p.data) for i, p in enumerate(params)}
        for _ in range(3):
            for p, g in zip(params, gradients_of([p.data for p in params], 0.3)):
                p.grad = Tensor(g)
            opt.step()
            average.update()
        found.append(
            b"".join(a.tobytes() for a in (*[p.data for p in params], *average.averages.values()))
        )
        for i, state in opt.state_dict()["state"].items():
            assert all(a.shape == shapes[i] for k, a in state.items() if k != "step")
    assert found == found[:1] * 4


@pytest.mark.parametrize("optimizer, options", OPTIONS)
def test_arrays_of_a_device_stay_in_one_thread(rng, monkeypatch, optimizer, options):
    """Where their stream is: the fake refuses others. The steps are those of NumPy."""
    monkeypatch.setattr(threads, "BLOCK", 7)
    shapes = [(), (3,), (40,), (2, 0), (6, 5), (1, 30), (2,)]
    starts, found = [rng.standard_normal(s) for s in shapes], []
    for devices in (["cpu"], ["strict"], ["cpu", "strict"]):
        model = Sequential()
        model.named_parameters = lambda: enumerate(params)
        params = [Parameter(to_device(a, devices[i % len(devices)])) for i, a in enumerate(starts)]
        average, opt = AveragedModel(model, 0.9), optimizer(params, **options)
        with in_threads(3):
            for _ in range(3):
                for p, g in zip(params, gradients_of([p.data for p in params], 0.3)):
                    p.grad = Tensor(g)
                opt.step()
                average.update()
        found.append([to_numpy(a) for a in (*[p.data for p in params], *average.averages.values())])
    for others in found[1:]:
        for a, b in zip(found[0], others):
            np.testing.assert_allclose(b, a, rtol=1e-12)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
def test_clipping_in_blocks_and_threads_gives_the_same_norm(rng, monkeypatch, norm_type):
    gradients = [rng.standard_normal(s) for s in [(), (40,), (2, 0), (6, 5), (1, 30)]]
    found = []
    for block, n in ((1 << 30, 1), (7, 1), (7, 2), (7, 3)):
        monkeypatch.setattr(threads, "BLOCK", block)
        monkeypatch.setattr(threads._team, "size", n)
        params = [Parameter(g) for g in gradients]
        for p, g in zip(params, gradients):
            p.grad = Tensor(g)
        norm = clip_grad_norm_(params, 0.5, norm_type)
        assert norm == pytest.approx(
            np.linalg.norm(np.concatenate([g.ravel() for g in gradients]), norm_type), rel=1e-12
        )
        found.append((norm, [p.grad.data.tobytes() for p in params]))
        for p, g in zip(params, gradients):
            np.testing.assert_allclose(p.grad.data, g * (0.5 / norm), rtol=1e-5)
    assert found[1] == found[2] == found[3]


def test_the_array_is_changed_in_place_and_the_gradient_is_not(rng):
    for optimizer, options in OPTIONS:
        p = Parameter(rng.standard_normal(5))
        array, g = p.data, rng.standard_normal(5)
        p.grad = Tensor(g)
        before = array.copy()
        optimizer([p], **options).step()
        assert p.data is array and not np.array_equal(array, before)
        assert np.array_equal(p.grad.data, g)


def test_a_parameter_without_a_gradient_stays(rng):
    p, q = Parameter(np.ones(2)), Parameter(np.ones(2))
    p.grad = Tensor(np.ones(2))
    opt = AdamW([p, q])
    opt.step()
    assert (q.data == 1).all() and (p.data < 1).all()
    opt.zero_grad()
    assert p.grad is None


def test_clip_grad_norm_scales_all_together():
    p, q, none = Parameter(np.zeros(2)), Parameter(np.zeros(())), Parameter(np.zeros(3))
    p.grad, q.grad = Tensor([2.0, 3.0]), Tensor(6.0)
    assert clip_grad_norm_([p, q, none], 100.0) == 7.0
    assert p.grad.data.tolist() == [2.0, 3.0]
    assert clip_grad_norm_([p, q, none], 3.5) == 7.0
    np.testing.assert_allclose(p.grad.data, [1.0, 1.5], rtol=1e-6)
    np.testing.assert_allclose(q.grad.data, 3.0, rtol=1e-6)
    assert none.grad is None
    assert clip_grad_norm_([none], 1.0) == 0.0


def test_clip_grad_norm_of_gradients_that_share_an_array():
    p, q = Parameter(np.zeros(1)), Parameter(np.zeros(1))
    p.grad = q.grad = Tensor([3.0])
    clip_grad_norm_([p, q], 1.0)
    np.testing.assert_allclose([p.grad.data[0], q.grad.data[0]], 0.5**0.5, rtol=1e-6)


def test_clip_grad_norm_of_nan():
    p = Parameter(np.zeros(2))
    p.grad = Tensor([np.nan, 1.0])
    assert np.isnan(clip_grad_norm_([p], 1.0))
    assert np.isnan(p.grad.data).all()
    with pytest.raises(FloatingPointError, match="nan"):
        clip_grad_norm_([p], 1.0, error_if_nonfinite=True)


@pytest.mark.parametrize("decay", ["cosine", "linear", "constant"])
def test_the_rate_rises_and_falls_as_scheduled(decay):
    rates = [learning_rate(s, 1.0, 100, warmup=9, decay=decay, floor=0.1) for s in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    if decay == "constant":
        assert set(rates[9:]) == {1.0}
    else:
        assert all(a > b for a, b in zip(rates[9:], rates[10:]))
        assert rates[-1] == pytest.approx(0.1)
        assert (rates[9] + rates[99]) / 2 == pytest.approx(rates[54])  # symmetric


def test_wrong_arguments_are_named():
    p = Parameter(np.ones(2))
    with pytest.raises(ValueError, match="no parameters"):
        SGD([])
    with pytest.raises(ValueError, match="lr must be at least 0, got -1"):
        Adam([p], lr=-1)
    with pytest.raises(ValueError, match="betas"):
        Adam([p], betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="more than once"):
        SGD([p, p])
    with pytest.raises(ValueError, match="'speed'"):
        SGD([{"params": [p], "speed": 3}])
    with pytest.raises(TypeError, match="require a gradient"):
        SGD([Tensor([1.0])])
    with pytest.raises(ValueError, match="nesterov"):
        SGD([p], nesterov=True)
    with pytest.raises(ValueError, match="decay must be"):
        learning_rate(0, 1.0, 10, decay="step")


def test_state_of_other_parameters_is_refused():
    p = Parameter(np.ones(2))
    p.grad = Tensor(np.ones(2))
    opt = Adam([p])
    opt.step()
    state = opt.state_dict()
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 has shape \(2,\).*\(3,\)"):
        Adam([Parameter(np.ones(3))]).load_state_dict(state)
    with pytest.raises(ValueError, match=r"groups of \[1\].*groups of \[2\]"):
        Adam([Parameter(np.ones(2)), Parameter(np.ones(2))]).load_state_dict(state)


@pytest.mark.oracle
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_clipping_by_other_norms(rng, norm_type, max_norm):
    torch = pytest.importorskip("torch")
    gradients = [rng.standard_normal(shape) for shape in ((3, 4), (5,), (0, 2))]
    ours = [nag.Tensor(np.zeros(g.shape), requires_grad=True) for g in gradients]
    theirs = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in gradients]
    for a, b, g in zip(ours, theirs, gradients):
        a.grad, b.grad = nag.Tensor(g), torch.tensor(g)
    norm = clip_grad_norm_(ours, max_norm, norm_type)
    assert norm == pytest.approx(
        float(torch.nn.utils.clip_grad_norm_(theirs[:2], max_norm, norm_type))
    )
    for a, b in zip(ours, theirs[:2]):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-12)


def test_a_norm_that_is_none():
    p = nag.Tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match="norm_type must be above 0, got 0"):
        clip_grad_norm_([p], 1.0, 0)
    assert clip_grad_norm_([p], 1.0, float("inf")) == 0.0


def test_an_average_that_is_applied_lends_copies():
    """A graph recorded with it stays right when the average moves on; afterwards the weights are
    the arrays that they were, as a captured step wants them."""
    net = Linear(3, 2, rng=0)
    average, own = AveragedModel(net, 0.5), net.weight.data
    average.update()
    x = nag.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    with average.applied():
        y = (net(x) ** 2).sum()
        right = 2 * net(x).data @ net.weight.data
    with average.applied():
        net.weight.data -= 1.0
    assert net.weight.data is own
    net.weight.data += 1.0
    average.update()
    y.backward()
    np.testing.assert_allclose(x.grad.data, right, rtol=1e-6)
