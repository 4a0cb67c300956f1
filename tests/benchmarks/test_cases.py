"""Each benchmark runs once, tiny, with every library that is here, and all compute the same."""

import numpy as np
import pytest

import nanoautograd as nag
from benchmarks.cases import ALL, MODELS, OPERATIONS, PRECISIONS, make
from benchmarks.clock import measure, requests
from benchmarks.peers import Captured
from benchmarks.process import Processes
from benchmarks.registry import peer
from nanoautograd.interface.array_interface import array_of

OURS = ["numpy", "strict", "manual", "manual@strict", "by hand", "by hand@strict"]
OURS += ["products", "copy"]
OTHERS = [
    pytest.param(
        name,
        marks=[
            pytest.mark.oracle,
            pytest.mark.skipif(peer(name).absent() is not None, reason=str(peer(name).absent())),
        ],
    )
    for name in ("torch", "jax", "autograd")
]


@pytest.fixture(scope="module")
def processes():
    """One process a peer for all tests: {(peers, precision): Processes}, made when asked for."""
    made = {}

    def get(names, precision="float32"):
        key = tuple(names), precision
        if key not in made:
            made[key] = Processes(names, 1, precision)
        return made[key]

    yield get
    for each in made.values():
        each.__exit__()


def once(processes, name, memory=False):
    case = make(name, "tiny")
    build = requests(processes, name, case)
    measured, errors = measure(
        processes, build, case.tolerance, rounds=1, seconds=1e-6, memory=memory
    )
    assert errors == {}
    assert set(measured) == {p for p in processes.running if case.has(peer(p).library)}
    for m in measured.values():
        assert len(m.turns) == 1 and m.seconds > 0
    return measured


@pytest.mark.parametrize("name", ALL)
def test_ours_and_the_hand_derived_gradient_agree_and_the_roofline_runs(processes, name):
    measured = once(processes(OURS), name, memory=True)
    first = measured["numpy"].prints[0]
    assert np.isfinite(first).all()
    if name in MODELS and name not in ("chain", "generation"):
        losses = [result[0][0] for result in measured["numpy"].prints]
        assert losses[0] != losses[1] != losses[2]  # Adam has changed the weights


class Graph:
    """As `nag.cuda.capture` returns: computes the step as it is written, whose result must be one
    number."""

    def __init__(self, step):
        self.step, self.returned = step, []

    def __call__(self, *batch):
        array = array_of(self.step(*batch))
        assert array.size == 1
        self.returned.append(float(array.reshape(())))

    def results(self, wait=False):
        returned, self.returned = self.returned, []
        return returned


@pytest.mark.parametrize("name", [n for n in ALL if make(n, "tiny").has("captured")])
def test_a_captured_step_is_ours(monkeypatch, name):
    monkeypatch.setattr(nag.cuda, "capture", Graph)
    prints = []
    for one in (peer("numpy"), Captured("captured", "captured", "cpu")):
        monkeypatch.setattr(one, "prepare", lambda threads: None)
        one.start(1, "float32")
        case = make(name, "tiny")
        step = case.build(one, one.put_all(case.arrays("float32")))
        prints.append([one.get(step()).copy() for _ in range(3)])
    np.testing.assert_array_equal(*prints)
    assert (prints[0][0] != prints[0][1]).any()


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", ALL)
def test_a_peer_computes_the_same(processes, name, other):
    if not make(name, "tiny").has(peer(other).library):
        pytest.skip(f"{name} is not written with {other}")
    assert other in once(processes(["numpy", other]), name)


@pytest.mark.parametrize("other", [OTHERS[0], OTHERS[2]])
def test_in_double_precision_they_agree_to_more_digits(processes, other):
    # tolerance 1e-7: a float32 anywhere in the step of either would be seen
    once(processes(["numpy", other], "float64"), "gru")


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.skipif(peer("torch.compile").absent() is not None, reason="no torch, or no g++")
def test_a_compiled_peer_computes_the_same(processes):
    once(processes(["numpy", "torch.compile"]), "mlp")


def test_every_size_makes_a_case_with_work_in_it():
    for name, (_, sizes) in ALL.items():
        assert "tiny" in sizes and "gpu" in sizes
        for size in sizes:
            work = make(name, size).work()
            assert work.flops or work.moved
    assert all(size in ALL[name][1] for name, size in PRECISIONS)
    assert not MODELS.keys() & OPERATIONS.keys()


def test_the_sizes_that_are_asked_for():
    """Those of the tables in README.md."""
    lstm = make("lstm", "medium")
    assert (lstm.vocabulary, lstm.embedding, lstm.hidden, lstm.T, lstm.B) == (96, 128, 256, 64, 32)
    gpt = make("gpt", "medium")
    assert (gpt.layers, gpt.width, gpt.T, gpt.B) == (6, 384, 128, 8)
    assert make("attention", "large").shape() == (8, 8, 256, 64)
    assert make("cross_entropy", "large").inputs(np.random.default_rng(0))[0].shape == (2048, 10000)
