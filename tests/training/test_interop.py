"""Weights that others saved: exact about names, and nothing in a file is trusted."""

import io
import zipfile

import numpy as np
import pytest

from nanoautograd.checkpoint import CheckpointError
from nanoautograd.interop import load_npz

ARRAYS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3)}
SHAPES = {"w": (2, 3), "b": (3,)}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_was_saved(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    arrays = load_npz(tmp_path / "a.npz", SHAPES)
    assert list(arrays) == ["w", "b"]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_all_that_is_wrong_is_listed(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS, n=np.arange(3))
    with pytest.raises(CheckpointError, match=r"(?s)of another model.*missing: c \(1,\)"
                       r".*unexpected: n \(3,\).*mis-shaped: w is \(2, 3\), the model has \(3, 2\)"
                       ".*not floating: n is int64"):
        load_npz(tmp_path / "a.npz", {"w": (3, 2), "b": (3,), "c": (1,)})


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("was unpickled",)

    np.savez(tmp_path / "a.npz", **{**ARRAYS, "b": np.array([Trap()] * 3, dtype=object)})
    with pytest.raises(CheckpointError, match="not floating: b is object"):
        load_npz(tmp_path / "a.npz", SHAPES)


def test_damaged_files(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **ARRAYS)
    whole = path.read_bytes()
    damaged = [b"", b"PK", b"garbage" * 100, *(whole[:n] for n in range(0, len(whole), 37))]
    place = whole.index(ARRAYS["w"].tobytes())
    damaged.append(whole[:place] + b"\xff" + whole[place + 1:])         # seen by its check sum
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="is not a whole .npz file"):
            load_npz(path, SHAPES)
    with pytest.raises(OSError):
        load_npz(tmp_path / "missing.npz", SHAPES)


def test_any_byte_may_be_wrong(tmp_path, rng):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **ARRAYS)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([rng.integers(256)]) + whole[place + 1:])
        try:
            arrays = load_npz(path, SHAPES)
        except CheckpointError:
            continue
        for name, array in ARRAYS.items():                              # it made no difference
            np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("header, why", [
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000)}", "mis-shaped: w is"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", "not a whole"),     # no data
    ("__import__('os').abort()", "not a whole"),
    ("{'descr': 'nonsense'}", "not a whole")])
def test_headers_that_lie(tmp_path, header, why):
    data = io.BytesIO()
    text = header.ljust(117).encode() + b"\n"
    data.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("w.npy", data.getvalue())
    with pytest.raises(CheckpointError, match=why):
        load_npz(tmp_path / "a.npz", {"w": (2, 3)})


def test_an_entry_that_is_no_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("w.txt", "hello")
    with pytest.raises(CheckpointError, match="'w.txt' is no array"):
        load_npz(tmp_path / "a.npz", SHAPES)
