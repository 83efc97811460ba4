"""Comparison of trees, with the name of the law that a difference violates."""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np


class Laws:
    """Run named laws in turn, and record those that held."""

    def __init__(self, subject: str):
        self.subject = subject
        self.held: list[str] = []

    def __call__(self, name: str, check: Callable[[], None]) -> None:
        """Run one law; exceptions are re-raised with its name."""
        try:
            check()
        except Exception as error:
            raise AssertionError(f"{self.subject} breaks the law: {name}\n{error}") from error
        self.held.append(name)


def assert_close(actual, expected, *, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Assert equal structure, shapes and dtypes; floats to a tolerance, all else exactly."""
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    chex.assert_trees_all_close(_plain(actual), _plain(expected), rtol=rtol, atol=atol)


def assert_same(actual, expected) -> None:
    """Assert equal structure, shapes, dtypes and bits."""
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    chex.assert_trees_all_equal(_plain(actual), _plain(expected))


def assert_like(actual, expected) -> None:
    """Assert equal structure, shapes and dtypes."""
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)


def assert_finite(tree) -> None:
    """Assert that every float is finite."""
    chex.assert_tree_all_finite(_plain(tree))


def _plain(tree):
    """Convert typed keys to their data and low-precision floats to float32, for comparison."""

    def one(leaf):
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return np.asarray(jax.random.key_data(leaf))
        if jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            return np.asarray(leaf, np.promote_types(np.float32, np.asarray(leaf).dtype))
        return np.asarray(leaf)

    return jax.tree.map(one, tree)
