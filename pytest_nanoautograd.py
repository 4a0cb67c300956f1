"""A plugin of pytest: the fixture `gradcheck`, which every test may use once this is installed.

    def test_square(gradcheck):
        gradcheck(Square.apply, [torch.randn(3, 4, dtype=torch.float64)])

It is `nanoautograd.testing.gradcheck`, with the same arguments, and takes its options from

    @pytest.mark.gradcheck(order=2, forward_mode=True)      for one test, or a class, or a module
    pytest --gradcheck-order 2 --gradcheck-entries          for all that do not say otherwise

`--gradcheck-report DIR` writes a page for each failed check, also of those that import `gradcheck`:
heat maps, the error over step sizes, the code of the rule.

At the end one line says how many gradients were checked, and which one the least sharply. What
failed is said once, with the smallest inputs that were found to fail, as code to paste.

(A module of its own, since pytest imports it in every run, of every project: it imports NumPy and
the package only when a test asks for the fixture.)
"""

import re
import sys
from collections.abc import Callable, Generator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

DONE = pytest.StashKey[list]()  # of a session: [(sharpness, checks, test)]
RUNNING = pytest.StashKey[pytest.Item]()  # of a session: the test that runs
OPTIONS = ("order", "entries", "max_calls", "seconds")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gradcheck", "gradient checks (nanoautograd)")
    group.addoption(
        "--gradcheck-order",
        type=int,
        choices=(1, 2),
        help="2: the fixture gradcheck also checks the gradient of the gradient",
    )
    group.addoption(
        "--gradcheck-entries",
        action="store_true",
        default=None,
        help="the fixture gradcheck looks at every entry by itself, which takes longer",
    )
    group.addoption(
        "--gradcheck-max-calls",
        type=int,
        metavar="N",
        help="how often each check of the fixture gradcheck may call the function",
    )
    group.addoption(
        "--gradcheck-seconds",
        type=float,
        metavar="S",
        help="how long each check of the fixture gradcheck may take",
    )
    group.addoption(
        "--gradcheck-report",
        metavar="DIR",
        help="write a page of HTML about each failed check into this folder",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "gradcheck(**options): options of the fixture gradcheck, as order=2"
    )
    config.stash[DONE] = []
    folder = config.getoption("gradcheck_report")
    if folder is not None:
        try:
            _report_folder(config).mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise pytest.UsageError(f"--gradcheck-report {folder}: {e}") from None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[RUNNING] = item


@pytest.fixture(scope="session")  # one for each test Hypothesis would refuse
def gradcheck(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`nanoautograd.testing.gradcheck` with the options of the command line and of the marker."""
    from nanoautograd.testing import GradientError, shrink
    from nanoautograd.testing import gradcheck as check

    given = {name: request.config.getoption(f"gradcheck_{name}") for name in OPTIONS}

    def checked(f: Callable[..., Any], inputs: Any, **more: Any) -> Any:
        __tracebackhide__ = True
        options = {name: value for name, value in given.items() if value is not None}
        test = request.config.stash[RUNNING]
        for marker in reversed(list(test.iter_markers("gradcheck"))):  # the closest is the last
            if marker.args:
                raise TypeError(f"@pytest.mark.gradcheck takes options by name; got {marker.args}")
            options |= marker.kwargs
        if more.get("vjp") is not None and "order" not in more:
            more["order"] = 1  # by hand there is no other
        inputs = list(inputs) if isinstance(inputs, Iterator) else inputs  # read twice
        try:
            result = check(f, inputs, **options | more)
        except GradientError as error:
            error.add_note(shrink.as_code(f, inputs, options | more, error))
            raise
        request.config.stash[DONE].append((result.sharpness, result.checks, test.nodeid))
        return result

    return checked


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.config.getoption("gradcheck_report") is None or call.excinfo is None:
        return report
    name = item.nodeid if call.when == "call" else f"{item.nodeid}-{call.when}"
    for k, error in enumerate(_gradient_errors(call.excinfo.value)):
        path = _report_folder(item.config) / _page_name(name, k)
        try:
            said = f"a page about this failure: {error.show(path)}"
        except Exception as e:  # the failure itself is what has to be told
            said = f"no page about this failure: {type(e).__name__}: {e}"
        report.sections.append(("gradcheck", said))
    return report


def _report_folder(config: pytest.Config) -> Path:
    return config.invocation_params.dir / config.getoption("gradcheck_report")


def _gradient_errors(error: BaseException) -> list:
    """The GradientErrors in an error: itself, or those of a group, as of Hypothesis."""
    testing = sys.modules.get("nanoautograd.testing")  # else it has raised nothing
    if testing is None:
        return []
    if isinstance(error, BaseExceptionGroup):
        return [found for part in error.exceptions for found in _gradient_errors(part)]
    return [error] if isinstance(error, testing.GradientError) else []


def _page_name(test: str, k: int) -> str:
    """A file's name for the k-th failure of a test: words of its id, and some letters of a hash,
    since what is no word is left out."""
    words = re.sub(r"\W+", "-", test.replace(".py::", "-")).strip("-")[-100:]
    number = f"-{k + 1}" if k else ""
    return f"{words}-{sha256(test.encode(errors='replace')).hexdigest()[:6]}{number}.html"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    done = config.stash.get(DONE, [])
    done += [tuple(line) for report in _workers(terminalreporter) for line in report]
    if done:
        from nanoautograd.testing.report import plural

        sharpness, _, test = max(done)
        total = sum(checks for _, checks, _ in done)
        counted = f"{plural(total, 'derivative')} in {plural(len(done), 'check')}"
        terminalreporter.write_line(
            f"gradcheck: {counted} agree{'s' * (total == 1)}; the least sharp would have seen a "
            f"relative mistake of {sharpness:.0e} ({test})"
        )


def _workers(terminalreporter: Any) -> list[list]:
    """What the processes of pytest-xdist have sent."""
    return getattr(terminalreporter.config, "_gradcheck_workers", [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["gradcheck"] = session.config.stash[DONE]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    sent = getattr(node, "workeroutput", {}).get("gradcheck", [])
    node.config._gradcheck_workers = [*getattr(node.config, "_gradcheck_workers", []), sent]
