"""The examples in the READMEs run, and print what they say they print."""

import re
from pathlib import Path

import pytest

import nanoautograd as nag
from nanoautograd.testing import GradientError

ROOT = Path(__file__).parent.parent


def blocks(path, language):
    text = (ROOT / path).read_text(encoding="utf-8")
    return [
        code
        for found, code in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.M)
        if found == language
    ]


def test_the_first_example_shows_a_gradient_and_a_wrong_one(capsys):
    code = next(b for b in blocks("README.md", "python") if "gradcheck(cube" in b)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    with pytest.raises(GradientError) as error:
        exec(compile(code, "README.md", "exec"), {})
    assert "0.0524" in capsys.readouterr().out
    (shown,) = [b for b in blocks("README.md", "") if "GradientError" in b]
    printed = {line.strip() for line in f"GradientError: {error.value}".splitlines()}
    shown = [line.strip() for line in shown.splitlines() if line.strip() not in ("...", "")]
    numbers = re.compile(r"[\d.]+e-\d\d$")  # the last digits may differ by machine
    assert {numbers.sub("", line)[:30] for line in shown} <= {
        numbers.sub("", line)[:30] for line in printed
    }


def test_an_operation_of_ones_own(tmp_path):
    file, scope = tmp_path / "example.py", {}  # a file of its own: Hypothesis reads the source
    file.write_text(next(b for b in blocks("README.md", "python") if "def logit" in b))
    exec(compile(file.read_text(), file, "exec"), scope)
    scope["test_logit"]()


def test_the_package_docstring():
    scope = {}
    code = [line[4:] for line in nag.__doc__.splitlines() if line.startswith("    ")]
    exec("\n".join(code), scope)
    assert repr(scope["x"].grad) == "tensor([2., 4., 6.])"


def test_every_folder_has_a_map_and_every_link_leads_somewhere():
    def ours(pattern):  # what pip, virtual environments and runs leave here is not
        return [
            p
            for p in ROOT.rglob(pattern)
            if not any(
                part.startswith(".") or part in ("build", "venv", "runs")
                for part in p.relative_to(ROOT).parts[:-1]
            )
        ]

    for folder in {p.parent for p in ours("*.py")} - {ROOT}:
        if folder.parent in (ROOT, ROOT / "nanoautograd"):
            assert (folder / "README.md").exists(), f"{folder} has no README.md"
    for readme in ours("README.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", readme.read_text(encoding="utf-8")):
            assert "://" in link or (readme.parent / link).exists(), f"{readme}: {link}"


def test_the_table_of_models_is_what_its_command_printed():
    table = (ROOT / "docs" / "models.txt").read_text(encoding="utf-8")
    assert table.strip() in (ROOT / "models" / "README.md").read_text(encoding="utf-8")
