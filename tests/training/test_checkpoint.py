"""Saving and loading: whole or not at all, and damage of any kind is one clear error."""

import builtins
import json
import os
import pickle
import random
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nanoautograd as nag
from nanoautograd import checkpoint, nn
from nanoautograd.checkpoint import (
    CheckpointError,
    load,
    load_checkpoint,
    load_metadata,
    save,
    save_checkpoint,
    tidy,
)
from nanoautograd.core.tensor import Tensor

pytest.importorskip("safetensors")


def test_arrays_come_back_as_they_were(tmp_path, rng):
    x = rng.standard_normal((3, 4)).astype(np.float32)
    arrays = {
        "dense": x,
        "transposed": x.T,
        "strided": x[::2, ::-1],
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 3)),
        "half": x.astype(np.float16),
        "ids": np.arange(5),
        "mask": x > 0,
        "big-endian": x.astype(">f8"),
        "read-only": np.broadcast_to(x, (2, 3, 4)),
    }
    path = tmp_path / "a.safetensors"
    save({**arrays, "tensor": Tensor(x, requires_grad=True)}, path, {"k": "é"})
    loaded = load(path)
    assert loaded.keys() == {*arrays, "tensor"}
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype.newbyteorder("="), name
        assert loaded[name].shape == array.shape, name
        assert np.array_equal(loaded[name], array), name
    assert np.array_equal(loaded["tensor"], x)
    loaded["dense"] += 1  # writable
    assert load_metadata(path) == {"k": "é"}
    assert os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.oracle
def test_pytorch_reads_the_same(tmp_path, rng):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    x = rng.standard_normal((3, 4)).astype(np.float32)
    save({"x": x.T}, tmp_path / "ours")
    assert np.array_equal(load_file(tmp_path / "ours")["x"].numpy(), x.T)
    save_file({"x": torch.tensor(x)}, tmp_path / "theirs")
    assert np.array_equal(load(tmp_path / "theirs")["x"], x)
    assert load_metadata(tmp_path / "theirs") == {}


BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
ARRAYS = st.one_of(
    hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    for dtype in ("f2", "f4", "f8", ">f4", "i1", "i2", "i4", ">i8", "u1", "u2", "u4", "u8", "?")
)


@given(st.dictionaries(st.text(), ARRAYS, max_size=4), st.dictionaries(st.text(), st.text()))
def test_what_can_be_saved_comes_back_to_the_bit(tmp_path, arrays, metadata):
    """Under any name, of any dtype and shape, with any NaN and infinity, also in bfloat16."""
    path = tmp_path / "a"
    with np.errstate(all="ignore"):
        arrays |= {f"{name}'": a.astype(BFLOAT16) for name, a in arrays.items()}
    save(arrays, path, metadata)
    loaded = load(path)
    assert loaded.keys() == arrays.keys() and load_metadata(path) == metadata
    for name, a in arrays.items():
        dtype = a.dtype.newbyteorder("=")
        assert (loaded[name].dtype, loaded[name].shape) == (dtype, a.shape)
        assert loaded[name].tobytes() == a.astype(dtype).tobytes()
        loaded[name][...] = 0  # writable


@pytest.mark.oracle
def test_bfloat16_that_pytorch_saved_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    x = [1.0, -2.5, 3e38, np.inf]
    save_file({"x": torch.tensor(x, dtype=torch.bfloat16)}, tmp_path / "theirs")
    assert load(tmp_path / "theirs")["x"].tolist() == load_file(tmp_path / "theirs")["x"].tolist()


def test_bfloat16_without_its_package(tmp_path, monkeypatch):
    save({"x": np.ones(2, BFLOAT16)}, tmp_path / "a", {"k": "v"})
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="a has numbers in bfloat16.*pip install ml_dtypes"):
        load(tmp_path / "a")
    assert load_metadata(tmp_path / "a") == {"k": "v"}


