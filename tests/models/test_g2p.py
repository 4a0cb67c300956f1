"""Letters to phonemes: against PyTorch, and with the weights of g2p-en against a plain NumPy
loop."""

import re

import numpy as np
import pytest

import nanoautograd as nag
from models.data import installed, package_path, pad, read_text
from models.g2p import G2P, LETTERS, LONGEST, PHONEMES, Config
from nanoautograd.checkpoint import CheckpointError

needs_weights = pytest.mark.skipif(not installed("g2p-en"), reason="needs the package g2p-en")


def test_symbols_are_as_many_as_the_weights_have():
    assert len(LETTERS) == len(set(LETTERS)) == 29 and len(PHONEMES) == len(set(PHONEMES)) == 74


@pytest.mark.oracle
def test_it_is_that_of_pytorch(rng):
    torch = pytest.importorskip("torch")
    model = G2P(Config(29, 74, hidden=5), rng=0, dtype=np.float64)
    ours = dict(model.named_parameters())
    theirs = {name: torch.tensor(a, requires_grad=True) for name, a in model.state_dict().items()}
    words = [rng.integers(3, 29, n) for n in (4, 1, 6)]
    x, lengths = pad(words)
    y = rng.integers(4, 74, (3, 5))

    def gru(prefix, e, h):
        r = torch.nn.GRU(5, 5, batch_first=True, dtype=torch.float64)
        names = [f"{a}_{b}_l0" for a in ("weight", "bias") for b in ("ih", "hh")]
        return torch.func.functional_call(r, {n: theirs[f"{prefix}.{n}"] for n in names}, (e, h))

    def embedding(name, index):
        return theirs[f"{name}.weight"][torch.tensor(index)]

    ends = [gru("encoder", embedding("source", word)[None], None)[1] for word in words]
    s, _ = gru("decoder", embedding("target", y), torch.cat(ends, dim=1))
    expected = s @ theirs["output.weight"].T + theirs["output.bias"]
    logits = model(x, lengths, y)
    np.testing.assert_allclose(logits.detach().numpy(), expected.detach().numpy(), rtol=1e-10)
    g = rng.standard_normal(logits.shape)
    nag.sum(logits * g).backward()
    (expected * torch.tensor(g)).sum().backward()
    for name, p in ours.items():
        np.testing.assert_allclose(p.grad.numpy(), theirs[name].grad.numpy(), rtol=1e-8, atol=1e-12)


def test_steps_are_the_forward_pass(backend, rng):
    model = G2P(Config(29, 74, hidden=6), rng=1, dtype=np.float64).to(backend.device)
    x, lengths = pad([rng.integers(3, 29, n) for n in (3, 7)])
    y = rng.integers(4, 74, (2, 4))
    x, lengths, y = (nag.backends.to_device(a, backend.device) for a in (x, lengths, y))
    with nag.no_grad():
        logits, state = model(x, lengths, y).numpy(), model.start(x, lengths)
        for t in range(4):
            one, state = model.next(y[:, t], state)
            np.testing.assert_allclose(one.numpy(), logits[:, t], rtol=1e-12)


def reference(z, word):
    """The phonemes of a word, one number at a time, from the package's arrays."""

    def step(side, e, h):
        a = e @ z[f"{side}_w_ih"].T + z[f"{side}_b_ih"]
        b = h @ z[f"{side}_w_hh"].T + z[f"{side}_b_hh"]
        (ar, az, an), (br, bz, bn) = np.split(a, 3), np.split(b, 3)
        r, u = 1 / (1 + np.exp(-ar - br)), 1 / (1 + np.exp(-az - bz))
        return (1 - u) * np.tanh(an + r * bn) + u * h

    h = np.zeros(256, np.float32)
    for letter in [*word, "</s>"]:
        h = step("enc", z["enc_emb"][LETTERS.index(letter)], h)
    said, last = [], PHONEMES.index("<s>")
    while len(said) < LONGEST:
        h = step("dec", z["dec_emb"][last], h)
        last = int((z["fc_w"] @ h + z["fc_b"]).argmax())
        if PHONEMES[last] == "</s>":
            break
        said.append(PHONEMES[last])
    return said


@pytest.mark.data
@needs_weights
def test_the_weights_of_g2p_en():
    model = G2P.pretrained()
    assert " ".join(model.pronounce(["hello"])[0]) == "HH EH1 L OW0"
    z = np.load(package_path("g2p-en", "checkpoint20.npz"), allow_pickle=False)
    words = sorted(set(re.findall("[a-z]+", read_text("python").lower())))[::20]
    assert model.pronounce(words) == [reference(z, word) for word in words]
    assert model.pronounce([]) == [] and len(model.pronounce(["é", ""])) == 2


def test_weights_of_another_model(tmp_path):
    np.savez(tmp_path / "a.npz", enc_emb=np.zeros((29, 64), np.float32))
    with pytest.raises(
        CheckpointError,
        match=r"(?s)missing: dec_emb \(74, 256\).*"
        r"mis-shaped: enc_emb is \(29, 64\), the model has \(29, 256\)",
    ):
        G2P.pretrained(tmp_path / "a.npz")
