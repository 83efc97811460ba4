"""Window attention: what a token sees, by changing the others."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.networks.layers._windows import WindowBlock, _joined, partitioned, relative_index

RNG = np.random.default_rng(0)


def seen_by(shifted, grid, window, tokens):
    """The tokens on which each of some depends, by derivatives."""
    block = WindowBlock(1, window, shifted)
    x = jnp.asarray(RNG.normal(size=(1, *grid, 4)), jnp.float32)
    variables = block.init(jax.random.key(0), x)

    @jax.jit
    def slopes(mask):
        return jax.grad(lambda x: (block.apply(variables, x)[0] ** 2 * mask[..., None]).sum())(x)

    for token in tokens:
        mask = np.zeros(grid, np.float32)
        mask[token] = 1
        yield np.abs(np.asarray(slopes(mask)[0])).sum(-1) > 1e-12


def test_a_token_sees_its_window():
    wanted = np.zeros((6, 5), bool)
    wanted[3:, :3] = True
    (found,) = seen_by(False, (6, 5), (3, 3), [(4, 1)])
    np.testing.assert_array_equal(found, wanted)


def test_shifted_windows_straddle_and_do_not_wrap():
    # Windows of 4 shifted by 2 on 8: 2 to 5, and the two ends by themselves.
    found = [np.flatnonzero(f).tolist() for f in seen_by(True, (8,), (4,), [3, 0, 7])]
    assert found == [[2, 3, 4, 5], [0, 1], [6, 7]]


def test_windows_are_cut_and_joined():
    x = RNG.normal(size=(2, 4, 6, 2, 3))
    cut = partitioned(x, (2, 3, 1))
    assert cut.shape == (2, 8, 6, 3)
    np.testing.assert_array_equal(cut[1, 0, :, 0], x[1, :2, :3, 0, 0].ravel())
    np.testing.assert_array_equal(_joined(cut, (2, 3, 1), (4, 6, 2)), x)


def test_relative_places_have_one_number_each():
    index = relative_index((3, 2))
    assert (index.min(), index.max()) == (0, 5 * 3 - 1)
    assert len(np.unique(index)) == 5 * 3
    assert index[0, 5] != index[5, 0]
    assert index[0, 1] == index[2, 3] == index[4, 5]
