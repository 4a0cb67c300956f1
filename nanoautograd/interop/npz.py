"""Arrays in NumPy's own archive, .npz: a zip of arrays.

Each entry is named after its array, with .npy behind, and is

    "\\x93NUMPY"  version  length  header        6 bytes, uint8 and uint8, uint16 (version 1.0) or
                                                uint32 (2.0): of the header, little-endian
    numbers                                     as many as the shape in the header says

The header is the text of a dict, such as {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3),
}, always in this order. NumPy has it parsed as Python, which a reader that trusts no file must not:
here it is matched with a pattern.

Source: the documentation of numpy.lib.format.
"""

import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, Literal
from zipfile import ZipFile

import numpy as np

from ..checkpoint import CheckpointError, open_file
from ..typing import File, Shape
from .names import check_names, shown

LENGTHS = {b"\1\0": 2, b"\2\0": 4}  # version: bytes of the length of the header
LONGEST = 10_000  # header, as in NumPy
HEADER = re.compile(
    r"\{'descr': '([<>|][?biufcOSUVmM]\d*)', 'fortran_order': (False|True), "
    r"'shape': \(([\d, ]*)\),? ?\}\s*",
    re.ASCII,
)


def load_npz(path: File, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """{name: array} of a file that numpy.savez wrote, compressed or not.

    shapes: {name: shape}, of all that the file must hold and nothing else, in a real floating
    dtype. Raises CheckpointError, before an array is read, that lists every missing, unexpected and
    mis-shaped name; or that says where the file is damaged. OSError where reading fails.
    """
    with open_file(path) as data:
        try:
            return _read(path, zipfile.ZipFile(data), shapes)
        except CheckpointError:
            raise
        # zipfile says by the last two that an entry is packed in a way it lacks, or encrypted.
        except (
            zipfile.BadZipFile,
            zlib.error,
            ValueError,
            EOFError,
            KeyError,
            OSError,
            NotImplementedError,
            RuntimeError,
        ) as e:
            raise CheckpointError(f"{path} is not a whole .npz file: {str(e)[:300]}") from None


def _read(path: File, file: ZipFile, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """What `load_npz` returns, from the zip."""
    found = {}
    for name in file.namelist():
        with _open(file, name) as entry:
            found[name.removesuffix(".npy")] = _shape_dtype_order(entry)[:2]
    check_names(path, found, shapes)
    arrays = {}
    for name in shapes:
        with _open(file, name + ".npy") as entry:
            arrays[name] = _array(entry)
    return arrays


def _open(file: ZipFile, name: str) -> IO[bytes]:
    """An array in the archive, to read from. Other ways to pack it than the two of NumPy would
    unpack all of it at once, however little is asked for."""
    if not name.endswith(".npy"):
        raise ValueError(f"{shown(name)} is no array")
    way = file.getinfo(name).compress_type
    if way not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{shown(name)} is packed in the way {way}, neither stored nor deflated")
    return file.open(name)


def _shape_dtype_order(entry: IO[bytes]) -> tuple[Shape, np.dtype, Literal["C", "F"]]:
    """What the header says of the array; the order as in NumPy, "C" or "F"."""

    def take(n: int) -> bytes:
        data = entry.read(n)
        if len(data) < n:
            raise EOFError(f"{shown(entry.name)} ends in its header")
        return data

    magic, version = take(6), take(2)
    if magic != b"\x93NUMPY" or version not in LENGTHS:
        raise ValueError(
            f"{shown(entry.name)} begins with {magic + version!r}, not as an array of "
            "version 1.0 or 2.0"
        )
    length = int.from_bytes(take(LENGTHS[version]), "little")
    if length > LONGEST:
        raise ValueError(
            f"the header of {shown(entry.name)} should have {length} bytes, more than {LONGEST}"
        )
    header = take(length)
    match = HEADER.fullmatch(header.decode("latin1"))
    if not match:
        raise ValueError(
            f"{shown(entry.name)} is no array of numbers; its header is {header[:100]!r}"
        )
    dtype, fortran, lengths = match.groups()
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise ValueError(f"{shown(entry.name)} is of the unknown dtype {dtype[:100]!r}") from None
    shape = tuple(int(n) for n in lengths.removesuffix(",").split(",") if lengths)
    return shape, found, "F" if fortran == "True" else "C"


def _array(entry: IO[bytes]) -> np.ndarray:
    """An array whose shape and dtype are known to be right, so that it has the size it should."""
    shape, dtype, order = _shape_dtype_order(entry)
    size = math.prod(shape) * dtype.itemsize
    data = bytearray(entry.read(size + 1))  # to the end, where its check sum is
    if len(data) != size:
        raise ValueError(f"{shown(entry.name)} has not the {size} bytes that {shape} {dtype} takes")
    return np.ndarray(shape, dtype, data, order=order)
