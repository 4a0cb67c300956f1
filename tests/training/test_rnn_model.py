"""models/rnn.py against PyTorch and against itself, and the choice of the next token."""

from itertools import islice

import numpy as np
import pytest

import nanoautograd as nag
from models.rnn import Config, RNNLanguageModel
from models.sampling import choose


@pytest.mark.oracle
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_outputs_and_gradients_are_those_of_pytorch(rng, nonlinearity):
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(7, 3)
            self.rnn = torch.nn.RNN(3, 5, 2, nonlinearity=nonlinearity, batch_first=True)
            self.output = torch.nn.Linear(5, 7)

        def forward(self, x, h):
            out, h = self.rnn(self.embedding(x), h)
            return self.output(out), h

    ours = RNNLanguageModel(Config(7, 3, 5, 2, nonlinearity), rng, np.float64)
    theirs = Model().double()
    theirs.load_state_dict({n: torch.tensor(a) for n, a in ours.state_dict().items()})
    x, y, h = rng.integers(7, size=(4, 6)), rng.integers(7, size=(4, 6)), rng.random((2, 4, 5))
    logits, h_n = ours(x, h)
    logits_t, h_t = theirs(torch.tensor(x), torch.tensor(h))
    np.testing.assert_allclose(logits.data, logits_t.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(h_n.data, h_t.detach().numpy(), rtol=1e-10, atol=1e-12)
    loss = nag.functional.cross_entropy(logits.reshape(-1, 7), y.reshape(-1))
    loss_t = torch.nn.functional.cross_entropy(logits_t.reshape(-1, 7), torch.tensor(y.reshape(-1)))
    loss.backward()
    loss_t.backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-8, atol=1e-12, err_msg=name)


def test_reading_in_pieces_is_reading_at_once(backend, rng):
    model = RNNLanguageModel(Config(7, 3, 5, 2), 0).to(backend.device)
    x = backend.array(rng.integers(7, size=(4, 10)))
    whole, h = model(x)
    first, h_1 = model(x[:, :6])
    second, h_2 = model(x[:, 6:], h_1)
    assert whole.dtype == np.float32
    for a, b in [(whole[:, :6], first), (whole[:, 6:], second), (h, h_2)]:
        np.testing.assert_allclose(backend.numpy(a), backend.numpy(b), rtol=1e-5, atol=1e-6)


def test_generation_carries_the_state(backend):
    """Greedy continuation, a token at a time, is the argmax after reading all of it anew."""
    model = RNNLanguageModel(Config(7, 3, 16), 0).to(backend.device)
    text = [3, 1, 4, 1, 5]
    tokens = model.generate(text, lambda logits: choose(logits, None, temperature=0.0))
    for token in islice(tokens, 20):
        logits, _ = model(backend.array([text]))
        assert nag.is_grad_enabled() and logits.requires_grad
        assert token == backend.numpy(logits)[0, -1].argmax()
        text.append(token)


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
    assert {choose(np.zeros(3), rng, 1.0, top_k=2) for _ in range(50)} == {0, 1}    # a tie


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-300, 1e308])
def test_choose_at_the_ends_of_floating_point(temperature, rng):
    drawn = {choose(np.array([0.0, 3e38, -3e38, 1.0], np.float32), rng, temperature)
             for _ in range(20)}
    assert drawn == {1} if temperature < 1 else len(drawn) > 1
