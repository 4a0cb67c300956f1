"""German to English: "Wie heißt du?" to "What is your name?".

The sentences are those of a dictionary that Debian has a package of, and so are the words and
phrases from which, beside them, the model learns. Where that is not at hand, there are the German
and English names of countries, languages, currencies, ...

Sources: P. Brown et al., "The mathematics of statistical machine translation", Computational
Linguistics 1993 (the baseline, their model 1); K. Papineni et al., "BLEU", ACL 2002, and M.
Popović, "chrF", WMT 2015 (the scores, as the package sacrebleu gives them); R. Sennrich & B. Zhang,
"Revisiting low-resource neural machine translation", ACL 2019 (what helps where sentences are few:
small vocabularies, much dropout, smoothing). That the model reads a translation word by word beside
the text, and may copy from it, brings in what counting knows, as do the lexicons of P. Arthur et
al., "Incorporating discrete translation lexicons into neural machine translation", EMNLP 2016.
"""

import re
import reprlib

import numpy as np

from .. import seq2seq
from ..data import DataError, alike, read_dictionary, read_names
from ..training.metrics import save_figure
from ..training.pictures import draw_attention
from ..training.scores import bleu_and_chrf
from .task import number
from .text_to_text import TextToText

PARTS = 5  # of the pairs to train on, each glossed by the others


class Translation(TextToText):
    about = "German to English"
    needs = dict.fromkeys(["translation", "translation-transformer"], ("trans-de-en",))
    prompt = "Wie heißt du?"
    metric = "bleu"
    presets = {
        "translation": dict(
            model="seq2seq",
            vocab_size=3000,
            embedding=128,
            hidden=256,
            copy=True,
            scaled=True,
            dropout=0.2,
            steps=6000,
            batch=64,
            lr=3e-3,
            warmup=200,
            lr_floor=1e-5,
            average=0.99,
            evaluate_every=1000,
        ),
        "translation-transformer": dict(
            model="transformer",
            vocab_size=3000,
            d_model=128,
            feed_forward=512,
            layers=2,
            copy=True,
            dropout=0.1,
            longest=128,
            steps=3000,
            batch=64,
            lr=2e-3,
            warmup=300,
            lr_floor=1e-5,
            average=0.99,
            evaluate_every=500,
        ),
    }

    @staticmethod
    def options(add):
        TextToText.options(add)
        add(
            "--gloss",
            bool,
            True,
            "read the German, and after it what its words stand for one by one",
        )
        add(
            "--words",
            number(int, least=1),
            10,
            "the most words that a sentence, phrase or name may have, on either side",
        )
        add(
            "--times",
            number(int, least=1),
            3,
            "how often a sentence is read for each time that a phrase is",
        )

    def read(self, o):
        sentences, self.phrases, self.dictionary, left_out = read_dictionary()
        return self.short(sentences, left_out)

    def short(self, pairs, left_out):
        """The pairs of at most --words words on either side, and what now was left out."""
        most = self.o.words
        short = [pair for pair in pairs if max(len(text.split()) for text in pair) <= most]
        return short, f"{left_out}, and {len(pairs) - len(short):,} of more than {most} words"

    def more(self, held_out):
        """Phrases to train on, and single words, which are only counted."""

        def new(pairs):
            return [
                pair
                for pair in pairs
                if not any(alike(text) in side for text, side in zip(pair, held_out))
            ]

        self.sentences = len(self.training)
        self.training += new(self.short(self.phrases, "")[0])
        self.dictionary = new(self.dictionary)

    def __init__(self, o, known=None):
        if known is not None and o.gloss:
            self.words = WordTranslations(known["words"])
        super().__init__(o, known)
        if known is None and self.phrases:
            self.summary += (
                f"; {len(self.training) - self.sentences:,} phrases to train on, and "
                f"{len(self.dictionary):,} words to count"
            )

    def learn(self, pairs):
        if not self.o.gloss:
            return {}
        self.words = self.counted(pairs)
        return {"words": self.words.best}

    def source_text(self, text):
        return gloss(text, self.words) if self.o.gloss else text

    def training_sources(self, pairs):
        """A text to train on has a gloss that was counted in others, as it will be in use."""
        if not self.o.gloss:
            return super().training_sources(pairs)
        parts = [
            self.counted([pair for i, pair in enumerate(pairs) if i % PARTS != k])
            for k in range(PARTS)
        ]
        return [gloss(text, parts[i % PARTS]) for i, (text, _) in enumerate(pairs)]

    def counted(self, pairs):
        return WordTranslations.of(pairs + self.dictionary)

    def examples(self):
        examples, n = super().examples(), self.sentences
        return examples[:n] * self.o.times + examples[n:]

    def score(self, answers, targets):
        """BLEU and chrF, from 0 to 100, and the share of the answers that are right to the
        letter."""
        bleu, chrf = bleu_and_chrf(answers, targets)
        right = sum(map(str.__eq__, answers, targets))
        return {"bleu": bleu, "chrf": chrf, "exact": right / len(targets)}

    def baselines(self):
        words = self.words if self.o.gloss else self.counted(self.training)
        return {
            "word by word, the likeliest of IBM's model 1": words,
            "the text to train on whose words are most alike": Nearest(self.training),
        }

    def show(self, model, out):
        pairs = self.test[:400]
        answers = self.answers(model, [german for german, _ in pairs], self.o.beam)
        print("\nGerman that was not trained on, the English beside it, and the model's")
        for (german, english), answer in [*zip(pairs, answers)][:14]:
            print(f"  {german}\n      {english}\n      {answer}")
        shown = [
            (german, answer)
            for (german, _), answer in zip(pairs, answers)
            if 4 <= len(german.split()) <= 6
        ][:3]
        if not shown or not isinstance(model, seq2seq.Seq2Seq):
            return []
        panels = []
        for german, answer in shown:
            x, y = self.encode(self.source_text(german), answer)
            _, alpha, beta = model.run(*self.on_device(*self.arrays([(x, y[:-1])])))
            panels.append(
                (
                    answer,
                    self.pieces.show(x),
                    self.pieces.show(y[1:]),
                    alpha.numpy()[0],
                    beta.numpy()[0],
                )
            )
        figure = draw_attention(panels, "piece", "the translation")
        save_figure(figure, out / "attention.png")
        return [out / "attention.png"]


