"""Arrays in the safetensors format, by the package safetensors: a header of names, dtypes and
shapes, then the numbers."""

from pathlib import Path

from ..checkpoint import CheckpointError
from .names import check_names

DTYPES = "F16", "F32", "F64"            # the floating ones that NumPy has, too


def load_safetensors(path, shapes, ignored=()):
    """{name: array} of a safetensors file.

    shapes: {name: shape}, of all that the file must hold, in float16, float32 or float64. ignored:
    names that it may hold besides, which are not read. Raises CheckpointError, before an array is
    read, that lists every missing, unexpected and mis-shaped name, and every other dtype; or that
    says where the file is damaged. OSError where reading fails, ImportError where the package
    safetensors is missing.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ImportError("these weights need the package safetensors: "
                          "pip install safetensors") from None
    if Path(path).exists() and not Path(path).is_file():    # a folder, or a pipe that would block
        raise IsADirectoryError(f"{path} is not a regular file")
    try:
        with safe_open(path, framework="np") as file:
            headers = {name: file.get_slice(name) for name in file.keys() if name not in ignored}
            dtypes = {name: header.get_dtype() for name, header in headers.items()}
            check_names(path, {name: (header.get_shape(), None)
                               for name, header in headers.items()}, shapes)
            wrong = [f"{name} is {dtype}" for name, dtype in dtypes.items() if dtype not in DTYPES]
            if wrong:
                raise CheckpointError(f"the arrays in {path} must be of {', '.join(DTYPES)}:\n  "
                                      + "\n  ".join(wrong))
            return {name: file.get_tensor(name) for name in shapes}
    except SafetensorError as e:
        raise CheckpointError(f"{path} is not a whole safetensors file: {e}") from None
