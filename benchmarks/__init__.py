"""Benchmarks: how fast the engine is beside its peers and beside the machine's roofline.

`python -m benchmarks --help` says how to run them, README.md how they measure. From a script or a
notebook, `compare_functions` times any two functions in the same way.
"""


def __getattr__(name):
    if name == "compare_functions":  # when it is asked for: the command says first what it needs
        from .functions import compare_functions

        return compare_functions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
