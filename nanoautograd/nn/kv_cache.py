"""The KV cache: what a decoder that writes keeps of the positions that it has read."""

from typing import Any

from ..backends import array_namespace
from ..core.tensor import Tensor
from ..interface.array_interface import array_of
from ..ops import concatenate
from ..safety.arguments import as_input
from ..typing import ArrayLike


class KVCache:
    """The keys and values of the t positions that one layer has read: k, v (B, K, t, d), Tensors
    or arrays, or None at first, when t = 0. padding: B integers, how many of the first positions of
    each row are padding (padding.py); None for none.

    A text that is generated grows by a position at a time. To copy all that is there each time
    would cost as much as reading the weights once there are some thousand positions. So there is a
    buffer with room for twice as many, the next position is written behind the others, and k and v
    are views. Where two texts go on from copies of one cache, the first takes the room and the
    second gets a buffer of its own.
    """

    def __init__(
        self, k: Tensor | None = None, v: Tensor | None = None, padding: ArrayLike | None = None
    ) -> None:
        if (k is None) != (v is None):
            raise ValueError("KVCache: keys and values come together, or are both None")
        if k is not None:
            k, v = as_input(k, "KVCache"), as_input(v, "KVCache")
        self.k: Any = k
        self.v: Any = v
        self.padding = padding
        self.buffer: Buffer | None = None

    def __len__(self) -> int:
        return 0 if self.k is None else self.k.shape[2]

    def __repr__(self) -> str:
        return f"KVCache({len(self)} positions)"

    def copy(self) -> "KVCache":
        """A cache of the same positions: what is added to it is not added here."""
        other = KVCache(self.k, self.v, self.padding)
        other.buffer = self.buffer
        return other

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add T positions, k and v (B, K, T, d). Returns k and v of all t + T. Raises ValueError
        where B, K, d or the dtype are not those of the positions before."""
        if self.k is None:
            self.k, self.v = k, v
        elif not (same_kind(k, self.k) and same_kind(v, self.v)):
            raise ValueError(
                f"KVCache: holds keys {self.k.shape} {self.k.dtype} and values {self.v.shape} "
                f"{self.v.dtype}, and can be extended along axis 2 by others of that kind; got "
                f"keys {k.shape} {k.dtype} and values {v.shape} {v.dtype}"
            )
        elif any([isinstance(a, Tensor) and a.requires_grad for a in (k, v, self.k, self.v)]):
            self.k = concatenate([self.k, k], axis=2)
            self.v = concatenate([self.v, v], axis=2)
        else:
            t, n = len(self), len(self) + k.shape[2]
            if self.buffer is None or not self.buffer.has_room(t, n):
                self.buffer = Buffer(self, 2 * n)
            self.k, self.v = self.buffer.put(k, v, t, n)
        return self.k, self.v


def same_kind(a: Any, b: Any) -> bool:
    """Whether a and b have what all keys of a cache have in common."""
    return a.shape[:2] == b.shape[:2] and a.shape[3] == b.shape[3] and a.dtype == b.dtype


class Buffer:
    """Arrays k and v (B, K, size, d) for a cache that grows; `taken` of the positions are."""

    def __init__(self, cache: KVCache, size: int) -> None:
        k, v = array_of(cache.k), array_of(cache.v)
        B, K, self.taken, d = k.shape
        self.k, self.v = (array_namespace(a).empty((B, K, size, d), dtype=a.dtype) for a in (k, v))
        self.k[:, :, : self.taken], self.v[:, :, : self.taken] = k, v

    def has_room(self, t: int, n: int) -> bool:
        """Whether positions t to n - 1 are there, and nobody's."""
        return self.taken == t and n <= self.k.shape[2]

    def put(self, k: Any, v: Any, t: int, n: int) -> tuple[Any, Any]:
        """Write k and v at the positions t to n - 1. Returns all up to n."""
        self.k[:, :, t:n], self.v[:, :, t:n], self.taken = array_of(k), array_of(v), n
        return self.k[:, :, :n], self.v[:, :, :n]
