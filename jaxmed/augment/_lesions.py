"""Lesions of one image of a batch pasted onto healthy places of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from jaxmed import ops
from jaxmed.augment._chain import check_p, rounded_to, widened
from jaxmed.core import Array, Batch, Key, View, pick, stream

_CORNER = 1.75  # Voxels: the diagonal of a voxel and a little, so that lesions stay two.


def paste_lesions(
    p: float = 0.5,
    *,
    classes: Sequence[int] | None = None,
    on: Sequence[int] | None = None,
    within: str | None = None,
    blend: float = 2.0,
    match: bool = True,
    sets: Mapping[str, int] | None = None,
    box_class: int = 0,
    image: str = "image",
    mask: str = "mask",
) -> View:
    """Copy a lesion of another image of the batch onto a healthy place, with its mask.

    One connected lesion of a random other image is moved as a whole, uniformly among all places
    where it lies inside the image, touches no lesion and leaves no allowed region. About it the two
    images are blended, and its brightness is shifted so that what surrounds it fits. Where there is
    no place, or no image with a lesion, nothing is pasted.

    Args:
        p: probability, for each example.
        classes: numbers of the mask that are lesions; by default all above 0.
        on: numbers of the mask that a lesion may cover, such as that of the organ; by default all
            that is no lesion. The background about a body is a healthy place too unless ``on`` or
            ``within`` says otherwise.
        within: field ``(batch, *spatial)``, above 0 where a lesion may lie, such as the body.
        blend: voxels about a lesion over which the images are blended, and which stay free of other
            lesions; 0 for a cut edge.
        match: whether brightness is shifted, channel by channel, by the difference of the means of
            what surrounds the lesion here and there.
        sets: fields that become a number where a lesion was pasted, such as ``{"label": 1}``. A
            batch with a ``label`` needs it, for a healthy image is no longer one; ``{}`` says that
            its labels are of something else.
        box_class: the class that the new box has in ``box_label``, if the batch has ``box``: it
            takes the first place with a label of -1. Without a free place nothing is pasted.
        image: field ``(batch, *spatial, channels)``, 2D or 3D.
        mask: field ``(batch, *spatial)`` of whole numbers.

    Returns:
        ``(key, batch) -> batch``. Padding rows (weight 0) give no lesions.

    Raises:
        ValueError: for a probability or width that is none; when traced, for a mask of another
            shape or type than said, or a ``label`` of which ``sets`` says nothing.
        KeyError: when traced, if the batch lacks a field that is named.

    References:
        Ghiasi et al. (2021), Simple copy-paste is a strong data augmentation method for instance
        segmentation, CVPR. Zhang et al. (2021), CarveMix, MICCAI. Zhu et al. (2022), SelfMix: a
        self-adaptive data augmentation method for lesion segmentation, MICCAI.

    Examples:
        >>> image = jnp.zeros((2, 9, 9, 1)).at[1, 1:3, 1:3].set(1.0)
        >>> batch = {"image": image, "mask": (image[..., 0] > 0).astype(jnp.int32)}
        >>> made = paste_lesions(1.0, blend=0)(jax.random.key(0), batch)
        >>> made["mask"].sum((1, 2)).tolist()  # the first has the other's; none came to the other
        [4, 4]
    """
    check_p(p)
    if not 0 <= blend < float("inf"):
        raise ValueError(f"blend is a number of voxels of at least 0, got {blend}")

    def view(key: Key, batch: Batch) -> dict[str, Array]:
        images, masks = pick(batch, image), pick(batch, mask)
        _check(batch, images, masks, sets, image, mask)
        rows = len(images)
        lesion = masks > 0 if classes is None else jnp.isin(masks, jnp.asarray(classes))
        allowed = ~lesion if on is None else jnp.isin(masks, jnp.asarray(on)) & ~lesion
        if within is not None:
            inside = pick(batch, within)
            if inside.shape != masks.shape:
                raise ValueError(f"{within} is {inside.shape}, {mask} {masks.shape}")
            allowed &= inside > 0
        giver, there = _givers(stream(key, "giver"), lesion, batch.get("weight"))
        there &= jax.random.uniform(stream(key, "chosen"), (rows,)) < p
        if "box" in batch:
            there &= (batch["box_label"] < 0).any(1)
        keys = jax.vmap(lambda row: stream(stream(key, "place"), row))(jnp.arange(rows))
        component = jax.vmap(_one_lesion)(keys, lesion[giver])
        found, shift, cover, strength = jax.vmap(
            lambda k, piece, free, sick, can: _placed(k, piece, free, sick, can, blend)
        )(keys, component, allowed, lesion, there)
        moved_image, moved_mask = (
            jax.vmap(lambda x, s: jnp.roll(x, s, range(len(s))))(x[giver], shift)
            for x in (widened(images), masks)
        )
        if match:
            ring = (strength > 0) & ~cover
            moved_image = moved_image + _difference(widened(images), moved_image, ring, blend)
        share = strength[..., None]
        mixed = rounded_to((1 - share) * widened(images) + share * moved_image, images.dtype)
        kept = (share == 0) | ~found.reshape(-1, *[1] * (images.ndim - 1))
        made = {
            **batch,
            image: jnp.where(kept, images, mixed),
            mask: jnp.where(cover, moved_mask, masks),
        }
        for name, value in (sets or {}).items():
            made[name] = jnp.where(
                found.reshape(-1, *[1] * (batch[name].ndim - 1)),
                jnp.asarray(value, batch[name].dtype), batch[name],
            )  # fmt: skip
        if "box" in batch:
            made |= _boxed(batch, cover, found, box_class)
        return made

    return view


def _check(
    batch: Batch, images: Array, masks: Array, sets: Mapping[str, int] | None, image: str, mask: str
) -> None:
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"paste_lesions needs a floating {image}, got {images.dtype}")
    if images.ndim not in (4, 5) or masks.shape != images.shape[:-1]:
        raise ValueError(
            f"{image} must be (batch, *spatial, channels) with two or three spatial axes and "
            f"{mask} (batch, *spatial), got {images.shape} and {masks.shape}"
        )
    if not jnp.issubdtype(masks.dtype, jnp.integer):
        raise ValueError(f"{mask} holds whole numbers, got {masks.dtype}")
    if sets is None and "label" in batch:
        raise ValueError(
            "an image with a pasted lesion may need another label: give sets={'label': ...}, or "
            "sets={} if the labels do not tell lesions"
        )
    for name in sets or {}:
        pick(batch, name)


def _givers(key: Key, lesion: Array, weight: Array | None) -> tuple[Array, Array]:
    """Another row with a lesion for each row, and whether there is one."""
    rows = len(lesion)
    sick = lesion.reshape(rows, -1).any(1)
    if weight is not None:
        sick &= weight > 0
    can = sick & ~jnp.eye(rows, dtype=bool)
    drawn = jnp.where(can, jax.random.uniform(key, (rows, rows)), -1.0)
    return drawn.argmax(1), can.any(1)


def _one_lesion(key: Key, lesion: Array) -> Array:
    """One connected component, at random."""
    labels, count = ops.connected_components(lesion, connectivity=lesion.ndim)
    drawn = jax.random.uniform(stream(key, "lesion"))
    # A product may round up to the count itself.
    return labels == 1 + jnp.minimum((drawn * count).astype(jnp.int32), count - 1)


def _placed(
    key: Key, piece: Array, free: Array, sick: Array, can: Array, blend: float
) -> tuple[Array, Array, Array, Array]:
    """Whether there is a place, the shift to it, the voxels covered, and the share of each."""
    shape, rank = piece.shape, piece.ndim
    near = ops.distance_transform(~sick) <= max(blend, _CORNER)
    taken = ~free | (near & sick.any())
    # How many voxels of the lesion would lie on taken ones, for each shift.
    spectra = [jnp.fft.rfftn(x.astype(jnp.float32)) for x in (piece, taken)]
    hits = jnp.fft.irfftn(jnp.conj(spectra[0]) * spectra[1], s=shape)
    fits = hits < 0.5
    for axis, n in enumerate(shape):
        along = piece.any([a for a in range(rank) if a != axis])
        first, last = along.argmax(), n - along[::-1].argmax()
        at = jnp.arange(n)
        room = (at <= n - last) | (at - n >= -first)
        fits &= room.reshape([n if a == axis else 1 for a in range(rank)])
    drawn = jnp.where(fits, jax.random.uniform(stream(key, "shift"), shape), -1.0)
    shift = jnp.stack(jnp.unravel_index(drawn.argmax(), shape))
    found = can & fits.any() & piece.any()
    cover = jnp.roll(piece, shift, range(rank)) & found
    strength = cover.astype(jnp.float32)
    if blend:
        away = ops.distance_transform(~cover)
        strength = jnp.where(found, jnp.clip(1 - away / (blend + 1), 0, 1), 0)
        # What would come from beyond the other image's edge stays as it is.
        strength = jnp.where(cover, 1, strength * _in_range(piece, shift))
    return found, shift, cover, strength


def _in_range(piece: Array, shift: Array) -> Array:
    """Where a shifted image has voxels of its own, not those that left on the other side."""
    inside = jnp.ones(piece.shape, bool)
    for axis, n in enumerate(piece.shape):
        along = piece.any([a for a in range(piece.ndim) if a != axis])
        # The shift goes round: it is the negative one if the lesion would leave otherwise.
        last = n - along[::-1].argmax()
        step = jnp.where(last + shift[axis] > n, shift[axis] - n, shift[axis])
        at = jnp.arange(n) - step
        room = (at >= 0) & (at < n)
        inside &= room.reshape([n if a == axis else 1 for a in range(piece.ndim)])
    return inside


def _difference(images: Array, moved: Array, ring: Array, blend: float) -> Array:
    """The difference of the means about the lesion, (batch, 1, ..., channels)."""
    axes = tuple(range(1, images.ndim - 1))
    if not blend:
        return jnp.zeros((len(images), *[1] * len(axes), images.shape[-1]), images.dtype)
    count = jnp.maximum(ring.sum(axes)[..., None], 1)
    means = [(x * ring[..., None]).sum(axes) / count for x in (images, moved)]
    return (means[0] - means[1]).reshape(len(images), *[1] * len(axes), -1)


def _boxed(batch: Batch, cover: Array, found: Array, box_class: int) -> dict[str, Array]:
    """Boxes with that of what was pasted in the first free place."""
    rank = cover.ndim - 1
    lows, highs = [], []
    for axis in range(rank):
        along = cover.any([1 + a for a in range(rank) if a != axis])
        lows.append(along.argmax(1))
        highs.append(along.shape[1] - along[:, ::-1].argmax(1))
    new = jnp.stack([*lows, *highs], axis=-1).astype(batch["box"].dtype)
    label = batch["box_label"]
    slot = jnp.arange(label.shape[1]) == (label < 0).argmax(1)[:, None]
    slot &= found[:, None]
    return {
        "box": jnp.where(slot[..., None], new[:, None], batch["box"]),
        "box_label": jnp.where(slot, jnp.asarray(box_class, label.dtype), label),
    }
