"""Saving and loading: arrays in the safetensors format, never pickles, and checkpoints of a
training run that a kill or a power cut at any moment leaves whole.

A file is written under another name, synced to the disk and renamed, so that it is there whole or
not at all. A checkpoint is two files, and the second commits the first:

    checkpoint-<start of its SHA-256>.safetensors   all arrays
    checkpoint.json                                 the state; the name and SHA-256 of that file

The arrays go first, under a name that no other content has. Until the rename of the JSON, the old
JSON with the old arrays is the checkpoint; from then on, the new. The old arrays go last.

What is read here may be damaged or hostile: it is never run, nothing that is no regular file is
opened, and no more than so much of it is read, or quoted in a message.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .backends import to_numpy
from .core.tensor import Tensor
from .safety.names import public
from .typing import ArrayLike, File

__all__ = [
    "CheckpointError",
    "load",
    "load_checkpoint",
    "load_metadata",
    "save",
    "save_checkpoint",
]

LONGEST = 100_000_000  # bytes of JSON, as in the header of a safetensors file
MOST_LETTERS = 4_000  # of a message

if not TYPE_CHECKING:  # a checker finds what is missing
    __getattr__, __dir__ = public(__name__)

# dtype in a safetensors file -> in NumPy; the file has it little-endian
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",  # of the package ml_dtypes
    "C64": "complex64",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "BOOL": "bool",
}
SAVED = set(DTYPES.values()) - {"complex64"}
METADATA = "__metadata__"  # in the header, the name of what is no array

# Files that a checkpoint may leave behind: its arrays, and what was not written to the end.
LEFTOVER = re.compile(
    r"checkpoint-[0-9a-f]{16}\.safetensors|\.checkpoint(-[0-9a-f]{16}\.safetensors|\.json)\.tmp"
)


def shortened(message: str) -> str:
    """A message without its middle, where a file of megabytes is quoted in it."""
    if len(message) <= MOST_LETTERS:
        return message
    half = MOST_LETTERS // 2
    return f"{message[:half]} ... {message[-half:]}"


def error_text(error: BaseException) -> str:
    """What an error is and says, without the file that some quote as a whole."""
    return shortened(f"{type(error).__name__}: {error}".removesuffix(": "))


class CheckpointError(ValueError):
    """A file is no checkpoint: missing, cut short, damaged, or of another kind."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message))


def save(
    tensors: Mapping[str, ArrayLike], path: File, metadata: Mapping[str, str] | None = None
) -> None:
    """Write {name: Tensor or array} to `path` in the safetensors format, whole or not at all.

    Arrays are real: float64 to 16, bfloat16, integers and bool. `metadata`, {str: str}, goes into
    the header. Raises TypeError for anything else, ValueError for a name that the format cannot
    hold, ImportError where the package `safetensors` is missing, OSError where writing fails.
    """
    write_whole(path, _to_bytes(tensors, metadata))


def load(path: File) -> dict[str, np.ndarray]:
    """{name: NumPy array} from a safetensors file.

    Raises CheckpointError where the content is not in that format, or in a dtype that NumPy lacks;
    ImportError where bfloat16 needs the package ml_dtypes; OSError where reading fails.
    """
    return _from_bytes(read_file(path), path)


def load_metadata(path: File) -> dict[str, str]:
    """The {str: str} that was saved with a safetensors file, {} if none was. Raises as `load`, but
    for the dtypes."""
    data = read_file(path)
    _parts(data, path)  # checks the header
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]).get(METADATA, {})


