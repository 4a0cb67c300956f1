"""Weights that others saved: exact about names, and nothing in a file is trusted."""

import json
import os
import tracemalloc
import zipfile

import numpy as np
import pytest

from nanoautograd.checkpoint import CheckpointError, save
from nanoautograd.interop import (
    check_sizes,
    fill,
    load_npz,
    load_safetensors,
    read_config,
    read_gguf,
)
from nanoautograd.interop.names import check_names
from nanoautograd.nn import Linear

ARRAYS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3)}
SHAPES = {"w": (2, 3), "b": (3,)}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_was_saved_is_read(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    arrays = load_npz(tmp_path / "a.npz", SHAPES)
    assert list(arrays) == ["w", "b"]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_all_that_is_wrong_is_listed(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS, n=np.arange(3))
    with pytest.raises(
        CheckpointError,
        match=r"(?s)of another model.*missing: c \(1,\)"
        r".*unexpected: n \(3,\).*mis-shaped: w is \(2, 3\), the model has \(3, 2\)"
        ".*not floating: n is int64",
    ):
        load_npz(tmp_path / "a.npz", {"w": (3, 2), "b": (3,), "c": (1,)})


def test_a_model_is_filled_from_a_file_with_other_names(tmp_path):
    path, model = tmp_path / "a.npz", Linear(3, 2, rng=0)
    np.savez(path, kernel=ARRAYS["w"], shift=np.ones(2))
    names = {"kernel": "weight", "shift": "bias"}
    assert fill(model, names, lambda shapes: load_npz(path, shapes)) is model
    np.testing.assert_array_equal(model.weight.data, ARRAYS["w"])
    np.testing.assert_array_equal(model.bias.data, [1, 1])
    other = Linear(3, 4, rng=0)
    before = other.state_dict()
    with pytest.raises(CheckpointError, match=r"kernel is \(2, 3\), the model has \(4, 3\)"):
        fill(other, names, lambda shapes: load_npz(path, shapes))
    assert all((before[name] == p.data).all() for name, p in other.named_parameters())


BROKEN = {
    "a NaN": (np.float32, [0, 1, np.nan], "weight has numbers that are not finite in"),
    "an infinity": (np.float32, [0, 1, -np.inf], "weight has numbers that are not finite in"),
    "too much for the model": (np.float64, [0, 1, 1e39], "not finite in float32"),
    "only zeros": (np.float32, [0, -0.0, 0], r"weight \(2, 3\) has nothing but zeros"),
    "too little for the model": (np.float64, [0, 1e-60, 0], "nothing but zeros"),
}


@pytest.mark.parametrize("dtype, row, why", BROKEN.values(), ids=BROKEN)
def test_numbers_that_are_no_weights(dtype, row, why):
    model = Linear(3, 2, rng=0)
    before = model.state_dict()
    arrays = {"weight": np.array([[0, 0, 0], row], dtype), "bias": np.ones(2)}
    with pytest.raises(CheckpointError, match=f"^the weights are damaged.*\n  .*{why}[^\n]*$"):
        fill(model, {name: name for name in arrays}, lambda shapes: arrays)
    assert all((before[name] == p.data).all() for name, p in model.named_parameters())


def test_zeros_and_great_numbers_that_are_weights():
    """A vector of zeros, a row of them, and numbers whose sum would overflow."""
    model, most = Linear(3, 2, rng=0), np.finfo(np.float32).max
    arrays = {"weight": np.array([[0, 0, 0], [most, most, most]]), "bias": np.zeros(2)}
    fill(model, {name: name for name in arrays}, lambda shapes: arrays)
    np.testing.assert_array_equal(model.weight.data, arrays["weight"])


def test_sizes_of_another_model():
    check_sizes("a", {"width": 3, "other": 1}, {"width": 3})
    with pytest.raises(
        CheckpointError,
        match=r"^the weights in a are of another model:\s+width is "
        r"3, the model has 4\s+act is None, the model has 'gelu'$",
    ):
        check_sizes("a", {"width": 3, "heads": 1}, {"width": 4, "heads": 1, "act": "gelu"})


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("was unpickled",)

    np.savez(tmp_path / "a.npz", **{**ARRAYS, "b": np.array([Trap()] * 3, dtype=object)})
    with pytest.raises(CheckpointError, match="not floating: b is object"):
        load_npz(tmp_path / "a.npz", SHAPES)


def test_damaged_npz_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **ARRAYS)
    whole = path.read_bytes()
    damaged = [b"", b"PK", b"garbage" * 100, *(whole[:n] for n in range(0, len(whole), 37))]
    place = whole.index(ARRAYS["w"].tobytes())
    damaged.append(whole[:place] + b"\xff" + whole[place + 1 :])  # seen by its check sum
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
        path.write_bytes(whole[:place] + bytes([rng.integers(256)]) + whole[place + 1 :])
        try:
            arrays = load_npz(path, SHAPES)
        except CheckpointError:
            continue
        for name, array in ARRAYS.items():  # it made no difference
            np.testing.assert_array_equal(arrays[name], array)


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"


