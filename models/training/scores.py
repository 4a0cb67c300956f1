"""Scores that several tasks share: of what is predicted here, of texts and tags by packages."""

import math
from importlib import import_module
from types import SimpleNamespace

import numpy as np

PACKAGES = {  # module: its package, and what it scores
    "rouge_score.rouge_scorer": ("rouge-score", "summaries and answers"),
    "sacrebleu": ("sacrebleu", "translations"),
    "seqeval.metrics": ("seqeval", "entities"),
}


def library(module):
    """A module of PACKAGES. Raises ImportError with the command that installs it."""
    try:
        return import_module(module)
    except ImportError:
        package, what = PACKAGES[module]
        raise ImportError(
            f"{what} are scored by the package {package}: pip install {package}"
        ) from None


def perplexity(loss):
    """e to a loss in nats; of more than 700 that of 700, near which the range of floats ends."""
    return math.exp(min(loss, 700.0))


def bits(loss):
    """A loss in nats, in bits."""
    return float(loss) / math.log(2)


def rouge(answers, targets, kinds=("rouge1", "rouge2", "rougeL"), words=None):
    """{kind: the mean F of the answers beside what is right}, from 0 to 1 (C.-Y. Lin, "ROUGE: a
    package for automatic evaluation of summaries", 2004). answers, targets: lists of n strings.
    words: a function from a text to its words, where they are not of a to z and digits alone."""
    scorer = library("rouge_score.rouge_scorer").RougeScorer(
        list(kinds), tokenizer=words and SimpleNamespace(tokenize=words)
    )
    rows = [scorer.score(target, answer) for target, answer in zip(targets, answers, strict=True)]
    return {kind: sum(row[kind].fmeasure for row in rows) / len(rows) for kind in kinds}


def bleu_and_chrf(answers, targets):
    """BLEU (K. Papineni et al., ACL 2002) and chrF (M. Popović, WMT 2015) of n translations beside
    the right ones, lists of strings, all together: two numbers from 0 to 100."""
    sacrebleu = library("sacrebleu")
    return (
        sacrebleu.corpus_bleu(answers, [targets], force=True).score,
        sacrebleu.corpus_chrf(answers, [targets]).score,
    )


def class_scores(names, truth, predicted):
    """{name: {"precision", "recall", "f1", "count"}} of C classes, of n examples together:

        precision   of those that were taken for the class, the share that is of it
        recall      of those of the class, the share that was found, of `count` in all
        F1          the harmonic mean of both

    A ratio of nothing is 0. names: of the classes. truth, predicted: integers (n,), from 0 to
    C - 1. Raises ValueError for others."""
    truth, predicted = (np.asarray(list(y)) for y in (truth, predicted))
    for y in truth, predicted:
        if (
            y.shape != (len(truth),)
            or y.size
            and (y.dtype.kind not in "iu" or not 0 <= y.min() <= y.max() < len(names))
        ):
            raise ValueError(
                f"class_scores: truth and predicted are integers (n,), from 0 to {len(names) - 1}, "
                f"as many in both; got {truth.tolist()!r:.100} and {predicted.tolist()!r:.100}"
            )
    truth, predicted = truth.astype(np.int64), predicted.astype(np.int64)
    taken, there, right = (
        np.bincount(i, minlength=len(names)) for i in (predicted, truth, truth[truth == predicted])
    )
    return {
        name: {
            "precision": float(r / max(1, t)),
            "recall": float(r / max(1, n)),
            "f1": float(2 * r / max(1, t + n)),
            "count": int(n),
        }
        for name, t, n, r in zip(names, taken, there, right)
    }


def macro_f1(scores):
    """The mean F1 of the classes that there is an example of: each counts alike, however rare."""
    found = [s["f1"] for s in scores.values() if s["count"]]
    return sum(found) / max(1, len(found))


def class_table(scores):
    """What `class_scores` gives as text, a class a line."""
    width = max(map(len, scores))
    head = f"{'':{width}}  precision  recall     F1   count"
    return "\n".join(
        [head]
        + [
            f"{name:{width}}  {s['precision']:9.3f}  {s['recall']:6.3f}  {s['f1']:5.3f}  "
            f"{s['count']:6,}"
            for name, s in scores.items()
        ]
    )


def entity_scores(truth, predicted):
    """(precision, recall, F1) of the entities in all sentences together (micro average). truth,
    predicted: lists of lists of BIO tags. A ratio of nothing is 0."""
    seqeval = library("seqeval.metrics")
    return tuple(
        float(score(truth, predicted, zero_division=0))
        for score in (seqeval.precision_score, seqeval.recall_score, seqeval.f1_score)
    )
