"""Autoencoders of pictures: a dense one, and a variational one.

A picture x of P pixels, each from 0 (paper) to 1 (ink), goes through a bottleneck of Z numbers, the
code z, and x̂ is what can be told from the code. Encoder and decoder are perceptrons with hidden
layers of H units; the decoder's sizes are the encoder's in reverse:

    h_1 = f(W_1 x + b_1),  h_l = f(W_l h_{l-1} + b_l)   encoder, to its last layer h; f = relu, gelu
    g_1 = f(V_1 z + c_1),  g_l = f(V_l g_{l-1} + c_l)   decoder, to its last layer g
    a = V g + c,  x̂ = σ(a) = 1/(1 + exp(-a))            a, x̂ (P,)

Autoencoder (Hinton & Salakhutdinov, "Reducing the dimensionality of data with neural networks",
Science 313, 2006, figure 1). The code is linear in h, and the loss is the squared error,

    z = W h + b                                         z (Z,)
    L = ‖x − x̂‖²

which is what principal component analysis (PCA) makes as small as linear maps can: both maps
linear, z is at best the first Z principal components. So PCA with Z components is what the hidden
layers are to be measured by.

Variational autoencoder (Kingma & Welling, "Auto-encoding variational Bayes", ICLR 2014). A model of
how pictures come about: a code is drawn, p(z) = N(0, 1), and from it every pixel by itself, ink
with probability x̂ (their appendix C.1). What code a picture came from cannot be computed; the
encoder gives a Gaussian guess q(z|x), with diagonal variances exp ℓ (equation 9):

    μ = W h + b,  ℓ = W' h + b'                         μ, ℓ (Z,)
    log p(x|z) = Σ_i x_i log x̂_i + (1 − x_i) log(1 − x̂_i)
    ELBO = E_q[log p(x|z)] − KL(q(z|x), p(z))  ≤  log p(x)              equation 3
    L = −ELBO

To differentiate the expectation, q is sampled through noise that has nothing to do with the
weights (their section 2.4): one sample for each x suffices (equation 10),

    z = μ + exp(ℓ/2) ⊙ ε,   ε ~ N(0, 1)

and KL = ½ Σ (μ² + exp ℓ − 1 − ℓ), over the Z dimensions: derived, with its gradients, in
nanoautograd/manual/kl_divergence.py. In logits, −log p(x|z) = Σ_i log(1 + exp a_i) − x_i a_i, which
is finite for all a. Grey pixels count here as probabilities of ink.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

import nanoautograd as nag
from nanoautograd.functional import gaussian_kl_divergence
from nanoautograd.nn import GELU, Linear, Module, ReLU, Sequential


@dataclass
class Config:
    """Of the dense autoencoder."""

    pixels: Annotated[int, "pixels of a picture, P"]
    latent: Annotated[int, "numbers in the code of a picture, Z"] = 30
    hidden: Annotated[int, "units in a hidden layer, H"] = 512
    layers: Annotated[int, "hidden layers of the encoder, and of the decoder"] = 1
    activation: Annotated[Literal["relu", "gelu"], "function of the hidden layers, f"] = "gelu"


@dataclass
class VariationalConfig(Config):
    """Of the variational autoencoder."""

    latent: int = 2  # all codes fit on one picture
    layers: int = 2  # L of held-out MNIST after 1,200 steps: 159; with one, 170


class Autoencoder(Module):
    """The dense autoencoder above; weights drawn from `rng`, a seed or a numpy Generator."""

    encoder_outputs = 1  # for each dimension of z: itself

    def __init__(self, config, rng=None, dtype=np.float32):
        rng = np.random.default_rng(rng)
        P, Z, inner = config.pixels, config.latent, [config.hidden] * config.layers
        f, outputs = config.activation, self.encoder_outputs * Z
        self.config = config
        self.encoder = perceptron([P, *inner, outputs], f, rng, dtype)
        self.decoder = perceptron([Z, *inner, P], f, rng, dtype)

    def encode(self, x):
        """z (B, Z) of pictures x (B, P)."""
        return self.encoder(x)

    def decode(self, z):
        """x̂ (B, P) of codes z (B, Z)."""
        return nag.sigmoid(self.decoder(z))

    def forward(self, x):
        """Pictures x (B, P) -> what is left of them, x̂ (B, P)."""
        return self.decode(self.encode(x))

    def loss(self, x):
        """L of each picture: (B,)."""
        return nag.sum(nag.square(x - self(x)), axis=-1)


class VariationalAutoencoder(Autoencoder):
    """The variational autoencoder above; weights drawn from `rng`, a seed or a numpy Generator."""

    encoder_outputs = 2  # for each dimension of z: μ and ℓ

    def posterior(self, x):
        """q(z|x) of pictures x (B, P): its means μ and logarithms of variances ℓ, each (B, Z)."""
        mu_ell, Z = self.encoder(x), self.config.latent
        return mu_ell[:, :Z], mu_ell[:, Z:]

    def encode(self, x):
        """The likeliest z (B, Z) of pictures x (B, P): μ."""
        return self.posterior(x)[0]

    def loss(self, x, epsilon):
        """L of each picture, for noise ε (B, Z) that the caller draws from N(0, 1): (B,)."""
        kl, error = self.parts(x, epsilon)
        return kl + error

    def parts(self, x, epsilon):
        """The two terms of L: KL(q(z|x), p(z)), never negative, and −log p(x|z); each (B,)."""
        mu, ell = self.posterior(x)
        z = mu + nag.exp(ell / 2) * epsilon
        a = self.decoder(z)
        return gaussian_kl_divergence(mu, ell), nag.sum(nag.softplus(a) - x * a, axis=-1)


def perceptron(sizes, activation, rng, dtype):
    """Layers of these sizes, f after each but the last."""
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [
            Linear(inputs, outputs, rng=rng, dtype=dtype),
            {"relu": ReLU, "gelu": GELU}[activation](),
        ]
    return Sequential(*layers[:-1])