class Names(Translation):
    about = "German names of countries, languages, ... to English"
    needs = {"translation-names": ("babel",)}
    prompt = "Republik Moldau"
    metric = "exact"
    presets = {
        "translation-names": {
            **Translation.presets["translation"],
            "vocab_size": 1000,
            "hidden": 192,
            "steps": 800,
            "warmup": 100,
            "evaluate_every": 200,
        }
    }

    def read(self, o):
        self.phrases = self.dictionary = []
        return self.short(*read_names())


# ---------------------------------------------------------------------------------------- baselines


def words_and_signs(text):
    """The words and signs of a text, a list."""
    return re.findall(r"\w+(?:['-]\w+)*|[^\w\s]", text)


def sentence(words):
    """A list of words and signs as a text."""
    text = re.sub(r" (?=[.,:;!?])", "", " ".join(words))
    return text[:1].upper() + text[1:]


class WordTranslations:
    """Each word by the one it most often stands for, t(e | f), in the order of the source: IBM's
    model 1, fitted by EM. With f_0 for no word, the model is

        P(e_1 ... e_m | f_1 ... f_l) ∝ Π_j Σ_i t(e_j | f_i)         i = 0 ... l

    and two steps alternate, from even t on: n(e|f), the expected times that f stands for e, and t
    from these counts.

        n(e|f) = Σ over the pairs  Σ_ij [e_j = e, f_i = f] t(e|f) / Σ_k t(e|f_k)
        t(e|f) = n(e|f) / Σ_e' n(e'|f)

    A word that is not in the pairs stays what it is. best: {word: the other}; raises DataError
    where it is not of strings.
    """

    def __init__(self, best):
        if not (isinstance(best, dict) and all(isinstance(w, str) for w in best.values())):
            raise DataError(
                "a table of words and what they stand for must be a dictionary of "
                f"strings; got {reprlib.repr(best)}"
            )
        self.best = best

    @classmethod
    def of(cls, pairs, rounds=5):
        """Count them in pairs of texts."""
        german, english = {"": 0}, {}
        for source, target in pairs:
            for text, index in ((source, german), (target, english)):
                for w in words_and_signs(text):
                    index.setdefault(w, len(index))
        cells, slots, n = [], [], 0  # (f, e) of each i, j; which e_j it is of
        for source, target in pairs:
            f = np.array([0] + [german[w] for w in words_and_signs(source)])
            e = np.array([english[w] for w in words_and_signs(target)])
            cells.append((e[:, None] + len(english) * f).ravel())
            slots.append(np.repeat(np.arange(n, n + len(e)), len(f)))
            n += len(e)
        cells, which = np.unique(np.concatenate(cells), return_inverse=True)
        f, e = np.divmod(cells, len(english))
        slots, t = np.concatenate(slots), np.ones(len(cells))
        for _ in range(rounds):
            share = t[which] / np.bincount(slots, t[which])[slots]
            counts = np.bincount(which, share)  # n(e|f)
            t = counts / np.bincount(f, counts)[f]
        names, best = list(english), {}
        for i in np.lexsort((e, t)):  # the last of a word is its likeliest
            best[f[i]] = names[e[i]]
        return cls({w: best[i] for w, i in german.items() if i})

    def __call__(self, texts):
        return [sentence([self.best.get(w, w) for w in words_and_signs(text)]) for text in texts]


def gloss(text, words):
    """The text, and behind it the same word by word."""
    return f"{text} | {words([text])[0]}"


class Nearest:
    """The target of the pair whose source has the words most like those of the text: the cosine of
    counts weighted by log(n / how many sources have the word), tf-idf."""

    def __init__(self, pairs):
        self.targets = [target for _, target in pairs]
        self.rows = {}  # word: {pair: count}
        for i, (source, _) in enumerate(pairs):
            for w in words_and_signs(source):
                row = self.rows.setdefault(w, {})
                row[i] = row.get(i, 0) + 1
        self.weight = {w: np.log(len(pairs) / len(row)) for w, row in self.rows.items()}
        self.norm = np.full(len(pairs), 1e-9)
        for w, row in self.rows.items():
            self.norm[list(row)] += (self.weight[w] * np.array(list(row.values()))) ** 2
        self.norm = np.sqrt(self.norm)

    def __call__(self, sources):
        answers = []
        for text in sources:
            dot = np.zeros(len(self.targets))
            for w in words_and_signs(text):
                if w in self.rows:
                    row = self.rows[w]
                    dot[list(row)] += self.weight[w] ** 2 * np.array(list(row.values()))
            answers.append(self.targets[int((dot / self.norm).argmax())])
        return answers
