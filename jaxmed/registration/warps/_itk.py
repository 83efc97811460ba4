"""ITK's text of a transform, in LPS; ours is RAS."""

from __future__ import annotations

import functools

import numpy as np

from jaxmed.registration.warps._warp import Warp, affine_warp, compose, displacement_warp

_HEADER = "#Insight Transform File V1.0"


def flips(rank: int) -> np.ndarray:
    """The factors that turn RAS vectors into LPS ones, and back."""
    return np.array([-1.0, -1.0, 1.0][:rank], np.float32)


def _flipped(matrix: np.ndarray) -> np.ndarray:
    """A homogeneous matrix between RAS points as one between LPS points, and back."""
    turn = np.diag([*flips(len(matrix) - 1), 1.0]).astype(float)
    return turn @ matrix @ turn


def geometry(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Origin, spacing and direction of a grid as ITK has them.

    Raises:
        ValueError: if the grid's axes are not at right angles.
    """
    rank = len(affine) - 1
    turn = np.diag(flips(rank)).astype(float)
    linear = turn @ affine[:rank, :rank]
    spacing = np.linalg.norm(linear, axis=0)
    direction = linear / spacing
    if not np.allclose(direction.T @ direction, np.eye(rank), atol=1e-4):
        raise ValueError(
            "the warp's grid is sheared (its axes are not at right angles), which ITK's geometry "
            "cannot say; put the warp on another grid, with compose(warp, displacement_warp(...))"
        )
    return turn @ affine[:rank, rank], spacing, direction


def as_text(warp: Warp) -> str:
    """Write an affine warp or a displacement."""
    rank = warp.rank
    if warp.kind == "affine":
        matrix = _flipped(np.asarray(warp.values, float))
        kind = f"AffineTransform_double_{rank}_{rank}"
        parameters = [*matrix[:rank, :rank].ravel(), *matrix[:rank, rank]]
        fixed = [0.0] * rank
    else:
        origin, spacing, direction = geometry(np.asarray(warp.affine, float))
        kind = f"DisplacementFieldTransform_double_{rank}_{rank}"
        vectors = np.asarray(warp.values, float) * flips(rank)
        # ITK's first axis varies fastest, the vector's components faster still.
        parameters = np.moveaxis(vectors, -1, 0).ravel(order="F").tolist()
        fixed = [*vectors.shape[:-1], *origin, *spacing, *direction.ravel()]
    numbers = lambda values: " ".join(repr(float(v)) for v in values)  # noqa: E731
    return (
        f"{_HEADER}\n#Transform 0\nTransform: {kind}\nParameters: {numbers(parameters)}\n"
        f"FixedParameters: {numbers(fixed)}\n"
    )


def from_text(text: str) -> Warp:
    """Read one transform, or several that are applied one upon the other.

    Raises:
        ValueError: if it is no such text, or a transform is not known.
    """
    if not text.startswith("#Insight Transform File"):
        raise ValueError(f"an ITK transform begins with {_HEADER!r}")
    warps: list[Warp] = []
    for block in text.split("Transform:")[1:]:
        lines = block.splitlines()
        name = lines[0].strip()
        if name.startswith("CompositeTransform"):
            continue
        fields = dict(line.split(":", 1) for line in lines[1:] if ":" in line)
        numbers = (fields.get(key, "").split() for key in ("Parameters", "FixedParameters"))
        parameters, fixed = (np.array(list(map(float, values))) for values in numbers)
        warps.append(_warp(name, parameters, fixed))
    if not warps:
        raise ValueError("it holds no transform")
    # ITK applies the one that was added last first.
    return functools.reduce(compose, warps)


def _warp(name: str, parameters: np.ndarray, fixed: np.ndarray) -> Warp:
    kind, *sizes = name.split("_")
    if len(sizes) != 3 or sizes[1] != sizes[2] or sizes[1] not in ("2", "3"):
        raise ValueError(f"transform {name!r} is not known here: it is not of 2 or 3 axes")
    rank = int(sizes[1])
    if kind == "DisplacementFieldTransform":
        return _field(rank, parameters, fixed)
    if (kind, rank) not in _LINEAR:
        known = ", ".join(sorted({k for k, r in _LINEAR if r == rank}))
        raise ValueError(
            f"transform {kind!r} of {rank} axes is not known here; known are {known} and "
            "DisplacementFieldTransform: SimpleITK's TransformToDisplacementField makes one of any"
        )
    wanted = {
        "TranslationTransform": rank,
        "Euler2DTransform": 3,
        "Euler3DTransform": 6,
        "VersorRigid3DTransform": 6,
        "Similarity3DTransform": 7,
        "IdentityTransform": 0,
    }.get(kind, rank * (rank + 1))
    if len(parameters) != wanted or len(fixed) not in (0, rank, rank + 1):
        raise ValueError(
            f"{kind} has {len(parameters)} parameters and {len(fixed)} fixed ones, not {wanted} "
            f"and {rank}"
        )
    linear, shift = _LINEAR[kind, rank](rank, parameters, fixed)
    centre = fixed[:rank] if len(fixed) else np.zeros(rank)
    matrix = np.eye(rank + 1)
    matrix[:rank, :rank] = linear
    matrix[:rank, rank] = shift + centre - linear @ centre
    return affine_warp(_flipped(matrix))


def _field(rank: int, parameters: np.ndarray, fixed: np.ndarray) -> Warp:
    if len(fixed) != 3 * rank + rank * rank:
        raise ValueError(f"a field of {rank} axes has {3 * rank + rank * rank} fixed parameters")
    grid = tuple(int(n) for n in fixed[:rank])
    origin, spacing = fixed[rank : 2 * rank], fixed[2 * rank : 3 * rank]
    direction = fixed[3 * rank :].reshape(rank, rank)
    if len(parameters) != np.prod(grid) * rank:
        raise ValueError(f"a field on {grid} has {np.prod(grid) * rank} parameters")
    vectors = np.moveaxis(parameters.reshape((rank, *grid), order="F"), 0, -1)
    turn = np.diag(flips(rank)).astype(float)
    affine = np.eye(rank + 1)
    affine[:rank, :rank] = turn @ (direction * spacing)
    affine[:rank, rank] = turn @ origin
    return displacement_warp((vectors * flips(rank)).astype(np.float32), affine)


# Matrix and shift of each kind, of its parameters and fixed ones.


def _affine(rank: int, p: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    del fixed
    return p[: rank * rank].reshape(rank, rank), p[rank * rank :]


def _identity(rank: int, p: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    del p, fixed
    return np.eye(rank), np.zeros(rank)


def _translation(rank: int, p: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    del fixed
    return np.eye(rank), p


def _turn(angle: float, axis: int) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    m = np.eye(3)
    m[i, i], m[i, j], m[j, i], m[j, j] = c, -s, s, c
    return m


def _euler2(rank: int, p: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    del rank, fixed
    return _turn(p[0], 2)[:2, :2], p[1:]


def _euler3(rank: int, p: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y, z = (_turn(p[i], i) for i in range(3))
    # The fourth fixed parameter: in which order the axes are turned about.
    zyx = len(fixed) > rank and fixed[rank] != 0
    return (z @ y @ x if zyx else z @ x @ y), p[3:]


def _versor(rank: int, p: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    del rank, fixed
    x, y, z = p[:3]
    w = np.sqrt(max(1 - x * x - y * y - z * z, 0))
    turned = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return (p[6] if len(p) == 7 else 1.0) * turned, p[3:6]


_LINEAR = {
    **{(name, rank): _affine
       for name in ("AffineTransform", "MatrixOffsetTransformBase") for rank in (2, 3)},
    **{("TranslationTransform", rank): _translation for rank in (2, 3)},
    **{("IdentityTransform", rank): _identity for rank in (2, 3)},
    ("Euler2DTransform", 2): _euler2,
    ("Euler3DTransform", 3): _euler3,
    ("VersorRigid3DTransform", 3): _versor,
    ("Similarity3DTransform", 3): _versor,
}  # fmt: skip
