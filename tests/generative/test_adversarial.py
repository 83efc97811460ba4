"""Adversaries: their losses and penalties by formula, singular values, augmentation, learning."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed import generative as gen
from jaxmed import networks
from jaxmed.core import from_functions, from_linen
from jaxmed.testing import check_learner, check_network, check_objective
from jaxmed.train import parameter_average

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SHAPE = (6, 5)
BATCH = {
    "image": RNG.uniform(-1, 1, (8, *SHAPE, 1)).astype(np.float32),
    "label": np.arange(8, dtype=np.int32) % 3,
    "weight": np.float32([1] * 6 + [0] * 2),
    "noise": RNG.normal(size=(8, 4)).astype(np.float32),
}
SLOPE = np.float32(RNG.normal(size=(*SHAPE, 1)))

# A critic that is linear, and a generator that adds its noise up: everything in closed form.
LINEAR = from_functions(
    lambda key, x: {"w": jnp.asarray(SLOPE), "b": jnp.asarray(0.3)},
    lambda params, x: (x * params["w"]).sum((1, 2, 3)) + params["b"],
)
SUM = from_functions(
    lambda key, z: {"a": jnp.asarray(SLOPE) / 7},
    lambda params, z: z.sum(-1).reshape(-1, 1, 1, 1) * params["a"],
)


def players(**networks_by_name):
    """Players as `alternate` shows them, with the parameters that they begin with."""
    shown = {}
    for name, (network, inputs) in networks_by_name.items():
        params, state = network.init(KEY, inputs)
        shown[name] = {"params": {"net": params}, "state": {"net": state}}
    return shown


def softplus(x):
    return np.log1p(np.exp(x))


FORMULAS = {
    "non-saturating": (lambda s: softplus(-s), softplus, lambda s: softplus(-s)),
    "hinge": (lambda s: np.maximum(0, 1 - s), lambda s: np.maximum(0, 1 + s), lambda s: -s),
    "wgan-gp": (lambda s: -s, lambda s: s, lambda s: -s),
    "least-squares": (lambda s: (s - 1) ** 2, lambda s: s**2, lambda s: (s - 1) ** 2),
}


@pytest.mark.parametrize("kind", FORMULAS)
def test_losses_are_those_of_the_papers(kind):
    """With R1 and the penalty of Wasserstein critics, on a critic whose gradient is known."""
    given = gen.NoiseInputs(4)
    batch = BATCH | {"players": players(generator=(SUM, BATCH["noise"]), critic=(LINEAR, None))}
    judging = gen.critic_loss(SUM, given, kind=kind, r1=3.0, penalty=2.0)
    making = gen.generator_loss(LINEAR, given, kind=kind)
    whole = {"net": LINEAR.init(KEY, None)[0], "obj": {}}, {"net": {}, "obj": {}}
    made = {"net": SUM.init(KEY, None)[0], "obj": {}}, {"net": {}, "obj": {}}
    (critic, (_, seen)), (generator, (_, felt)) = jax.jit(
        lambda: (
            judging.loss(LINEAR, *whole, batch, KEY),
            making.loss(SUM, *made, batch, KEY),
        )
    )()
    on_real, on_fake, on_made = FORMULAS[kind]
    real = (BATCH["image"] * SLOPE).sum((1, 2, 3)) + 0.3
    # The noise is a draw of the objective's: it is known from the scores that it led to.
    r1 = 0.5 * (SLOPE**2).sum()
    between = (np.sqrt((SLOPE**2).sum()) - 1) ** 2
    np.testing.assert_allclose(seen["real"], real[:6].mean(), rtol=1e-5)
    np.testing.assert_allclose(seen["r1"], r1, rtol=1e-5)
    np.testing.assert_allclose(seen["gradient_penalty"], between, rtol=1e-4)
    key = jax.random.key(0)
    noise = given(jm.core.stream(key, "given"), BATCH).sum(-1)
    fake = np.asarray(noise * (SLOPE**2).sum() / 7 + 0.3)
    expected = (on_real(real) + on_fake(fake))[:6].mean() + 3 * r1 + 2 * between
    np.testing.assert_allclose(critic, expected, rtol=1e-4)
    np.testing.assert_allclose(generator, on_made(fake)[:6].mean(), rtol=1e-4)
    np.testing.assert_allclose(felt["score"], fake[:6].mean(), rtol=1e-4)


def test_penalties_of_a_quadratic_critic():
    """Its gradient at x is x: R1 is half the square, between two points their mixture's norm."""
    x, y = BATCH["image"], np.zeros_like(BATCH["image"])
    score = lambda images: 0.5 * jnp.square(images).sum((1, 2, 3))  # noqa: E731
    square = (x**2).sum((1, 2, 3))
    np.testing.assert_allclose(gen.r1_penalty(score, x), 0.5 * square, rtol=1e-5)
    share = np.asarray(jax.random.uniform(KEY, (8, 1, 1, 1)))[:, 0, 0, 0]
    expected = (share * np.sqrt(square) - 1) ** 2
    np.testing.assert_allclose(gen.gradient_penalty(KEY, score, x, y), expected, rtol=1e-4)
    flat = gen.gradient_penalty(KEY, lambda images: 0 * images.sum((1, 2, 3)), x, y)
    np.testing.assert_allclose(flat, 1.0)


