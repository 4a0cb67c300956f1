"""Kullback-Leibler divergence of two diagonal Gaussians, by hand.

    μ, ℓ    (..., d)   means and logarithms of the variances of the first: N(μ, diag exp ℓ)
    ν, κ    (..., d)   those of the second; 0 and 0, the standard normal distribution, if not given
    u       (..., d)   ℓ - κ, log of the ratio of the variances
    Δ       (..., d)   μ - ν
    y       (...)      divergence, summed over the d independent dimensions
    dy, dμ, dℓ, ...    ∂L/∂y, ∂L/∂μ, ∂L/∂ℓ, ...

Forward. With the densities P and Q, of one dimension, the definition is

    KL(P, Q) = E_P[log P(x) - log Q(x)]
             = E_P[-ℓ/2 - (x - μ)²/(2 exp ℓ) + κ/2 + (x - ν)²/(2 exp κ)]

and with E_P (x - μ)² = exp ℓ and E_P (x - ν)² = exp ℓ + Δ²

    KL(P, Q) = 1/2 (κ - ℓ - 1 + (exp ℓ + Δ²)/exp κ)  =  1/2 (exp u - 1 - u + Δ² exp(-κ))

Dimensions are independent, so theirs are added. (For ν = κ = 0: Kingma and Welling 2014,
"Auto-encoding variational Bayes", appendix B.) exp u - 1 is computed by `expm1`, so that equal
distributions have the divergence 0 and nearly equal ones no negative one of any size.

Backward. Term by term, with the g = dy of the row:

    dμ = g Δ exp(-κ)                 dν = -dμ
    dℓ = g/2 (exp u - 1)             dκ = -g/2 (exp u - 1 + Δ² exp(-κ)) = -dℓ - Δ dμ/2

They vanish where the distributions are equal, as they must at a minimum. ν and κ may broadcast, as
one prior for a batch; their gradients are summed over the axes along which they were broadcast.
"""

from ..backends import array_namespace
from ..backends.sums import summed, unbroadcast
from ..custom_vjp import custom_vjp
from ..ops import exp, expm1, sum


def forward(mu, logvar, nu=None, kappa=None):
    """mu and logvar (..., d), nu and kappa that broadcast to it or None -> y (...), the cache."""
    xp = array_namespace(mu, logvar, nu, kappa)
    delta = mu if nu is None else mu - nu
    u, scaled = logvar, delta  # Δ exp(-κ)
    if kappa is not None:
        u = logvar - kappa
        scaled = delta * xp.exp(xp.where(delta == 0, 0.0, -kappa))  # 0·∞ is 0 here
    ratio = xp.expm1(u)
    y = 0.5 * summed(ratio - u + delta * scaled, -1)
    return y, (delta, scaled, ratio, nu, kappa)


def backward(dy, cache, needs=None):
    """dy like y -> dmu, dlogvar, dnu, dkappa (None for those that were not given)."""
    delta, scaled, ratio, nu, kappa = cache
    need_mu, need_logvar, need_nu, need_kappa = needs or (True,) * 4
    g = dy[..., None]
    dmu, dlogvar = g * scaled, 0.5 * g * ratio
    dnu = dkappa = None
    if need_nu and nu is not None:
        dnu = unbroadcast(-dmu, nu.shape)
    if need_kappa and kappa is not None:
        dkappa = unbroadcast(-dlogvar - 0.5 * delta * dmu, kappa.shape)
    return dmu if need_mu else None, dlogvar if need_logvar else None, dnu, dkappa


def reference(mu, logvar, nu=None, kappa=None):
    """The same from primitives."""
    delta = mu if nu is None else mu - nu
    u = logvar if kappa is None else logvar - kappa
    square = delta * delta if kappa is None else delta * delta * exp(-kappa)
    return 0.5 * sum(expm1(u) - u + square, axis=-1)


gaussian_kl_divergence = custom_vjp(
    "gaussian_kl_divergence", forward, backward, reference, in_float32=True
)
