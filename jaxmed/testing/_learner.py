"""The laws of a learner."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxmed.core import Batch, Inputs, Key, Learner, network_inputs
from jaxmed.testing._law import Laws, assert_close, assert_finite, assert_like, assert_same


def check_learner(
    learner: Learner,
    batch: Batch,
    *,
    key: Key | None = None,
    inputs: Inputs = "image",
    steps: int = 2,
    rtol: float = 1e-3,
) -> list[str]:
    """Check that a learner obeys the laws of :class:`jaxmed.core.Learner`.

    Args:
        learner: the learner.
        batch: a training batch. With several devices whose number divides the batch, a step with
            the batch sharded over them must equal a step on one.
        key: random key; ``jax.random.key(0)`` if absent.
        inputs: name of the batch array passed to ``predict``, or several.
        steps: number of steps.
        rtol: relative tolerance between one device and several.

    Returns:
        The names of the laws checked.

    Raises:
        AssertionError: names the first violated law.

    >>> import flax.linen as nn, optax
    >>> import jaxmed as jm
    >>> batch = {"image": jnp.ones((8, 5)), "label": jnp.arange(8) % 3}
    >>> objective = jm.supervised(jm.losses.cross_entropy)
    >>> run = jm.learner(jm.from_linen(nn.Dense(3)), objective, optax.adam(1e-3))
    >>> "a step is compiled once" in check_learner(run, batch)
    True
    """
    key = jax.random.key(0) if key is None else key
    law = Laws("the learner")
    batch = jax.tree.map(jnp.asarray, dict(batch))

    def initialised():  # as one program, traced each time: init may not look at the outside
        return jax.jit(lambda key, batch: learner.init(key, batch))(key, batch)

    first = initialised()
    law("the same key gives the same state", lambda: assert_same(initialised(), first))

    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(learner.step, n=1))
    state = first
    for _ in range(steps):
        state, metrics = step(state, batch)
    law("a step is compiled once", lambda: step(state, batch))
    law("a step keeps the state's structure", lambda: assert_like(state, first))
    law("a step gives a finite loss", lambda: assert_finite(metrics["loss"]))
    law("the step is counted", lambda: assert_same(state.step, first.step + steps))

    def scalars():
        for name, metric in metrics.items():
            assert jnp.shape(metric) == (), f"metric {name!r} has the shape {jnp.shape(metric)}"

    law("metrics are scalars", scalars)

    def repeated():
        again = first
        for _ in range(steps):
            again, _ = step(again, batch)
        assert_same(again, state)

    law("the same state and batch give the same steps", repeated)

    def donated():
        donating = jax.jit(learner.step, donate_argnums=0)
        given = initialised()
        for _ in range(steps):
            given, _ = donating(given, batch)
        assert_close(given, state, rtol=rtol)

    law("the state can be donated", donated)
    predict = jax.jit(learner.predict)
    given = network_inputs(batch, inputs)
    predicted = predict(state, given)
    law(
        "a prediction draws nothing at random",
        lambda: assert_same(predict(state, given), predicted),
    )

    devices = jax.devices()
    size = jnp.shape(jax.tree.leaves(given)[0])[0]
    if len(devices) > 1 and size % len(devices) == 0:
        mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,))
        over_batch = NamedSharding(mesh, PartitionSpec("data"))
        everywhere = NamedSharding(mesh, PartitionSpec())

        def spread():
            # Created in place, not copied there: a copy may share one device's buffer.
            shared = jax.jit(learner.init, out_shardings=everywhere)(key, batch)
            pieces = jax.device_put(batch, over_batch)
            for _ in range(steps):
                shared, _ = jax.jit(learner.step)(shared, pieces)
            assert_close(shared, state, rtol=rtol, atol=1e-4)

        law("several devices equal one", spread)
    return law.held
