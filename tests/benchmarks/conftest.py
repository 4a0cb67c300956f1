"""What tests of reports share."""

import pytest
from fakes import TINY

from benchmarks import __main__ as command
from benchmarks import environment, imports


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """How busy others are is not measured for a second in each test."""
    monkeypatch.setattr(environment.quiet, "others", lambda: 0.0)


@pytest.fixture(scope="session")
def measured(tmp_path_factory):
    """(what was printed, the JSON, the folder of pictures) of a small run."""
    folder = tmp_path_factory.mktemp("benchmarks")
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr(
            "builtins.print", lambda *words, **_: printed.append(" ".join(map(str, words)))
        )
        patch.setattr(imports, "MODULES", ("numpy", "nanoautograd"))
        words = "--models rnn --ops softmax --growth --imports --backend strict".split()
        kept = ["--json", str(folder / "a.json"), "--plot", str(folder)]
        assert command.main([*words, *TINY, *kept]) == 0
    return "\n".join(printed), folder / "a.json", folder
