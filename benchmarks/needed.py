"""What the benchmarks need besides the package, or what to say where it is not there."""

from importlib.util import find_spec

MODULES = "psutil", "cpuinfo", "scipy", "jsonschema", "cloudpickle", "tqdm", "threadpoolctl"


def missing(*names: str) -> str | None:
    """What to say of those of the modules that are not installed; None where all are."""
    if absent := [name for name in names or MODULES if not find_spec(name)]:
        return (
            f"{', '.join(absent)} is not installed; all that is needed: pip install -e '.[bench]'"
        )
