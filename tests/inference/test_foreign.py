"""Folders of models that others made: links and descriptions that mean no good."""

from __future__ import annotations

import json
import shutil

import jax
import jax.numpy as jnp
import pytest

from jaxmed import networks
from jaxmed.generative import load_generative_model
from jaxmed.inference import ImageRecipe, ModelError, image_model, load_model, save_model
from jaxmed.inference._foreign import describing
from jaxmed.registration import load_warp_model

RECIPE = ImageRecipe("binary", ("a", "b"), ("grey",), (4, 5), networks.mlp(2, hidden=()))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    params, state = RECIPE.network().init(jax.random.key(0), jnp.ones((1, 4, 5, 1)))
    folder = tmp_path_factory.mktemp("saved") / "run"
    save_model(folder, image_model(RECIPE, params, state))
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


@pytest.mark.parametrize("name", ["model.json", "model", "model/0", "model/0/state", "files.json"])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_that_leads_out_is_refused(folder, tmp_path, name, absolute):
    path = next(folder.rglob(name))
    away = tmp_path / "away"
    shutil.move(path, away)
    depth = len(path.relative_to(folder).parts)
    path.symlink_to(away if absolute else "../" * depth + "away")
    with pytest.raises(ModelError, match=rf"run/.*{path.name} is a link out of the model's folder"):
        load_model(folder)


@pytest.mark.parametrize("target", ["round", "/no/such/file", "../../away"])
def test_links_to_themselves_and_to_nothing_are_refused(folder, target):
    (folder / "model" / "round").symlink_to(target)
    with pytest.raises(ModelError, match="round is a link out"):
        load_model(folder)


def test_links_to_and_within_the_folder_are_followed(folder, tmp_path):
    shutil.move(folder / "model", folder / "weights")
    (folder / "model").symlink_to("weights")
    (tmp_path / "latest").symlink_to(folder)
    assert load_model(tmp_path / "latest").recipe == load_model(folder).recipe


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (load_model, "model.json"),
        (load_generative_model, "generator.json"),
        (load_warp_model, "network.json"),
    ],
)
def test_a_description_at_random_is_an_error_that_names_it(load, name, tmp_path):
    deep = '{"recipe": ' + "[" * 100_000 + "]" * 100_000 + "}"
    for text in ("", "[]", "7", "null", '{"format": []}', deep, "\ud800"):
        (tmp_path / name).write_text(text, encoding="utf-8", errors="surrogatepass")
        with pytest.raises(ModelError, match=name):
            load(tmp_path)
    (tmp_path / "away").write_text("{}")
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(tmp_path / "away")
    with pytest.raises(ModelError, match="does not describe"):
        load(tmp_path)  # within the folder


@pytest.mark.parametrize("value", [None, -1, 2**63, 10**30, 1e308, [], {}, "x", [[]]])
def test_options_at_random_are_an_error_that_names_the_file(folder, value):
    path = folder / "model.json"
    table = json.loads(path.read_text())
    net = table["recipe"]["options"]["net"]["options"]
    for name in net:
        path.write_text(json.dumps(table | {"recipe": _with(table["recipe"], name, value)}))
        try:
            load_model(folder)
        except (ModelError, RuntimeError) as error:  # of weights that do not fit
            assert "run/model" in str(error)  # noqa: PT017


def _with(recipe, name, value):
    changed = json.loads(json.dumps(recipe))
    changed["options"]["net"]["options"][name] = value
    return changed


def test_any_exception_becomes_an_error_that_names_the_file(tmp_path):
    for kind in (OverflowError, RecursionError, ZeroDivisionError, MemoryError):
        told = pytest.raises(ModelError, match=r"a\.json does not describe a model")
        with told, describing(tmp_path / "a.json", "a model"):
            raise kind
