"""models/seq2seq.py against a model of PyTorch's layers, and against itself."""

from dataclasses import replace

import numpy as np
import pytest

import nanoautograd as nag
from models.seq2seq import Config, Seq2Seq
from nanoautograd.functional import cross_entropy

CONFIG = Config(source=11, target=7, embedding=5, hidden=6, attention=4, layers=2)
VARIANTS = [
    CONFIG,
    replace(CONFIG, cell="lstm"),
    replace(CONFIG, bidirectional=False),
    replace(CONFIG, scaled=True, layers=1),
    replace(CONFIG, cell="lstm", layers=1),
]
COPY = replace(CONFIG, source=7, scaled=True, copy=True)
BEGIN = 2


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def batch(rng):
    """x (4, 8), lengths, y (4, 5)."""
    x, y = rng.integers(3, 7, size=(4, 8)), rng.integers(3, 7, size=(4, 5))
    y[:, 0] = BEGIN
    return x, np.array([8, 3, 1, 6]), y


def like_it(torch, config):
    """The same model with PyTorch's layers and names, written one sequence at a time, without
    padding, and with attention as its two equations."""
    nn, softmax = torch.nn, torch.nn.functional.softmax
    D, H, A, R = config.embedding, config.hidden, config.attention, config.target
    M, lstm = 2 * H if config.bidirectional else H, config.cell == "lstm"
    Cell = nn.LSTM if lstm else nn.GRU

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(config.source, D), nn.Embedding(R, D)
            self.encoder = Cell(D, H, config.layers, bidirectional=config.bidirectional)
            self.query, self.key = nn.Linear(M, A, bias=False), nn.Linear(M, A, bias=False)
            self.value, self.memory = nn.Linear(M, M, bias=False), nn.Linear(2 * M, H)
            self.bridge = nn.Linear(M, H)
            if lstm:
                self.bridge_cells = nn.Linear(M, H)
            self.decoder = Cell(D, H, config.layers)
            self.align, self.combine = nn.Linear(H, H, bias=False), nn.Linear(2 * H, H)
            self.output = nn.Linear(H, R)
            if config.copy:
                self.copy = nn.Module()
                self.copy.gate, self.copy.follow = nn.Linear(2 * H, 1), nn.Parameter(torch.ones(1))

        def forward(self, x, y):  # (S,), (T,)
            h, end = self.encoder(self.source(x))  # (S, M)
            scores = self.query(h) @ self.key(h).T
            alpha = softmax(scores / A**0.5 if config.scaled else scores, -1)
            m = torch.tanh(self.memory(torch.cat([h, alpha @ self.value(h)], -1)))
            begin = [e.reshape(config.layers, M) for e in (end if lstm else [end])]
            s_0 = torch.tanh(self.bridge(begin[0]))
            start = (s_0, self.bridge_cells(begin[1])) if lstm else s_0
            s, _ = self.decoder(self.target(y), start)
            scores = s @ self.align(m).T
            beta = softmax(scores / H**0.5 if config.scaled else scores, -1)
            s_d = torch.cat([s, beta @ m], -1)
            logits = self.output(torch.tanh(self.combine(s_d)))
            if config.copy:
                g = torch.sigmoid(self.copy.gate(s_d))
                behind = torch.cat([x[:1] * 0 - 1, x[:-1]]) == y[:, None]
                gamma = softmax(torch.log(beta) + self.copy.follow * behind, -1)
                copied = torch.zeros_like(logits).index_add(1, x, gamma)
                logits = torch.log(g * softmax(logits, -1) + (1 - g) * copied + 1e-9)
            return logits, alpha, beta

    return Model().double()


@pytest.mark.oracle
@pytest.mark.parametrize("config", [*VARIANTS, COPY])
def test_outputs_and_gradients_are_those_of_pytorch(rng, batch, config):
    torch = pytest.importorskip("torch")
    ours, theirs = Seq2Seq(config, rng, np.float64), like_it(torch, config)
    theirs.load_state_dict({n: torch.tensor(a) for n, a in ours.state_dict().items()})
    x, lengths, y = batch
    logits, alpha, beta = ours.run(x, lengths, y)
    rows = [theirs(torch.tensor(x[b, :n]), torch.tensor(y[b])) for b, n in enumerate(lengths)]
    for b, n in enumerate(lengths):
        for a, a_t in zip((logits[b], alpha[b, :n, :n], beta[b, :, :n]), rows[b]):
            np.testing.assert_allclose(a.data, a_t.detach().numpy(), rtol=1e-10, atol=1e-12)
        assert (alpha.data[b, :, n:] == 0).all() and (beta.data[b, :, n:] == 0).all()
    g = rng.standard_normal(logits.shape)
    (logits * g).sum().backward()
    sum((row[0] * torch.tensor(g[b])).sum() for b, row in enumerate(rows)).backward()
    gradients = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    assert gradients.keys() == {name for name, _ in ours.named_parameters()}
    for name, p in ours.named_parameters():
        np.testing.assert_allclose(
            p.grad.data, gradients[name], rtol=1e-8, atol=1e-11, err_msg=name
        )


