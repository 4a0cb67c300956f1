"""Kullback-Leibler divergence of two diagonal Gaussians, by hand.

    μ, ℓ    (..., d)   means and logarithms of the variances of the first: N(μ, diag exp ℓ)
    ν, κ    (..., d)   those of the second; 0 and 0, the standard normal distribution, if not given
    u       (..., d)   ℓ - κ, log of the ratio of the variances
    Δ       (..., d)   μ - ν
    e       (..., d)   exp(-κ/2), one over the standard deviation of the second
    t       (..., d)   Δ e, the distance of the means in standard deviations
    y       (...)      divergence, summed over the d independent dimensions
    dy, dμ, dℓ, ...    ∂L/∂y, ∂L/∂μ, ∂L/∂ℓ, ...

Forward. With the densities P and Q, of one dimension, the definition is

    KL(P, Q) = E_P[log P(x) - log Q(x)]
             = E_P[-ℓ/2 - (x - μ)²/(2 exp ℓ) + κ/2 + (x - ν)²/(2 exp κ)]

and with E_P (x - μ)² = exp ℓ and E_P (x - ν)² = exp ℓ + Δ²

    KL(P, Q) = 1/2 (κ - ℓ - 1 + (exp ℓ + Δ²)/exp κ)  =  1/2 (exp u - 1 - u + t²)

Dimensions are independent, so theirs are added. (For ν = κ = 0: Kingma and Welling 2014,
"Auto-encoding variational Bayes", appendix B.) exp u - 1 is computed by `expm1`, so that equal
distributions have the divergence 0 and nearly equal ones no negative one of any size.

Backward. Term by term, with the g = dy of the row:

    dμ = g t e                       dν = -dμ
    dℓ = g/2 (exp u - 1)             dκ = -g/2 (exp u - 1 + t²) = -dℓ - g t²/2

They vanish where the distributions are equal, as they must at a minimum. ν and κ may broadcast, as
one prior for a batch.

Where the second has almost no variance e is beyond the range of the dtype. If there Δ = 0, t is 0
all the same, and not 0·∞: such an e is limited to what is in range.
"""

from math import log

from ..backends import array_namespace
from ..backends.sums import limits, summed
from ..custom_vjp import custom_vjp
from ..interface.array_interface import array_of
from ..ops import exp, expm1, minimum, sum, where


def forward(mu, logvar, nu=None, kappa=None):
    """mu and logvar (..., d), nu and kappa that broadcast to it or None -> y (...), the cache."""
    xp = array_namespace(mu)
    u, e, t = arguments(mu, logvar, nu, kappa)
    expm1_u = xp.expm1(u)  # exp u - 1
    y = 0.5 * summed(expm1_u - u + t * t, -1)
    return y, (expm1_u, e, t)


def backward(dy, cache):
    """dy like y -> dmu, dlogvar, dnu, dkappa."""
    expm1_u, e, t = cache
    g = dy[..., None]
    dμ = g * t * e
    dell = 0.5 * g * expm1_u
    return dμ, dell, -dμ, -dell - 0.5 * g * t * t


def reference(mu, logvar, nu=None, kappa=None):
    """The same from primitives."""
    u, _, t = arguments(mu, logvar, nu, kappa)
    return 0.5 * sum(expm1(u) - u + t * t, axis=-1)


gaussian_kl_divergence = custom_vjp(
    "gaussian_kl_divergence", forward, backward, reference, in_float32=True
)


def arguments(μ, ell, ν, κ):
    """u, e and t, of arrays or of Tensors."""
    Δ = μ if ν is None else μ - ν
    if κ is None:
        return ell, 1.0, Δ
    limit = 0.9 * log(limits(μ.dtype)[1])
    e = exp(where(array_of(Δ) == 0, minimum(-0.5 * κ, limit), -0.5 * κ))
    return ell - κ, e, Δ * e
