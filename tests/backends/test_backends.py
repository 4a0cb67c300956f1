"""Which library owns an array; what can be used here, and if not, why not."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd.backends import (
    DeviceError,
    array_namespace,
    available,
    device_of,
    is_array,
    last_writers,
    scatter_add,
    strict,
    to_device,
    to_numpy,
)


def test_the_namespace_is_that_of_the_array(backend):
    x = backend.array([1.0, 2.0])
    assert array_namespace(x) is array_namespace(2.0, x, None, True, np.float32(1)) is backend.xp
    assert array_namespace(x[0]) is backend.xp
    assert device_of(x).partition(":")[0] == backend.device
    assert is_array(x) and not is_array(2.0) and not is_array([x])


def test_scalars_alone_are_numpys():
    assert array_namespace() is array_namespace(1, 2.0, None) is np


def test_arrays_move_to_a_device_and_back_unchanged(backend):
    host = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    x = to_device(host, backend.device)
    assert x.dtype == np.float32 and to_device(x, backend.device) is x
    back = to_numpy(to_device(x, "cpu"))
    assert type(back) is np.ndarray
    np.testing.assert_array_equal(back, host)


def test_two_devices_do_not_mix():
    x, y = np.ones(3), strict.xp.ones(3, dtype=np.float64)
    with pytest.raises(DeviceError, match="cpu and strict"):
        array_namespace(x, y)
    with pytest.raises(DeviceError, match="cpu and strict"):
        nag.Tensor(x) + nag.Tensor(y)


@pytest.mark.parametrize(
    "index, values",
    [
        (np.array([2, 0, 2, -1]), 1.0),
        (np.array([[1, 1], [0, -3]]), np.arange(16.0).reshape(2, 2, 4)),
        ((np.array([2, 2, 0]), np.array([3, 3, 3])), np.array([1.0, 2.0, 4.0])),
        ((slice(None), np.array([0, 0, -1])), np.arange(9.0).reshape(3, 3)),
        ((np.array([0, 0]),), np.ones((2, 4))),
        (1, np.arange(4.0)),
        ((slice(1), ..., None), 2.0),
        (np.array([], dtype=int), np.ones((0, 4))),
        (np.array([True, False, True]), 3.0),
    ],
)
def test_scatter_add_adds_up_repeated_places(backend, index, values):
    def on_device(x):
        return (
            tuple(map(on_device, x))
            if isinstance(x, tuple)
            else backend.array(x)
            if isinstance(x, np.ndarray)
            else x
        )

    buffer = np.arange(12.0).reshape(3, 4)
    x = backend.array(buffer)
    scatter_add(x, on_device(index), backend.array(values, dtype=np.float64))
    np.add.at(buffer, index, values)
    np.testing.assert_allclose(backend.numpy(x), buffer)


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_scatter_add_of_rows_that_are_named_often(backend, n, V, D, seed):
    rng = np.random.default_rng(seed)
    rows, values = rng.integers(-V, V, n) // rng.integers(1, 4), rng.standard_normal((n, D))
    want, given_values = rng.standard_normal((V, D)), backend.array(values)
    x = backend.array(want)
    scatter_add(x, backend.array(rows), given_values)
    np.add.at(want, rows, values)
    np.testing.assert_allclose(backend.numpy(x), want, atol=1e-12)
    np.testing.assert_array_equal(backend.numpy(given_values), values)  # not written to


def test_last_writers_finds_who_wins_each_place(backend):
    winners = last_writers(backend.array([3, 1, 3, 0, 1, 3]), 5)
    assert backend.numpy(winners).tolist() == [5, 4, 5, 3, 4, 5]


# --- what can be used -----------------------------------------------------------------------------


def test_available_describes_all_three():
    found = available()
    assert set(found) == {"numpy", "cupy", "strict"}
    assert found["numpy"].usable and np.__version__ in found["numpy"].detail
    assert found["strict"].usable
    assert all(isinstance(s.usable, bool) and s.detail for s in found.values())


def test_without_cupy_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # what makes `import cupy` fail
    status = available()["cupy"]
    assert not status.usable
    for text in ("not installed", "pip install cupy-cuda13x", "cupy-cuda12x"):
        assert text in status.detail
    with pytest.raises(DeviceError) as error:
        nag.Tensor([1.0]).to("cuda")
    assert "'cuda' cannot be used" in str(error.value) and status.detail in str(error.value)


class CupyWithoutDriver:
    """As much of cupy as can be seen on a machine that has no driver."""

    __version__ = "14.2.0"

    class cuda:
        @staticmethod
        def is_available():
            return False


def test_without_a_driver_that_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", CupyWithoutDriver)
    status = available()["cupy"]
    assert not status.usable and "driver" in status.detail and "14.2.0" in status.detail
    with pytest.raises(DeviceError, match="driver"):
        nag.Tensor([1.0]).to("cuda:0")


def test_the_cupy_that_is_installed_says_the_same():
    cupy = pytest.importorskip("cupy")
    status = available()["cupy"]
    assert status.usable == cupy.cuda.is_available()
    if not status.usable:
        assert "driver" in status.detail and cupy.__version__ in status.detail
        with pytest.raises(DeviceError, match="driver"):
            nag.Tensor([1.0], device="cuda")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", "", "tpu:0", 3])
def test_devices_that_do_not_exist(device):
    with pytest.raises(DeviceError, match="no device is called"):
        to_device(np.ones(2), device)


@pytest.mark.gpu
def test_a_gpu_that_is_not_there(backend):
    if backend.name != "cupy":
        pytest.skip("needs a GPU")
    with pytest.raises(DeviceError, match="GPU"):
        to_device(np.ones(2), "cuda:99")
