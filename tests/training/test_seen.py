"""What weights have read is known again where it is held out."""

import json
import random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

import train  # noqa: E402
from models.data import DataError, seen, split  # noqa: E402
from models.training import search  # noqa: E402
from models.training.cells import doubt  # noqa: E402
from nanoautograd.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402

pytestmark = pytest.mark.usefixtures("without_pictures")

TINY = "--d-model 8 --heads 2 --layers 1 --block-size 8 --batch 2 --length 5 --warmup 0".split()


def stretches(texts):
    W = seen.WINDOW
    return {t[i : i + W] for t in texts for i in range(max(1, len(t) - W + 1))}


def letters(n, seed):
    return "".join(random.Random(seed).choices("abcdefgh ijklm\n", k=n))


# ---- samples

LISTS = st.lists(st.text(st.sampled_from("abé🙂"), max_size=90), max_size=4)


@given(a=LISTS, b=LISTS, chunk=st.integers(1, 70))
def test_a_small_sample_is_all_of_it(a, b, chunk):
    """The same numbers for the same stretches, however the texts are cut into chunks."""
    found = seen.sample(a)
    assert len(found) == len(stretches(a)) and (np.diff(found.astype(object)) > 0).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen, "CHUNK", chunk)
        np.testing.assert_array_equal(seen.sample(a), found)
    both = len(stretches(a) & stretches(b))
    assert len(np.intersect1d(found, seen.sample(b))) == both
    np.testing.assert_array_equal(seen.join(found, seen.sample(b)), seen.sample([*a, *b]))
    np.testing.assert_array_equal(seen.from_text(seen.to_text(found)), found)


@given(held_out=LISTS, training=LISTS, read=LISTS)
def test_the_share_of_small_texts_is_exact(held_out, training, read):
    new = stretches(held_out) - stretches(training)
    right = len(new & stretches(read)) / len(new) if new else 0.0
    assert seen.share(*map(seen.sample, (held_out, training, read))) == pytest.approx(right)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_large_texts_is_near(part):
    held_out, training, other = letters(20_000, 0), letters(150_000, 1), letters(150_000, 2)
    read = other + held_out[: int(part * len(held_out))]
    samples = [seen.sample([text]) for text in (held_out, training, read)]
    assert all(len(sample) == seen.MOST for sample in samples)
    found = seen.share(*samples)
    assert found == pytest.approx(part, abs=0.05) and (part > 0) == (found > 0)
    joined = seen.join(seen.sample([other]), seen.sample([held_out[: int(part * 20_000)]]))
    assert seen.share(*samples[:2], joined) == pytest.approx(part, abs=0.05)


def test_too_little_to_tell(monkeypatch):
    monkeypatch.setattr(seen, "MOST", 50)
    few, many = seen.sample([letters(60, 0)]), seen.sample([letters(50_000, 1)])
    assert seen.share(few, few[:0], many) is None
    assert seen.share(few, few[:0], few[:0]) == 0.0


@pytest.mark.parametrize("text", ["x", "AAAA", 3, None, [], "A" * 16 * seen.MOST, "é"])
def test_what_is_no_sample(text):
    with pytest.raises(DataError, match="no sample of what was read"):
        seen.from_text(text)


# ---- runs


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(letters(3000, 0))
    return path


@pytest.fixture
def run(text, tmp_path):
    def call(out, *options, data=text):
        words = ["gpt", *TINY, "--steps", 2, "--data", data, "--out", tmp_path / out, *options]
        return train.main(list(map(str, words)))

    return call


def result(folder):
    return json.loads((folder / "result.json").read_text())


def from_first(tmp_path):
    return "--pretrained", tmp_path / "first"


