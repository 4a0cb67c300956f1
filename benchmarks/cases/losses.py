"""What several cases write in NumPy's functions, for JAX and HIPS autograd: np is jax.numpy or
autograd.numpy."""

import math


def cross_entropy(np, z, y):
    """Mean of -log softmax(z) at y: logits z (N, C), classes y (N,)."""
    z = z - np.max(z, axis=-1, keepdims=True)
    logp = z - np.log(np.sum(np.exp(z), axis=-1, keepdims=True))
    return -np.sum(logp[np.arange(len(y)), y]) / len(y)


def layer_norm(np, x, weight, bias, eps=1e-5):
    c = x - np.mean(x, axis=-1, keepdims=True)
    return c / np.sqrt(np.mean(c * c, axis=-1, keepdims=True) + eps) * weight + bias


def gelu_tanh(np, x):
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def softmax(np, x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def attention(np, q, k, v, seen=None):
    """q, k, v (B, H, T, d); seen (broadcasts to B, H, T, S), booleans, or None."""
    A = np.matmul(q, np.swapaxes(k, -1, -2)) / math.sqrt(q.shape[-1])
    if seen is not None:
        A = np.where(seen, A, -1e30)
    return np.matmul(softmax(np, A), v)
