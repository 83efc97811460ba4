"""A trained registration network, with what is done to scans before it; on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import nibabel as nib
import numpy as np

from jaxmed._files import write_whole
from jaxmed.core import Network, PyTree
from jaxmed.data import Scan, normalise, resample_spacing
from jaxmed.inference import DescriptionError, ModelError, build, describe
from jaxmed.inference._foreign import check_links, describing
from jaxmed.inference._model_file import check_weights
from jaxmed.registration.learning._predict import predict_warp
from jaxmed.registration.warps._scan import centre_warp
from jaxmed.registration.warps._warp import Warp
from jaxmed.train import restore, save

_FILE, _WEIGHTS, _FORMAT = "network.json", "network", "jaxmed registration network 1"
# Voxel sizes of headers are rounded.
_ROUNDED = 0.01


class WarpModel(NamedTuple):
    """A trained registration network, with its weights and the scans that it knows.

    Volumes are turned to RAS+ before the network sees them, however their files lie.

    Attributes:
        network: such as :func:`voxelmorph`.
        params: its parameters.
        state: its state.
        spacing: voxel size of the scans it was trained on, in millimetres.
        channels: of each scan.
        limits: percentiles of each channel that become 0 and 1, and beyond which it is clipped.
        centred: whether the middles of its pairs were put on each other, as ``--centre`` does.
    """

    network: Network
    params: PyTree
    state: PyTree
    spacing: tuple[float, ...]
    channels: int = 1
    limits: tuple[float, float] = (1.0, 99.0)
    centred: bool = False

    def warp(self, fixed: Scan, moving: Scan, *, initial: Warp | None = None) -> Warp:
        """Register two scans as they were read: normalised, at the spacing of the training.

        Args:
            fixed: ``(*spatial, channels)`` of any voxel size.
            moving: likewise.
            initial: a warp to begin with; by default the shift of the middles of a network that was
                trained so, else none.

        Returns:
            From points of the fixed scan's space to the moving one's, in millimetres.

        Raises:
            ValueError: scans of other axes or channels, or of one value.
        """
        if initial is None and self.centred and len(fixed.affine) == len(moving.affine):
            initial = centre_warp(fixed, moving)
        ready = []
        for name, scan in (("fixed", fixed), ("moving", moving)):
            axes, channels = len(scan.affine) - 1, np.shape(scan.array)[-1]
            if axes != len(self.spacing) or channels != self.channels:
                raise ValueError(
                    f"{name} has {axes} axes and {channels} channels; the network registers scans "
                    f"of {len(self.spacing)} axes and {self.channels} channels"
                )
            if np.ptp(scan.array) == 0:
                raise ValueError(f"{name} holds one value: there is nothing to register by")
            array = normalise(scan.array, "percentile", limits=self.limits)
            scan = _turned(scan._replace(array=array))
            if not np.allclose(scan.spacing, self.spacing, rtol=_ROUNDED):
                scan = resample_spacing(scan, self.spacing)
            ready.append(scan)
        return predict_warp(self.network, self.params, self.state, *ready, initial=initial)


def save_warp_model(folder: str | os.PathLike, model: WarpModel) -> Path:
    """Save a trained registration network, for `jaxmed register --network FOLDER`.

    ``folder/network.json``, written last, holds the network's description, ``folder/network`` the
    weights.

    Args:
        folder: the folder, created if missing.
        model: a model whose network can be described (:func:`jaxmed.inference.describe`).

    Returns:
        The path of ``network.json``.

    Raises:
        ModelError: if the network cannot be described.
    """
    folder = Path(folder)
    try:
        described = describe(model.network)
    except DescriptionError as error:
        raise ModelError(f"the network cannot be saved: {error}") from error
    table = {
        "format": _FORMAT, "network": described, "spacing": list(map(float, model.spacing)),
        "channels": model.channels, "limits": list(map(float, model.limits)),
        "centred": model.centred,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _FILE
    path.unlink(missing_ok=True)
    save(folder / _WEIGHTS, 0, {"params": model.params, "state": model.state}, {}, keep=1)
    write_whole(path, json.dumps(table, indent=2, allow_nan=False) + "\n")
    return path


def load_warp_model(folder: str | os.PathLike) -> WarpModel:
    """Load what :func:`save_warp_model` saved.

    Args:
        folder: as given there.

    Returns:
        The model.

    Raises:
        ModelError: if the folder holds none, or one that this version does not read.
        CheckpointError: the weights are missing or damaged.
    """
    path = Path(folder) / _FILE
    if not path.is_file():
        raise ModelError(
            f"{folder} holds no trained registration network ({_FILE}): give the folder of a "
            "finished run, such as of `jaxmed train registration`"
        )
    check_links(folder, _FILE, _WEIGHTS)
    with describing(path, "a registration network"):
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["format"] != _FORMAT:
            raise ValueError(f"it has the format {table['format']!r}, not {_FORMAT!r}")
        network = build(table["network"])
        spacing, channels = tuple(map(float, table["spacing"])), int(table["channels"])
        low, high = map(float, table["limits"])
        centred = bool(table.get("centred", False))
        if not isinstance(network, Network):
            raise ValueError(f"a {type(network).__name__} is no network")
        shapes = _shapes(network, len(spacing), channels)
    kept = restore(Path(folder) / _WEIGHTS, {"params": shapes[0], "state": shapes[1]}).state
    check_weights(Path(folder), kept)
    return WarpModel(
        network, kept["params"], kept["state"], spacing, channels, (low, high), centred
    )


def _turned(scan: Scan) -> Scan:
    """A volume with its axes as near to RAS+ as they come; a picture as it is."""
    if len(scan.affine) != 4:
        return scan
    turn = nib.io_orientation(scan.affine)
    back = nib.orientations.inv_ornt_aff(turn, scan.array.shape[:3])
    return Scan(nib.apply_orientation(scan.array, turn), scan.affine @ back, scan.file)


def _shapes(network: Network, rank: int, channels: int) -> Sequence[PyTree]:
    """The shapes of weights, which no image's size changes; of one that is large enough."""
    image = jax.ShapeDtypeStruct((1, *(256,) * rank, channels), jnp.float32)
    return jax.eval_shape(network.init, jax.random.key(0), {"fixed": image, "moving": image})
