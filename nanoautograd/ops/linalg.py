"""Products of matrices and tensors.

For C = AB the rules are Ā = C̄ Bᵀ and B̄ = Aᵀ C̄ (Giles 2008, "Collected matrix derivative results
for forward and reverse mode algorithmic differentiation", section 2.2.2).
"""

import math
from collections.abc import Sequence
from operator import index
from string import ascii_letters, ascii_lowercase, ascii_uppercase

from ..backends import array_namespace, products, threads
from ..core.operation import function
from ..core.tensor import Tensor
from ..interface.array_interface import array_of
from ..safety.arguments import as_arrays, check_operand, is_sequence
from ..typing import ArrayLike
from .arranging import diagonal
from .elementwise import astype, multiply
from .reductions import sum, wide
from .shaping import (
    distinct,
    each,
    expand_dims,
    integer,
    moveaxis,
    reshape,
    squeeze,
    swapaxes,
    transpose,
)


@function
def matmul(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The matrix product C = x1 @ x2 in all of NumPy's forms:  x̄1 = C̄ x2ᵀ,  x̄2 = x1ᵀ C̄.

    1-D arguments are a row (x1) or a column (x2), and the axis is taken out of the result; more
    than two axes are a batch of matrices, and batches broadcast.
    """
    m, n = getattr(x1, "ndim", 0), getattr(x2, "ndim", 0)
    if not m or not n or x1.shape[-1] != x2.shape[-2 if n > 1 else 0]:
        raise _no_product(x1, x2)
    if m == 1 or n == 1:
        return products.with_vector(x1, x2)
    if m > 2 and n == 2:  # one large product is faster than many small ones
        return threads.matmul(_rows(x1), x2).reshape(*x1.shape[:-1], x2.shape[-1])
    return threads.matmul(x1, x2)


matmul.defvjp(
    x1=lambda g, x2, x1_shape: _times_x2(g, x2, len(x1_shape)),
    x2=lambda g, x1, x2_shape: _times_x1(g, x1, len(x2_shape)),
)


def _times_x2(g, x2, m):
    """x̄1 = C̄ x2ᵀ. A vector x1 is a row: c_k = Σ_j x1_j x2_jk, x̄1_j = Σ_k x2_jk c̄_k."""
    if len(x2.shape) == 1:  # c_i = Σ_j x1_ij x2_j, so x̄1_ij = c̄_i x2_j
        return g * x2 if m == 1 else expand_dims(g, -1) * x2
    if m == 1:
        return matmul(x2, g) if len(x2.shape) == 2 else squeeze(matmul(x2, expand_dims(g, -1)), -1)
    return matmul(g, swapaxes(x2, -1, -2))


def _times_x1(g, x1, n):
    """x̄2 = x1ᵀ C̄. A vector x2 is a column: c_i = Σ_j x1_ij x2_j, x̄2_j = Σ_i x1_ij c̄_i."""
    if len(x1.shape) == 1:  # c_k = Σ_j x1_j x2_jk, so x̄2_jk = x1_j c̄_k
        return x1 * g if n == 1 else expand_dims(x1, -1) * expand_dims(g, -2)
    if n == 1:
        return matmul(reshape(g, (-1,)), _rows(x1))
    if n == 2 and len(x1.shape) > 2:  # one x2 served a whole batch: the sum over it is a product
        x1, g = _rows(x1), _rows(g)
    return matmul(swapaxes(x1, -1, -2), g)


def _rows(a):
    """The rows of all matrices of a batch, as one matrix."""
    return reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))


def _no_product(x1, x2):
    """The error for two arguments that do not fit."""
    check_operand(x1, "matmul")
    check_operand(x2, "matmul")
    a, b = getattr(x1, "shape", ()), getattr(x2, "shape", ())
    if not a or not b:
        return ValueError("matmul: a 0-d argument has no matrix product; use * to scale")
    return ValueError(
        f"matmul: shapes {a} and {b} do not fit: the rows of the first have length {a[-1]}, the "
        f"columns of the second {b[-2 if len(b) > 1 else 0]}"
    )


def dot(a: ArrayLike, b: ArrayLike) -> Tensor:
    """As `numpy.dot`: over the last axis of `a` and the second-last (or only) axis of `b`.

    y_ij = Σ_k a_ik b_kj:  ā_ik = Σ_j ȳ_ij b_kj,  b̄_kj = Σ_i a_ik ȳ_ij, with i and j for all other
    axes. If one is 0-d, it is `multiply`.
    """
    a, b = as_arrays(a, b, name="dot")
    if not a.shape or not b.shape:
        return multiply(a, b)
    if len(b.shape) <= 2:
        return matmul(a, b)
    return tensordot(a, b, ((-1,), (-2,)))


def outer(a: ArrayLike, b: ArrayLike) -> Tensor:
    """y_ij = a_i b_j, of flattened arguments:  ā_i = Σ_j ȳ_ij b_j,  b̄_j = Σ_i ȳ_ij a_i."""
    a, b = as_arrays(a, b, name="outer")
    return reshape(a, (-1, 1)) * reshape(b, (1, -1))


def tensordot(a: ArrayLike, b: ArrayLike, axes: int | Sequence[int | Sequence[int]] = 2) -> Tensor:
    """The sum over pairs of axes of products, as one matrix product.

    With i for the free axes of `a`, j for those of `b`, and k for the pairs, y_ij = Σ_k a_ik b_kj:
    ā_ik = Σ_j ȳ_ij b_kj,  b̄_kj = Σ_i a_ik ȳ_ij.

    axes: n, for the last n of `a` with the first n of `b`; or two sequences, axes of each.
    """
    a, b = as_arrays(a, b, name="tensordot")
    of_a, of_b = _pairs_of_axes(axes, len(a.shape), len(b.shape))
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
    return reshape(matmul(a, b), tuple(shape))


def _pairs_of_axes(axes, m, n):
    """The axes of an array of m dimensions and of one of n that `tensordot` pairs."""
    if not is_sequence(axes) and not getattr(axes, "ndim", 0):
        axes = integer(axes, "tensordot", "axes, if it is not two sequences of them,")
        if not 0 <= axes <= min(m, n):
            raise ValueError(
                f"tensordot: {axes} axes of each are wanted, of arrays of {m} and {n} dimensions"
            )
        return list(range(m - axes, m)), list(range(axes))
    pair = each(axes)
    if len(pair) != 2:
        raise TypeError(
            "tensordot: axes is a number of axes, or two sequences, axes of each array; got "
            f"{axes!r:.100}"
        )
    return distinct(pair[0], m, "tensordot"), distinct(pair[1], n, "tensordot")


# ---- einsum


@function
def _einsum(*operands, inputs, output, optimize=True):
    """y[output] = Σ Π operand[input], where no letter stands twice in one operand, and each
    stands in another operand or the output."""
    return array_namespace(*operands).einsum(
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


_einsum.defvjp(operands=_einsum_rule)


def einsum(subscripts: str | ArrayLike, *operands: ArrayLike, optimize: bool = True) -> Tensor:
    """The sum of products that `subscripts` describes, as `numpy.einsum`.

    The gradient of an operand is an einsum of ȳ with the other operands. For "ij,jk->ik", that is
    y_ik = Σ_j a_ij b_jk, it is ā_ij = Σ_k ȳ_ik b_jk, "ik,jk->ij".

    Operands of 16 bits are multiplied and added in float32.

    Takes every form: implicit and explicit output, ellipsis, letters repeated within an operand
    (a diagonal), broadcast lengths of 1, and NumPy's alternating operands and index lists.
    optimize: as in NumPy, the order in which the products are taken.
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _from_lists(subscripts, *operands)
    operands = as_arrays(*operands, name="einsum")
    if any(wide(x) is not x for x in operands):
        y = einsum(subscripts, *map(wide, operands), optimize=optimize)
        xp = array_namespace(*map(array_of, operands))
        return astype(y, xp.result_type(*[x.dtype for x in operands]))
    inputs, output = _parsed(subscripts, operands)
    simple = [_distinct(x, letters) for x, letters in zip(operands, inputs)]
    lengths: dict[str, int] = {}
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
    if len(args) < 2 or any(
        not is_sequence(s) for s in (*args[1::2], *args[2 * (len(args) // 2) :])
    ):
        raise TypeError(
            "einsum takes subscripts, a text such as 'ij,jk->ik', and arrays; or arrays, each "
            f"followed by a list of labels; got {args[0]!r:.60}, ..."
        )
    operands, lists = args[: len(args) // 2 * 2 : 2], args[1::2]
    output = args[-1] if len(args) % 2 else None
    names = ascii_uppercase + ascii_lowercase  # in NumPy's order, which sorts capitals first
    for i in [i for indices in args[1::2] for i in indices if i is not Ellipsis]:
        if not 0 <= index(i) < len(names):
            raise ValueError(f"einsum: a label is a number from 0 to {len(names) - 1}, not {i}")
    words = [
        "".join("..." if i is Ellipsis else names[i] for i in indices)
        for indices in (*lists, *([output] if output is not None else []))
    ]
    text = ",".join(words[: len(operands)])
    return (text + "->" + words[-1] if output is not None else text), operands


def _parsed(subscripts, operands):
    """The letters of each operand and of the output, with the ellipsis written out."""
    text = subscripts.replace(" ", "")
    if any(s.count("...") > 1 for s in text.replace("->", ",").split(",")):
        raise ValueError(f"einsum: {subscripts!r} has two ellipses for one array")
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
    if ellipsis and "..." not in output:
        raise ValueError(
            f"einsum: the output of {subscripts!r} has no place for the {len(ellipsis)} axes that "
            "'...' stands for"
        )
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
