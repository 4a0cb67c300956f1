"""models/inference/decoder.py: texts of different lengths in one batch, filled up in front, give
GPT and Llama the same logits, gradients and tokens as one by one."""

from dataclasses import replace
from itertools import islice, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import gpt, llama
from models.inference import decoder
from models.inference.sampling import Sampler
from nanoautograd import no_grad
from nanoautograd.nn.padding import mask, mask_before

MODELS = {
    "gpt": (gpt.GPT, gpt.Config(7, block_size=9, layers=2, heads=2, d_model=8)),
    "llama, a key head for two": (
        llama.Llama,
        llama.Config(7, 9, 2, d_model=8, heads=4, kv_heads=2, feed_forward=8),
    ),
    "llama, a key head for each": (
        llama.Llama,
        llama.Config(7, 9, 2, d_model=8, heads=2, kv_heads=2, feed_forward=8),
    ),
}
LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=4)


def random(name, dtype=np.float64, **changes):
    Model, config = MODELS[name]
    model, rng = Model(replace(config, **changes), rng=0, dtype=dtype), np.random.default_rng(0)
    for p in model.parameters():
        p.data += 0.3 * rng.standard_normal(p.shape).astype(dtype)
    return model.eval()


def padded(rng, lengths, T):
    """Texts of these lengths at the end of rows of T tokens, and how many are before each."""
    return rng.integers(7, size=(len(lengths), T)), [T - n for n in lengths]


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data(), lengths=LENGTHS)
def test_logits_are_those_of_each_text_alone(backend, name, data, lengths):
    """At once, in pieces, and one token at a time, with the cache."""
    model, rng = random(name).to(backend.device), np.random.default_rng(0)
    T = max(lengths) + data.draw(st.integers(0, 3))
    x, padding = padded(rng, lengths, T)
    if data.draw(st.booleans()):
        padding = backend.array(padding)
    cuts = data.draw(st.sets(st.integers(T - min(lengths) + 1, T - 1))) if min(lengths) > 1 else ()
    parts, past = [], None
    with no_grad():
        for i, j in zip([0, *sorted(cuts)], [*sorted(cuts), T]):
            logits, past = model(backend.array(x[:, i:j]), past, padding if i == 0 else None)
            parts.append(backend.numpy(logits))
    found = np.concatenate(parts, axis=1)
    for row, n in enumerate(lengths):
        with no_grad():
            alone, _ = model(backend.array(x[row : row + 1, T - n :]))
        np.testing.assert_allclose(
            found[row, T - n :], backend.numpy(alone)[0], rtol=1e-9, atol=1e-11
        )


