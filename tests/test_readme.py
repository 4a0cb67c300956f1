"""What the READMEs and the pages of docs/ show runs, and prints what they say it prints."""

import importlib.util
import io
import pdb
import re
import shlex
import sys
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import nanoautograd as nag
from models.tasks import PRESETS
from models.training.options import DEFAULT, parser

ROOT = Path(__file__).parent.parent
IGNORED = ("build", "site", "venv", "runs")  # what pip, virtual environments and runs leave here


def ours(pattern):
    return sorted(
        path
        for path in ROOT.rglob(pattern)
        if not any(
            part.startswith(".") or part in IGNORED for part in path.relative_to(ROOT).parts[:-1]
        )
    )


PAGES = [path.relative_to(ROOT).as_posix() for path in ours("*.md")]
# Run where it takes its part: as a task of train.py, by tests/training/test_tasks.py.
ELSEWHERE = {"models/tasks/README.md"}
EXPLAINED = {"NAME", "PRESET", "reverse"}  # presets that readers write, or choose, themselves


def blocks(path, language=None):
    """The blocks of code of a page, with their languages, or those of one language."""
    text = (ROOT / path).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return found if language is None else [code for found, code in found if found == language]


def examples(path):
    """[(code, what stands below it as its output, or None)] of a page."""
    found = blocks(path)
    for (language, code), (below, output) in pairwise([*found, ("end", "")]):
        if language == "python":
            yield code, output if below == "" else None


WITH_EXAMPLES = [p for p in PAGES if p not in ELSEWHERE and any(examples(p))]


def essence(text):
    """Text to compare: without the last digits, which differ by machine, and ends of lines."""
    text = re.sub(r"[\d.]+e-\d\d\b", "#", text)
    return " ".join(re.sub(r"\d+\.\d{6,}", lambda number: number[0][:8], text).split())


def assert_shown(shown, printed):
    """What is shown was printed; "..." stands for anything."""
    at, printed = 0, essence(printed)
    for piece in map(str.strip, re.split(r"(?<!\S)\.\.\.(?!\S)", essence(shown))):
        assert printed.find(piece, at) >= at, f"{piece!r} not, or not here:\n{printed}"
        at = printed.find(piece, at) + len(piece)


def run_examples(page, tmp_path, left_out=lambda code: False):
    scope = {"__name__": "example", "np": np, "nag": nag}
    for i, (code, shown) in enumerate(examples(page)):
        if left_out(code):
            continue
        file = tmp_path / f"example_{i}.py"  # a file of its own: Hypothesis reads the source
        file.write_text(code, encoding="utf-8")
        printed = io.StringIO()
        raises = shown and re.search(r"^(\w*(?:Error|Nearby|Inconclusive|Refused)): ", shown, re.M)
        with redirect_stdout(printed):
            try:
                exec(compile(code, file, "exec"), scope)
            except Exception as error:
                if not raises:
                    raise
                assert type(error).__name__ == raises[1]
                print(f"{raises[1]}: {error}")
            else:
                assert not raises, f"{raises[1]} is shown, and not raised"
        if shown:
            assert_shown(shown, printed.getvalue())
        for name in re.findall(r"^def (test_\w+)", code, re.MULTILINE):
            scope[name]()


def needs_others(code):
    return re.search(r"\b(torch|jax)\b", code)


@pytest.mark.parametrize("page", WITH_EXAMPLES)
def test_the_examples_of_a_page_run_and_print_what_is_shown(page, tmp_path):
    run_examples(page, tmp_path, left_out=needs_others)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "page",
    [page for page in WITH_EXAMPLES if any(needs_others(code) for code, _ in examples(page))],
)
def test_so_do_those_of_pytorch(page, tmp_path):
    pytest.importorskip("torch")
    run_examples(page, tmp_path)


def commands(path, program):
    """The arguments with which a page calls a program, in a block or a line of code."""
    text = (ROOT / path).read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(rf"(?:^|`|&& )python {program}((?: [^`\n|&]*)?)", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in found]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page, r"train\.py")])
def test_commands_have_presets_and_options_that_there_are(page):
    for words in commands(page, r"train\.py"):
        named = words and not words[0].startswith("-")
        preset = words.pop(0) if named else DEFAULT
        if preset in EXPLAINED or words in (["--generate"], ["--list"]):
            continue
        assert preset in PRESETS, f"python train.py {preset}"
        parser(preset).parse_args(words)  # exits where an option is unknown


def test_what_installs_the_checkout_installs_it_to_be_edited():
    """Without -e, pip puts a copy in the place of the files that are edited; and the name alone is
    another project's, on PyPI."""
    for path in (*ours("*.md"), *ours("*.py"), ROOT / "mkdocs.yml", ROOT / "setup.cfg"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"pip install (?!-)[\"']?(\.|nanoautograd)", text), path


def test_how_long_the_tests_take_is_one_figure():
    pages = [ROOT / page for page in ("README.md", "CONTRIBUTING.md", "tests/README.md")]
    said = [re.findall(r"(\w+) minutes on two\s+cores", page.read_text()) for page in pages]
    assert said == [["five"]] * 3


