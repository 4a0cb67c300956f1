"""GPT (models/gpt.py): a training step, and text written with cached keys and values."""

import math
from dataclasses import dataclass

import numpy as np

from ..case import Case, Product, Work, attention, forms, linear, training
from . import losses


@dataclass(frozen=True)
class GPT(Case):
    layers: int
    width: int
    heads: int
    T: int
    B: int
    vocabulary: int = 96

    def config(self):
        from models.gpt import Config

        return Config(self.vocabulary, self.T, self.layers, self.heads, self.width)

    def arrays(self, dtype):
        from models.gpt import GPT

        rng = np.random.default_rng(0)
        model = GPT(self.config(), rng, dtype)
        x, y = rng.integers(0, self.vocabulary, (2, self.B, self.T))
        return {"weights": model.state_dict(), "x": x, "y": y}

    def work(self):
        V, D, N, L = self.vocabulary, self.width, self.T * self.B, self.layers
        one = (
            *linear(N, D, 3 * D),
            *linear(N, D, D),
            *linear(N, D, 4 * D),
            *linear(N, 4 * D, D),
            *attention(self.B * self.heads, self.T, D // self.heads, causal=True),
        )
        products = [*one * L, *linear(N, D, V)]
        parameters = L * (12 * D * D + 13 * D) + (V + self.T + 2) * D
        # of a layer two norms, q, k, v, o, and W₁'s result before and after gelu; and p_t
        kept = N * (L * 14 * D + D + V)
        return training(products, parameters, kept)

    @property
    def items(self):
        return self.T * self.B, "tokens"

    def ours(self, peer, a):
        from models.gpt import GPT

        F = peer.module.functional
        model = peer.model(GPT(self.config(), dtype=peer.dtype), a["weights"])

        def loss():
            logits, _ = model(a["x"])
            return F.cross_entropy(logits.reshape(-1, self.vocabulary), a["y"].reshape(-1))

        return peer.train(model, loss)

    def by_hand(self, peer, a):
        from models.gpt import GPT

        model = peer.model(GPT(self.config(), dtype=peer.dtype), a["weights"])
        parameters = dict(model.named_parameters())

        def gradient():
            w = {name: p.data for name, p in parameters.items()}
            return gradient_by_hand(w, a["x"], a["y"], self.layers, self.heads)

        return peer.train_by_hand(model, gradient)

    def torch(self, peer, a):
        F = peer.module.nn.functional
        model = peer.model(torch_model(peer.module, self), a["weights"])

        def loss():
            return F.cross_entropy(model(a["x"])[0].flatten(0, 1), a["y"].flatten())

        return peer.train(model, loss)

    def jax(self, peer, a):
        jax, np = peer.module, peer.module.numpy

        def loss(w, x, y):
            z = w["embedding.weight"][x] + w["positions.weight"]
            for i in range(self.layers):
                p = {name: w[f"layers.{i}.{name}"] for name in LAYER}
                n = losses.layer_norm(np, z, p["norm1.weight"], p["norm1.bias"])
                qkv = n @ p["attention.in_proj_weight"].T + p["attention.in_proj_bias"]
                q, k, v = np.split(qkv.reshape(*x.shape, 3 * self.heads, -1), 3, axis=2)
                o = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(z.shape)
                z = z + o @ p["attention.out_proj.weight"].T + p["attention.out_proj.bias"]
                n = losses.layer_norm(np, z, p["norm2.weight"], p["norm2.bias"])
                n = jax.nn.gelu(n @ p["up.weight"].T + p["up.bias"], approximate=True)
                z = z + n @ p["down.weight"].T + p["down.bias"]
            z = losses.layer_norm(np, z, w["norm.weight"], w["norm.bias"])
            logp = jax.nn.log_softmax(z @ w["embedding.weight"].T)
            return -np.take_along_axis(logp, y[..., None], axis=-1).mean()

        return peer.train(a["weights"], loss, a["x"], a["y"])

    def autograd(self, peer, a):
        np, H = peer.module, self.heads
        seen = np.tri(self.T, dtype=bool)

        def loss(w, x, y):
            B, T = x.shape
            z = w["embedding.weight"][x] + w["positions.weight"]
            for i in range(self.layers):
                p = {name: w[f"layers.{i}.{name}"] for name in LAYER}
                n = losses.layer_norm(np, z, p["norm1.weight"], p["norm1.bias"])
                qkv = np.dot(n, p["attention.in_proj_weight"].T) + p["attention.in_proj_bias"]
                qkv = np.transpose(qkv.reshape((B, T, 3, H, -1)), (2, 0, 3, 1, 4))
                o = losses.attention(np, qkv[0], qkv[1], qkv[2], seen)
                o = np.transpose(o, (0, 2, 1, 3)).reshape(z.shape)
                z = z + np.dot(o, p["attention.out_proj.weight"].T) + p["attention.out_proj.bias"]
                n = losses.layer_norm(np, z, p["norm2.weight"], p["norm2.bias"])
                n = losses.gelu_tanh(np, np.dot(n, p["up.weight"].T) + p["up.bias"])
                z = z + np.dot(n, p["down.weight"].T) + p["down.bias"]
            z = losses.layer_norm(np, z, w["norm.weight"], w["norm.bias"])
            logits = np.dot(z, w["embedding.weight"].T).reshape((B * T, -1))
            return losses.cross_entropy(np, logits, y.reshape(-1))

        return peer.train(a["weights"], loss, a["x"], a["y"])


LAYER = [
    f"{name}.{part}"
    for name in ("norm1", "norm2", "attention.out_proj", "up", "down")
    for part in ("weight", "bias")
] + ["attention.in_proj_weight", "attention.in_proj_bias"]


def gradient_by_hand(w, x, y, layers, heads):
    """The loss of weights w, {name: array}, on tokens x, y (B, T), and its gradient, {name: array},
    from the operations that are derived by hand alone."""
    from nanoautograd.backends import array_namespace

    names = "attention", "cross_entropy", "embedding", "gelu", "layer_norm", "linear"
    attention, cross_entropy, embedding, gelu, layer_norm, linear = forms(x, *names)
    (B, T), D = x.shape, w["embedding.weight"].shape[1]
    xp = array_namespace(x)
    grads, caches = {}, []

    def norm(name, z, residual=None):
        return layer_norm.forward(
            z,
            w[f"{name}.weight"],
            w[f"{name}.bias"],
            residual,
            normalized_shape=(D,),
            return_sum=residual is not None,
        )

    def norm_back(name, dy, cache):
        dz, grads[f"{name}.weight"], grads[f"{name}.bias"], _ = layer_norm.backward(dy, cache)
        return dz

    def affine(name, z):
        return linear.forward(z, w[name + "weight"], w[name + "bias"])

    def affine_back(name, dy, cache):
        dz, grads[name + "weight"], grads[name + "bias"] = linear.backward(dy, cache)
        return dz

    def heads_first(a):  # (N, D) -> (B, H, T, d)
        return a.reshape(B, T, heads, -1).transpose(0, 2, 1, 3)

    def rows(a):  # and back
        return a.transpose(0, 2, 1, 3).reshape(B * T, D)

    e, cache_e = embedding.forward(x, w["embedding.weight"])
    z = (e + w["positions.weight"]).reshape(B * T, D)
    for i in range(layers):
        p = f"layers.{i}."
        n1, cache_1 = norm(p + "norm1", z)
        qkv, cache_qkv = affine(p + "attention.in_proj_", n1)
        q, k, v = (heads_first(qkv[:, j * D : (j + 1) * D]) for j in range(3))
        o, cache_a = attention.forward(q, k, v, causal=True)
        a, cache_o = affine(p + "attention.out_proj.", rows(o))
        (n2, z), cache_2 = norm(p + "norm2", a, z)  # z ← z + a
        u, cache_up = linear.forward(n2, w[p + "up.weight"])
        u, cache_u = gelu.forward(u, w[p + "up.bias"], approximate="tanh")
        a, cache_down = affine(p + "down.", u)
        z = z + a
        caches.append(
            (cache_1, cache_qkv, cache_a, cache_o, cache_2, cache_up, cache_u, cache_down)
        )
    n, cache_n = norm("norm", z)
    logits, cache_E = linear.forward(n, w["embedding.weight"])
    loss, cache = cross_entropy.forward(logits, y.reshape(-1))

    dlogits = cross_entropy.backward(1.0, cache, (True, False, False))[0]
    dn, dE, _ = linear.backward(dlogits, cache_E)
    dz = norm_back("norm", dn, cache_n)
    for i in reversed(range(layers)):
        p = f"layers.{i}."
        (cache_1, cache_qkv, cache_a, cache_o, cache_2, cache_up, cache_u, cache_down) = (
            caches.pop()
        )
        du, grads[p + "up.bias"] = gelu.backward(affine_back(p + "down.", dz, cache_down), cache_u)
        dn, grads[p + "up.weight"], _ = linear.backward(du, cache_up)
        dz = norm_back(p + "norm2", (dn, dz), cache_2)
        do = affine_back(p + "attention.out_proj.", dz, cache_o)
        dqkv = xp.concatenate(
            [
                rows(d)
                for d in attention.backward(heads_first(do), cache_a, (True, True, True, False))[:3]
            ],
            axis=1,
        )
        dn = affine_back(p + "attention.in_proj_", dqkv, cache_qkv)
        dz = dz + norm_back(p + "norm1", dn, cache_1)
    de = dz.reshape(B, T, D)
    grads["positions.weight"] = de.sum(axis=0)
    grads["embedding.weight"] = dE + embedding.backward(de, cache_e)[1]
    return loss, grads


def torch_model(torch, sizes):
    """GPT in PyTorch; its parameters are called as ours."""
    nn, F = torch.nn, torch.nn.functional
    D, H = sizes.width, sizes.heads

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.in_proj_weight = nn.Parameter(torch.empty(3 * D, D))
            self.in_proj_bias = nn.Parameter(torch.empty(3 * D))
            self.out_proj = nn.Linear(D, D)

        def forward(self, z, past):
            B, T, _ = z.shape
            qkv = F.linear(z, self.in_proj_weight, self.in_proj_bias)
            q, k, v = (a.view(B, T, H, D // H).transpose(1, 2) for a in qkv.chunk(3, dim=-1))
            if past is not None:
                k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
            o = F.scaled_dot_product_attention(q, k, v, is_causal=past is None)
            return self.out_proj(o.transpose(1, 2).reshape(B, T, D)), (k, v)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
            self.attention = Attention()
            self.up, self.down = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

        def forward(self, z, past):
            a, past = self.attention(self.norm1(z), past)
            z = z + a
            return z + self.down(F.gelu(self.up(self.norm2(z)), approximate="tanh")), past

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(sizes.vocabulary, D)
            self.positions = nn.Embedding(sizes.T, D)
            self.layers = nn.ModuleList(Block() for _ in range(sizes.layers))
            self.norm = nn.LayerNorm(D)

        def forward(self, x, past=None):
            T, t = x.shape[1], 0 if past is None else past[0][0].shape[2]
            z = self.embedding(x) + self.positions.weight[t : t + T]
            after = []
            for i, layer in enumerate(self.layers):
                z, pair = layer(z, None if past is None else past[i])
                after.append(pair)
            return F.linear(self.norm(z), self.embedding.weight), after

    return GPT()


@dataclass(frozen=True)
class Generation(Case):
    """A prompt is read and `new` tokens are written, each the likeliest. T: positions in a block,
    enough for both."""

    layers: int
    width: int
    heads: int
    T: int
    prompt: int
    new: int
    vocabulary: int = 96

    config = GPT.config

    def has(self, library):
        """No graph: with each token there are more keys."""
        return super().has(library) and library != "captured"

    def arrays(self, dtype):
        from models.gpt import GPT

        rng = np.random.default_rng(0)
        weights = GPT(self.config(), rng, dtype).state_dict()
        return {"weights": weights, "x": rng.integers(0, self.vocabulary, (1, self.prompt))}

    def work(self):
        V, D, L, d, H = (
            self.vocabulary,
            self.width,
            self.layers,
            self.width // self.heads,
            self.heads,
        )

        def forward(rows, seen, count):
            layer = [
                Product(rows, n, k, count=count)
                for n, k in ((3 * D, D), (D, D), (4 * D, D), (D, 4 * D))
            ] + [Product(rows, seen, d, H, count), Product(rows, d, seen, H, count)]
            return layer * L + [Product(1, V, D, count=count)]

        mean = self.prompt + self.new // 2
        return Work(
            (*forward(self.prompt, self.prompt, 1), *forward(1, mean, self.new - 1)),
            2 * L * D * (self.prompt + self.new),
        )  # keys and values are written

    @property
    def items(self):
        return self.new, "tokens"

    def ours(self, peer, a):
        from itertools import islice

        from models.gpt import GPT

        model = peer.model(GPT(self.config(), dtype=peer.dtype), a["weights"]).eval()
        prompt = peer.module.backends.to_numpy(a["x"])[0]

        def step():
            written = model.generate(prompt, lambda logits: int(logits.argmax()))
            return np.fromiter(islice(written, self.new), dtype=np.int64)

        return step

    def torch(self, peer, a):
        torch = peer.module
        model = peer.model(torch_model(torch, self), a["weights"]).eval()
        forward = peer.differentiated(model)

        @torch.inference_mode()
        def step():
            x, past, written = a["x"], None, []
            for _ in range(self.new):
                logits, past = forward(x, past)
                x = logits[:, -1:].argmax(dim=-1)
                written.append(x)
            return torch.cat(written, dim=1)[0]

        return step

    def jax(self, peer, a):
        """Keys and values in arrays with room for all; prompt and tokens in one jitted function."""
        jax, np = peer.module, peer.module.numpy
        H, d = self.heads, self.width // self.heads

        def forward(w, cache, x, t):
            """Tokens x (n,) at the positions t, ...: the logits of the last, and the cache."""
            n, after = len(x), []
            z = w["embedding.weight"][x] + jax.lax.dynamic_slice_in_dim(w["positions.weight"], t, n)
            seen = np.arange(self.T) <= t + np.arange(n)[:, None]
            for i, (K, V) in enumerate(cache):
                p = {name: w[f"layers.{i}.{name}"] for name in LAYER}
                u = losses.layer_norm(np, z, p["norm1.weight"], p["norm1.bias"])
                u = u @ p["attention.in_proj_weight"].T + p["attention.in_proj_bias"]
                q, k, v = np.moveaxis(u.reshape(n, 3, H, d), (1, 2), (0, 1))  # (H, n, d)
                K = jax.lax.dynamic_update_slice_in_dim(K, k, t, axis=1)
                V = jax.lax.dynamic_update_slice_in_dim(V, v, t, axis=1)
                A = np.where(seen, q @ K.swapaxes(1, 2) / math.sqrt(d), -np.inf)
                o = (jax.nn.softmax(A) @ V).swapaxes(0, 1).reshape(n, -1)
                z = z + o @ p["attention.out_proj.weight"].T + p["attention.out_proj.bias"]
                u = losses.layer_norm(np, z, p["norm2.weight"], p["norm2.bias"])
                u = jax.nn.gelu(u @ p["up.weight"].T + p["up.bias"], approximate=True)
                z = z + u @ p["down.weight"].T + p["down.bias"]
                after.append((K, V))
            z = losses.layer_norm(np, z[-1], w["norm.weight"], w["norm.bias"])
            return np.argmax(w["embedding.weight"] @ z), after

        @jax.jit
        def generate(w, x):
            room = np.zeros((H, self.T, d), w["norm.weight"].dtype)
            token, cache = forward(w, [(room, room)] * self.layers, x[0], 0)

            def write(carry, t):
                token, cache = carry
                new, cache = forward(w, cache, token[None], t)
                return (new, cache), new

            _, written = jax.lax.scan(write, (token, cache), self.prompt + np.arange(self.new - 1))
            return np.concatenate([token[None], written])

        return lambda: generate(a["weights"], a["x"])
