"""The conformance matrix: every paradigm on every task, rank and normalisation, and in pairs.

By default each paradigm is tried in one cell, and over all paradigms every pair of task, rank and
normalisation meets; every other one is only traced there. `-m slow` has the rest.
"""

from __future__ import annotations

import functools
import itertools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from rows import FAMILIES, NORMS, ROWS, SPATIAL, TASKS, make_batch, quick_key

import jaxmed as jm
from jaxmed import bayes


def cells(name: str) -> tuple[list[tuple], list[tuple]]:
    """The cells of a paradigm (task, rank, norm): that of the default tier, and all others."""
    row, k = ROWS[name], sorted(ROWS).index(name)
    turn = lambda options, i: options[i % len(options)]  # noqa: E731
    first = turn(row.tasks, k), turn(row.spatial, k // 2), turn(row.norms, k + k // 3)
    every = itertools.product(row.tasks, row.spatial, row.norms)
    return [first], [cell for cell in every if cell != first]


def params(which: int) -> list:
    return [pytest.param(name, *cell, id=f"{name}-{'-'.join(cell)}")
            for name in ROWS for cell in cells(name)[which]]  # fmt: skip


def begun(run: jm.Learner, batch: dict, *, traced: bool) -> tuple:
    """The first state, that after a step, and its metrics; of what is traced their shapes.

    Init and step are one program: tracing and compiling is what this costs.
    """

    def two(key, batch):
        first = run.init(key, batch)
        return first, *run.step(first, batch)

    evaluate = functools.partial(jax.eval_shape, two) if traced else jax.jit(two)
    return evaluate(quick_key(), batch)


def check_cell(name: str, task: str, rank: str, norm: str, *, traced: bool = False) -> None:
    row = ROWS[name]
    run = row.run(task, norm)
    batch = row.batch(make_batch(SPATIAL[rank]))
    first, state, metrics = begun(run, batch, traced=traced)
    assert jax.tree.structure(first) == jax.tree.structure(state)
    for old, new in zip(jax.tree.leaves(first), jax.tree.leaves(state), strict=True):
        assert (old.shape, old.dtype) == (new.shape, new.dtype)
    for metric, value in metrics.items():
        assert value.shape == (), metric
        assert traced or np.isfinite(value), metric
    if traced:
        return
    pairs = zip(jax.tree.leaves(first.params), jax.tree.leaves(state.params), strict=True)
    assert any((old != new).any() for old, new in pairs), "the step changed no parameter"


@pytest.mark.parametrize(("name", "task", "rank", "norm"), params(0))
def test_a_paradigm_trains(name, task, rank, norm):
    check_cell(name, task, rank, norm, traced=sorted(ROWS).index(name) % 2 == 1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task", "rank", "norm"), [*params(0), *params(1)])
def test_a_paradigm_trains_in_every_cell(name, task, rank, norm):
    check_cell(name, task, rank, norm)


def test_the_default_cells_meet_every_pair():
    met = [cell for name in ROWS for cell in cells(name)[0]]
    together = {pair for cell in met for pair in itertools.combinations(cell, 2)}
    for one, other in itertools.combinations((TASKS, SPATIAL, NORMS), 2):
        assert set(itertools.product(one, other)) <= together


STACKS = [name for name, row in ROWS.items() if row.stacks]


def pairs() -> tuple[list, list]:
    """Each paradigm on the next one in the list, and all other ordered pairs."""
    near = [(name, STACKS[(i + 1) % len(STACKS)]) for i, name in enumerate(STACKS)]
    return near, [pair for pair in itertools.permutations(STACKS, 2) if pair not in near]


def check_pair(outer: str, inner: str, *, traced: bool = False) -> None:
    on = [ROWS[inner], ROWS[outer]]
    task = next(t for t in ROWS[outer].tasks if t in ROWS[inner].tasks)
    network, _ = ROWS[inner].build(task, "group")
    given = TASKS[task]
    for row in on:
        given = given._replace(objective=row.objective(given))
    batch = make_batch(SPATIAL["2D"])
    for row in on:
        batch = row.batch(batch)
    run = jm.learner(network, given.objective, optax.sgd(0.1))
    first, state, metrics = begun(run, batch, traced=traced)
    assert jax.tree.structure(first) == jax.tree.structure(state)
    for old, new in zip(jax.tree.leaves(first), jax.tree.leaves(state), strict=True):
        assert (old.shape, old.dtype) == (new.shape, new.dtype)
    assert metrics["loss"].shape == ()
    assert traced or np.isfinite(metrics["loss"])


@pytest.mark.parametrize(("outer", "inner"), pairs()[0][::2])
def test_paradigms_stack(outer, inner):
    check_pair(outer, inner, traced=True)


@pytest.mark.slow
@pytest.mark.parametrize(("outer", "inner"), [*pairs()[0], *pairs()[1]])
def test_all_paradigms_stack(outer, inner):
    check_pair(outer, inner)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if row.across else pytest.mark.slow) for n, row in ROWS.items()],
)
def test_eight_devices_equal_one(name):
    """Running statistics, queues and teachers included."""
    row = ROWS[name]
    run = row.run(row.tasks[0], row.norms[0])
    batch = row.batch(make_batch(SPATIAL[row.spatial[0]]))

    def steps(key, batch):
        state, _ = run.step(run.init(key, batch), batch)
        return run.step(state, batch)

    alone, metrics = jax.jit(steps)(quick_key(), batch)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spread = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
    everywhere = NamedSharding(mesh, PartitionSpec())
    shared, measured = jax.jit(steps, out_shardings=everywhere)(quick_key(), spread)

    def numbers(tree):
        return {
            jax.tree_util.keystr(path): np.asarray(
                jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x,
                np.float32,
            )
            for path, x in jax.tree.leaves_with_path(tree)
        }

    expected, found = numbers((alone, metrics)), numbers((shared, measured))
    assert expected.keys() == found.keys()
    for path, one in expected.items():
        np.testing.assert_allclose(found[path], one, rtol=1e-3, atol=1e-4, err_msg=path)


