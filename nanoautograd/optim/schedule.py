"""The learning rate of each step."""

import math

from .checks import number


def learning_rate(
    step: int, peak: float, steps: int, warmup: int = 0, decay: str = "cosine", floor: float = 0.0
) -> float:
    """The rate for step 0 ≤ step < steps: a linear rise to `peak` over the first `warmup` steps,
    then a fall to `floor` at the last one, along half a cosine (Loshchilov & Hutter 2017, eq. 5) or
    a straight line; decay="constant" stays at `peak`. Raises ValueError and TypeError for what is
    below 0 or not finite."""
    numbers = {"step": step, "peak": peak, "steps": steps, "warmup": warmup, "floor": floor}
    for name, value in numbers.items():
        number("learning_rate", name, value)
    if not isinstance(decay, str) or decay not in ("cosine", "linear", "constant"):
        raise ValueError(f"learning_rate: decay must be cosine, linear or constant, got {decay!r}")
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if decay == "constant":
        return peak
    done = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))  # 0 at the peak, then to 1
    remaining = 1.0 - done if decay == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return floor + (peak - floor) * remaining
