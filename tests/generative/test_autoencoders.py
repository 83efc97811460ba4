"""Autoencoders against closed forms: probabilistic PCA, divergences, codebooks, densities."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest
import scipy.stats as st

import jaxmed as jm
from jaxmed import generative as gen
from jaxmed import networks
from jaxmed.core import from_functions, from_linen, stream
from jaxmed.generative.autoencoders._levels import Level, divergence
from jaxmed.generative.autoencoders._likelihood import distribution
from jaxmed.networks import Codebook
from jaxmed.testing import check_network, check_objective

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SHAPE = (6, 5)
IMAGES = RNG.uniform(-1, 1, (8, *SHAPE, 1)).astype(np.float32)
BATCH = {
    "image": IMAGES,
    "label": np.arange(8, dtype=np.int32) % 3,
    "weight": np.float32([1] * 6 + [0] * 2),
}


def whole(params, state, **own):
    return {"net": params, "obj": {}}, {"net": state, "obj": own}


def small(make, **options):
    return from_linen(make(SHAPE, features=(4, 6), **options))


NETWORKS = {
    "image_vae": lambda **o: small(networks.image_vae, latent=3, **o),
    "image_vae of maps": lambda **o: small(networks.image_vae, latent=2, spatial=True, **o),
    "ladder_vae": lambda **o: small(networks.ladder_vae, latent=2, **o),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n != "image_vae" else ()) for n in NETWORKS]
)
def test_codecs_keep_the_laws_of_networks(name):
    network = NETWORKS[name](classes=3, dropout=0.2)
    given = {"image": IMAGES[:2], "label": BATCH["label"][:2], "key": gen.image_keys(KEY, 2)}
    assert "gradients are finite" in check_network(network, given)


@pytest.mark.parametrize("name", NETWORKS)
def test_codecs_are_drawn_from_and_described(name):
    """Each image by its key and class alone; latents decoded are what the network decodes."""
    network, label = NETWORKS[name](classes=3), BATCH["label"]
    params, state = network.init(KEY, {"image": IMAGES, "label": label})
    draw = gen.vae_sampler(network, classes=3, noise=True)
    drawn = gen.draw_images(draw, KEY, params, state, 5, condition={"label": label[:5]})
    part = gen.draw_images(draw, KEY, params, state, 3, chunk=2, condition={"label": label[:3]})
    np.testing.assert_allclose(part, drawn[:3], atol=1e-5)
    assert drawn.shape == (5, *SHAPE, 1)

    @jax.jit
    def there_and_back():
        latents = gen.encode(network, params, state, IMAGES, label=label)
        ends = network.apply(params, state, {"image": IMAGES, "label": label})[0]
        return latents, gen.decode(network, params, state, latents, label=label), ends["logits"]

    latents, decoded, expected = there_and_back()
    np.testing.assert_allclose(decoded, expected, atol=1e-5)
    again = jm.inference.build(jm.inference.describe(network))
    shapes = jax.eval_shape(again.init, KEY, {"image": IMAGES, "label": label})
    assert jax.tree.structure(shapes) == jax.tree.structure((params, state))
    for bad, told in (
        ({"image": IMAGES, "latent": latents}, "one of"),
        ({"image": IMAGES[:, 1:]}, "made for images"),
    ):
        with pytest.raises(ValueError, match=told):
            network.apply(params, state, {**bad, "label": label})


@pytest.mark.parametrize("make", [networks.image_vae, networks.ladder_vae, networks.vq_codec])
def test_volumes_and_half_precision(make):
    network = from_linen(make((5, 4, 6), 2, features=(4, 6), dtype=jnp.bfloat16, remat=True))

    def all_of_it(x):
        params, state = network.init(KEY, x)
        return network.apply(params, state, x, key=KEY, train=True)[0]

    ends = jax.eval_shape(all_of_it, jnp.ones((2, 5, 4, 6, 2)))
    assert ends["logits"].shape == (2, 5, 4, 6, 2)
    assert {leaf.dtype for leaf in jax.tree.leaves(ends)} <= {
        jnp.dtype("float32"),
        jnp.dtype("int32"),
    }


OBJECTIVES = {
    "vae": (lambda: gen.vae(beta=optax.linear_schedule(0.1, 1.0, 10)), "image_vae"),
    "ladder": (lambda: gen.vae(likelihood="discretised", free_bits=0.1), "ladder_vae"),
}


@pytest.mark.parametrize("name", ["vae", pytest.param("ladder", marks=pytest.mark.slow)])
def test_objectives_keep_the_laws(name):
    objective, network = OBJECTIVES[name]
    held = check_objective(objective(), NETWORKS[network](), BATCH)
    assert "rows of weight 0 do not count" in held


def test_a_conditional_one_is_trained_by_its_labels():
    network, inputs = NETWORKS["image_vae"](classes=3), ("image", "label")
    run = jm.learner(network, gen.vae(inputs=inputs), optax.adam(1e-3), inputs=inputs)
    step = jax.jit(run.step)
    state, metrics = step(run.init(KEY, BATCH), BATCH)
    bound = metrics["reconstruction"] + metrics["kl"]
    np.testing.assert_allclose(metrics["elbo"], -bound, rtol=1e-6)
    assert np.isfinite(float(metrics["loss"]))
    no_class = {**BATCH, "label": BATCH["label"] + 1}
    assert np.isnan(float(step(state, no_class)[1]["loss"]))


def test_densities_are_scipys():
    logits = RNG.normal(size=(50,)).astype(np.float32)
    scale = np.float32(-0.7)
    x = RNG.uniform(-1, 1, 50).astype(np.float32)
    sd = np.exp(scale)
    for name, expected in (
        ("gaussian", st.norm.logpdf(x, logits, sd)),
        ("laplace", st.laplace.logpdf(x, logits, sd)),
    ):
        found = distribution(name).log_prob(logits, scale, x)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    bits = (x > 0).astype(np.float32)
    expected = st.bernoulli.logpmf(bits.astype(int), 1 / (1 + np.exp(-logits)))
    found = distribution("bernoulli").log_prob(logits, scale, bits)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # All 256 grey values have a probability, and together 1, however sharp the distribution is.
    grey = (2 * np.arange(256) / 255 - 1).astype(np.float32)
    for centre, log_scale in ((0.1, -1.0), (0.98, -3.0), (-3.0, -5.0), (0.2, -9.0)):
        mass = np.asarray(distribution("discretised").log_prob(centre, log_scale, grey), float)
        np.testing.assert_allclose(np.exp(mass).sum(), 1, rtol=1e-4)
        cuts = st.logistic.cdf(np.append(grey + 1 / 255, [])[:-1], centre, np.exp(log_scale))
        exact = np.diff(np.concatenate([[0.0], cuts, [1.0]]))
        np.testing.assert_allclose(np.exp(mass), exact, atol=2e-4)


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "bernoulli", "discretised"])
def test_draws_of_voxels_have_the_density(likelihood):
    """Their mean log-density is that of the distribution, by its own draws from SciPy."""
    found = distribution(likelihood)
    logits, scale, n = jnp.full(40000, 0.3), jnp.full(40000, -1.0), 40000
    drawn = found.draw(KEY, logits, scale)
    entropy = -float(found.log_prob(logits, scale, drawn).mean())
    p = 1 / (1 + np.exp(-0.3))
    grey = 2 * np.arange(256) / 255 - 1
    mass = np.asarray(found.log_prob(0.3, -1.0, jnp.asarray(grey, jnp.float32)), float)
    expected = {
        "gaussian": st.norm.entropy(0, np.exp(-1)),
        "laplace": st.laplace.entropy(0, np.exp(-1)),
        "bernoulli": st.bernoulli.entropy(p),
        "discretised": -(np.exp(mass) * mass).sum(),
    }[likelihood]
    assert abs(entropy - expected) < 5 / n**0.5
    assert found.mean(logits)[0] == pytest.approx(p if likelihood == "bernoulli" else 0.3)


def test_divergences_are_numpyros():
    parts = [RNG.normal(size=(4, 3)).astype(np.float32) for _ in range(4)]
    level = Level(*parts)
    expected = dist.kl_divergence(
        dist.Normal(parts[0], np.exp(0.5 * parts[1])), dist.Normal(parts[2], np.exp(0.5 * parts[3]))
    )
    np.testing.assert_allclose(divergence(level), expected, rtol=1e-4, atol=1e-5)


# Probabilistic PCA is a variational autoencoder whose parts are linear.


def noise(keys, latent):
    return jax.vmap(lambda key: jax.random.normal(stream(key, "latent"), (latent,)))(keys)


def linear(latent):
    def init(key, given):
        images = given["image"] if isinstance(given, dict) else given
        pixels = images[0].size
        normal = jax.random.normal(stream(key, "kernels"), (2, pixels, latent))
        return {
            "encoder": 0.1 * normal[0], "decoder": 0.1 * normal[1], "mean": jnp.zeros(pixels),
            "log_variance": jnp.zeros(latent), "log_scale": jnp.zeros(()),
        }  # fmt: skip

    def apply(params, given):
        given = given if isinstance(given, dict) else {"image": given}
        ends = {}
        if "image" in given:
            x = given["image"].reshape(len(given["image"]), -1)
            ends["mean"] = (x - params["mean"]) @ params["encoder"]
            ends["log_variance"] = jnp.broadcast_to(params["log_variance"], ends["mean"].shape)
            z = ends["mean"]
            if "key" in given:
                z += jnp.exp(0.5 * ends["log_variance"]) * noise(given["key"], latent)
        else:
            z = given["latent"] if "latent" in given else noise(given["key"], latent)
        images = z @ params["decoder"].T + params["mean"]
        return ends | {
            "latent": z, "logits": images[:, :, None],
            "log_scale": jnp.broadcast_to(params["log_scale"], (len(z), 1, 1)),
        }  # fmt: skip

    return from_functions(init, apply)


PIXELS, LATENT = 6, 2
MIXING = RNG.normal(size=(PIXELS, LATENT))
ROWS = RNG.normal(size=(500, LATENT)) @ MIXING.T + 0.4 * RNG.normal(size=(500, PIXELS)) + 1
ROWS = ROWS.astype(np.float32)


def solved():
    """Tipping and Bishop's solution, and the log-likelihood of the rows under it."""
    mean, covariance = ROWS.mean(0), np.cov(ROWS.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    noise = values[LATENT:].mean()
    kernel = vectors[:, :LATENT] * np.sqrt(values[:LATENT] - noise)
    inside = kernel.T @ kernel + noise * np.eye(LATENT)  # diagonal, as the posterior then is
    params = {
        "encoder": kernel @ np.linalg.inv(inside), "decoder": kernel, "mean": mean,
        "log_variance": np.log(noise / np.diag(inside)), "log_scale": 0.5 * np.log(noise),
    }  # fmt: skip
    of_rows = st.multivariate_normal(mean, kernel @ kernel.T + noise * np.eye(PIXELS)).logpdf(ROWS)
    return jax.tree.map(jnp.float32, params), of_rows


def test_the_bound_is_tight_where_the_posterior_is_exact():
    """The weights of draws are then all the same, and give p(x) itself, however few there are."""
    params, exact = solved()
    network, images = linear(LATENT), ROWS[:, :, None]
    found = gen.importance_bound(KEY, network, params, {}, images, draws=3, chunk=300)
    assert found.value == pytest.approx(exact.mean(), abs=1e-3)
    half = st.t.ppf(0.975, 499) * exact.std(ddof=1) / 500**0.5
    assert found.upper - found.value == pytest.approx(half, rel=1e-3)
    # A posterior that is too wide: one draw bounds from below, many come near.
    wide = {**params, "log_variance": params["log_variance"] + 1.0}
    one, many = (
        gen.importance_bound(KEY, network, wide, {}, images, draws=draws).value
        for draws in (1, 200)
    )
    assert one < exact.mean() - 0.2
    assert abs(many - exact.mean()) < 0.05
    objective, batch = gen.vae(), {"image": images}
    loss = lambda key: objective.loss(network, *whole(wide, {}), batch, key)[0]  # noqa: E731
    losses = jax.jit(jax.vmap(loss))(gen.image_keys(KEY, 200))
    # The divergence between the two posteriors, in closed form.
    gap = 0.5 * LATENT * (np.exp(1.0) - 1 - 1.0)
    assert -float(losses.mean()) == pytest.approx(exact.mean() - gap, abs=0.02)
    with pytest.raises(ValueError, match="two images"):
        gen.importance_bound(KEY, network, params, {}, images[:1])
    plain = from_functions(lambda key, x: {}, lambda params, given: given["image"])
    with pytest.raises(KeyError, match="mean and log_variance"):
        objective.loss(plain, *whole({}, {}), batch, KEY)


def test_training_reaches_the_likelihood_of_probabilistic_pca():
    _, exact = solved()
    run = jm.learner(linear(LATENT), gen.vae(), optax.adam(optax.cosine_decay_schedule(0.03, 1500)))
    batch = {"image": jnp.asarray(ROWS[:, :, None])}

    @jax.jit
    def trained():
        state = run.init(KEY, batch)
        return jax.lax.scan(lambda state, _: run.step(state, batch), state, length=1500)

    state, metrics = trained()
    bound = float(metrics["elbo"][-100:].mean())
    assert exact.mean() - 0.05 < bound < exact.mean() + 0.02
    drawn = gen.draw_images(
        gen.vae_sampler(linear(LATENT), noise=True), KEY, state.params["net"], {}, 5000, chunk=5000
    )[:, :, 0]
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(ROWS.T), atol=0.45)


