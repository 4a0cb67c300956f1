"""The examples in the READMEs run, and print what they say they print."""

import io
import pdb
import re
import sys
from pathlib import Path

import numpy as np
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


def test_the_first_screen_shows_a_gradient_and_a_network_that_learns(capsys):
    first, second = blocks("README.md", "python")[:2]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.partition(second)[0].splitlines()) < 30
    scope = {}
    exec(compile(first, "README.md", "exec"), scope)
    printed = capsys.readouterr().out
    shown = eval(re.search(r"# dloss/dw: (.*)", first)[1])
    np.testing.assert_allclose(scope["w"].grad.data, shown, atol=1e-4)
    assert all(number in printed for number in ("0.0524", "0.1049", "0.3827", "0.7654"))

    lines = [line for line in second.splitlines() if line.strip() and "import" not in line]
    assert len(lines) <= 10
    for word in ("nn.", "optim.", "zero_grad()", "loss.backward()", "step()"):
        assert word in second
    before = second.replace("range(200)", "range(1)")
    losses = []
    for code in (before, second):
        exec(compile(code, "README.md", "exec"), {})
        losses.append(float(capsys.readouterr().out))
    said = re.search(r"# ([\d.]+) at first, and about ([\d.]+) now", second)
    assert round(losses[0], 1) == round(float(said[1]), 1)
    assert losses[1] < 2 * float(said[2])


def test_a_debugger_steps_from_backward_into_a_rule():
    """As the README says: a breakpoint, `n` to a line that it quotes, and `s`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    place = re.search(r"`b (nag\.core\S+)` and `c`", text)[1]
    line = re.search(r"go to the\s+line\s+`(.*?)` with `n`, and `s` steps", text)[1]
    shown = io.StringIO()

    class Typed:
        """What the reader types, looking at what the debugger has shown."""

        typed = iter([f"b {place}", "c"])

        def readline(self):
            if (given := next(self.typed, None)) is not None:
                return given + "\n"
            now = shown.getvalue().rpartition("\n> ")[2]
            if "elementwise.py" in now:
                return "q\n"
            return "s\n" if line in now else "n\n"

    def program():
        nag.tanh(nag.Tensor(0.5, requires_grad=True)).backward()

    debugger = pdb.Pdb(stdin=Typed(), stdout=shown, nosigint=True, readrc=False)
    debugger.use_rawinput = False
    before = sys.gettrace()
    try:
        debugger.runcall(program)
    finally:
        sys.settrace(before)
    assert shown.getvalue().endswith("-> tanh.defvjp(x=lambda g, out: g * (1 - out * out))\n(Pdb) ")


def test_the_example_of_a_gradient_check_shows_a_wrong_gradient():
    code = next(b for b in blocks("README.md", "python") if "gradcheck(cube" in b)
    with pytest.raises(GradientError) as error:
        exec(compile(code, "README.md", "exec"), {})
    (shown,) = [b for b in blocks("README.md", "") if "GradientError" in b]
    printed = {line.strip() for line in f"GradientError: {error.value}".splitlines()}
    shown = [line.strip() for line in shown.splitlines() if line.strip() not in ("...", "")]
    numbers = re.compile(r"[\d.]+e-\d\d$")  # the last digits may differ by machine
    assert {numbers.sub("", line)[:30] for line in shown} <= {
        numbers.sub("", line)[:30] for line in printed
    }


def test_the_operation_of_ones_own_runs(tmp_path):
    file, scope = tmp_path / "example.py", {}  # a file of its own: Hypothesis reads the source
    file.write_text(next(b for b in blocks("README.md", "python") if "def logit" in b))
    exec(compile(file.read_text(), file, "exec"), scope)
    scope["test_logit"]()


def test_the_example_of_the_package_docstring_runs():
    scope = {}
    code = [line[4:] for line in nag.__doc__.splitlines() if line.startswith("    ")]
    exec("\n".join(code), scope)
    assert repr(scope["x"].grad) == "tensor([2., 4., 6.])"


def ours(pattern):  # what pip, virtual environments and runs leave here is not
    return [
        p
        for p in ROOT.rglob(pattern)
        if not any(
            part.startswith(".") or part in ("build", "venv", "runs")
            for part in p.relative_to(ROOT).parts[:-1]
        )
    ]


def test_a_map_names_every_file_of_its_folder():
    for readme in ours("README.md"):
        text = readme.read_text(encoding="utf-8")
        tests = "tests/test_*_arguments.py", "tests/[!t]*.py"  # named together
        for file in readme.parent.glob("*.py") if readme.parent != ROOT else ():
            if file.stem != "__init__" and not any(map(file.match, tests)):
                assert file.name in text, f"{readme} does not name {file.name}"


def test_every_folder_has_a_map_and_every_link_leads_somewhere():
    for folder in {p.parent for p in ours("*.py")} - {ROOT}:
        if folder.parent in (ROOT, ROOT / "nanoautograd"):
            assert (folder / "README.md").exists(), f"{folder} has no README.md"
    for readme in ours("README.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", readme.read_text(encoding="utf-8")):
            assert "://" in link or (readme.parent / link).exists(), f"{readme}: {link}"


def test_the_table_of_models_is_what_its_command_printed():
    table = (ROOT / "docs" / "models.txt").read_text(encoding="utf-8")
    assert table.strip() in (ROOT / "models" / "README.md").read_text(encoding="utf-8")
