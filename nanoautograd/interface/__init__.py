"""What Python, NumPy and other libraries see of a Tensor and of an operation."""
