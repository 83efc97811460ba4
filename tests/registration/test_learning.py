"""Networks that predict warps: their fields, their objective, pairs, and warps in millimetres."""

from __future__ import annotations

import re
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed import ops
from jaxmed import registration as reg
from jaxmed.data import Scan, Space
from jaxmed.registration.learning._fields import answers, coarsened, onto, steps
from jaxmed.testing import check_learner, check_network, check_objective

KEY = jax.random.key(0)
INPUTS = ("fixed", "moving")


class Trunk(nn.Module):
    """Maps of strides 2 and 4, for any rank."""

    width: int = 4

    @nn.compact
    def __call__(self, x):
        """Convolve."""
        x = nn.relu(jm.networks.Conv(self.width, 3, strides=2)(x))
        return {"pyramid": (x, nn.relu(jm.networks.Conv(self.width, 3, strides=2)(x)))}


NETWORKS = {
    "velocity": lambda: reg.voxelmorph(Trunk(), squarings=3),
    "displacement": lambda: reg.voxelmorph(Trunk(), field="displacement"),
    "pyramid": lambda: reg.lapirn(levels=2, features=4, blocks=1, squarings=3),
    "pyramid of displacements": lambda: reg.lapirn(
        levels=2, features=4, blocks=1, field="displacement"
    ),
    "affine": lambda: reg.linear_network(Trunk()),
    "rigid": lambda: reg.linear_network(Trunk(), transform="rigid"),
}


def pair(shape=(12, 10), batch=2, seed=0):
    """Smooth images that differ by what one could move."""
    rng = np.random.default_rng(seed)
    at = np.moveaxis(np.indices(shape), 0, -1)[None]
    found = {}
    for name in INPUTS:
        middle = (np.array(shape) - 1) / 2 + rng.uniform(-1, 1, (batch, len(shape)))
        size = rng.uniform(2, 3, (batch, len(shape)))
        apart = (at - middle.reshape(batch, *(1,) * len(shape), -1)) / size.reshape(
            batch, *(1,) * len(shape), -1
        )
        found[name] = jnp.asarray(np.exp(-(apart**2).sum(-1) / 2)[..., None], jnp.float32)
    return found


