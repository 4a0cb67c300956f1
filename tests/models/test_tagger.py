"""models/tagger.py against PyTorch and against itself, and the tasks of tagging."""

from itertools import product

import numpy as np
import pytest

import nanoautograd as nag
from models.tagger import Config, Tagger
from nanoautograd.optim import Adam


def batch(rng, K=3):
    """(x, lengths, y): three sentences, of which two have padding (of any content)."""
    x = np.stack([rng.integers(7, size=(3, 4)), rng.integers(5, size=(3, 4))], axis=-1)
    return x, np.array([4, 1, 3]), rng.integers(K, size=(3, 4))


def make(rng, output, dtype=np.float64, **options):
    return Tagger(Config((7, 5), 3, 6, 2, 4, output=output, **options), rng, dtype)


@pytest.mark.oracle
@pytest.mark.parametrize("output", ["crf", "softmax"])
def test_emissions_loss_and_gradients_are_those_of_pytorch(output):
    """The sum over all sequences of tags is PyTorch's, one after another."""
    torch = pytest.importorskip("torch")
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embeddings = torch.nn.ModuleList(
                [torch.nn.Embedding(7, 6), torch.nn.Embedding(5, 2)]
            )
            self.lstm = torch.nn.LSTM(8, 4, 2, batch_first=True, bidirectional=True)
            self.output = torch.nn.Linear(8, 3)
            if output == "crf":
                self.crf = torch.nn.Module()
                for name, shape in [
                    ("start_transitions", 3),
                    ("end_transitions", 3),
                    ("transitions", (3, 3)),
                ]:
                    self.crf.register_parameter(name, torch.nn.Parameter(torch.zeros(shape)))

        def forward(self, x, lengths):
            e = torch.cat([E(x[..., f]) for f, E in enumerate(self.embeddings)], -1)
            packed = pack_padded_sequence(e, lengths, batch_first=True, enforce_sorted=False)
            h, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
            return self.output(h)

        def score(self, P, y):
            S = sum(P[t, j] for t, j in enumerate(y))
            if output == "crf":
                A, s, e = self.crf.transitions, self.crf.start_transitions, self.crf.end_transitions
                S = S + s[y[0]] + e[y[-1]] + sum(A[i, j] for i, j in zip(y, y[1:]))
            return S

        def loss(self, x, lengths, y):
            total = 0
            for P, n, tags in zip(self(x, lengths), lengths, y.tolist()):
                every = torch.stack([self.score(P, z) for z in product(range(3), repeat=int(n))])
                total = total + torch.logsumexp(every, 0) - self.score(P, tags[:n])
            return total / lengths.sum()

    rng = np.random.default_rng(0)
    ours, theirs = make(rng, output, layers=2).eval(), Model().double()
    theirs.load_state_dict({n: torch.tensor(a) for n, a in ours.state_dict().items()})
    x, lengths, y = batch(rng)
    P = ours(x, lengths)
    P_t = theirs(torch.tensor(x), torch.tensor(lengths)).detach().numpy()
    np.testing.assert_allclose(P.data, P_t, rtol=1e-10, atol=1e-12)
    loss, loss_t = ours.loss(x, lengths, y), theirs.loss(*map(torch.tensor, (x, lengths, y)))
    np.testing.assert_allclose(loss.item(), loss_t.item(), rtol=1e-12)
    loss.backward()
    loss_t.backward()
    gradients = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        np.testing.assert_allclose(
            p.grad.data, gradients[name].grad.numpy(), rtol=1e-8, atol=1e-13, err_msg=name
        )


@pytest.mark.parametrize("output", ["crf", "softmax"])
def test_decoding_finds_the_most_probable_tags(backend, output):
    rng = np.random.default_rng(1)
    model = make(rng, output, np.float32).eval()
    for name, p in model.named_parameters():
        if name.startswith("crf"):
            p.data = (3 * rng.standard_normal(p.shape)).astype(np.float32)
    model.to(backend.device)
    x, lengths, _ = batch(rng)
    decoded = backend.numpy(model.decode(backend.array(x), backend.array(lengths)))
    for b, n in enumerate(lengths):

        def loss(z):
            return model.loss(
                backend.array(x[b : b + 1, :n]), backend.array([n]), backend.array([z])
            ).item()

        assert tuple(decoded[b, :n]) == min(product(range(3), repeat=int(n)), key=loss)
        assert (decoded[b, n:] == 0).all()


@pytest.mark.parametrize("output", ["crf", "softmax"])
def test_padding_does_not_matter(backend, output):
    rng = np.random.default_rng(2)
    model = make(rng, output, np.float32).eval().to(backend.device)
    x, lengths, y = batch(rng)
    others = [a.copy() for a in (x, y)]
    for b, n in enumerate(lengths):
        for a in others:
            a[b, n:] = 0
    one, two = (
        model.loss(backend.array(x), backend.array(lengths), backend.array(y)).item()
        for x, y in ((x, y), others)
    )
    assert one == two
    each = [
        n * model.loss(*map(backend.array, (x[b : b + 1, :n], [n], y[b : b + 1, :n]))).item()
        for b, n in enumerate(lengths)
    ]
    np.testing.assert_allclose(one, sum(each) / lengths.sum(), rtol=1e-5)


@pytest.mark.parametrize("output", ["crf", "softmax"])
def test_gradients_by_finite_differences(output):
    rng = np.random.default_rng(3)
    model = make(rng, output).eval()
    x, lengths, y = batch(rng)
    model.loss(x, lengths, y).backward()
    for name, p in model.named_parameters():
        direction, step = rng.standard_normal(p.shape), 1e-6
        start, ends = p.data, []
        for sign in (1, -1):
            p.data = start + sign * step * direction
            ends.append(model.loss(x, lengths, y).item())
        p.data = start
        slope = (ends[0] - ends[1]) / (2 * step)
        assert float((p.grad.data * direction).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-9), (
            name
        )


def test_the_crf_learns_what_tags_follow_one_another(backend):
    """Tags alternate, and the words say nothing of where that begins: alone, each is a guess."""
    y = np.array([[0, 1, 0, 1, 0, 1], [1, 0, 1, 0, 1, 0]] * 4)
    x, lengths = np.zeros((8, 6, 1), np.int64), np.full(8, 6)
    x, lengths, y = map(backend.array, (x, lengths, y))
    loss = {}
    for output in ("crf", "softmax"):
        model = Tagger(Config((2,), 2, 3, 2, 4, dropout=0.0, output=output), 0).to(backend.device)
        optimizer = Adam(model.parameters(), lr=0.1)
        for _ in range(40):
            model.zero_grad()
            value = model.loss(x, lengths, y)
            value.backward()
            optimizer.step()
        loss[output] = value.item()
        tags = backend.numpy(model.decode(x, lengths))
        if output == "crf":
            assert (tags[:, 1:] != tags[:, :-1]).all()
    assert loss["crf"] == pytest.approx(np.log(2) / 6, abs=0.02)  # which of the two sentences
    assert loss["softmax"] > 0.69  # log 2, for each word


def test_dropout_is_in_training_alone():
    rng = np.random.default_rng(4)
    model = make(rng, "crf", dropout=0.5)
    x, lengths, y = batch(rng)
    assert model.loss(x, lengths, y).item() != model.loss(x, lengths, y).item()
    model.eval()
    assert model.loss(x, lengths, y).item() == model.loss(x, lengths, y).item()
    assert nag.is_grad_enabled() and make(5, "crf", np.float32)(x, lengths).dtype == np.float32
