"""Kernels beside their references: the same call by both, on any device."""

import numpy as np

from nanoautograd.backends import to_device, to_numpy
from nanoautograd.custom_vjp import given_needs
from nanoautograd.kernels.cuda.runtime.precision import matmul_precision

# Of a kernel in that dtype, beside float64. What is written in bfloat16 is rounded by up to 2⁻⁸,
# 4e-3; a little more is lost where such numbers are read again.
TOLERANCE = {"float32": 3e-5, "float64": 1e-10, "bfloat16": 6e-3}


def drawn(case, shape, dtype, seed):
    """(args, options) of a call."""
    args, options = case.make(
        np.random.default_rng(seed),
        np.dtype("float32" if dtype == "bfloat16" else dtype).name,
        *shape,
    )
    if dtype == "bfloat16":
        from ml_dtypes import bfloat16

        args = [a.astype(bfloat16) if is_float(a) else a for a in args]
    return args, options


def is_float(a):
    return isinstance(a, np.ndarray) and a.dtype.name in TOLERANCE


def copied(a, device):
    """A copy on a device, its address as far from a multiple of 16 bytes as here."""
    if not isinstance(a, np.ndarray):
        return a
    more = a.ctypes.data % 16 // a.itemsize
    flat = to_device(np.concatenate([np.zeros(more, a.dtype), a.ravel()]), device)
    return flat[more:].reshape(a.shape)


def results_of(case, module, args, options, device="cpu", needs=None, seed=0):
    """Results and gradients of `module`, for gradients that arrive drawn with `seed`; as NumPy
    arrays or None."""
    if device != "cpu" or case.results:  # they are written to
        args = [copied(a, device) for a in args]
        options = {name: copied(a, device) for name, a in options.items()}
    with matmul_precision(case.precision):
        if case.results:
            found = case.results(module, args, options)
        else:
            out, cache = module.forward(*args, **options)
            outs = out if isinstance(out, (tuple, list)) else (out,)
            rng = np.random.default_rng(seed)  # multiples of 1/32: exact in every dtype
            dout = [
                to_device((rng.integers(-64, 65, y.shape) / 32).astype(y.dtype), device)
                for y in outs
            ]
            backward = given_needs(module.backward)
            found = *outs, *backward(dout if outs is out else dout[0], cache, needs)
    return [None if a is None else to_numpy(a) for a in found]


def compare(case, args, options, device="cpu", needs=None, seed=0, module=None, looser=1):
    """Raises AssertionError where a kernel, or another module, differs from the lines of manual/ in
    float64 by more than the tolerance, which is so many times `looser`."""

    def exact(a):
        return a.astype(np.float64) if is_float(a) else a

    dtype = next(a.dtype.name for a in args if is_float(a))
    asked = {name: a for name, a in options.items() if name != "needs"}
    assert case.results or case.kernel.takes(*args, **asked)
    with np.errstate(all="ignore"):
        found = results_of(case, module or case.kernel, args, options, device, needs, seed)
        right = results_of(
            case,
            case.reference,
            [exact(a) for a in args],
            {name: exact(a) for name, a in asked.items()},
            "cpu",
            needs,
            seed,
        )
    assert len(found) == len(right)  # of manual/ some that are not wanted, too
    tolerance = looser * max(case.tolerance, TOLERANCE[dtype])
    for i, (a, b) in enumerate(zip(found, right)):
        if a is None:
            continue
        assert a.shape == b.shape, f"result {i}"
        assert a.dtype.name in (dtype, {"bfloat16": "float32"}.get(dtype)), f"result {i}"
        scale = np.abs(b[np.isfinite(b)]).max(initial=1.0)
        np.testing.assert_allclose(
            a.astype(b.dtype), b, rtol=0, atol=tolerance * scale, err_msg=f"{i}"
        )
