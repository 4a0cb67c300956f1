"""Sentences of a dictionary file and names from babel: what is a pair, and what is left out."""

import pytest

from models.data import DataError, read_dictionary, read_names
from models.data.translation import DICTIONARY, first_meaning

LINES = """\
# Version :: today
# a comment

Freund {m} | Freunde {pl} | Wo ist (denn) er? :: friend; pal | friends | Where is he?
„Guten Tag!“; „Grüß Gott!“ | Das/Es ist gut. | Ja :: "Good day!"; Hello! | That's good. | Yes
Ach {ugs. {alt}} so …  | Er geht. [Süddt.] :: I see ... | He’s going .
ein Satz ohne Punkt | mit kleinem Anfang. :: A sentence. | with small letters.
Er geht. :: He's going.
Es fehlt etwas. | Hier. :: Something is missing.
Ganz ohne Englisch.
Zwei :: davon. :: Two.
"""


@pytest.fixture
def dictionary(tmp_path):
    path = tmp_path / "de-en"
    path.write_text(LINES, encoding="utf-8")
    return path


def test_sentences_phrases_and_words_are_told_apart(dictionary):
    sentences, phrases, words, left_out = read_dictionary(dictionary)
    assert sentences == [
        ("Wo ist er?", "Where is he?"),
        ('"Guten Tag!"', '"Good day!"'),
        ("Ach so...", "I see..."),
        ("Er geht.", "He's going."),
    ]
    assert phrases == [
        ("ein Satz ohne Punkt", "A sentence."),
        ("mit kleinem Anfang.", "with small letters."),
    ]
    assert words == [("Freund", "friend"), ("Freunde", "friends"), ("Ja", "Yes")]
    assert left_out == "3 malformed lines and 1 pairs with alternatives inside left out"


@pytest.mark.parametrize(
    "part, right",
    [
        (" Wörter {pl}; Worte {pl} ", "Wörter"),
        ("a (b [c (d)] e) f", "a f"),
        ("", ""),
        ("„Ja“ – ‚nein‘ …", "\"Ja\" - 'nein'..."),
        ("So (etwas) , ja !", "So, ja!"),
        ("offen (bis", "offen (bis"),
        ("<nur> {das}", ""),
    ],
)
def test_the_first_meaning_of_an_entry_is_taken(part, right):
    assert first_meaning(part) == right


def test_what_cannot_be_read_is_refused(tmp_path, dictionary):
    with pytest.raises(DataError, match="nothing' of .*not installed: apt-get install trans"):
        read_dictionary(tmp_path / "nothing")
    dictionary.write_bytes(b"Haus {n} :: house\n\xff\xfe\x00 :: \x00\n")
    with pytest.raises(DataError, match="has no sentence in it"):
        read_dictionary(dictionary)
    dictionary.write_bytes(b"\xffJa. :: Yes.\nGut \xff. :: Good.\n" + b"{" * 5000 + b". :: A.\n")
    assert read_dictionary(dictionary)[0] == [("Gut \ufffd.", "Good.")]


@pytest.mark.data
def test_the_dictionary_of_debian():
    if not DICTIONARY.is_file():
        pytest.skip("needs Debian's trans-de-en")
    for pairs, least in zip(read_dictionary(), (15_000, 80_000, 200_000)):
        assert len(pairs) > least and len(set(pairs)) == len(pairs)
        assert all(
            text and text == " ".join(text.split()) and not {*"|;/"} & {*text}
            for pair in pairs
            for text in pair
        )


@pytest.mark.data
def test_each_pair_of_names_is_read_once():
    pytest.importorskip("babel")
    pairs, left_out = read_names()
    assert len(pairs) > 1500 and len(set(pairs)) == len(pairs)
    assert {
        ("Deutschland", "Germany"),
        ("Französisch", "French"),
        ("Kyrillisch", "Cyrillic"),
        ("Euro", "Euro"),
        ("Indische Normalzeit", "India Standard Time"),
    } <= {*pairs}
    assert left_out.endswith(" without an English name left out")


def test_missing_babel_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("models.data.sources.find_spec", lambda name: None)
    with pytest.raises(DataError, match="not installed: pip install --no-deps babel==2.18.0"):
        read_names()
