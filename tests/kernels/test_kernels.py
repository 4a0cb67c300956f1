"""Every kernel, run on the CPU: against its twin, with mistakes planted, under AddressSanitizer;
compiled for GPUs."""

import inspect
import os
import re
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import OTHERS, TWINS

from nanoautograd.kernels import compiled, emulator
from nanoautograd.kernels.precision import matmul_precision
from nanoautograd.kernels.source import HERE, Source, source

ALL = TWINS + OTHERS
TWIN = pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.title)
EACH = pytest.mark.parametrize("twin", ALL, ids=lambda twin: twin.title)
needs_compiler = pytest.mark.skipif(not emulator.available(), reason="needs g++")
TOLERANCE = {"float32": 3e-5, "float64": 1e-10}


def flat(results):
    return results if isinstance(results, (tuple, list)) else (results,)


def results_of(twin, module, args, options, needs, seed):
    """Results and gradients of `module`, for gradients that arrive drawn with `seed`."""
    if twin.results:
        return twin.results(module, args, options)
    with matmul_precision(twin.precision):
        out, cache = module.forward(*args, **options)
        rng = np.random.default_rng(seed)
        dout = [rng.standard_normal(y.shape).astype(y.dtype) for y in flat(out)]
        d = module.backward(dout if isinstance(out, (tuple, list)) else dout[0], cache, needs)
    return [*flat(out), *d]


def compare(twin, args, options, needs=None, seed=0):
    """Raises AssertionError where a kernel differs from the lines of manual/ in float64."""
    def exact(a):
        is_float32 = isinstance(a, np.ndarray) and a.dtype == np.float32
        return a.astype(np.float64) if is_float32 else a

    dtype = next(a.dtype.name for a in args if isinstance(a, np.ndarray) and a.dtype.kind == "f")
    assert twin.results or twin.kernel.takes(*args, **options)
    with np.errstate(all="ignore"):
        found = results_of(twin, twin.kernel, args, options, needs, seed)
        right = results_of(twin, twin.by_hand, [exact(a) for a in args],
                           {name: exact(a) for name, a in options.items()}, needs, seed)
    assert len(found) == len(right)
    tolerance = twin.tolerance or TOLERANCE[dtype]
    for i, (a, b) in enumerate(zip(found, right)):
        if a is None and (b is None or needs):
            continue
        assert a.dtype.name == dtype and a.shape == b.shape, f"result {i}"
        scale = np.abs(b[np.isfinite(b)]).max(initial=1.0)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=f"{i}")


def drawn(twin, shape, dtype, seed):
    return twin.make(np.random.default_rng(seed), dtype, *shape)


@needs_compiler
@EACH
@settings(max_examples=40)
@given(data=st.data())
def test_is_its_twin(twin, data):
    """Any shape, any order of the threads."""
    shape, dtype = data.draw(twin.shapes), data.draw(st.sampled_from(twin.dtypes))
    args, options = drawn(twin, shape, dtype, data.draw(st.integers(0, 99)))
    with emulator.emulated(seed=data.draw(st.integers(0, 5))):
        compare(twin, args, options)


@needs_compiler
@EACH
def test_the_order_of_the_threads_changes_no_bit(twin):
    for shape in twin.examples:
        args, options = drawn(twin, shape, "float32", 1)
        results = []
        for seed in range(4):
            with emulator.emulated(seed=seed):
                results.append(results_of(twin, twin.kernel, args, options, None, 0))
        for other in results[1:]:
            for a, b in zip(results[0], other):
                assert a is b is None or a.tobytes() == b.tobytes()


@needs_compiler
@TWIN
def test_inputs_are_left_alone_and_so_is_what_nobody_needs(twin):
    args, options = drawn(twin, twin.examples[0], "float32", 2)
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    kinds = [p.kind for p in inspect.signature(twin.by_hand.forward).parameters.values()]
    n = max(len(args), kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD))
    with emulator.emulated(seed=1):
        for i, a in enumerate(args):
            if isinstance(a, np.ndarray) and a.dtype.kind == "f":
                compare(twin, args, options, tuple(i == j for j in range(n)))
    for a, b in zip(args, before):
        assert a is b or a.tobytes() == b.tobytes()


# ---- mistakes planted in the source

