"""Windows of packed volumes: equal to those that NumPy cuts, wherever they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxmed.reinforcement import pack_volumes
from jaxmed.reinforcement.imaging._volumes import windows

RNG = np.random.default_rng(0)


def cut(image, position, stride, window, outside):
    """The window about a voxel, by padding as far as it takes."""
    if max(stride) > 1:
        sigma = [(s - 1) / 2 for s in stride]
        image = ndimage.gaussian_filter(image, [*sigma, 0], mode="nearest")
    reach = [window // 2 * s for s in stride]
    padded = np.pad(image, [(r, r) for r in reach] + [(0, 0)], constant_values=outside)
    places = [slice(p, p + 2 * r + 1, s) for p, r, s in zip(position, reach, stride)]
    return padded[tuple(places)]


@pytest.mark.parametrize("storage", ["int16", "float32"])
@pytest.mark.parametrize(("rank", "channels"), [(2, 2), (3, 1)])
def test_windows_are_those_cut_by_hand(rank, channels, storage):
    sizes = RNG.integers(4, 9, (3, rank))
    images = [RNG.normal(size=(*size, channels)).astype(np.float32) for size in sizes]
    spacing = np.array([[1.0, 1.0, 1.0], [1.0, 2.5, 1.0], [1.5, 1.0, 3.0]])[:, :rank]
    scales, window, outside = (4, 2, 1), 5, -7.0
    packed = pack_volumes(
        images, spacing=spacing, window=window, scales=scales, outside=outside,
        storage=storage, channels=True,
    )  # fmt: skip
    assert packed.stride[1, 0].tolist() == [4, 2, 4][:rank]  # 4 mm, 5 mm, 4 mm
    assert packed.stride[2, 2].tolist() == [1, 1, 1][:rank]  # never less than a voxel
    at, expected = [], []
    for i, image in enumerate(images):
        corners = [
            np.zeros(rank, int),
            sizes[i] - 1,
            sizes[i] // 2,
            *RNG.integers(0, sizes[i], (4, rank)),
        ]
        for position in corners:
            for level in range(3):
                at.append((i, level, position))
                stride = np.maximum(np.rint(scales[level] / spacing[i]), 1).astype(int)
                expected.append(cut(image, position, stride, window, outside))
    found = jax.jit(jax.vmap(windows(packed)))(*(jnp.asarray(np.stack(x)) for x in zip(*at)))
    span = max(float(np.ptp([*image.ravel(), outside])) for image in images)
    np.testing.assert_allclose(
        found, np.stack(expected), atol=2e-6 if storage == "float32" else span / 65534
    )


@pytest.mark.parametrize("storage", ["int16", "float32"])
def test_a_window_about_no_voxel_is_nan(storage):
    packed = pack_volumes(
        [np.ones((5, 4)), np.ones((3, 6))], spacing=(1, 1), window=3, scales=(2, 1),
        storage=storage,
    )  # fmt: skip
    at = [(0, 1, (4, 3)), (1, 1, (2, 5))]  # the last voxels
    nowhere = [(0, 0, (5, 0)), (1, 1, (0, 6)), (1, 0, (-1, 0)), (2, 0, (0, 0)), (-1, 0, (0, 0))]
    nowhere += [(0, 2, (0, 0)), (0, 0, (10_000, 10_000))]
    look = jax.jit(jax.vmap(windows(packed)))
    seen = look(*(jnp.asarray(np.stack(x)) for x in zip(*at, *nowhere)))
    assert np.isfinite(seen[:2]).all()
    assert np.isnan(seen[2:]).all()


def test_int16_keeps_an_image_without_contrast():
    packed = pack_volumes(
        [np.full((4, 4), 3.0)], spacing=(1, 1), window=1, scales=(1,), outside=3.0
    )
    np.testing.assert_allclose(windows(packed)(0, 0, jnp.array([1, 2])), 3.0)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "outside"),
    [
        (np.int8, -128, 127, 0), (np.uint16, 0, 65535, 0), (np.float64, -1e-3, 2e-3, 0.5),
        (np.float32, -3e38, 3e38, 0), (np.float64, 1e-30, 2e-30, 0),
    ],
)  # fmt: skip
def test_int16_is_as_exact_as_it_is_said_to_be(dtype, low, high, outside):
    image = np.linspace(low, high, 20).astype(dtype).reshape(4, 5)
    packed = pack_volumes([image], spacing=(1, 1), window=1, scales=(1,), outside=outside)
    at = np.stack(np.indices(image.shape), -1).reshape(-1, 2)
    seen = jax.vmap(lambda p: windows(packed)(0, 0, p))(jnp.asarray(at)).reshape(4, 5)
    span = max(float(high), outside) - min(float(low), outside)
    image = image.astype(np.float32)
    away = abs(np.asarray(seen, float) - image)
    assert (away <= span / 131_068 + 4 * np.spacing(abs(image).max())).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"volumes": []}, "no volumes"),
        ({"volumes": [np.ones(5)]}, r"volumes\[0\] has the shape \(5,\)"),
        ({"volumes": [np.ones((5, 5)), np.ones((5, 5, 5))]}, r"volumes\[1\]"),
        ({"volumes": [np.ones((5, 0))]}, r"volumes\[0\]"),
        ({"volumes": [np.ones((5, 5)), np.full((5, 5), np.nan)]}, r"volumes\[1\] has 25 values"),
        ({"volumes": [np.ones((5, 5, 1)), np.ones((5, 5, 2))], "channels": True}, "2 channels"),
        ({"spacing": None}, "spacing=None"),
        ({"spacing": (1, 1, 1)}, r"shape \(3,\)"),
        ({"spacing": (1, 0)}, "above 0"),
        ({"spacing": (1, np.nan)}, "above 0"),
        ({"scales": ()}, "coarse to fine"),
        ({"scales": (1, 2)}, "coarse to fine"),
        ({"scales": (2, 0)}, "coarse to fine"),
        ({"scales": (1.5,)}, "coarse to fine"),
        ({"window": 4}, "window=4"),
        ({"window": 21}, "window=21"),
        ({"storage": "int8"}, "'int8'"),
        ({"outside": np.nan}, "outside"),
        ({"volumes": [1e300 * np.eye(5)]}, r"volumes\[0\] has 5 values"),
        ({"volumes": [np.eye(5)], "outside": -1e4}, "16 bits cannot tell apart"),
        ({"volumes": [1e-37 * np.eye(5)]}, "16 bits cannot tell apart"),
    ],
)  # fmt: skip
def test_what_cannot_be_packed_is_told(change, said):
    given = {"volumes": [np.ones((5, 8))], "spacing": (1, 1), "window": 3, "scales": (1,)}
    given |= change
    with pytest.raises(ValueError, match=said):
        pack_volumes(given.pop("volumes"), **given)
