"""What is printed: Tensors, nodes, graphs, optimisers."""

import inspect
import re
import sys
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd import nn, optim


def leaf(x):
    return nag.Tensor(x, requires_grad=True)


# ---- Tensors


@given(st.lists(st.integers(0, 3), max_size=4), st.sampled_from(["float64", "float32", "int64"]))
def test_the_repr_of_a_tensor_tells_its_shape(shape, dtype):
    text = repr(nag.Tensor(np.ones(shape, dtype)))
    told = re.search(r"shape=(\(.*?\))", text)
    if told:
        assert eval(told[1]) == tuple(shape) and 0 in shape
    else:
        assert eval(text, {"tensor": nag.tensor, "float32": np.float32}).shape == tuple(shape)
    assert ("float32" in text) == (dtype == "float32")


def test_the_repr_of_many_numbers_tells_their_shape(backend):
    assert ", shape=(50, 100)" in repr(backend.tensor(np.ones((50, 100))))
    assert repr(backend.tensor(np.zeros((0, 3)))).startswith("tensor([], shape=(0, 3)")


@given(st.lists(st.integers(0, 2), max_size=3), st.sampled_from([".2f", "8.3e", "+g"]))
def test_a_format_is_of_one_number_or_refused(shape, spec):
    t = leaf(np.full(shape, 1.2345))
    if t.size == 1:
        assert format(t, spec) == format(1.2345, spec)
    else:
        with pytest.raises(TypeError, match=r"format t\[i\] or t.mean\(\), or write np.array2str"):
            format(t, spec)
    assert f"{t}" == str(t) == repr(t)


# ---- nodes and graphs


def test_nodes_say_which_operation_they_are_and_of_which_shapes():
    w = leaf([[0.5, -1.0], [2.0, 0.3]])
    y = w @ np.ones(2)
    assert repr(y._edge[0]) == "<node matmul of (2, 2) -> (2,) float64>"
    assert repr(w._edge[0]) == "<leaf (2, 2) float64>"
    a, b = nag.split(w, [1], axis=1)
    assert repr((a * b)._edge[0]) == "<node multiply of (2, 1), (2, 1) -> (2, 1) float64>"
    assert repr(a._edge[0]) == "<node split of (2, 2) -> (2, 1) float64, (2, 1) float64>"
    assert repr(F.softmax(w)._edge[0]) == "<node softmax of (2, 2) -> (2, 2) float64>"


def test_a_node_that_is_being_made_can_be_printed():
    """A debugger prints it, too."""
    seen = []

    def trace(frame, event, _):
        if "node" in frame.f_locals:
            seen.append(repr(frame.f_locals["node"]))
        return trace

    x, before = leaf(1.0), sys.gettrace()
    sys.settrace(trace)
    try:
        x * x
    finally:
        sys.settrace(before)
    assert {*seen} == {"<node that is being made>", "<node multiply of (), () -> () float64>"}


def test_the_graph_in_the_docstring_is_what_its_example_prints(capsys):
    text = inspect.getdoc(nag.graph_text)
    code, shown = (dedent(block).strip() for block in re.findall("(?:^ {4}.*\n)+", text, re.M))
    exec(code, {"nag": nag})
    assert capsys.readouterr().out.strip() == shown


def test_what_has_no_graph_and_what_has_one_without_operations():
    assert nag.graph_text(nag.Tensor([1.0])) == "constant (1,) float64"
    assert nag.graph_text(leaf(np.float32([1.0]))) == "leaf (1,) float32"
    with pytest.raises(TypeError, match="takes a Tensor, as a loss; got ndarray"):
        nag.graph_text(np.ones(2))
    for depth in (-1, 1.5, True, "2"):
        with pytest.raises(ValueError, match="depth is an integer of at least 0"):
            nag.graph_text(leaf(1.0), depth)


def test_each_result_of_several_is_named():
    a, b = nag.split(leaf(np.ones((2, 2))), 2)
    assert nag.graph_text(a * b).split("\n") == [
        "multiply (1, 2) float64",
        "  #1 split[0] (1, 2) float64",
        "    leaf (2, 2) float64",
        "  -> #1[1]",
    ]


@given(st.data())
def test_a_graph_is_shown_whole_each_node_once(data):
    """Graphs drawn at random: every node has one line, every other use is a reference to it."""
    values = [leaf(1.0), leaf(2.0)]
    for _ in range(data.draw(st.integers(1, 40))):
        a, b = (data.draw(st.sampled_from(values[-4:])) for _ in "ab")
        values.append(a + b)
    nodes = nag.core.backward.topological_order([values[-1]._edge])
    edges = sum(len(node.parents) for node in nodes)
    lines = nag.graph_text(values[-1]).split("\n")
    shown = [line for line in lines if "->" not in line]
    references = [line.split()[-1] for line in lines if "->" in line]
    assert len(shown) == len(nodes)
    continued = [line for line in lines[1:] if line[0] != " "]
    assert len(references) == edges - (len(nodes) - 1) + len(continued)
    numbers = [line.split()[0] for line in shown if "#" in line]
    assert len({*numbers}) == len(numbers) and {*references} == {*numbers}

    depth = data.draw(st.integers(0, 6))
    part = nag.graph_text(values[-1], depth).split("\n")
    assert max(len(line) - len(line.lstrip()) for line in part) <= 2 * depth
    assert len([line for line in part if "->" not in line]) <= len(nodes)
    assert (len(part) < len(lines)) == any(line.endswith(" ...") for line in part)


@pytest.mark.parametrize("step", [lambda h, w: h * w, lambda h, w: h * w + h, lambda h, w: -h])
def test_a_graph_of_ten_thousand_nodes(step):
    h = w = leaf(1.0)
    with np.errstate(over="ignore"):
        for _ in range(10_000):
            h = step(h, w)
    lines = nag.graph_text(h).split("\n")
    shown = [line for line in lines if "->" not in line]
    assert len(shown) == len(nag.core.backward.topological_order([h._edge]))
    assert max(map(len, lines)) < 100
    assert len(nag.graph_text(h, depth=3).split("\n")) < 20


# ---- what holds weights


def test_an_optimiser_shows_its_options():
    w, b = nn.Parameter(np.ones((2, 3))), nn.Parameter(np.ones(3))
    text = repr(optim.SGD([w, b], lr=0.1, momentum=0.9))
    assert text.startswith("SGD(2 parameters of 9 numbers, lr=0.1, momentum=0.9, ")
    text = repr(optim.AdamW([{"params": [w], "lr": 0.5}, {"params": b}], weight_decay=0.0))
    first, second = text.split("\n")
    assert first.startswith("AdamW(1 parameter of 6 numbers, lr=0.5, betas=(0.9, 0.999), ")
    assert second.strip().startswith("1 parameter of 3 numbers, lr=0.001, ")


def test_nothing_that_users_make_is_shown_by_its_address():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Dropout())
    w, x = model[0].weight, np.ones((1, 2, 4), np.float32)
    made = [model, w, nag.tanh, F.softmax(w)._edge[0], w._edge[0], nn.KVCache(x, x)]
    made += [optim.SGD([w]), optim.Adam([w]), optim.AdamW([w]), optim.AveragedModel(model)]
    made += [*model]
    for thing in made:
        assert " at 0x" not in repr(thing), thing
