"""python -m benchmarks compare: what got slower from one report to another."""

import json

import pytest

from benchmarks import compare


def changed(path, to, **factors):
    """A copy of a report in which ours takes `factors` times as long."""
    found = json.loads(path.read_text())
    for r in found["rows"]:
        ours, factor = r["peers"][r["main"]], factors.get(r["case"], 1.0)
        ours["seconds"] *= factor
        ours["quartiles"] = [0.99 * ours["seconds"], 1.01 * ours["seconds"]]
        r["peers"]["torch"] = {
            **ours,
            "ratio": ours["seconds"],
            "ratio quartiles": ours["quartiles"],
        }
    to.write_text(json.dumps(found))
    return str(to)


def test_compare_shows_what_got_slower(measured, tmp_path, capsys):
    a = changed(measured[1], tmp_path / "a.json")
    b = changed(measured[1], tmp_path / "b.json", softmax=1.5, rnn=0.5)
    assert compare.main([a, a]) == 0
    assert compare.main([a, b]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any("softmax tiny" in s and "1.50" in s and "slower" in s for s in lines)
    assert any("rnn tiny" in s and "0.50" in s and "faster" in s for s in lines)
    assert compare.main([a, b, "--threshold", "0.6"]) == 0
    assert compare.main([a, b, "--relative", "torch"]) == 1
    assert compare.main([a, b, "--relative", "jax"]) == 2
    assert "no peer 'jax' in them; there are by hand@strict" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, what, word",
    [
        (lambda r: r["rows"][0]["peers"]["strict"].update(peak=9e9), "rnn tiny, memory", "more"),
        (lambda r: r["rows"][0]["peers"].pop("strict"), "rnn tiny", "failed"),
        (
            lambda r: r["imports"]["nanoautograd"].update(seconds=99.0, quartiles=[98, 100]),
            "import nanoautograd",
            "slower",
        ),
        (
            lambda r: r["training"][0].update(ratio=2.0, quartiles=[1.9, 2.1]),
            "train.py rnn",
            "slower",
        ),
        (lambda r: r["growth"][0].update(time=2.5), "growth of attention", "slower"),
    ],
)
def test_compare_sees_all_that_was_measured(measured, tmp_path, capsys, change, what, word):
    found = json.loads(measured[1].read_text())
    found["training"] = [
        {"preset": "rnn", "train": 1.01, "bare": 1.0, "ratio": 1.01, "quartiles": [1.0, 1.02]}
    ]
    found["growth"] = [
        {"case": "attention", "size": "T", "peer": "numpy", "time": 1.0, "memory": None}
    ]
    paths = [str(tmp_path / name) for name in ("a.json", "b.json")]
    for path, f in zip(paths, (lambda r: None, change)):
        f(found)
        with open(path, "w") as file:
            json.dump(found, file)
    assert compare.main(paths) == 1
    (line,) = [
        s for s in capsys.readouterr().out.splitlines() if s.startswith(f"| {what}") and word in s
    ]
    assert line.rstrip(" |").endswith(word)


def test_what_is_missing_afterwards_is_listed(measured, tmp_path, capsys):
    found = json.loads(measured[1].read_text())
    found["rows"].pop()
    (tmp_path / "b.json").write_text(json.dumps(found))
    assert compare.main([str(measured[1]), str(tmp_path / "b.json")]) == 0
    assert any("softmax" in s and "missing" in s for s in capsys.readouterr().out.splitlines())


def test_a_change_within_the_spread_is_none(measured, tmp_path):
    found = json.loads(measured[1].read_text())
    for factor, path in ((1.0, "a.json"), (1.2, "b.json")):
        for r in found["rows"]:
            ours = r["peers"][r["main"]]
            ours["seconds"], ours["quartiles"] = factor, [0.5 * factor, 2.0 * factor]
        (tmp_path / path).write_text(json.dumps(found))
    assert compare.main([str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0


def test_a_file_that_is_no_report_is_refused(tmp_path, capsys):
    path = tmp_path / "a.json"
    for text in (
        "",
        "[]",
        "{}",
        '{"environment": {}, "rows": []}',
        "[" * 100_000,
        "null",
        '{"environment": null, "rows": [1]}',
    ):
        path.write_text(text)
        assert compare.main([str(path)] * 2) == 2
        assert "is no output of" in capsys.readouterr().err
    assert compare.main([str(tmp_path / "b.json")] * 2) == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.pop("case"),
        lambda r: r.pop("sizes"),
        lambda r: r.update(peers=None),
        lambda r: r.update(peers=[]),
        lambda r: r["peers"]["strict"].update(seconds=None),
        lambda r: r["peers"]["strict"].update(seconds="fast"),
        lambda r: r["peers"]["strict"].update(seconds=0.0),
        lambda r: r["peers"]["strict"].update(seconds=float("nan")),
        lambda r: r["peers"]["strict"].update(quartiles=[1.0]),
        lambda r: r["peers"]["strict"].pop("quartiles"),
    ],
)
def test_a_damaged_report_is_refused(measured, tmp_path, capsys, change):
    found = json.loads(measured[1].read_text())
    change(found["rows"][0])
    (tmp_path / "a.json").write_text(json.dumps(found))
    assert compare.main([str(tmp_path / "a.json")] * 2) == 2
    assert "is no output of" in capsys.readouterr().err
