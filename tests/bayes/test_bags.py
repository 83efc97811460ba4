"""Posteriors over networks that are given several arrays: bags, by every method alike."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed import bayes
from jaxmed.core import from_functions
from jaxmed.paradigms import BAG

KEY = jax.random.key(0)


def _apply(params, bag):
    """The mean of a bag's instances, linearly: what padding holds must not matter."""
    mask = bag["bag_mask"][..., None]
    mean = (bag["image"] * mask).sum(1) / mask.sum(1)
    return mean @ params["head"]["kernel"] + params["head"]["bias"]


NETWORK = from_functions(
    lambda key, bag: {"head": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}}, _apply
)
LIKELIHOOD = bayes.categorical(inputs=BAG)


def make_bags(n=6):
    rng = np.random.default_rng(0)
    return {
        "image": rng.normal(size=(n, 4, 3)).astype(np.float32),
        "bag_mask": (np.arange(4) < 2 + np.arange(n)[:, None] % 3).astype(np.float32),
        "label": (np.arange(n) % 2).astype(np.int32),
        "weight": np.float32([1] * (n - 1) + [0]),
    }


BAGS = make_bags()
INPUTS = {name: BAGS[name] for name in BAG}
PARAMS, STATE = NETWORK.init(KEY, INPUTS)
FIT = {"total": 5, "steps": 4}


def ensemble():
    one = jm.learner(
        NETWORK, jm.supervised(jm.losses.cross_entropy, inputs=BAG), optax.sgd(0.1), inputs=BAG
    )
    return bayes.ensemble_posterior(NETWORK, jm.ensemble(one, 3).init(KEY, BAGS))


def swag():
    rng = np.random.default_rng(1)
    draws = jax.tree.map(lambda x: rng.normal(size=(3, *x.shape)).astype(np.float32), PARAMS)
    refresh = jax.tree.map(lambda x: x[None], INPUTS)
    return bayes.swag(NETWORK, draws, {}, refresh=refresh)


def laplace(structure, **options):
    return bayes.laplace(NETWORK, PARAMS, STATE, BAGS, LIKELIHOOD, structure=structure, **options)


METHODS = {
    "point": lambda: bayes.point(NETWORK, PARAMS, STATE),
    "ensemble": ensemble,
    "swag": swag,
    "laplace full": lambda: laplace("full", subset="last_layer"),
    "laplace kron": lambda: laplace("kron"),
    "laplace by validation": lambda: laplace(
        "diag", prior_precision="validation", validation=BAGS
    ),
    "variational": lambda: bayes.variational(
        KEY, NETWORK, PARAMS, STATE, lambda step: BAGS, LIKELIHOOD, **FIT
    ),
    "sgmcmc": lambda: bayes.sgmcmc(
        KEY, NETWORK, PARAMS, STATE, lambda step: BAGS, LIKELIHOOD, step_size=1e-2, every=2, **FIT
    ),
    "nuts": lambda: bayes.nuts(
        KEY, NETWORK, PARAMS, STATE, BAGS, LIKELIHOOD, warmup=2, draws=4, chains=1
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(m, marks=pytest.mark.slow if m in {"nuts", "variational"} else ())
        for m in METHODS
    ],
)
def test_any_method_takes_bags(method):
    posterior = METHODS[method]()
    found = bayes.predict_samples(posterior, KEY, INPUTS, size=4)
    assert found.shape[1:] == (6, 2)
    # Instances beyond the mask play no part, and no case sees another's.
    other = INPUTS["image"] + 9 * (1 - INPUTS["bag_mask"])[..., None]
    moved = bayes.predict_samples(posterior, KEY, {**INPUTS, "image": other}, size=6)
    np.testing.assert_allclose(moved, found, rtol=1e-4, atol=1e-5)


def test_a_bag_is_the_mean_of_its_instances_to_laplace():
    """The curvature of bags is that of a linear model on their means, which one array holds."""
    mask = INPUTS["bag_mask"][..., None]
    means = {**BAGS, "image": (INPUTS["image"] * mask).sum(1) / mask.sum(1)}
    plain = from_functions(
        lambda key, x: PARAMS, lambda p, x: x @ p["head"]["kernel"] + p["head"]["bias"]
    )
    for structure in ("full", "kron"):
        one = laplace(structure)
        other = bayes.laplace(plain, PARAMS, STATE, means, bayes.categorical(), structure=structure)
        assert one.log_evidence == pytest.approx(other.log_evidence, rel=1e-5)
        for a, b in zip(one.function(INPUTS), other.function(means["image"]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_batch_may_hold_the_bag_as_one_entry():
    """A dict under one name, as the network is given it."""
    batch = {"bag": INPUTS, "label": BAGS["label"], "weight": BAGS["weight"]}
    one = laplace("diag")
    other = bayes.laplace(
        NETWORK, PARAMS, STATE, batch, bayes.categorical(inputs="bag"), structure="diag"
    )
    assert one.log_evidence == pytest.approx(other.log_evidence, rel=1e-6)


def test_inputs_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"one row, but there are \[3, 6\]"):
        bayes.predict_samples(METHODS["point"](), KEY, {**INPUTS, "image": INPUTS["image"][:3]})


@pytest.mark.parametrize("method", ["laplace", "variational", "sgmcmc", "nuts", "predict"])
def test_instances_without_their_mask_are_refused(method):
    """Padding would pass for instances, in silence."""
    plain = from_functions(
        lambda key, x: PARAMS, lambda p, x: x.mean(1) @ p["head"]["kernel"] + p["head"]["bias"]
    )
    head, given = bayes.categorical(), (plain, PARAMS, STATE)
    one = jm.learner(plain, jm.supervised(jm.losses.cross_entropy), optax.sgd(0.1))
    state = one.init(KEY, {name: BAGS[name] for name in ("image", "label")})
    calls = {
        "laplace": lambda: bayes.laplace(*given, BAGS, head, structure="diag"),
        "variational": lambda: bayes.variational(KEY, *given, lambda t: BAGS, head, **FIT),
        "sgmcmc": lambda: bayes.sgmcmc(
            KEY, *given, lambda t: BAGS, head, step_size=1e-2, every=2, **FIT
        ),
        "nuts": lambda: bayes.nuts(KEY, *given, BAGS, head, warmup=2, draws=4, chains=1),
        "predict": lambda: jm.train.predict(one, state, BAGS, size=3),
    }
    with pytest.raises(ValueError, match="without the batch's 'bag_mask'"):
        calls[method]()
