"""The posteriors of the uncertainty experiments: how each is made from one trained network."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmed as jm
from jaxmed import bayes


def momentum(rate: Any) -> optax.GradientTransformation:
    """SGD as classifiers are trained with."""
    return optax.sgd(rate, momentum=0.9)


@dataclasses.dataclass
class Trained:
    """What all methods begin with.

    Attributes:
        config: the experiment's settings.
        network: the network.
        objective: what it is trained by.
        likelihood: the same, as a distribution of the targets.
        batches: of training.
        key: of all draws.
        steps: of training.
        total: examples.
        observations: terms of the likelihood: as many, or the voxels of them.
        every: steps between two snapshots.
        optimizer: of a rate or a schedule of it.
        size: inputs that are predicted at once.
        params: what training came to.
        state: likewise.
        seconds: of work that training took.
    """

    config: Any
    network: Any
    objective: Any
    likelihood: bayes.Likelihood
    batches: Any
    key: jax.Array
    steps: int
    total: int
    observations: int
    every: int
    optimizer: Callable[[Any], optax.GradientTransformation] = momentum
    size: int = 256
    params: Any = None
    state: Any = None
    seconds: float = 0.0

    def learner(self, rate: Any = None, network: Any = None, steps: int | None = None) -> Any:
        """A learner of this network, or another, by the recipe, or at another rate."""
        if rate is None:
            rate = optax.cosine_decay_schedule(self.config.learning_rate, steps or self.steps)
        decay = optax.add_decayed_weights(self.config.weight_decay)
        optimizer = optax.chain(decay, self.optimizer(rate))
        return jm.learner(network or self.network, self.objective, optimizer)


def flips(key: jax.Array, batch: dict) -> dict:
    """Each image mirrored left to right, or not."""
    x = batch["image"]
    chosen = jax.random.bernoulli(key, 0.5, (x.shape[0], 1, 1, 1))
    return {**batch, "image": jnp.where(chosen, x[:, :, ::-1], x)}


def seconds() -> float:
    """A clock of work: all processors' seconds on a CPU, so that other programs do not count."""
    return time.process_time() if jax.default_backend() == "cpu" else time.perf_counter()


def train_base(config: Any, train: Any, classes: int) -> Trained:
    """The classifier all methods begin with: cross-entropy with flips."""
    network = jm.from_linen(
        jm.networks.ResNet(classes, (1, 1, 1), width=config.width, dropout=config.dropout)
    )
    objective = jm.augmented(jm.supervised(jm.losses.cross_entropy), flips)
    batches = jm.data.batches(train, config.batch, seed=config.seed, remainder="drop")
    base = Trained(
        config, network, objective, bayes.categorical(), batches, jax.random.key(config.seed),
        steps=config.epochs * len(batches), total=len(train), observations=len(train),
        every=len(batches),
    )  # fmt: skip
    return fitted(base)


def fitted(base: Trained) -> Trained:
    """Train the network."""
    start = seconds()
    result = jm.fit(base.learner(), base.batches, key=base.key, steps=base.steps, progress=False)
    jax.block_until_ready(result.state.params)
    return dataclasses.replace(
        base, params=result.state.params["net"], state=result.state.state["net"],
        seconds=seconds() - start, key=jm.stream(base.key, "uncertainty"),
    )  # fmt: skip


def with_map(base: Trained, train: Any, val: Any) -> tuple:
    """The trained network."""
    return bayes.point(base.network, base.params, base.state), bayes.softmax_samples


def with_temperature(base: Trained, train: Any, val: Any) -> tuple:
    """The same, its logits divided by a temperature fitted to the validation set."""
    point = bayes.point(base.network, base.params, base.state)
    logits = bayes.predict_samples(point, base.key, val[0], size=base.size)[0]
    fitted = bayes.fit_calibrator(val[1], logits, logits=True)
    return point, lambda z: np.stack([bayes.calibrate(fitted, one) for one in z])


def with_dropout(base: Trained, train: Any, val: Any) -> tuple:
    """Dropout, left on."""
    made = bayes.mc_dropout(base.network, base.params, base.state, train[0][:1])
    return made, bayes.softmax_samples


def with_ensemble(base: Trained, train: Any, val: Any) -> tuple:
    """Members trained from scratch, as one program."""
    # For networks this small a loop over members is quicker on a CPU than copies side by side, and
    # compiles once; the convolutions of `jaxmed.ops` are not slow inside it.
    strategy = "scan" if jax.default_backend() == "cpu" else "auto"
    several = jm.ensemble(base.learner(), base.config.members, strategy=strategy)
    key = jm.stream(base.key, "ensemble")
    result = jm.fit(several, base.batches, key=key, steps=base.steps, progress=False)
    return bayes.ensemble_posterior(base.network, result.state), bayes.softmax_samples


def with_batch_ensemble(base: Trained, train: Any, val: Any) -> tuple:
    """Members that share kernels up to rank one; as many passes over the data each."""
    members = 4
    network = bayes.batch_ensemble(base.network, members)
    steps = members * base.steps
    learner = base.learner(network=network, steps=steps)
    key = jm.stream(base.key, "batch ensemble")
    result = jm.fit(learner, base.batches, key=key, steps=steps, progress=False)
    params, state = result.state.params["net"], result.state.state["net"]
    return bayes.batch_ensemble_posterior(base.network, params, state), bayes.softmax_samples


