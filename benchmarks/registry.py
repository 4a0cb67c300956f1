"""Which peers there are, by name."""

from .peers import Autograd, Captured, Function, Jax, Manual, Ours, Torch
from .roofline import Roofline

OURS = {"numpy": "cpu", "cupy": "cuda", "strict": "strict"}
OTHERS = "torch", "torch.compile", "jax", "autograd"
ROOFLINE = "products", "copy"
ADDED = {}  # {name: class}, from files outside (outside.py)


def known():
    """The names of the peers that one can ask for."""
    return *OURS, *OTHERS, *ADDED


def peer(name):
    """The Peer of a name: numpy, cupy, captured, torch, torch.compile, jax, autograd (torch@cuda,
    ... on the GPU), and, on the device of numpy or cupy, "manual", "by hand" and the roofline,
    products and copy, as "by hand@cupy"."""
    name, _, where = name.partition("@")
    full = f"{name}@{where}" if where else name
    if name in OURS:
        return Ours(full, "ours", OURS[name])
    if name == "captured":
        return Captured(full, "captured", "cuda")
    if name == "manual":
        return Manual(full, "ours", OURS[where or "numpy"])
    if name == "by hand":
        return Ours(full, "by_hand", OURS[where or "numpy"])
    if name in ROOFLINE:
        return Roofline(full, name, OURS[where or "numpy"])
    device = where or "cpu"
    if name in ("torch", "torch.compile"):
        return Torch(full, "torch", device, compiled=name == "torch.compile")
    if name == "jax":
        return Jax(full, "jax", device)
    if name == "autograd":
        return Autograd(full, "autograd")
    if name == "function":
        return Function(full, name)
    if name in ADDED:
        return ADDED[name](full, name, device)
    raise ValueError(f"there is no peer {name!r}; there are {', '.join(known())}")