def test_spectral_norm_divides_by_the_largest_singular_value():
    network = gen.spectral_norm(
        networks.patch_critic(features=(4, 6), classes=3), only="(kernel|table)$"
    )
    inputs = {"image": BATCH["image"], "label": BATCH["label"]}
    held = check_network(network, inputs)
    assert "gradients are finite" in held

    @jax.jit
    def followed():
        params, state = network.init(KEY, inputs)

        def step(state, _):
            return network.apply(params, state, inputs, key=KEY, train=True)[1], None

        return params, jax.lax.scan(step, state, length=100)[0]

    params, state = followed()
    exact = jax.tree.map(
        lambda leaf: (
            leaf / np.linalg.svd(leaf.reshape(-1, leaf.shape[-1]))[1][0] if leaf.ndim > 1 else leaf
        ),
        jax.device_get(params),
    )
    plain = from_linen(networks.patch_critic(features=(4, 6), classes=3))
    expected, found = jax.jit(
        lambda: (
            plain.apply(exact, {}, inputs)[0]["logits"],
            network.apply(params, state, inputs)[0]["logits"],
        )
    )()
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)
    with pytest.raises(ValueError, match="one axis"):
        gen.spectral_norm(plain, only="bias").init(KEY, inputs)
    with pytest.raises(ValueError, match="at least one step"):
        gen.spectral_norm(plain, iterations=0)


def test_augmentation_moves_whole_voxels_and_lets_gradients_through():
    view = gen.differentiable_augmentation(
        p=1.0, translation=0.4, cutout=0.0, brightness=0.0, contrast=0.0
    )
    image = np.arange(1.0, 31.0, dtype=np.float32).reshape(1, *SHAPE, 1).repeat(8, 0)

    @jax.jit
    def both(image):
        shown = view(KEY, {"image": image})["image"]
        gradient = jax.grad(lambda x: (view(KEY, {"image": x})["image"] * 2).sum())(image)
        every = gen.differentiable_augmentation(p=0.5)(KEY, {"image": image})["image"]
        return shown, gradient, every

    shown, gradient, every = both(image)
    for moved, slope in zip(shown, gradient, strict=True):
        kept = set(np.asarray(moved).ravel().tolist()) - {0.0}
        assert kept <= set(range(1, 31))
        at = np.isin(image[0], list(kept))
        np.testing.assert_array_equal(np.asarray(slope), 2.0 * at)
    assert len({tuple(m.ravel().tolist()) for m in np.asarray(shown)}) > 3
    assert np.isfinite(every).all()
    assert gen.differentiable_augmentation(flips=1).steps[0].name == "flip"
    with pytest.raises(ValueError, match="p must be in"):
        gen.differentiable_augmentation(p=1.5)


def critic(**options):
    return networks.patch_critic(features=(4, 6), **options)


def generator(**options):
    return networks.dcgan_generator(SHAPE, features=(8, 4), **options)


class Points(nn.Module):
    """Two layers between vectors: a generator, or a critic."""

    outputs: int
    width: int = 32

    @nn.compact
    def __call__(self, x):
        x = x.reshape(len(x), -1)
        for _ in range(2):
            x = nn.leaky_relu(nn.Dense(self.width)(x), 0.2)
        return nn.Dense(self.outputs)(x)


def game(**options):
    rate = optax.adam(1e-3, b1=0.0)
    return gen.gan(Points(2, 4), Points(1, 4), rate, rate, latent=4, **options)


def of_images():
    return gen.gan(
        generator(classes=3), gen.spectral_norm(critic(classes=3, pooled=True)),
        optax.sgd(0.1), optax.sgd(0.1), latent=4, kind="hinge", label="label",
        augment=gen.differentiable_augmentation(),
    )  # fmt: skip


