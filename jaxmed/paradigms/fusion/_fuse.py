"""Networks of several modalities as one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Array, Network, PyTree, as_network, from_linen, pick, stream
from jaxmed.core._made import made_by
from jaxmed.networks.layers._convolution import torch_uniform
from jaxmed.paradigms.fusion._present import Drop, filled, given, hidden, rates
from jaxmed.paradigms.fusion._ways import WAYS, Fusion


def fuse(
    networks: Mapping[str, Network | nn.Module],
    how: str = "concat",
    *,
    reads: str | Sequence[str] = "features",
    classes: int | None = None,
    main: str | None = None,
    width: int | None = None,
    drop: Drop = 0.0,
) -> Network:
    r"""A network on several modalities, any of which may be missing in training and prediction.

    Each modality has a network of its own; what they end in is fused: features (middle fusion),
    maps of a pyramid, or ``logits`` (late). Early fusion, channels of one image, is
    :func:`fuse_channels`. The network is given a dict: each modality's input by its name, and
    ``present``, ``(batch, names)`` with the names in alphabetical order, 0 where a modality is
    missing. What stands in its place then, NaN included, changes neither value nor gradient.

    =============  ==================================================================
    ``concat``     side by side; a learned vector stands in for what is missing
    ``mean``       the mean of those that are present
    ``product``    their product, element by element
    ``attention``  a weighted mean, the weights from what they say (Ilse et al.)
    ``film``       ``main`` scaled and shifted by the others' ``features`` (Perez et al.)
    =============  ==================================================================

    One modality fused is itself, and the order of the mapping does not matter. An example of which
    nothing is present gives zeros (of ``concat`` its vectors).

    Args:
        networks: by the modalities' names.
        how: ``"concat"``, ``"mean"``, ``"attention"``, ``"film"`` or ``"product"``.
        reads: the endpoint that is fused, or several, each by itself: ``("features", "pyramid")``.
            One that is a pyramid is fused level by level.
        classes: number of logits, from the fused ``features`` by a linear layer. Without, there is
            none: for :func:`with_heads`, or with ``reads="logits"``.
        main: the modality that ``film`` modulates.
        width: project each modality's array to this width first, by a linear layer of its own;
            ``mean``, ``product`` and ``attention`` need arrays of one width.
        drop: how often a modality is hidden in training, so that the network learns to do without
            it: one rate or by name. The draws of a name are its own. Where all that an example has
            would be hidden, nothing is.

    Returns:
        The network, with parameters ``{"streams": {name: ...}, "fusion": {endpoint: ...}}``, and a
        state alike. Its endpoints are the fused ones by their names, each modality's own as
        ``name/endpoint``, ``logits`` with ``classes``, ``attention`` ``(batch, ..., names)``, and
        ``present`` as it was used.

    Raises:
        ValueError: if options are unknown or do not fit each other; when traced, if shapes do not
            fit.
        KeyError: when traced, if the inputs lack a modality, or a network the endpoint.

    References:
        Neverova et al. (2016), ModDrop, IEEE TPAMI 38. Ilse, Tomczak and Welling (2018),
        Attention-based deep multiple instance learning, ICML. Perez et al. (2018), FiLM, AAAI.
        Havaei et al. (2016), HeMIS: hetero-modal image segmentation, MICCAI.

    >>> import jax, jaxmed as jm
    >>> image, record = jm.networks.cnn(features=(4,)), jm.networks.tabular((0, 3), hidden=(8,))
    >>> network = fuse({"image": image, "record": record}, classes=2, drop=0.2)
    >>> batch = {
    ...     "image": jnp.ones((2, 8, 8, 1)),
    ...     "record": jnp.array([[61.0, 2.0], [jnp.nan, 0.0]]),
    ...     "present": jnp.array([[1, 1], [1, 0]]),
    ... }
    >>> params, state = network.init(jax.random.key(0), batch)
    >>> endpoints, _ = network.apply(params, state, batch)
    >>> endpoints["features"].shape, endpoints["logits"].shape
    ((2, 12), (2, 2))
    """
    if not networks:
        raise ValueError("fuse needs at least one modality")
    streams = {name: as_network(network) for name, network in sorted(networks.items())}
    names = tuple(streams)
    if "present" in streams:
        raise ValueError("a modality cannot be named 'present', which is the mask's name")
    if how not in WAYS:
        raise ValueError(f"how={how!r} is no way to fuse; there are {', '.join(sorted(WAYS))}")
    if (how == "film") != (main is not None) or (main is not None and main not in streams):
        raise ValueError(
            f"main={main!r}: how='film' modulates one of {', '.join(names)}, and no other has one"
        )
    if how == "film" and width is not None:
        raise ValueError("how='film' needs no width: its layers have that of the main modality")
    read = (reads,) if isinstance(reads, str) else tuple(reads)
    if classes is not None and "features" not in read:
        raise ValueError(f"classes={classes} needs fused 'features', but reads={reads!r}")
    rate = rates(drop, names)
    ways = {name: from_linen(Fusion(how, main, width)) for name in read}
    head = None if classes is None else from_linen(nn.Dense(classes, kernel_init=torch_uniform))

    def of_each(endpoints: dict, name: str) -> dict[str, Any]:
        """What each modality gives to the fused endpoint of this name."""
        return {
            m: pick(found, name if how != "film" or m == main else "features", f"network {m!r}")
            for m, found in endpoints.items()
        }

    def init(key, inputs):
        each, present = _modalities(inputs, names)
        made = {m: net.init(stream(key, "streams", m), each[m]) for m, net in streams.items()}
        endpoints = {m: streams[m].apply(*made[m], each[m])[0] for m in streams}
        fusion = {
            name: way.init(stream(key, "fusion", name), (of_each(endpoints, name), present))
            for name, way in ways.items()
        }
        params = {
            "streams": {m: pair[0] for m, pair in made.items()},
            "fusion": {name: pair[0] for name, pair in fusion.items()},
        }
        if head is not None:
            fused = ways["features"].apply(
                *fusion["features"], (of_each(endpoints, "features"), present)
            )[0]["fused"]
            params["head"] = head.init(stream(key, "head"), fused)[0]
        return params, {m: pair[1] for m, pair in made.items()}

    def apply(params, state, inputs, *, key=None, train=False):
        each, present = _modalities(inputs, names)
        present = hidden(present, rate, key, train)
        endpoints, states = {}, {}
        for m, network in streams.items():
            own = None if key is None else stream(key, "streams", m)
            endpoints[m], states[m] = network.apply(
                params["streams"][m], state[m], each[m], key=own, train=train
            )
        found = {f"{m}/{name}": x[name] for name in read for m, x in endpoints.items() if name in x}
        for name, way in ways.items():
            answer, _ = way.apply(params["fusion"][name], {}, (of_each(endpoints, name), present))
            found[name] = answer["fused"]
            if "attention" in answer:
                found["attention" if len(read) == 1 else f"attention/{name}"] = answer["attention"]
        if head is not None:
            found["logits"] = head.apply(params["head"], {}, found["features"])[0]["logits"]
        return {**found, "present": present}, states

    return made_by(
        Network(init, apply), "fuse", networks=streams, how=how, reads=read, classes=classes,
        main=main, width=width, drop=rate,
    )  # fmt: skip


def _modalities(inputs: PyTree, names: Sequence[str]) -> tuple[dict[str, PyTree], Array]:
    """Each modality's inputs, filled in where it is missing, and which are present."""
    if not isinstance(inputs, Mapping):
        raise ValueError(
            "a fused network is given a dict, each modality by its name: learner(..., "
            f"inputs={(*names, 'present')!r})"
        )
    each = {name: pick(inputs, name, "inputs of the fused network") for name in names}
    first = next(iter(each.values()))
    rows = len(first if not isinstance(first, Mapping) else next(iter(first.values())))
    present = given(inputs.get("present"), rows, names)
    return {m: filled(x, present[:, i]) for i, (m, x) in enumerate(each.items())}, present


