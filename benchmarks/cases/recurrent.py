"""A training step of a recurrent language model: models/rnn.py, and the same in each library."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from ..case import Case, Product, forms, linear, training
from .losses import cross_entropy

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
KEPT = {"rnn": 1, "lstm": 6, "gru": 5}  # of a unit: h; i, f, g, o, c, h; r, z, n, e_n, h


@dataclass(frozen=True)
class Recurrent(Case):
    cell: str
    T: int
    B: int
    vocabulary: int = 96
    embedding: int = 128
    hidden: int = 256
    layers: int = 1

    def config(self):
        from models.rnn import Config

        return Config(self.vocabulary, self.embedding, self.hidden, self.layers, cell=self.cell)

    def arrays(self, dtype):
        from models.rnn import RNNLanguageModel

        rng = np.random.default_rng(0)
        model = RNNLanguageModel(self.config(), rng, dtype)
        x, y = rng.integers(0, self.vocabulary, (2, self.B, self.T))
        return {"weights": model.state_dict(), "x": x, "y": y}

    def work(self):
        V, D, H, G, N = (
            self.vocabulary,
            self.embedding,
            self.hidden,
            GATES[self.cell],
            self.T * self.B,
        )
        products, parameters = list(linear(N, H, V)), V * D + V * H + V
        for layer in range(self.layers):
            I = D if layer == 0 else H
            products += [
                *linear(N, I, G * H),
                Product(self.B, G * H, H, count=self.T),  # U h, step by step
                Product(self.B, H, G * H, count=self.T),  # Uᵀ da
                Product(G * H, H, N),
            ]  # dU
            parameters += G * H * (I + H + 2)
        kept = N * (D + V + self.layers * KEPT[self.cell] * H)  # and e_t, p_t
        return training(products, parameters, kept)

    @property
    def items(self):
        return self.T * self.B, "tokens"

    def ours(self, peer, a):
        from models.rnn import RNNLanguageModel

        F = peer.module.functional
        model = peer.model(RNNLanguageModel(self.config(), dtype=peer.dtype), a["weights"])

        def loss():
            logits, _ = model(a["x"])
            return F.cross_entropy(logits.reshape(-1, self.vocabulary), a["y"].reshape(-1))

        return peer.train(model, loss)

    def by_hand(self, peer, a):
        from models.rnn import RNNLanguageModel

        cell, embedding, linear, cross_entropy = forms(
            a["x"], self.cell, "embedding", "linear", "cross_entropy"
        )
        model = peer.model(RNNLanguageModel(self.config(), dtype=peer.dtype), a["weights"])
        p = dict(model.named_parameters())
        names = [name for name in p if name.startswith("rnn.")]
        states = 2 if self.cell == "lstm" else 1
        y = a["y"].reshape(-1)

        def gradient():
            w = {name: q.data for name, q in p.items()}
            e, cache_e = embedding.forward(a["x"], w["embedding.weight"])
            (h, *last), cache_h = cell.forward(
                e, *(None,) * states, *(w[n] for n in names), batch_first=True
            )
            z, cache_o = linear.forward(h, w["output.weight"], w["output.bias"])
            loss, cache_z = cross_entropy.forward(z.reshape(len(y), -1), y)
            dz = cross_entropy.backward(1.0, cache_z, (True, False, False))[0]
            dh, dW, db = linear.backward(dz, cache_o)
            zeros = [0 * s for s in last]  # nothing comes from the last states
            de, *rest = cell.backward((dh, *zeros), cache_h)
            return loss, {
                "output.weight": dW,
                "output.bias": db,
                "embedding.weight": embedding.backward(de, cache_e)[1],
                **dict(zip(names, rest[states:])),
            }

        return peer.train_by_hand(model, gradient)

    def torch(self, peer, a):
        torch, nn = peer.module, peer.module.nn
        case = self

        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                cell = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[case.cell]
                self.embedding = nn.Embedding(case.vocabulary, case.embedding)
                self.rnn = cell(case.embedding, case.hidden, case.layers, batch_first=True)
                self.output = nn.Linear(case.hidden, case.vocabulary)

            def forward(self, x):
                return self.output(self.rnn(self.embedding(x))[0])

        model = peer.model(Model(), a["weights"])

        def loss():
            logits = model(a["x"])
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1), a["y"].flatten())

        return peer.train(model, loss)

    def jax(self, peer, a):
        jax, np = peer.module, peer.module.numpy
        step = partial(STEPS[self.cell], np, jax.nn.sigmoid, self.hidden)

        def loss(w, x, y):
            h = w["embedding.weight"][x.T]  # (T, B, D)
            for i in range(self.layers):
                W, U, b, b_U = (w[f"rnn.{name}_l{i}"] for name in NAMES)

                def cell(states, Wx, U=U, b_U=b_U):
                    states = step(states, Wx, U, b_U)
                    return states, states[0]

                zero = np.zeros((self.B, self.hidden), h.dtype)
                _, h = jax.lax.scan(cell, (zero, zero), h @ W.T + b)
            z = h @ w["output.weight"].T + w["output.bias"]
            z = z - jax.nn.logsumexp(z, axis=-1, keepdims=True)
            return -np.take_along_axis(z, y.T[..., None], axis=-1).mean()

        return peer.train(a["weights"], loss, a["x"], a["y"])

    def autograd(self, peer, a):
        np = peer.module
        step = partial(STEPS[self.cell], np, lambda u: 0.5 * (np.tanh(0.5 * u) + 1.0), self.hidden)

        def loss(w, x, y):
            h = w["embedding.weight"][x.T]
            for i in range(self.layers):
                W, U, b, b_U = (w[f"rnn.{name}_l{i}"] for name in NAMES)
                Wx = np.dot(h, W.T) + b
                states, out = (np.zeros((self.B, self.hidden), U.dtype),) * 2, []
                for t in range(self.T):
                    states = step(states, Wx[t], U, b_U)
                    out.append(states[0])
                h = np.stack(out)
            z = np.dot(h, w["output.weight"].T) + w["output.bias"]
            return cross_entropy(np, z.reshape((-1, self.vocabulary)), y.T.reshape(-1))

        return peer.train(a["weights"], loss, a["x"], a["y"])


# ---------------------------------------------- the cells for libraries that have none of their own

NAMES = "weight_ih", "weight_hh", "bias_ih", "bias_hh"


def rnn_step(np, sigmoid, H, states, Wx, U, b):
    h = np.tanh(Wx + np.dot(states[0], U.T) + b)
    return h, h


def lstm_step(np, sigmoid, H, states, Wx, U, b):
    h, c = states
    a = Wx + np.dot(h, U.T) + b
    i, f, g, o = (a[:, k * H : (k + 1) * H] for k in range(4))
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(np, sigmoid, H, states, Wx, U, b):
    h, _ = states
    Uh = np.dot(h, U.T) + b
    r = sigmoid(Wx[:, :H] + Uh[:, :H])
    z = sigmoid(Wx[:, H : 2 * H] + Uh[:, H : 2 * H])
    n = np.tanh(Wx[:, 2 * H :] + r * Uh[:, 2 * H :])
    h = (1.0 - z) * n + z * h
    return h, h


STEPS = {"rnn": rnn_step, "lstm": lstm_step, "gru": gru_step}
