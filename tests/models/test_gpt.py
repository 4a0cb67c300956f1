"""models/gpt.py against a GPT written with PyTorch, and generation with and without a cache."""

from itertools import islice

import numpy as np
import pytest

from models.gpt import GPT, Config
from nanoautograd import functional as F
from nanoautograd import no_grad
from nanoautograd.nn import add_adapters, load_random_state, random_state

SMALL = dict(vocab_size=7, block_size=8, layers=2, heads=2, d_model=6)


def reference(torch, w, x, layers, heads):
    """The logits, from PyTorch's functions alone; w: the weights by name."""
    f = torch.nn.functional

    def norm(z, name):
        return f.layer_norm(z, z.shape[-1:], w[name + ".weight"], w[name + ".bias"])

    def linear(z, name):
        return z @ w[name + ".weight"].T + w[name + ".bias"]

    B, T = x.shape
    z = w["embedding.weight"][x] + w["positions.weight"][:T]
    causal = torch.ones(T, T).tril() == 0
    for i in range(layers):
        a = norm(z, f"layers.{i}.norm1")
        a = (
            a @ w[f"layers.{i}.attention.in_proj_weight"].T
            + w[f"layers.{i}.attention.in_proj_bias"]
        )
        q, k, v = a.reshape(B, T, 3, heads, -1).permute(2, 0, 3, 1, 4)  # (B, H, T, d) each
        scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(causal, -torch.inf)
        o = (scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, -1)
        z = z + linear(o, f"layers.{i}.attention.out_proj")
        u = linear(norm(z, f"layers.{i}.norm2"), f"layers.{i}.up")
        z = z + linear(f.gelu(u, approximate="tanh"), f"layers.{i}.down")
    return norm(z, "norm") @ w["embedding.weight"].T


@pytest.mark.oracle
def test_logits_and_gradients_are_those_of_pytorch(rng):
    torch = pytest.importorskip("torch")
    model = GPT(Config(**SMALL), rng=0, dtype=np.float64)
    w = {
        n: (torch.tensor(a) + 0.3 * torch.tensor(rng.standard_normal(a.shape))).requires_grad_()
        for n, a in model.state_dict().items()
    }
    model.load_state_dict({n: a.detach().numpy() for n, a in w.items()})
    x, y = rng.integers(7, size=(2, 3, 8))
    logits, _ = model(x)
    logits_t = reference(torch, w, torch.tensor(x), 2, 2)
    np.testing.assert_allclose(logits.data, logits_t.detach().numpy(), rtol=1e-9, atol=1e-11)
    F.cross_entropy(logits.reshape(-1, 7), y.ravel()).backward()
    torch.nn.functional.cross_entropy(logits_t.reshape(-1, 7), torch.tensor(y.ravel())).backward()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(
            p.grad.data, w.pop(name).grad.numpy(), rtol=1e-8, atol=1e-11, err_msg=name
        )
    assert not w


def test_backends_agree_in_training(backend):
    """Dropout included, in float32."""
    x, y = np.random.default_rng(0).integers(7, size=(2, 3, 8))
    results = []
    for device, array in (("cpu", np.array), (backend.device, backend.array)):
        model = GPT(Config(**SMALL, dropout=0.2), rng=0).to(device)
        state = random_state(model)
        logits, _ = model(array(x))
        assert logits.dtype == np.float32
        F.cross_entropy(logits.reshape(-1, 7), array(y.ravel())).backward()
        results.append([backend.numpy(a) for a in (logits, *(p.grad for p in model.parameters()))])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert len(state) == 1 + 2 * 3 and all(offset == 0 for _, offset in state.values())
    again, _ = model(array(x))
    assert not np.array_equal(backend.numpy(again), results[1][0])
    load_random_state(model, state)  # the masks of the first time
    again, _ = model(array(x))
    np.testing.assert_array_equal(backend.numpy(again), results[1][0])


def test_in_parts_is_the_whole(backend):
    model = GPT(Config(**SMALL), rng=0, dtype=np.float64).to(backend.device)
    x = backend.array(np.random.default_rng(0).integers(7, size=(3, 8)))
    whole, _ = model(x)
    for cuts in ((0, 3, 8), (0, 1, 2, 6, 8), range(9)):
        past, parts = None, []
        for i, j in zip(cuts, cuts[1:]):
            before = past
            logits, past = model(x[:, i:j], past)
            parts.append(backend.numpy(logits))
        assert before[0].k.shape == (3, 2, cuts[-2], 3)  # not changed
        np.testing.assert_allclose(
            np.concatenate(parts, 1), backend.numpy(whole), rtol=1e-9, atol=1e-12
        )


def test_a_position_does_not_see_what_follows(rng):
    model = GPT(Config(**SMALL), rng=0, dtype=np.float64)
    x = rng.integers(7, size=(1, 8))
    a = model(x)[0].data
    x[0, 5:] = (x[0, 5:] + 1) % 7
    b = model(x)[0].data
    np.testing.assert_allclose(a[0, :5], b[0, :5], rtol=1e-12)
    assert (abs(a[0, 5:] - b[0, 5:]).max(-1) > 1e-6).all()