def write(path, header, numbers=bytes(24), version=1, length=None, way=zipfile.ZIP_STORED):
    """A file of one array w, whose header is the text and has the length that are given."""
    length = (len(header) if length is None else length).to_bytes(2 * version, "little")
    with zipfile.ZipFile(path, "w", way) as file:
        file.writestr(
            "w.npy", b"\x93NUMPY" + bytes([version, 0]) + length + header.encode("latin1") + numbers
        )
    return path


def test_both_orders_and_versions(tmp_path):
    numbers = ARRAYS["w"].tobytes()
    for version in (1, 2):
        for header, wanted in (
            (HEADER, ARRAYS["w"]),
            (HEADER.replace("False", "True"), ARRAYS["w"].reshape(3, 2).T),
        ):
            path = write(tmp_path / "a.npz", header + " " * 40 + "\n", numbers, version)
            np.testing.assert_array_equal(load_npz(path, {"w": (2, 3)})["w"], wanted)
    np.savez(tmp_path / "a.npz", a=np.float64(3), b=np.ones((0, 2)), c=np.ones(1, ">f2"))
    arrays = load_npz(tmp_path / "a.npz", {"a": (), "b": (0, 2), "c": (1,)})
    assert arrays["a"] == 3 and arrays["b"].shape == (0, 2) and arrays["c"].tolist() == [1]
    arrays["a"][()] = 4  # it is ours


@pytest.mark.parametrize(
    "header, why",
    [
        (HEADER.replace("2, 3", "1000000, 1000000"), "mis-shaped: w is"),
        (HEADER.replace("2, 3", "2, 3" + 5000 * "0"), "not a whole"),
        (HEADER.replace("2, 3", "2, 3 3"), "not a whole"),
        (HEADER.replace("2, 3", ",,"), "not a whole"),
        (HEADER.replace("2, 3", "2, -3"), "not a whole"),
        (HEADER.replace("2, 3", "\xb2, 3"), "no array"),
        (HEADER.replace("<f4", "<i4"), "not floating: w is int32"),
        (HEADER.replace("<f4", "<f4,,"), "no array of numbers"),
        (HEADER.replace("<f4", "<f7"), "unknown dtype '<f7'"),
        (HEADER.replace("<f4", "|V" + 30 * "9"), "unknown dtype"),
        (HEADER.replace("'<f4'", "[('<f4',)]"), "no array of numbers"),
        (HEADER.replace("f4", "f8"), "has not the 48 bytes"),
        (HEADER.replace("f4", "f2"), "has not the 12 bytes"),
        ("{'descr': (\n", "no array"),
        ("{'descr': '''\n", "no array"),
        ("-" * 9000 + "1", "no array"),
        ("(" * 9000, "no array"),
        ("{1:" * 90 + "1" + "}" * 90, "no array"),
        ("{'\0'}", "no array"),
        ("{1: 2, 'descr': 3}", "no array"),
        ("", "no array"),
        (" " * 10_001, "10001 bytes, more than"),
        ("__import__('os').abort()", "no array"),
        ("{'descr': 'nonsense'}", "no array"),
    ],
)
def test_headers_that_lie_are_refused(tmp_path, header, why):
    for version in (1, 2):
        with pytest.raises(CheckpointError, match=why):
            load_npz(write(tmp_path / "a.npz", header, version=version), {"w": (2, 3)})


