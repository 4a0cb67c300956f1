"""What all tests share: the backends they run on, Hypothesis's profiles, a watch over globals.

pytest                                    each property on a few, fixed examples
pytest --hypothesis-profile=ci            on more, and what is slow
pytest --hypothesis-profile=thorough      on many, which are new in each run
pytest -m gpu, -m oracle, -m data         a part
pytest --kernels                          the fake computes with the CUDA kernels, emulated
"""

import os
import random
from collections import Counter
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import nanoautograd as nag
from nanoautograd.backends import available, strict, to_device, to_numpy
from nanoautograd.core.grad_mode import GRAD_ENABLED
from nanoautograd.kernels.cuda import emulator
from nanoautograd.safety.anomaly import ANOMALY_MODE

# Deadlines measure the machine, not the code. Fixtures below keep no state between examples.
settings.register_profile(
    "default",
    deadline=None,
    max_examples=10,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("default"), max_examples=25, print_blob=True)
settings.register_profile(
    "thorough", settings.get_profile("ci"), max_examples=500, derandomize=False
)
settings.load_profile("default")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several tests run side by side

DEVICES = {"numpy": "cpu", "strict": "strict", "cupy": "cuda"}


def pytest_addoption(parser):
    parser.addoption(
        "--kernels",
        action="store_true",
        help="the fake of CuPy computes with the CUDA kernels, on the CPU",
    )


LEFT_OUT = pytest.StashKey[Counter]()  # reason -> how many tests are not run for it


def pytest_configure(config):
    config.stash[LEFT_OUT] = Counter()
    if config.getoption("--kernels"):
        emulated = emulator.emulated(seed=1)
        emulated.__enter__()
        config.add_cleanup(lambda: emulated.__exit__(None, None, None))


@pytest.hookimpl(trylast=True)  # after -m and -k
def pytest_collection_modifyitems(config, items):
    """Leaves out what cannot run here, and what the command does not ask for; the end of the run
    says how many tests that are, and why."""
    cupy = available()["cupy"]
    reasons = {} if cupy.usable else {"gpu": f"no GPU: {cupy.detail}"}
    for part in ("oracle", "data"):
        if part not in config.option.markexpr:
            reasons[part] = f"needs pytest -m {part}"
    if settings.default is settings.get_profile("default"):
        reasons["slow"] = "needs pytest --hypothesis-profile=ci"

    def why(item):
        found = [reasons[mark.name] for mark in item.iter_markers() if mark.name in reasons]
        found += [mark.kwargs["reason"] for mark in item.iter_markers("skipif") if mark.args[0]]
        return found[0] if found else None

    out = {item: reason for item in items if (reason := why(item))}
    config.stash[LEFT_OUT].update(out.values())
    config.hook.pytest_deselected(items=list(out))
    items[:] = [item for item in items if item not in out]


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):  # of a worker, for pytest_testnodedown
        session.config.workeroutput["left_out"] = dict(session.config.stash[LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Each worker collects, and leaves out, the same."""
    if hasattr(node, "workeroutput"):
        node.config.stash[LEFT_OUT] = Counter(node.workeroutput["left_out"])


def pytest_terminal_summary(terminalreporter, config):
    skipped = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
    )
    for what, reasons in ("left out", config.stash[LEFT_OUT]), ("skipped", skipped):
        for reason, n in reasons.most_common():
            terminalreporter.write_line(f"{n:,} {what}: {reason}")


class Backend:
    """One array library, as a test uses it."""

    def __init__(self, name):
        self.name = name
        self.device = DEVICES[name]
        self.xp = {"numpy": np, "strict": strict.xp}.get(name) or pytest.importorskip("cupy")

    def __repr__(self):
        return self.name

    def array(self, x, dtype=None):
        """`x` (anything that np.array takes) as an array of this library."""
        return to_device(np.array(x, dtype=dtype), self.device)

    def tensor(self, x, requires_grad=False, dtype=None):
        """`x` as a Tensor on this library's device."""
        return nag.Tensor(self.array(x, dtype), requires_grad=requires_grad)

    def numpy(self, x):
        """An array or Tensor of this library as a NumPy array."""
        return to_numpy(x.data if isinstance(x, nag.Tensor) else x)

    def allow_promotion(self):
        """For tests that mix float32 and float64 on purpose, which the fake refuses."""
        return strict.allow_promotion() if self.name == "strict" else nullcontext()


@pytest.fixture(
    params=["numpy", "strict", pytest.param("cupy", marks=pytest.mark.gpu)], scope="session"
)
def backend(request):
    """Runs a test on each backend; on CuPy only where there is a GPU."""
    status = available()[request.param]
    if not status.usable:
        pytest.skip(status.detail)
    return Backend(request.param)


def _global_state():
    """What a test must leave as it found it, by name."""
    name, keys, position, *_ = np.random.get_state()
    return {
        "recording (no_grad)": GRAD_ENABLED.get(),
        "inspecting (detect_anomaly)": ANOMALY_MODE.get(),
        "numpy's errstate": np.geterr(),
        "numpy's global random state": (name, keys.tobytes(), position),
        "Python's global random state": random.getstate(),
        "the fake's modes": (strict.rules.modes.no_sync, strict.rules.modes.promotion),
    }


@pytest.fixture(autouse=True)
def no_leaks():
    """Fails a test that changes a global and does not put it back."""
    before = _global_state()
    yield
    after = _global_state()
    leaked = [what for what in before if before[what] != after[what]]
    GRAD_ENABLED.set(before["recording (no_grad)"])  # so that the next test starts clean
    ANOMALY_MODE.set(before["inspecting (detect_anomaly)"])
    strict.rules.modes.no_sync, strict.rules.modes.promotion = before["the fake's modes"]
    np.seterr(**before["numpy's errstate"])
    assert not leaked, f"the test left changed: {', '.join(leaked)}"
