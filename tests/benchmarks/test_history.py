"""python -m benchmarks history: how the figures of several reports went."""

import copy

import pytest

from benchmarks import history, report


@pytest.fixture
def files(measured, tmp_path):
    """Three reports, in which softmax takes as long, twice and four times as long."""
    names = []
    for i, factor in enumerate((1.0, 2.0, 4.0)):
        found = report.read(measured[1])
        found["environment"]["commit"] = f"commit{i}"
        for r in found["rows"]:
            slow = factor if r["case"] == "softmax" else 1.0
            for p in r["peers"].values():
                p["passes"] = [copy.deepcopy(p["passes"][0]) for _ in range(3)]
                for one, spread in zip(p["passes"], (0.99, 1.0, 1.01)):
                    seconds = 1e-3 * spread * (slow if p is r["peers"][r["main"]] else 2.0)
                    one["turns"][0]["seconds"] = seconds
            report.summarise(r)
        names.append(str(tmp_path / f"{i}.json"))
        report.save(found, names[-1])
    return names


def test_a_history_shows_each_report_and_what_changed(files, tmp_path, capsys):
    picture = tmp_path / "history.svg"
    assert not history.main([*files, "--plot", str(picture)])
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert "the intervals of any two overlap in 4 of 5 rows" in rows
    assert head.index("commit0") < head.index("commit1") < head.index("commit2")
    (softmax,) = [line for line in rows if line.startswith("| softmax tiny ")]
    assert "1.000 ± 0.011 | 2.00 ± 0.03 | 4.00 ± 0.05 |" in " ".join(softmax.split())
    assert softmax.rstrip(" |").endswith(" slower")
    (rnn,) = [line for line in rows if line.startswith("| rnn tiny ")]
    assert rnn.rstrip(" |").endswith("1.00 ± 0.03"), rnn
    assert picture.read_text(encoding="utf-8").count("<svg") == 1


def test_a_history_beside_a_peer(files, capsys):
    assert not history.main([*files, "--relative", "by hand@strict"])
    (softmax,) = [s for s in capsys.readouterr().out.splitlines() if s.startswith("| softmax")]
    assert "0.500 ± 0.000" in softmax and "2.00 ± 0.00" in softmax


@pytest.mark.parametrize(
    "words, says",
    [
        (["{}", "--relative", "theano"], "no report has a figure beside theano"),
        (["{}", "none.json"], "No such file"),
    ],
)
def test_a_history_that_cannot_be_told_is_refused(files, words, says, capsys):
    assert history.main([w.format(files[0]) for w in words]) == 2
    assert says in capsys.readouterr().err


def test_a_picture_has_a_kind(files, capsys):
    with pytest.raises(SystemExit):
        history.main([files[0], "--plot", "history"])
    assert "must end with .png or .svg" in capsys.readouterr().err
