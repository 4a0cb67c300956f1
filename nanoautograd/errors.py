"""What the engine raises; each error says what was wrong, and what would be right."""

__all__ = ["AnomalyError", "GraphError", "ShapeError"]


class GraphError(RuntimeError):
    """The graph cannot be walked: it was freed, or a value in it was overwritten."""


class ShapeError(ValueError):
    """A gradient does not have the shape of what it is the gradient of."""


class AnomalyError(ArithmeticError):
    """A NaN or an infinity appeared while `detect_anomaly` was watching."""
