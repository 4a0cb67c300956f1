"""Embedding by kernels, on the fake: bad ids, which nobody waits for, frequent ids, layouts."""

import numpy as np
import pytest

from nanoautograd import functional as F
from nanoautograd.backends import strict, to_device, to_numpy
from nanoautograd.kernels.cuda import emulator
from nanoautograd.kernels.cuda.launchers import embedding
from nanoautograd.manual import embedding as by_hand
from nanoautograd.nn import Parameter

pytestmark = pytest.mark.skipif(not emulator.available(), reason="needs g++")


def on_device(*arrays):
    return [to_device(a, "strict") for a in arrays]


@pytest.mark.parametrize("bad", [-1, 4, 2**40, -(2**40)])
def test_an_id_out_of_range_is_reported_and_reads_nothing(bad):
    arrays = np.array([[0, 3], [bad, 1]]), np.ones((4, 3), "f")
    ids, E = on_device(*arrays)
    with pytest.raises(IndexError) as on_cpu:
        F.embedding(*arrays)
    text = f"embedding: id {bad} at place 2 is out of range: there are 4 rows, 0 to 3"
    assert str(on_cpu.value) == text
    with emulator.emulated(), strict.no_sync(), pytest.raises(IndexError, match=f"^{text}$"):
        embedding.forward(ids, E)


def test_a_bad_id_is_zeros_and_has_no_gradient(monkeypatch):
    monkeypatch.setattr(embedding.device_assertions, "check", lambda xp, device: None)
    ids, E, dy = on_device(np.array([9, 1, -1, 1]), np.ones((3, 2), "f"), np.ones((4, 2), "f"))
    with emulator.emulated():
        y, cache = embedding.forward(ids, E)
        _, dE = embedding.backward(dy, cache)
        embedding.device_assertions.assertions(strict.xp, "strict").host[:] = 0
    assert to_numpy(y).tolist() == [[0, 0], [1, 1], [0, 0], [1, 1]]
    assert to_numpy(dE).tolist() == [[0, 0], [2, 2], [0, 0]]


def test_other_dtypes_are_left_to_the_lines_by_hand():
    assert not embedding.takes(np.zeros(2, "i2"), np.zeros((2, 2)))
    assert not embedding.takes(np.zeros(2, "f"), np.zeros((2, 2)))
    assert not embedding.takes(np.zeros(2, "i"), np.zeros((2, 2), "i"))
    assert not embedding.takes(np.zeros(2, "i"), np.zeros(2))


@pytest.mark.parametrize("L", [1, 2, 7, 40])
def test_chunks_of_any_length(monkeypatch, L):
    """Runs that end with a chunk, go on for many chunks, begin in the last one."""
    monkeypatch.setattr(embedding, "CHUNK", L)
    rng = np.random.default_rng(0)
    for counts in [(40, 40), (7, 33, 1, 39), (0, 80), (79, 1), (1,) * 14]:
        ids = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        E, dy = rng.standard_normal((len(counts), 5)), rng.standard_normal((len(ids), 5))
        with emulator.emulated(seed=L):
            dE = embedding.backward(dy, embedding.forward(ids, E)[1])[1]
        np.testing.assert_allclose(dE, by_hand.backward(dy, (ids, E, None))[1], atol=1e-13)


def test_through_the_graph_without_waiting():
    rng = np.random.default_rng(0)
    ids, table = rng.integers(0, 6, (3, 7)), rng.standard_normal((6, 8)).astype("f")
    right, E = Parameter(table), Parameter(to_device(table, "strict"))
    (F.embedding(ids, right, padding_idx=-1) ** 2).sum().backward()
    on_strict = to_device(np.asfortranarray(ids), "strict")
    with emulator.emulated(seed=3), strict.no_sync():
        (F.embedding(on_strict, E, padding_idx=-1) ** 2).sum().backward()
    np.testing.assert_allclose(to_numpy(E.grad.data), right.grad.data, rtol=1e-5)