def stirred(params, scale=0.3):
    """Parameters of a network that moves something."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    return tree.unflatten(
        [x + scale * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    )


@pytest.mark.parametrize(
    "name", ["velocity", pytest.param("pyramid", marks=pytest.mark.slow), "affine"]
)
def test_networks_keep_the_laws(name):
    held = check_network(NETWORKS[name](), pair((12, 10)))
    assert "in evaluation examples do not see each other" in held


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_for_any_rank_and_odd_sizes(name):
    for shape in ((13, 10), (9, 12, 17)):
        rank, inputs = len(shape), pair(shape)
        network = NETWORKS[name]()
        variables = jax.eval_shape(network.init, KEY, inputs)
        found, _ = jax.eval_shape(network.apply, *variables, inputs)
        half = tuple(-(-n // 2) for n in shape)
        nodes = shape if "matrix" in found else half
        assert found["moved"].shape == (2, *shape, 1)
        assert found["displacement"].shape == (2, *nodes, rank)
        assert ("inverse" in found) == ("displacement" not in name)
        if "pyramid" in name:
            quarter = tuple(-(-max(-(-n // 2), min(n, 8)) // 2) for n in shape)
            assert [f.shape for f in found["levels"]] == [(2, *quarter, rank), (2, *half, rank)]
        if "matrix" in found:
            assert found["matrix"].shape == (2, rank + 1, rank + 1)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "rigid" or "pyramid" in name else ())
        for name in NETWORKS
    ],
)
def test_before_training_nothing_moves_and_a_loop_equals_a_batch(name):
    network, inputs = NETWORKS[name](), pair((9, 12))

    @jax.jit
    def both(key, inputs):
        params, state = network.init(key, inputs)
        first, _ = network.apply(params, state, inputs)
        params = stirred(params)
        found, _ = network.apply(params, state, inputs)
        alone, _ = jax.vmap(
            lambda one: network.apply(params, state, jax.tree.map(lambda x: x[None], one))
        )(inputs)
        return first, found, jax.tree.map(lambda x: x[:, 0], alone)

    first, found, alone = both(KEY, inputs)
    np.testing.assert_allclose(first["moved"], inputs["moving"], atol=1e-3)
    assert abs(found["moved"] - inputs["moving"]).max() > 1e-2
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_a_pyramid_sees_what_coarser_levels_have_moved():
    """The finer level of one whose coarser level has found all predicts no more: it sees no gap."""
    inputs = pair((16, 16), batch=1)
    x, shape = inputs["fixed"], (16, 16)
    for size in ((8, 8), (5, 16)):
        np.testing.assert_allclose(coarsened(x, size).mean(), x.mean(), rtol=1e-5)
    np.testing.assert_allclose(coarsened(x, (8, 8)), ops.avg_pool(x, 2), atol=1e-6)
    line = jnp.stack(jnp.meshgrid(*(jnp.arange(16.0),) * 2, indexing="ij"), -1)[None]
    coarse = coarsened(line, (8, 8))  # a field that is linear stays so between nodes
    np.testing.assert_allclose(onto(coarse, shape, shape)[:, 1:-1, 1:-1], line[:, 1:-1, 1:-1])
    assert steps(shape, (8, 4)).tolist() == [2, 4]


def _velocity(shape, nodes, size=2.0):
    at = np.stack(np.meshgrid(*(np.linspace(0, np.pi, m) for m in nodes), indexing="ij"), -1)
    bump = np.sin(at).prod(-1, keepdims=True)
    return jnp.asarray(size * bump * np.cos(at), jnp.float32)[None]


def test_the_inverse_after_the_map_is_the_identity():
    shape, nodes = (24, 30), (24, 15)
    velocity = _velocity(shape, nodes, 3.0)
    found = answers(velocity, jnp.zeros((1, *shape, 1)), "velocity", 6)
    ahead, back = found["displacement"][0], found["inverse"][0]
    arrived = ahead + ops.warp(back, ahead / steps(shape, nodes), mode="nearest")
    assert abs(ahead).max() > 1
    assert abs(arrived).max() < 0.05 * abs(ahead).max()


OBLIQUE = np.array([[1.2, -0.9, 10], [1.8, 2.4, -20], [0, 0, 1.0]])  # 2.2 by 2.6 mm, turned


@pytest.mark.parametrize("kind", ["velocity", "displacement", "matrix"])
def test_a_warp_in_millimetres_moves_as_the_network_does(kind):
    inputs = pair((20, 18), batch=1, seed=3)
    network = NETWORKS["affine" if kind == "matrix" else kind]()
    scans = [Scan(inputs[n][0], OBLIQUE, Space((20, 18), OBLIQUE)) for n in INPUTS]
    params, state = network.init(KEY, inputs)
    params = stirred(params, 0.1)
    found, _ = jax.jit(network.apply)(params, state, inputs)
    warp = reg.predict_warp(network, params, state, *scans)
    assert warp.kind == {"matrix": "affine"}.get(kind, kind)
    moved = reg.warp_scan(warp, scans[1], scans[0]).array
    inner = (slice(3, -3), slice(3, -3))
    want = np.asarray(found["moved"][0])[inner]
    assert abs(np.asarray(inputs["moving"][0])[inner] - want).max() > 0.03
    np.testing.assert_allclose(moved[inner], want, atol=5e-3)
    # On a grid of its own the moving scan is brought onto the fixed one's first.
    shift = np.eye(3)
    shift[0, 2] = -2
    wide = np.pad(np.asarray(scans[1].array), [(2, 0), (0, 0), (0, 0)], mode="edge")
    other = Scan(wide, OBLIQUE @ shift, Space(wide.shape[:-1], OBLIQUE @ shift))
    again = reg.predict_warp(network, params, state, scans[0], other)
    np.testing.assert_allclose(again.values, warp.values, atol=1e-3)
    begun = reg.predict_warp(network, params, state, *scans, initial=reg.affine_warp(np.eye(3)))
    points = jnp.asarray([[10.0, 8.0], [16.0, 20.0]])
    np.testing.assert_allclose(
        reg.warp_points(begun, points), reg.warp_points(warp, points), atol=0.1
    )


def test_registration_goes_on_from_a_predicted_velocity():
    inputs = pair((20, 18), batch=1, seed=3)
    fixed, moving = (np.asarray(inputs[n][0]) for n in INPUTS)
    velocity = reg.velocity_warp(_velocity((20, 18), (10, 9))[0], np.diag([2.0, 2, 1]))
    run = partial(reg.register, fixed, moving, initial=velocity, levels=1, similarity="mse")
    still = run(steps=1, rate=1e-7).warp
    assert still.kind == "velocity"
    points = jnp.asarray(np.random.default_rng(0).uniform(3, 14, (20, 2)), jnp.float32)
    np.testing.assert_allclose(
        reg.warp_points(still, points), reg.warp_points(velocity, points), atol=0.1
    )
    found = run(steps=20)
    assert found.losses[-1] < 0.5 * found.losses[0]
    with pytest.raises(ValueError, match="initial is a warp of 3 axes"):
        run(initial=reg.velocity_warp(np.zeros((4, 4, 4, 3)), np.eye(4)))


def masks(inputs):
    """The middle of each image as class 1, what is about it as class 2."""
    return {
        f"{name}_mask": (image[..., 0] > 0.6).astype(jnp.int32)
        + 2 * ((image[..., 0] > 0.3) & (image[..., 0] <= 0.6))
        for name, image in inputs.items()
    }


def batch(shape=(12, 10), size=4):
    inputs = pair(shape, size)
    weight = jnp.ones(size).at[-1].set(0)
    return {**inputs, **masks(inputs), "weight": weight, "told": jnp.arange(size) % 2 == 0}


def test_the_objective_keeps_the_laws():
    objective = reg.pair_objective(
        "ncc", penalty={"bending": 0.1, "jacobian": 1.0}, classes=2, known="told",
        symmetric=True, inverse=0.1,
    )  # fmt: skip
    held = check_objective(objective, NETWORKS["velocity"](), batch(), inputs=INPUTS)
    assert "rows of weight 0 do not count" in held


def test_a_learner_of_pairs_keeps_the_laws():
    run = jm.learner(
        NETWORKS["displacement"](), reg.pair_objective("mse"), optax.sgd(0.1), inputs=INPUTS
    )
    run = jm.train.parameter_average(run, 0.9)
    held = check_learner(run, batch(size=8), inputs=INPUTS)
    assert "several devices equal one" in held


def value(objective, network, data, params=None):
    """Loss and metrics of a network that moves something, or of parameters."""

    @jax.jit
    def whole(data):
        first, state = network.init(KEY, {n: data[n] for n in INPUTS})
        own = {"net": stirred(first) if params is None else params, "obj": {}}
        found, (_, metrics) = objective.loss(network, own, {"net": state, "obj": {}}, data, KEY)
        return found, metrics

    return whole(data)


def test_labels_of_no_class_are_nan_and_unknown_ones_play_no_part():
    network, data = NETWORKS["displacement"](), batch()
    objective = partial(reg.pair_objective, "mse", classes=2)
    loss, metrics = value(objective(), network, data)
    assert np.isfinite(loss)
    assert 0 < metrics["overlap"] < 1
    wrong = {**data, "fixed_mask": data["fixed_mask"].at[1].set(3)}
    assert np.isnan(value(objective(), network, wrong)[0])
    known = objective(known="told")
    first, measured = value(known, network, data)
    again, also = value(known, network, wrong)
    np.testing.assert_allclose(again, first, rtol=1e-6)
    np.testing.assert_allclose(also["overlap"], measured["overlap"], rtol=1e-6)


def test_a_network_and_itself_exchanged_close_the_circle():
    """The inverse term is 0 for maps that are each other's inverse, and not for others."""

    def shifted(by):
        def apply(params, inputs):
            side = jnp.sign(inputs["fixed"].mean((1, 2, 3)) - inputs["moving"].mean((1, 2, 3)))
            u = jnp.ones((*inputs["fixed"].shape[:-1], 2)) * by(side)[:, None, None, None]
            return {"displacement": u, "moved": inputs["moving"]}

        return jm.from_functions(lambda key, inputs: {}, apply)

    data = {**batch(), "moving": batch()["moving"] * 0.9}
    objective = reg.pair_objective("mse", inverse=1.0, penalty={}, spacing=2.0)
    for by, gap in ((lambda side: side, 0.0), (lambda side: 0 * side + 1.0, 32.0)):
        _, metrics = value(objective, shifted(by), data, params={})
        np.testing.assert_allclose(metrics["inverse"], gap, atol=1e-4)


