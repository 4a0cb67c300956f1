"""The GGUF format: one file with all that a program needs to run a language model, its weights,
most of them packed into a few bits each, its sizes and its vocabulary.

    "GGUF"  version  tensors  entries           4 bytes, uint32, uint64, uint64: the two are counts
    key  type  value                            an entry of the metadata, as often as there are
    name  axes  lengths  type  offset           of a tensor, as often; uint32 axes, that many uint64
                                                lengths, uint32, uint64
    zeros, up to a multiple of the alignment    and from there on the contents, at their offsets

All is little-endian. A text is its number of bytes, uint64, and UTF-8; an array the type of its
elements, uint32, their number, uint64, and they. Lengths begin with the axis that moves fastest, so
they are NumPy's shape turned round.

The header is read here, for a reader must not trust it: the package `gguf` goes through a loop for
as long as a count in the file tells it to. The packed formats are that package's: their sizes, and
how they are unpacked.

Source: the specification of GGUF in the repository of GGML, docs/gguf.md, versions 2 and 3.
"""

import math
import os
import struct
from collections.abc import Mapping
from io import BufferedReader
from typing import Any

import numpy as np

from ..checkpoint import CheckpointError, open_file
from ..typing import File, Shape
from .names import check_names, shown

# types of metadata: number -> how struct writes it
NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
TEXT, ARRAY = 8, 9

# types of tensors that are not packed: number -> dtype
PLAIN: dict[int, np.dtype] = {
    0: np.dtype("<f4"),
    1: np.dtype("<f2"),
    24: np.dtype("<i1"),
    25: np.dtype("<i2"),
    26: np.dtype("<i4"),
    27: np.dtype("<i8"),
    28: np.dtype("<f8"),
}
MOST_AXES = 4
LONGEST = 1 << 28  # bytes of the header; a vocabulary of 256,000 tokens takes a 20th


