"""Fast forms of the operations of manual/: for the CPU in cpu/, for NVIDIA's GPUs in cuda/.

Each enters itself: a form in its operation (CustomVJP in ../custom_vjp.py), cuBLAS in
../backends/products.py, when the first array of CuPy is seen.
"""

from importlib import import_module

from ..backends import WHEN_CUPY_IS_SEEN

__all__ = ["connect"]


def connect():
    """Gives the operations their fast forms."""
    import_module(".cpu", __name__)
    import_module(".cuda.operations", __name__)


@WHEN_CUPY_IS_SEEN.append
def load_products():
    import_module(".cuda.runtime.cublas", __name__)
