"""models/autoencoder.py against PyTorch and against itself, and the task of digits."""

from types import SimpleNamespace

import numpy as np
import pytest

import nanoautograd as nag
from models.autoencoder import (
    Autoencoder,
    Config,
    VariationalAutoencoder,
    VariationalConfig,
    perceptron,
)
from models.data import DataError
from models.tasks.digits import Digits, mosaic, principal

P, Z, H, B = 12, 3, 7, 5


def both(Model, config, activation):
    return Model(config(P, latent=Z, hidden=H, layers=2, activation=activation), 0, np.float64)


def of_torch(torch, ours, activation):
    """The same encoder and decoder in PyTorch, with the same weights."""

    def build(codes):
        f = {"relu": torch.nn.ReLU, "gelu": torch.nn.GELU}[activation]
        half = [[(P, H), (H, H), (H, codes)], [(Z, H), (H, H), (H, P)]]
        return [
            torch.nn.Sequential(
                torch.nn.Linear(*a), f(), torch.nn.Linear(*b), f(), torch.nn.Linear(*c)
            ).double()
            for a, b, c in half
        ]

    encoder, decoder = build(ours.encoder_outputs * Z)
    for part, name in ((encoder, "encoder."), (decoder, "decoder.")):
        part.load_state_dict(
            {
                k.removeprefix(name): torch.tensor(v)
                for k, v in ours.state_dict().items()
                if k.startswith(name)
            }
        )
    return encoder, decoder


def same(ours, loss, theirs, loss_t):
    np.testing.assert_allclose(loss.data, loss_t.detach().numpy(), rtol=1e-12)
    loss.mean().backward()
    loss_t.mean().backward()
    parameters = [p for part in theirs for p in part.parameters()]
    for (name, p), q in zip(ours.named_parameters(), parameters, strict=True):
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-9, atol=1e-13, err_msg=name)


@pytest.mark.oracle
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_autoencoder_is_that_of_pytorch(rng, activation):
    torch = pytest.importorskip("torch")
    ours, x = both(Autoencoder, Config, activation), rng.random((B, P))
    encoder, decoder = of_torch(torch, ours, activation)
    xt = torch.tensor(x)
    same(
        ours,
        ours.loss(x),
        (encoder, decoder),
        ((torch.sigmoid(decoder(encoder(xt))) - xt) ** 2).sum(-1),
    )


@pytest.mark.oracle
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_variational_autoencoder_is_that_of_pytorch(rng, activation):
    torch = pytest.importorskip("torch")
    ours, x = both(VariationalAutoencoder, VariationalConfig, activation), rng.random((B, P))
    epsilon = rng.standard_normal((B, Z))
    encoder, decoder = of_torch(torch, ours, activation)
    D, xt = torch.distributions, torch.tensor(x)
    mu, ell = encoder(xt).split(Z, dim=-1)
    q = D.Normal(mu, (ell / 2).exp())
    a = decoder(mu + (ell / 2).exp() * torch.tensor(epsilon))
    bce = torch.nn.functional.binary_cross_entropy_with_logits(a, xt, reduction="none")
    kl = D.kl_divergence(q, D.Normal(torch.zeros_like(mu), torch.ones_like(mu)))
    same(ours, ours.loss(x, epsilon), (encoder, decoder), bce.sum(-1) + kl.sum(-1))


def test_the_elbo_is_below_the_log_likelihood(rng):
    """ELBO ≤ log p(x), this one by importance sampling from q; and KL is that of many samples."""
    model = both(VariationalAutoencoder, VariationalConfig, "gelu")
    model.encoder[-1].weight.data = 2 * model.encoder[-1].weight.data  # a q unlike the prior
    x, n = (rng.random((1, P)) < 0.5).astype(float), 20_000
    epsilon = rng.standard_normal((n, Z))
    with nag.no_grad():
        mu, ell = (part.data for part in model.posterior(x))
        kl, error = (part.data for part in model.parts(np.repeat(x, n, axis=0), epsilon))
    z = mu + np.exp(ell / 2) * epsilon
    ratio = -(epsilon**2 + ell).sum(-1) / 2 + (z**2).sum(-1) / 2  # log q(z|x) / p(z)
    assert kl[0] > 0 and np.ptp(kl) < 1e-12
    np.testing.assert_allclose(ratio.mean(), kl[0], atol=5 * ratio.std() / n**0.5)
    log_p = np.logaddexp.reduce(-error - ratio) - np.log(n)
    assert -(kl + error).mean() < log_p < 0