def mistakes(text):
    """(what, changed text): each barrier gone, one at a time; each index that begins with
    a thread's number shifted; each comparison of a loop's end one too far."""
    for pattern, other in ((r"(__syncthreads|grid_barrier)\([^;{]*\);", ""),
                           (r"(?<== )threadIdx\.x(?=; )", r"\g<0> + 1"),
                           (r"(?<=blockDim\.[xy] \+ )threadIdx\.[xy](?=[;)])", r"\g<0> + 1"),
                           (r"(?<=; )(\w+) < (\w+)(?=; )", r"\1 <= \2")):
        for match in re.finditer(pattern, text):
            line = text.count("\n", 0, match.start()) + 1
            changed = text[:match.start()] + match.expand(other) + text[match.end():]
            yield f"{match[0]} -> {match.expand(other) or 'nothing'}, line {line}", changed


@contextmanager
def planted(old, new):
    """In here the text of the kernels is another one."""
    def with_includes(*args):
        return right(*args).replace(old, new)

    module = sys.modules[Source.__module__]
    right, module._with_includes = module._with_includes, with_includes
    source.cache_clear()
    try:
        yield
    finally:
        module._with_includes = right
        source.cache_clear()


def caught(twin):
    """Does anything show that the kernels are wrong? In a process of its own: they may write where
    they should not, and bring it down."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] != 0
    try:
        os._exit(failure(twin) is not None)
    finally:
        os._exit(2)


def failure(twin):
    """What shows that the kernels are wrong, or None."""
    for shape in twin.examples:
        for seed in range(6):
            args, options = drawn(twin, shape, "float32", seed)
            try:
                with emulator.emulated(seed=seed):
                    compare(twin, args, options)
            except (AssertionError, emulator.KernelError, IndexError) as found:
                return found
    return None


INCLUDES = ".cuh\"\n"           # the end of the last line that includes a file


@needs_compiler
@EACH
def test_planted_mistakes_are_caught(twin):
    """Every barrier, and of the other mistakes the first few; all of them in the thorough run."""
    missed, n = [], 0
    for file in (f"{twin.name}.cu", *twin.headers):
        text = (HERE / file).read_text("utf-8").split(INCLUDES)[-1]
        for i, (what, changed) in enumerate(mistakes(text)):
            if settings.default is settings.get_profile("default"):
                if i % 4 and not re.match("__syncthreads|grid_barrier", what):
                    continue
            n += 1
            with planted(text, changed):
                found = caught(twin)
            # What is read or written out of range may change no result.
            if not found and sanitized(twin.title, text, changed).returncode == 0:
                missed.append(f"{file}: {what}")
    assert n and not missed, "\n".join(missed)


# ---- AddressSanitizer, in a process into which it was loaded first

def sanitized(*arguments):
    """The output of this file as a program."""
    library = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True,
                             check=True).stdout.strip()
    if not os.path.isabs(library):
        pytest.skip("g++ has no AddressSanitizer here")
    environment = {**os.environ, "LD_PRELOAD": library, "PYTHONPATH": os.pathsep.join(sys.path),
                   "ASAN_OPTIONS": "detect_leaks=0", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, __file__, *arguments], env=environment,
                          capture_output=True, text=True)


@needs_compiler
@EACH
def test_stays_within_its_arrays(twin):
    done = sanitized(twin.title)
    assert done.returncode == 0 and done.stdout == "clean\n", done.stderr[-3000:]


@needs_compiler
def test_an_index_out_of_range_is_found():
    done = sanitized("cross_entropy", "A v = load(x_n + c);", "A v = load(x_n + c + 1);")
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr, done.stderr[-3000:]


def run_sanitized(name, old="", new=""):
    twin = next(twin for twin in ALL if twin.title == name)
    with emulator.emulated(seed=1, sanitize=True), planted(old, new):
        for shape in twin.examples:
            args, options = drawn(twin, shape, "float32", 0)
            compare(twin, args, options)
    print("clean")


# ---- for a GPU

@pytest.mark.skipif(compiled.compiler() is None, reason="needs nvcc, or nvidia-cuda-nvrtc")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("source", [source(f"{twin.name}.cu", **macros) for twin in ALL
                                    for macros in twin.sources], ids=str)
def test_compiles_for_a_gpu(source, architecture):
    """Without a warning, and with all registers on the chip."""
    uses = compiled.compiled(source, architecture)
    assert {use.kernel for use in uses} == set(source.kernels)
    assert not [use for use in uses if use.spills], uses


def test_every_kernel_has_a_twin():
    files = {path.stem for path in HERE.glob("*.cu")}
    assert files == {twin.name for twin in ALL}


if __name__ == "__main__":
    run_sanitized(*sys.argv[1:])
