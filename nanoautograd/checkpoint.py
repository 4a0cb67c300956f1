"""Saving and loading: arrays in the safetensors format, never pickles, and checkpoints of a
training run that a kill or a power cut at any moment leaves whole.

A file is written under another name, synced to the disk and renamed, so that it is there whole or
not at all. A checkpoint is two files, and the second commits the first:

    checkpoint-<start of its SHA-256>.safetensors   all arrays
    checkpoint.json                                 the state; the name and SHA-256 of that file

The arrays go first, under a name that no other content has. Until the rename of the JSON, the old
JSON with the old arrays is the checkpoint; from then on, the new. The old arrays go last.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from .backends import to_numpy
from .core.tensor import Tensor


class CheckpointError(ValueError):
    """A file is no checkpoint: missing, cut short, damaged, or of another kind."""


def save(tensors, path, metadata=None):
    """Write {name: Tensor or array} to `path` in the safetensors format, whole or not at all.

    `metadata`, {str: str}, goes into the header. Raises TypeError for values that are not numeric
    arrays, ImportError where the package `safetensors` is missing, OSError where writing fails.
    """
    write_whole(path, _to_bytes(tensors, metadata))


def load(path):
    """{name: NumPy array} from a safetensors file.

    Raises CheckpointError where the content is not in that format, OSError where reading fails.
    """
    return _from_bytes(read_file(path), path)


def load_metadata(path):
    """The {str: str} that was saved with a safetensors file, {} if none was. Raises as `load`."""
    data = read_file(path)
    _from_bytes(data, path)  # checks the header
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]).get("__metadata__", {})


def save_checkpoint(folder, tensors, state):
    """Replace the checkpoint in `folder` by {name: array} and `state` (whatever JSON can hold)."""
    folder = Path(folder)
    data = _to_bytes(tensors)
    digest = hashlib.sha256(data).hexdigest()
    file = f"checkpoint-{digest[:16]}.safetensors"
    document = {"tensors": file, "sha256": digest, "state": state}
    document["check"] = _check(document)
    write_whole(folder / file, data)
    write_whole(folder / "checkpoint.json", json.dumps(document, indent=1).encode())
    for old in folder.glob("*checkpoint-*.safetensors*"):  # former ones, and leftovers of a kill
        if old.name != file:
            old.unlink(missing_ok=True)


def load_checkpoint(folder):
    """The (tensors, state) of the checkpoint in `folder`.

    Both files are read as a whole and compared with their SHA-256 before anything in them is
    believed; raises CheckpointError if there is no checkpoint, or it is damaged in any way.
    """
    path = Path(folder) / "checkpoint.json"
    try:
        document = json.loads(read_file(path))
        check, digest, state = document.pop("check"), document["sha256"], document["state"]
        arrays = path.with_name(document["tensors"])  # ValueError for a name with a folder
        intact = check == _check(document)
    except OSError as e:
        raise CheckpointError(f"no checkpoint in {folder}: {e}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise CheckpointError(f"{path} is damaged, or no checkpoint: {e!r}") from None
    if not intact:
        raise CheckpointError(f"{path} is damaged: its content does not match its own check sum")
    try:
        data = read_file(arrays)
    except (OSError, ValueError) as e:  # ValueError: a name that no file has
        raise CheckpointError(f"the arrays of {path} are missing: {e}") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise CheckpointError(
            f"{arrays} is truncated or damaged ({len(data)} bytes):"
            f" its SHA-256 is not the one that {path.name} names"
        )
    return _from_bytes(data, arrays), state


def write_whole(path, data):
    """Write bytes to `path` so that it holds either all of them or what it held before."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the rename itself, onto the disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _check(document):
    body = {key: value for key, value in document.items() if key != "check"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, allow_nan=False).encode()).hexdigest()


def read_file(path, most=None):
    """The bytes of a regular file; OSError where it is none, or reading fails. CheckpointError,
    before any is read, where there are more than `most` bytes."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise CheckpointError(f"{path} has {size:,} bytes, and at most {most:,} are read")
        return file.read()


def open_file(path):
    """A regular file, open to read bytes; OSError where it is none, or cannot be opened."""
    if Path(path).exists() and not Path(path).is_file():  # a folder, or a pipe that would block
        raise IsADirectoryError(f"{path} is not a regular file")
    return open(path, "rb")


def _safetensors():
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            "saving and loading need the package safetensors: pip install safetensors"
        ) from None
    return safetensors


def _to_bytes(tensors, metadata=None):
    arrays = {}
    for name, value in tensors.items():
        array = to_numpy(value.data if isinstance(value, Tensor) else value)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            raise TypeError(
                f"save: {name!r} must be a real numeric array, got "
                f"{getattr(array, 'dtype', type(array).__name__)}"
            )
        arrays[name] = np.array(array, order="C")  # dense: the format knows no strides
    return _safetensors().numpy.save(arrays, metadata)


def _from_bytes(data, path):
    safetensors = _safetensors()
    try:
        views = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError) as e:
        raise CheckpointError(f"{path} is not a whole safetensors file: {e}") from None
    return {name: view.copy() for name, view in views.items()}
