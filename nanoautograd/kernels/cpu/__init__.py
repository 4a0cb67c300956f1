"""Fast forms for the CPU, one operation a file: `forward` and `backward` with the arguments and the
results of those in manual/. Each file says what it does differently, and why that is faster; its
last line enters it in the operation."""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)
