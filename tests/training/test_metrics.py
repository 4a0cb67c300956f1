"""The metrics file and its picture."""

import pytest

pytest.importorskip("matplotlib")

from models.training.metrics import Metrics, draw_curves, save_figure  # noqa: E402
from nanoautograd import checkpoint  # noqa: E402


def test_lines_after_the_step_and_broken_ones_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    metrics = Metrics(path)
    for step in (1, 2, 3):
        metrics.note(step, loss=0.1 * step)
    metrics.close()
    whole = path.read_text()
    path.write_text(whole + '{"step": 4, "lo')  # killed while writing
    metrics = Metrics(path, step=2)
    metrics.note(3, loss=0.1 * 3)
    metrics.close()
    assert path.read_text() == whole
    Metrics(path).close()
    assert path.read_text() == ""


@pytest.mark.parametrize("training, validation", [(1, 0), (1, 1), (200, 3), (0, 0), (0, 1)])
def test_a_picture_of_whatever_there_is(tmp_path, training, validation):
    metrics = Metrics(tmp_path / "metrics.jsonl")
    for step in range(training):
        metrics.note(step, loss=1.0 / (step + 1))
    for step in range(validation):
        metrics.note(step, validation_loss=2.0)
    metrics.close()
    draw_curves(tmp_path / "metrics.jsonl", tmp_path / "loss.png", "title")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, path = pyplot.figure(), tmp_path / "loss.png"
    save_figure(figure, path, dpi=20)
    before = path.read_bytes()
    assert before.startswith(b"\x89PNG")

    def fails(*paths):
        raise OSError("the disk is full")

    monkeypatch.setattr(checkpoint.os, "replace", fails)
    with pytest.raises(OSError, match="full"):
        save_figure(figure, path, dpi=40)
    pyplot.close(figure)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["loss.png"]
