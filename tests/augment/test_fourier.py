"""Amplitudes of other images: the phase is kept, partners are whom they may be."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.augment import fourier_mix

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def images(n=4, shape=(6, 5), channels=2):
    return jnp.asarray(RNG.normal(size=(n, *shape, channels)) + 1.0, jnp.float32)


def spectrum(x):
    return np.fft.fftn(np.asarray(x, np.float64), axes=tuple(range(1, x.ndim - 1)))


def cosine(first, second):
    """Of the angle between two fields of complex numbers, where both are there."""
    return (first * second.conj()).real / (np.abs(first) * np.abs(second))


@pytest.mark.parametrize("shape", [(7,), (6, 5), (4, 3, 6)])
def test_phases_are_kept_and_amplitudes_are_the_partners(shape):
    x = images(2, shape)
    batch = {"image": x, "site": jnp.array([0, 1])}
    made = fourier_mix((1.0, 1.0), domain="site")(KEY, batch)["image"]
    before, after = spectrum(x), spectrum(made)
    np.testing.assert_allclose(cosine(after, before), 1, atol=1e-3)
    np.testing.assert_allclose(np.abs(after), np.abs(before[::-1]), atol=1e-3)


def test_a_ratio_mixes_amplitudes_and_none_changes_nothing():
    x = images(2)
    batch = {"image": x, "site": jnp.array([0, 1])}
    made = fourier_mix((0.25, 0.25), domain="site")(KEY, batch)["image"]
    one, other = np.abs(spectrum(x)), np.abs(spectrum(x))[::-1]
    np.testing.assert_allclose(np.abs(spectrum(made)), 0.75 * one + 0.25 * other, atol=1e-3)
    for still in (fourier_mix((0.0, 0.0)), fourier_mix(p=0.0)):
        np.testing.assert_array_equal(still(KEY, batch)["image"], x)


def test_a_band_holds_the_lowest_frequencies_of_every_axis():
    x = images(2, (8, 10), 1)
    batch = {"image": x, "site": jnp.array([0, 1])}
    made = fourier_mix((1.0, 1.0), band=0.5, domain="site")(KEY, batch)["image"]
    after, own = np.abs(spectrum(made)), np.abs(spectrum(x))
    low = np.abs(np.fft.fftfreq(8))[:, None] <= 0.25
    low = low & (np.abs(np.fft.fftfreq(10)) <= 0.25)
    expected = np.where(low[..., None], own[::-1], own)
    np.testing.assert_allclose(after, expected, atol=1e-3)


def partner_of(made, x):
    """Whose amplitudes each row has."""
    a, b = np.abs(spectrum(made)), np.abs(spectrum(x))
    gap = ((a[:, None] - b[None]) ** 2).reshape(len(a), len(b), -1).sum(-1)
    return gap.argmin(1)


def test_partners_are_of_another_domain_and_never_padding():
    x, site = images(6), jnp.array([0, 0, 0, 1, 1, 1])
    weight = jnp.array([1.0, 1, 1, 1, 1, 0])
    view = jax.jit(fourier_mix((1.0, 1.0), domain="site"))
    batch = {"image": x, "site": site, "weight": weight}
    seen = [partner_of(view(jax.random.key(i), batch)["image"], x) for i in range(12)]
    for found in seen:
        assert (np.asarray(site)[found] != np.asarray(site)).all()
        assert (np.asarray(weight)[found] > 0).all()
    assert {int(found[3]) for found in seen} == {0, 1, 2}
    alone = {**batch, "site": jnp.zeros(6, int)}
    np.testing.assert_array_equal(view(KEY, alone)["image"], x)
    plain = jax.jit(fourier_mix((1.0, 1.0)))
    made = [plain(jax.random.key(i), batch)["image"] for i in range(12)]
    assert {int(p) for one in made for p in partner_of(one, x)[:5]} == {0, 1, 2, 3, 4}


def test_amplitudes_come_from_another_field():
    batch = {
        "image": images(3), "unlabelled": images(5), "label": jnp.arange(3),
        "weight_unlabelled": jnp.array([0.0, 1, 1, 0, 0]),
    }  # fmt: skip
    view = jax.jit(fourier_mix((1.0, 1.0), other="unlabelled"))
    made = [view(jax.random.key(i), batch) for i in range(8)]
    found = {int(p) for one in made for p in partner_of(one["image"], batch["unlabelled"])}
    assert found == {1, 2}
    np.testing.assert_array_equal(made[0]["unlabelled"], batch["unlabelled"])
    np.testing.assert_array_equal(made[0]["label"], batch["label"])


def test_ratios_differ_between_examples_and_channels_share_them():
    x = images(8, (6, 6), 2)
    made = fourier_mix(domain="row")(KEY, {"image": x, "row": jnp.arange(8)})["image"]
    sums = np.asarray(x.sum((1, 2)))
    share = []
    for row, total in enumerate(np.asarray(made.sum((1, 2)))):
        fits = [
            np.linalg.lstsq((sums[j] - sums[row])[:, None], total - sums[row], rcond=None)
            for j in range(8) if j != row
        ]  # fmt: skip
        share.append(float(min(fits, key=lambda fit: fit[1].sum())[0][0]))
    assert len(np.unique(np.round(share, 3))) == 8
    assert 0 <= min(share) < 0.4 < max(share) <= 1


@pytest.mark.parametrize(
    ("options", "batch", "told"),
    [
        ({"ratio": (0.5, 1.5)}, {}, "ratio is"),
        ({"ratio": 0.5}, {}, "ratio is"),
        ({"images": ()}, {}, "one field of images or more"),
        ({"images": ("image", "t2")}, {"image": images(3), "t2": images(2)}, "t2 has 2 rows, and"),
        ({"band": 0.0}, {}, "band is a share"),
        ({"domain": "a", "other": "b"}, {}, "give one of the two"),
        ({}, {"image": jnp.ones((2, 4, 1), int)}, "floating image"),
        ({}, {"image": jnp.ones((2, 4))}, "one to three spatial axes"),
        ({"other": "more"}, {"image": images(2), "more": images(2, (3, 3))}, "of another size"),
        ({"domain": "site"}, {"image": images(2), "site": jnp.ones((2, 1))}, r"domain must be"),
    ],
)
def test_mistakes_are_told(options, batch, told):
    with pytest.raises(ValueError, match=told):
        fourier_mix(**options)(KEY, batch)


def test_where_all_other_images_are_padding_nothing_is_mixed():
    x = images(3)
    batch = {"image": x, "unlabelled": images(4) + 5, "weight_unlabelled": jnp.zeros(4)}
    made = fourier_mix((1.0, 1.0), other="unlabelled")(KEY, batch)["image"]
    np.testing.assert_array_equal(made, x)


def test_a_field_that_is_not_there_is_told():
    with pytest.raises(KeyError, match="no 'site'"):
        fourier_mix(domain="site")(KEY, {"image": images()})
