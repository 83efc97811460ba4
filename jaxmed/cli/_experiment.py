"""Experiments: finding their files, loading them, describing them."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jaxmed


class Experiment(NamedTuple):
    """One file of experiments: its name, its dataclass of settings, what runs."""

    name: str
    path: Path
    config: type
    run: Callable[[Any, Path], Any]
    description: str


def folder() -> Path:
    """The folder of experiments: in a checkout beside the package, in a wheel inside it."""
    package = Path(jaxmed.__file__).resolve().parent
    for candidate in (package.parent / "experiments", package / "experiments"):
        if (candidate / "medmnist.py").is_file():
            return candidate
    raise FileNotFoundError(f"no folder of experiments beside or in {package}")


def names() -> list[str]:
    """Names of the experiments that come with jaxmed."""
    return sorted(path.stem for path in folder().glob("*.py") if not path.stem.startswith("_"))


def headline(name: str) -> str:
    """First line of an experiment's docstring, read without running the file."""
    import ast

    tree = ast.parse((folder() / f"{name}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").split("\n", 1)[0]


def load(name: str) -> Experiment:
    """Load an experiment by name, or by the path of its file.

    Raises:
        ValueError: no such experiment, or a file without `Config` and `run`.
    """
    path = Path(name)
    if path.suffix != ".py":
        path = folder() / f"{name}.py"
    if not path.is_file():
        raise ValueError(
            f"there is no experiment {name!r}; there are {', '.join(names())}, or give the path of "
            f"a file that ends in .py"
        )
    key = f"jaxmed_experiment_{path.stem}"
    spec = importlib.util.spec_from_file_location(key, path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name to read its annotations.
    sys.modules[key] = module
    with _beside(path):
        spec.loader.exec_module(module)
    config, run = getattr(module, "Config", None), getattr(module, "run", None)
    if not dataclasses.is_dataclass(config) or not callable(run):
        raise ValueError(
            f"{path} is no experiment: it needs a dataclass Config and run(config, out)"
        )
    return Experiment(path.stem, path, config, run, (module.__doc__ or "").strip())


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Let a file import modules beside it while it loads, as `python FILE` does."""
    beside = str(path.resolve().parent)
    sys.path.insert(0, beside)
    try:
        yield
    finally:
        sys.path.remove(beside)
