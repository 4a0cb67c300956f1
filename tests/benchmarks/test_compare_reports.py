"""python -m benchmarks compare: what got slower from one report to another."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import compare, report


@pytest.fixture
def made(measured):
    """A report whose rows have five passes of a millisecond, with a spread of 2 %."""
    found = report.read(measured[1])
    rng = np.random.default_rng(0)
    for r in found["rows"]:
        ours = r["peers"][r["main"]]
        ours["passes"] = [copy.deepcopy(ours["passes"][0]) for _ in range(5)]
        for one in ours["passes"]:
            one["peak"] = 20_000_000
            one["turns"][0]["seconds"] = float(1e-3 * rng.lognormal(0.0, 0.02))
        r["peers"] = {r["main"]: ours, "torch": copy.deepcopy(ours)}
        report.summarise(r)
    found["training"] = [
        {"preset": "rnn", **dict.fromkeys(("train", "bare", "ratio"), [1.01, 1.0, 1.02])}
        | {"values": [1.0, 1.01, 1.02]}
    ]
    return found


def changed(found, **factors):
    """A copy in which ours takes `factors` times as long."""
    found = copy.deepcopy(found)
    for r in found["rows"]:
        for one in r["peers"][r["main"]]["passes"]:
            one["turns"][0]["seconds"] *= factors.get(r["case"], 1.0)
        report.summarise(r)
    return found


@pytest.fixture
def files(made, tmp_path):
    """Writes reports into files; their names."""

    def write(*reports):
        names = [str(tmp_path / f"{i}.json") for i in range(len(reports))]
        for found, name in zip(reports, names):
            report.save(found, name)
        return names

    return write


def test_compare_shows_what_got_slower(made, files, capsys):
    a, b = files(made, changed(made, softmax=1.5, rnn=0.5))
    assert compare.main([a, a]) == 0
    assert compare.main([a, b]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any("softmax tiny" in s and "1.50 ± 0.05" in s and "slower" in s for s in lines)
    assert any("rnn tiny" in s and "0.50" in s and "faster" in s for s in lines)
    assert compare.main([a, b, "--threshold", "0.6"]) == 0
    assert compare.main([a, b, "--relative", "torch"]) == 1
    assert compare.main([a, b, "--relative", "jax"]) == 2
    assert "no peer 'jax' in them; there are torch" in capsys.readouterr().err


SOME = st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=8)


@given(SOME, SOME, st.floats(0.1, 10.0))
def test_a_change_does_not_depend_on_the_unit(before, after, unit):
    ratio, p = compare.change(before, after)
    scaled, q = compare.change([unit * x for x in before], [unit * x for x in after])
    assert 0 <= p <= 1 and q == pytest.approx(p, abs=1e-6)
    assert scaled.value == pytest.approx(ratio.value)
    assert ratio.low * (1 - 1e-9) <= ratio.value <= ratio.high * (1 + 1e-9)


def test_no_alarm_between_runs_of_one_program_and_a_tenth_is_found():
    """Of 100 pairs of runs, with 10 rows of 5 passes each, about one in twenty has an alarm; a row
    that takes a tenth more is found in nearly all."""
    rng = np.random.default_rng(0)

    def report_of(slow=1.0):
        times = rng.lognormal(0.0, 0.02, (10, 5)) * np.array([[slow], *[[1.0]] * 9])
        turn = {"wall": 1.0, "own": 1.0, "others": 0.0, "switches": 0}
        return {
            "rows": [
                {
                    **{"case": str(i), "size": "s", "precision": "float32", "kind": "model"},
                    **{"main": "numpy", "sizes": {}, "errors": {}},
                    "peers": {
                        "numpy": {
                            "seconds": [1.0, None, None],
                            "peak": None,
                            "passes": [
                                {"peak": None, "turns": [{"seconds": t, **turn}]} for t in row
                            ],
                        }
                    },
                }
                for i, row in enumerate(times)
            ]
        }

    def words(a, b):
        return [row[-1] for row in compare.compared(a, b, 0.0, 1.0)]

    alarms = [any(words(report_of(), report_of())) for _ in range(100)]
    assert sum(alarms) <= 10
    found = [words(report_of(), report_of(1.1))[0] for _ in range(20)]
    assert found.count("slower") >= 18


def test_one_pass_is_not_tested(made, files, capsys):
    for r in made["rows"]:
        for p in r["peers"].values():
            del p["passes"][1:]
        report.summarise(r)
    assert compare.main(files(made, changed(made, softmax=9.0))) == 0
    assert "one pass: not tested" in capsys.readouterr().out


def test_memory_has_a_floor():
    def report_of(peak):
        r = {"case": "rnn", "size": "tiny", "precision": "float32", "kind": "model", "sizes": {}}
        return {"rows": [{**r, "main": "numpy", "peers": {"numpy": {"peak": peak}}, "errors": {}}]}

    for before, after, word in (
        (1e4, 5e5, ""),
        (1e6, 3e6, "more"),
        (3e6, 1e6, "less"),
        (100e6, 103e6, ""),
    ):
        found = list(compare.memory_rows(report_of(before), report_of(after), 0.05, 1.0))
        assert [row[-1] for row in found] == [word]


@pytest.mark.parametrize(
    "change, what, word",
    [
        (lambda r: r["rows"][0]["peers"]["strict"].update(peak=9e9), "rnn tiny, memory", "more"),
        (lambda r: r["rows"][0]["peers"].pop("strict"), "rnn tiny", "failed"),
        (
            lambda r: r["imports"]["nanoautograd"].update(values=[98.0, 99.0, 100.0]),
            "import nanoautograd",
            "slower",
        ),
        (
            lambda r: r["training"][0].update(values=[2.0, 1.9, 2.1]),
            "train.py rnn",
            "slower",
        ),
        (
            lambda r: r["rows"][-1]["peers"]["strict"].update(seconds=[1.0, None, None]),
            "growth of attention B, strict, time",
            "slower",
        ),
    ],
)
def test_compare_sees_all_that_was_measured(made, files, capsys, change, what, word):
    for r in made["rows"]:
        if r["kind"] == "B":
            r["peers"]["strict"]["seconds"] = [1e-3 * r["sizes"]["B"], None, None]
    made["imports"]["nanoautograd"]["values"] = [0.05, 0.06, 0.055]
    after = copy.deepcopy(made)
    change(after)
    assert compare.main(files(made, after)) == 1
    lines = capsys.readouterr().out.splitlines()
    (line,) = [s for s in lines if s.startswith(f"| {what} ") and word in s]
    assert line.rstrip(" |").endswith(word)


def test_what_is_missing_afterwards_is_listed(made, files, capsys):
    after = copy.deepcopy(made)
    del after["rows"][1]
    assert compare.main(files(made, after)) == 0
    assert any("softmax" in s and "missing" in s for s in capsys.readouterr().out.splitlines())


def test_a_file_that_is_no_report_is_refused(tmp_path, capsys):
    path = tmp_path / "a.json"
    for text in (
        *("", "[]", "{}", "null", "[" * 100_000),
        '{"environment": {}, "rows": []}',
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
        lambda r: r["rows"][0].pop("case"),
        lambda r: r["rows"][0].pop("sizes"),
        lambda r: r["rows"][0].update(peers=None),
        lambda r: r["rows"][0]["peers"]["strict"].update(seconds=[None, 1.0, 1.0]),
        lambda r: r["rows"][0]["peers"]["strict"].update(seconds=["fast", 1.0, 1.0]),
        lambda r: r["rows"][0]["peers"]["strict"].update(seconds=[0.0, 1.0, 1.0]),
        lambda r: r["rows"][0]["peers"]["strict"].update(seconds=[float("nan"), 1.0, 1.0]),
        lambda r: r["rows"][0]["peers"]["strict"].update(seconds=[1.0]),
        lambda r: r["rows"][0]["peers"]["strict"].pop("seconds"),
        lambda r: r["rows"][0]["peers"]["strict"]["passes"][0].update(turns=[]),
        lambda r: r["rows"][0]["peers"]["strict"]["passes"][0]["turns"][0].pop("others"),
        lambda r: r.update(schema=1),
        lambda r: r.update(extra=1),
        lambda r: r["environment"].pop("commit"),
    ],
)
def test_a_damaged_report_is_refused(measured, tmp_path, capsys, change):
    found = json.loads(measured[1].read_text())
    change(found)
    (tmp_path / "a.json").write_text(json.dumps(found))
    assert compare.main([str(tmp_path / "a.json")] * 2) == 2
    assert "is no output of" in capsys.readouterr().err
