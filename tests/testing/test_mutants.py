"""The tests are tested: mistakes planted in the rules are caught. The whole set, about five
thousand, is run by `python -m nanoautograd.testing.mutants`; this is an even sample of it."""

from collections import Counter

import pytest
from hypothesis import settings

from nanoautograd import ops
from nanoautograd.testing import mutants

PLANTED = 3 * settings.default.max_examples
# How many there are in each folder: they are found through the source, and must not get lost.
BY_FOLDER = {
    "core": 383,
    "safety": 80,
    "custom_vjp": 137,
    "ops": 1478,
    "manual": 1114,
    "kernels": 1608,
    "backends": 413,
}


@pytest.fixture(scope="module")
def everything():
    return mutants.all_mutants()


def test_there_are_many_of_every_kind(everything):
    assert len(everything) > 1000
    kinds = {m.kind for m in everything}
    assert kinds >= {
        "sign",
        "factor",
        "operator",
        "not transposed",
        "swapped arguments",
        "lost duplicates",
        "wrong axis",
        "stale value",
        "off by one",
        "missing mask",
        "dropped factor",
        "dropped term",
        "missing call",
        "missing step",
    }
    assert len({str(m) for m in everything}) > 1000


def test_there_are_as_many_in_each_folder_as_there_were(everything):
    planted = Counter(m.site.place.partition(".")[0] for m in everything)
    assert not {folder: n for folder, n in BY_FOLDER.items() if planted[folder] < n}


def test_every_rule_has_some(everything):
    places = {m.site.place for m in everything}
    for site in mutants.sites():
        assert site.place in places or "vjp" not in site.place
    assert any("backends.sums.unbroadcast" in place for place in places)
    for name in (
        "rnn",
        "lstm",
        "gru",
        "recurrent",
        "attention",
        "cross_entropy",
        "softmax",
        "log_softmax",
    ):
        assert f"manual.{name}.backward" in places
    assert "kernels.linear_cross_entropy.add_linear" in places  # which forward calls


def test_planting_and_taking_out_again():
    rule = ops.tanh.rules["x"]
    site = next(s for s in mutants.sites() if s.function is rule)
    mutant = next(m for m in mutants.mutants(site) if m.kind == "sign")
    assert rule(1.0, 0.5) == 0.75
    with mutants.Planted(rule, mutant.code):
        assert rule(1.0, 0.5) == -0.75
    assert rule(1.0, 0.5) == 0.75


def test_a_sample_is_caught(everything, monkeypatch):
    """Of those in lines that the few calls drawn here execute; the whole set has more calls, and
    counts a mutant that nothing executes as one that survived. What the few do not catch, as where
    one large call alone executes it, all are to catch."""
    monkeypatch.setattr(mutants, "CALLS", 12)
    covered = mutants.coverage()
    executed = [m for m in everything if covered[m.site.function.__code__].lines & {*m.lines}]
    assert len(executed) > 0.95 * len(everything)
    chosen = mutants.sample(executed, PLANTED)
    results = mutants.judge(chosen, jobs=1)
    survivors = [m for m, status, _ in results if status == "survived"]
    if survivors:
        monkeypatch.undo()
        for cached in (mutants.table, mutants.coverage, mutants.gradients):
            cached.cache_clear()
        again = mutants.judge(survivors, jobs=1)
        assert not [f"{m}: {detail}" for m, status, detail in again if status == "survived"]
    assert sum(status == "caught" for _, status, _ in results) > PLANTED // 2
