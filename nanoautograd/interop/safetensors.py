"""Arrays in the safetensors format, by the package safetensors: a header of names, dtypes and
shapes, then the numbers."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..checkpoint import CheckpointError, open_file
from ..typing import File, Shape
from .names import check_names, listed

DTYPES = "F16", "F32", "F64"  # the floating ones that NumPy has, too


def shapes_of(path: File) -> dict[str, Shape]:
    """{name: shape} of all arrays in a safetensors file, from its header, whose lengths are those
    of the file. Raises as `load_safetensors`."""
    with _opened(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}


def load_safetensors(
    path: File, shapes: Mapping[str, Shape], ignored: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """{name: array} of a safetensors file.

    shapes: {name: shape}, of all that the file must hold, in float16, float32 or float64. ignored:
    names that it may hold besides, which are not read. Raises CheckpointError, before an array is
    read, that lists every missing, unexpected and mis-shaped name, and every other dtype; or that
    says where the file is damaged. OSError where reading fails, ImportError where the package
    safetensors is missing.
    """
    with _opened(path) as file:
        headers = {name: file.get_slice(name) for name in file.keys() if name not in ignored}
        dtypes = {name: header.get_dtype() for name, header in headers.items()}
        check_names(
            path, {name: (header.get_shape(), None) for name, header in headers.items()}, shapes
        )
        wrong = [f"{name} is {dtype}" for name, dtype in dtypes.items() if dtype not in DTYPES]
        if wrong:
            raise CheckpointError(
                f"the arrays in {path} must be of {', '.join(DTYPES)}:\n  " + listed(wrong)
            )
        return {name: file.get_tensor(name) for name in shapes}


@contextmanager
def _opened(path: File) -> Iterator[Any]:
    """The file, whose header is read and found to fit it."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ImportError(
            "these weights need the package safetensors: pip install safetensors"
        ) from None
    open_file(path).close()  # is it a regular one, and may it be read?
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except SafetensorError as e:
        raise CheckpointError(f"{path} is not a whole safetensors file: {str(e)[:300]}") from None