class GGUF:
    """A file whose header has been read, and found to fit the file; made by `read_gguf`.

    metadata: {key: value}; bool, int, float, str, a NumPy array of numbers, or a list of texts.
    What a key's value is, who uses it must check.
    tensors: {name: (shape, type)}; NumPy's order of the axes, and the number of the type.
    """

    def __init__(
        self,
        path: File,
        metadata: dict[str, Any],
        tensors: dict[str, tuple[Shape, int]],
        places: dict[str, tuple[int, int]],
    ) -> None:
        self.path, self.metadata, self.tensors = path, metadata, tensors
        self._places = places  # {name: (first byte, size in bytes)}

    def load(self, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
        """{name: array}, unpacked ones in float32, the others as they are.

        shapes: {name: shape}, of all that the file must hold and nothing else, in a floating or
        packed type. Raises CheckpointError, before an array is made, that lists the missing,
        unexpected, mis-shaped and not floating names; OSError where reading fails.
        """
        check_names(
            self.path,
            {name: (shape, PLAIN.get(kind)) for name, (shape, kind) in self.tensors.items()},
            shapes,
        )
        for kind in {kind for _, kind in self.tensors.values()} - PLAIN.keys():
            self._unpack(np.zeros(_block(kind)[1], np.uint8), (1, -1), kind)  # can it be done?
        arrays = {}
        with open_file(self.path) as file:
            for name in shapes:
                (shape, kind), (start, size) = self.tensors[name], self._places[name]
                contents = np.empty(size, np.uint8)
                file.seek(start)
                if file.readinto(contents.data) != size:
                    raise CheckpointError(f"{self.path} was cut short since its header was read")
                arrays[name] = (
                    contents.view(PLAIN[kind]).reshape(shape)
                    if kind in PLAIN
                    else self._unpack(contents, shape, kind)
                )
        return arrays

    def _unpack(self, contents: np.ndarray, shape: Shape, kind: Any) -> np.ndarray:
        """Packed blocks, uint8, as an array of this shape, float32."""
        gguf = _gguf()
        kind = gguf.GGMLQuantizationType(kind)
        packed = contents.reshape(*shape[:-1], -1)
        try:
            with np.errstate(all="ignore"):  # damaged numbers are only numbers
                return gguf.quants.dequantize(packed, kind)
        except NotImplementedError:
            raise CheckpointError(
                f"{self.path}: the package gguf cannot unpack the type "
                f"{kind.name}; get the model in another, such as Q8_0"
            ) from None


def read_gguf(path: File) -> GGUF:
    """The GGUF at `path`, its header read and its tensors found, none read yet.

    Raises CheckpointError where the file is damaged, cut short or tells what cannot be; ImportError
    where the package `gguf` is missing, OSError where reading fails.
    """
    try:
        with open_file(path) as file:
            return GGUF(path, *_read(_Bytes(file)))
    except _Damaged as e:
        raise CheckpointError(f"{path} is not a whole GGUF file: {e}") from None


class _Damaged(ValueError):
    """What is wrong with the bytes."""


class _Bytes:
    """Takes values off the front of a file. Nothing that it is told to be there is believed, or
    made room for, before it is."""

    def __init__(self, file: BufferedReader) -> None:
        self.file, self.at, self.size = file, 0, os.fstat(file.fileno()).st_size

    @property
    def left(self) -> int:
        """The bytes from here to the end."""
        return self.size - self.at

    def take(self, n: int, what: str) -> bytes:
        """The next n bytes."""
        if self.at + n > LONGEST:
            raise _Damaged(
                f"{what} at byte {self.at} should have {n:,} bytes, and at most {LONGEST:,} are "
                "read of a header"
            )
        data = self.file.read(n) if n <= self.left else b""
        if len(data) < n:
            raise _Damaged(
                f"{what} at byte {self.at} should have {n} bytes, and the file ends "
                f"after {self.left}"
            )
        self.at += n
        return data

    def number(self, format: str, what: str) -> Any:
        """One number, `format` as in struct."""
        return struct.unpack("<" + format, self.take(struct.calcsize("<" + format), what))[0]

    def count(self, least: int, what: str) -> int:
        """A number of things, uint64, each of which takes `least` bytes or more."""
        n = self.number("Q", f"the number of {what}")
        if n * least > self.left:
            raise _Damaged(
                f"there should be {n} {what} after byte {self.at}, of {least} bytes or "
                f"more each, and the file ends after {self.left} bytes"
            )
        return n

    def text(self, what: str) -> str:
        try:
            return str(self.take(self.number("Q", f"the length of {what}"), what), "utf-8")
        except UnicodeDecodeError as e:
            raise _Damaged(f"{what} before byte {self.at} is not UTF-8: {e.reason}") from None

    def value(self, kind: int, key: str) -> Any:
        """A value of the metadata, of the type with this number."""
        if kind in NUMBERS:
            return self.number(NUMBERS[kind], key)
        if kind == TEXT:
            return self.text(key)
        if kind != ARRAY:
            raise _Damaged(f"{key} is of the unknown type {kind}")
        inside = self.number("I", key)
        if inside in NUMBERS:
            dtype = np.dtype("<" + NUMBERS[inside])
            n = self.count(dtype.itemsize, f"numbers of {key}")
            return np.frombuffer(self.take(n * dtype.itemsize, key), dtype).copy()
        if inside != TEXT:  # arrays in arrays, too: no model has them
            raise _Damaged(f"{key} is an array of the type {inside}, neither numbers nor texts")
        return [self.text(key) for _ in range(self.count(8, f"texts of {key}"))]


def _read(file: _Bytes) -> tuple[dict, dict, dict]:
    """metadata, tensors and their places, as GGUF takes them, from the _Bytes of a file."""
    magic, version = file.take(4, "the magic"), file.number("I", "the version")
    if magic != b"GGUF" or version not in (2, 3):
        raise _Damaged(f"it begins with {magic!r} and version {version}, not with GGUF and 2 or 3")
    tensor_count = file.count(24, "tensors")
    metadata = {}
    for _ in range(file.count(13, "entries of the metadata")):
        key = file.text("a key")
        if key in metadata:
            raise _Damaged(f"the key {shown(key)} comes twice")
        metadata[key] = file.value(file.number("I", f"the type of {shown(key)}"), shown(key))
    if tensor_count * 24 > file.left:
        raise _Damaged(f"there should be {tensor_count} tensors after byte {file.at}")
    entries = {}
    for _ in range(tensor_count):
        name, entry = _tensor(file)
        if name in entries:
            raise _Damaged(f"the tensor {shown(name)} comes twice")
        entries[name] = entry
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1 or alignment & alignment - 1:
        raise _Damaged(f"the alignment must be a power of two, got {shown(alignment)}")
    start = -(-file.at // alignment) * alignment
    places, end, before = {}, 0, None
    for name, (shape, kind, offset, size) in sorted(entries.items(), key=lambda e: e[1][2:]):
        if offset % alignment or offset < end:
            raise _Damaged(
                f"the tensor {shown(name)} begins at offset {offset}, which is "
                + (f"inside {shown(before)}" if offset < end else f"no multiple of {alignment}")
            )
        end, before = offset + size, name
        if start + end > file.size:
            raise _Damaged(
                f"the tensor {shown(name)} {shape} ends at byte {start + end}, and "
                f"the file at {file.size}"
            )
        places[name] = start + offset, size
    return metadata, {name: entry[:2] for name, entry in entries.items()}, places


def _tensor(file: _Bytes) -> tuple[str, tuple]:
    """name, (shape, type, offset, size in bytes)."""
    name = file.text("the name of a tensor")
    axes = file.number("I", f"the axes of {shown(name)}")
    if axes > MOST_AXES:
        raise _Damaged(f"the tensor {shown(name)} has {axes} axes, more than {MOST_AXES}")
    shape = tuple(file.number("Q", f"the shape of {shown(name)}") for _ in range(axes))[::-1]
    kind, offset = file.number("I", f"the type of {shown(name)}"), file.number("Q", "an offset")
    elements, size = _block(kind, name)
    if 0 in shape:
        raise _Damaged(f"the tensor {shown(name)} {shape} is empty")
    row = shape[-1] if shape else 1
    if row % elements:
        raise _Damaged(
            f"the tensor {shown(name)} {shape} is packed in blocks of {elements}, "
            "and a row is no number of them"
        )
    return name, (shape, kind, offset, math.prod(shape) // elements * size)


def _block(kind: int, name: str = "") -> tuple[int, int]:
    """(elements, bytes) of a block of a tensor's type."""
    if kind in PLAIN:
        return 1, PLAIN[kind].itemsize
    gguf = _gguf()
    try:
        return gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    except (ValueError, KeyError):
        raise _Damaged(f"the tensor {shown(name)} is of the unknown type {kind}") from None


def _gguf() -> Any:
    try:
        import gguf.quants
    except ImportError:
        raise ImportError(
            "packed weights in GGUF files need the package gguf: pip install gguf"
        ) from None
    return gguf