def test_what_cannot_be_asked_is_told():
    data = batch()
    for options, name, match in (
        ({"symmetric": True}, "displacement", "no endpoint 'inverse'"),
        ({"penalty": {"diffusion": 1.0}}, "affine", "a linear map has no field"),
        ({"classes": 2, "masks": ("fixed", "moving")}, "velocity", "holds whole numbers"),
    ):
        with pytest.raises(ValueError, match=match):
            value(reg.pair_objective("mse", **options), NETWORKS[name](), data)
    with pytest.raises(ValueError, match="penalty 'curl'; expected bending"):
        reg.pair_objective(penalty={"curl": 1.0})
    with pytest.raises(ValueError, match="similarity='sad'"):
        reg.pair_objective("sad")
    with pytest.raises(ValueError, match="classes=0"):
        reg.pair_objective(classes=0)
    with pytest.raises(ValueError, match=r"give the learner inputs=\('fixed', 'moving'\)"):
        NETWORKS["velocity"]().init(KEY, data["fixed"])
    with pytest.raises(ValueError, match="on one grid"):
        NETWORKS["velocity"]().init(KEY, {"fixed": data["fixed"], "moving": data["fixed"][:, 1:]})
    with pytest.raises(ValueError, match="field='flow'"):
        reg.voxelmorph(field="flow")
    with pytest.raises(ValueError, match="transform='velocity'"):
        reg.linear_network(transform="velocity")


