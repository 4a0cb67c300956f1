"""Cases and libraries from files outside: from the template to a row, and what is refused."""

import pytest
from fakes import TINY

from benchmarks import __main__ as command
from benchmarks import cases, new, outside, registry, report, run


@pytest.fixture(autouse=True)
def as_before(monkeypatch, tmp_path):
    """What a file adds is gone after the test; files lie in a folder of the test's own."""
    kept = [
        (known, dict(known))
        for known in (cases.ALL, cases.MODELS, cases.OPERATIONS, registry.ADDED)
    ]
    monkeypatch.chdir(tmp_path)
    yield
    for known, before in kept:
        known.clear()
        known.update(before)
    outside.added.cache_clear()


def test_from_the_templates_to_rows(capsys):
    new.main(["own_case"])
    new.main(["own_library", "--peer"])
    assert "--cases own_case.py --quick measures it" in capsys.readouterr().out
    words = ["--cases", "own_case.py", "--peer", "own_library.py", "--ops", "softmax"]
    assert command.main([*words, *TINY, "--json", "a.json"]) == 0
    rows = {r["case"]: r for r in report.read("a.json")["rows"]}
    assert set(rows) == {"softmax", "own_case"}
    assert rows["softmax"]["peers"]["own_library"]["ratio"][0] > 0
    assert rows["own_case"]["peers"]["numpy"]["seconds"][0] > 0


def test_a_case_of_ones_own_is_measured_at_its_own_sizes(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from benchmarks.cases.operations import Sum\n"
        "one, wide = (dict(rows=1, columns=n) for n in (1, 9))\n"
        "CASES = {'mine': (Sum, {'tiny': one, 'wide': wide})}"
    )
    o = command.options(["--cases", "mine.py"])
    assert (o.models, o.ops, o.imports) == (None, ["mine"], False)
    assert [case[:2] for case in run.cases(o)] == [("mine", "wide")]
    o = command.options(["--cases", "mine.py", "--ops", "--sizes", "small"])
    assert o.ops == [] and "mine" not in [case[0] for case in run.cases(o)]


def test_nothing_is_written_over(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("mine")
    for words, says in ((["mine"], "there already"), (["my case"], "not one word")):
        with pytest.raises(SystemExit):
            new.main(words)
        assert says in capsys.readouterr().err
    assert (tmp_path / "mine.py").read_text() == "mine"


CASE = "from benchmarks.cases.operations import Sum\nfrom benchmarks.peers import Peer\n"


@pytest.mark.parametrize(
    "text, says",
    [
        (None, "there is no file"),
        ("", "neither CASES nor PEERS"),
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named"),
        ("CASES = {'softmax': (1, {})}", "there is a case 'softmax' already"),
        ("CASES = {'mine': (int, {'small': {}})}", "needs a subclass of Case"),
        (CASE + "CASES = {'mine': (Sum, {})}", "a dict of its sizes"),
        (CASE + "PEERS = {'torch': Peer}", "cannot be called 'torch'"),
        (CASE + "PEERS = {'my lib': Peer}", "cannot be called 'my lib'"),
        (CASE + "PEERS = {'work': Peer}", "cannot be called 'work'"),
        (CASE + "PEERS = {'mine': 3}", "needs a subclass of Peer, not 3"),
    ],
)
def test_a_file_that_adds_nothing_right_is_refused(tmp_path, capsys, text, says):
    if text is not None:
        (tmp_path / "mine.py").write_text(text)
    with pytest.raises(SystemExit):
        command.main(["--cases", "mine.py"])
    assert says in capsys.readouterr().err