@pytest.mark.parametrize("name", MODELS)
def test_logits_in_single_precision(backend, name):
    model = random(name, np.float32).to(backend.device)
    x, padding = padded(np.random.default_rng(1), [8, 1, 4], 8)
    found = backend.numpy(model(backend.array(x), None, padding)[0])
    assert found.dtype == np.float32 and np.isfinite(found).all()  # at padding, too
    for row, n in zip(padding, range(3)):
        alone = model(backend.array(x[n : n + 1, row:]))[0]
        np.testing.assert_allclose(found[n, row:], backend.numpy(alone)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("B", [1, 2])
def test_one_token_at_a_time_behind_padding(backend, name, B):
    """As `read` does it, by the shorter way for one position where there is one."""
    model = random(name).to(backend.device)
    x, padding = padded(np.random.default_rng(0), [5, 6][:B], 9)
    whole = backend.numpy(model(backend.array(x), None, padding)[0])
    _, past = model.read_batch(x[:, :5], None, padding)
    for t in range(5, 9):
        logits, past = model.read_batch(x[:, t : t + 1], past)
        np.testing.assert_allclose(logits, whole[:, t], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_each_text_alone(name, rng):
    model, lengths, T = random(name), [2, 6, 1], 6
    x, padding = padded(rng, lengths, T)
    g = rng.standard_normal((3, T, 7))
    g[mask_before(x, padding, T) == 0] = 0.0  # nobody looks at what padding gives
    (model(x, None, padding)[0] * g).sum().backward()
    found = [p.grad.numpy().copy() for p in model.parameters()]
    model.zero_grad()
    for row, n in enumerate(lengths):
        (model(x[row : row + 1, T - n :])[0] * g[row : row + 1, T - n :]).sum().backward()
    for (p, parameter), gradient in zip(model.named_parameters(), found):
        alone = parameter.grad.numpy()
        if p == "positions.weight":  # of places that no text has reached
            assert not gradient[T:].any()
        np.testing.assert_allclose(gradient, alone, rtol=1e-8, atol=1e-11, err_msg=p)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("lengths", [[3, 1, 5], [1, 12, 9], [4, 4], [2]])
def test_several_prompts_go_on_as_each_alone(backend, monkeypatch, name, lengths):
    """Tokens and logits, over several blocks, of prompts that are read in chunks."""
    monkeypatch.setattr(decoder, "CHUNK", 2)
    model, rng = random(name).to(backend.device), np.random.default_rng(2)
    prompts = [rng.integers(7, size=n).tolist() for n in lengths]

    def recording(seen, seed):
        sampler = Sampler(np.random.default_rng(seed), temperature=1.5)

        def choose(logits):
            seen.append(logits)
            return sampler(logits)

        return choose

    together = [[] for _ in prompts]
    choose = [recording(seen, i) for i, seen in enumerate(together)]
    rows = list(islice(model.generate_batch(prompts, choose), 25))
    for i, prompt in enumerate(prompts):
        alone = []
        tokens = list(islice(model.generate(prompt, recording(alone, i)), 25))
        assert tokens == [row[i] for row in rows] and len(set(tokens)) > 2
        np.testing.assert_allclose(together[i], alone, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_each_is_written_up_to_its_end(name):
    model, prompts = random(name), [[1, 2, 3], [4], [5, 6]]

    def choosers():
        return [Sampler(np.random.default_rng(i), temperature=1.5) for i in range(3)]

    without = model.write(prompts, choosers(), 12)
    assert [len(tokens) for tokens in without] == [12] * 3
    for ends in {0}, {1, 2}, {3}:
        found = model.write(prompts, choosers(), 12, ends)
        for tokens, whole in zip(found, without):
            n = next((i for i, token in enumerate(whole) if token in ends), 12)
            assert tokens == whole[:n]
    assert model.write([], [], 12) == [] and model.write(prompts, choosers(), 0) == [[], [], []]


def test_what_is_no_padding_is_refused(backend):
    model = random("gpt").to(backend.device)
    x = backend.array(np.ones((2, 3), int))
    for padding, why in (
        ([0, 3], r"padding must be from 0 to 2; got \[0, 3\]"),
        ([-1, 0], r"padding must be from 0 to 2; got \[-1, 0\]"),
        ([1], "padding must be an integer for each of the 2 rows; got int64 of shape"),
        ([0.5, 1.0], "padding must be an integer for each of the 2 rows; got float64"),
    ):
        with pytest.raises(ValueError, match=why):
            model(x, None, padding)
    _, past = model(x, None, [0, 2])
    with pytest.raises(ValueError, match="padding is told where a block begins, and"):
        model(x, past, [0, 2])
    with pytest.raises(ValueError, match="the prompt needs a token or more"):
        next(model.generate_batch([[1], []], [None, None]))


@pytest.mark.parametrize("name", MODELS)
def test_one_token_more_than_a_block_is_refused(name):
    """By each way into the model, with padding and without, one token at a time or several."""
    model = random(name)
    for piece, padding in product((1, 2, 9), (None, [0])):
        past = None
        for _ in range(0, 9 - 9 % piece, piece):
            pad = padding if past is None else None
            _, past = model.read_batch(np.ones((1, piece), int), past, pad)
        n = 9 - len(past[0]) + 1
        for read in (
            lambda past: model.read([1] * n, past),
            lambda past: model(np.ones((1, n), int), past),
            lambda past: model.hidden(np.ones((1, n), int), past),
            lambda past: model.read_batch(np.ones((1, n), int), past),
        ):
            with pytest.raises(ValueError, match="10 positions, but a block has 9"):
                read(past)


def test_masks_of_both_sides(backend):
    x = backend.array(np.zeros((3, 4), int))
    for lengths in ([1, 4, 2], np.array([1, 4, 2], np.int32), backend.array([1, 4, 2])):
        ahead = backend.numpy(mask(x, lengths))
        np.testing.assert_array_equal(ahead, [[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]])
        padding = 4 - np.array([1, 4, 2])
        np.testing.assert_array_equal(backend.numpy(mask_before(x, padding, 4)), ahead[:, ::-1])
