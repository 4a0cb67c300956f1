"""The tables of benchmarks/README.md are those of the committed outputs."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import gradients, report
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


def gradient_checks():
    """{function: cells of the table} of the first table, PyTorch's, of the committed output."""
    text = (FOLDER / "results/gradcheck.txt").read_text(encoding="utf-8")
    table = text.split("Functions of torch\n\n")[1].split("\n\n")[0]
    head, _, *rows = ([c.strip() for c in line.split("|")[1:-1]] for line in table.splitlines())
    return {row[0]: dict(zip(head, row)) for row in rows}


def test_the_table_of_gradient_checks_is_that_of_the_output():
    readme = (FOLDER.parent / "nanoautograd/testing/README.md").read_text(encoding="utf-8")
    section = readme.split("python -m benchmarks --gradcheck")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    output = (FOLDER / "results/gradcheck.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(gradient_checks()) + 1 and not set(lines) - set(output)


def test_what_is_said_of_the_speed_of_gradient_checks_is_so():
    """Faster than PyTorch's default mode; from 1,000 numbers on within 3 times its fast mode."""
    rows = gradient_checks()
    assert set(rows) >= set(gradients.SHAPES)
    for name, row in rows.items():
        small = "10 numbers" in name or "16 x 10" in name or "RNN" in name
        for mode, most in (("default mode", 1.0), ("fast mode", np.inf if small else 3.0)):
            ratio = re.search(r"\((.*)\)", row[f"{mode}, ms"])
            assert ratio is None or float(ratio[1]) <= most, (name, mode)
        assert int(row["ours, calls"].replace(",", "")) <= (2000 if "every" in name else 25)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_output_is_what_its_command_measured(path):
    """The text follows from the JSON, and the command is one that can be given."""
    found = report.read(path)
    assert tables(found).strip() in path.with_suffix(".txt").read_text(encoding="utf-8")
    program, options = found["command"].split(" benchmarks ", 1)
    assert program == "python -m"
    assert command.options(options.split()).json == path.relative_to(FOLDER.parent).as_posix()