def test_free_bits_cost_nothing():
    network = NETWORKS["image_vae"]()
    params, state = network.init(KEY, IMAGES)

    @jax.jit
    def losses():
        both = gen.vae(free_bits=3.0), gen.vae(beta=2.0)
        return [one.loss(network, *whole(params, state), BATCH, KEY) for one in both]

    (free, (_, metrics)), (twice, _) = losses()
    assert metrics["kl"] < 9  # three channels, of which none has cost anything
    np.testing.assert_allclose(free, metrics["reconstruction"] + 9, rtol=1e-6)
    np.testing.assert_allclose(twice, metrics["reconstruction"] + 2 * metrics["kl"], rtol=1e-6)
    with pytest.raises(ValueError, match="likelihood is one of"):
        gen.vae(likelihood="poisson")
    with pytest.raises(ValueError, match="free_bits"):
        gen.vae(free_bits=-1.0)


def test_a_ladder_begins_at_its_prior_and_decodes_what_is_given_of_it():
    network = NETWORKS["ladder_vae"]()
    params, state = network.init(KEY, IMAGES)
    ends = network.apply(params, state, {"image": IMAGES, "key": gen.image_keys(KEY, 8)})[0]
    for level in ends["levels"]:
        np.testing.assert_array_equal(level["mean"], level["prior_mean"])
    assert [z.shape for z in ends["latent"]] == [(8, 3, 3, 2), (8, *SHAPE, 2)]
    decoded = network.apply(params, state, {"latent": ends["latent"]})[0]["logits"]
    np.testing.assert_allclose(decoded, ends["logits"], atol=1e-5)
    coarse = network.apply(params, state, {"latent": ends["latent"][:1]})[0]
    np.testing.assert_array_equal(coarse["latent"][1], coarse["levels"][1]["prior_mean"])
    with pytest.raises(ValueError, match="1 to 2 have latents"):
        networks.ladder_vae(SHAPE, features=(4, 6), levels=3).init(KEY, IMAGES)


