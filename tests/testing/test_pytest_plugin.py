"""The plugin of pytest, and the command `python -m nanoautograd.testing`."""

import os
import re
import subprocess
import sys
import warnings
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from nanoautograd.testing import GradientError, gradcheck, shrink

ROOT = Path(__file__).parents[2]

TESTS = """
import numpy as np
import pytest

X = np.array([[0.3, -1.2, 2.0], [1.1, 0.4, -0.7]])

def square_vjp(u, x):
    return 2 * u * x

def test_right(gradcheck):
    gradcheck(lambda x: x * x, [X], vjp=square_vjp)

def test_wrong(gradcheck):
    gradcheck(lambda x: x * x, [X], vjp=lambda u, x: 3 * u * x)

@pytest.mark.gradcheck(order=2)
def test_order_2(gradcheck):
    import nanoautograd as nag
    assert gradcheck(nag.tanh, [X]).checks == 3
"""


def run(folder, *arguments, tests=TESTS):
    """pytest in a process of its own, with the plugin."""
    (folder / "test_some.py").write_text(tests)
    is_installed = any(e.name == "nanoautograd" for e in entry_points(group="pytest11"))
    plugin = [] if is_installed else ["-p", "pytest_nanoautograd"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugin, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_the_fixture_checks_and_a_line_says_how_much(tmp_path):
    printed = run(tmp_path, "-k", "right or order")
    assert "2 passed" in printed
    assert re.search(
        r"gradcheck: 4 derivatives in 2 checks agree; the least sharp .*test_", printed
    )
    assert "gradcheck:" not in run(tmp_path, "-k", "nothing")


@pytest.mark.slow
def test_what_workers_have_checked_is_counted(tmp_path):
    assert "gradcheck: 4 derivatives in 2 checks" in run(
        tmp_path, "-n", "2", "-k", "right or order"
    )


def test_a_failure_is_short_and_can_be_pasted(tmp_path):
    printed = run(tmp_path, "-k", "wrong")
    assert "1 failed" in printed and len(printed.splitlines()) < 60
    assert "guess: a constant factor: analytic = 3/2" in printed
    (values,) = set(re.findall(r"x0 = (np\.array\(.*\))", printed))  # where CI is set: twice
    x = eval(values, {"np": np})
    assert x.size < 6
    with pytest.raises(GradientError):
        gradcheck(lambda x: x * x, [x], vjp=lambda u, x: 3 * u * x)


FAILING = """
import numpy as np
import pytest
from hypothesis import given, strategies as st
from nanoautograd.testing import gradcheck as imported, GradientError

def square(x):
    return x * x

def square_vjp(u, x):
    return 3 * u * x

@pytest.mark.parametrize("name", ["a/b", "a-b", "<script>", pytest.param("", id="x" * 300)])
def test_fixture(gradcheck, name):
    gradcheck(square, [np.array([0.3, -1.2])], vjp=square_vjp)

def test_imported():
    imported(square, [np.array([0.3, -1.2])], vjp=square_vjp)

def test_expected(gradcheck):
    with pytest.raises(GradientError):
        gradcheck(square, [np.array([0.3, -1.2])], vjp=square_vjp)

@given(st.floats(1, 100))
def test_property(x):
    imported(square, [np.array([x])], vjp=square_vjp)

def test_other():
    assert False
"""


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_each_failure_has_a_page(tmp_path, workers):
    folder = tmp_path / "some" / "pages"
    printed = run(tmp_path, "--gradcheck-report", "some/pages", "-n", workers, tests=FAILING)
    assert "7 failed, 1 passed" in printed
    pages = {path.name: path.read_text("utf-8") for path in folder.iterdir()}
    assert len(pages) == 6 and all(str(folder / name) in printed for name in pages)
    tests = "imported property fixture-a-b fixture-a-b fixture-script x{90,}".split()
    for test, name in zip(sorted(tests), sorted(pages, key=lambda name: name[:99])):
        assert re.fullmatch(rf"(test_some-test_)?{test}-[0-9a-f]{{6}}\.html", name)
    assert all("return 3 * u * x" in page and page.endswith("</html>\n") for page in pages.values())
    assert any("np.array([1.0])" in page for page in pages.values())  # the simplest of Hypothesis


def test_a_folder_for_pages_that_cannot_be_is_refused_before_the_tests(tmp_path):
    (tmp_path / "file").touch()
    printed = run(tmp_path, "--gradcheck-report", "file", "-k", "wrong")
    assert "ERROR: --gradcheck-report file" in printed and "failed" not in printed


def test_options_of_the_command_line_hold_where_a_test_says_nothing(tmp_path):
    printed = run(tmp_path, "--gradcheck-entries", "-k", "right")
    assert "gradcheck: 6 derivatives in 1 check agree;" in printed
    assert "invalid choice" in run(tmp_path, "--gradcheck-order", "3")
    printed = run(
        tmp_path, "--gradcheck-max-calls", "2", "--gradcheck-seconds", "60", "-k", "right"
    )
    assert "Inconclusive" in printed and "max_calls=2 allowed 2 calls" in printed


def test_inputs_get_smaller_where_axes_have_to_fit():
    def f(a, b):
        return a @ b

    def vjp(u, a, b):
        return u @ b.T, 2 * (a.T @ u)

    a, b = np.linspace(-1, 1, 20).reshape(4, 5), np.linspace(0.3, 1, 15).reshape(5, 3)
    with pytest.raises(GradientError) as failure:
        gradcheck(f, [a, b], vjp=vjp)
    (small_a, small_b), error = shrink.smallest(f, [a, b], {"vjp": vjp}, failure.value)
    assert small_a.shape == small_b.shape == (1, 1) and error.name == "b"


def test_inputs_get_smaller_without_warnings_of_others():
    def f(x):
        if not x.all():
            warnings.warn("a zero", stacklevel=2)
        return np.log(np.abs(x)) / x

    x = np.linspace(0.1, 2, 12)
    with warnings.catch_warnings(record=True) as warned, pytest.raises(GradientError) as failure:
        warnings.simplefilter("always")
        gradcheck(f, [x], vjp=lambda u, x: u)
    with warnings.catch_warnings(record=True) as more:
        warnings.simplefilter("always")
        shrink.smallest(f, [x], {"vjp": lambda u, x: u}, failure.value)
    assert not warned and not more


FUNCTIONS = """
import numpy as np
import nanoautograd as nag

def square(x):
    return x * x

def square_vjp(u, x):
    return 3 * u * x

class Group:
    tanh = nag.tanh
    log = nag.log
"""


@pytest.mark.parametrize(
    "arguments, status, says",
    [
        ("mine:square --shapes 3,4", 0, "right: 1 derivative;"),
        ("mine:square --shapes () --order 2", 0, "right: 3 derivatives"),
        ("mine:Group.tanh --shapes 3 --entries --forward-mode", 0, "right: 3 derivatives"),
        ("mine:square --shapes 3 --vjp mine:square_vjp", 1, "3/2"),
        ("mine:square --shapes 3 --vjp mine:square_vjp --order 2", 2, "order=2"),
        ("mine:cube --shapes 3", 2, "no attribute 'cube'"),
        ("yours:cube --shapes 3", 2, "No module named 'yours'"),
        ("mine --shapes 3", 2, "is no module:function"),
        ("mine:square --shapes 3,x", 2, "is no shape"),
        ("mine:square --shapes 3 --low 2", 2, "must be below"),
        ("mine:Group.log --shapes 3", 2, "drawn from -2 to 2: try --low 0.1"),
        (
            "mine:Group.log --shapes 3 --low -3 --high -1",
            2,
            "try another --low or --high",
        ),
        ("mine:Group.log --shapes 3 --low 0.1", 0, "right"),
        ("mine.py:square --shapes 3", 2, "mine:square, without .py\n"),
        ("some/mine.py:square --shapes 3", 2, "mine:square, without .py in the folder some\n"),
        ("mine:square --shapes 3 --max-calls 2", 1, "max_calls=2 allowed 2 calls"),
        ("mine:square --shapes 3 --max-calls 0", 2, "max_calls"),
        ("mine:square --shapes 3 --seconds 1e-9", 1, "seconds=1e-09 allowed"),
        ("mine:square --shapes 3 --vjp mine:square_vjp --report a.html", 1, "failure: a.html"),
        ("mine:square --shapes 3 --vjp mine:square_vjp --report no/a.html", 2, "no page about"),
    ],
)
def test_from_a_shell(tmp_path, arguments, status, says):
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    done = subprocess.run(
        [sys.executable, "-m", "nanoautograd.testing", *arguments.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    assert says in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_the_fixture_in_tests_of_hypothesis_and_each_with_its_own_marker(tmp_path):
    tests = """
import numpy as np
import pytest
from hypothesis import given, settings
from nanoautograd.testing import strategies
import nanoautograd as nag

@given(strategies.arrays(3))
@settings(max_examples=4, database=None)
def test_drawn(gradcheck, x):
    gradcheck(nag.tanh, [x])

@pytest.mark.gradcheck(order=2)
@given(strategies.arrays(3))
@settings(max_examples=4, database=None)
def test_drawn_of_order_2(gradcheck, x):
    assert gradcheck(nag.tanh, [x]).checks == 3

@pytest.mark.parametrize("n", [1, 2])
def test_without_the_marker_before(gradcheck, n):
    assert gradcheck(nag.tanh, [np.ones(n)]).checks == 1

@given(strategies.arrays(3))
@settings(max_examples=4, database=None)
def test_wrong(gradcheck, x):
    gradcheck(lambda x: x * x, [x], vjp=lambda u, x: 3 * u * x)
"""
    printed = run(tmp_path, "-n", "0", "-p", "no:randomly", tests=tests)
    assert "4 passed" in printed and "1 failed" in printed
    assert "guess: a constant factor: analytic = 3/2" in printed and "FailedHealth" not in printed
    assert re.search(r"gradcheck: 18 derivatives in 10 checks agree", printed)


def test_inputs_that_are_read_once_are_pasted(tmp_path):
    tests = TESTS.replace("[X], vjp=lambda", "(x for x in [X]), vjp=lambda")
    assert "x0 = np.array([[" in run(tmp_path, "-k", "wrong", tests=tests)
