"""A case of your own, to be measured beside PyTorch, JAX, HIPS autograd and the roofline.

    python -m benchmarks --cases NAME.py --quick          a first look
    python -m benchmarks --cases NAME.py --json NAME.json    to be published

It is an operation with its gradient: each method computes y in one library, whose module it gets,
and the benchmarks differentiate it. A library without a method here is left out. Their results and
gradients must agree before anything is timed. For a whole training step see
benchmarks/cases/small.py, whose MLP is a Case, not an Operation.
"""

from dataclasses import dataclass

from benchmarks.case import Operation, Work


@dataclass(frozen=True)
class Softplus(Operation):
    """y = log(1 + exp(x)) of x (rows, columns). The fields are its sizes."""

    rows: int
    columns: int

    def inputs(self, rng):
        """What is differentiated, in float64; the benchmarks round it."""
        return [rng.standard_normal((self.rows, self.columns))]

    def work(self):
        """At least, for the roofline: its matrix products, here none (benchmarks/case.py counts
        them), and the numbers that are read and written: x and y; x, dy and dx."""
        return Work((), 5 * self.rows * self.columns)

    def ours(self, nag, x):
        return nag.log1p(nag.exp(x))

    def torch(self, torch, x):
        return torch.log1p(torch.exp(x))

    def jax(self, jax, x):
        return jax.numpy.log1p(jax.numpy.exp(x))

    def autograd(self, np, x):
        return np.log1p(np.exp(x))


# {name: (class, {name of a size: its fields})}. tiny is for trials; the others are measured.
CASES = {
    "NAME": (
        Softplus,
        {
            "tiny": {"rows": 3, "columns": 4},
            "small": {"rows": 64, "columns": 64},
            "medium": {"rows": 512, "columns": 512},
            "large": {"rows": 4096, "columns": 1024},
        },
    )
}
