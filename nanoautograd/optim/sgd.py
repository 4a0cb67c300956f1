"""Stochastic gradient descent."""

from typing import Any

from ..backends import array_namespace
from ..typing import Params
from .optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent (Robbins & Monro 1951) with momentum (Polyak 1964; Nesterov
    1983).

        g ← g + λ θ
        b ← μ b + (1 − dampening) g         (b = g at the first step; without momentum, b is g)
        θ ← θ − γ b                         (nesterov: θ ← θ − γ (g + μ b))
    """

    buffers = ("momentum_buffer",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    def begin(self, theta: Any, state: dict[str, Any], group: dict[str, Any]) -> Any:
        """Returns whether b is not there yet."""
        first = "momentum_buffer" not in state
        if group["momentum"] and first:
            state["momentum_buffer"] = array_namespace(theta).empty_like(theta)
        return first

    def update(self, group: dict[str, Any], first: Any, theta: Any, g: Any, b: Any = None) -> None:
        mu = group["momentum"]
        if group["weight_decay"]:
            g = g + group["weight_decay"] * theta
        if mu and first:
            b[...] = g
        elif mu:
            b *= mu
            b += (1.0 - group["dampening"]) * g
        if mu:
            g = g + mu * b if group["nesterov"] else b
        theta -= group["lr"] * g
