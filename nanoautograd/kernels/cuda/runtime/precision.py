"""In which precision matrix products are computed on a GPU.

float32     all 24 bits of a number, by the ordinary cores: what NumPy computes, but for rounding
tf32        operands rounded to 11 bits, by the tensor cores
bfloat16    operands rounded to 8 bits, in half the memory, by the tensor cores

On an H100 the tensor cores have 7 and 15 times the peak rate of the ordinary ones (NVIDIA, "H100
Tensor Core GPU Architecture", table 1, without sparsity). Attention and the recurrent networks over
time compute float32 arrays in TF32 also where bfloat16 is asked for: their products are within
kernels.

Sums are in float32 always, and so are results, and the weights of a model: what an optimiser adds
to a weight is often less than a 256th of it, and would vanish in 8 bits (Micikevicius et al. 2018,
"Mixed precision training", section 3.1). What is float64 or bfloat16 itself is computed as that.
"""

__all__ = ["PRECISIONS", "matmul_precision", "precision"]

PRECISIONS = "float32", "tf32", "bfloat16"

_state = {"precision": "float32"}


def precision():
    """ "float32", "tf32" or "bfloat16": that of products of float32 arrays."""
    return _state["precision"]


class matmul_precision:
    """matmul_precision("tf32") sets it from here on, for all threads; as a block,
    `with matmul_precision("tf32"):`, until its end.

    Raises ValueError for another name. Whether a GPU has it shows with the first product, which
    raises a RuntimeError where it does not.
    """

    def __init__(self, precision: str) -> None:
        if precision not in PRECISIONS:
            raise ValueError(
                f"matmul_precision: the precision must be one of "
                f"{', '.join(PRECISIONS)}; got {precision!r}"
            )
        self._before, _state["precision"] = _state["precision"], precision

    def __enter__(self) -> "matmul_precision":
        return self

    def __exit__(self, *exception: object) -> None:
        _state["precision"] = self._before
