"""The comparison that every hand-derived operation has to pass."""

from importlib import import_module
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd import backends
from nanoautograd.backends import threads
from nanoautograd.backends.sums import unbroadcast_as
from nanoautograd.custom_vjp import given_needs
from nanoautograd.kernels import cpu
from nanoautograd.testing import gradcheck

CLOSE = {"float64": {"rtol": 1e-9, "atol": 1e-10}, "float32": {"rtol": 5e-4, "atol": 5e-5}}


class Form(NamedTuple):
    """One way to compute an operation: its functions in nanoautograd/manual, or with `forward` and
    `backward` of kernels/cpu. options: some to call it with."""

    name: str
    where: str
    forward: Callable
    backward: Callable
    reference: Callable
    options: dict

    def __repr__(self):
        return "-".join([self.name, self.where, *map(str, self.options.values())])


def forms(*names):
    """All forms of operations, by the names of their files, or such a name and options."""
    found = []
    for name in names:
        name, options = (name, {}) if type(name) is str else name
        manual = import_module(f"nanoautograd.manual.{name}")
        found.append(
            Form(name, "manual", manual.forward, manual.backward, manual.reference, options)
        )
        if (Path(cpu.__file__).parent / f"{name}.py").exists():
            fast = import_module(f"nanoautograd.kernels.cpu.{name}")
            found.append(Form(name, "cpu", fast.forward, fast.backward, manual.reference, options))
    return found


def each_form(*names):
    """Runs a test with `module`, each form of operations, and `backend`, the libraries that it is
    for: kernels/cpu is for NumPy alone."""
    cases = [
        pytest.param(backend, form, marks=[pytest.mark.gpu] * (backend == "cupy"))
        for form in forms(*names)
        for backend in (("numpy", "strict", "cupy") if form.where == "manual" else ("numpy",))
    ]
    return pytest.mark.parametrize("backend, module", cases, indirect=["backend"], ids=str)


def each_form_on_numpy(*names, where=("manual", "cpu")):
    """The same for a test without a `backend`."""
    found = [form for form in forms(*names) if form.where in where]
    return pytest.mark.parametrize("module", found, ids=str)


def as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


def is_float(a):
    return a is not None and backends.is_float(a.dtype)


def close(a, b, what, **tolerance):
    """Two arrays agree in shape and dtype, and in value as closely as the dtype allows."""
    assert (a.shape, a.dtype) == (b.shape, b.dtype), what
    np.testing.assert_allclose(a, b, **(tolerance or CLOSE[b.dtype.name]), err_msg=what)


