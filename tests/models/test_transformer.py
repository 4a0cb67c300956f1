"""models/transformer.py against torch.nn.Transformer, and step by step against the whole."""

from itertools import chain

import numpy as np
import pytest

from models.inference import decoding
from models.transformer import Config, Transformer, positions
from nanoautograd import functional as F
from nanoautograd import no_grad

SMALL = dict(
    source=7, target=6, d_model=8, heads=2, layers=2, feed_forward=9, dropout=0.0, longest=10
)
COPY = {"target": 7, "copy": True}
X = np.array([[1, 2, 3, 4, 5], [6, 5, 0, 0, 0], [3, 3, 1, 0, 0]])
LENGTHS = [5, 2, 3]
Y = np.array([[1, 2, 3, 4], [1, 5, 5, 0], [1, 0, 2, 3]])


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_it_is_that_of_pytorch(norm):
    torch = pytest.importorskip("torch")
    model = Transformer(Config(**SMALL, norm=norm), rng=0, dtype=np.float64)
    theirs = torch.nn.Transformer(
        8, 2, 2, 2, 9, 0.0, norm_first=norm == "pre", batch_first=True, dtype=torch.float64
    )
    state = {
        n: torch.tensor(a) + 0.05 * torch.randn(a.shape, dtype=torch.float64)
        for n, a in model.state_dict().items()
    }  # no bias 0, no gain 1
    model.load_state_dict({n: a.numpy() for n, a in state.items()})
    E, R = (state[f"{n}.weight"].clone().requires_grad_() for n in ("source", "target"))
    theirs.load_state_dict({n: a for n, a in state.items() if n[:2] in ("en", "de")})

    P = torch.tensor(positions(0, 5, 8))
    hidden = torch.arange(5) >= torch.tensor(LENGTHS)[:, None]
    z = theirs(
        8**0.5 * E[X] + P,
        8**0.5 * R[Y] + P[:4],
        tgt_mask=torch.triu(torch.ones(4, 4, dtype=torch.bool), 1),
        src_key_padding_mask=hidden,
        memory_key_padding_mask=hidden,
    )
    wanted = z @ R.T
    logits = model(X, LENGTHS, Y)
    np.testing.assert_allclose(logits.data, wanted.detach().numpy(), rtol=1e-9, atol=1e-11)

    u = np.random.default_rng(0).standard_normal(logits.shape)
    (logits * u).sum().backward()
    (wanted * torch.tensor(u)).sum().backward()
    grads = {
        "source.weight": E.grad,
        "target.weight": R.grad,
        **{n: p.grad for n, p in theirs.named_parameters()},
    }
    for name, p in model.named_parameters():
        np.testing.assert_allclose(
            p.grad.data, grads.pop(name).numpy(), rtol=1e-8, atol=1e-10, err_msg=name
        )
    assert not grads


def test_positions_are_sines_and_cosines_of_the_paper():
    P = positions(0, 50, 6)
    for t, i in ((0, 0), (7, 1), (49, 2)):
        angle = t / 10000 ** (2 * i / 6)
        assert P[t, 2 * i] == pytest.approx(np.sin(angle))
        assert P[t, 2 * i + 1] == pytest.approx(np.cos(angle))
    np.testing.assert_array_equal(positions(13, 4, 6), P[13:17])
    assert positions(0, 3, 5).shape == (3, 5)


@pytest.mark.parametrize("options", [{}, {"norm": "post"}, COPY])
def test_step_by_step_is_the_whole(backend, options):
    model = Transformer(Config(**SMALL | options), rng=0, dtype=np.float64).to(backend.device)
    x, y = backend.array(X), backend.array(Y)
    whole = backend.numpy(model(x, LENGTHS, y))
    state = model.start(x, LENGTHS)
    for t in range(4):
        for a in (state.x, state.seen, state.m, *chain(*state.layers)):
            assert a is None or len(a) == 3
        logits, after = model.next(y[:, t], state)
        np.testing.assert_allclose(backend.numpy(logits), whole[:, t], rtol=1e-9, atol=1e-12)
        assert (state.layers[0].k is None) == (t == 0)  # the state before is as it was
        state = after


@pytest.mark.parametrize("options", [{}, COPY])
def test_padding_does_not_matter(backend, options):
    model = Transformer(Config(**SMALL | options), rng=0, dtype=np.float64).to(backend.device)
    y = backend.array(Y[1:2])
    short = model(backend.array(X[1:2, :2]), [2], y)
    padded = model(backend.array(np.array([[6, 5, 4, 4, 4]])), backend.array([2]), y)
    np.testing.assert_allclose(backend.numpy(padded), backend.numpy(short), rtol=1e-10, atol=1e-12)
    later = np.array(Y[1:2])
    later[0, 2:] = 4  # nor what comes later in the target
    np.testing.assert_allclose(
        backend.numpy(model(backend.array(X[1:2, :2]), [2], backend.array(later)))[:, :2],
        backend.numpy(short)[:, :2],
        rtol=1e-10,
        atol=1e-12,
    )


