"""Forty wrong derivatives that were reported of other projects, as functions of PyTorch and JAX.

Each is written anew here, as small as it can be, with the mended rule beside it. For the table in
docs/known_mistakes.md:

    python tests/testing/known_mistakes.py
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import torch

jnp = jax.numpy


class Mistake(NamedTuple):
    """build(wrong): (f, inputs, options) for gradcheck. finds: whether `torch.autograd.gradcheck`
    finds it with its default settings; None where it cannot be asked."""

    name: str
    source: str
    what: str
    build: Callable
    finds: bool | None


# ---- functions with a wrong and a mended rule


def with_rules(forward, mended, wrong, *inputs, **options):
    """For PyTorch. mended, wrong: (u, *inputs) to the gradients, a tuple if there are several."""

    def build(is_wrong):
        class Rule(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *xs):
                ctx.save_for_backward(*xs)
                return forward(*xs)

            @staticmethod
            def backward(ctx, *us):
                return (wrong if is_wrong else mended)(*us, *ctx.saved_tensors)

        return Rule.apply, list(map(torch.tensor, inputs)), options

    return build


def with_jax_rules(forward, mended, wrong, *inputs, **options):
    """The same for JAX. The gradients are always a tuple."""

    def build(is_wrong):
        f = jax.custom_vjp(forward)
        rule = wrong if is_wrong else mended
        f.defvjp(lambda *xs: (forward(*xs), xs), lambda xs, u: rule(u, *xs))
        return f, list(map(jnp.asarray, inputs)), options

    return build


def gradient_of(f):
    """The right rule of f, (u, *inputs), by PyTorch itself."""

    def rule(u, *xs):
        xs = [x.detach().requires_grad_() for x in xs]
        with torch.enable_grad():
            gs = torch.autograd.grad(f(*xs), xs, u)
        return gs if len(gs) > 1 else gs[0]

    return rule


def in_memory(t):
    """What a kernel reads that takes t for contiguous. (It reads around where memory ends.)"""
    size = t.untyped_storage().nbytes() // t.itemsize
    memory = torch.as_strided(t, (size,), (1,), 0)
    at = (t.storage_offset() + torch.arange(t.numel())) % size
    return memory[at].reshape(t.shape)


def taken_for_contiguous(rule):
    return lambda u, *xs: rule(in_memory(u), *xs)


rng = np.random.default_rng(0)
X = np.array([0.3, -1.2, 2.0])
A, B, C = rng.standard_normal((3, 2, 3))
SQUARE = rng.standard_normal((3, 3))
ROWS = rng.standard_normal((2, 2, 3))
WORDS = rng.standard_normal((4, 3))
BELOW = np.array([[1.5, 0.0], [0.4, 1.2]])  # a triangular matrix


# ---- what the functions compute


def attention(q, k, v):
    return torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v


def causal_conv(x, w):
    """x: (time, channels), w: (taps, channels)."""
    padded = torch.cat([x.new_zeros(len(w) - 1, x.shape[1]), x])
    return sum(w[i] * padded[i : i + len(x)] for i in range(len(w)))


def cumprod_rule(zeros_are_lost):
    def rule(u, x):
        if zeros_are_lost:  # reversed cumulative sum, divided by x
            sums = (u * torch.cumprod(x, 0)).flip(0).cumsum(0).flip(0)
            return torch.nan_to_num(sums / x, nan=0.0, posinf=0.0, neginf=0.0)
        return gradient_of(lambda x: torch.cumprod(x, 0))(u, x)

    return rule


TAKEN = torch.tensor([0, 2, 2])


def take_rule(last_one_wins):
    def rule(u, x):
        dx = torch.zeros_like(x)
        if last_one_wins:
            for i, one in zip(TAKEN, u):
                dx[i] = one
            return dx
        return dx.index_add(0, TAKEN, u)

    return rule


def fill_rule(index):
    def rule(u, x, value):
        return u.index_fill(0, TAKEN, 0.0), u[index].sum()

    return rule


GROUPS = torch.tensor([0, 0, 0, 1])


def group_max(x):
    return x.new_zeros(2).scatter_reduce(0, GROUPS, x, "amax", include_self=False)


def of_equal_entries(is_wrong):
    """The largest two are one number, as both moved alone would be at a kink."""
    mended, wrong = group_max_rule(True), group_max_rule(False)
    f, inputs, _ = with_rules(group_max, mended, wrong, np.array([2.0, 1.0, 0.5]))(is_wrong)
    return lambda x: f(x[[0, 0, 1, 2]]), inputs, {}


def group_max_rule(shared):
    def rule(u, x):
        largest = (x == group_max(x)[GROUPS]).to(x.dtype)
        count = x.new_zeros(2).index_add(0, GROUPS, largest) if shared else x.new_ones(2)
        return largest * (u / count)[GROUPS]

    return rule


ALIGNMENTS = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 1, 1]])


def of_alignments(logits):
    """log P of each alignment of the label 1 with three steps; 0 is the blank."""
    steps = torch.log_softmax(logits, -1)
    return steps[torch.arange(3), ALIGNMENTS].sum(-1)


def ctc_loss(logits):
    return -torch.logsumexp(of_alignments(logits), 0)


def ctc_rule(scaled):
    def rule(u, logits):
        posterior = torch.softmax(of_alignments(logits), 0)
        counted = torch.zeros_like(logits)
        for p, path in zip(posterior, ALIGNMENTS):
            counted[torch.arange(3), path] += p
        probabilities = torch.softmax(logits, -1)
        return u * (probabilities - counted) if scaled else probabilities - u * counted

    return rule


LABELS = torch.tensor([1, 0])


def losses(logits):
    """Cross-entropies, one for each row."""
    return -torch.log_softmax(logits, -1)[torch.arange(len(logits)), LABELS]


def losses_rule(scale):
    def rule(u, logits):
        one_hot = torch.nn.functional.one_hot(LABELS, logits.shape[1])
        return scale(u, torch.softmax(logits, -1) - one_hot)

    return rule


def diagonal_rule(lost):
    def rule(u, x, diagonal):
        dx = torch.zeros_like(u) if lost else u - torch.diag(u.diagonal())
        return dx, u.diagonal().clone()

    return rule


ZONEOUT = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)


def zoneout(x, h, masks=ZONEOUT):
    """h keeps its value where the mask of a step is 0."""
    for one, mask in zip(x, masks):
        h = mask * torch.tanh(one + h) + (1 - mask) * h
    return h


KEPT = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
DROPPED = np.array([0.3, -1.2, 0.0, 2.0])


def dropout(x):
    return x * KEPT * 2


def dropout_by_quotient(u, x):
    return torch.where(x == 0, u, u * dropout(x) / torch.where(x == 0, 1.0, x))


IGNORED = torch.tensor([True, False])


def ignoring(logits):
    return torch.where(IGNORED, 0.0, losses(logits))


def rms_norm(x, w):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * w


def rms_norm_rule(by_row):
    def rule(u, x, w):
        r = torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5)
        g = u * w
        of_rows = (g * x).mean(-1) * r[:, 0] ** 3
        dx = g * r - x * (of_rows[:, None] if by_row else of_rows)
        return dx, (u * x * r).sum(0)

    return rule


def normalize(x):
    return x / (torch.linalg.vector_norm(x, dim=-1, keepdim=True) + 1e-5)


def normalize_rule_without_eps(u, x):
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True) + 1e-5
    y = x / norm
    return (u - y * (y * u).sum(-1, keepdim=True)) / norm


def layer_norm(x):
    return torch.nn.functional.layer_norm(x, x.shape[-1:], eps=1e-5)


def layer_norm_rule(subtracted=1, axes=(-1,)):
    def rule(u, x):
        r = torch.rsqrt(x.var(-1, correction=0, keepdim=True) + 1e-5)
        n = (x - x.mean(-1, keepdim=True)) * r
        means = u.mean(axes, keepdim=True), (u * n).mean(axes, keepdim=True)
        return r * (u - subtracted * means[0] - n * means[1])

    return rule


def leaky_rule(seen):
    return lambda u, x: torch.where(seen(x) > 0, u, -2 * u)


def dice(x):
    target = torch.tensor([1.0, 0.0, 1.0], dtype=x.dtype)
    return 2 * (x @ target) / (x.sum() + target.sum())


def dice_rule(sign):
    def rule(u, x):
        target = torch.tensor([1.0, 0.0, 1.0], dtype=x.dtype)
        union = x.sum() + target.sum()
        return u * 2 * (target * union + sign * (x @ target)) / union**2

    return rule


def solve(a, b):
    return torch.linalg.solve_triangular(a, b, upper=False)


def solve_rule(of_matrix):
    def rule(u, a, b):
        db = torch.linalg.solve_triangular(a.mT, u, upper=True)
        return (-(db @ solve(a, b).mT).tril() if of_matrix else None), db

    return rule


def from_upper(x):
    """The Cholesky factor of the symmetric matrix whose upper triangle x holds."""
    return jnp.linalg.cholesky(jnp.triu(x) + jnp.triu(x, 1).T).T


def from_upper_rule(folded):
    def rule(u, x):
        s = jnp.triu(x) + jnp.triu(x, 1).T
        (ds,) = jax.vjp(lambda s: jnp.linalg.cholesky(s).T, s)[1](u)
        return (jnp.triu(ds) + jnp.tril(ds, -1).T if folded else ds,)

    return rule


BAGS = torch.tensor([[0, 1, 2], [2, 3, 3]])


def largest_of_bags(w):
    return w[BAGS].amax(1)


def mean_of_bags_rule(u, w):
    rows = (u[:, None] / BAGS.shape[1]).expand(-1, BAGS.shape[1], -1)
    return torch.zeros_like(w).index_add(0, BAGS.flatten(), rows.reshape(-1, w.shape[1]))


def lstm_cell(gates, cell):
    """gates: (4, n), of input, forget, candidate, output. Returns the hidden state and the cell."""
    i, f, o = torch.sigmoid(gates[[0, 1, 3]])
    cell = f * cell + i * torch.tanh(gates[2])
    return o * torch.tanh(cell), cell


def lstm_rule(counts_cell):
    def rule(dh, dc, gates, cell):
        gates, cell = gates.detach().requires_grad_(), cell.detach().requires_grad_()
        with torch.enable_grad():
            outs = lstm_cell(gates, cell)
        return torch.autograd.grad(outs, (gates, cell), (dh, dc if counts_cell else 0 * dc))

    return rule


def both_ways(x):
    return torch.cumsum(x, 0) + 3 * torch.cumsum(x.flip(0), 0)


def both_ways_rule(overwrites):
    def rule(u, x):
        given = u
        forwards = u.flip(0).cumsum(0).flip(0)
        if overwrites:  # the first direction's result takes the place of what the second reads
            given = u.copy_(forwards)
        return forwards + 3 * given.flip(0).cumsum(0)

    return rule


def silu_rule(in_place):
    def rule(u, x):
        s = torch.sigmoid(x)
        dx = u * s * (1 + x * (1 - s))
        return x.data.copy_(dx) if in_place else dx

    return rule


def stale_take(is_wrong):
    buffer = torch.zeros(2, 3, dtype=torch.float64)

    def rule(u, x):
        dx = buffer if is_wrong else torch.zeros_like(x)
        return dx.index_add_(1, TAKEN, u).clone()

    return with_rules(lambda x: x[:, TAKEN], rule, rule, A)(is_wrong)


def pool(x):
    return torch.stack([x[:2].mean(), x[2:4].mean(), x[4:].mean()])


def pool_rule(last):
    return lambda u, x: torch.cat([u[:1] / 2, u[:1] / 2, u[1:2] / 2, u[1:2] / 2, u[2:] / last])


def wavelet(is_wrong):
    class Merge(torch.autograd.Function):
        @staticmethod
        def forward(ctx, low, high):
            return torch.stack([low + high, low - high], 1).flatten()

        @staticmethod
        def backward(ctx, u):
            if is_wrong and not ctx.needs_input_grad[0]:
                return None, None
            return u[::2] + u[1::2], u[::2] - u[1::2]

    return Merge.apply, [torch.tensor(X), torch.tensor(2 * X)], {}


def intermediate(is_wrong):
    class SquareOfDouble(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            ctx.double = 2 * x
            return ctx.double**2

        @staticmethod
        def backward(ctx, u):
            (x,) = ctx.saved_tensors
            return 4 * u * (ctx.double if is_wrong else 2 * x)

    return SquareOfDouble.apply, [torch.tensor(X)], {"order": 2}


def product_tangent(is_wrong):
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x.prod()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, u):
            (x,) = ctx.saved_tensors
            return u * x.prod() / x

        @staticmethod
        def jvp(ctx, dx):
            (x,) = ctx.saved_tensors
            return (0 if is_wrong else 1) * (x.prod() / x * dx).sum()

    return Product.apply, [torch.tensor(X)], {"forward_mode": True}


def in_float32(is_wrong):
    def mended(u, x):
        return u * torch.sigmoid(x) * torch.sigmoid(-x)

    def wrong(u, x):
        return u * torch.sigmoid(x) * (1 - torch.sigmoid(x))

    large = np.linspace(17, 20, 20, dtype=np.float32)
    f, inputs, _ = with_rules(torch.sigmoid, mended, wrong, large)(is_wrong)
    return f, inputs, {"reference": torch.sigmoid}


def in_bfloat16(is_wrong):
    tokens = 1024

    def forward(w):  # every token is the first word
        return w[0] * 1

    def mended(u, w):
        return torch.cat([u[None], torch.zeros_like(w[1:])])

    def wrong(u, w):
        dw = torch.zeros_like(w)
        for _ in range(tokens):
            dw[0] += u / tokens
        return dw

    f, (w,), _ = with_rules(forward, mended, wrong, np.linspace(1, 2, 4000).reshape(2, -1))(
        is_wrong
    )
    return f, [w.bfloat16()], {"reference": lambda w: w[0] * 1}


def copysign(is_wrong):
    @jax.custom_jvp
    def f(x, y):
        return jnp.copysign(x, y)

    @f.defjvp
    def tangent(xs, dxs):
        sign = jnp.sign(xs[1]) * (1 if is_wrong else jnp.sign(xs[0]))
        return f(*xs), sign * dxs[0]

    return f, [jnp.asarray(X), jnp.asarray(X[::-1].copy())], {}


def square_of_docs(is_wrong):
    @jax.custom_gradient
    def f(x):
        return x**2, lambda u: (u * x if is_wrong else 2 * u * x,)

    return f, [jnp.asarray(X)], {}


def atan2_rule(sign):
    return lambda u, y, x: (sign * u * x / (x * x + y * y), -sign * u * y / (x * x + y * y))


# ---- the table

MISTAKES = [
    Mistake(
        "attention",
        "Dao-AILab/flash-attention #355",
        "an output's gradient that is not contiguous was read as if it were",
        with_rules(
            attention,
            gradient_of(attention),
            taken_for_contiguous(gradient_of(attention)),
            A,
            B,
            C,
        ),
        False,
    ),
    Mistake(
        "mean",
        "torch/nn #345",
        "the expanded gradient of a mean above it was read as if contiguous",
        with_rules(
            lambda x: x.mean(-1),
            gradient_of(lambda x: x.mean(-1)),
            taken_for_contiguous(gradient_of(lambda x: x.mean(-1))),
            ROWS,
        ),
        False,
    ),
    Mistake(
        "causal convolution",
        "fla-org/flash-linear-attention #871",
        "strides of the output's gradient were written into the kernel",
        with_rules(
            causal_conv,
            gradient_of(causal_conv),
            taken_for_contiguous(gradient_of(causal_conv)),
            SQUARE,
            A,
        ),
        False,
    ),
    Mistake(
        "product",
        "pytorch/pytorch #773",
        "it divided by the inputs, also by zero",
        with_rules(
            torch.prod,
            gradient_of(torch.prod),
            lambda u, x: u * x.prod() / x,
            np.array([2.0, 0.0, 3.0]),
        ),
        True,
    ),
    Mistake(
        "cumulative product",
        "tensorflow/tensorflow #119430",
        "0 / 0 at an input of zero became a gradient of zero",
        with_rules(
            lambda x: torch.cumprod(x, 0),
            cumprod_rule(False),
            cumprod_rule(True),
            np.array([2.0, 0.0, 3.0]),
        ),
        True,
    ),
    Mistake(
        "indexing",
        "pytorch/pytorch #1528",
        "of an index that is repeated only the last gradient was kept",
        with_rules(lambda x: x[TAKEN], take_rule(False), take_rule(True), X),
        True,
    ),
    Mistake(
        "index_fill",
        "pytorch/pytorch #57006",
        "the value's gradient counted a repeated index twice",
        with_rules(
            lambda x, value: x.index_fill(0, TAKEN, value),
            fill_rule(TAKEN.unique()),
            fill_rule(TAKEN),
            X,
            np.array(0.7),
        ),
        True,
    ),
    Mistake(
        "maximum of groups",
        "pytorch/pytorch #76523",
        "each of several equal largest entries got the whole gradient",
        of_equal_entries,
        True,
    ),
    Mistake(
        "negated product",
        "pytorch/pytorch #995",
        "it did not multiply by the output's gradient",
        with_rules(torch.prod, lambda u, x: u * x.prod() / x, lambda u, x: 1 * x.prod() / x, X),
        True,
    ),
    Mistake(
        "CTC loss",
        "pytorch/pytorch #11750",
        "one of two terms was not multiplied by the output's gradient",
        with_rules(ctc_loss, ctc_rule(True), ctc_rule(False), SQUARE[:, :2]),
        True,
    ),
    Mistake(
        "cross-entropy of each row",
        "linkedin/Liger-Kernel #1298",
        "all rows were multiplied by the gradient of the first loss",
        with_rules(
            losses,
            losses_rule(lambda u, g: u[:, None] * g),
            losses_rule(lambda u, g: u[0] * g),
            A,
        ),
        True,
    ),
    Mistake(
        "loss of each sequence",
        "HawkAaron/warp-transducer #23",
        "the losses' gradients were broadcast along the last axis, not the first",
        with_rules(
            losses,
            losses_rule(lambda u, g: u[:, None] * g),
            losses_rule(lambda u, g: u * g),
            A[:, :2],
        ),
        True,
    ),
    Mistake(
        "diagonal_scatter",
        "pytorch/pytorch #182012",
        "the input got a gradient of zeros, compiled",
        with_rules(
            lambda x, d: x.diagonal_scatter(d), diagonal_rule(False), diagonal_rule(True), SQUARE, X
        ),
        True,
    ),
    Mistake(
        "GRU with zoneout",
        "lmnt-com/haste #43",
        "the mask of the first step was used for all steps",
        with_rules(
            zoneout,
            gradient_of(zoneout),
            gradient_of(lambda x, h: zoneout(x, h, ZONEOUT[:1].expand(3, 2))),
            SQUARE[:, :2],
            X[:2],
        ),
        True,
    ),
    Mistake(
        "dropout at zero",
        "kaldi-asr/kaldi #3890",
        "the mask was found as output / input, so a dropped zero got the whole gradient",
        with_rules(dropout, lambda u, x: u * KEPT * 2, dropout_by_quotient, DROPPED),
        True,
    ),
    Mistake(
        "cross-entropy with an ignored label",
        "PaddlePaddle/Paddle #28622",
        "rows whose label is to be ignored got a gradient",
        with_rules(ignoring, gradient_of(ignoring), gradient_of(losses), A),
        True,
    ),
    Mistake(
        "RMS norm",
        "BobMcDear/attorch #17",
        "each row's correction was broadcast over columns",
        with_rules(rms_norm, rms_norm_rule(by_row=True), rms_norm_rule(by_row=False), SQUARE, X),
        True,
    ),
    Mistake(
        "L2 normalization",
        "chainer/chainer #4190",
        "it was wrong by about as much as the epsilon beside the norm",
        with_rules(normalize, gradient_of(normalize), normalize_rule_without_eps, A),
        False,
    ),
    Mistake(
        "layer norm",
        "tenstorrent/tt-metal #53215",
        "the mean of the gradient was subtracted twice",
        with_rules(layer_norm, layer_norm_rule(), layer_norm_rule(subtracted=2), A),
        True,
    ),
    Mistake(
        "layer norm of three axes",
        "flagos-ai/FlagGems #5474",
        "means were taken over all axes but the first",
        with_rules(layer_norm, layer_norm_rule(), layer_norm_rule(axes=(-2, -1)), ROWS),
        True,
    ),
    Mistake(
        "leaky ReLU",
        "pytorch/pytorch #31938",
        "it looked at the output's sign, which a negative slope turns",
        with_rules(
            lambda x: torch.where(x > 0, x, -2 * x),
            leaky_rule(lambda x: x),
            leaky_rule(lambda x: torch.where(x > 0, x, -2 * x)),
            X,
        ),
        True,
    ),
    Mistake(
        "dice",
        "milesial/Pytorch-UNet #35",
        "a plus stood where the quotient rule has a minus",
        with_rules(dice, dice_rule(-1), dice_rule(1), np.array([0.3, 0.6, 0.9])),
        True,
    ),
    Mistake(
        "triangular solve",
        "tensor4all/tenferro-rs #772",
        "the matrix got no gradient",
        with_rules(solve, solve_rule(True), solve_rule(False), BELOW, A[:, :2]),
        True,
    ),
    Mistake(
        "complex exponential",
        "EnzymeAD/Enzyme-JAX #2105",
        "the derivative was not conjugated",
        with_rules(
            torch.exp,
            lambda u, z: u * torch.exp(z).conj(),
            lambda u, z: u * torch.exp(z),
            np.array([0.3 + 0.4j, -1.2 - 0.7j]),
        ),
        True,
    ),
    Mistake(
        "wavelet synthesis",
        "fbcotter/pytorch_wavelets #65",
        "the second input got no gradient where the first needs none",
        wavelet,
        False,
    ),
    Mistake(
        "maximum of bags",
        "flagos-ai/FlagGems #5220",
        "mode max got the gradient of mode mean",
        with_rules(largest_of_bags, gradient_of(largest_of_bags), mean_of_bags_rule, WORDS),
        True,
    ),
    Mistake(
        "LSTM cell",
        "deeplearning4j/deeplearning4j #8838",
        "the gradient of the last cell state was not counted",
        with_rules(lstm_cell, lstm_rule(True), lstm_rule(False), WORDS[:, :2], X[:2]),
        True,
    ),
    Mistake(
        "two directions",
        "apache/mxnet #18203",
        "the first direction's result overwrote the gradient that the second reads",
        with_rules(both_ways, both_ways_rule(False), both_ways_rule(True), X),
        True,
    ),
    Mistake(
        "SwiGLU in place",
        "linkedin/Liger-Kernel #254",
        "the gradient was written over the input, which another rule may have saved (as intended)",
        with_rules(torch.nn.functional.silu, silu_rule(False), silu_rule(True), X),
        True,
    ),
    Mistake(
        "take along axis 1",
        "apache/mxnet #20166",
        "the gradient was added to what an earlier call had left",
        stale_take,
        True,
    ),
    Mistake(
        "average pooling with ceil_mode",
        "pytorch/pytorch #198119",
        "the last window, cut off by the edge, was divided by the whole kernel's size, compiled",
        with_rules(pool, pool_rule(1), pool_rule(2), WORDS[:2].flatten()[:5]),
        True,
    ),
    Mistake(
        "second derivative",
        "pytorch/pytorch #58509",
        "an intermediate kept on ctx is a constant to the second derivative",
        intermediate,
        False,
    ),
    Mistake(
        "forward mode of a product",
        "pytorch/pytorch #196702",
        "the Jacobian-vector product was zero",
        product_tangent,
        False,
    ),
    Mistake(
        "sigmoid in float32",
        "tenstorrent/tt-metal #55727",
        "1 - sigmoid(x) is zero in low precision, where its value is not",
        in_float32,
        None,
    ),
    Mistake(
        "embedding in bfloat16",
        "tenstorrent/tt-metal #53386",
        "gradients of a repeated index were added up in bfloat16, which soon stands still",
        in_bfloat16,
        None,
    ),
    Mistake(
        "sin(x) y, in JAX",
        "jax-ml/jax #3213",
        "a wrong sign, in an example of the documentation",
        with_jax_rules(
            lambda x, y: jnp.sin(x) * y,
            lambda u, x, y: (u * jnp.cos(x) * y, u * jnp.sin(x)),
            lambda u, x, y: (u * jnp.cos(x) * y, -u * jnp.sin(x)),
            X,
            2 * X,
        ),
        None,
    ),
    Mistake(
        "x², in JAX",
        "jax-ml/jax #29485",
        "the factor 2 lacks in an example (on purpose, says a maintainer)",
        square_of_docs,
        None,
    ),
    Mistake(
        "Cholesky of the upper triangle, in JAX",
        "jax-ml/jax #40421",
        "the triangle that is not read got a part of the gradient",
        with_jax_rules(
            from_upper,
            from_upper_rule(True),
            from_upper_rule(False),
            np.array([[4.0, 1.0], [1.0, 3.0]]),
        ),
        None,
    ),
    Mistake(
        "atan2, in JAX",
        "EnzymeAD/Enzyme-JAX #2066",
        "a wrong sign",
        with_jax_rules(jnp.arctan2, atan2_rule(1), atan2_rule(-1), X, 2 - X),
        None,
    ),
    Mistake(
        "copysign, in JAX",
        "chalk-lab/Mooncake.jl #1195",
        "the sign of the first argument was left out",
        copysign,
        None,
    ),
]


def table():
    """In Markdown, as it stands in docs/known_mistakes.md."""
    said = {True: "refused", False: "**passes**", None: "-"}
    rows = ["| function | reported in | what was wrong | torch | here |", "|---|---|---|---|---|"]
    for m in MISTAKES:
        repository, number = m.source.split(" #")  # GitHub leads from issues to pull requests
        link = f"[{m.source}](https://github.com/{repository}/issues/{number})"
        rows.append(f"| {m.name} | {link} | {m.what} | {said[m.finds]} | refused |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