def save_checkpoint(folder: File, tensors: Mapping[str, ArrayLike], state: Any) -> None:
    """Replace the checkpoint in `folder` by {name: array} and `state` (whatever JSON can hold).
    Raises as `save`, and ValueError where the state takes more JSON than is read again."""
    folder = Path(folder)
    data = _to_bytes(tensors)
    digest = hashlib.sha256(data).hexdigest()
    document = {
        "tensors": f"checkpoint-{digest[:16]}.safetensors",
        "sha256": digest,
        "state": state,
    }
    document["check"] = _check(document)
    text = json.dumps(document, indent=1).encode()
    if len(text) > LONGEST:
        raise ValueError(f"the state takes {len(text):,} bytes of JSON, and at most {LONGEST:,} do")
    write_whole(folder / document["tensors"], data)
    write_whole(folder / "checkpoint.json", text)
    _tidy(folder, document)


def tidy(folder: File) -> None:
    """Delete what a kill has left in the folder of a checkpoint: the arrays of the one before, and
    files that were not written to the end. Nobody else may be writing there. Raises as
    `load_checkpoint`, OSError where deleting fails."""
    _tidy(Path(folder), _document(Path(folder) / "checkpoint.json"))


def _tidy(folder: Path, document: dict[str, Any]) -> None:
    for path in folder.iterdir():
        if LEFTOVER.fullmatch(path.name) and path.name != document["tensors"]:
            path.unlink(missing_ok=True)


def load_checkpoint(folder: File) -> tuple[dict[str, np.ndarray], Any]:
    """The (tensors, state) of the checkpoint in `folder`.

    Both files are read as a whole and compared with their SHA-256 before anything in them is
    believed; raises CheckpointError if there is no checkpoint, or it is damaged in any way.
    """
    path = Path(folder) / "checkpoint.json"
    document = _document(path)
    try:
        arrays = path.with_name(document["tensors"])  # ValueError for a name with a folder
        data = read_file(arrays)
    except (OSError, ValueError) as e:  # ValueError: a name that no file has
        raise CheckpointError(f"the arrays of {path} are missing: {e}") from None
    if hashlib.sha256(data).hexdigest() != document["sha256"]:
        raise CheckpointError(
            f"{arrays} is truncated or damaged ({len(data)} bytes):"
            f" its SHA-256 is not the one that {path.name} names"
        )
    return _from_bytes(data, arrays), document["state"]