POOLINGS = [name for name in ROWS if name.startswith("multiple_instance")]


@pytest.mark.slow
@pytest.mark.parametrize("name", POOLINGS)
def test_bags_have_posteriors(name):
    """Whatever pools them: curvature and draws over a network that takes a dict."""
    network, _ = ROWS[name].build("classification", "group")
    batch = ROWS[name].batch(make_batch(SPATIAL["2D"], size=4))
    params, state = jax.jit(network.init)(quick_key(), batch["image"])
    fitted = bayes.laplace(
        network, params, state, batch, bayes.categorical(), structure="diag", prior_precision=10.0
    )
    found = bayes.predict_samples(fitted, quick_key(1), batch["image"], 2)
    assert found.shape == (2, 4, 3)
    assert np.ptp(found, axis=0).max() > 0


PUBLIC = {*jm.paradigms.__all__, *jm.generative.__all__, *jm.rules.__all__}


def test_the_table_in_the_docs_is_true():
    page = (Path(__file__).parents[2] / "docs" / "paradigms" / "index.md").read_text()
    lines = re.findall(r"^\| `(\w+)` \|" + r" *(✓?) *\|" * 4, page, re.MULTILINE)
    said = {name: tuple(map(bool, ticks)) for name, *ticks in lines}
    found = {}
    for rows in FAMILIES.values():
        for name, row in rows.items():
            paradigm = next(word for word in name.split() if word in PUBLIC)
            ticks = *(task in row.tasks for task in TASKS), row.stacks
            before = found.get(paradigm, (False,) * 4)
            found[paradigm] = tuple(a or b for a, b in zip(ticks, before, strict=True))
    assert {name: said.get(name) for name in found} == found