def fuse_channels(network: Network | nn.Module, *, drop: float = 0.0) -> Network:
    """Early fusion: an image whose channels are modalities, any of which may be missing.

    The network is given ``{"image": (batch, *spatial, channels), "present": (batch, channels)}``.
    A missing channel is 0, and as many channels again say which are there, so that what is missing
    does not look like background; what stood in its place changes nothing.

    Args:
        network: on images of twice as many channels.
        drop: how often a channel is hidden in training; the draws of a channel are its own. Where
            all that an example has would be hidden, nothing is.

    Returns:
        The network, with the parameters, state and endpoints of the given one.

    Raises:
        ValueError: if the rate is not in [0, 1); when traced, if shapes do not fit.

    >>> import jax, jaxmed as jm
    >>> network = fuse_channels(jm.networks.cnn(2, features=(4,)), drop=0.3)
    >>> scan = {"image": jnp.ones((1, 8, 8, 3)), "present": jnp.array([[1, 0, 1]])}
    >>> params, state = network.init(jax.random.key(0), scan)
    >>> network.apply(params, state, scan)[0]["logits"].shape
    (1, 2)
    """
    inner = as_network(network)
    rates(drop, ("channel",))

    def seen(inputs, key, train):
        if not isinstance(inputs, Mapping) or "image" not in inputs:
            raise ValueError(
                "a network on channels is given a dict: learner(..., inputs=('image', 'present'))"
            )
        image = jnp.asarray(inputs["image"])
        names = [f"channel {i}" for i in range(image.shape[-1])]
        present = given(inputs.get("present"), len(image), names)
        left = hidden(present, dict.fromkeys(names, drop), key, train)
        here = left.reshape(len(image), *[1] * (image.ndim - 2), -1)
        told = jnp.broadcast_to(here, image.shape).astype(image.dtype)
        return jnp.concatenate([jnp.where(here, image, 0), told], axis=-1)

    def init(key, inputs):
        return inner.init(key, seen(inputs, None, False))

    def apply(params, state, inputs, *, key=None, train=False):
        return inner.apply(params, state, seen(inputs, key, train), key=key, train=train)

    return made_by(Network(init, apply), "fuse_channels", network=inner, drop=drop)
