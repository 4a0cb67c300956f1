"""models/tasks/translation.py and what it shares with summaries: on a language made up for it."""

import json
import sys
from argparse import Namespace

import numpy as np
import pytest

import nanoautograd as nag
from models.data import DataError, alike
from models.data.translation import Dictionary
from models.tasks import translation
from models.tasks.translation import (
    PARTS,
    Names,
    Nearest,
    Translation,
    WordTranslations,
    gloss,
    sentence,
    words_and_signs,
)
from nanoautograd.checkpoint import save_checkpoint

pytest.importorskip("tokenizers")

OPTIONS = Namespace(
    preset="translation",
    pretrained="none",
    words=10,
    times=2,
    gloss=True,
    validation=0.3,
    pairs=0,
    vocab_size=300,
    read=40,
    smoothing=0.1,
    seed=0,
    batch=8,
    beam=2,
    device="cpu",
    temperature=0.0,
    top_k=None,
    top_p=None,
)
NOUNS = dict(
    zip(
        "Haus Buch Hund Baum Berg Wald Feld Tal".split(),
        "house book dog tree hill wood field valley".split(),
    )
)
VERBS = {"sehe": "see", "kaufe": "buy", "suche": "seek"}


def made_up():
    """ "Ich sehe Haus und Buch." is "I see house and book.": 168 pairs, and one that is long."""
    pairs = [
        (f"Ich {v} {a} und {b}.", f"I {VERBS[v]} {NOUNS[a]} and {NOUNS[b]}.")
        for v in VERBS
        for a in NOUNS
        for b in NOUNS
        if a != b
    ]
    return pairs + [("Ja " * 10 + "ja.", "Yes.")], "2 malformed lines left out"


def dictionary(pairs=None, phrases=(), words=(), left_out="2 malformed lines left out"):
    return lambda: Dictionary(
        made_up()[0] if pairs is None else pairs, [*phrases], [*words], left_out
    )


def options(**changed):
    return Namespace(**{**vars(OPTIONS), **changed})


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setattr(translation, "read_dictionary", dictionary())
    return Translation(OPTIONS)


def model_of(task, name="seq2seq", **options):
    Config, Model = task.models[name]
    return Model(Config(**task.sizes, copy=True, **options), 0).eval()


def test_no_pair_is_trained_on_and_held_out(task):
    parts = task.training, task.watched, task.test
    assert sum(map(len, parts)) == 168 and len(task.watched) == (len(parts[1] + parts[2]) + 2) // 3
    for side in (0, 1):  # "Hund und Haus" is as good as "Haus und Hund"
        seen = {alike(pair[side]) for pair in task.training}
        assert not seen & {alike(pair[side]) for pair in task.watched + task.test}
    assert (
        "168 pairs" in task.summary
        and "2 malformed lines left out, and 1 of more than 10" in task.summary
    )
    x, x_lengths, y = task.batch(3)
    assert x.shape == (8, x_lengths.max()) and x.dtype == y.dtype == np.int64
    assert (y[:, 0] == task.pieces.begin).all() and ((y == task.pieces.end).sum(axis=1) == 1).all()


def test_phrases_are_trained_on_and_words_counted(monkeypatch):
    sentences = made_up()[0][:-1]
    held = translation_of(monkeypatch, sentences).test[0]
    phrases = [
        ("das alte Haus", "the old house"),
        (held[0].lower(), "something else"),
        ("etwas anderes", held[1].upper()),
        ("ja " * 11, "yes"),
    ]
    task = translation_of(monkeypatch, sentences, phrases, [("Apfel", "apple"), held])
    assert task.training[task.sentences :] == phrases[:1] and task.dictionary == [
        ("Apfel", "apple")
    ]
    assert len(task.encoded) == 2 * task.sentences + 1
    assert task.encoded[: task.sentences] == task.encoded[task.sentences : -1]
    assert task.source_text("Apfel") == "Apfel | Apple"
    assert task.summary.endswith("; 1 phrases to train on, and 1 words to count")
    assert task.fingerprint != translation_of(monkeypatch, sentences).fingerprint


def translation_of(monkeypatch, *lists):
    monkeypatch.setattr(translation, "read_dictionary", dictionary(*lists))
    return Translation(OPTIONS)


def test_a_step_depends_on_its_number_alone(task):
    steps = [task.batch(s) for s in range(40)]
    again = Translation(OPTIONS)
    for s in (33, 2, 17):
        for a, b in zip(steps[s], again.batch(s)):
            assert np.array_equal(a, b)
    assert again.fingerprint == task.fingerprint and again.known == task.known


