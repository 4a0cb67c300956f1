"""Arrays in NumPy's own archive, .npz: a zip of arrays, of which none is unpickled."""

import io
import zipfile
import zlib

from numpy.lib import format as npy

from ..checkpoint import CheckpointError, read_file
from .names import check_names


def load_npz(path, shapes):
    """{name: array} of a file that numpy.savez wrote, compressed or not.

    shapes: {name: shape}, of all that the file must hold and nothing else, in a real floating
    dtype. Raises CheckpointError, before an array is read, that lists every missing, unexpected and
    mis-shaped name; or that says where the file is damaged. OSError where reading fails.
    """
    data = read_file(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            found = {name.removesuffix(".npy"): _header(file, name) for name in file.namelist()}
            check_names(path, found, shapes)
            arrays = {}
            for name in shapes:
                with file.open(name + ".npy") as entry:
                    arrays[name] = npy.read_array(entry, allow_pickle=False)
            return arrays
    except CheckpointError:
        raise
    # zipfile says by the last two that an entry is packed in a way it lacks, or encrypted.
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, OSError,
            NotImplementedError, RuntimeError) as e:
        raise CheckpointError(f"{path} is not a whole .npz file: {e}") from None


def _header(file, name):
    """(shape, dtype) of an array in the archive, from its first bytes."""
    if not name.endswith(".npy"):
        raise ValueError(f"{name!r} is no array")
    with file.open(name) as entry:
        version = npy.read_magic(entry)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"{name!r} has the unknown version {version}")
        shape, _, dtype = read(entry)
        return shape, dtype
