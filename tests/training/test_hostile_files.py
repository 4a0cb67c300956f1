"""Whatever a file holds, or is: one clear error of bounded length, soon, and nothing is run."""

import bz2
import gzip
import json
import os
import socket

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("safetensors")
pytest.importorskip("tokenizers")

from models.data import DataError, WordPieces, digits, labelled, sources  # noqa: E402
from models.data.translation import read_dictionary  # noqa: E402
from nanoautograd import checkpoint  # noqa: E402
from nanoautograd.checkpoint import (  # noqa: E402
    CheckpointError,
    load,
    load_checkpoint,
    load_metadata,
    read_file,
    save_checkpoint,
)
from nanoautograd.interop import gguf  # noqa: E402
from nanoautograd.interop.config import read_config  # noqa: E402
from nanoautograd.interop.gguf import read_gguf  # noqa: E402
from nanoautograd.interop.npz import load_npz  # noqa: E402
from nanoautograd.interop.safetensors import load_safetensors, shapes_of  # noqa: E402

LIMIT = checkpoint.MOST_LETTERS + 300  # letters of a message, with the path in it

READERS = {
    "load": load,
    "load_metadata": load_metadata,
    "load_safetensors": lambda path: load_safetensors(path, {"x": (1,)}),
    "shapes_of": shapes_of,
    "load_npz": lambda path: load_npz(path, {"x": (1,)}),
    "read_gguf": read_gguf,
    "read_config": lambda path: read_config(path, {"n": int}),
    "load_checkpoint": lambda path: load_checkpoint(path.parent),
    "WordPieces": WordPieces.pretrained,
    "dictionary": read_dictionary,
}
ERRORS = (CheckpointError, DataError, OSError)


def place(folder, name):
    """Where the reader of this name looks for its file."""
    return folder / ("checkpoint.json" if name == "load_checkpoint" else "file")


# ---- what is no regular file


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "endless", "loop"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, name, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    path = place(tmp_path, name)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path.name)
    else:
        path.symlink_to("/dev/zero" if kind == "endless" else path)
    with pytest.raises(ERRORS):
        READERS[name](path)


# ---- what is too large


@pytest.mark.parametrize("name", ["load_checkpoint", "WordPieces", "dictionary", "read_config"])
def test_a_file_that_is_too_large_is_not_read(tmp_path, name, monkeypatch):
    path = place(tmp_path, name)
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # a terabyte of zeros, which takes no place
    with pytest.raises(ERRORS, match="has 1,099,511,627,776 bytes, and at most"):
        READERS[name](path)


@pytest.mark.parametrize("pack", [gzip, bz2])
def test_what_unpacks_without_end_is_refused(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(sources, "LONGEST", 1000)
    path = tmp_path / "file"
    with pack.open(path, "wb") as file:
        file.write(b"0" * 100_000)
    module, read = (
        (digits, lambda: digits.read_digits("mnist"))
        if pack is gzip
        else (labelled, labelled.read_reviews)
    )
    monkeypatch.setattr(module, "package_path", lambda *parts: path)
    with pytest.raises(DataError, match="unpacks to more than 1,000 characters"):
        read()


def test_a_header_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(gguf, "LONGEST", 1000)
    path = tmp_path / "file"
    path.write_bytes(
        b"GGUF" + np.array([3], "<u4").tobytes() + np.array([0, 1, 5000], "<u8").tobytes()
    )
    with open(path, "ab") as file:
        file.truncate(1 << 20)
    with pytest.raises(CheckpointError, match="should have 5,000 bytes, and at most 1,000 are"):
        read_gguf(path)


def test_no_checkpoint_is_written_that_could_not_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "LONGEST", 1000)
    save_checkpoint(tmp_path, {"x": np.ones(3)}, {"step": 1})
    with pytest.raises(ValueError, match="bytes of JSON, and at most 1,000 do"):
        save_checkpoint(tmp_path, {"x": np.zeros(3)}, {"words": "a" * 1000})
    tensors, state = load_checkpoint(tmp_path)
    assert state == {"step": 1} and tensors["x"].all()
    assert len(os.listdir(tmp_path)) == 2


def test_arrays_are_as_large_as_their_file(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "LONGEST", 1000)
    save_checkpoint(tmp_path, {"x": np.ones(10_000)}, {"step": 1})
    assert load_checkpoint(tmp_path)[0]["x"].sum() == 10_000


# ---- what is quoted


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 50_000_000,
        b'{"' + b"a" * 10_000_000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"",
        b"{}",
    ],
    ids=["not UTF-8", "a long name", "nested lists", "nested objects", "empty", "nothing in it"],
)
def test_a_message_quotes_little_of_a_file(tmp_path, name, content):
    path = place(tmp_path, name)
    path.write_bytes(content)
    with pytest.raises(ERRORS) as e:
        READERS[name](path)
    assert 20 < len(str(e.value)) < LIMIT


def of_bytes(header):
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize("name", ["load", "load_safetensors"])
def test_a_message_quotes_little_of_a_long_name(tmp_path, name):
    path = tmp_path / "file"
    entry = {"dtype": "F8_E4M3", "shape": [], "data_offsets": [0, 1]}
    path.write_bytes(of_bytes(json.dumps({"é" * 1_000_000: entry}).encode()) + b"\0")
    with pytest.raises(CheckpointError) as e:
        READERS[name](path)
    assert len(str(e.value)) < LIMIT


@pytest.mark.parametrize("shape", [[0, 2**62, 2**62], [1] * 1000, [0, 2**40, 2**40]])
def test_shapes_that_numpy_cannot_have(tmp_path, shape):
    end = 0 if 0 in shape else 4
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}
    (tmp_path / "file").write_bytes(of_bytes(json.dumps({"x": entry}).encode()) + bytes(end))
    with pytest.raises(CheckpointError, match="NumPy cannot hold|not a whole"):
        load(tmp_path / "file")


def test_a_bool_is_one_whatever_its_byte_is(tmp_path):
    entry = {"dtype": "BOOL", "shape": [4], "data_offsets": [0, 4]}
    header = of_bytes(json.dumps({"x": entry}).encode())
    (tmp_path / "file").write_bytes(header + bytes([0, 1, 2, 255]))
    x = load(tmp_path / "file")["x"]
    assert x.tobytes() == bytes([0, 1, 1, 1]) and x.sum() == 3


@given(
    st.recursive(
        st.text() | st.floats() | st.none() | st.booleans(),
        lambda inside: st.one_of(st.lists(inside), st.dictionaries(st.text(), inside)),
    )
)
@settings(max_examples=2 * settings.default.max_examples)
def test_any_json_is_no_checkpoint(tmp_path, document):
    (tmp_path / "checkpoint.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path)


def test_the_middle_of_a_long_message_is_left_out():
    error = CheckpointError("begin " + "x" * 10_000_000 + " end")
    assert len(str(error)) < LIMIT
    assert str(error).startswith("begin x") and str(error).endswith("x end")
    assert str(DataError("y" * 10_000)) != str(DataError("y" * 100)) == "y" * 100


def test_reading_a_file_whole(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", 5) == read_file(tmp_path / "file") == b"12345"
    with pytest.raises(CheckpointError, match="has 5 bytes, and at most 4 are read"):
        read_file(tmp_path / "file", 4)