def test_networks_can_be_written_down_and_made_again():
    from jaxmed.inference import build, describe

    inputs = pair((24, 24))
    for network in (
        reg.voxelmorph(field="displacement"),
        reg.lapirn(levels=2, features=4, blocks=1),
        reg.linear_network(),
    ):
        again = build(describe(network))
        shapes = jax.eval_shape(again.init, KEY, inputs)
        assert shapes == jax.eval_shape(network.init, KEY, inputs)


def test_labels_teach_what_images_do_not_show():
    """Images that say little, masks that say more: with them the moved masks agree better."""
    rng = np.random.default_rng(0)
    at = np.indices((16, 16))[:, None]
    middle = rng.uniform(6, 10, (2, 12, 1, 1))
    radius = rng.uniform(2.5, 5, (12, 1, 1))
    ball = np.hypot(*(at - middle)) < radius
    image = 0.3 * ball + rng.normal(0, 0.3, ball.shape)
    scans = {"image": image[..., None].astype(np.float32), "mask": ball.astype(np.int32)}
    drawn = reg.scan_pairs(scans, 60 * 8, seed=1)
    batches = jm.data.batches(drawn, 8)
    found = {}
    for classes in (None, 1):
        objective = reg.pair_objective("mse", classes=classes, penalty={"diffusion": 0.02})
        run = jm.learner(
            reg.voxelmorph(Trunk(16), squarings=3), objective, optax.adam(1e-2), inputs=INPUTS
        )
        state = jm.fit(run, batches, steps=60, progress=False).state
        ends = run.predict(state, {n: batches[0][n] for n in INPUTS})
        moved = jax.vmap(partial(ops.warp, mode="nearest"))(
            batches[0]["moving_mask"][..., None].astype(np.float32),
            onto(ends["displacement"], (16, 16), (16, 16)),
        )[..., 0]
        truth = batches[0]["fixed_mask"]
        found[classes] = float(2 * (moved * truth).sum() / (moved + truth).sum())
    start = batches[0]["moving_mask"], batches[0]["fixed_mask"]
    before = 2 * (start[0] * start[1]).sum() / (start[0] + start[1]).sum()
    assert found[1] > before + 0.05
    assert found[1] > found[None] + 0.02


