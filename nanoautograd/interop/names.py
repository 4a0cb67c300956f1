"""What all readers of weights check before an array is read: that the file holds this model."""

from ..checkpoint import CheckpointError


def check_names(path, found, shapes):
    """Raise CheckpointError unless the file at `path` holds these arrays and nothing else: a list
    of every missing, unexpected, mis-shaped and not floating one.

    found: {name: (shape, dtype)}, of the file; a dtype of NumPy, or None for a format of its own
    that gives floating numbers. shapes: {name: shape}, of the model.
    """
    lines = [f"missing: {name} {tuple(shape)}" for name, shape in shapes.items()
             if name not in found]
    lines += [f"unexpected: {name} {tuple(shape)}" for name, (shape, _) in found.items()
              if name not in shapes]
    lines += [f"mis-shaped: {name} is {tuple(found[name][0])}, the model has {tuple(shape)}"
              for name, shape in shapes.items()
              if name in found and tuple(found[name][0]) != tuple(shape)]
    lines += [f"not floating: {name} is {dtype}" for name, (_, dtype) in found.items()
              if dtype is not None and dtype.kind != "f"]
    if lines:
        raise CheckpointError(f"the arrays in {path} are of another model:\n  "
                              + "\n  ".join(lines))
