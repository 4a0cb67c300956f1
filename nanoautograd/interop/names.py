"""Between the names and sizes in a file of weights and those of a model: what all readers check
before an array is read, how much of a file is quoted where it is wrong, and how a model is
filled."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..checkpoint import CheckpointError
from ..typing import File, Shape

if TYPE_CHECKING:
    from ..nn.module import Module

M = TypeVar("M", bound="Module")

MOST_LINES, MOST_LETTERS = 20, 200  # of a list of what is wrong, and of a line of it


def shown(value: object) -> str:
    """A value of a file for a message: lists by their type, the others cut short, for a file may
    have megabytes of them."""
    if isinstance(value, (list, dict, np.ndarray)):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."


def listed(lines: list[str]) -> str:
    """The first of these lines, cut short, below each other, and how many more there are."""
    more = [f"and {len(lines) - MOST_LINES:,} more"] if len(lines) > MOST_LINES else []
    return "\n  ".join([line[:MOST_LETTERS] for line in lines[:MOST_LINES]] + more)


def check_names(
    path: File, found: Mapping[str, tuple[Shape, np.dtype | None]], shapes: Mapping[str, Shape]
) -> None:
    """Raise CheckpointError unless the file at `path` holds these arrays and nothing else: a list
    of the missing, the unexpected, the mis-shaped and the not floating ones, the first of each.

    found: {name: (shape, dtype)}, of the file; a dtype of NumPy, or None for a format of its own
    that gives floating numbers. shapes: {name: shape}, of the model.
    """
    kinds = [
        [f"missing: {name} {tuple(shape)}" for name, shape in shapes.items() if name not in found],
        [
            f"unexpected: {name} {tuple(shape)}"
            for name, (shape, _) in found.items()
            if name not in shapes
        ],
        [
            f"mis-shaped: {name} is {tuple(found[name][0])}, the model has {tuple(shape)}"
            for name, shape in shapes.items()
            if name in found and tuple(found[name][0]) != tuple(shape)
        ],
        [
            f"not floating: {name} is {dtype}"
            for name, (_, dtype) in found.items()
            if dtype is not None and dtype.kind != "f"
        ],
    ]
    if any(kinds):
        raise CheckpointError(
            f"the arrays in {path} are of another model:\n  "
            + "\n  ".join(listed(lines) for lines in kinds if lines)
        )


def check_sizes(path: File, found: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    """Raise CheckpointError that lists where the sizes of the model in the file, `found`, are not
    those of ours, `wanted`: two dicts."""
    lines = [
        f"{name} is {shown(found.get(name))}, the model has {value!r}"
        for name, value in wanted.items()
        if found.get(name) != value
    ]
    if lines:
        raise CheckpointError(
            f"the weights in {path} are of another model:\n  " + "\n  ".join(lines)
        )


def fill(
    model: M,
    names: Mapping[str, str],
    load: Callable[[dict[str, Shape]], Mapping[str, np.ndarray]],
) -> M:
    """Give a Module the arrays of a file that calls them otherwise. Returns the model.

    names: {name in the file: name of a parameter}. load: a reader of the file, {name in the file:
    shape} -> {name in the file: array}, whose errors are passed on. Raises CheckpointError that
    lists the arrays with numbers that are not finite in the dtype of the model, and the matrices of
    nothing but zeros. At any error, nothing is changed.
    """
    own = dict(model.named_parameters(remove_duplicate=False))
    arrays = load({theirs: own[ours].shape for theirs, ours in names.items()})
    lines = [
        f"{theirs} {why}"
        for theirs, array in arrays.items()
        if (why := _broken(array, own[names[theirs]].dtype))
    ]
    if lines:
        raise CheckpointError(
            "the weights are damaged, or were not written to the end:\n  " + listed(lines)
        )
    model.load_state_dict({names[theirs]: array for theirs, array in arrays.items()})
    return model


def _broken(array: np.ndarray, dtype: np.dtype) -> str | None:
    """What shows that an array, cast to this dtype, is no weight; None if nothing does.

    A download that broke off may leave a file of the right length with zeros at its end, which have
    names and shapes as good as any. No matrix of a trained model is zero as a whole; a vector, such
    as a shift, may be. The least and the greatest number tell it all: NumPy makes them NaN if any
    is, no number between them is cast to one beyond them, and unlike a sum they cannot overflow.
    """
    with np.errstate(all="ignore"):  # what is wrong is looked for below
        ends = np.array([array.min(), array.max()]).astype(dtype)
    if not np.isfinite(ends).all():
        return f"has numbers that are not finite in {dtype}"
    if array.ndim >= 2 and not ends.any():
        return f"{array.shape} has nothing but zeros"
    return None
