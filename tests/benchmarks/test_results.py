"""The tables of benchmarks/README.md are those of the committed outputs."""

from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import report
from benchmarks.tables import tables

FOLDER = Path(report.__file__).parent
RESULTS = sorted((FOLDER / "results").rglob("*.txt"))
KEPT = sorted((FOLDER / "results").rglob("*.json"))


def test_there_are_results():
    assert RESULTS


def test_a_table_is_that_of_an_output():
    """Each line of a table with figures stands in an output as it is."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    text = text.split("\n## Figures")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    outputs = {line for f in RESULTS for line in f.read_text(encoding="utf-8").splitlines()}
    assert lines and not set(lines) - outputs


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_output_is_what_its_command_measured(path):
    """The text follows from the JSON, and the command is one that can be given."""
    found = report.read(path)
    assert tables(found).strip() in path.with_suffix(".txt").read_text(encoding="utf-8")
    program, options = found["command"].split(" benchmarks ", 1)
    assert program == "python -m"
    assert command.options(options.split()).json == path.relative_to(FOLDER.parent).as_posix()
