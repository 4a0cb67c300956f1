"""The kernels that are written to be read: the fast ones compute the same, and no trick is in them.

(test_kernels.py holds them to manual/, tests their mutants, and compiles them.)
"""

import re

import numpy as np
import pytest
from cases import CASES, NAIVE
from comparing import TOLERANCE, drawn, results_of
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoautograd.kernels.cuda import emulator
from nanoautograd.kernels.cuda.runtime.source import HERE

FAST = {case.title: case for case in CASES}
FILES = sorted(HERE.parent.glob("naive/*.cu"))


@settings(max_examples=settings.default.max_examples * 6 // 5)
@pytest.mark.skipif(not emulator.available(), reason="needs g++")
@pytest.mark.parametrize("naive", NAIVE, ids=lambda case: case.title)
@given(data=st.data())
def test_the_fast_kernels_compute_the_same(naive, data):
    """Shapes that the fast ones take: heads of 8, 16 or 24 features."""
    fast = FAST[naive.name.removeprefix("naive/")]
    shape, dtype = list(data.draw(naive.shapes)), data.draw(st.sampled_from(naive.dtypes))
    if naive.name == "naive/attention":
        shape[3] = 8 * data.draw(st.integers(1, 3))
    args, options = drawn(naive, shape, dtype, data.draw(st.integers(0, 99)))
    assert naive.kernel.takes(*args, **options) and fast.kernel.takes(*args, **options)
    with emulator.emulated(seed=1), np.errstate(all="ignore"):  # a mean of no rows is nan
        ours, theirs = [results_of(case, case.kernel, args, options) for case in (naive, fast)]
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            scale = np.abs(b[np.isfinite(b)]).max(initial=1.0)
            np.testing.assert_allclose(a, b, rtol=0, atol=2 * TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_there_are_no_tricks_in_them(file):
    """Each thread for itself, from memory to memory, in code that says all that it does."""
    tricks = r"#\w+|template|__shared__|SHARED|__sync\w+|__shfl\w+|atomic\w+|volatile|asm|inline"
    assert not re.findall(tricks, re.sub(r"//.*", "", file.read_text("utf-8")))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_result_has_its_equation(file):
    """What a kernel writes to an array comes with an equation of manual/ beside it."""
    writes = re.findall(r"^ +(?:for \(.*\n *)?\w+\[[^=]*\] = .*", file.read_text("utf-8"), re.M)
    without = {line.strip() for line in writes if " // " not in line}
    assert len(writes) > len(without)
    assert without <= {"m[n] = m_n;", "Z[n] = Z_n;"}  # of which it computed both above
