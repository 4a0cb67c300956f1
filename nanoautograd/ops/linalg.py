"""Products of matrices and tensors.

For C = AB the rules are Ā = C̄ Bᵀ and B̄ = Aᵀ C̄ (Giles 2008, "Collected matrix derivative results
for forward and reverse mode algorithmic differentiation", section 2.2.2).
"""

import math
from numbers import Integral
from string import ascii_letters, ascii_lowercase, ascii_uppercase

from ..backends import namespace, threads
from ..function import function
from ..tensor import as_arrays, shape_of
from .arranging import diagonal
from .elementwise import multiply
from .reductions import sum
from .shaping import as_tuple, checked, expand_dims, moveaxis, reshape, squeeze, swapaxes, transpose


@function
def _matmul(a, b):
    """Matrices in the last two axes; the axes before them broadcast."""
    if a.ndim > 2 and b.ndim == 2:  # one large product is faster than many small ones
        return threads.matmul(_rows(a), b).reshape(*a.shape[:-1], b.shape[-1])
    return threads.matmul(a, b)


def _rows(a):
    """The rows of all matrices of a batch, as one matrix."""
    return reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))


def _times_a(g, a, b_shape):
    """B̄ = Aᵀ C̄. Where one B served a whole batch, the sum over the batch is one product too."""
    if len(b_shape) == 2 and a.ndim > 2:
        a, g = _rows(a), _rows(g)
    return _matmul(swapaxes(a, -1, -2), g)


_matmul.vjp(a=lambda g, b: _matmul(g, swapaxes(b, -1, -2)), b=_times_a)


def matmul(x1, x2):
    """The matrix product x1 @ x2 in all of NumPy's forms.

    1-D arguments are a row (x1) or a column (x2), and the axis is taken out of the result; more
    than two axes are a batch of matrices, and batches broadcast.
    """
    x1, x2 = as_arrays(x1, x2)
    m, n = len(x1.shape), len(x2.shape)
    if not m or not n:
        raise ValueError("matmul: a 0-d argument has no matrix product; use * to scale")
    rows = x2.shape[-2 if n > 1 else 0]
    if x1.shape[-1] != rows:
        raise ValueError(
            f"matmul: shapes {x1.shape} and {x2.shape} do not fit: the rows of the "
            f"first have length {x1.shape[-1]}, the columns of the second {rows}"
        )
    y = _matmul(x1 if m > 1 else expand_dims(x1, 0), x2 if n > 1 else expand_dims(x2, 1))
    dropped = ((-2,) if m == 1 else ()) + ((-1,) if n == 1 else ())
    return squeeze(y, dropped) if dropped else y


def dot(a, b):
    """As `numpy.dot`: over the last axis of `a` and the second-last (or only) axis of `b`.

    y_ij = Σ_k a_ik b_kj:  ā_ik = Σ_j ȳ_ij b_kj,  b̄_kj = Σ_i a_ik ȳ_ij, with i and j for all other
    axes. If one is 0-d, it is `multiply`.
    """
    if not shape_of(a) and type(a) is not list or not shape_of(b) and type(b) is not list:
        return multiply(a, b)
    a, b = as_arrays(a, b)
    if len(b.shape) <= 2:
        return matmul(a, b)
    return tensordot(a, b, ((-1,), (-2,)))


def outer(a, b):
    """y_ij = a_i b_j, of flattened arguments:  ā_i = Σ_j ȳ_ij b_j,  b̄_j = Σ_i ȳ_ij a_i."""
    a, b = as_arrays(a, b)
    return reshape(a, (-1, 1)) * reshape(b, (1, -1))


def tensordot(a, b, axes=2):
    """The sum over pairs of axes of products, as one matrix product.

    With i for the free axes of `a`, j for those of `b`, and k for the pairs, y_ij = Σ_k a_ik b_kj:
    ā_ik = Σ_j ȳ_ij b_kj,  b̄_kj = Σ_i a_ik ȳ_ij.

    axes: n, for the last n of `a` with the first n of `b`; or two sequences, axes of each.
    """
    a, b = as_arrays(a, b)
    if isinstance(axes, Integral):
        axes = tuple(range(len(a.shape) - axes, len(a.shape))), tuple(range(axes))
    of_a, of_b = [
        [checked(i, len(x.shape), "tensordot") for i in as_tuple(s)] for s, x in zip(axes, (a, b))
    ]
    if [a.shape[i] for i in of_a] != [b.shape[j] for j in of_b]:
        raise ValueError(
            f"tensordot: axes {of_a} of shape {a.shape} and {of_b} of shape "
            f"{b.shape} do not have the same lengths"
        )
    rows = [i for i in range(len(a.shape)) if i not in of_a]
    columns = [j for j in range(len(b.shape)) if j not in of_b]
    shape = [a.shape[i] for i in rows] + [b.shape[j] for j in columns]
    n = math.prod(a.shape[i] for i in of_a)
    m = math.prod(a.shape[i] for i in rows)
    a = reshape(transpose(a, rows + of_a), (m, n))
    b = reshape(transpose(b, of_b + columns), (n, math.prod(b.shape[j] for j in columns)))
    return reshape(_matmul(a, b), tuple(shape))


# ---- einsum


@function
def _einsum(*operands, inputs, output, optimize=True):
    """y[output] = Σ Π operand[input], where no letter stands twice in one operand, and each
    stands in another operand or the output."""
    return namespace(*operands).einsum(
        ",".join(inputs) + "->" + output, *operands, optimize=optimize
    )


