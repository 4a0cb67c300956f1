"""What a decoder that writes keeps of the positions that it has read: their keys and values."""

from math import sqrt

from nanoautograd.array_interface import array_of
from nanoautograd.backends import array_namespace
from nanoautograd.core.tensor import Tensor
from nanoautograd.ops import concatenate


class Past:
    """The keys and values of the t positions read so far, of one layer: k, v (B, K, t, d), Tensors
    or arrays.

    What is generated adds a position at a time. To copy all that is there each time would cost as
    much as reading the weights once there are some thousand positions. So room is made for twice as
    many, the next position is written behind the others, and k and v are views. An object never
    changes: where two texts go on from one past, the first takes the room and the second copies.
    """

    def __init__(self, k, v, room=None):
        self.k, self.v, self._room = k, v, room

    def __len__(self):
        return self.k.shape[2]

    def followed_by(self, k, v):
        """The past after T positions more, k and v (B, K, T, d)."""
        if any([isinstance(a, Tensor) and a.requires_grad for a in (k, v, self.k, self.v)]):
            return Past(concatenate([self.k, k], axis=2), concatenate([self.v, v], axis=2))
        t, n, room = len(self), len(self) + k.shape[2], self._room
        if room is None or room.taken != t or room.k.shape[2] < n:
            room = Room(self, 2 * n)
        room.taken = n
        room.k[:, :, t:n], room.v[:, :, t:n] = array_of(k), array_of(v)
        return Past(room.k[:, :, :n], room.v[:, :, :n], room)

    def attention(self, q):
        """What the queries of one position, q (K, G, d), take from those here, where B = 1 and G
        heads of queries share one of keys and values: o (K, G, d), of arrays,

            o = softmax(q kᵀ / √d) v
        """
        k, v = array_of(self.k)[0], array_of(self.v)[0]  # (K, t, d)
        E = q @ k.swapaxes(1, 2) / sqrt(q.shape[-1])  # (K, G, t)
        E -= E.max(axis=-1, keepdims=True)
        E = array_namespace(E).exp(E, out=E)
        return E @ v / E.sum(axis=-1, keepdims=True)


class Room:
    """Arrays k and v (B, K, n, d) for a past that grows; `taken` of n positions are."""

    def __init__(self, past, n):
        k, v = array_of(past.k), array_of(past.v)
        B, K, t, d = k.shape
        self.k, self.v = (array_namespace(a).empty((B, K, n, d), dtype=a.dtype) for a in (k, v))
        self.k[:, :, :t], self.v[:, :, :t], self.taken = k, v, t