LEARNERS = {
    "wgan-gp, lazy R1": lambda: game(kind="wgan-gp", r1=1.0, r1_every=2),
    "an average": lambda: parameter_average(game(r1=1.0), 0.9),
    "of images, by class": of_images,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_players_keep_the_laws_of_learners(name):
    batch, inputs = BATCH, ("noise", "label")
    if name != "of images, by class":
        batch, inputs = {**BATCH, "image": BATCH["image"][:, 0, :2, 0]}, "noise"
    held = check_learner(LEARNERS[name](), batch, inputs=inputs)
    assert "several devices equal one" in held


@pytest.mark.parametrize("which", ["critic", "generator"])
def test_objectives_keep_the_laws(which):
    makes, judges = from_linen(generator(norm="group")), from_linen(critic())
    given = gen.NoiseInputs(4)
    batch = {name: BATCH[name] for name in ("image", "weight", "noise")}
    shown = players(critic=(judges, BATCH["image"]), generator=(makes, BATCH["noise"]))

    def told(objective):
        # The laws replace rows of every array of the batch: players are no rows.
        def loss(network, params, state, batch, key):
            return objective.loss(network, params, state, {**batch, "players": shown}, key)

        return objective._replace(loss=loss)

    if which == "critic":
        objective = gen.critic_loss(makes, given, r1=1.0, r1_every=2, penalty=1.0)
        held = check_objective(told(objective), judges, batch)
    else:
        objective = gen.generator_loss(judges, given)
        held = check_objective(told(objective), makes, batch, inputs="noise")
    assert "rows of weight 0 do not count" in held


def test_an_image_depends_on_its_key_and_class_alone():
    network = from_linen(generator(classes=3))
    params, state = network.init(KEY, {"noise": BATCH["noise"], "label": BATCH["label"]})
    draw = gen.gan_sampler(network, 4, classes=3)
    label = np.arange(7) % 3
    whole = gen.draw_images(draw, KEY, params, state, 7, condition={"label": label})
    parts = gen.draw_images(draw, KEY, params, state, 5, chunk=2, condition={"label": label[:5]})
    assert whole.shape == (7, *SHAPE, 1)
    np.testing.assert_allclose(parts, whole[:5], atol=1e-6)
    with pytest.raises(ValueError, match="no class 3"):
        gen.draw_images(draw, KEY, params, state, 2, condition={"label": np.array([0, 3])})
    with pytest.raises(ValueError, match="condition 'label'"):
        gen.draw_images(draw, KEY, params, state, 2)
    near = gen.gan_sampler(lambda_network(), 200, truncation=0.5)
    noise = gen.draw_images(near, KEY, {}, {}, 3)
    assert np.abs(noise).max() <= 0.5 < np.abs(whole).max() + 1


def lambda_network():
    return from_functions(lambda key, z: {}, lambda params, z: z.reshape(len(z), -1, 1))


def test_what_does_not_fit_is_refused():
    rate = optax.sgd(0.1)
    with pytest.raises(ValueError, match="kind is one of"):
        game(kind="minimax")
    with pytest.raises(ValueError, match="latent=0"):
        gen.gan(generator(), critic(), rate, rate, latent=0)
    with pytest.raises(ValueError, match="r1_every"):
        game(r1=1.0, r1_every=0)
    with pytest.raises(ValueError, match="penalties weigh"):
        game(r1=-1.0)
    other = gen.gan(networks.dcgan_generator((8, 8)), critic(), rate, rate, latent=4)
    with pytest.raises(ValueError, match=r"makes images .*the batch's are"):
        jax.eval_shape(lambda: other.step(other.init(KEY, BATCH), BATCH))
    alone = gen.critic_loss(SUM, gen.NoiseInputs(4))
    with pytest.raises(KeyError, match="no player 'generator'"):
        alone.loss(LINEAR, {"net": {}}, {"net": {}, "obj": {}}, BATCH, KEY)
    with pytest.raises(ValueError, match="was given a 'label'"):
        from_linen(critic()).init(KEY, {"image": BATCH["image"], "label": BATCH["label"]})
    with pytest.raises(ValueError, match="3 classes"):
        from_linen(critic(classes=3)).init(KEY, BATCH["image"])
    network = from_linen(critic(classes=3))
    params, state = network.init(KEY, {"image": BATCH["image"], "label": BATCH["label"]})
    with pytest.raises(ValueError, match=r"classes are 0 to 2, got \[7\]"):
        network.apply(params, state, {"image": BATCH["image"][:1], "label": np.array([7])})


@pytest.mark.slow
def test_a_mixture_is_learned():
    """Four Gaussians: each is drawn, and draws lie as near to them as the Gaussians are wide."""
    centres = np.float32([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    points = centres[RNG.integers(0, 4, 4000)] + 0.1 * RNG.normal(size=(4000, 2))
    points = points.astype(np.float32)
    rate = optax.adam(1e-3, b1=0.0)
    run = parameter_average(
        gen.gan(Points(2), Points(1), rate, rate, latent=8, r1=0.05, image="image"), 0.99
    )
    result = jm.fit(
        run, jm.data.batches({"image": points}, 200, seed=0), seed=0, steps=3000,
        devices=jm.train.Placement(compile_epochs=True),
    )  # fmt: skip
    variables = run.predicting.get(result.state)
    draw = gen.gan_sampler(Points(2), 8)
    drawn = gen.draw_images(draw, KEY, variables.params, variables.state, 1000, chunk=1000)
    distance = np.linalg.norm(drawn[:, None] - centres, axis=-1)
    shares = np.bincount(distance.argmin(1), minlength=4) / 1000
    assert shares.min() > 0.12, shares
    assert np.median(distance.min(1)) < 0.3
