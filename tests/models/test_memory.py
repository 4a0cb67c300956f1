"""Memory that is used again: no value of one step gets into another.

Training steps give the same bits whether freed memory is kept, handed back, or poisoned: filled,
as soon as it is freed, with a number that would show in whatever read what it had not written.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from models import gpt, rnn
from nanoautograd import functional as F

V = 11  # symbols


def recurrent(cell, width):
    config = rnn.Config(vocab_size=V, embedding=width, hidden=width, cell=cell, layers=2)
    return rnn.RNNLanguageModel(config, 0)


MODELS = {
    "rnn": lambda width: recurrent("rnn", width),
    "lstm": lambda width: recurrent("lstm", width),
    "gru": lambda width: recurrent("gru", width),
    "gpt": lambda width: gpt.GPT(
        gpt.Config(V, 16, layers=2, heads=2, d_model=4 * width, dropout=0.2), 0
    ),
}


def steps(model, batch, length, n=3):
    """What n steps of training leave behind: losses, gradients and weights, as bytes."""
    rng = np.random.default_rng(0)
    optimizer, left = nag.optim.AdamW(model.parameters(), lr=1e-2), []
    for _ in range(n):
        x, y = rng.integers(V, size=(2, batch, length))
        logits, _ = model(x, None)
        loss = F.cross_entropy(logits.reshape(-1, V), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        norm = nag.optim.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        left += [loss.item(), norm]
    return left, [a.data.tobytes() for p in model.parameters() for a in (p, p.grad)]


@pytest.fixture(autouse=True)
def as_before():
    yield
    nag.keep_memory(False)
    nag.set_num_threads(1)


@given(
    name=st.sampled_from(sorted(MODELS)),
    width=st.integers(1, 40),
    batch=st.integers(1, 40),
    length=st.integers(1, 16),
    poison=st.integers(1, 254),
    n=st.integers(1, 2),
)
def test_steps_do_not_depend_on_what_memory_held(name, width, batch, length, poison, n):
    nag.set_num_threads(n)
    results = []
    for keep, filled in ((False, 0), (True, 0), (True, poison), (False, poison)):
        nag.keep_memory(keep, poison=filled)
        results.append(steps(MODELS[name](width), batch, length))
    assert results[1:] == results[:1] * 3


def test_who_does_not_write_what_it_reads_is_found(monkeypatch):
    monkeypatch.setattr(np, "zeros_like", np.empty_like)
    results = []
    for poison in (17, 200):
        nag.keep_memory(poison=poison)
        with np.errstate(all="ignore"):
            results.append(steps(MODELS["gpt"](16), 8, 16))
    assert results[0] != results[1]
