"""What tests of reports share."""

import pytest

from benchmarks import __main__ as command
from benchmarks import imports


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
        assert (
            command.main(
                [
                    "--models",
                    "rnn",
                    "--ops",
                    "softmax",
                    "--growth",
                    "--imports",
                    "--sizes",
                    "tiny",
                    "--backend",
                    "strict",
                    "--vs",
                    "--threads",
                    "1",
                    "--rounds",
                    "1",
                    "--seconds",
                    "0.001",
                    "--json",
                    str(folder / "a.json"),
                    "--plot",
                    str(folder),
                ]
            )
            == 0
        )
    return "\n".join(printed), folder / "a.json", folder