def test_pairs_are_functions_of_seed_and_index():
    scans = jm.data.ArraySource(
        {"image": np.arange(6.0).reshape(6, 1, 1, 1), "mask": np.arange(6).reshape(6, 1, 1)},
        groups=["a", "a", "b", "b", "b", "c"],
    )
    few, more = (reg.scan_pairs(scans, n, seed=3) for n in (10, 40))
    np.testing.assert_array_equal(more.pairs[:10], few.pairs)
    assert not np.array_equal(reg.scan_pairs(scans, 10, seed=4).pairs, few.pairs)
    assert (more.pairs[:, 0] != more.pairs[:, 1]).all()
    assert set(more.pairs.ravel()) == set(range(6))
    whose = np.array(scans.groups)
    same = whose[reg.scan_pairs(scans, 40, patients="same").pairs]
    apart = whose[reg.scan_pairs(scans, 40, patients="different").pairs]
    assert (same[:, 0] == same[:, 1]).all()
    assert (apart[:, 0] != apart[:, 1]).all()
    i, j = more.pairs[7]
    one, several = more[7], more.take([7, 8])
    assert one["fixed"].item() == i
    assert several["moving"][0].item() == j
    assert several["moving_mask"][0].item() == j
    assert more.case_ids[7] == f"{j} onto {i}"


def test_pairs_make_batches_that_know_themselves():
    def scans(add):
        return {"image": np.arange(6.0).reshape(6, 1, 1, 1) + add}

    made = [
        jm.data.batches(reg.scan_pairs(scans(add), 8, seed=seed), 4).identity()["data"]
        for add, seed in ((0, 0), (0, 0), (1, 0), (0, 1))
    ]
    assert made[0] == made[1]
    assert len(set(made)) == 3


def test_pairs_that_cannot_be_are_told():
    scans = {"image": np.zeros((3, 1, 1, 1))}
    for options, match in (
        ({}, "one of the two"),
        ({"count": 0}, "one pair or more"),
        ({"count": 2, "patients": "same"}, "names no patients"),
        ({"pairs": [(0, 3)]}, "positions from 0 to 2"),
        ({"pairs": [0, 1]}, r"the shape \(n, 2\)"),
    ):
        with pytest.raises(ValueError, match=match):
            reg.scan_pairs(scans, **options)
    with pytest.raises(ValueError, match="none has another"):
        reg.scan_pairs({"image": np.zeros((1, 1, 1, 1))}, 2)


def test_a_trained_network_is_kept_and_registers_files(tmp_path, capsys):
    import nibabel as nib

    from jaxmed.cli import main
    from jaxmed.inference import ModelError

    plan = jm.networks.UNetPlan((4, 4), (2, 2), (3, 3), (1, 1), (1,))
    network = reg.voxelmorph(jm.networks.unet(plan=plan))
    inputs = pair((12, 14, 10), batch=1)
    params, state = network.init(KEY, inputs)
    model = reg.WarpModel(network, stirred(params, 0.1), state, spacing=(2.0, 2.0, 2.0))
    reg.save_warp_model(tmp_path / "run", model)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    scans = []
    for name in INPUTS:
        image = 50 * np.asarray(inputs[name][0])
        nib.save(nib.Nifti1Image(image[..., 0], affine), tmp_path / f"{name}.nii")
        scans.append(jm.data.read_image(tmp_path / f"{name}.nii"))
    kept = reg.load_warp_model(tmp_path / "run")
    want = model.warp(*scans)
    np.testing.assert_allclose(kept.warp(*scans).values, want.values, atol=1e-5)
    assert abs(np.asarray(want.values)).max() > 0.1
    # However the voxels lie in the files, millimetres are the same.
    points = jnp.asarray([[8.0, 10.0, 8.0], [12.0, 15.0, 10.0]])
    lying = []
    for scan in scans:
        array = scan.array.transpose(1, 2, 0, 3)[:, ::-1, ::-1]
        at = np.zeros((4, 4))
        at[3, 3] = 1
        at[1, 0], at[2, 1], at[0, 2] = 2, -2, -2
        at[2, 3], at[0, 3] = 2 * (array.shape[1] - 1), 2 * (array.shape[2] - 1)
        lying.append(Scan(array, at, Space(array.shape[:3], at)))
    found = kept.warp(*lying)
    np.testing.assert_allclose(
        reg.warp_points(found, points), reg.warp_points(want, points), atol=1e-3
    )
    files = [str(tmp_path / f"{name}.nii") for name in INPUTS]
    command = ["register", *files, "-o", str(tmp_path / "out"), "--network", str(tmp_path / "run")]
    assert main([*command, "--debug"]) == 0
    written = reg.read_warp(tmp_path / "out" / "warp.nii.gz")
    np.testing.assert_allclose(
        reg.warp_points(written, points), reg.warp_points(want, points), atol=0.05
    )
    assert main([*command, "--transform", "rigid"]) == 2
    assert "leave out --transform" in capsys.readouterr().err
    with pytest.raises(ModelError, match="no trained registration network"):
        reg.load_warp_model(tmp_path)
    with pytest.raises(ValueError, match="scans of 3 axes and 1 channels"):
        kept.warp(scans[0]._replace(array=np.tile(scans[0].array, 2)), scans[1])
    with pytest.raises(ValueError, match="moving holds one value"):
        kept.warp(scans[0], scans[1]._replace(array=np.ones_like(scans[1].array)))


