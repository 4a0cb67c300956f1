"""The sizes of a model that others saved, from the JSON object beside its weights."""

import json
from collections.abc import Mapping
from typing import Any

from ..checkpoint import CheckpointError, read_file
from ..typing import File
from .names import shown

LONGEST = 1_000_000  # bytes; a list of sizes needs a thousand
LARGEST = 10**9
_WANTED = {
    int: f"a whole number from 1 to {LARGEST}",
    str: "a string",
    float: f"a number between ±{LARGEST}",
}


def read_config(path: File, kinds: Mapping[str, type]) -> dict[str, Any]:
    """{name: value} of the names in `kinds`, from a file that holds a JSON object; what else is in
    the object is passed over.

    kinds: {name: int, float or str}. An int is a size, from 1 to 10⁹; a float is a number between
    ±10⁹. Raises CheckpointError that lists all that is missing or of another kind, or says why the
    file is no such object; OSError where reading fails.
    """
    data = read_file(path, LONGEST)
    try:
        found = json.loads(data, parse_constant=_refuse)
        if not isinstance(found, dict):
            raise ValueError(f"it is a {type(found).__name__}")
    except (ValueError, RecursionError) as e:  # recursion: lists in lists in lists
        raise CheckpointError(f"{path} is not a JSON object: {e}") from None
    lines = [
        f"missing: {name}"
        if name not in found
        else f"{name} is {shown(found[name])}, not {_WANTED[kind]}"
        for name, kind in kinds.items()
        if not _is(found.get(name), kind)
    ]
    if lines:
        raise CheckpointError(
            f"{path} does not give the sizes of the model:\n  " + "\n  ".join(lines)
        )
    return {name: kind(found[name]) for name, kind in kinds.items()}


def _is(value: Any, kind: type) -> bool:
    if kind is int:
        return type(value) is int and 1 <= value <= LARGEST
    if kind is float:
        return type(value) in (int, float) and abs(value) < LARGEST
    return isinstance(value, kind)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
