"""All tasks, found in this folder: adding a task is adding a file."""

from importlib import import_module
from pkgutil import iter_modules

from .task import Task

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")

# preset: its task
PRESETS = {preset: task for task in Task.__subclasses__() for preset in task.presets}