def test_a_dtype_that_is_not_known(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    data = safetensors.save({"x": np.ones(2, ml_dtypes.float8_e5m2)})
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(CheckpointError, match="'x' is of the dtype F8_E5M2.*known are F64, F32"):
        load(tmp_path / "a")


def test_arguments_in_another_order_and_files_of_pytorch(tmp_path):
    arrays = {"weight": np.ones(2)}
    for path in (str(tmp_path / "a"), tmp_path / "a"):
        with pytest.raises(TypeError, match=r"come first: nag.save\(arrays, path\)"):
            save(path, arrays)
    with pytest.raises(TypeError, match=r"got object; the arrays.*as 'model.weight'"):
        save({"model": arrays}, tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as file:
        file.writestr("data.pkl", pickle.dumps(arrays))
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(arrays))
    for name in ("b.pt", "c.pkl"):
        with pytest.raises(CheckpointError, match="a pickle: write it with safetensors.torch"):
            load(tmp_path / name)


@pytest.mark.parametrize(
    "value",
    [
        "text",
        np.array(["a"]),
        np.array([1j]),
        None,
        np.ones(2, np.longdouble),
        np.ones(2, ml_dtypes.float8_e5m2),
        np.array([None]),
        np.array("2000-01-01", "M8[D]"),
        {"y": np.ones(1)},
    ],
)
def test_what_is_no_numeric_array_is_refused(tmp_path, value):
    with pytest.raises(TypeError, match="'x' must be a real numeric array"):
        save({"x": value}, tmp_path / "a")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "tensors, metadata, error, message",
    [
        (
            {"__metadata__": np.ones(1)},
            None,
            ValueError,
            "cannot be called '__metadata__'.*another",
        ),
        ({1: np.ones(1)}, None, TypeError, "names must be strings, got 1"),
        ({"\ud800": np.ones(1)}, None, ValueError, "not Unicode that UTF-8 can hold"),
        ({"x": np.ones(1)}, {"k": "\ud800"}, ValueError, "not Unicode that UTF-8 can hold"),
        ({"x": np.ones(1)}, {"k": 1}, TypeError, r"metadata must be \{str: str\}, got \{'k': 1"),
        ({"x": np.ones(1)}, "text", TypeError, "metadata must be"),
        ({"x" * 100_000_001: np.ones(1)}, None, ValueError, "the format cannot hold this"),
        ({"x": np.ma.ones(1)}, None, TypeError, "MaskedArray"),
        ([np.ones(1)], None, TypeError, r"takes \{name: array\}, got list"),
        ("path", None, TypeError, r"takes \{name: array\}, got str"),
        (nn.Linear(2, 3), None, TypeError, r"got Linear.*nag.save\(model.state_dict\(\), path\)"),
    ],
)
def test_what_no_one_could_read_is_not_written(tmp_path, tensors, metadata, error, message):
    (tmp_path / "a").write_text("as it was")
    with pytest.raises(error, match=message) as e:
        nag.save(tensors, tmp_path / "a", metadata)
    assert len(str(e.value)) < 500
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "as it was"