def test_much_in_a_small_file(tmp_path):
    """A header, or numbers, of which a thousand times as many are said to follow, and do."""
    vast = " " * 20_000_000
    for header, numbers, length in (
        (vast, b"", None),
        (HEADER, vast.encode(), None),
        (HEADER, b"", 2**32 - 1),
    ):
        path = write(tmp_path / "a.npz", header, numbers, 2, length, zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 30_000
        tracemalloc.start()
        try:
            with pytest.raises(CheckpointError, match="not a whole .npz file.*(more than|has not)"):
                load_npz(path, {"w": (2, 3)})
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("way", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packed_as_numpy_does_not(tmp_path, way):
    with pytest.raises(CheckpointError, match="is packed in the way"):
        load_npz(write(tmp_path / "a.npz", HEADER, way=way), {"w": (2, 3)})


def test_an_entry_that_is_no_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("w.txt", "hello")
    with pytest.raises(CheckpointError, match="'w.txt' is no array"):
        load_npz(tmp_path / "a.npz", SHAPES)


@pytest.mark.parametrize(
    "read",
    [
        lambda path: read_config(path, {"width": int}),
        read_gguf,
        lambda path: load_npz(path, SHAPES),
        lambda path: load_safetensors(path, SHAPES),
    ],
    ids=["config", "gguf", "npz", "safetensors"],
)
def test_a_vast_file_of_another_kind_is_not_read(tmp_path, read):
    pytest.importorskip("safetensors")
    with open(tmp_path / "a", "wb") as vast:
        vast.truncate(100_000_000)  # zeros that take no place on the disk
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="at most 1,000,000 are read|is not a whole"):
            read(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_little_of_a_file_is_quoted():
    found = {"x" * 1_000_000 + str(i): ((1,) * 1_000_000, np.dtype(int)) for i in range(3)}
    found |= {f"n{i}": ((1,), np.dtype(np.float32)) for i in range(200_000)}
    with pytest.raises(
        CheckpointError,
        match=r"(?s)missing: w .*missing: b .*unexpected: x.*"
        r"unexpected: n16 \(1,\)\n  and 199,983 more\n  not floating: xxx",
    ) as e:
        check_names("a", found, SHAPES)
    assert len(str(e.value)) < 10_000
    with pytest.raises(CheckpointError, match="act is 'xxx.*, the model has 'gelu'") as e:
        check_sizes("a", {"act": "x" * 1_000_000}, {"act": "gelu"})
    assert len(str(e.value)) < 1000


# ---- safetensors


@pytest.fixture
def file(tmp_path):
    """The path of a safetensors file."""
    pytest.importorskip("safetensors")
    save(ARRAYS, tmp_path / "a.safetensors", {"format": "pt"})
    return tmp_path / "a.safetensors"


def test_what_was_saved_as_safetensors_is_read(file):
    arrays = load_safetensors(file, SHAPES)
    assert list(arrays) == ["w", "b"]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
        arrays[name] += 1  # it is ours
    np.testing.assert_array_equal(load_safetensors(file, SHAPES)["b"], ARRAYS["b"])
    save({**ARRAYS, "n": np.arange(3)}, file)
    assert list(load_safetensors(file, SHAPES, ignored=["n", "m"])) == ["w", "b"]


def test_all_that_is_wrong_in_safetensors_is_listed(file):
    save({**ARRAYS, "n": np.arange(3)}, file)
    with pytest.raises(
        CheckpointError,
        match=r"(?s)of another model.*missing: c \(1,\).*"
        r"unexpected: n \(3,\).*mis-shaped: w is \(2, 3\), the model has "
        r"\(3, 2\)",
    ):
        load_safetensors(file, {"w": (3, 2), "b": (3,), "c": (1,)})
    with pytest.raises(CheckpointError, match="must be of F16, F32, F64:\n  n is I64$"):
        load_safetensors(file, {**SHAPES, "n": (3,)})


def test_damaged_safetensors_are_refused(file):
    whole = file.read_bytes()
    for data in [b"", b"garbage" * 100, whole + b"\0", *(whole[:n] for n in range(len(whole)))]:
        file.write_bytes(data)
        with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
            load_safetensors(file, SHAPES)
    for path in (file.with_name("missing"), file.parent):
        with pytest.raises(OSError):
            load_safetensors(path, SHAPES)
    if hasattr(os, "mkfifo"):
        os.mkfifo(file.with_name("pipe"))  # reading it would wait
        with pytest.raises(OSError, match="not a regular file"):
            load_safetensors(file.with_name("pipe"), SHAPES)


def test_any_byte_of_safetensors_may_be_wrong(file, rng):
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([rng.integers(256)]) + whole[place + 1 :])
        try:
            arrays = load_safetensors(file, SHAPES)
        except CheckpointError:
            continue
        assert {name: array.shape for name, array in arrays.items()} == SHAPES


def header(dtype="F32", shape=(2, 3), ends=24):
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, ends]}}


