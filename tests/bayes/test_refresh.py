"""Running statistics made anew are those of the data, and nothing of the old ones."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import bayes
from jaxmed.core import from_linen


@pytest.mark.parametrize("momentum", [0.5, 0.99])
@pytest.mark.parametrize("sorted_rows", [False, True])
def test_refreshed_statistics_are_those_of_the_data(momentum, sorted_rows):
    """Whatever the momentum, the number of batches, and what the state held before."""

    class Normalised(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = nn.Dense(2, use_bias=False)(x)
            return nn.BatchNorm(use_running_average=not train, momentum=momentum)(x)

    network = from_linen(Normalised())
    rows = np.random.default_rng(0).normal(5, 2, size=(6 * 16, 3)).astype(np.float32)
    if sorted_rows:  # most of the spread is between the batches
        rows = rows[np.argsort(rows[:, 0])]
    batches = rows.reshape(6, 16, 3)
    params, state = network.init(jax.random.key(0), jnp.asarray(batches[0]))
    stack = lambda tree: jax.tree.map(lambda x: jnp.stack([x] * 2), tree)  # noqa: E731
    posterior = bayes.swag(network, stack(params), stack(state), scale=0.0, refresh=batches)
    out = posterior.predictive(jax.random.key(1), jnp.asarray(rows), 1)
    out = np.asarray(jax.tree.leaves(out)[0])[0]
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=2e-3)
    np.testing.assert_allclose(out.std(axis=0), 1, atol=5e-3)


def test_state_that_is_no_average_is_left_to_the_last_pass():
    from jaxmed.bayes.posteriors._refresh import refreshed_statistics

    def update(state, x, at):
        return {
            "count": state["count"] + 1,
            "fixed": state["fixed"],
            "mean": 0.9 * state["mean"] + 0.1 * x.mean(),
        }

    state = {"count": jnp.int32(3), "fixed": jnp.float32(7), "mean": jnp.float32(-4)}
    found = refreshed_statistics(update, state, jnp.arange(8.0).reshape(4, 2))
    assert (int(found["count"]), float(found["fixed"])) == (4, 7)
    assert float(found["mean"]) == pytest.approx(3.5, abs=1e-4)
