"""Second derivatives of a hand-derived operation, held to its first ones."""

import numpy as np
from three_ways import as_tuple, is_float

import nanoautograd as nag


def second_order(backend, f, module, arrays, *, rtol=1e-6, **options):
    """The derivative of u·∇L along v, L the sum of all cubes of the outputs, for random u and v:
    that of `f` (Tensors, through `reference`) and differences of the gradient by `backward`.

    f: the function of Tensors; module: its forward and backward, with these options.
    """
    rng = np.random.default_rng(0)
    floating = [i for i, a in enumerate(arrays) if is_float(a)]
    us = [rng.standard_normal(np.shape(a)) for a in arrays]
    vs = [rng.standard_normal(np.shape(a)) for a in arrays]

    def slope_along_u(*arrays):
        out, cache = module.forward(*arrays, **options)
        gs = tuple(3 * y**2 for y in as_tuple(out))
        ds = module.backward(gs if isinstance(out, tuple) else gs[0], cache)
        return sum(np.sum(us[i] * ds[i]) for i in floating)

    ts = [a if a is None else backend.tensor(a, requires_grad=is_float(a)) for a in arrays]
    wanted = [ts[i] for i in floating]
    total = sum((y**3).sum() for y in as_tuple(f(*ts)))
    ds = nag.autograd.grad(total, wanted, create_graph=True)
    along_u = sum((d * nag.Tensor(backend.array(us[i]))).sum() for i, d in zip(floating, ds))
    np.testing.assert_allclose(backend.numpy(along_u.detach()), slope_along_u(*arrays), rtol=1e-10)
    dds = nag.autograd.grad(along_u, wanted, allow_unused=True)
    found = sum(np.sum(backend.numpy(dd) * vs[i]) for i, dd in zip(floating, dds) if dd is not None)

    def difference(h):
        ahead, behind = (
            [a + s * v if is_float(a) else a for a, v in zip(arrays, vs)] for s in (h, -h)
        )
        return (slope_along_u(*ahead) - slope_along_u(*behind)) / (2 * h)

    np.testing.assert_allclose(
        found, (4 * difference(5e-5) - difference(1e-4)) / 3, rtol=rtol, atol=1e-7
    )
