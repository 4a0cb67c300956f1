"""All tasks, found in this folder: adding a task is adding a file."""

from importlib import import_module
from pkgutil import iter_modules

from .task import Task

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")


def subclasses(cls):
    """All classes below this one."""
    for subclass in cls.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


PRESETS = {}  # name: its task
for task in subclasses(Task):
    for preset, options in vars(task).get("presets", {}).items():
        if preset in PRESETS or options.get("model") not in task.models:
            raise ValueError(
                f"{task.__module__}: the preset {preset!r} must have a name of its "
                f"own and a model among {', '.join(task.models)}; got {options}"
            )
        PRESETS[preset] = task
