"""Descriptions of articles, and first lines of docstrings."""

import sysconfig
from pathlib import Path

from models.data import read_descriptions, read_docstrings, summaries

MODULE = '''"""One line.

What follows
 it.
"""
import this_is_never_imported
raise SystemExit("nor run")

class A:
    """Two lines
    that are not one.

    More."""

    async def f(self):
        """No more than this."""

    def g(self):
        """One line.

        What follows it.
        """

def h():
    "A line.\\n\\n   \\n"
    def i():
        """Inside.

        Deeper."""
'''


def test_docstrings_are_read_of_whole_modules_alone(tmp_path):
    (tmp_path / "a.py").write_text(MODULE)
    (tmp_path / "b.py").write_text("def broken(:")
    (tmp_path / "c.py").write_bytes(b"x = 1\0")
    (tmp_path / "d.py").write_bytes(b"# -*- coding: nothing -*-\n\xff")
    (tmp_path / "notes.txt").write_text(MODULE)
    for folder in ("test", "site-packages"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "e.py").write_text('"""Elsewhere.\n\nMore."""')
    pairs, left_out = read_docstrings(tmp_path)
    assert pairs == (("What follows it.", "One line."), ("Deeper.", "Inside."))
    assert left_out == (
        "1 that come again, 0 that are no Unicode and 3 files that are not Python left out"
    )
    (tmp_path / "f.py").write_text('"""Half \\ud800.\n\nOf a character."""')
    read_docstrings.cache_clear()
    again, left_out = read_docstrings(tmp_path)
    assert again == pairs and "1 that are no Unicode" in left_out


def test_descriptions_are_cleaned_and_come_once(monkeypatch):
    articles = [
        {"extract": extract, "description": description}
        for extract, description in [
            ("A hat is\n worn.", " Head  covering"),
            ("A hat is worn.", "Head covering"),
            ("", "Nothing"),
            ("Something", " "),
            ("A cat is an animal.", "Animal"),
        ]
    ]
    monkeypatch.setattr(summaries, "read_articles", lambda language: (articles, 7))
    assert read_descriptions() == (
        [("A hat is worn.", "Head covering"), ("A cat is an animal.", "Animal")],
        "7 malformed, 1 that come again and 2 without a text or description left out",
    )


def test_a_part_of_the_standard_library():
    pairs, _ = read_docstrings(Path(sysconfig.get_paths()["stdlib"], "email"))
    assert len(pairs) > 50 and all("\n" not in text for pair in pairs for text in pair)
