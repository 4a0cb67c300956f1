import random

import numpy as np
import pytest
from runs import TINY


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def text(tmp_path):
    """A file in which the next character can be guessed."""
    words = random.Random(0).choices(["alpha ", "beta ", "gamma ", "delta.\n"], k=600)
    path = tmp_path / "text.txt"
    path.write_text("".join(words))
    return path


@pytest.fixture
def run(text, tmp_path):
    """Calls train.py in this process, on the text and into the folder "run", or as told."""
    import train

    def call(*options):
        return train.main(
            ["--data", str(text), "--out", str(tmp_path / "run"), *TINY, *map(str, options)]
        )

    return call


@pytest.fixture
def without_pictures(monkeypatch):
    """Runs of train.py that draw nothing: that takes most of the time of a tiny one."""
    monkeypatch.setattr("models.training.evaluation.drawn", lambda draw, *args: [])