def trained_on(base: Trained, rate: Any, every: int, steps: int) -> tuple:
    """Snapshots of a run that goes on from the trained network."""
    learner = base.learner(rate)
    start = learner.init(jm.stream(base.key, "on"), base.batches[0])
    params = {"net": base.params, "obj": start.params["obj"]}
    state = {"net": base.state, "obj": start.state["obj"]}
    start = start._replace(params=params, state=state)
    batches = lambda step: base.batches[base.steps + step]  # noqa: E731
    return bayes.trajectory(learner, start, batches, steps=steps, every=every)[1:]


def with_snapshot(base: Trained, train: Any, val: Any) -> tuple:
    """The ends of cosine cycles."""
    cycle = max(base.steps // base.config.members, 1)
    rate = bayes.cyclical_rate(base.config.learning_rate, cycle)
    found = trained_on(base, rate, cycle, cycle * base.config.members)
    return bayes.members(base.network, *found), bayes.softmax_samples


def with_swag(base: Trained, train: Any, val: Any) -> tuple:
    """Moments of a run at a constant rate and half as long; running statistics made anew."""
    steps = max(base.steps // 2 // base.every, 2) * base.every
    found = trained_on(base, base.config.learning_rate / 5, base.every, steps)
    refresh = None
    if jax.tree.leaves(base.state):
        rows = np.random.default_rng(0).permutation(len(train[0]))[: 32 * (len(train[0]) // 32)]
        refresh = train[0][rows].reshape(-1, 32, *train[0].shape[1:])[:40]
    return bayes.swag(base.network, *found, rank=20, refresh=refresh), bayes.softmax_samples


def linearised(base: Trained, train: Any, **options: Any) -> tuple:
    """Laplace's approximation, its predictions drawn in function space.

    Of a mask, whose voxels are too many for their covariance, by draws of the parameters.
    """
    batch = dict(zip((base.likelihood.inputs, base.likelihood.target), train, strict=True))
    fit = bayes.laplace(base.network, base.params, base.state, batch, base.likelihood, **options)
    if train[1].ndim > 1:
        return fit, bayes.softmax_samples

    def predictive(key, inputs, n=None, *, outputs=("logits",), chunk=None):
        # Draws of numbers, not of networks: as many as make their own error small.
        return {"logits": bayes.function_samples(key, *fit.function(inputs), 500)}

    return bayes.Posterior(fit.sample, predictive), bayes.softmax_samples


def with_laplace(base: Trained, train: Any, val: Any) -> tuple:
    """Kronecker factors over the whole network."""
    return linearised(base, train, structure="kron")


def with_laplace_tuned(base: Trained, train: Any, val: Any) -> tuple:
    """The same, its prior precision chosen by the validation set's log-likelihood."""
    held = dict(zip((base.likelihood.inputs, base.likelihood.target), val, strict=True))
    return linearised(base, train, structure="kron", prior_precision="validation", validation=held)


def with_laplace_full(base: Trained, train: Any, val: Any) -> tuple:
    """The full matrix over the whole network: for some hundred training images."""
    return linearised(base, train, structure="full")


def with_laplace_last(base: Trained, train: Any, val: Any) -> tuple:
    """The full matrix of the last layer."""
    return linearised(base, train, structure="full", subset="last_layer")


def variational(base: Trained, estimator: str) -> tuple:
    """Mean field from the trained parameters."""
    fit = bayes.variational(
        jm.stream(base.key, estimator), base.network, base.params, base.state, base.batches,
        base.likelihood, total=base.total, steps=base.steps, prior=prior(base), scale=0.01,
        learning_rate=optax.cosine_decay_schedule(1e-3, base.steps), estimator=estimator,
    )  # fmt: skip
    return fit, bayes.softmax_samples


def with_svi(base: Trained, train: Any, val: Any) -> tuple:
    """Mean field by NumPyro's guide."""
    return variational(base, "shared")


def with_svi_flipout(base: Trained, train: Any, val: Any) -> tuple:
    """Mean field, an own sign for each example's draw."""
    return variational(base, "flipout")


def with_sgld(base: Trained, train: Any, val: Any) -> tuple:
    """SGHMC with cyclical steps from the trained network."""
    fit = bayes.sgmcmc(
        jm.stream(base.key, "sghmc"), base.network, base.params, base.state, base.batches,
        base.likelihood, total=base.total, step_size=0.02 / base.total, steps=2 * base.steps,
        method="sghmc", prior=prior(base), cycles=4, explore=0.6,
        every=max(base.steps // 40, 1),
    )  # fmt: skip
    return fit, bayes.softmax_samples


def prior(base: Trained) -> float:
    """The precision that the weight decay stands for."""
    return base.config.weight_decay * base.observations


METHOD = {
    "map": with_map,
    "temperature": with_temperature,
    "dropout": with_dropout,
    "ensemble": with_ensemble,
    "snapshot": with_snapshot,
    "batch_ensemble": with_batch_ensemble,
    "swag": with_swag,
    "laplace": with_laplace,
    "laplace_tuned": with_laplace_tuned,
    "laplace_last": with_laplace_last,
    "laplace_full": with_laplace_full,
    "svi": with_svi,
    "svi_flipout": with_svi_flipout,
    "sgld": with_sgld,
}
SAMPLED = ("dropout", "swag", "svi", "svi_flipout", "sgld")