@pytest.mark.parametrize(
    "header, why",
    [
        (header(shape=(10**6, 10**6)), "not a whole"),
        (header(shape=(10**6, 10**6), ends=4 * 10**12), "not a whole"),
        (header(shape=(2**62, 2**62)), "not a whole"),
        (header(shape=(-2, -3)), "not a whole"),
        (header(shape=(0, 2**63), ends=0), "not a whole|mis-shaped"),
        (header(shape=(24,), dtype="U8"), "mis-shaped"),
        (header(ends=2**64), "not a whole"),
        (header("BF16", ends=12), "w is BF16"),
        (header("F8_E4M3", ends=6), "w is F8_E4M3"),
        (header("C64", ends=48), "w is C64"),
        (header("object"), "not a whole"),
        (json.dumps(header())[:-1] + "," + json.dumps(header(ends=12))[1:], "not a whole"),
        ("[" * 100_000, "not a whole"),
        ("{}", "missing: w"),
        ("null", "not a whole"),
    ],
)
def test_headers_of_safetensors_that_lie(file, header, why):
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    n = 24 if isinstance(header, str) else min(64, header["w"]["data_offsets"][1])
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(n * ("{}" != header)))
    with pytest.raises(CheckpointError, match=why):
        load_safetensors(file, {"w": (2, 3)})


@pytest.mark.parametrize("length", [2**64 - 1, 2**62, 10**8, 1000])
def test_lengths_of_a_header_that_lie(file, length):
    file.write_bytes(length.to_bytes(8, "little") + file.read_bytes()[8:])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_safetensors(file, SHAPES)


# ---- sizes

KINDS = {"width": int, "eps": float, "act": str}


def test_sizes_in_json_are_read_or_named(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"width": 384, "eps": 1e-12, "act": "gelu", "more": [1, null]}')
    assert read_config(path, KINDS) == {"width": 384, "eps": 1e-12, "act": "gelu"}
    path.write_text('{"act": 3, "width": [[[]]]}')
    with pytest.raises(
        CheckpointError,
        match="(?s)width is a list, not a whole number from 1 to "
        "1000000000\n  missing: eps\n  act is 3, not a string",
    ):
        read_config(path, KINDS)
    with pytest.raises(OSError):
        read_config(tmp_path / "missing", KINDS)


@pytest.mark.parametrize(
    "value",
    [
        "0",
        "-1",
        "1.0",
        "true",
        "null",
        '"1"',
        "{}",
        "1e3",
        "1" + 12 * "0",
        "1" + 5000 * "0",
        "[" * 100_000,
        "Infinity",
        "[" * 900 + "]" * 900,
        '"\\ud800"',
        "",
    ],
)
def test_what_is_no_size_is_refused(tmp_path, value):
    path = tmp_path / "config.json"
    path.write_text('{"width": %s}' % value)
    with pytest.raises(CheckpointError, match="width is|not a JSON object"):
        read_config(path, {"width": int})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[1]",
        b"null",
        b"{",
        b"\xff\xfe",
        b"NaN",
        b"3",
        b'{"eps": NaN}',
        b'{"eps": 1e400}',
        b'{"eps": true}',
        b'{"eps": 1' + 4000 * b"0" + b"}",
        b" " * 2_000_000 + b"{}",
    ],
)
def test_what_is_no_config_is_refused(tmp_path, data):
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(CheckpointError, match="not a JSON object|eps is|at most 1,000,000"):
        read_config(tmp_path / "config.json", {"eps": float})