def test_the_versions_claimed_are_those_of_the_workflow():
    setup, readme, workflow = [
        (ROOT / path).read_text(encoding="utf-8")
        for path in ("setup.cfg", "README.md", ".github/workflows/test.yml")
    ]
    numpy = re.search(r"numpy>=([\d.]+)\n", setup)[1]
    pythons = re.findall(r"Python :: (3\.\d+)", setup)
    assert f"python_requires = >={pythons[0]}\n" in setup
    assert f"Python {pythons[0]} or later; the engine alone needs only NumPy, {numpy} or" in readme
    assert set(re.findall(r'numpy: "([\d.]+)\.\*"', workflow)) == {numpy}
    assert re.findall(r"3\.\d+", re.search(r"python: \[(.*)\]", workflow)[1]) == pythons


def test_commands_name_modules_that_there_are():
    called = {words[0] for page in PAGES for words in commands(page, "-m")}
    assert "models.chat" in called
    for module in called - {"pytest", "pip", "build"}:
        assert importlib.util.find_spec(module), f"python -m {module}"


def test_contributing_names_files_that_there_are():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE):
        first, *others = re.sub("NAME|FAMILY|TASK", "*", row).replace("`", "").split(", ")
        assert list(ROOT.glob(first)), row
        for name in others:  # beside the first, or from the root
            assert [*ROOT.glob(name), *ROOT.joinpath(first).parent.glob(name)], row


def test_a_name_is_in_the_file_that_it_is_said_to_be_in():
    """As `save` in safety/in_place.py, in a docstring, or with a link to the file."""
    found = 0
    pattern = r"`(\w+)` in (?:\[[^\]]*\]\()?((?:\.\./|\w+/)*\w+\.(?:py|cuh?))\b"
    for page in [*ours("*.md"), *ours("*.py"), *ours("*.cu*")]:
        text = re.sub(r"\s*\n\s*(?:#|//)?\s*", " ", page.read_text(encoding="utf-8"))
        for name, file in re.findall(pattern, text):
            places = [page.parent / file, ROOT / "nanoautograd" / file, ROOT / file]
            there = [place for place in places if place.exists()]
            assert there, f"{page}: {file}"
            assert re.search(rf"\b{name}\b", there[0].read_text(encoding="utf-8")), (page, name)
            found += 1
    assert found > 20


def test_an_output_that_is_not_printed_is_seen():
    assert_shown("a 1\n...\nb", "a 1\nc\nb")
    for shown in ("a 2", "b\na 1"):
        with pytest.raises(AssertionError):
            assert_shown(shown, "a 1\nb")


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
    """As the README says: what it quotes is typed, and leads into the rule."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    typed = [line for way in re.findall(r"`(b [^`]+)` and `c`", text) for line in (way, "c")]
    assert len(typed) == 4
    shown = io.StringIO()

    def program():
        (nag.tanh(nag.Tensor([0.5, 1.0], requires_grad=True)) ** 2).sum().backward()

    debugger = pdb.Pdb(
        stdin=io.StringIO("\n".join([*typed, "q"])), stdout=shown, nosigint=True, readrc=False
    )
    debugger.use_rawinput = False
    before = sys.gettrace()
    try:
        debugger.runcall(program)
    finally:
        sys.settrace(before)
        debugger.clear_all_breaks()
    stops = [stop.splitlines()[0] for stop in shown.getvalue().split("\n-> ")[1:]]
    assert len(stops) == 3 and stops[2] == "tanh.defvjp(x=lambda g, out: g * (1 - out * out))", (
        stops
    )


def test_the_example_of_a_gradient_check_is_short():
    code = next(b for b in blocks("README.md", "python") if "gradcheck(cube" in b)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15


def test_the_example_of_the_package_docstring_runs():
    scope = {}
    code = [line[4:] for line in nag.__doc__.splitlines() if line.startswith("    ")]
    exec("\n".join(code), scope)
    assert repr(scope["x"].grad) == "tensor([2., 4., 6.])"


def test_a_map_names_every_file_of_its_folder():
    for readme in ours("README.md"):
        text = readme.read_text(encoding="utf-8")
        tests = "tests/test_*_arguments.py", "tests/[!t]*.py"  # named together
        for file in readme.parent.glob("*.py") if readme.parent != ROOT else ():
            if file.stem != "__init__" and not any(map(file.match, tests)):
                assert file.name in text, f"{readme} does not name {file.name}"


def heading(line):
    """The anchor of a heading, as GitHub and MkDocs make it."""
    text = re.sub(r"[`*]|\]\([^)]*\)|[^\w\s-]", "", line.lstrip("#").strip().lower())
    return re.sub(r"\s+", "-", text)


def test_every_folder_has_a_map_and_every_link_leads_somewhere():
    for folder in {p.parent for p in ours("*.py")} - {ROOT, ROOT / "docs"}:
        if folder.parent in (ROOT, ROOT / "nanoautograd"):
            assert (folder / "README.md").exists(), f"{folder} has no README.md"
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", text):
            file = (ROOT / page).parent / link if link else ROOT / page
            assert "://" in link or file.exists(), f"{page}: {link}"
            if anchor and "://" not in link:
                target = file / "README.md" if file.is_dir() else file
                titles = re.findall(r"^#+ .*$", target.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in map(heading, titles), f"{page}: {link}#{anchor}"
