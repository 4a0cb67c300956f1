"""Dates as people write them in 62 locales, to ISO 8601: "jeudi 5 mars 1987" to "1987-03-05".

The model reads and writes characters. Days are drawn at random from 1900 to 2099, each in one
language and length; no day that is tested was trained on. What counts is how many of those are
right in all ten characters ("exact").
"""

import re
import reprlib

import numpy as np

from nanoautograd import functional as F

from .. import seq2seq, transformer
from ..data import (
    Batches,
    DataError,
    Vocabulary,
    by_length,
    clean,
    fingerprint,
    generator,
    pad,
    read_dates,
    split,
)
from ..inference.decoding import beam_search, greedy, sample
from ..training.metrics import save_figure
from ..training.pictures import draw_attention
from .task import Task, number, sampling, sampling_options, share_or_fold

WATCHED = 1000  # held-out dates that are watched during training
# Locales in pictures, whose letters the default font of matplotlib has.
SHOWN = {
    "en": "English",
    "el": "Greek",
    "ru": "Russian",
    "hy": "Armenian",
    "ka": "Georgian",
    "ar": "Arabic",
}


class Dates(Task):
    about = "localized dates to ISO dates"
    needs = {"dates": ("babel",), "dates-transformer": ("babel",)}
    models = {
        "seq2seq": (seq2seq.Config, seq2seq.Seq2Seq),
        "transformer": (transformer.Config, transformer.Transformer),
    }
    prompt = "5 March 1987"
    metric = "exact"
    larger_is_better = True
    presets = {
        "dates": dict(
            model="seq2seq",
            steps=3000,
            batch=64,
            lr=3e-3,
            warmup=100,
            lr_floor=1e-5,
            evaluate_every=200,
        ),
        "dates-transformer": dict(
            model="transformer",
            d_model=64,
            feed_forward=256,
            layers=2,
            dropout=0.0,
            steps=3000,
            batch=64,
            lr=3e-3,
            warmup=300,
            lr_floor=1e-5,
            evaluate_every=200,
        ),
    }

    @staticmethod
    def options(add):
        add(
            "--validation",
            share_or_fold,
            0.1,
            "share of the dates that is not trained on, "
            f"or a fold such as 2/5: the first {WATCHED} are watched, the others tested at the "
            "end",
        )

    @staticmethod
    def answer_options(add):
        sampling_options(add, 0.0)
        add(
            "--beam",
            number(int, least=1),
            1,
            "answers that a search keeps side by side, shown with their probabilities",
        )

    def __init__(self, o, known=None):
        super().__init__(o)
        if known is None:
            pairs, malformed = read_dates(o.seed)
            self.training, held_out = split(pairs, o.validation, WATCHED + 1, "dates")
            self.watched, self.test = held_out[:WATCHED], held_out[WATCHED:]
            longest = max(len(text) for text, _, _ in pairs)
            if longest > vars(o).get("longest", longest):  # an option of the transformer
                raise DataError(
                    f"the longest date has {longest} characters, and the model would "
                    f"take {o.longest}; raise --longest"
                )
            texts, isos, locales = zip(*self.training)
            self.order = Batches([len(text) for text in texts], o.batch, o.seed)
            taken = [self.taken_over(side, "characters of dates") for side in ("source", "target")]
            known = {
                "source": taken[0] or Vocabulary.of(texts).symbols,
                "target": taken[1] or Vocabulary.of(isos, ends=True).symbols,
                "longest": [max(map(len, texts)), max(map(len, isos)) + 1],
            }
            self.fingerprint = fingerprint("\n".join(map(str, pairs)))
            self.summary = (
                f"{len(pairs):,} dates in {len(set(locales))} locales: "
                f"{len(self.training):,} to train on, {WATCHED:,} to validate and "
                f"{len(self.test):,} to test, {malformed} left out as ambiguous or "
                f"malformed; {len(known['source']) - 2} different characters"
            )
        self.known = known
        self.source, self.target = Vocabulary(known["source"]), Vocabulary(known["target"])
        self.longest_source, self.longest_target = map(int, known["longest"])
        self.sizes = {"source": len(self.source), "target": len(self.target)}

    def texts_read(self):
        parts = self.training, self.watched + self.test
        return [[f"{text} {iso}" for text, iso, _ in part] for part in parts]

    def numbering(self, known):
        return known["source"], known["target"]

    def arrays(self, pairs):
        """x (B, S), x_lengths (B,), y (B, T + 1): the texts, and the ISO dates with their ends."""
        x, x_lengths = pad([self.source.encode(text) for text, _, _ in pairs])
        return x, x_lengths, pad([self.target.encode(iso, ends=True) for _, iso, _ in pairs])[0]

    def batch(self, step):
        return self.arrays([self.training[i] for i in self.order(step)])

    def loss(self, model, state, x, x_lengths, y):
        logits = model(x, x_lengths, y[:, :-1])  # (B, T, R)
        return F.cross_entropy(
            logits.transpose(0, 2, 1), y[:, 1:], ignore_index=self.target.pad
        ), None

    def count(self, x, x_lengths, y):
        return (y[:, 1:] != self.target.pad).sum()

    def evaluate(self, model, final=False):
        pairs, loss = self.test if final else self.watched, 0.0
        for i in by_length([len(text) for text, _, _ in pairs], 250):
            batch = self.arrays([pairs[j] for j in i])
            # A mean over characters; dates can weigh it, for in ISO 8601 all have as many.
            loss += self.loss(model, None, *self.on_device(*batch))[0].item() * len(i)
        scores = {"loss": loss / len(pairs), "exact": self.exact(model, pairs)}
        if final:
            scores["beam"] = self.exact(model, pairs, beam=max(4, self.o.beam))
        return scores

    def exact(self, model, pairs, beam=1):
        """The share of the pairs that the model gets right in all characters."""
        answers = self.answers(model, [text for text, _, _ in pairs], beam)
        return sum(a == iso for a, (_, iso, _) in zip(answers, pairs)) / len(pairs)

    def answers(self, model, texts, beam=1):
        """The likeliest ISO date of each text, by a search of that width; a list."""
        answers = [None] * len(texts)
        for i in by_length([len(text) for text in texts], 250 // beam + 1):
            args = self.decoding(model, [texts[j] for j in i])
            targets = (
                greedy(*args)
                if beam == 1
                else [best[0][1] for best in beam_search(*args, width=beam)]
            )
            for j, target in zip(i, targets):
                answers[j] = "".join(self.target.decode(target))
        return answers

    def decoding(self, model, texts):
        """The arguments that the functions of decoding.py have in common."""
        x, x_lengths = self.on_device(*pad([self.source.encode(text) for text in texts]))
        return model, x, x_lengths, self.target.begin, self.target.end, self.longest_target

    def baseline(self):
        rules = Rules(self.training)
        right = sum(rules(text) == iso for text, iso, _ in self.test)
        return (
            "rules for the numbers, and the month that each word most often stood for",
            right / len(self.test),
        )

    def generate(self, model, prompt):
        text = clean(prompt)
        if not 0 < len(text) <= self.longest_source:
            raise DataError(
                f"a date has from 1 to {self.longest_source} characters, the longest "
                f"that was trained on; {reprlib.repr(text)} has {len(text)}"
            )
        args = self.decoding(model, [text])
        if self.o.beam > 1:
            for log_p, target in beam_search(*args, width=self.o.beam)[0]:
                yield f"{''.join(self.target.decode(target))}   {np.exp(log_p):.4f}\n"
            return
        rng = generator(self.o.seed, "sampling")
        (target,) = sample(*args, rng, **sampling(self.o))
        yield "".join(self.target.decode(target))

    def show(self, model, out):
        pairs = [
            p
            for locale in SHOWN
            for p in [p for p in self.test if p[2] == locale and 14 <= len(p[0]) <= 20][:1]
        ]
        others = [p for p in self.test[:2000] if p not in pairs]
        answers = self.answers(model, [text for text, _, _ in pairs + others])
        examples = [*zip(pairs + others, answers)]
        shown = len(pairs) + 8
        wrong = [e for e in examples[shown:] if e[1] != e[0][1]]
        print("\ndates that were not trained on")
        for (text, iso, locale), answer in examples[:shown] + wrong[:6]:
            print(f"  {locale:6} {text:36} {answer:10}" + (answer != iso) * f"   wrong: {iso}")
        if not pairs or not isinstance(model, seq2seq.Seq2Seq):
            return []
        panels = []
        for (text, _, locale), answer in zip(pairs, answers):
            x, x_lengths, y = self.on_device(*self.arrays([(text, answer, locale)]))
            _, alpha, beta = model.run(x, x_lengths, y[:, :-1])
            panels.append(
                (
                    f"{SHOWN[locale]}, {answer}",
                    text,
                    answer,
                    alpha.numpy()[0],
                    beta.numpy()[0, : len(answer)],
                )
            )
        figure = draw_attention(panels, "character", "the ISO date")
        save_figure(figure, out / "attention.png")
        return [out / "attention.png"]


class Rules:
    """What can be known without learning, and by counting: the number of four digits is the year;
    of two others the one beside it is the month; of one other it is the day, and the month is the
    one that the words stood for most often in the pairs (naive Bayes)."""

    def __init__(self, pairs):
        self.counts = {}  # word: (12,)
        for text, iso, _ in pairs:
            for word in re.findall(r"[^\W\d]+", text):
                self.counts.setdefault(word, np.ones(12))[int(iso[5:7]) - 1] += 1

    def __call__(self, text):
        before, year, after = re.fullmatch(r"(.*?)([0-9]{4})(.*)", text).groups()
        before, after = ([int(n) for n in re.findall("[0-9]+", part)] for part in (before, after))
        if len(before) == 2:
            day, month = before
        elif len(after) == 2:
            month, day = after
        else:
            (day,) = before + after
            counts = [
                self.counts[word] for word in re.findall(r"[^\W\d]+", text) if word in self.counts
            ]
            log_p = sum((np.log(n / n.sum()) for n in counts), np.zeros(12))
            month = int(log_p.argmax()) + 1
        return f"{year}-{month:02}-{day:02}"
