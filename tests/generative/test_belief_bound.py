"""The bound of a belief network against sums over all states of its layers."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import norm

from jaxmed.core import Variables
from jaxmed.generative import belief_bound, from_rbms, log_likelihood, log_partition, rbm

KEY = jax.random.key(0)


def states(n):
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)), np.float32)


def restricted(pixels, hidden, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return {
        "kernel": np.float32(scale * rng.normal(size=(pixels, hidden))),
        "visible_bias": np.float32(rng.normal(size=pixels)),
        "hidden_bias": np.float32(rng.normal(size=hidden)),
    }


def log_bernoulli(field, drawn):
    """Log probability of each state that is drawn, given each that makes the fields."""
    p = expit(np.float64(field))
    return np.log(np.where(drawn[None] == 1, p[:, None], 1 - p[:, None])).sum(-1)


def top_log_weights(top):
    """Minus the free energy of all states of the layer below the top's own units."""
    h, g = states(top["visible_bias"].size), states(top["hidden_bias"].size)
    inner = h @ top["kernel"] @ g.T + g @ top["hidden_bias"]
    return h @ top["visible_bias"] + logsumexp(np.float64(inner), axis=1)


def exact(params, sizes):
    """Log p and the bound of every image, for two directed layers under the top."""
    v, h1, h2 = (states(size) for size in sizes)
    up, down = params["up"], params["down"]
    lower = log_bernoulli(down["0"]["bias"] + h1 @ down["0"]["kernel"], v).T  # (v, h1)
    upper = log_bernoulli(down["1"]["bias"] + h2 @ down["1"]["kernel"], h1).T  # (h1, h2)
    top = top_log_weights(params["top"])
    joint = lower[:, :, None] + upper[None] + top - logsumexp(top)
    q1 = log_bernoulli(up["0"]["bias"] + v @ up["0"]["kernel"], h1)
    q2 = log_bernoulli(up["1"]["bias"] + h1 @ up["1"]["kernel"], h2)
    q = q1[:, :, None] + q2[None]
    return logsumexp(joint, axis=(1, 2)), (np.exp(q) * (joint - q)).sum((1, 2))


def test_it_is_the_bound_and_importance_weights_close_it():
    sizes = (3, 3, 2)
    params = from_rbms([restricted(3, 3, 1), restricted(3, 2, 2), restricted(2, 3, 3)])
    # Recognition that is not the reverse of generation.
    up = params["up"]["0"]
    params["up"]["0"] = {"kernel": up["kernel"] + 0.7, "bias": np.float32([-1, 0, 1])}
    log_p, bound = exact(params, sizes)
    assert logsumexp(log_p) == pytest.approx(0, abs=1e-6)
    assert (bound < log_p).all()
    assert (log_p - bound).mean() > 0.1
    log_z = log_partition(None, params["top"])
    images = states(3)

    def measured(draws, weighted):
        found = belief_bound(
            KEY, params, images, log_z, binarise="none", draws=draws, weighted=weighted
        )
        return found.value

    assert measured(20_000, weighted=False) == pytest.approx(bound.mean(), abs=0.03)
    assert measured(20_000, weighted=True) == pytest.approx(log_p.mean(), abs=0.03)
    # Of the same draws, weights are never looser.
    assert measured(3, weighted=False) <= measured(3, weighted=True) + 1e-5


