"""The loss of language models, with few logits and with many, which are never there as a whole."""

import numpy as np
import pytest

from models import gpt, llama, rnn
from models.tasks import language
from nanoautograd import functional as F
from nanoautograd.nn.lora import LoRALinear

V = 11
MODELS = {
    "gpt": lambda: gpt.GPT(gpt.Config(V, 8, layers=1, heads=2, d_model=8), 0, np.float64),
    "llama": lambda: llama.Llama(small_llama(True), 0, np.float64),
    "llama, not tied": lambda: llama.Llama(small_llama(False), 0, np.float64),
    "llama with an adapter": lambda: adapted(llama.Llama(small_llama(False), 0, np.float64)),
    "rnn": lambda: rnn.RNNLanguageModel(rnn.Config(V, 4, 6), 0, np.float64),
    "rnn with an adapter": lambda: adapted(
        rnn.RNNLanguageModel(rnn.Config(V, 4, 6), 0, np.float64)
    ),
}


def small_llama(tied):
    return llama.Config(V, 8, layers=1, d_model=8, heads=2, kv_heads=1, feed_forward=12, tied=tied)


def adapted(model):
    model.output = LoRALinear(model.output, 2, rng=0)
    model.output.lora_B.data[:] = np.random.default_rng(0).standard_normal((V, 2))
    return model


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_is_the_same_with_many_logits(monkeypatch, name):
    """To that of the logits that the model itself returns; and so are all gradients."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, V, (2, 3, 5))
    found, calls, chunked = [], [], F.linear_cross_entropy
    monkeypatch.setattr(F, "linear_cross_entropy", lambda *a: calls.append(1) or chunked(*a))
    for many in (None, 15 * V + 1, 15 * V):
        model = MODELS[name]()
        if many is None:
            logits, _ = model(x)
            loss = F.cross_entropy(logits.reshape(-1, V), y.reshape(-1))
        else:
            monkeypatch.setattr(language, "MANY", many)
            z, _ = model.hidden(x)
            loss = language.cross_entropy(model, z.reshape(-1, z.shape[-1]), y.reshape(-1))
        loss.backward()
        found.append([loss.item(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(calls) == ("adapter" not in name)  # in the last of them
    for other in found[1:]:
        assert len(other) == len(found[0]) > 5
        for a, b in zip(other, found[0]):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
