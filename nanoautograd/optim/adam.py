"""Adam and AdamW, to read; adam_fast.py has the same in fewer passes over the memory."""

from typing import Any

from ..backends import array_namespace
from ..typing import Params
from .on_device import counter, like
from .optimizer import Optimizer


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1); weight decay, if any, is added to the gradient.

        g ← g + λ θ
        m ← β₁ m + (1 − β₁) g               the mean of the gradients
        v ← β₂ v + (1 − β₂) g²              and of their squares
        θ ← θ − γ m̂ / (√v̂ + ε)             m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ)

    With c = √(1 − β₂ᵗ) the last line is θ ← θ − γ c / (1 − β₁ᵗ) · m / (√v + c ε), and so it is
    computed, for then what depends on t is two numbers. The mean is m ← m + (1 − β₁) (g − m).
    """

    buffers = "exp_avg", "exp_avg_sq"  # m and v

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def prepare(self, theta: Any, state: dict[str, Any]) -> None:
        """The state of θ before its first step."""
        zeros = array_namespace(theta).zeros_like
        state.update(step=counter(theta), exp_avg=zeros(theta), exp_avg_sq=zeros(theta))

    def begin(self, theta: Any, state: dict[str, Any], group: dict[str, Any]) -> Any:
        """Counts the step. Returns t."""
        if "step" not in state:
            self.prepare(theta, state)
        state["step"] += 1
        return state["step"]

    def update(self, group: dict[str, Any], t: Any, theta: Any, g: Any, m: Any, v: Any) -> None:
        if group["weight_decay"]:
            g = g + group["weight_decay"] * theta
        self.descend(group, t, theta, g, m, v)

    def descend(self, group: dict[str, Any], t: Any, theta: Any, g: Any, m: Any, v: Any) -> None:
        """The last three lines of the algorithm."""
        beta1, beta2 = group["betas"]
        c = (1.0 - beta2**t) ** 0.5
        rate = group["lr"] * like(v, c / (1.0 - beta1**t))
        m += (1.0 - beta1) * (g - m)
        v *= beta2
        v += (1.0 - beta2) * (g * g)
        root = array_namespace(v).sqrt(v) + like(v, c * group["eps"])
        theta -= rate * (m / root)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2): θ ← θ − γ λ θ comes
    first, and the moments m and v see the gradient alone."""

    elsewhere = {"decoupled_weight_decay": True}

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def update(self, group: dict[str, Any], t: Any, theta: Any, g: Any, m: Any, v: Any) -> None:
        theta *= 1.0 - group["lr"] * group["weight_decay"]
        self.descend(group, t, theta, g, m, v)