def test_it_is_exact_where_recognition_is():
    """A machine upon its own reverse is the machine itself: its layers are given by recognition."""
    lower = restricted(4, 3, 5, scale=2.0)
    reverse = {
        "kernel": lower["kernel"].T,
        "visible_bias": lower["hidden_bias"],
        "hidden_bias": lower["visible_bias"],
    }
    images = states(4)
    bound = belief_bound(
        KEY, from_rbms([lower, reverse]), images, log_partition(None, reverse),
        binarise="none", draws=1,
    )  # fmt: skip
    variables = Variables(lower, {})
    log_p = log_likelihood(rbm(3), variables, images, log_partition(None, lower), binarise="none")
    assert bound.value == pytest.approx(log_p.value, abs=1e-5)
    assert bound.details["se_free_energy"] == pytest.approx(
        log_p.details["se_free_energy"], abs=1e-5
    )

    # And one layer alone is its machine, on the same binary pixels of grey ones.
    grey = np.random.default_rng(0).uniform(size=(20, 2, 2, 1)).astype(np.float32)
    log_z = log_partition(None, lower)
    alone = belief_bound(KEY, from_rbms([lower]), grey, log_z, binarise="draw", chunk=7)
    log_p = log_likelihood(rbm(3), variables, grey, log_z, binarise="draw", key=KEY)
    assert alone.value == pytest.approx(log_p.value, abs=1e-5)
    assert (alone.lower, alone.upper) == pytest.approx((log_p.lower, log_p.upper), abs=1e-4)


def test_gaussian_pixels_have_their_density():
    lower, top = restricted(2, 3, 1), restricted(3, 2, 2)
    lower["visible_log_scale"] = np.float32([0.3, -0.2])
    params = from_rbms([lower, top])
    images = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    h = states(3)
    means = lower["visible_bias"] + h @ lower["kernel"].T
    density = norm.logpdf(images[:, None], means, np.exp(lower["visible_log_scale"])).sum(-1)
    log_weights = top_log_weights(top)
    log_p = logsumexp(density + log_weights - logsumexp(log_weights), axis=1)
    found = belief_bound(
        KEY, params, images, log_partition(None, top), binarise="none", draws=9000, weighted=True
    )
    assert found.value == pytest.approx(log_p.mean(), abs=0.02)


def test_what_is_wrong_is_said():
    params = from_rbms([restricted(3, 3, 1), restricted(3, 2, 2)])
    log_z = log_partition(None, params["top"])
    with pytest.raises(ValueError, match="belief_bound needs a belief_network's parameters"):
        belief_bound(KEY, params["top"], states(3), log_z, binarise="none")
    with pytest.raises(ValueError, match="the layer takes 3 units, not 4"):
        belief_bound(KEY, params, states(4), log_z, binarise="none")
    with pytest.raises(ValueError, match="the RBM has 3 pixels, the images have 4"):
        belief_bound(KEY, from_rbms([restricted(3, 3, 1)]), states(4), log_z, binarise="none")
    for wrong, told in (
        ({"draws": 0}, "at least one draw"), ({"draws": 1.5}, "at least one draw"),
        ({"chunk": 0}, "chunk must be at least 1"), ({"chunk": 1.5}, "chunk must be a whole"),
        ({"level": 95}, r"level must lie in \(0, 1\)"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            belief_bound(KEY, params, states(3), log_z, binarise="none", **wrong)
    with pytest.raises(TypeError, match="log_z is the estimate that log_partition gives, got 3"):
        belief_bound(KEY, params, states(3), 3.0, binarise="none")  # pyright: ignore
    with pytest.raises(ValueError, match="at least two images"):
        belief_bound(KEY, params, states(3)[:1], log_z, binarise="none")
    with pytest.raises(ValueError, match=r"grey values .* in \[0, 1\]"):
        belief_bound(KEY, params, 2 * states(3), log_z, binarise="draw")
    broken = {**params, "top": {**params["top"], "hidden_bias": jnp.full(2, jnp.nan)}}
    with pytest.raises(ValueError, match="not finite"):
        belief_bound(KEY, broken, states(3), log_z, binarise="none")


def test_chunks_change_no_draw():
    params = from_rbms([restricted(4, 3, 1), restricted(3, 2, 2)])
    images = states(4)[:7]
    log_z = log_partition(None, params["top"])
    given = {"binarise": "none", "draws": 3}
    whole = belief_bound(KEY, params, images, log_z, **given)
    parts = belief_bound(KEY, params, images, log_z, chunk=3, **given)
    assert parts.value == pytest.approx(whole.value, rel=1e-6)
    assert parts.value != belief_bound(jax.random.key(1), params, images, log_z, **given).value
