"""A text in another encoding than UTF-8 is refused, with the encoding where it can be known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data import BytePairs, DataError, Pieces, WordPieces, read_text
from models.data.text import wide_encoding

WIDE = {
    name: [name, f"{name}-le", f"{name}-be"] for name in ("utf-16", "utf-32")
}  # with a mark at the beginning, and without


@given(
    text=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=4),
    name=st.sampled_from(sorted(WIDE)),
    i=st.integers(0, 2),
)
def test_latin_letters_are_known_in_two_and_four_bytes(text, name, i, tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "text.txt"
    path.write_bytes(text.encode(WIDE[name][i]))
    with pytest.raises(DataError) as e:
        read_text(path)
    assert f"is not UTF-8 but {name.upper()}" in str(e.value)
    given_name = str(e.value).partition("iconv -f ")[2].split()[0]
    # What the message says to do gives the text.
    path.write_text(path.read_bytes().decode(given_name), encoding="utf-8", newline="")
    if text.strip():
        assert read_text(path) == text


@pytest.mark.parametrize("name", ["utf-16", "utf-32"])
@pytest.mark.parametrize("text", ["漢字かな" * 9, "Привет, мир\n" * 5, "🙂" * 9])
def test_a_mark_tells_it_of_any_letters(tmp_path, name, text):
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode(name))
    with pytest.raises(DataError, match=f"but {name.upper()}.*iconv -f {name.upper()} -t UTF-8"):
        read_text(path)


TEXTS = {  # of alphabets with small numbers, whose bytes are UTF-8 too, and of others
    "Arabic": "السماء زرقاء والأرض خضراء",
    "Chinese": "我们一起在北京吃饭，天气很好。今天是一个好日子。",
    "Devanagari": "आकाश नीला है और धरती हरी है",
    "French": "Les élèves sont déjà là, à côté de l'hôtel",
    "Georgian": "ცა ლურჯია და მიწა მწვანე",
    "Greek": "Ο ουρανός είναι γαλάζιος",
    "Hebrew": "השמים כחולים והארץ ירוקה",
    "Japanese": "空は青く、大地は緑です。カタカナも一つ。",
    "Korean": "하늘은 파랗고 땅은 푸르다",
    "Russian": "Небо синее, а земля зелёная",
    "Thai": "ท้องฟ้าสีฟ้า และแผ่นดินสีเขียว",
    "Vietnamese": "Bầu trời xanh và mặt đất xanh",
    "of several": "hello 世界, привет 🙂 мир",
}


@pytest.mark.parametrize("letters", TEXTS)
@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_without_a_mark_it_is_known_of_any_letters(tmp_path, letters, name):
    """Russian was read as control characters, Chinese told to be perhaps LATIN1."""
    path, text = tmp_path / "text.txt", f"{TEXTS[letters]}\n" * 4
    path.write_bytes(text.encode(name))
    known = name.upper().replace("-L", "L").replace("-B", "B")
    with pytest.raises(DataError, match=f"is not UTF-8 but {known}, .*iconv -f {known} -t UTF-8"):
        read_text(path)
    path.write_bytes(text.encode())
    assert read_text(path) == text


def test_zeros_alone_make_no_other_encoding(tmp_path):
    """Between fields and behind lines, in a text of UTF-8."""
    path = tmp_path / "text.txt"
    for text in "one\0two\0three\n" * 9, "abc\0" * 9, "Käse\0né\n" * 9, "a" * 99 + "\0":
        path.write_bytes(text.encode())
        assert read_text(path) == text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=60))
def test_utf_8_is_taken_for_no_other(text):
    assert wide_encoding(text.encode()) is None
    assert wide_encoding(("\ufeff" + text).encode()) is None


@pytest.mark.parametrize("name", ["latin1", "cp1252", "gb18030", "big5", "shift_jis", "koi8-r"])
def test_what_cannot_be_known_is_asked_for(tmp_path, name):
    letters = {"gb18030": "漢字", "big5": "漢字", "shift_jis": "漢字", "koi8-r": "Привет"}
    path = tmp_path / "text.txt"
    path.write_bytes((letters.get(name, "Käse, né") * 9).encode(name))
    with pytest.raises(
        DataError, match="is not UTF-8: byte.*iconv -f ENCODING -t UTF-8, where"
    ) as e:
        read_text(path)
    assert "LATIN1" not in str(e.value)  # in which every byte is a letter: a mistake would not show


@pytest.mark.parametrize(
    "read",
    [
        lambda text: BytePairs.of(text, 300),
        lambda text: Pieces.of([text], 300),
        lambda text: WordPieces.of(["a", text], 300, 1),
        lambda text: BytePairs.of("a", 256).encode(text),
        lambda text: Pieces.of(["a"], 300).encode(text),
        lambda text: WordPieces.of(["a"], 300, 1).encode(text),
        lambda text: WordPieces.of(["a"], 300, 1).encode(["b", text]),
    ],
)
def test_half_a_character_is_no_text(read):
    """As bytes that are no UTF-8 come from a terminal, in Python's strings."""
    pytest.importorskip("tokenizers")
    read("a 🙂 b")
    for text in "a \ud800 b", "\udfff", b"caf\xe9".decode(errors="surrogateescape"):
        with pytest.raises(DataError, match="not Unicode that UTF-8 can hold"):
            read(text)
