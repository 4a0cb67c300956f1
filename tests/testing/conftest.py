"""What the tests of functions of JAX share."""

import pytest


@pytest.fixture
def jax_in_float64():
    """JAX, told to compute in float64 while a test runs."""
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)
