"""Fine-tuning of BERT (models/bert.py): a training step of the classifier of texts.

Dropout is 0, for no two libraries drop the same; the lengths of the texts differ, and what is
beyond them is masked.
"""

from dataclasses import dataclass

import numpy as np

from ..case import Case, attention, linear, training
from . import losses

EPS = 1e-12


@dataclass(frozen=True)
class Bert(Case):
    T: int
    B: int
    layers: int = 6
    width: int = 384
    heads: int = 12
    vocabulary: int = 30522
    positions: int = 512
    classes: int = 2

    def config(self):
        from models.bert import ClassifierConfig

        return ClassifierConfig(
            self.vocabulary,
            self.width,
            self.layers,
            self.heads,
            4 * self.width,
            self.positions,
            dropout=0.0,
            classes=self.classes,
        )

    def arrays(self, dtype):
        from models.bert import Classifier

        rng = np.random.default_rng(0)
        model = Classifier(self.config(), rng, dtype)
        return {
            "weights": model.state_dict(),
            "x": rng.integers(0, self.vocabulary, (self.B, self.T)),
            "lengths": rng.integers(max(1, self.T // 2), self.T + 1, self.B),
            "y": rng.integers(0, self.classes, self.B),
        }

    def work(self):
        V, D, N, L = self.vocabulary, self.width, self.T * self.B, self.layers
        one = (
            *linear(N, D, D) * 4,
            *linear(N, D, 4 * D),
            *linear(N, 4 * D, D),
            *attention(self.B * self.heads, self.T, D // self.heads, causal=False),
        )
        parameters = (
            L * (12 * D * D + 13 * D) + (V + self.positions + 4) * D + self.classes * (D + 1)
        )
        kept = N * (L * 14 * D + D)  # two norms, q, k, v, o, W₁'s result and its gelu
        return training(one * L, parameters, kept)

    @property
    def items(self):
        return self.B, "texts"

    def ours(self, peer, a):
        from models.bert import Classifier

        F = peer.module.functional
        model = peer.model(Classifier(self.config(), dtype=peer.dtype), a["weights"])
        return peer.train(model, lambda: F.cross_entropy(model(a["x"], a["lengths"]), a["y"]))

    def torch(self, peer, a):
        torch, nn, F = peer.module, peer.module.nn, peer.module.nn.functional
        D, H, case = self.width, self.heads, self

        class Attention(nn.Module):
            def __init__(self):
                super().__init__()
                self.query, self.key, self.value, self.output = (nn.Linear(D, D) for _ in range(4))

            def forward(self, z, seen):
                q, k, v = (
                    layer(z).view(*z.shape[:2], H, D // H).transpose(1, 2)
                    for layer in (self.query, self.key, self.value)
                )
                o = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
                return self.output(o.transpose(1, 2).reshape(z.shape))

        class Layer(nn.Module):
            def __init__(self):
                super().__init__()
                self.attention = Attention()
                self.norm1, self.norm2 = nn.LayerNorm(D, EPS), nn.LayerNorm(D, EPS)
                self.up, self.down = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

            def forward(self, z, seen):
                z = self.norm1(z + self.attention(z, seen))
                return self.norm2(z + self.down(F.gelu(self.up(z))))

        class Encoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.words = nn.Embedding(case.vocabulary, D)
                self.positions = nn.Embedding(case.positions, D)
                self.types = nn.Embedding(2, D)
                self.norm = nn.LayerNorm(D, EPS)
                self.layers = nn.ModuleList(Layer() for _ in range(case.layers))

        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.bert = Encoder()
                self.output = nn.Linear(D, case.classes)

            def forward(self, x, lengths):
                T, bert = x.shape[1], self.bert
                inside = torch.arange(T, device=x.device) < lengths[:, None]  # (B, T)
                z = bert.norm(bert.words(x) + bert.positions.weight[:T] + bert.types.weight[0])
                for layer in bert.layers:
                    z = layer(z, inside[:, None, None])
                v = z.masked_fill(~inside[..., None], 0.0).sum(dim=1) / lengths[:, None]
                return self.output(v)

        model = peer.model(Classifier(), a["weights"])
        return peer.train(model, lambda: F.cross_entropy(model(a["x"], a["lengths"]), a["y"]))

    def jax(self, peer, a):
        jax, np, H = peer.module, peer.module.numpy, self.heads

        def loss(w, x, lengths, y):
            B, T = x.shape
            inside = np.arange(T) < lengths[:, None]
            z = (
                w["bert.words.weight"][x]
                + w["bert.positions.weight"][:T]
                + w["bert.types.weight"][0]
            )
            z = losses.layer_norm(np, z, w["bert.norm.weight"], w["bert.norm.bias"], EPS)
            for i in range(self.layers):

                def affine(name, z, i=i):
                    return (
                        z @ w[f"bert.layers.{i}.{name}.weight"].T
                        + w[f"bert.layers.{i}.{name}.bias"]
                    )

                def norm(name, z, i=i):
                    return losses.layer_norm(
                        np,
                        z,
                        w[f"bert.layers.{i}.{name}.weight"],
                        w[f"bert.layers.{i}.{name}.bias"],
                        EPS,
                    )

                q, k, v = (
                    affine(f"attention.{name}", z).reshape(B, T, H, -1)
                    for name in ("query", "key", "value")
                )
                o = jax.nn.dot_product_attention(q, k, v, mask=inside[:, None, None])
                z = norm("norm1", z + affine("attention.output", o.reshape(z.shape)))
                u = jax.nn.gelu(affine("up", z), approximate=False)
                z = norm("norm2", z + affine("down", u))
            v = np.where(inside[..., None], z, 0.0).sum(axis=1) / lengths[:, None].astype(z.dtype)
            logp = jax.nn.log_softmax(v @ w["output.weight"].T + w["output.bias"])
            return -np.take_along_axis(logp, y[:, None], axis=-1).mean()

        return peer.train(a["weights"], loss, a["x"], a["lengths"], a["y"])