def _document(path: Path) -> dict[str, Any]:
    """The content of a checkpoint.json, which is found to be what `save_checkpoint` wrote."""
    try:
        document = json.loads(read_file(path, LONGEST))
        if not isinstance(document, dict):
            raise TypeError("it holds no object")
        intact = document.pop("check") == _check(document)
        if not isinstance(document["tensors"], str) or not {"sha256", "state"} <= document.keys():
            raise TypeError("it names no arrays")
    except OSError as e:
        raise CheckpointError(f"no checkpoint in {path.parent}: {e}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise CheckpointError(f"{path} is damaged, or no checkpoint: {error_text(e)}") from None
    if not intact:
        raise CheckpointError(f"{path} is damaged: its content does not match its own check sum")
    return document


def write_whole(path: File, data: bytes) -> None:
    """Write bytes to `path` so that it holds either all of them or what it held before."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with naming(temporary), open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # what went wrong first is what is told
            temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the rename itself, onto the disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            with naming(path.parent):
                os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def naming(path: File) -> Iterator[None]:
    """Within it, an error of the system that names no file, as those of open files, names this."""
    try:
        yield
    except OSError as e:
        if e.errno is not None and e.filename is None:
            e.filename = str(path)
        raise


def _check(document: dict[str, Any]) -> str:
    body = {key: value for key, value in document.items() if key != "check"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, allow_nan=False).encode()).hexdigest()


def read_file(path: File, most: int | None = None) -> bytes:
    """The bytes of a regular file; OSError where it is none, or reading fails. CheckpointError,
    before any is read, where there are more than `most` bytes."""
    with naming(path), open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise CheckpointError(f"{path} has {size:,} bytes, and at most {most:,} are read")
        return file.read()


def open_file(path: File) -> BufferedReader:
    """A regular file, open to read bytes; OSError where it is none, or cannot be opened."""
    if Path(path).exists() and not Path(path).is_file():  # a folder, or a pipe that would block
        raise IsADirectoryError(f"{path} is not a regular file")
    return open(path, "rb")


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            "saving and loading need the package safetensors: pip install safetensors"
        ) from None
    return safetensors


def _to_bytes(tensors: Any, metadata: Mapping[str, str] | None = None) -> bytes:
    if not isinstance(tensors, Mapping):
        is_module = hasattr(tensors, "named_parameters")
        raise TypeError(
            f"save: takes {{name: array}}, got {type(tensors).__name__}"
            + "; give its arrays: nag.save(model.state_dict(), path)" * is_module
            + "; the arrays come first: nag.save(arrays, path)" * isinstance(tensors, (str, Path))
        )
    arrays = {}
    for name, value in tensors.items():
        if not isinstance(name, str):
            raise TypeError(f"save: names must be strings, got {name!r:.100}")
        if name == METADATA:
            raise ValueError(
                f"save: an array cannot be called {name!r}, under which the format keeps its "
                "metadata; give it another name"
            )
        array = to_numpy(value.data if isinstance(value, Tensor) else value)
        kind = array.dtype.name if isinstance(array, np.ndarray) else type(array).__name__
        if kind not in SAVED:
            raise TypeError(
                f"save: {name!r:.100} must be a real numeric array, got {kind}"
                + f"; the arrays within a dict need names here, as '{name}.weight'"
                * isinstance(value, Mapping)
            )
        arrays[name] = np.array(array, order="C")  # dense: the format knows no strides
    safetensors = _safetensors()
    try:
        return safetensors.numpy.save(arrays, metadata or None)  # {} may not be read again
    except UnicodeEncodeError as e:
        raise ValueError(
            f"save: a name or metadata is not Unicode that UTF-8 can hold: {e}"
        ) from None
    except TypeError:
        raise TypeError(f"save: metadata must be {{str: str}}, got {metadata!r:.100}") from None
    except safetensors.SafetensorError as e:
        raise ValueError(f"save: the format cannot hold this: {e!s:.300}") from None


def _parts(data: bytes, path: File) -> list[tuple[str, dict[str, Any]]]:
    """[(name, {"dtype", "shape", "data"}), ...] of the bytes of a safetensors file."""
    safetensors = _safetensors()
    try:
        return safetensors.deserialize(data)
    except (safetensors.SafetensorError, ValueError) as e:
        hint = "; a file of torch.save is a pickle: write it with safetensors.torch.save_file"
        raise CheckpointError(
            f"{path} is not a whole safetensors file: {error_text(e)}"
            + hint * data.startswith((b"PK\x03\x04", b"\x80"))
        ) from None


def _from_bytes(data: bytes, path: File) -> dict[str, np.ndarray]:
    parts = _parts(data, path)
    for name, part in parts:
        if part["dtype"] not in DTYPES:
            raise CheckpointError(
                f"{path}: {name!r:.100} is of the dtype {part['dtype']}, which is not known here; "
                f"known are {', '.join(DTYPES)}"
            )
    if any(part["dtype"] == "BF16" for _, part in parts):
        try:
            import ml_dtypes  # noqa: F401 (makes NumPy know the name)
        except ImportError:
            raise ImportError(
                f"{path} has numbers in bfloat16, which need the package ml_dtypes: "
                "pip install ml_dtypes"
            ) from None
    try:
        return {name: _array(part["dtype"], part["shape"], part["data"]) for name, part in parts}
    except ValueError as e:  # more axes than NumPy has, or longer ones
        raise CheckpointError(f"{path} has an array that NumPy cannot hold: {e}") from None


def _array(dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    stored = np.dtype("u1" if dtype == "BOOL" else DTYPES[dtype])  # any byte may stand for True
    return np.frombuffer(data, stored.newbyteorder("<")).astype(DTYPES[dtype]).reshape(shape)
