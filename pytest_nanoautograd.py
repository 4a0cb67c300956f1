"""A plugin of pytest: the fixture `gradcheck`, which every test may use once this is installed.

    def test_square(gradcheck):
        gradcheck(Square.apply, [torch.randn(3, 4, dtype=torch.float64)])

It is `nanoautograd.testing.gradcheck`, with the same arguments, and takes its options from

    @pytest.mark.gradcheck(order=2, forward_mode=True)      for one test, or a class, or a module
    pytest --gradcheck-order 2 --gradcheck-entries          for all that do not say otherwise

At the end one line says how many gradients were checked, and which one the least sharply. What
failed is said once, with the smallest inputs that were found to fail, as code to paste.

(A module of its own, since pytest imports it in every run, of every project: it imports NumPy and
the package only when a test asks for the fixture.)
"""

import pytest

DONE = pytest.StashKey[list]()  # of a session: [(sharpness, checks, test)]
OPTIONS = ("order", "entries")


def pytest_addoption(parser):
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


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "gradcheck(**options): options of the fixture gradcheck, as order=2"
    )
    config.stash[DONE] = []


@pytest.fixture
def gradcheck(request):
    """`nanoautograd.testing.gradcheck` with the options of the command line and of the marker."""
    from nanoautograd.testing import GradientError, shrink
    from nanoautograd.testing import gradcheck as check

    given = {name: request.config.getoption(f"gradcheck_{name}") for name in OPTIONS}
    options = {name: value for name, value in given.items() if value is not None}
    for marker in reversed(list(request.node.iter_markers("gradcheck"))):  # the closest is the last
        if marker.args:
            raise TypeError(f"@pytest.mark.gradcheck takes options by name; got {marker.args}")
        options |= marker.kwargs

    def checked(f, inputs, **more):
        __tracebackhide__ = True
        if more.get("vjp") is not None and "order" not in more:
            more["order"] = 1  # by hand there is no other
        try:
            result = check(f, inputs, **options | more)
        except GradientError as error:
            error.add_note(shrink.as_code(f, inputs, options | more, error))
            raise
        request.config.stash[DONE].append((result.sharpness, result.checks, request.node.nodeid))
        return result

    return checked


def pytest_terminal_summary(terminalreporter, config):
    done = config.stash.get(DONE, [])
    done += [tuple(line) for report in _workers(terminalreporter) for line in report]
    if done:
        sharpness, _, test = max(done)
        total = sum(checks for _, checks, _ in done)
        terminalreporter.write_line(
            f"gradcheck: {total} derivatives in {len(done)} checks agree; the least sharp would "
            f"have seen a relative mistake of {sharpness:.0e} ({test})"
        )


def _workers(terminalreporter):
    """What the processes of pytest-xdist have sent."""
    return getattr(terminalreporter.config, "_gradcheck_workers", [])


def pytest_sessionfinish(session):
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["gradcheck"] = session.config.stash[DONE]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    sent = getattr(node, "workeroutput", {}).get("gradcheck", [])
    node.config._gradcheck_workers = [*getattr(node.config, "_gradcheck_workers", []), sent]
