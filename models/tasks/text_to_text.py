"""What translating and summarising have in common: texts read, and texts written, in pieces."""

import reprlib
from abc import abstractmethod

from nanoautograd import functional as F

from .. import seq2seq, transformer
from ..data import (
    Batches,
    DataError,
    Pieces,
    alike,
    by_length,
    fingerprint,
    generator,
    pad,
    split_families,
)
from ..inference.decoding import beam_search, greedy, sample
from .task import Task, cut_off, note_cut, number, sampling, sampling_options, share_or_fold
from .word_pieces import PIECES


class TextToText(Task):
    """A task of pairs (source, target). One vocabulary of byte pairs, learnt from both sides of the
    training pairs, cuts sources and targets; what stands on both sides has the same number.

    Of the held-out pairs every third is watched during training, with greedy answers; the
    others are tested at the end, with a search of width --beam. The loss that is reported is
    -log p of a piece, in the mean, of the targets as they are; --smoothing is in training alone. A
    subclass says what `read`, `score` and `baselines` are.
    """

    models = {
        "seq2seq": (seq2seq.Config, seq2seq.Seq2Seq),
        "transformer": (transformer.Config, transformer.Transformer),
    }
    larger_is_better = True
    what = "pairs"  # a word for them, in messages

    @staticmethod
    def options(add):
        add(
            "--validation",
            share_or_fold,
            0.1,
            "share of the pairs that is not trained on, or a "
            "fold such as 2/5: a third of it is watched, the rest tested at the end",
        )
        add(
            "--pairs",
            number(int, least=0),
            0,
            "use only so many pairs, from all over the data; 0 for all",
        )
        add(
            "--vocab-size",
            number(int, least=259),
            4000,
            "different pieces of words, the 256 bytes and 3 signs among them, for both sides",
        )
        add(
            "--read",
            number(int, least=1),
            64,
            "pieces of a source that are read; the rest is cut off",
        )
        add(
            "--smoothing",
            number(float, least=0, below=1),
            0.1,
            "share of the probability that "
            "goes to all pieces evenly while training (label smoothing)",
        )

    @staticmethod
    def answer_options(add):
        sampling_options(add, 0.0)
        add("--beam", number(int, least=1), 4, "answers that the search keeps side by side")

    @abstractmethod
    def read(self, o):
        """([(source, target), ...], a few words on what was left out), strings. Raises
        DataError."""

    @abstractmethod
    def score(self, answers, targets):
        """Scores of texts beside what is right, lists of strings: a dict, `metric` in it."""

    @abstractmethod
    def baselines(self):
        """Methods without learning: {what it is: a function from sources to answers, lists}."""

    def more(self, held_out):
        """To train on other pairs too, a subclass adds them to `training`: none with a source or a
        target that is `alike` to one that is held out; held_out has two sets of these."""

    def learn(self, pairs):
        """What is known by counting in the pairs to train on, beside the pieces: a dict that JSON
        can hold."""
        return {}

    def source_text(self, text):
        """What the model reads of a source: a text too."""
        return text

    def training_sources(self, pairs):
        """What the model reads of the pairs to train on: a list of texts."""
        return [self.source_text(text) for text, _ in pairs]

    def examples(self):
        """What an epoch reads: a list of what `encode` gives."""
        sources, targets = self.training_sources(self.training), [y for _, y in self.training]
        return [*map(self.encode, sources, targets)]

    def __init__(self, o, known=None):
        super().__init__(o)
        if known is None:
            pairs, left_out = self.read(o)
            pairs = list(pairs)
            if o.pairs:
                pairs = pairs[:: max(1, len(pairs) // o.pairs)][: o.pairs]
            keys = [[alike(text) for text in side] for side in zip(*pairs)]
            training, held_out = split_families(o.validation, o.seed, *keys)
            if len(held_out) < 3:
                raise DataError(
                    f"{len(held_out)} {self.what} are held out, and the least are 3: "
                    "raise --validation"
                )
            self.training = [pairs[i] for i in training]
            self.watched = [pairs[i] for i in held_out[::3]]
            self.test = [pairs[j] for i, j in enumerate(held_out) if i % 3]
            self.more([{side[i] for i in held_out} for side in keys])
            taken = self.taken_over(*PIECES)
            self.pieces = (
                Pieces.of([text for pair in self.training for text in pair], o.vocab_size)
                if taken is None
                else Pieces(taken)
            )
            self.known = {**self.learn(self.training), "pieces": self.pieces.symbols}
            self.encoded = self.examples()
            self.known["longest"] = max(len(y) for _, y in self.encoded)
            sources = [len(self.pieces_read(source)) for source, _ in pairs]
            longest = max(o.read, max(len(self.encode("", target)[1]) for _, target in pairs))
            if longest > vars(o).get("longest", longest):  # an option of the transformer
                raise DataError(
                    f"the longest text has {longest} pieces, and the model would take "
                    f"{o.longest}; raise --longest"
                )
            self.order = Batches([len(y) for _, y in self.encoded], o.batch, o.seed)
            self.fingerprint = fingerprint("\n".join(map(str, self.training + pairs)))
            self.summary = (
                f"{len(pairs):,} {self.what}: {len(training):,} to train on, "
                f"{len(self.watched):,} to watch and {len(self.test):,} to test; "
                f"{left_out}; {len(self.pieces):,} pieces of words; "
                + cut_off(sources, o.read, "texts")
            )
        else:
            self.known, self.pieces = known, Pieces(known["pieces"])
        self.longest = int(self.known["longest"])
        self.sizes = {"source": len(self.pieces), "target": len(self.pieces)}

    def texts_read(self):
        parts = self.training, self.watched + self.test
        return [[" ".join(pair) for pair in part] for part in parts]

    def numbering(self, known):
        return known["pieces"]

    def pieces_read(self, text):
        """The numbers of what the model reads of a text, where --read does not cut it off."""
        return self.pieces.encode(self.source_text(text))

    def encode(self, source, target=""):
        """The numbers of what the model reads, (S,), and of a target with its ends, (T + 1,)."""
        return self.pieces.encode(source)[: self.o.read], self.pieces.encode(target, ends=True)

    def arrays(self, encoded):
        """x (B, S), x_lengths (B,), y (B, T + 1), filled up."""
        sources, targets = zip(*encoded)
        return *pad(sources), pad(targets)[0]

    def batch(self, step):
        return self.arrays([self.encoded[i] for i in self.order(step)])

    def loss(self, model, state, x, x_lengths, y, smoothing=None):
        logits = model(x, x_lengths, y[:, :-1])  # (B, T, R)
        smoothing = self.o.smoothing if smoothing is None else smoothing
        return F.cross_entropy(
            logits.reshape(-1, logits.shape[-1]),
            y[:, 1:].reshape(-1),
            ignore_index=self.pieces.pad,
            label_smoothing=smoothing,
        ), None

    def count(self, x, x_lengths, y):
        return (y[:, 1:] != self.pieces.pad).sum()

    def evaluate(self, model, final=False):
        pairs = self.test if final else self.watched
        encoded, loss, n = [self.encode(self.source_text(a), b) for a, b in pairs], 0.0, 0
        for i in by_length([len(y) for _, y in encoded], 64):
            batch = self.arrays([encoded[j] for j in i])
            count = sum(len(encoded[j][1]) - 1 for j in i)
            loss += self.loss(model, None, *self.on_device(*batch), smoothing=0.0)[0].item() * count
            n += count
        sources, targets = zip(*pairs)
        scores = {"loss": loss / n}
        if final:
            scores |= self.score(self.answers(model, sources, self.o.beam), targets)
            greedily = self.score(self.answers(model, sources), targets)
            return scores | {f"{self.metric} greedily": greedily[self.metric]}
        return scores | self.score(self.answers(model, sources), targets)

    def answers(self, model, sources, beam=1):
        """The likeliest target of each source, by a search of that width; a list."""
        answers = [None] * len(sources)
        for i in by_length([len(text) for text in sources], 128 // beam + 1):
            args = self.decoding(model, [sources[j] for j in i])
            targets = (
                greedy(*args)
                if beam == 1
                else [best[0][1] for best in beam_search(*args, width=beam, alpha=1.0)]
            )
            for j, target in zip(i, targets):
                answers[j] = self.pieces.decode(target).strip()
        return answers

    def decoding(self, model, sources):
        """The arguments that the functions of decoding.py have in common."""
        x = [self.encode(self.source_text(text))[0] for text in sources]
        x, x_lengths = self.on_device(*pad(x))
        return model, x, x_lengths, self.pieces.begin, self.pieces.end, self.longest

    def baseline(self):
        """The best of the baselines on the pairs that are watched, with its scores on the
        others."""
        (sources, targets), (tested, right) = zip(*self.watched), zip(*self.test)
        what, best = max(
            self.baselines().items(),
            key=lambda item: self.score(item[1](sources), targets)[self.metric],
        )
        scores = self.score(best(tested), right)
        score = scores.pop(self.metric)
        return f"{what}; {', '.join(f'{name} {s:.4g}' for name, s in scores.items())}", score

    def generate(self, model, prompt):
        if not len(self.encode(prompt)[0]):
            raise DataError(
                f"there is nothing to read in {reprlib.repr(prompt)}; type a text such "
                f"as {self.prompt!r}"
            )
        note_cut(len(self.pieces_read(prompt)), self.o.read, "pieces")
        if self.o.temperature == 0:
            yield self.answers(model, [prompt], self.o.beam)[0]
            return
        rng = generator(self.o.seed, "sampling")
        (target,) = sample(*self.decoding(model, [prompt]), rng, **sampling(self.o))
        yield self.pieces.decode(target).strip()
