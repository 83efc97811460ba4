"""Cross-stitch units: tasks that exchange activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Network, as_network, pick, stream
from jaxmed.core._made import made_by


def cross_stitch(
    stages: Mapping[str, Sequence[Network | nn.Module]], *, own: float = 0.9
) -> Network:
    r"""Networks side by side that exchange activations after each stage but the last.

    .. math:: x_t \leftarrow \sum_u \alpha_{tu}\, x_u

    with one learned matrix a channel and stage, begun at ``own`` on the diagonal and the rest
    shared evenly.

    Args:
        stages: for each task its stages, as many as every other's, each a network or Linen module
            from an array to an array (its ``logits``). Outputs of one stage have one shape.
        own: what a task keeps of its own at first, in [0, 1].

    Returns:
        The network, with an endpoint of each task's name: what its last stage gives.

    Raises:
        ValueError: if there are fewer than two tasks, the numbers of stages differ, or, when
            traced, the shapes of one stage's outputs.

    References:
        Misra et al. (2016), Cross-stitch networks for multi-task learning, CVPR.

    >>> import jax
    >>> network = cross_stitch({"a": [nn.Dense(8), nn.Dense(3)], "b": [nn.Dense(8), nn.Dense(2)]})
    >>> params, state = network.init(jax.random.key(0), jnp.ones((4, 5)))
    >>> print(params["stitch"]["0"][:, :, 0])
    [[0.9 0.1]
     [0.1 0.9]]
    """
    names = sorted(stages)
    depths = {len(stages[name]) for name in names}
    if len(names) < 2 or len(depths) != 1 or 0 in depths:
        counts = {name: len(stages[name]) for name in names}
        raise ValueError(f"cross_stitch needs two tasks or more, of equally many stages: {counts}")
    if not 0 <= own <= 1:
        raise ValueError(f"own must be in [0, 1], got {own}")
    (depth,) = depths
    parts = {name: [as_network(stage) for stage in stages[name]] for name in names}
    start = own * jnp.eye(len(names)) + (1.0 - own) / (len(names) - 1) * (1 - jnp.eye(len(names)))

    def run(visit, stitches, inputs):
        """Go through the stages; ``visit(name, level, x)`` gives a stage's output."""
        xs = dict.fromkeys(names, inputs)
        for level in range(depth):
            xs = {name: visit(name, level, xs[name]) for name in names}
            if level == depth - 1:
                break
            shapes = {name: x.shape for name, x in xs.items()}
            if len(set(shapes.values())) != 1:
                raise ValueError(f"stage {level} must have one shape in all tasks, got {shapes}")
            mixed = jnp.stack([xs[name] for name in names])
            mixed = jnp.einsum("tuc,u...c->t...c", stitches(level, mixed.shape[-1]), mixed)
            xs = dict(zip(names, mixed))
        return xs

    def init(key, inputs):
        params = {"stages": {name: {} for name in names}, "stitch": {}}
        state = {name: {} for name in names}

        def visit(name, level, x):
            at = str(level)
            made = parts[name][level].init(stream(key, name, level), x)
            params["stages"][name][at], state[name][at] = made
            return pick(parts[name][level].apply(*made, x)[0], "logits", "stage")

        def stitches(level, channels):
            unit = jnp.broadcast_to(start[..., None], (*start.shape, channels))
            params["stitch"][str(level)] = jnp.array(unit)
            return unit

        run(visit, stitches, inputs)
        return params, state

    def apply(params, state, inputs, *, key=None, train=False):
        states = {name: {} for name in names}

        def visit(name, level, x):
            at = str(level)
            own_key = None if key is None else stream(key, name, level)
            found, states[name][at] = parts[name][level].apply(
                params["stages"][name][at], state[name][at], x, key=own_key, train=train
            )
            return pick(found, "logits", "stage")

        return run(visit, lambda level, _: params["stitch"][str(level)], inputs), states

    return made_by(Network(init, apply), "cross_stitch", stages=parts, own=own)