def _einsum_rule(g, operands, inputs, output, needs):
    """The gradient of an operand is an einsum too: ȳ takes its place among the operands.

    In y_ik = Σ_j a_ij b_jk, that is "ij,jk->ik", it is ā_ij = Σ_k ȳ_ik b_jk, "ik,jk->ij".
    """
    ds = []
    for i, need in enumerate(needs):
        others = [j for j in range(len(operands)) if j != i]
        ds.append(
            _einsum(
                g,
                *[operands[j] for j in others],
                inputs=(output, *[inputs[j] for j in others]),
                output=inputs[i],
            )
            if need
            else None
        )
    return ds


_einsum.vjp(operands=_einsum_rule)


def einsum(subscripts, *operands, optimize=True):
    """The sum of products that `subscripts` describes, as `numpy.einsum`.

    The gradient of an operand is an einsum of ȳ with the other operands. For "ij,jk->ik", that is
    y_ik = Σ_j a_ij b_jk, it is ā_ij = Σ_k ȳ_ik b_jk, "ik,jk->ij".

    Takes every form: implicit and explicit output, ellipsis, letters repeated within an operand
    (a diagonal), broadcast lengths of 1, and NumPy's alternating operands and index lists.
    optimize: as in NumPy, the order in which the products are taken.
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _from_lists(subscripts, *operands)
    operands = as_arrays(*operands)
    inputs, output = _parsed(subscripts, operands)
    simple = [_distinct(x, letters) for x, letters in zip(operands, inputs)]
    lengths = {}
    for x, letters in simple:
        for letter, n in zip(letters, x.shape):
            if n != 1 and lengths.setdefault(letter, n) != n:
                raise ValueError(
                    f"einsum: {letter!r} in {subscripts!r} stands for two lengths, "
                    f"{lengths[letter]} and {n}"
                )
    # An axis of length 1 that is broadcast, and one that stands nowhere else, is summed first.
    simple = [
        _summed(x, s, {c for c, n in zip(s, x.shape) if n == 1 != lengths.get(c, 1)})
        for x, s in simple
    ]
    for i, (x, letters) in enumerate(simple):
        elsewhere = output + "".join(s for j, (_, s) in enumerate(simple) if j != i)
        simple[i] = _summed(x, letters, set(letters) - set(elsewhere))
    return _einsum(
        *[x for x, _ in simple],
        inputs=tuple(s for _, s in simple),
        output=output,
        optimize=optimize,
    )


def _summed(x, letters, over):
    """The operand summed over the axes of some letters."""
    if not over:
        return x, letters
    axes = tuple(axis for axis, letter in enumerate(letters) if letter in over)
    return sum(x, axes), "".join(letter for letter in letters if letter not in over)


def _from_lists(*args):
    """(a, [0, 1], b, [1, 2], [0, 2]) -> "AB,BC->AC", (a, b)."""
    operands, lists = args[: len(args) // 2 * 2 : 2], args[1::2]
    output = args[-1] if len(args) % 2 else None
    names = ascii_uppercase + ascii_lowercase  # in NumPy's order, which sorts capitals first
    words = [
        "".join("..." if i is Ellipsis else names[i] for i in indices)
        for indices in (*lists, *([output] if output is not None else []))
    ]
    text = ",".join(words[: len(operands)])
    return (text + "->" + words[-1] if output is not None else text), operands


def _parsed(subscripts, operands):
    """The letters of each operand and of the output, with the ellipsis written out."""
    text = subscripts.replace(" ", "")
    text, arrow, output = text.partition("->")
    inputs = text.split(",")
    if len(inputs) != len(operands):
        raise ValueError(
            f"einsum: {subscripts!r} describes {len(inputs)} operands, but "
            f"{len(operands)} were given"
        )
    free = [letter for letter in ascii_letters if letter not in subscripts]
    hidden = [
        len(x.shape) - len(s.replace("...", "")) if "..." in s else 0
        for s, x in zip(inputs, operands)
    ]
    ellipsis = "".join(free[: max(hidden, default=0)])
    for i, (s, x, n) in enumerate(zip(inputs, operands, hidden)):
        inputs[i] = s.replace("...", ellipsis[len(ellipsis) - n :] if n > 0 else "")
        if n < 0 or len(inputs[i]) != len(x.shape) or not inputs[i].isalpha() and inputs[i]:
            raise ValueError(
                f"einsum: {s!r} in {subscripts!r} does not fit an operand of shape {x.shape}"
            )
    if not arrow:  # implicit: letters that stand once, in order
        letters = sorted(set(text.replace("...", "").replace(",", "")))
        output = "..." + "".join(c for c in letters if text.count(c) == 1)
    output = output.replace("...", ellipsis)
    if len(set(output)) < len(output) or not set(output) <= set("".join(inputs)):
        raise ValueError(
            f"einsum: each letter of the output of {subscripts!r} must stand in an "
            "input, and once in the output"
        )
    return inputs, output


def _distinct(x, letters):
    """The operand with each letter once: where one is repeated, its diagonal."""
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            i = letters.index(letter)
            j = letters.index(letter, i + 1)
            if x.shape[i] != x.shape[j]:
                raise ValueError(
                    f"einsum: {letter!r} stands for two lengths, {x.shape[i]} and "
                    f"{x.shape[j]}, in an operand of shape {x.shape}"
                )
            x = moveaxis(diagonal(x, 0, i, j), -1, i)
            letters = letters[:j] + letters[j + 1 :]
    return x, letters
