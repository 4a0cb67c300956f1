"""Every kernel, run on the CPU: against its reference; its mutants; under AddressSanitizer;
compiled for GPUs."""

import inspect
import re

import mutants
import numpy as np
import pytest
from cases import ALL, CASES, IN_BFLOAT16
from comparing import compare, drawn, results_of
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoautograd.kernels.cuda import emulator
from nanoautograd.kernels.cuda.runtime import compiled
from nanoautograd.kernels.cuda.runtime.source import HERE, source

CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
EACH = pytest.mark.parametrize("case", ALL, ids=lambda case: case.title)
IN_EACH_DTYPE = pytest.mark.parametrize(  # compiled once more for float64, which takes long
    "case, dtype",
    [
        pytest.param(case, dtype, marks=[pytest.mark.slow] * (dtype == "float64"))
        for case in ALL
        for dtype in case.dtypes
    ],
    ids=lambda x: getattr(x, "title", x),
)
needs_compiler = pytest.mark.skipif(not emulator.available(), reason="needs g++")


@needs_compiler
@IN_EACH_DTYPE
@given(data=st.data())
def test_computes_what_its_reference_does(case, dtype, data):
    """Any shape, any order of the threads."""
    shape = data.draw(case.shapes)
    args, options = drawn(case, shape, dtype, data.draw(st.integers(0, 99)))
    with emulator.emulated(seed=data.draw(st.integers(0, 5))):
        compare(case, args, options)


@needs_compiler
@EACH
def test_the_order_of_the_threads_changes_no_bit(case):
    for shape in case.examples:
        args, options = drawn(case, shape, "float32", 1)
        results = []
        for seed in range(4):
            with emulator.emulated(seed=seed):
                results.append(results_of(case, case.kernel, args, options))
        for other in results[1:]:
            for a, b in zip(results[0], other):
                assert a is b is None or a.tobytes() == b.tobytes()


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("case", IN_BFLOAT16, ids=lambda case: case.title)
def test_in_bfloat16_kernels_agree_but_for_rounding(case):
    """As in float64, but for the rounding of what is written."""
    pytest.importorskip("ml_dtypes")
    for shape in case.examples:
        with emulator.emulated(seed=1):
            compare(case, *drawn(case, shape, "bfloat16", 0))


@needs_compiler
@CASE
def test_inputs_are_left_alone_and_so_is_what_nobody_needs(case):
    args, options = drawn(case, case.examples[0], "float32", 2)
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    kinds = [p.kind for p in inspect.signature(case.reference.forward).parameters.values()]
    n = max(len(args), kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD))
    with emulator.emulated(seed=1):
        for i, a in enumerate(args):
            if isinstance(a, np.ndarray) and a.dtype.kind == "f":
                compare(case, args, options, needs=tuple(i == j for j in range(n)))
    for a, b in zip(args, before):
        assert a is b or a.tobytes() == b.tobytes()


# ---- under AddressSanitizer, the mutants and the kernel itself

MUTANTS = mutants.plant()


def each(found, name):
    """Parameters, of which a default run takes two alone: AddressSanitizer takes its time."""

    def marks(x):
        is_quick = name(x).removesuffix(".cu") in ("softmax", "cross_entropy")
        return [] if is_quick else [pytest.mark.slow]

    return [pytest.param(x, id=name(x), marks=marks(x)) for x in found]


@needs_compiler
@pytest.mark.parametrize("case", each(ALL, lambda case: case.title))
def test_stays_within_its_arrays(case):
    """With the switches of the mutants in place."""
    done = mutants.run(case, 0)
    assert done.returncode == 0 and done.stdout == "0\n", done.stderr[-3000:]


@needs_compiler
@pytest.mark.parametrize("file", each(sorted({mutant.file for mutant in MUTANTS}), str))
def test_mutants_are_caught(file):
    """Every barrier, and of the other mutants one in four; all of them in the thorough run. Some
    case that compiles the file has to notice."""
    all_of_them = not settings.default.derandomize
    left = [
        i
        for i, mutant in enumerate(MUTANTS, 1)
        if mutant.file == file and (all_of_them or mutant.is_barrier or i % 4 == 0)
    ]
    for case in ALL:
        if left and file in (f"{case.name}.cu", *case.headers):
            done = mutants.run(case, *left)
            assert done.returncode == 0, done.stderr[-3000:]
            left = [int(number) for number in done.stdout.split()]
    assert not left, "\n".join(str(MUTANTS[number - 1]) for number in left)


@needs_compiler
def test_an_index_out_of_range_is_found():
    case = next(case for case in ALL if case.name == "cross_entropy")
    number = next(
        i
        for i, mutant in enumerate(MUTANTS, 1)
        if mutant.file == "cross_entropy.cu" and "<=" in mutant.wrong
    )
    done = mutants.run(case, number)
    assert done.stdout == "\n"
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr, done.stderr[-3000:]


# ---- for a GPU


@pytest.mark.skipif(compiled.nvrtc_path() is None, reason="needs nvidia-cuda-nvrtc")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize(
    "source",
    [source(case.file, **macros) for case in ALL for macros in case.sources],
    ids=str,
)
def test_compiles_for_a_gpu(source, architecture):
    """Without a warning, and with all registers on the chip."""
    uses = compiled.compiled(source, architecture)
    assert {use.kernel for use in uses} == set(source.kernels)
    assert not [use for use in uses if use.spills], uses


def test_the_options_that_are_listed_are_those_of_cupy():
    cupy = pytest.importorskip("cupy")
    if not cupy.__version__.startswith("14.2"):
        pytest.skip("the list is that of CuPy 14.2")
    listed = [option.format("sm_90") for option in compiled.CUPY_14_2]
    asked = compiled.cupy_options("sm_90")
    assert [option for option in asked if not option.startswith("-I")] == listed


def test_what_is_compiled_is_what_cupy_compiles(monkeypatch):
    """With the options that it adds by itself, and with none but a report beside them."""
    given = []
    monkeypatch.setattr(compiled, "nvrtc_path", lambda: "libnvrtc.so")
    monkeypatch.setattr(compiled, "_compile", lambda _, options: given.extend(options) or "")
    compiled.compiled(source("silu.cu", T="float"), "sm_90")
    assert {"-ftz=true", "--device-as-default-execution-space"} <= set(given)
    assert given == [*compiled.cupy_options("sm_90"), "--ptxas-options=-v"]


@pytest.mark.parametrize("path", sorted(HERE.glob("*.cu*")), ids=lambda path: path.name)
def test_constants_of_a_file_are_known_to_the_compiler(path):
    """CuPy makes functions and variables those of the device, where no constant may be computed
    before the kernel runs."""
    wrong = re.findall(r"^(?:static |inline )*const [^(]*=.*", path.read_text("utf-8"), re.M)
    assert not wrong, f"these must be constexpr: {wrong}"


def test_the_table_says_which_macros_launchers_give():
    text = (HERE.parent / "README.md").read_text("utf-8")
    section = text.partition("## Macros")[2].partition("\n## ")[0]
    given = {macro for case in ALL for macros in case.sources for macro in macros}
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.M)) == given | {"LAUNCHER_EXPECTS"}


def test_every_kernel_has_a_case():
    files = {path.stem for path in HERE.glob("*.cu")}
    files |= {f"naive/{path.stem}" for path in HERE.parent.glob("naive/*.cu")}
    assert files == {case.name for case in ALL}