def test_a_missing_package_says_how_to_install_it(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("safetensors"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install"):
        save({"x": np.ones(1)}, tmp_path / "a")


def damaged(data, rng):
    """Copies of the bytes: cut, with bytes changed, with a monstrous header, of another format."""
    for n in [0, 1, 7, 8, 9, len(data) // 2, len(data) - 1]:
        yield data[:n]
    for _ in range(100):
        copy = bytearray(data)
        copy[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        yield bytes(copy)
    yield (2**63 - 1).to_bytes(8, "little") + data[8:]
    header = json.dumps(
        {"x": {"dtype": "F64", "shape": [2**40, 2**20], "data_offsets": [0, 2**63]}}
    ).encode()
    yield len(header).to_bytes(8, "little") + header
    yield b"\x80\x04\x95 a pickle"
    yield data + b"more"


def test_a_damaged_file_is_an_error(tmp_path, rng):
    path = tmp_path / "a.safetensors"
    save({"x": np.ones((2, 3)), "n": np.array(7)}, path)
    data = path.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    for bad in damaged(data, random.Random(0)):
        path.write_bytes(bad)
        if bad[:header] == data[:header] and len(bad) == len(data):
            continue  # a changed number: only a checkpoint's check sum shows it
        try:
            names = load(path).keys()
        except CheckpointError as e:
            assert "a.safetensors is not a whole safetensors file" in str(e)
        else:  # still well-formed: then something else was renamed
            assert names != {"x", "n"} or bad[8:header] != data[8:header]


def test_checkpoint_round_trip_and_replacement(tmp_path):
    save_checkpoint(tmp_path, {"x": np.ones(3)}, {"step": 1})
    save_checkpoint(tmp_path, {"x": np.zeros(3)}, {"step": 2, "nested": {"a": [0.1, None, "é"]}})
    tensors, state = load_checkpoint(tmp_path)
    assert state == {"step": 2, "nested": {"a": [0.1, None, "é"]}}
    assert (tensors["x"] == 0).all()
    assert len(os.listdir(tmp_path)) == 2  # the former arrays are gone


def test_tidy_removes_what_a_kill_left_and_nothing_else(tmp_path):
    save_checkpoint(tmp_path, {"x": np.ones(3)}, {"step": 1})
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    save_checkpoint(tmp_path, {"x": np.zeros(3)}, {"step": 2})
    new = set(os.listdir(tmp_path))
    (arrays,) = old.keys() - {"checkpoint.json"}
    own = {f"{arrays}.bak", f"my-{arrays}", "checkpoint-best.safetensors", "notes", ".notes.tmp"}
    for name in {arrays, f".{arrays}.tmp", ".checkpoint.json.tmp", *own}:
        (tmp_path / name).write_bytes(old[arrays])
    tidy(tmp_path)
    assert set(os.listdir(tmp_path)) == new | own
    (tmp_path / arrays).write_bytes(old[arrays])
    save_checkpoint(tmp_path, {"x": np.zeros(3)}, {"step": 2})
    assert set(os.listdir(tmp_path)) == new | own and load_checkpoint(tmp_path)[1] == {"step": 2}
    (tmp_path / "checkpoint.json").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="damaged"):
        tidy(tmp_path)
    assert set(os.listdir(tmp_path)) == new | own


def test_any_damage_to_a_checkpoint_is_an_error(tmp_path):
    save_checkpoint(tmp_path, {"x": np.arange(6.0)}, {"step": 1, "config": {"hidden": 8}})
    rng = random.Random(0)
    for path in list(tmp_path.iterdir()):
        data = path.read_bytes()
        for bad in damaged(data, rng):
            path.write_bytes(bad)
            if path.suffix == ".json" and _same(bad, data):
                continue  # white space: says the same
            with pytest.raises(CheckpointError, match="damaged|no checkpoint|missing"):
                load_checkpoint(tmp_path)
        path.unlink()
        with pytest.raises(CheckpointError, match="no checkpoint in|missing"):
            load_checkpoint(tmp_path)
        path.write_bytes(data)
    load_checkpoint(tmp_path)
    (tmp_path / "checkpoint.json").write_text('{"a":' * 100_000)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "name", [5, None, ["a"], "", "..", "../x", "/etc/passwd", "a\0b", "\ud800", "x" * 5000]
)
def test_arrays_under_a_name_that_cannot_be(tmp_path, name):
    save_checkpoint(tmp_path, {"x": np.ones(3)}, {"step": 1})
    path = tmp_path / "checkpoint.json"
    document = {**json.loads(path.read_text()), "tensors": name}
    document["check"] = checkpoint._check(document)
    path.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="damaged|missing"):
        load_checkpoint(tmp_path)


def _same(a, b):
    try:
        return json.loads(a) == json.loads(b)
    except ValueError:
        return False


def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "checkpoint.json")
    with pytest.raises(CheckpointError, match="not a regular file"):
        load_checkpoint(tmp_path)


class Killed(BaseException):
    """Stands for SIGKILL between two calls to the operating system."""


CALLS = ["open", "fsync", "replace", "unlink"]


def test_killed_between_any_two_system_calls(tmp_path, monkeypatch):
    """The old checkpoint or the new one is there, whole, wherever the kill comes; and saving again
    works and leaves two files."""
    old, new = ({"x": np.ones(3)}, {"step": 1}), ({"x": np.zeros(3)}, {"step": 2})
    real = {name: getattr(os, name) for name in CALLS}
    real_open = builtins.open
    seen = []
    for survive in range(100):
        save_checkpoint(tmp_path, *old)
        calls = iter(range(survive))

        def dying(name, function):
            def call(*args, **kwargs):
                if next(calls, None) is None:
                    raise Killed(name)
                return function(*args, **kwargs)

            return call

        with monkeypatch.context() as m:
            for name in CALLS:
                m.setattr(os, name, dying(name, real[name]))
            m.setattr(checkpoint, "open", dying("open", real_open), raising=False)
            # a killed process tidies nothing up
            m.setattr(checkpoint.Path, "unlink", lambda self, missing_ok=False: os.unlink(self))
            try:
                save_checkpoint(tmp_path, *new)
                finished = True
            except (Killed, FileNotFoundError):
                finished = False
        tensors, state = load_checkpoint(tmp_path)
        expected = old if state["step"] == 1 else new
        assert np.array_equal(tensors["x"], expected[0]["x"])
        seen.append(state["step"])
        save_checkpoint(tmp_path, *new)
        assert len([f for f in os.listdir(tmp_path) if not f.startswith(".")]) == 2
        assert load_checkpoint(tmp_path)[1] == new[1]
        if finished:
            break
    assert finished and seen == sorted(seen) and set(seen) == {1, 2}