def test_the_same_on_every_backend(backend, rng):
    x, epsilon = rng.random((B, P)), rng.standard_normal((B, Z))
    for Model, c, noise in (
        (Autoencoder, Config, ()),
        (VariationalAutoencoder, VariationalConfig, (epsilon,)),
    ):
        model = Model(c(P, latent=Z, hidden=H), 0)
        here = model.loss(*(a.astype(np.float32) for a in (x, *noise))).data
        model.to(backend.device)
        loss = model.loss(*(backend.array(a, np.float32) for a in (x, *noise)))
        loss.sum().backward()
        assert loss.shape == (B,) and loss.dtype == np.float32
        np.testing.assert_allclose(backend.numpy(loss), here, rtol=1e-5)
        assert all(p.grad.shape == p.shape for p in model.parameters())


def test_a_perceptron_has_the_layers_asked_for():
    for layers in (1, 2, 3):
        linear = [
            m
            for m in perceptron([9, *[4] * layers, 2], "relu", None, np.float64)
            if hasattr(m, "weight")
        ]
        assert len(linear) == layers + 1 and linear[-1].weight.shape == (2, 4)


def test_one_linear_map_does_no_better_than_pca(rng):
    """What `principal` gives is the smallest error of a linear map: that of NumPy's eigenvalues."""
    x = rng.standard_normal((40, 6)) @ rng.standard_normal((6, 6))
    for k in range(1, 7):
        mean, V = principal(x, k)
        error = np.square((x - mean) - (x - mean) @ V.T @ V).sum()
        np.testing.assert_allclose(
            error, 39 * np.linalg.eigvalsh(np.cov(x.T))[: 6 - k].sum(), atol=1e-9
        )


def test_pictures_side_by_side():
    x = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    m = mosaic(x, 2, 1)
    assert m.shape == (8, 12)
    assert (
        m[1:3, 1:3].ravel().tolist() == [0, 1, 2, 3]
        and m[5:7, 9:11].ravel().tolist() == [20, 21, 22, 23]
        and m.sum() == x.sum()
    )


@pytest.mark.parametrize("preset, latent", [("autoencoder", 3), ("vae", 1), ("vae", 2)])
def test_a_task_from_data_to_pictures(tmp_path, monkeypatch, preset, latent):
    """On digits that are drawn from three patterns, 8 × 8."""
    rng = np.random.default_rng(0)
    patterns = rng.random((10, 64)) < 0.4
    monkeypatch.setattr(
        "models.tasks.digits.read_digits",
        lambda name: (
            (patterns.repeat(12, axis=0) * rng.random((120, 64))).astype(np.float32),
            np.arange(10).repeat(12),
            2,
        ),
    )
    o = SimpleNamespace(
        data="digits",
        preset=preset,
        validation=0.25,
        seed=0,
        batch=16,
        dtype="float32",
        device="cpu",
        latent=latent,
    )
    task = Digits(o)
    assert task.summary.startswith("digits: 90 pictures of 8 × 8 to train on, 30 to validate; 2 ")
    c, Model = task.models[preset]
    model = Model(c(**task.sizes, latent=latent, hidden=20), 0)
    a, b = task.batch(7), task.batch(7)
    assert all(np.array_equal(*pair) and pair[0].dtype == np.float32 for pair in zip(a, b))
    loss, state = task.loss(model, None, *a)
    loss.backward()
    assert loss.shape == () and state is None
    with nag.no_grad():
        scores = task.evaluate(model)
        what, baseline = task.baseline()
        for picture in task.show(model, tmp_path):
            assert picture.stat().st_size > 1000
        lines = list(task.generate(model, " ".join(["0.5"] * latent)))
        for wrong in ("", "a", "nan " * latent, "1 " * (latent + 1)):
            with pytest.raises(DataError, match=f"its code, 1 to {latent} numbers"):
                next(task.generate(model, wrong))
        with pytest.raises(DataError, match="the code '1e300' is out of the range of float32"):
            next(task.generate(model, "1e300"))
    assert scores["error"] > baseline > 0 and what == f"PCA with {latent} components"
    assert len(lines) == 8 and all(line.endswith("\n") for line in lines)
    if preset == "vae":
        assert scores["elbo"] == -scores["loss"] and scores["kl"] >= 0
    else:
        np.testing.assert_allclose(scores["loss"], 64 * scores["error"], rtol=1e-5)
    assert Digits(o, task.known).sizes == task.sizes
