"""models/rnn.py against PyTorch and against itself, and the choice of the next token."""

from functools import partial
from itertools import islice

import numpy as np
import pytest

import nanoautograd as nag
from models.inference.sampling import choose
from models.rnn import ClassifierConfig, Config, RNNClassifier, RNNLanguageModel

CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]


def of_torch(torch, cell, nonlinearity, *sizes, **options):
    """The layers of PyTorch with this cell."""
    if cell == "rnn":
        return torch.nn.RNN(*sizes, nonlinearity=nonlinearity, batch_first=True, **options)
    return getattr(torch.nn, cell.upper())(*sizes, batch_first=True, **options)


def same_gradients(ours, theirs):
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-8, atol=1e-12, err_msg=name)


@pytest.mark.oracle
@pytest.mark.parametrize("cell, nonlinearity", CELLS)
def test_outputs_and_gradients_are_those_of_pytorch(rng, cell, nonlinearity):
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(7, 3)
            self.rnn = of_torch(torch, cell, nonlinearity, 3, 5, 2)
            self.output = torch.nn.Linear(5, 7)

        def forward(self, x, h):
            out, h = self.rnn(self.embedding(x), tuple(h) if cell == "lstm" else h)
            return self.output(out), torch.stack(h) if cell == "lstm" else h

    ours = RNNLanguageModel(Config(7, 3, 5, 2, nonlinearity, cell), rng, np.float64)
    theirs = Model().double()
    theirs.load_state_dict({n: torch.tensor(a) for n, a in ours.state_dict().items()})
    x, y = rng.integers(7, size=(4, 6)), rng.integers(7, size=(4, 6))
    h = rng.random((2, 2, 4, 5) if cell == "lstm" else (2, 4, 5))
    logits, h_n = ours(x, h)
    logits_t, h_t = theirs(torch.tensor(x), torch.tensor(h))
    np.testing.assert_allclose(logits.data, logits_t.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(h_n.data, h_t.detach().numpy(), rtol=1e-10, atol=1e-12)
    w = rng.standard_normal(h.shape)  # the state is differentiated too
    loss = nag.functional.cross_entropy(logits.reshape(-1, 7), y.reshape(-1)) + (w * h_n).sum()
    loss_t = torch.nn.functional.cross_entropy(logits_t.reshape(-1, 7), torch.tensor(y.reshape(-1)))
    loss_t = loss_t + (torch.tensor(w) * h_t).sum()
    loss.backward()
    loss_t.backward()
    same_gradients(ours, theirs)


@pytest.mark.oracle
@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_classifier_is_that_of_pytorch(rng, cell, bidirectional, pooling):
    torch = pytest.importorskip("torch")
    n = [6, 2, 4]

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(7, 3)
            self.rnn = of_torch(torch, cell, "tanh", 3, 5, 2, bidirectional=bidirectional)
            self.output = torch.nn.Linear(10 if bidirectional else 5, 4)

        def forward(self, x):  # one text at a time: nothing is padded
            rows = []
            for text, length in zip(x, n):
                out, h = self.rnn(self.embedding(text[:length]))
                h = h[0] if cell == "lstm" else h
                last = h[-2:].reshape(-1) if bidirectional else h[-1]
                rows.append({"mean": out.mean(0), "max": out.amax(0), "last": last}[pooling])
            return self.output(torch.stack(rows))

    ours = RNNClassifier(
        ClassifierConfig(7, 4, 3, 5, 2, cell=cell, bidirectional=bidirectional, pooling=pooling),
        rng,
        np.float64,
    )
    theirs = Model().double()
    theirs.load_state_dict({n: torch.tensor(a) for n, a in ours.state_dict().items()})
    x, y = rng.integers(7, size=(3, 6)), rng.integers(4, size=3)
    logits, logits_t = ours(x, n), theirs(torch.tensor(x))
    np.testing.assert_allclose(logits.data, logits_t.detach().numpy(), rtol=1e-10, atol=1e-12)
    nag.functional.cross_entropy(logits, y).backward()
    torch.nn.functional.cross_entropy(logits_t, torch.tensor(y)).backward()
    same_gradients(ours, theirs)


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_padding_changes_nothing(backend, rng, cell, pooling):
    model = RNNClassifier(ClassifierConfig(7, 4, 3, 5, cell=cell, pooling=pooling), 0)
    model = model.to(backend.device)
    x, n = rng.integers(7, size=(3, 6)), backend.array([6, 2, 4])
    a = model(backend.array(x), n)
    x[1, 2:] = 5
    b = model(backend.array(x), n)
    alone = model(backend.array(x[1:2, :2]), backend.array([2]))
    assert a.dtype == np.float32 and np.array_equal(backend.numpy(a), backend.numpy(b))
    np.testing.assert_allclose(backend.numpy(a)[1:2], backend.numpy(alone), rtol=1e-5, atol=1e-6)
    a.sum().backward()
    assert all(np.isfinite(backend.numpy(p.grad)).all() for p in model.parameters())


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_reading_in_pieces_is_reading_at_once(backend, rng, cell):
    model = RNNLanguageModel(Config(7, 3, 5, 2, cell=cell), 0).to(backend.device)
    x = backend.array(rng.integers(7, size=(4, 10)))
    whole, h = model(x)
    first, h_1 = model(x[:, :6])
    second, h_2 = model(x[:, 6:], h_1.data)  # as a checkpoint holds it: an array
    assert whole.dtype == h_1.dtype == np.float32
    for a, b in [(whole[:, :6], first), (whole[:, 6:], second), (h, h_2)]:
        np.testing.assert_allclose(backend.numpy(a), backend.numpy(b), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_generation_carries_the_state(backend, cell):
    """Greedy continuation, a token at a time, is the argmax after reading all of it anew."""
    model = RNNLanguageModel(Config(7, 3, 16, cell=cell), 0).to(backend.device)
    text = [3, 1, 4, 1, 5]
    tokens = model.generate(text, lambda logits: choose(logits, None, temperature=0.0))
    for token in islice(tokens, 20):
        logits, _ = model(backend.array([text]))
        assert nag.is_grad_enabled() and logits.requires_grad
        assert token == backend.numpy(logits)[0, -1].argmax()
        text.append(token)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    "Model, config",
    [(RNNLanguageModel, Config), (RNNClassifier, partial(ClassifierConfig, classes=4))],
)
def test_dropout_while_training_alone(backend, rng, layers, Model, config):
    x = backend.array(rng.integers(7, size=(4, 6)))
    rest = (backend.array([6, 6, 6, 6]),) if Model is RNNClassifier else ()

    def outputs(dropout, train):
        c = config(vocab_size=7, embedding=3, hidden=5, layers=layers, cell="lstm", dropout=dropout)
        model = Model(c, 0)
        out = model.to(backend.device).train(train)(x, *rest)
        return backend.numpy(out if rest else out[0]), model.state_dict().keys()

    (dropped, names), (again, _), (evaluated, _) = (outputs(0.5, t) for t in (True, True, False))
    assert names == outputs(0.0, True)[1]  # no weights of its own
    assert np.array_equal(dropped, again)  # the masks come from the seed
    assert not np.isclose(dropped, evaluated).any()


def test_choose_draws_from_the_softmax(rng):
    logits = np.array([0.0, 2.0, -1e4, 1.0], np.float32)
    for temperature in (0.5, 1.0, 3.0):
        drawn = [choose(logits, rng, temperature) for _ in range(4000)]
        p = np.exp(logits / temperature)
        np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 4000, p / p.sum(), atol=0.03)


def test_choose_from_the_likeliest(rng):
    logits = rng.standard_normal(50)
    for k in (1, 3, 49, 50, 1000):
        drawn = {choose(logits, rng, 2.0, top_k=k) for _ in range(300)}
        assert drawn <= set(np.argsort(-logits)[:k])
    assert {choose(logits, rng, 0.0) for _ in range(5)} == {logits.argmax()}
    assert {choose(np.zeros(3), rng, 1.0, top_k=2) for _ in range(50)} == {0, 1}  # a tie


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-300, 1e308])
def test_choose_at_the_ends_of_floating_point(temperature, rng):
    drawn = {
        choose(np.array([0.0, 3e38, -3e38, 1.0], np.float32), rng, temperature) for _ in range(20)
    }
    assert drawn == {1} if temperature < 1 else len(drawn) > 1
