"""The norm of the code's derivative, against the derivative itself."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed.paradigms import autoencoder, contractive

W = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(5, 2, 2)).astype(np.float32)
NETWORK = jm.from_functions(
    lambda key, x: {"w": jnp.asarray(W)},
    lambda params, x: {"features": jax.nn.sigmoid(x.reshape(len(x), -1) @ params["w"])},
)


def value(objective, key=0, x=X, weight=None):
    batch = {"image": x} if weight is None else {"image": x, "weight": weight}
    whole = {"net": {"w": jnp.asarray(W)}, "obj": {}}, {"net": {}, "obj": {}}
    return objective.loss(NETWORK, *whole, batch, jax.random.key(key))[0]


def test_it_is_the_squared_norm_of_the_jacobian():
    """For a sigmoid layer the sum over units of (h (1 - h)) ** 2 |w| ** 2."""
    h = 1 / (1 + np.exp(-X.reshape(5, 4) @ W))
    norms = (np.square(h * (1 - h)) * np.square(W).sum(0)).sum(1)
    exact = contractive(method="exact")
    np.testing.assert_allclose(value(exact), norms.mean(), rtol=1e-5)
    weight = np.float32([1, 0, 2, 0, 0])
    np.testing.assert_allclose(value(exact, weight=weight), norms @ weight / 3, rtol=1e-5)
    n = 2000
    drawn = jax.jit(jax.vmap(lambda seed: value(contractive(probes=2), seed)))(jnp.arange(n))
    assert abs(drawn.mean() - norms.mean()) < 5 * drawn.std() / n**0.5
    assert drawn.std() > 0


def test_beside_a_reconstruction_it_contracts_the_code():
    objective = lambda weight: jm.weighted(  # noqa: E731
        {
            "image": autoencoder(output="features", decoder=jm.networks.mlp(4, hidden=())),
            "code": contractive(),
        },
        {"code": weight},
    )
    flat = X.reshape(5, 4)
    norms = {}
    for weight in (0.0, 1.0):
        run = jm.learner(NETWORK, objective(weight), optax.adam(0.05))
        state = run.init(jax.random.key(0), {"image": flat})
        body = lambda s, _: run.step(s, {"image": flat})  # noqa: E731, B023
        state, _ = jax.jit(lambda s: jax.lax.scan(body, s, None, length=100))(state)  # noqa: B023
        whole = {"net": state.params["net"], "obj": {}}, {"net": {}, "obj": {}}
        exact = contractive(method="exact")
        norms[weight] = exact.loss(NETWORK, *whole, {"image": flat}, jax.random.key(1))[0]
    assert norms[1.0] < 0.5 * norms[0.0]


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="'hutchinson' or 'exact'"):
        contractive(method="sketched")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="at least one probe"):
        contractive(probes=0)
