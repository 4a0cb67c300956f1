"""The roofline computes each product of a step, and moves each of its bytes: no more, no less."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import roofline
from benchmarks.case import Product, Work, attention, linear
from benchmarks.cases import make
from benchmarks.registry import peer
from nanoautograd.backends import products


def test_a_layer_has_three_products_and_causal_attention_half_of_them():
    assert sum(p.flops for p in linear(5, 3, 4)) == 3 * 2 * 5 * 3 * 4
    assert sum(p.flops for p in linear(5, 3, 4, dx=False)) == 2 * 2 * 5 * 3 * 4
    dense, causal = (sum(p.flops for p in attention(6, 8, 4, c)) for c in (False, True))
    assert dense == 6 * (6 * 2 * 8 * 8 * 4) and causal == dense / 2


def test_the_products_of_a_step_are_what_the_hand_derived_gradient_computes(monkeypatch):
    """Counted as they are called, in a GPT: all but the half of attention that is masked, which is
    not left out in blocks as small as this one."""
    from benchmarks.cases.gpt import gradient_by_hand
    from nanoautograd.backends import threads

    counted, product = [], np.matmul

    def matmul(a, b, out=None):
        result = product(a, b, out=out)
        counted.append(2 * result.size * a.shape[-1])
        return result

    monkeypatch.setattr(np, "matmul", matmul)
    monkeypatch.setattr(threads, "LEAST", 0)  # so that every product is np.matmul's
    monkeypatch.setattr(threads._team, "piece_count", 2)
    case = make("gpt", {"layers": 2, "width": 8, "heads": 2, "T": 6, "B": 2, "vocabulary": 11})
    a = case.arrays("float64")
    gradient_by_hand(a["weights"], a["x"], a["y"], case.layers, case.heads)
    scores = 2 * case.B * case.heads * case.T**2 * 4
    assert sum(counted) == case.work().flops + case.layers * 6 * scores // 2


def test_the_roofline_computes_each_product_as_often_as_it_says(monkeypatch):
    roof = peer("products")
    roof.start(1, "float32")
    done = []

    class Case:
        def work(self):
            return Work((Product(2, 3, 4), Product(5, 6, 7, count=3), Product(1, 1, 2, 2, 3)))

    step = roof.products(Case(), "float32")
    monkeypatch.setattr(np, "matmul", lambda a, b, out: done.append((a.shape, b.shape, out.shape)))
    step()
    one, other = ((5, 7), (7, 6), (5, 6)), ((2, 1, 2), (2, 2, 1), (2, 1, 1))
    assert done == [((2, 4), (4, 3), (2, 3)), one, other, one, other, one, other]


def test_the_products_of_the_roofline_are_in_the_precision_that_is_measured(monkeypatch):
    """Whoever computes the products of a device's arrays computes these, and its operands are made
    before the time is taken."""
    made, done = [], []

    class InHalf:
        def operands(a, b):
            made.append((a.shape, b.shape))
            return a.astype("float16"), b.astype("float16")

        def matmul(a, b, out):
            done.append((a.dtype.name, b.dtype.name, out.dtype.name, out.shape))

    monkeypatch.setitem(products.COMPUTED_BY, "strict", InHalf)
    roof = peer("products@strict")
    roof.start(1, "float32")
    work = Work((Product(2, 3, 4), Product(5, 6, 7, count=2)))
    step = roof.products(SimpleNamespace(work=lambda: work), "float32")
    assert made == [((2, 4), (4, 3)), ((5, 7), (7, 6))] and not done
    step()
    step()
    assert len(made) == 2
    assert (
        done == [("float16", "float16", "float32", shape) for shape in [(2, 3), (5, 6), (5, 6)]] * 2
    )


def test_products_have_arrays_of_their_own_up_to_an_amount(monkeypatch):
    monkeypatch.setattr(roofline, "DISTINCT", 3 * 40)
    arrays = roofline.Arrays(np, "float32")
    given_out = [arrays.array((10,)) for _ in range(7)]
    assert len({id(a) for a in given_out}) == 3 and given_out[3] is given_out[0]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("moved", [1, 1000, 3_000_000])
def test_the_copy_moves_all_bytes(monkeypatch, moved, threads):
    monkeypatch.setattr(roofline, "LARGEST", 1 << 20)
    roof = peer("copy")
    roof.start(threads, "float32")

    class Case:
        def work(self):
            return Work((), moved)

    step, copied = roof.copy(Case(), "float32"), []
    monkeypatch.setattr(np, "copyto", lambda to, a: copied.append(a.nbytes))
    step()
    assert sum(copied) == max(1, moved * 4 // 2)
