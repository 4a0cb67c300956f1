"""Between the names and sizes in a file of weights and those of a model: what all readers check
before an array is read, and how a model is filled."""

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


def check_sizes(path, found, wanted):
    """Raise CheckpointError that lists where the sizes of the model in the file, `found`, are not
    those of ours, `wanted`: two dicts."""
    lines = [f"{name} is {found.get(name)!r}, the model has {value!r}"
             for name, value in wanted.items() if found.get(name) != value]
    if lines:
        raise CheckpointError(f"the weights in {path} are of another model:\n  "
                              + "\n  ".join(lines))


def fill(model, names, load):
    """Give a Module the arrays of a file that calls them otherwise. Returns the model.

    names: {name in the file: name of a parameter}. load: a reader of the file, {name in the file:
    shape} -> {name in the file: array}, whose errors are passed on, before anything is changed.
    """
    own = dict(model.named_parameters(remove_duplicate=False))
    arrays = load({theirs: own[ours].shape for theirs, ours in names.items()})
    model.load_state_dict({names[theirs]: array for theirs, array in arrays.items()})
    return model