def there(backend, options):
    """The options with their arrays on `backend`."""
    return {k: backend.array(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}


def by_hand(backend, module, arrays, gs=None, needs=None, seed=0, **options):
    """`forward` and `backward` on `backend`: outputs, cotangents and gradients, in NumPy.

    The cotangents are random unless given. Fails if anything that was passed in was written to.
    """
    here = [a if a is None else backend.array(a) for a in arrays]
    out, cache = module.forward(*here, **there(backend, options))
    outs = [np.asarray(backend.numpy(o)) for o in as_tuple(out)]
    if gs is None:
        rng = np.random.default_rng(seed)
        gs = [rng.standard_normal(o.shape).astype(o.dtype) for o in outs]
    gs_here = [backend.array(g) for g in gs]
    dout = tuple(gs_here) if isinstance(out, tuple) else gs_here[0]
    ds = given_needs(module.backward)(dout, cache, needs)
    for given, now in zip([*arrays, *gs], [*here, *gs_here], strict=True):
        if given is not None:
            np.testing.assert_array_equal(backend.numpy(now), given, "this was written to")
    assert len(ds) >= len(arrays)
    return outs, gs, [None if d is None else backend.numpy(d) for d in walked(here, ds, needs)]


def walked(arrays, ds, needs=None):
    """What the walk makes of the gradients that `backward` gives: nothing of those that nobody
    wants, and of the others one in the shape and dtype of its array."""
    return [
        unbroadcast_as(d, a.shape, a.dtype) if d is not None and is_float(a) and need else None
        for a, d, need in zip(arrays, ds, needs or [True] * len(arrays))
    ]


def by_composition(backend, module, arrays, gs, **options):
    """Outputs and gradients of `reference`, by the engine."""
    xs = [a if a is None else backend.tensor(a, requires_grad=is_float(a)) for a in arrays]
    outs = as_tuple(module.reference(*xs, **there(backend, options)))
    wanted = [x for x in xs if x is not None and x.requires_grad]
    ds = iter(
        nag.autograd.grad(
            outs, wanted, [nag.Tensor(backend.array(g)) for g in gs], allow_unused=True
        )
    )
    ds = [next(ds) if is_float(a) else None for a in arrays]
    return ([backend.numpy(o) for o in outs], [d if d is None else backend.numpy(d) for d in ds])


def agree(backend, module, arrays, seed=0, **options):
    """By hand = reference = finite differences for every floating argument; arrays are float64."""
    outs, gs, ds = by_hand(backend, module, arrays, seed=seed, **options)
    outs2, ds2 = by_composition(backend, module, arrays, gs, **options)
    for a, b in zip(outs, outs2, strict=True):
        close(a, b, "the output, by hand and from primitives")
    for i, (a, d, d2) in enumerate(zip(arrays, ds, ds2, strict=True)):
        if not is_float(a):
            assert d is None
            continue
        assert (d.shape, d.dtype) == (a.shape, a.dtype)
        d2 = np.zeros_like(a) if d2 is None else d2
        close(d, d2, f"the gradient of argument {i}, by hand and from primitives")
    # Where nothing depends on an array, to rounding, there is nothing to be seen by differences.
    varied = [i for i, d in enumerate(ds) if d is not None and np.any(abs(d) > 1e-13)]
    differences(module, arrays, varied, seed, **options)


def differences(module, arrays, varied, seed, **options):
    """By hand = finite differences for the arrays with the numbers `varied`, in all elements that
    are finite: -inf in a mask stays."""
    at = {i: np.isfinite(arrays[i]) for i in varied}

    def forward(*xs):
        whole = list(arrays)
        for x, (i, finite) in zip(xs, at.items(), strict=True):
            whole[i] = arrays[i].copy()
            whole[i][finite] = x
        return module.forward(*whole, **options)

    def vjp(g, *xs):
        ds = walked(arrays, module.backward(g, forward(*xs)[1]))
        return [ds[i][finite] for i, finite in at.items()]

    if at:
        xs = [arrays[i][finite] for i, finite in at.items()]
        gradcheck(lambda *xs: forward(*xs)[0], xs, vjp=vjp, seed=seed)


def each_alone(backend, module, arrays, **options):
    """Asked for one gradient, `backward` gives that one, the same to the bit, and no other."""
    _, gs, ds = by_hand(backend, module, arrays, **options)
    for i in range(len(arrays)):
        needs = tuple(i == j for j in range(len(arrays)))
        _, _, only = by_hand(backend, module, arrays, gs, needs, **options)
        for j, (a, b) in enumerate(zip(only, ds)):
            if i != j or b is None:
                assert a is None
            else:
                np.testing.assert_array_equal(a, b)


def same_by_blocks(module, arrays, **options):
    """Forward and backward give the same, to the bit, for any number of threads; and in blocks of
    seven numbers the same as in one, but for the rounding of sums."""

    def results(block, n):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threads, "BLOCK", block)
            patch.setattr(threads._team, "size", n)
            out, cache = module.forward(*arrays, **options)
            rng = np.random.default_rng(0)
            gs = [np.asarray(rng.standard_normal(y.shape), y.dtype) for y in as_tuple(out)]
            ds = module.backward(tuple(gs) if isinstance(out, tuple) else gs[0], cache)
            return [*as_tuple(out), *(d for d in ds if d is not None)]

    small = [results(7, n) for n in (1, 2, 3)]
    for a, b, c, whole in zip(*small, results(1 << 30, 1), strict=True):
        assert a.dtype == whole.dtype and a.shape == whole.shape
        assert a.tobytes() == b.tobytes() == c.tobytes()
        close(a, whole, "in blocks")
