"""Graphemes to phonemes: how a word is spoken, from how it is spelt; with weights that others
trained.

The plainest model from sequence to sequence, an encoder and a decoder and nothing between them but
one state. It reads the S letters of a word x, the last of them the symbol for the end, and writes
its phonemes y, each from all before it:

    h_i = GRU(E[x_i], h_{i-1})          encoder     E (N, H), h_i (H,), h_{-1} = 0
    s_t = GRU(F[y_t], s_{t-1})          decoder     F (R, H), s_{-1} = h_{S-1}
    p_t = softmax(O s_t + a)            output      O (R, H), a (R,)

y_0 is the symbol for the beginning, and p_t[r] is the probability that y_{t+1} = r.

Sources: K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
machine translation", EMNLP 2014 (the model); K. Park and J. Kim, g2pE, 2019, the package g2p-en
(the weights, of which no code is run, and the symbols). The gradients of the GRU are derived in
nanoautograd/manual/gru.py.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from nanoautograd.backends import to_device
from nanoautograd.interop import fill, load_npz
from nanoautograd.nn import GRU, Dropout, Embedding, Linear, Module

from .data import package_path, pad
from .inference.decoding import greedy

LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
PHONEMES = [
    "<pad>",
    "<unk>",
    "<s>",
    "</s>",
    *(
        "AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH "
        "EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG "
        "OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH"
    ).split(),
]
LETTER = {letter: i for i, letter in enumerate(LETTERS)}
UNKNOWN = LETTER["<unk>"]
BEGIN, END = PHONEMES.index("<s>"), PHONEMES.index("</s>")
LONGEST = 20  # phonemes of a word, as in g2p-en


@dataclass
class Config:
    source: Annotated[int, "symbols of the source, N"]
    target: Annotated[int, "symbols of the target, R"]
    hidden: Annotated[int, "numbers in a state, and in the vector of a symbol, H"] = 256
    # of what the encoder, the decoder and O read
    dropout: Annotated[float, "share of the numbers set to 0 while training"] = 0.0


class G2P(Module):
    """The model above; weights drawn from `rng`, a seed or a numpy Generator."""

    weights = "g2p"  # the name of those that `load_pretrained` finds by itself

    # the names that g2p-en gives to its arrays, and ours
    NAMES = {
        "enc_emb": "source.weight",
        "dec_emb": "target.weight",
        "fc_w": "output.weight",
        "fc_b": "output.bias",
    } | {
        f"{theirs}_{a}_{b}": f"{ours}.{name}_{b}_l0"
        for theirs, ours in (("enc", "encoder"), ("dec", "decoder"))
        for a, name in (("w", "weight"), ("b", "bias"))
        for b in ("ih", "hh")
    }

    def __init__(self, config, rng=None, dtype=np.float32):
        rng, H = np.random.default_rng(rng), config.hidden
        self.config = config
        self.source = Embedding(config.source, H, rng=rng, dtype=dtype)  # E
        self.encoder = GRU(H, H, batch_first=True, rng=rng, dtype=dtype)
        self.target = Embedding(config.target, H, rng=rng, dtype=dtype)  # F
        self.decoder = GRU(H, H, batch_first=True, rng=rng, dtype=dtype)
        self.output = Linear(H, config.target, rng=rng, dtype=dtype)  # O, a
        self.dropout = Dropout(config.dropout, rng=rng)

    @classmethod
    def pretrained(cls, path=None):
        """The model of the package g2p-en, or of a file with arrays like its own; in eval mode.
        Raises as `load_pretrained`."""
        return cls(Config(len(LETTERS), len(PHONEMES))).load_pretrained(path).eval()

    def load_pretrained(self, path=None):
        """Fill in those weights. Returns the model. Raises DataError where the package g2p-en is
        not installed, CheckpointError where the file is damaged, or of a model of other sizes,
        OSError where reading fails."""
        path = path or package_path("g2p-en", "checkpoint20.npz")
        return fill(self, self.NAMES, lambda shapes: load_npz(path, shapes))

    def forward(self, x, x_lengths, y):
        """Letters x (B, S), of which row b has x_lengths[b] and then padding, and phonemes y (B, T)
        from the begin symbol on -> logits (B, T, R), whose softmax is p."""
        s, _ = self.decoder(
            self.dropout(self.target(y)), self.start(x, x_lengths)["s"].swapaxes(0, 1)
        )
        return self.output(self.dropout(s))

    def start(self, x, x_lengths):
        """The state before the first phoneme: {"s": (B, 1, H)}."""
        _, h_end = self.encoder(self.dropout(self.source(x)), lengths=x_lengths)  # (1, B, H)
        return {"s": h_end.swapaxes(0, 1)}

    def next(self, tokens, state):
        """Phonemes (B,) after `state` -> logits of the next ones (B, R), and the state after."""
        s, s_end = self.decoder(self.target(tokens[:, None]), state["s"].swapaxes(0, 1))
        return self.output(s[:, 0]), {"s": s_end.swapaxes(0, 1)}

    def pronounce(self, words):
        """The likeliest phonemes of words, step by step: a list of lists of strings. What is not
        one of the letters a to z is read as unknown."""
        x, lengths = (
            to_device(a, self.output.weight.device) for a in pad([spell(word) for word in words])
        )
        found = greedy(self, x, lengths, BEGIN, END, LONGEST)
        return [[PHONEMES[i] for i in phonemes if i != END] for phonemes in found]


def spell(word):
    """The numbers of the letters of a word, and of the end."""
    return [LETTER.get(letter, UNKNOWN) for letter in word] + [LETTER["</s>"]]