def test_a_codebook_follows_the_average_of_the_paper():
    """In NumPy; and one that nothing comes to is put where one of the batch is."""
    book = Codebook(9, 2, decay=0.9, revive=0.0)
    z = RNG.normal(size=(4, 3, 2)).astype(np.float32)
    variables = book.init({"params": KEY}, z)
    sums, counts = (np.asarray(variables["codebook"][n]) for n in ("sums", "counts"))
    flat = z.reshape(-1, 2)
    vectors = sums / counts[:, None]
    codes = ((flat[:, None] - vectors) ** 2).sum(-1).argmin(1)
    (found, used), after = book.apply(variables, z, train=True, mutable=["codebook"])
    np.testing.assert_array_equal(used.reshape(-1), codes)
    np.testing.assert_allclose(found.reshape(-1, 2), vectors[codes], rtol=1e-5)
    one_hot = np.eye(9)[codes]
    new = 0.9 * counts + 0.1 * one_hot.sum(0)
    np.testing.assert_allclose(after["codebook"]["counts"], new, rtol=1e-5)
    np.testing.assert_allclose(
        after["codebook"]["sums"], 0.9 * sums + 0.1 * one_hot.T @ flat, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(book.apply(variables, used, method="look_up"), found)
    alive = Codebook(9, 2, decay=0.9, revive=0.95)
    _, after = alive.apply(variables, z, train=True, mutable=["codebook"], rngs={"stochastic": KEY})
    moved = np.asarray(after["codebook"]["sums"] / after["codebook"]["counts"][:, None])
    dead = new < 0.95
    assert dead.any()
    for vector in moved[dead]:
        assert np.abs(flat - vector).max(1).min() < 1e-6


@pytest.mark.parametrize("decay", [0.9, None])
def test_gradients_pass_straight_through_a_codebook(decay):
    """To the encoder as if the vectors were its own; to vectors that are parameters, their loss."""
    network = small(networks.vq_codec, codes=5, latent=2, decay=decay, norm="none")
    params, state = network.init(KEY, IMAGES)
    objective, batch = gen.vq_vae(commitment=0.25, codes=5), {"image": IMAGES}
    key = jax.random.key(1)

    @jax.jit
    def gradients(params):
        def loss(params):
            return objective.loss(
                network, {"net": params, "obj": {}}, {"net": state, "obj": {}}, batch, key
            )

        ends = network.apply(params, state, IMAGES, key=key, train=True)[0]

        def straight(params):
            # The same by hand: the decoder sees a constant offset of what the encoder says.
            offset = ends["quantised"] - ends["latent"]
            z = network.apply(params, state, IMAGES)[0]["latent"]
            decoded = decode_from(network, params, state, z + offset)
            kept = jnp.square(z - ends["quantised"]).mean()
            return jnp.square(decoded - IMAGES).mean() + 0.25 * kept

        return jax.value_and_grad(loss, has_aux=True)(params), jax.grad(straight)(params), ends

    ((value, (_, metrics)), found), expected, ends = gradients(params)
    z, e = np.asarray(ends["latent"]), np.asarray(ends["quantised"])
    np.testing.assert_allclose(metrics["commitment"], ((z - e) ** 2).mean(), rtol=1e-5)
    np.testing.assert_allclose(
        value, metrics["reconstruction"] + 0.25 * metrics["commitment"], rtol=1e-5
    )
    for part in ("encoder", "latent"):
        for a, b in zip(jax.tree.leaves(found[part]), jax.tree.leaves(expected[part]), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5)
    shares = np.bincount(np.asarray(ends["codes"]).ravel(), minlength=5) / ends["codes"].size
    np.testing.assert_allclose(metrics["perplexity"], np.exp(st.entropy(shares)), rtol=1e-4)
    if decay is None:
        slope = np.zeros((5, 2))
        np.add.at(slope, np.asarray(ends["codes"]).ravel(), (2 * (e - z) / z.size).reshape(-1, 2))
        np.testing.assert_allclose(found["codebook"]["vectors"], slope, rtol=1e-3, atol=1e-6)


def decode_from(network, params, state, z):
    """What the decoder makes of vectors that are not in the codebook: by its straight-through."""
    whole = network.apply(params, state, {"latent": z})[0]
    # d(quantised(z)) has the decoder's gradient at the quantised point, which z is here.
    return whole["logits"]


def test_codes_and_latents_are_decoded_alike():
    network, label = small(networks.vq_codec, codes=5, latent=2, classes=3), BATCH["label"]
    params, state = network.init(KEY, {"image": IMAGES, "label": label})

    @jax.jit
    def three_ways():
        ends = network.apply(params, state, {"image": IMAGES, "label": label})[0]
        same = network.apply(params, state, {"codes": ends["codes"], "label": label})[0]
        latents = gen.encode(network, params, state, IMAGES, label=label)
        decoded = gen.decode(network, params, state, latents, label=label)
        return ends["logits"], same["logits"], decoded

    expected, *others = three_ways()
    for found in others:
        np.testing.assert_allclose(found, expected, atol=1e-5)
    plain = from_functions(lambda key, x: {}, lambda params, x: x)
    with pytest.raises(KeyError, match="no 'latent'"):
        gen.vq_vae().loss(plain, *whole({}, {}), {"image": IMAGES}, KEY)
    with pytest.raises(ValueError, match="commitment"):
        gen.vq_vae(commitment=-1.0)


@pytest.mark.slow
def test_a_codebook_codec_keeps_the_laws():
    given = {"image": IMAGES, "label": BATCH["label"]}
    options = {"codes": 5, "latent": 2, "classes": 3}
    assert check_network(small(networks.vq_codec, **options), given)
    held = check_objective(
        gen.vq_vae(codes=5, inputs=("image", "label")),
        small(networks.vq_codec, **options, decay=None),
        BATCH,
        inputs=("image", "label"),
    )
    assert "rows of weight 0 do not count" in held