def without_cache(model, prompt, choose):
    """What GPT.generate promises, each token from the whole window at once."""
    block = model.config.block_size
    window = list(prompt)[-block:]
    while True:
        with no_grad():
            logits, _ = model(np.array([window]))
        token = choose(logits[0, -1].numpy())
        yield token
        window.append(token)
        if len(window) > block:
            window = window[-max(1, block // 2) :]


@pytest.mark.parametrize("block", [1, 2, 5, 8])
@pytest.mark.parametrize("length", [1, 4, 8, 30])
def test_generation_with_a_cache_is_that_without(rng, block, length):
    """Tokens are the same and logits too, over several windows."""
    model = GPT(Config(**SMALL | {"block_size": block}), rng=0, dtype=np.float64)
    for p in model.parameters():
        p.data += 0.3 * rng.standard_normal(p.shape)  # far from uniform
    prompt = rng.integers(7, size=length).tolist()

    def record(seen):
        chance = np.random.default_rng(1)

        def choose(logits):
            seen.append(logits)
            return int(chance.choice(7, p=F.softmax(logits)))

        return choose

    a, b = [], []
    tokens = list(islice(model.generate(prompt, record(a)), 30))
    assert tokens == list(islice(without_cache(model, prompt, record(b)), 30))
    assert len(set(tokens)) > 3
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_generation_in_single_precision(backend):
    """The greedy choice is the same on every backend, with the cache and without."""
    model = GPT(Config(**SMALL), rng=3)
    rng = np.random.default_rng(3)
    for p in model.parameters():
        p.data[:] += 0.2 * rng.standard_normal(p.shape)
    wanted = list(islice(without_cache(model, [1, 2], np.argmax), 20))
    assert list(islice(model.to(backend.device).generate([1, 2], np.argmax), 20)) == wanted


@pytest.mark.parametrize("adapted", [False, True])
def test_one_token_at_a_time_is_the_forward_pass(backend, rng, adapted):
    """Also where the layers have adapters, and after a past that was recorded."""
    model = GPT(Config(**SMALL), rng=0, dtype=np.float64)
    if adapted:
        add_adapters(model, 2, rng=0)
    for p in model.parameters():
        p.data += 0.3 * rng.standard_normal(p.shape)
    model.to(backend.device)
    text = rng.integers(7, size=8).tolist()
    whole = backend.numpy(model(backend.array([text]))[0])[0]
    _, past = model(backend.array([text[:3]]))
    for t in range(3, 8):
        logits, past = model.read(text[t : t + 1], past)
        np.testing.assert_allclose(logits, whole[t], rtol=1e-9, atol=1e-12)


def test_generation_in_training_drops_out():
    """What is written is what forward would choose with the same masks."""
    model = GPT(Config(**SMALL, dropout=0.5), rng=0, dtype=np.float64)
    state, seen = random_state(model), []

    def choose(logits):
        seen.append(logits)
        return 3

    list(islice(model.generate([1, 2], choose), 3))
    load_random_state(model, state)
    past = None
    for x, logits in zip([[[1, 2]], [[3]], [[3]]], seen):
        wanted, past = model(np.array(x), past)
        np.testing.assert_allclose(wanted.data[0, -1], logits, rtol=1e-12)
    assert len(seen) == 3 and not np.array_equal(seen[1], seen[2])


def test_weights_start_as_documented():
    model = GPT(Config(200, block_size=100, layers=8, d_model=64), rng=0)
    for name, p in model.named_parameters():
        if p.ndim == 2:
            added = name.endswith(("out_proj.weight", "down.weight"))
            assert p.data.std() == pytest.approx(0.02 / 4 if added else 0.02, rel=0.05), name
            assert abs(p.data.mean()) < 0.001
        else:
            assert (p.data == (name.endswith("weight"))).all(), name
    assert "embedding.weight" in dict(model.named_parameters()) and not any(
        "output" in n for n, _ in model.named_parameters()
    )  # the output has none of its own


def test_more_positions_than_a_block():
    model = GPT(Config(**SMALL), rng=0)
    with pytest.raises(ValueError, match="GPT: 9 positions, but a block has 8"):
        model(np.zeros((1, 9), np.int64))
    _, past = model(np.zeros((1, 6), np.int64))
    with pytest.raises(ValueError, match="GPT: 9 positions, but a block has 8"):
        model(np.zeros((1, 3), np.int64), past)


def test_a_full_block_is_refused_by_one_token_too():
    model = GPT(Config(7, block_size=4, layers=1, heads=2, d_model=8), 0)
    _, past = model.read([1, 2, 3])
    _, past = model.read([4], past)
    with pytest.raises(ValueError, match="5 positions, but a block has 4"):
        model.read([5], past)


def test_what_are_no_tokens_is_refused():
    model = GPT(Config(7, block_size=4, layers=1, heads=2, d_model=8), 0)
    with pytest.raises(ValueError, match="GPT.read: there must be a token or more"):
        model.read([])
    for tokens in ([1.5], [True], [1, 2.5]):
        with pytest.raises(TypeError, match="ids must be integers"):
            model.read(tokens)


@pytest.mark.parametrize("token", [-1, 7])
def test_a_token_that_is_none_is_refused_alone_and_among_others(token):
    model = GPT(Config(7, block_size=4, layers=1, heads=2, d_model=8), 0)
    _, past = model.read([1])
    for tokens in ([token], [1, token]):
        with pytest.raises(IndexError, match=f"{token}"):
            model.read(tokens, past)