@given(data=st.data())
def test_the_share_is_that_of_the_text(data, tmp_path_factory):
    """Whichever part the two runs hold out, a share or a fold, of all or of the beginning: the
    share is that of the stretches which the first was trained on."""
    parts = st.one_of(
        st.sampled_from(["1/3", "2/3", "3/3", "2/5"]), st.sampled_from([0.1, 0.2, 0.4])
    )
    a, b = data.draw(parts), data.draw(parts)
    limit = data.draw(st.sampled_from([0, 1200]))
    assume(a != b or limit)
    tmp, text = tmp_path_factory.mktemp("runs"), letters(1500, 3)
    (tmp / "text.txt").write_text(text)
    first, _ = split(text, a)
    training, held_out = split(text[: limit or None], b)
    new = stretches([held_out]) - stretches([training])
    right = len(new & stretches([first])) / len(new)
    words = ["gpt", *TINY, "--data", str(tmp / "text.txt"), "--steps", "0"]
    assert train.main([*words, "--validation", str(a), "--out", str(tmp / "first")]) is None
    words += ["--pretrained", str(tmp / "first"), "--limit", str(limit)]
    assert train.main([*words, "--validation", str(b), "--out", str(tmp / "second")]) is None
    assert result(tmp / "second")["seen"] == pytest.approx(right)
    if a == b == 0.1 and not limit:
        assert right == 0


def test_the_same_split_is_no_leak(run, tmp_path, capsys):
    run("first")
    capsys.readouterr()
    assert run("second", *from_first(tmp_path)) is None
    said = result(tmp_path / "second")
    out = capsys.readouterr().out
    assert said["seen"] == 0.0 and "WARNING" not in out and "better than" in out
    assert doubt(said) == ""


@pytest.mark.parametrize("other", [["--validation", "1/5"], ["--limit", "2000"]])
def test_another_split_is_said_beside_the_score(run, tmp_path, capsys, other):
    """Also in a run that goes on, when the first one is gone; and the model is called no better."""
    run("first")
    capsys.readouterr()
    assert run("second", *from_first(tmp_path), *other) is None
    share, out = result(tmp_path / "second")["seen"], capsys.readouterr().out
    assert share > 0.9 and f"{share:.2%} was read by the run in {tmp_path / 'first'}" in out
    assert out.count("the score says nothing of new texts") == 2 and "better than" not in out
    assert f"{share:.2%} of what is held out seen before" in doubt(result(tmp_path / "second"))
    assert run("second", *from_first(tmp_path), *other, "--resume", "--steps", 4) is None
    assert result(tmp_path / "second")["seen"] == share
    assert "the score says nothing of new texts" in capsys.readouterr().out


def test_a_copy_that_is_part_of_another_text(run, tmp_path, text):
    longer = tmp_path / "longer.txt"
    longer.write_text(text.read_text() + letters(2000, 8))
    run("first", data=longer)
    run("second", *from_first(tmp_path))
    assert result(tmp_path / "second")["seen"] == 1.0


def test_what_was_read_is_handed_on(run, tmp_path, text):
    """The third run begins with the second's weights, which began with the first's."""
    other = tmp_path / "other.txt"
    other.write_text(letters(3000, 9))
    run("first")
    run("second", *from_first(tmp_path), data=other)
    assert result(tmp_path / "second")["seen"] == 0.0
    run("third", "--pretrained", tmp_path / "second", "--validation", "1/5")
    assert result(tmp_path / "third")["seen"] > 0.9


def test_a_run_that_does_not_say_what_it_read(run, tmp_path, capsys):
    run("first")
    tensors, state = load_checkpoint(tmp_path / "first")
    del state["read"], state["seen"]
    save_checkpoint(tmp_path / "first", tensors, state)
    capsys.readouterr()
    assert run("second", *from_first(tmp_path)) is None
    assert result(tmp_path / "second")["seen"] is None
    assert "is not known; the score may be too good" in capsys.readouterr().out
    assert run("third", "--pretrained", tmp_path / "second") is None
    assert result(tmp_path / "third")["seen"] is None  # handed on, too


def test_the_search_says_it_of_each_fold(run, tmp_path, text, capsys):
    run("first")
    words = ["gpt", *TINY, "--data", text, "--steps", 2, *from_first(tmp_path)]
    words += ["--runs", tmp_path / "search", "--grid", "lr=0.01", "--folds", 2, "--jobs", 1]
    assert search.main(list(map(str, words))) == 0
    out = capsys.readouterr().out
    assert out.count("of what is held out seen before)") >= 1 and "its score is too good" in out
    found = json.loads((tmp_path / "search" / "results.json").read_text())["settings"]
    assert found[0]["doubts"]
