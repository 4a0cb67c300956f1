"""`takes` of a launcher passes over no option: what it takes is computed as in manual/.

(Over the calls of the table of operations: tests/manual/test_forms.py.)
"""

import inspect
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pytest
from cases import Case, normal
from comparing import compare

from nanoautograd.custom_vjp import CustomVJP
from nanoautograd.kernels.cuda import emulator, operations

OPERATIONS = {
    operation.cuda.name: operation
    for operation in vars(operations).values()
    if isinstance(operation, CustomVJP)
}
LAUNCHERS = [
    Case(name, None, None, (), host=f"{folder}/{name}")
    for folder in ("launchers", "naive")
    for name in OPERATIONS
    if (Path(operations.__file__).parent / folder / f"{name}.py").exists()
]
EACH = pytest.mark.parametrize("launcher", LAUNCHERS, ids=lambda launcher: launcher.host)


@EACH
def test_takes_is_told_all_that_forward_is(launcher):
    """By name: what is gathered as **others is forgotten."""
    told, derived = (
        [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
        for f in (launcher.kernel.takes, launcher.reference.forward)
    )
    assert told == derived


# ---- calls with one or two choices that are not the usual ones

RNG = np.random.default_rng(0)


def attention(*, e=8, mask=None, **options):
    q, k, v = (normal(RNG, "float64", 2, n, d) for n, d in ((5, 8), (4, 8), (4, e)))
    return (q, k, v, mask), options


def recurrent(states, gates):
    def make(*, layers=1, start=True, bidirectional=False, bias=True, masks=None, **options):
        T, B, inputs, H, D = 3, 2, 2, 4, 2 if bidirectional else 1
        weights = []
        for i in range(layers * D):
            shapes = (gates * H, inputs if i < D else D * H), (gates * H, H), *[(gates * H,)] * 2
            weights += [normal(RNG, "float64", *s) for s in shapes[: 4 if bias else 2]]
        steps_first = (B, T) if options.get("batch_first") else (T, B)
        starts = [normal(RNG, "float64", layers * D, B, H) if start else None] * states
        if masks:
            masks = RNG.random((layers - 1, *steps_first, D * H)) < 0.7
        options |= {"bidirectional": bidirectional, "bias": bias, "masks": masks}
        return (normal(RNG, "float64", *steps_first, inputs), *starts, *weights), options

    choices = {"layers": 2, "start": False, "bidirectional": True, "bias": False, "masks": True}
    return make, choices | {"lengths": [3, 1], "batch_first": True, "dropout": 0.3}


def cross_entropy(*, ignored=False, weight=None, **options):
    """ignored: whether the first row is, also if no class has the number ignore_index."""
    y = np.array([options.get("ignore_index", -100) if ignored else 0, 2, 1, 1])
    return (normal(RNG, "float64", 4, 3), y, weight), options


def linear_cross_entropy(*, bias=None, class_weight=None, **options):
    (_, y, _), options = cross_entropy(**options)
    h, W = normal(RNG, "float64", 4, 5), normal(RNG, "float64", 3, 5)
    return (h, W, y, bias, class_weight), options


def layer_norm(names):
    def make(*, normalized_shape, residual=False, **options):
        x = normal(RNG, "float64", 3, 4, 5)
        parameters = [normal(RNG, "float64", *normalized_shape) for _ in range(names)]
        options["normalized_shape"] = normalized_shape
        return (x, *parameters, x[::-1].copy() if residual else None), options

    return make, {"normalized_shape": ((4, 5),), "residual": True, "eps": 0.1, "return_sum": True}


def softmax(*, ndim=2, **options):
    return (normal(RNG, "float64", *(3, 4, 5)[:ndim]),), options


def dropout(**options):
    return (normal(RNG, "float64", 3, 5),), options


def embedding(**options):
    return (np.array([[0, 2], [2, 1]]), normal(RNG, "float64", 3, 4)), options


def gelu(*, bias=None, **options):
    return (normal(RNG, "float64", 3, 5), bias), options


OF_CLASSES = {
    "ignored": True,
    "ignore_index": 1,
    "reduction": ("sum", "none"),
    "label_smoothing": 0.1,
}
CALLS = {  # make, and for each option a value, or a tuple of some, that is not its default
    "attention": (
        attention,
        {
            "e": 3,
            "mask": (np.tri(5, 4, dtype=bool), np.tri(5, 4)),
            "scale": (0.3, -0.3),
            "causal": True,
            "return_weights": True,
            "p": (0.5, 1.0),
            "seed": 3,
            "offset": 5,
        },
    ),
    "rnn": (recurrent(1, 1)[0], recurrent(1, 1)[1] | {"nonlinearity": "relu"}),
    "gru": recurrent(1, 3),
    "lstm": recurrent(2, 4),
    "cross_entropy": (cross_entropy, OF_CLASSES | {"weight": np.array([1.0, 0.5, 2.0])}),
    "linear_cross_entropy": (
        linear_cross_entropy,
        OF_CLASSES
        | {
            "bias": np.arange(3.0),
            "class_weight": np.array([1.0, 0.5, 2.0]),
        },
    ),
    "layer_norm": layer_norm(2),
    "rms_norm": layer_norm(1),
    "softmax": (softmax, {"axis": (0, 1), "ndim": 3}),
    "log_softmax": (softmax, {"axis": (0, 1), "ndim": 3}),
    "dropout": (dropout, {"p": (0.0, 0.2, 1.0), "training": False, "seed": 9, "offset": 3}),
    "embedding": (embedding, {"padding_idx": (2, -1)}),
    "gelu": (gelu, {"bias": np.arange(5.0), "approximate": "tanh"}),
}
REQUIRED = {"normalized_shape": (5,), "seed": 1}  # options without a default


def calls(name, usual, most):
    """(args, options): with the `usual` options, and with at most so many other choices."""
    make, others = CALLS[name]
    choices = [
        (option, value)
        for option, values in others.items()
        for value in (values if type(values) is tuple else (values,))
    ]
    for changes in chain(*(combinations(choices, n) for n in range(most + 1))):
        if len(dict(changes)) == len(changes):
            args, options = make(**usual | dict(changes))
            try:
                OPERATIONS[name].check(*args, **options)
            except ValueError:  # these do not go together
                continue
            yield args, options


@pytest.mark.skipif(not emulator.available(), reason="needs g++")
@pytest.mark.parametrize("most", [1, pytest.param(2, marks=pytest.mark.slow)])
@EACH
def test_what_is_taken_is_computed(launcher, most):
    parameters = inspect.signature(launcher.reference.forward).parameters.values()
    usual = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    usual |= {name: value for name, value in REQUIRED.items() if name in usual}
    unusual, taken = set(), 0
    for args, options in calls(launcher.name, usual, most) if usual else ():
        unusual |= {name for name, value in options.items() if value is not usual[name]}
        if launcher.kernel.takes(*args, **options):
            taken += 1
            with emulator.emulated(seed=1):
                compare(launcher, args, options)
    assert bool(taken) == bool(usual)
    assert unusual == usual.keys() or most == 1  # some choices go with others alone
