"""Several landmarks by one network: a trunk that all share, and a head for each."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Network, pick
from jaxmed.core._made import made_by
from jaxmed.paradigms import Head, with_heads


def landmark_heads(
    trunk: Network, landmarks: int, actions: int, *, reads: str = "features"
) -> Network:
    """A network for :func:`landmark` with several landmarks: one trunk, one linear head for each.

    The values of actions are those of the head whose landmark is looked for. So agents share what
    they see, and learn from each other's episodes.

    Args:
        trunk: a network of windows.
        landmarks: how many.
        actions: ``2 rank``.
        reads: the endpoint of the trunk that the heads read, ``(batch, features)``.

    Returns:
        The network. Its inputs are dicts of ``"image"`` and ``"landmark"``, ``(batch,)``, as the
        environment gives them; its ``logits`` are ``(batch, actions)``, and all heads' are
        ``all_logits``, ``(batch, landmarks, actions)``. Those of a landmark that there is not are
        NaN.

    Raises:
        ValueError: for less than one landmark or action; when traced, for numbers of landmarks
            that are not whole, or not one for each window.

    References:
        Vlontzos, Alansary, Kamnitsas, Rueckert and Kainz (2019), Multiple landmark detection using
        multi-agent reinforcement learning, MICCAI.

    Examples:
        >>> import jax, jaxmed as jm
        >>> network = landmark_heads(jm.from_linen(jm.networks.mlp(hidden=(8,))), 2, 4)
        >>> seen = {"image": jnp.ones((3, 5, 5, 1)), "landmark": jnp.array([0, 1, 1])}
        >>> params, state = network.init(jax.random.key(0), seen)
        >>> network.apply(params, state, seen)[0]["logits"].shape
        (3, 4)
    """
    if landmarks < 1 or actions < 1:
        raise ValueError(
            f"there is at least one landmark and one action, got {landmarks} and {actions}"
        )
    names = [f"landmark_{k}" for k in range(landmarks)]
    whole = with_heads(trunk, {name: Head(nn.Dense(actions), reads) for name in names})

    def init(key: Any, inputs: Any) -> Any:
        return whole.init(key, pick(inputs, "image", "observation"))

    def apply(params: Any, state: Any, inputs: Any, *, key: Any = None, train: bool = False) -> Any:
        image = pick(inputs, "image", "observation")
        endpoints, state = whole.apply(params, state, image, key=key, train=train)
        every = jnp.stack([endpoints.pop(name) for name in names], axis=1)
        which = pick(inputs, "landmark", "observation")
        if not jnp.issubdtype(which.dtype, jnp.integer) or which.shape != every.shape[:1]:
            raise ValueError(
                f"landmark is the number of one for each window, whole numbers {every.shape[:1]}, "
                f"got {which.dtype} {which.shape}"
            )
        known = (which >= 0) & (which < landmarks)
        chosen = every[jnp.arange(len(which)), jnp.clip(which, 0, landmarks - 1)]
        logits = jnp.where(known[:, None], chosen, jnp.nan)
        return {**endpoints, "logits": logits, "all_logits": every}, state

    return made_by(
        Network(init, apply), "landmark_heads", trunk=trunk, landmarks=landmarks, actions=actions
    )