@pytest.mark.parametrize("glossed", [True, False])
def test_a_trained_model_answers_without_the_data(monkeypatch, glossed):
    monkeypatch.setattr(translation, "read_dictionary", dictionary())
    task = Translation(options(gloss=glossed))
    monkeypatch.setattr(translation, "read_dictionary", None)  # not called
    again = Translation(task.o, json.loads(json.dumps(task.known)))
    assert again.known == task.known and again.sizes == task.sizes
    model = model_of(task, hidden=8)
    assert list(again.generate(model, "Ich sehe")) == list(task.generate(model, "Ich sehe"))


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"words": 3},
        {"words": {"a": 1}, "pieces": "{}"},
        {"words": {"a": "b"}, "pieces": "{", "longest": 1},
    ],
)
def test_what_no_run_knows(known):
    with pytest.raises((DataError, LookupError)):  # which models/training/options.py reports
        Translation(OPTIONS, known)


@pytest.mark.parametrize("name", ["seq2seq", "transformer"])
def test_a_few_steps_lower_the_loss(task, name):
    small = {
        "seq2seq": dict(embedding=16, hidden=32, attention=8),
        "transformer": dict(d_model=32, feed_forward=32, layers=1, dropout=0.0),
    }[name]
    model = model_of(task, name, **small).train()
    optimizer = nag.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(40):
        loss, state = task.loss(model, None, *task.batch(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert state is None
    with nag.no_grad():
        scores, first = task.evaluate(model.eval()), task.evaluate(model_of(task, name, **small))
        final = task.evaluate(model, final=True)
    assert scores["loss"] < 0.5 * first["loss"] and scores["chrf"] > first["chrf"]
    assert set(final) == {"loss", "bleu", "chrf", "exact", "bleu greedily"}


def test_the_loss_is_that_of_every_piece_alike(task):
    """Whatever the batches are in which it is computed; and without smoothing."""
    model = model_of(task, hidden=8)
    encoded = [task.encode(task.source_text(a), b) for a, b in task.watched]
    total = sum(
        task.loss(model, None, *task.arrays([pair]), smoothing=0.0)[0].item() * (len(pair[1]) - 1)
        for pair in encoded
    )
    with nag.no_grad():
        assert task.evaluate(model)["loss"] == pytest.approx(
            total / sum(len(y) - 1 for _, y in encoded), rel=1e-5
        )
        batch = task.arrays(encoded[:4])
        smooth, sharp = (
            task.loss(model, None, *batch, **s)[0].item() for s in ({}, {"smoothing": 0.0})
        )
    assert smooth != sharp


def test_answers_are_in_the_order_of_the_texts(task):
    model = model_of(task, hidden=16)
    for p in model.parameters():
        p.data *= 2.0
    texts = [german for german, _ in task.test]
    for beam in (1, 3):
        together = task.answers(model, texts, beam)
        assert together[::9] == [task.answers(model, [text], beam)[0] for text in texts[::9]]


def test_scores_of_right_and_nearly_right_answers(task):
    right = ["The house is here.", "A book."]
    assert task.score(right, right) == pytest.approx({"bleu": 100, "chrf": 100, "exact": 1})
    scores = task.score(["The house is not here.", "A book."], right)
    assert 20 < scores["bleu"] < 90 and 20 < scores["chrf"] < 95 and scores["exact"] == 0.5


def test_word_translations_are_those_by_hand():
    """One round from even odds: n(the|das) = 1/3 + 1/3, n(house|das) = n(book|das) = 1/3, ..."""
    pairs = [("das Haus", "the house"), ("das Buch", "the book"), ("ein Buch", "a book")]
    best = WordTranslations.of(pairs, rounds=1).best
    assert best["das"] == "the" and best["Buch"] == "book"
    best = WordTranslations.of(pairs, rounds=20).best  # and so the others become clear
    assert best == {"das": "the", "Haus": "house", "Buch": "book", "ein": "a"}
    assert WordTranslations(best)(["das Haus, ein Auto!", ""]) == ["The house, a Auto!", ""]
    assert gloss("ein Buch", WordTranslations(best)) == "ein Buch | A book"


def test_the_nearest_source_gives_its_target():
    nearest = Nearest([("ein Hund bellt", "a dog barks"), ("ein Baum", "a tree"), ("ein", "a")])
    assert nearest(["Hund und Baum, Hund", "Baum", "ein Baum bellt", "Katze"]) == [
        "a dog barks",
        "a tree",
        "a tree",
        "a dog barks",
    ]


def test_words_and_signs_are_told_apart():
    assert words_and_signs("Don't go, U-Bahn (3,5)!") == [
        "Don't",
        "go",
        ",",
        "U-Bahn",
        "(",
        "3",
        ",",
        "5",
        ")",
        "!",
    ]
    assert sentence(["he", "is", ",", "well", "."]) == "He is, well." and sentence([]) == ""


def test_a_gloss_to_train_on_is_counted_in_other_pairs(monkeypatch):
    pairs = [(f"Wort{i} ist da.", f"Word{i} is there.") for i in range(30)]
    monkeypatch.setattr(translation, "read_dictionary", dictionary(pairs))
    task = Translation(OPTIONS)
    for i, text in enumerate(task.training_sources(task.training)):
        german, _, word_by_word = text.partition(" | ")
        assert german == task.training[i][0]
        assert word_by_word.startswith("Wort")  # it stands in that pair alone
    assert task.source_text(task.training[0][0]).partition(" | ")[2].startswith("Word")
    assert PARTS > 1


def test_the_baseline_is_the_best_of_them(task):
    assert len(task.baselines()) == 2 and task.baseline()[1] > 5
    right = dict(task.watched + task.test)
    task.baselines = lambda: {
        "bad": lambda texts: ["x"] * len(texts),
        "good": lambda texts: [right[text] for text in texts],
    }
    assert task.baseline() == ("good; chrf 100, exact 1", pytest.approx(100))


def test_names_are_scored_by_those_that_are_exact(monkeypatch):
    monkeypatch.setattr(translation, "read_names", lambda: (made_up()[0], ""))
    task = Names(options(preset="translation-names"))
    right = dict(task.watched + task.test)
    task.baselines = lambda: {"half": lambda texts: ["x", *map(right.get, texts[1:])]}
    what, score = task.baseline()
    assert score == 1 - 1 / len(task.test) and "bleu" in what and task.metric == "exact"


def test_a_pretrained_model_keeps_its_pieces(task, tmp_path, monkeypatch):
    save_checkpoint(tmp_path, {"a": np.zeros(1)}, {"known": task.known})
    other = [(f"{a} {i}", f"{b} {i}") for i in range(9) for a, b in NOUNS.items()]
    monkeypatch.setattr(translation, "read_dictionary", dictionary(other))
    assert Translation(OPTIONS).pieces.symbols != task.pieces.symbols
    tuned = Translation(options(pretrained=str(tmp_path)))
    assert tuned.pieces.symbols == tuned.known["pieces"] == task.pieces.symbols
    save_checkpoint(tmp_path, {"a": np.zeros(1)}, {"known": "abc"})
    with pytest.raises(DataError, match="knows no pieces of words"):
        Translation(options(pretrained=str(tmp_path)))


@pytest.mark.parametrize("text", ["漢字 🙂 ṩ", "x" * 500, "Ich " * 200, "| |", "\x00"])
def test_odd_texts_get_an_answer(task, text):
    model = model_of(task, hidden=8)
    assert isinstance("".join(task.generate(model, text)), str)
    transformer = model_of(task, "transformer", d_model=8, feed_forward=8, layers=1, longest=64)
    assert isinstance("".join(task.generate(transformer, text)), str)


def test_what_the_user_types_is_answered_or_refused(task):
    model = model_of(task, hidden=8)
    for text in ("", " \n"):
        with pytest.raises(DataError, match="nothing to read.*such as 'Wie hei"):
            list(task.generate(model, text))
    searched = list(task.generate(model, "Ich sehe"))
    task.o = options(temperature=1.0, top_k=1)
    greedy = list(task.generate(model, "Ich sehe"))
    assert greedy == task.answers(model, ["Ich sehe"])
    task.o = options(temperature=5.0)
    assert list(task.generate(model, "Ich sehe")) not in (greedy, searched)


def test_too_few_pairs_and_too_long_ones_are_refused(monkeypatch):
    monkeypatch.setattr(translation, "read_dictionary", dictionary(made_up()[0][:8]))
    with pytest.raises(DataError, match="1 pairs are held out, and the least are 3"):
        Translation(options(validation=0.2))
    monkeypatch.setattr(translation, "read_dictionary", dictionary())
    with pytest.raises(DataError, match="has 40 pieces, and the model would take 39; raise"):
        Translation(options(longest=39))
    assert Translation(options(longest=40)).summary
    task = Translation(options(pairs=60))
    assert len(task.training + task.watched + task.test) == 60


@pytest.mark.parametrize("module, message", [("sacrebleu", "pip install sacrebleu")])
def test_a_package_that_is_missing(task, monkeypatch, module, message):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=message):
        task.score(["a"], ["a"])


def test_what_attention_sees_is_drawn(task, tmp_path, capsys):
    with nag.no_grad():
        (png,) = task.show(model_of(task, hidden=8), tmp_path)
        small = dict(d_model=8, feed_forward=8, layers=1)
        assert task.show(model_of(task, "transformer", **small), tmp_path) == []
    assert png.read_bytes().startswith(b"\x89PNG") and png.stat().st_size > 5000
    assert task.test[0][0] in capsys.readouterr().out
