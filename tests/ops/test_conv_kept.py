"""Kernels kept in oneDNN's layout between calls: never those of an earlier call."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import ops
from jaxmed.ops.convolution import _native as native


@pytest.fixture
def arguments():
    if isinstance(native.library(), str):
        pytest.skip(f"no native convolution: {native.library()}")
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(1, 6, 6, 64)), jnp.float32)
    # 147 KB: large enough to be kept.
    return x, jnp.asarray(rng.normal(size=(3, 3, 64, 64)), jnp.float32)


@partial(jax.jit, static_argnames="form")
def _conv(x, kernel, *, form):
    with ops.config(conv=form):
        return ops.conv(x, kernel)


def _close(actual, expected):
    np.testing.assert_allclose(actual, expected, atol=1e-4 * float(jnp.abs(expected).max()))


def test_the_same_kernel_again_gives_the_same(arguments):
    x, kernel = arguments
    expected = _conv(x, kernel, form="pure")
    first = _conv(x, kernel, form="onednn")
    _close(first, expected)
    for _ in range(4):
        np.testing.assert_array_equal(_conv(x, kernel, form="onednn"), first)


def test_one_number_changed_at_the_same_address_is_seen(arguments):
    x, kernel = arguments
    kernel = kernel + 0
    change = jax.jit(lambda k, i: k.ravel().at[i].add(5.0).reshape(k.shape), donate_argnums=0)
    for _ in range(4):
        _conv(x, kernel, form="onednn")
    stayed = 0
    # A sample of the words is looked at first: most of these numbers are not in it.
    for i in (5, 1001, 20_003, 36_863):
        address = kernel.unsafe_buffer_pointer()
        kernel = change(kernel, i)
        stayed += kernel.unsafe_buffer_pointer() == address
        expected = _conv(x, kernel, form="pure")
        for _ in range(3):
            _close(_conv(x, kernel, form="onednn"), expected)
    assert stayed > 0


def test_a_kernel_that_changes_in_a_loop(arguments):
    x, kernel = arguments

    def run(form):
        with ops.config(conv=form):
            step = lambda k, _: (k * 1.1, ops.conv(x, jnp.where(k > 5, k, kernel)).sum())  # noqa: E731
            return jax.lax.scan(step, kernel, None, length=6)[1]

    _close(jax.jit(run, static_argnums=0)("onednn"), jax.jit(run, static_argnums=0)("pure"))


def test_threads_that_share_a_kernel(arguments):
    from concurrent.futures import ThreadPoolExecutor

    x, kernel = arguments
    expected = [_conv(x, k, form="pure") for k in (kernel, -kernel)]
    kernels = [kernel, -kernel]

    def work(i):
        return [np.asarray(_conv(x, kernels[j % 2], form="onednn")) for j in range(i, i + 6)]

    with ThreadPoolExecutor(4) as pool:
        for i, found in enumerate(pool.map(work, range(4))):
            for j, y in enumerate(found):
                _close(y, expected[(i + j) % 2])