def test_a_stage_of_a_pyramid_predicts_what_the_whole_one_has_predicted_by_then():
    coarse, whole = reg.lapirn_stages(2, features=4, blocks=1, squarings=2)
    inputs = pair((16, 18), batch=1)

    @jax.jit
    def both(key):
        params, state = whole.init(key, inputs)
        params = stirred(params)
        less = {name: params[name] for name in coarse.init(key, inputs)[0]}
        begun = jm.paradigms.pretrained(whole, less, {}).init(key, inputs)[0]
        return (
            coarse.apply(less, state, inputs)[0],
            whole.apply(params, state, inputs)[0],
            whole.apply(begun, state, inputs)[0],
        )

    first, found, begun = both(KEY)
    np.testing.assert_allclose(first["velocity"], found["levels"][0], atol=1e-5)
    kept = onto(first["velocity"], (16, 18), begun["velocity"].shape[1:-1])
    np.testing.assert_allclose(begun["velocity"], kept, atol=1e-2)  # a new level adds hardly a bit
    assert abs(first["moved"] - inputs["moving"]).max() > 5e-2
    known = reg.lapirn_known(1, levels=2)
    names = whole.init(KEY, inputs)[0]
    assert {n for n in names if re.match(known, n)} == {*coarse.init(KEY, inputs)[0]}
    with pytest.raises(ValueError, match="of which one or more predict"):
        reg.lapirn(levels=2, used=3).init(KEY, inputs)


def test_similarity_at_several_scales():
    inputs = pair((24, 20))
    moved, fixed = inputs["moving"], inputs["fixed"]
    alone = reg.multiscale("mse", scales=(0,))
    np.testing.assert_allclose(alone(moved, fixed), jm.losses.mse(moved, fixed), rtol=1e-6)
    half = jm.losses.mse(coarsened(moved, (12, 10)), coarsened(fixed, (12, 10)))
    both = reg.multiscale("mse", scales=(1, 0))(moved, fixed)
    np.testing.assert_allclose(both, (2 * alone(moved, fixed) + half) / 3, rtol=1e-5)
    several = reg.multiscale(["ncc", "mse"], scales=(1, 0))(moved, fixed)
    ncc = jm.losses.ncc(coarsened(moved, (12, 10)), coarsened(fixed, (12, 10)))
    np.testing.assert_allclose(several, (2 * alone(moved, fixed) + ncc) / 3, rtol=1e-5)
    # What does not count changes nothing.
    where = jnp.ones((2, 24, 20)).at[:, :8].set(0)
    spoiled = moved.at[:, :6].set(9.0)
    seen = reg.multiscale("mse", scales=(0, 1))
    np.testing.assert_allclose(
        seen(spoiled, fixed, where=where), seen(moved, fixed, where=where), rtol=1e-6
    )
    for scales in ((), (-1,), (1, 1)):
        with pytest.raises(ValueError, match="scales="):
            reg.multiscale(scales=scales)
    with pytest.raises(ValueError, match="1 similarities for 2 scales"):
        reg.multiscale(["mse"], scales=(0, 1))