@pytest.mark.parametrize("config", [*VARIANTS, COPY])
def test_padding_has_no_influence(backend, batch, config):
    x, lengths, y = batch
    model = Seq2Seq(config, 0).to(backend.device)
    together = backend.numpy(model(backend.array(x), lengths, backend.array(y)))
    assert together.dtype == np.float32 and together.shape == (4, 5, 7)
    other = np.where(np.arange(8) < lengths[:, None], x, 5)
    np.testing.assert_array_equal(
        together,
        backend.numpy(model(backend.array(other), backend.array(lengths), backend.array(y))),
    )
    for b, n in enumerate(lengths):
        alone = model(backend.array(x[b : b + 1, :n]), [int(n)], backend.array(y[b : b + 1]))
        np.testing.assert_allclose(together[b], backend.numpy(alone)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [*VARIANTS, COPY])
def test_token_by_token_is_all_at_once(backend, batch, config):
    x, lengths, y = batch
    model = Seq2Seq(config, 0).to(backend.device)
    with nag.no_grad():
        at_once = backend.numpy(model(backend.array(x), lengths, backend.array(y)))
        state = model.start(backend.array(x), lengths)
        assert all(a is None or len(a) == 4 for a in state.values())
        for t in range(5):
            logits, state = model.next(backend.array(y[:, t]), state)
            np.testing.assert_allclose(backend.numpy(logits), at_once[:, t], rtol=1e-4, atol=1e-5)


def test_attention_is_a_distribution(backend, batch):
    x, lengths, y = batch
    model = Seq2Seq(CONFIG, 0).to(backend.device)
    _, alpha, beta = model.run(backend.array(x), lengths, backend.array(y))
    assert alpha.shape == (4, 8, 8) and beta.shape == (4, 5, 8)
    for weights in (alpha, beta):
        np.testing.assert_allclose(backend.numpy(weights).sum(axis=-1), 1.0, rtol=1e-5)


def trained(backend, batch, config, steps):
    """The loss after steps of Adam on a batch, each with a gradient of every weight."""
    x, lengths, y = batch
    model = Seq2Seq(config, 0).to(backend.device)
    optimizer = nag.optim.Adam(model.parameters(), lr=2e-2)
    x, y = backend.array(x), backend.array(y)
    for _ in range(steps):
        logits = model(x, lengths, y[:, :-1])
        loss = cross_entropy(logits.reshape(-1, 7), y[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        unused = [
            n
            for n, p in model.named_parameters()
            if p.grad is None or not backend.numpy(p.grad).any()
        ]
        assert not unused
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("config", [*VARIANTS, COPY])
def test_every_weight_has_a_gradient(backend, batch, config):
    trained(backend, batch, config, 2)


@pytest.mark.slow
@pytest.mark.parametrize("config", [*VARIANTS, COPY])
def test_a_batch_of_random_targets_is_learned_by_heart(backend, batch, config):
    assert trained(backend, batch, replace(config, hidden=24), 60) < 0.05


def test_dropout_while_training_alone(backend, batch):
    x, lengths, y = batch
    model = Seq2Seq(replace(CONFIG, dropout=0.5), 0).to(backend.device)
    x, y = backend.array(x), backend.array(y)
    a, b = (backend.numpy(model(x, lengths, y)) for _ in range(2))
    assert not np.allclose(a, b)
    model.eval()
    plain = Seq2Seq(CONFIG, 0).to(backend.device)
    assert model.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(
        backend.numpy(model(x, lengths, y)), backend.numpy(plain(x, lengths, y))
    )


def test_one_seed_one_model(backend, batch):
    x, lengths, y = batch
    a, b, c = (Seq2Seq(CONFIG, seed).to(backend.device) for seed in ([1, 0], [1, 0], [2, 0]))
    a, b, c = (backend.numpy(m(backend.array(x), lengths, backend.array(y))) for m in (a, b, c))
    assert np.array_equal(a, b) and not np.allclose(a, c)


def test_copies_are_those_of_the_source(backend, batch):
    """With a gate that is closed to all but the source, p is attention by symbol."""
    x, lengths, y = batch
    model = Seq2Seq(COPY, 0).to(backend.device)
    model.copy.gate.bias.data[:], model.copy.follow.data[:] = -50.0, 0.0
    logits, _, beta = model.run(backend.array(x), lengths, backend.array(y))
    p, beta = np.exp(backend.numpy(logits)), backend.numpy(beta)
    np.testing.assert_allclose(p.sum(axis=-1), 1.0, atol=1e-5)
    for r in range(7):
        np.testing.assert_allclose(p[..., r], (beta * (x == r)[:, None]).sum(axis=-1), atol=1e-5)
    model.copy.follow.data[:] = 40.0  # only what goes on after y in x
    p = np.exp(backend.numpy(model(backend.array(x), lengths, backend.array(y))))
    for b, n in enumerate(lengths):
        for t in range(5):
            after = {x[b, i] for i in range(1, n) if x[b, i - 1] == y[b, t]} or set(x[b, :n])
            assert p[b, t, list(after)].sum() == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(ValueError, match="must have the same symbols; got 11 and 7"):
        Seq2Seq(replace(CONFIG, copy=True))
