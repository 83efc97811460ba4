"""The frames of a cine: read from what is given, checked, put in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array
from jaxmed.data import Scan
from jaxmed.registration.pairs._inputs import arrayed, checked
from jaxmed.registration.warps._warp import known_matrix


def frames_of(cine: Any, affine: Any, *, varying: bool) -> tuple[Array, np.ndarray]:
    """Check a cine.

    Returns:
        ``(frames, *spatial, channels)`` and the affine of its grid.
    """
    if isinstance(cine, Scan):
        if np.ndim(cine.array) != len(cine.affine):
            raise ValueError(
                f"cine has shape {np.shape(cine.array)}; a scan of {len(cine.affine) - 1} axes has "
                "its frames along the last one, as `read_image` reads them"
            )
        stack, own = jnp.moveaxis(jnp.asarray(cine.array), -1, 0)[..., None], cine.affine
    elif isinstance(cine, Sequence) and cine and all(isinstance(x, Scan) for x in cine):
        first = cine[0]
        for i, frame in enumerate(cine):
            if np.shape(frame.array) != np.shape(first.array) or not np.allclose(
                frame.affine, first.affine, atol=1e-4
            ):
                raise ValueError(
                    f"frame {i} lies on another grid than frame 0: shapes "
                    f"{np.shape(frame.array)} and {np.shape(first.array)}, affines\n"
                    f"{frame.affine}\n{first.affine}\nBring both to one, with `to_space`"
                )
        stack, own = jnp.stack([jnp.asarray(x.array) for x in cine]), first.affine
    else:
        stack = jnp.asarray(arrayed("cine", cine))
        own = np.eye(max(stack.ndim - 1, 1)) if affine is None else affine
        affine = None
    if affine is not None:
        raise ValueError("affine is that of arrays; scans have their own")
    own = known_matrix(own, "the affine of cine")
    rank = len(own) - 1
    if stack.ndim != rank + 2 or len(stack) < 2:
        raise ValueError(
            f"cine has shape {stack.shape}; of {rank} axes it is (frames, *spatial, channels), "
            "with two frames or more"
        )
    if min(stack.shape[1:-1]) < 2:
        raise ValueError(
            f"cine has frames of {stack.shape[1:-1]} voxels: along an axis of one voxel there is "
            "no motion to be seen; give the slice alone, of two axes"
        )
    frames = [
        checked(f"frame {i}", frame, rank, masks=False, varying=varying)
        for i, frame in enumerate(stack)
    ]
    return jnp.stack(frames), own


def in_order(count: int, reference: int, *, cyclic: bool) -> tuple[tuple[int, int], ...]:
    """Each frame but the reference after the one it begins with, away from the reference."""
    after = count // 2 if cyclic else count - 1 - reference
    before = count - 1 - after if cyclic else reference
    ways = [(1, after), (-1, before)]
    return tuple(
        ((reference + way * i) % count, (reference + way * (i - 1)) % count)
        for way, far in ways
        for i in range(1, far + 1)
    )
