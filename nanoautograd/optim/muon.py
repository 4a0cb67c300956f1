"""Muon: all directions of a matrix learn at one pace."""

from math import sqrt
from typing import Any

from ..backends import array_namespace
from ..backends.threads import matmul
from ..typing import Params
from .optimizer import Optimizer


class Muon(Optimizer):
    """Momentum, made orthogonal (Jordan et al. 2024, "Muon: an optimizer for hidden layers in
    neural networks"), for matrices that map a hidden layer to the next; embeddings, the output's
    matrix and vectors are better given to AdamW.

        M ← M + (1 − μ) (G − M)             the mean of the gradients
        B = G + μ (M − G)                   (nesterov; else B is M)
        O ≈ U Vᵀ                            where B = U S Vᵀ, the singular value decomposition
        θ ← θ − γ λ θ − γ c O               c = √max(1, rows / columns)

    Why U Vᵀ: a step O changes the loss by −⟨B, O⟩, to first order, and what the layer gives for an
    x of length 1 by ‖O x‖, at most by O's largest singular value. Of all O in which that is 1,

        ⟨B, O⟩ = Σ_i s_i u_iᵀ O v_i ≤ Σ_i s_i

    is largest where each u_iᵀ O v_i is 1: for U Vᵀ. It goes as far in directions of which the
    gradient has little as in those of which it has most. (Bernstein and Newhouse 2024, "Old
    optimizer, new norm: an anthology".)

    No decomposition is needed. X₀ = B / ‖B‖ has singular values from 0 to 1, and

        X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X  =  U (a S + b S³ + c S⁵) Vᵀ

    keeps U and V. With (a, b, c) of `ns_coefficients` a small value grows by a = 3.4 each time,
    and after `ns_steps` all that were above 0.01 are between 0.68 and 1.14, which is near enough.

    adjust_lr_fn: "match_rms_adamw" has c = 0.2 √max(rows, columns), with which O's numbers are
    about as large as those of a step of Adam (Liu et al. 2025, "Muon is scalable for LLM
    training"); None or "original" has the c above. Raises ValueError for what is no matrix.
    """

    buffers = ("momentum_buffer",)
    elementwise = False

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            nesterov=nesterov,
            ns_coefficients=ns_coefficients,
            eps=eps,
            ns_steps=ns_steps,
            adjust_lr_fn=adjust_lr_fn,
        )
        for i, p in enumerate(self.parameters()):
            if p.ndim != 2:
                raise ValueError(
                    f"Muon: parameter {i} has shape {p.shape}; Muon takes matrices, give others to "
                    "AdamW"
                )

    def begin(self, theta: Any, state: dict[str, Any], group: dict[str, Any]) -> Any:
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = array_namespace(theta).zeros_like(theta)

    def update(self, group: dict[str, Any], t: Any, theta: Any, g: Any, m: Any) -> None:
        mu = group["momentum"]
        m += (1.0 - mu) * (g - m)
        b = g + mu * (m - g) if group["nesterov"] else m
        o = orthogonal(b, group["ns_coefficients"], group["ns_steps"], group["eps"])
        rows, columns = theta.shape
        c = sqrt(max(1.0, rows / max(columns, 1)))
        if group["adjust_lr_fn"] == "match_rms_adamw":
            c = 0.2 * sqrt(max(rows, columns))
        theta *= 1.0 - group["lr"] * group["weight_decay"]
        theta -= group["lr"] * c * o


def orthogonal(
    b: Any, coefficients: tuple[float, float, float], steps: int, eps: float = 1e-7
) -> Any:
    """U Vᵀ, nearly, of a matrix b = U S Vᵀ: see Muon. Zeros for zeros."""
    xp, (c1, c3, c5) = array_namespace(b), coefficients
    is_tall = b.shape[0] > b.shape[1]
    x = b.T if is_tall else b  # X Xᵀ is the smaller of the two
    largest = xp.max(abs(x)) if x.size else xp.ones((), b.dtype)
    scale = xp.where(largest > 0, largest, xp.ones_like(largest))
    x = x / scale  # whose squares are in range
    x = x / xp.maximum(xp.sqrt(xp.sum(x * x)), eps / scale)
    for _ in range(steps):
        a = matmul(x, x.T)
        x = c1 * x + matmul(c3 * a + c5 * matmul(a, a), x)
    return x.T if is_tall else x
