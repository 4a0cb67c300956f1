"""GGUF files: what the package gguf writes is read, and nothing in a file is trusted."""

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoautograd.checkpoint import CheckpointError
from nanoautograd.interop import read_gguf

gguf = pytest.importorskip("gguf")

SHAPES = {"w": (2, 3), "b": (3,), "packed": (4, 64), "half": (5,)}
KIND = gguf.GGMLQuantizationType
MEGABYTE = 2**20


def arrays(rng):
    return {
        name: rng.standard_normal(shape).astype(np.float16 if name == "half" else np.float32)
        for name, shape in SHAPES.items()
    }


def write(path, weights, kind=KIND.Q4_1, more=None):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("a.count", 7)
    writer.add_float32("a.part", 0.5)
    writer.add_bool("a.choice", True)
    writer.add_string("a.text", "naïve\n")
    writer.add_array("a.words", ["one", "", "drei €"])
    writer.add_array("a.numbers", [3, -1, 2])
    for name, a in weights.items():
        if name == "packed":
            writer.add_tensor(name, gguf.quants.quantize(a, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, a)
    if more:
        more(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.gguf"


@pytest.mark.parametrize(
    "kind", [KIND.Q4_0, KIND.Q4_1, KIND.Q5_0, KIND.Q8_0, KIND.BF16], ids=lambda kind: kind.name
)
def test_what_was_written_is_read(path, rng, kind):
    weights = arrays(rng)
    write(path, weights, kind)
    file = read_gguf(path)
    assert file.metadata.pop("a.numbers").tolist() == [3, -1, 2]
    assert file.metadata == {
        "general.architecture": "llama",
        "a.count": 7,
        "a.part": 0.5,
        "a.choice": True,
        "a.text": "naïve\n",
        "a.words": ["one", "", "drei €"],
    }
    assert file.tensors["packed"] == ((4, 64), kind) and file.tensors["w"] == ((2, 3), KIND.F32)
    found = read_gguf(path).load(SHAPES)
    assert list(found) == list(SHAPES)
    for name in "w", "b", "half":
        np.testing.assert_array_equal(found[name], weights[name])
        assert found[name].dtype == weights[name].dtype
    assert found["packed"].dtype == np.float32
    theirs = {t.name: t for t in gguf.GGUFReader(path).tensors}["packed"]
    np.testing.assert_array_equal(found["packed"], gguf.quants.dequantize(theirs.data, kind))
    step = np.ptp(weights["packed"]) / (15 if kind.name.startswith("Q4") else 31)
    np.testing.assert_allclose(found["packed"], weights["packed"], atol=step)


def test_all_that_is_wrong_is_listed(path, rng):
    write(path, {**arrays(rng), "n": np.arange(3, dtype=np.int32)})
    with pytest.raises(
        CheckpointError,
        match=r"(?s)of another model.*missing: c \(1,\)"
        r".*unexpected: n \(3,\).*mis-shaped: w is \(2, 3\), the model has \(3, 2\)"
        ".*not floating: n is int32",
    ):
        read_gguf(path).load({**SHAPES, "w": (3, 2), "c": (1,)})


def test_any_alignment_is_read(path, rng):
    weights = arrays(rng)
    write(path, weights, more=lambda writer: writer.add_custom_alignment(256))
    np.testing.assert_array_equal(read_gguf(path).load(SHAPES)["w"], weights["w"])


def test_a_packing_that_cannot_be_undone(path, rng):
    def more(writer):
        writer.add_tensor(
            "q", np.zeros((1, gguf.GGML_QUANT_SIZES[KIND.Q8_K][1]), np.uint8), raw_dtype=KIND.Q8_K
        )

    write(path, {}, more=more)
    with pytest.raises(CheckpointError, match="cannot unpack the type Q8_K"):
        read_gguf(path).load({"q": (1, 256)})


def test_files_cut_short_are_refused(path, rng):
    write(path, arrays(rng))
    whole = path.read_bytes()
    for n in range(0, len(whole) - 32):  # zeros may follow the last tensor
        path.write_bytes(whole[:n])
        with pytest.raises(CheckpointError, match="is not a whole GGUF file: "):
            read_gguf(path)
    for data in b"", b"GGUF", b"garbage" * 100, whole[::-1]:
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="is not a whole GGUF file: "):
            read_gguf(path)
    with pytest.raises(OSError):
        read_gguf(path.with_name("missing"))


def test_any_byte_may_be_wrong(path, rng):
    """Each byte, by one bit and wholly: an error, or arrays of the right shapes; and never more
    memory than in proportion to the file."""
    write(path, arrays(rng))
    whole = path.read_bytes()
    read = 0
    tracemalloc.start()
    try:
        for place in range(len(whole)):
            for byte in whole[place] ^ 1 << rng.integers(8), 255 - whole[place]:
                path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
                try:
                    found = read_gguf(path).load(SHAPES)
                except CheckpointError:
                    continue
                read += 1
                assert {name: a.shape for name, a in found.items()} == SHAPES
        assert tracemalloc.get_traced_memory()[1] < MEGABYTE
    finally:
        tracemalloc.stop()
    assert read  # the contents may be any numbers


def text(s):
    return struct.pack("<Q", len(s)) + s


def header(tensors=0, entries=0, body=b"", version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, entries) + body


def entry(kind, value, key=b"k"):
    return header(entries=1, body=text(key) + struct.pack("<I", kind) + value)


def array(inside, count, values=b""):
    return struct.pack("<IQ", inside, count) + values


def tensor(shape=(4,), kind=0, offset=0, name=b"t", axes=None):
    return (
        text(name)
        + struct.pack("<I", len(shape) if axes is None else axes)
        + struct.pack(f"<{len(shape)}Q", *shape)
        + struct.pack("<IQ", kind, offset)
    )


def file(*tensors, contents=64):
    head = header(len(tensors), 0, b"".join(tensors))
    return head + bytes(-len(head) % 32 + contents)


HUGE = 2**64 - 1
DAMAGED = {
    "a version of long ago": (header(version=1), "and version 1, not"),
    "the other byte order": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "version 50331648"),
    "tensors without number": (header(tensors=HUGE), f"should be {HUGE} tensors"),
    "entries without number": (header(entries=HUGE), f"should be {HUGE} entries"),
    "tensors where the metadata was": (
        header(2, 1, text(b"k") + struct.pack("<I", 8) + text(b"x" * 99)),
        "should be 2 tensors",
    ),
    "a long key": (header(entries=1, body=struct.pack("<Q", HUGE) + bytes(99)), "a key at byte"),
    "a long text": (entry(8, struct.pack("<Q", HUGE)), "'k' at byte"),
    "a long array": (entry(9, array(0, HUGE, bytes(999))), f"should be {HUGE} numbers of 'k'"),
    "a long array of texts": (entry(9, array(8, 2**60)), "texts of 'k'"),
    "arrays in arrays": (entry(9, array(9, 10_000, array(0, 0) * 10_000)), "array of the type 9"),
    "an unknown type": (entry(13, bytes(99)), "'k' is of the unknown type 13"),
    "an unknown type in an array": (entry(9, array(13, 1, bytes(99))), "array of the type 13"),
    "no UTF-8": (entry(8, text(b"\xff")), "not UTF-8"),
    "a key twice": (header(entries=2, body=(text(b"k") + struct.pack("<IB", 0, 1)) * 2), "twice"),
    "an alignment of zero": (entry(4, bytes(4), b"general.alignment"), "power of two, got 0"),
    "an alignment that is none": (entry(4, struct.pack("<I", 24), b"general.alignment"), "got 24"),
    "an alignment in words": (entry(8, text(b"32"), b"general.alignment"), "got '32'"),
    "many axes": (file(tensor(axes=2**31)), "axes, more than 4"),
    "a vast shape": (file(tensor((2**63, 2**63, 2**63, 2**63))), "and the file at"),
    "a product that overflows": (file(tensor((2**32, 2**32))), "and the file at"),
    "no elements": (file(tensor((0, 2**60))), "is empty"),
    "a type that is gone": (file(tensor(kind=4)), "unknown type 4"),
    "a row of no whole blocks": (file(tensor((16,), kind=3)), "no number of them"),
    "an offset beyond": (file(tensor(offset=64)), "ends at byte"),
    "an offset far beyond": (file(tensor(offset=2**64 - 32)), "ends at byte"),
    "an odd offset": (file(tensor(offset=8)), "no multiple of 32"),
    "two in one place": (file(tensor(), tensor(name=b"u")), "begins at offset 0, .* inside 't'"),
    "two that overlap": (file(tensor((9,)), tensor(name=b"u", offset=32)), "inside 't'"),
    "a tensor twice": (file(tensor(), tensor(offset=32)), "'t' comes twice"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_numbers_that_cannot_be_true_are_refused(path, name):
    data, why = DAMAGED[name]
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=f"(?s)is not a whole GGUF file: .*{why}"):
            read_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < MEGABYTE
    finally:
        tracemalloc.stop()


def test_such_files_with_nothing_wrong(path):
    """What the cases above are changed from."""
    path.write_bytes(file(tensor(), tensor((64,), kind=8, name=b"u", offset=32), contents=100))
    assert read_gguf(path).load({"t": (4,), "u": (64,)})["u"].tolist() == [0.0] * 64
    path.write_bytes(entry(9, array(0, 0)))
    assert read_gguf(path).metadata["k"].shape == (0,)
    path.write_bytes(entry(9, array(8, 1, text(b"x"))))
    assert read_gguf(path).metadata["k"] == ["x"]


def test_contents_are_read_when_they_are_asked_for(path):
    path.write_bytes(file(tensor((25_000_000,)), tensor(name=b"u", offset=10**8), contents=0))
    with open(path, "r+b") as vast:
        vast.truncate(10**8 + 1000)  # zeros that take no place on the disk
    tracemalloc.start()
    try:
        gguf_file = read_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < MEGABYTE
    finally:
        tracemalloc.stop()
    with open(path, "r+b") as cut:
        cut.truncate(10**8)
    with pytest.raises(CheckpointError, match="was cut short since its header was read"):
        gguf_file.load({"t": (25_000_000,), "u": (4,)})


LONG = b"x" * 1_000_000


@pytest.mark.parametrize(
    "data",
    [
        entry(13, b"", LONG),
        entry(9, array(9, 0), LONG),
        entry(8, text(LONG), b"general.alignment"),
        entry(9, array(8, 100_000, text(b"") * 100_000), b"general.alignment"),
        header(entries=2, body=(text(LONG) + struct.pack("<IB", 0, 1)) * 2),
        file(tensor(name=LONG)),
        file(tensor(name=LONG), contents=0),
        file(tensor(name=LONG), tensor(name=LONG, offset=32)),
        file(tensor(name=LONG), tensor(name=b"u")),
        file(tensor(name=LONG, kind=4)),
        file(tensor((0,), name=LONG)),
        file(tensor((16,), kind=3, name=LONG)),
        file(tensor(name=LONG, axes=9)),
        file(tensor(offset=8, name=LONG)),
    ],
)
def test_little_of_a_file_is_quoted(path, data):
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as e:
        read_gguf(path).load(SHAPES)
    assert len(str(e.value)) < 1000


@settings(max_examples=8 * settings.default.max_examples)
@given(st.binary(max_size=200), st.integers(0, 3), st.integers(0, 3))
def test_noise_is_refused_or_whole(tmp_path_factory, noise, tensors, entries):
    path = tmp_path_factory.getbasetemp() / "noise.gguf"
    path.write_bytes(header(tensors, entries, noise))
    try:
        read_gguf(path)
    except CheckpointError as e:
        assert "is not a whole GGUF file: " in str(e)
    else:
        assert len(noise) >= 24 * tensors + 13 * entries
