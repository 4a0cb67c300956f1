"""The strategies draw what they promise, and reach the cases they exist for."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from nanoautograd.testing import oracle
from nanoautograd.testing import strategies as some
from nanoautograd.testing.operations import OPERATIONS
from nanoautograd.testing.programs import Instruction, Program, Value

ROOT = Path(__file__).parents[2]


def reaches(strategy, condition):
    quick = settings(max_examples=2000, database=None, derandomize=True, phases=[Phase.generate])
    try:
        find(strategy, condition, settings=quick)
    except NoSuchExample:
        return False
    return True


@given(some.arrays(some.shapes(min_side=0), away=(0, 1), margin=0.1))
def test_arrays_keep_their_bounds_and_distances(x):
    assert x.dtype == np.float64
    assert np.all(np.abs(x) <= 2) and np.all(np.abs(x) >= 0.1 - 1e-12)
    assert np.all(np.abs(x - 1) >= 0.1 - 1e-12)
    assert np.unique(x).size == x.size


@given(some.arrays(3), some.arrays((2, 0)), some.masks(2), some.integers_below(5, 4))
def test_a_shape_is_what_numpy_takes_for_one(x, empty, mask, integers):
    assert (x.shape, empty.shape, mask.shape, integers.shape) == ((3,), (2, 0), (2,), (4,))


@pytest.mark.parametrize(
    "options",
    [
        dict(low=1, high=-1),
        dict(low=1, high=1),
        dict(high=np.inf),
        dict(low=-np.inf),
        dict(low=np.nan),
        dict(low=-1e308, high=1e308),
        dict(margin=-1),
        dict(low=0, high=0.1, away=(0.05,)),
        dict(shape=(2, -1)),
        dict(shape=2.5),
        dict(shape="ab"),
    ],
    ids=str,
)
def test_arrays_that_do_not_exist_are_refused_at_once(options):
    with pytest.raises(ValueError, match="got|no number"):
        some.arrays(**options)


@pytest.mark.parametrize("option", ["low", "high", "margin", "away"])
@pytest.mark.parametrize(
    "value",
    ["a", b"1", None, 1j, ["a"], (None,), object(), str, 0.5],
    ids=lambda value: "an object" if type(value) is object else str(value),
)
def test_what_is_no_number_is_named(option, value):
    if option != "away" and value == 0.5:
        some.arrays(**{option: value})
        return
    with pytest.raises(TypeError, match=f"arrays: .*{option}.* got "):
        some.arrays(**{option: value})


@pytest.mark.parametrize(
    "strategy",
    [
        some.integers_below("a"),
        some.integers_below(3, low=0.5),
        some.broadcastable_shapes("a"),
        some.masks("a"),
        some.indices(None),
    ],
)
def test_what_are_no_integers_is_named(strategy):
    with pytest.raises((TypeError, ValueError), match="integer.* got "):
        find(strategy, lambda drawn: True, settings=settings(database=None))


@pytest.mark.parametrize("options", [dict(ndim="a"), dict(ndim=1.0), dict(ndim=1, none="yes")])
def test_axes_are_of_a_number_of_dimensions(options):
    with pytest.raises(TypeError, match="axes: .* got "):
        some.axes(**options)


def test_values_that_would_not_be_distinct_are_refused():
    with pytest.raises(ValueError, match="no 3 distinct"):
        some.spread((3,), np.random.default_rng(0), 1, 1 + 4e-16)


@given(st.integers(1, 3).flatmap(some.broadcastable_shapes))
def test_shapes_that_are_drawn_broadcast(shapes):
    np.broadcast_shapes(*shapes)


@given(some.matmul_shapes())
def test_shapes_that_are_drawn_can_be_multiplied(shapes):
    a, b = shapes
    np.matmul(np.zeros(a), np.zeros(b))


def test_matmul_shapes_reach_every_form():
    for m in (1, 2, 3):
        for n in (1, 2, 3):
            assert reaches(some.matmul_shapes(), lambda s: (len(s[0]), len(s[1])) == (m, n))


@given(some.shapes().flatmap(lambda s: st.tuples(st.just(s), some.axes(len(s)))))
def test_axes_that_are_drawn_can_be_summed(drawn):
    shape, axis = drawn
    np.sum(np.zeros(shape), axis=axis)


def test_axes_reach_every_form():
    for kind in (type(None), int, tuple):
        assert reaches(some.axes(3), lambda axis: isinstance(axis, kind))
    assert reaches(some.axes(3), lambda axis: isinstance(axis, int) and axis < 0)
    assert reaches(some.axes(3), lambda axis: isinstance(axis, tuple) and len(axis) == 2)


@given(some.shapes(min_side=0).flatmap(lambda s: st.tuples(st.just(s), some.indices(s))))
def test_indices_that_are_drawn_fit_their_shape(drawn):
    shape, index = drawn
    np.zeros(shape)[index]


def parts(index):
    return index if isinstance(index, tuple) else (index,)


@pytest.mark.parametrize(
    "wanted",
    [
        lambda i: i is None,
        lambda i: i is Ellipsis,
        lambda i: isinstance(i, int) and i < 0,
        lambda i: isinstance(i, slice) and i.step is not None and i.step < 0,
        lambda i: isinstance(i, np.ndarray) and i.dtype == bool and i.any(),
        lambda i: isinstance(i, np.ndarray) and i.dtype != bool and np.unique(i).size < i.size,
    ],
    ids=["newaxis", "ellipsis", "negative", "backwards", "mask", "repeated"],
)
def test_indices_reach_every_form(wanted):
    assert reaches(some.indices((3, 4)), lambda index: any(map(wanted, parts(index))))


@given(some.einsums())
def test_einsums_that_are_drawn_can_be_computed(drawn):
    subscripts, shapes = drawn
    np.einsum(subscripts, *map(np.zeros, shapes))


@pytest.mark.parametrize(
    "wanted",
    [
        lambda text: "..." in text,
        lambda text: "->" not in text,
        lambda text: any(term.count("i") == 2 for term in text.split("->")[0].split(",")),
        lambda text: text.count(",") == 2,
    ],
    ids=["ellipsis", "implicit", "repeated", "three operands"],
)
def test_einsums_reach_every_form(wanted):
    assert reaches(some.einsums(), lambda drawn: wanted(drawn[0]))


# ---- random programs


@given(some.programs())
def test_programs_can_be_read_and_run(program):
    space = {"np": np, "nag": Library()}
    exec(repr(program), space)
    inputs = [space[f"v{n}"] for n in range(len(program.inputs))]
    results = space["program"](*inputs)
    results = results if isinstance(results, tuple) else (results,)
    for a, b in zip(results, program.in_numpy(), strict=True):
        np.testing.assert_array_equal(a, b)


class Library:
    """`nag` as the printed program sees it."""

    def __getattr__(self, name):
        return self if name == "functional" else oracle.find(name)


def test_programs_reach_what_they_exist_for():
    def uses(program):
        return [
            v.number for step in program.instructions for v in step.args if isinstance(v, Value)
        ]

    assert reaches(some.programs(), lambda p: len(p.outputs) > 2)
    assert reaches(some.programs(), lambda p: len({len(x.shape) for x in p.inputs}) > 1)
    assert reaches(some.programs(), lambda p: any(uses(p).count(n) > 2 for n in uses(p)))
    assert reaches(some.programs(), lambda p: len(p.instructions) > 4)
    for name in ("matmul", "getitem", "split", "sort", "concatenate", "logsumexp", "where"):
        assert reaches(some.programs(), lambda p: any(s.name == name for s in p.instructions))


def test_a_failing_program_shrinks_to_the_smallest():
    smallest = find(
        some.programs(),
        lambda p: any(s.name == "tanh" for s in p.instructions),
        settings=settings(database=None, derandomize=True, max_examples=2000),
    )
    assert [step.name for step in smallest.instructions] == ["tanh"]
    assert all(x.size == 1 for x in smallest.inputs)


def test_a_program_prints_as_python():
    program = Program(
        (np.array([1.0, 2.0]),),
        (
            Instruction("tanh", (Value(0),), {}, (1,)),
            Instruction("concatenate", ([Value(0), Value(1)],), {"axis": 0}, (2,)),
        ),
        (2,),
    )
    assert repr(program) == (
        "def program(v0):\n"
        "    v1 = nag.tanh(v0)\n"
        "    v2 = nag.concatenate([v0, v1], axis=0)\n"
        "    return v2\n"
        "v0 = np.array([1.0, 2.0])"
    )


@pytest.mark.parametrize("name", OPERATIONS)
def test_rows_of_the_table_are_calls_of_their_operation(name):
    @settings(max_examples=5)
    @given(OPERATIONS[name].calls)
    def check(call):
        assert [step.name for step in call.instructions] == [name]
        assert all(x.dtype == np.float64 for x in call.inputs)

    check()


@pytest.mark.parametrize("name", ["strategies", "operations", "programs"])
def test_without_hypothesis_it_is_said_what_to_install(name):
    code = f"import sys; sys.modules['hypothesis'] = None; from nanoautograd.testing import {name}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.endswith(
        f"ImportError: nanoautograd.testing.{name} needs the package hypothesis: "
        "pip install hypothesis\n"
    )