def test_backends_agree_in_training(backend):
    """Dropout included, in float32."""
    results = []
    for device, array in (("cpu", np.array), (backend.device, backend.array)):
        model = Transformer(Config(**SMALL | {"dropout": 0.3}), rng=0).to(device)
        logits = model(array(X), LENGTHS, array(Y))
        assert logits.dtype == np.float32
        F.cross_entropy(logits.reshape(-1, 6), array(Y.ravel())).backward()
        results.append([backend.numpy(a) for a in (logits, *(p.grad for p in model.parameters()))])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    with no_grad():
        again = model(array(X), LENGTHS, array(Y))
        assert not np.array_equal(backend.numpy(again), results[1][0])  # another mask
        calm = [backend.numpy(model.eval()(array(X), LENGTHS, array(Y))) for _ in range(2)]
    np.testing.assert_array_equal(*calm)


def test_greedy_decoding_is_the_beam_search_of_one(backend):
    """Greedy decoding is the beam search of one, and follows the logits of the whole."""
    model = Transformer(Config(**SMALL), rng=0).to(backend.device).eval()
    x = backend.array(X)
    written = decoding.greedy(model, x, LENGTHS, 1, 0, 8)
    beams = decoding.beam_search(model, x, LENGTHS, 1, 0, 8, width=1)
    assert [[int(t) for t in tokens] for ((_, tokens),) in beams] == [
        [int(t) for t in tokens] for tokens in written
    ]
    for row, tokens in enumerate(written):
        y = np.array([[1, *tokens]])
        logits = backend.numpy(model(x[row : row + 1], LENGTHS[row : row + 1], backend.array(y)))
        assert logits[0].argmax(-1)[:-1].tolist() == [int(t) for t in tokens]
    wide = decoding.beam_search(model, x, LENGTHS, 1, 0, 8, width=3)
    assert all(best[0][0] >= one[0][0] - 1e-4 for best, one in zip(wide, beams))


def test_weights_start_as_documented():
    model = Transformer(Config(50, 60, d_model=64, layers=2, feed_forward=96), rng=0)
    first, second = (layer.state_dict() for layer in model.encoder.layers)
    for name, p in model.named_parameters():
        if name in ("source.weight", "target.weight"):
            assert p.data.std() == pytest.approx(1 / 8, rel=0.1)
        elif p.ndim == 2:
            bound = (6 / sum(p.shape)) ** 0.5
            assert 0.98 * bound < abs(p.data).max() <= bound, name
        else:
            assert (p.data == ("norm" in name and name.endswith("weight"))).all(), name
    assert not np.array_equal(first["linear1.weight"], second["linear1.weight"])


def test_a_sequence_that_is_too_long():
    model = Transformer(Config(**SMALL), rng=0)
    x = np.ones((1, 11), np.int64)
    with pytest.raises(ValueError, match="a sequence of 11 tokens, but the model takes 10"):
        model(x, [11], Y[:1])
    with pytest.raises(ValueError, match="11 tokens, but the model takes 10"):
        model(x[:, :10], [10], x)
    state = model.start(x[:, :10], [10])
    for _ in range(10):
        _, state = model.next(x[:, 0], state)
    with pytest.raises(ValueError, match="11 tokens, but the model takes 10"):
        model.next(x[:, 0], state)


def test_copying_gives_what_the_equations_say(backend):
    """What the equations say, for each target and symbol; and every weight gets a gradient."""
    model = Transformer(Config(**SMALL | COPY), rng=1, dtype=np.float64).to(backend.device)
    x, y = backend.array(X), backend.array(Y)
    logits = model(x, LENGTHS, y)
    p = np.exp(backend.numpy(logits))
    np.testing.assert_allclose(p.sum(axis=-1), 1.0, atol=1e-7)
    F.cross_entropy(logits.reshape(-1, 7), y.reshape(-1)).backward()
    assert all(backend.numpy(p.grad).any() for p in (model.align.weight, *model.copy.parameters()))
    gate = model.copy.gate
    gate.weight.data[:], gate.bias.data[:] = 0.0, -40.0  # copied alone
    copied = np.exp(backend.numpy(model(x, LENGTHS, y)))
    for b, n in enumerate(LENGTHS):
        absent = [r for r in range(7) if r not in X[b, :n]]
        np.testing.assert_allclose(copied[b][:, absent], 0.0, atol=1e-8)
    gate.bias.data[:] = 40.0  # not at all
    written = F.softmax(model(x, LENGTHS, y))
    gate.bias.data[:] = 0.0  # half and half
    half = np.exp(backend.numpy(model(x, LENGTHS, y)))
    np.testing.assert_allclose(half, (copied + backend.numpy(written)) / 2, atol=1e-8)
    with pytest.raises(ValueError, match="must have the same symbols; got 7 and 6"):
        Transformer(Config(**SMALL, copy=True))
