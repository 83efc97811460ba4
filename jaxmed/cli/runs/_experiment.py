"""Experiments: finding their files, loading them, describing them."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jaxmed

# One name for the package, wherever it stands: its files import each other by dots.
_PACKAGE = "jaxmed.experiments"


class Experiment(NamedTuple):
    """One file of experiments.

    Attributes:
        name: of the file, without its ending.
        path: of the file.
        config: its dataclass of settings.
        run: ``(config, out) -> Results``.
        description: its docstring.
        module: the loaded file.
    """

    name: str
    path: Path
    config: type
    run: Callable[[Any, Path], Any]
    description: str
    module: ModuleType

    @property
    def ours(self) -> bool:
        """Whether it comes with jaxmed, and so is found by its name."""
        return self.module.__name__.startswith(f"{_PACKAGE}.")


def folder() -> Path:
    """The folder of experiments: in a wheel inside the package, in a checkout beside it.

    Raises:
        FileNotFoundError: it is in neither place.
    """
    package = Path(jaxmed.__file__).resolve().parent
    for candidate in (package / "experiments", package.parent / "experiments"):
        if (candidate / "_common" / "__init__.py").is_file():
            return candidate
    raise FileNotFoundError(f"no folder of experiments beside or in {package}")


def tasks() -> dict[str, dict[str, Path]]:
    """Files of the experiments by name, by the task whose folder they stand in."""
    found = {
        task.parent.name: {
            path.stem: path
            for path in sorted(task.parent.glob("*.py"))
            if not path.stem.startswith("_")
        }
        for task in sorted(folder().glob("[!_]*/__init__.py"))
    }
    return {task: files for task, files in found.items() if files}


def names() -> list[str]:
    """Names of the experiments that come with jaxmed."""
    found = sorted(name for files in tasks().values() for name in files)
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise ValueError(f"two files of experiments are called {twice[0]!r}")
    return found


def headline(path: Path) -> str:
    """First line of a file's docstring, read without running the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").split("\n", 1)[0]


def listing() -> str:
    """The experiments that come with jaxmed, a line each, by task."""
    width = max(map(len, names()))
    lines = []
    for task, files in tasks().items():
        first = next(iter(files.values()))
        lines += ["", f"{task}: {headline(first.with_name('__init__.py'))}"]
        lines += [f"  {name:<{width}}  {headline(path)}" for name, path in files.items()]
    return "\n".join(lines[1:])


def load(name: str | os.PathLike) -> Experiment:
    """Load an experiment by name, or by the path of its file.

    A file of one's own may import what stands beside it.

    Raises:
        ValueError: no such experiment, or a file without `Config` and `run`.
    """
    path = Path(name)
    if path.suffix != ".py":
        known = {name: path for files in tasks().values() for name, path in files.items()}
        path = known.get(os.fspath(name), path)
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(
            f"there is no experiment {os.fspath(name)!r}; there are {', '.join(names())}, or give "
            "the path of a file that ends in .py"
        )
    module = _imported(path)
    config, run = getattr(module, "Config", None), getattr(module, "run", None)
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)) or not callable(run):
        raise ValueError(
            f"{path} is not an experiment: it needs a dataclass Config and run(config, out)"
        )
    return Experiment(path.stem, path, config, run, (module.__doc__ or "").strip(), module)


def _imported(path: Path) -> ModuleType:
    """A file's module: of our package under its name there, else under a name of its own."""
    package()
    path = path.resolve()
    with contextlib.suppress(ValueError):
        parts = path.relative_to(folder()).with_suffix("").parts
        return importlib.import_module(".".join([_PACKAGE, *parts]))
    key = f"jaxmed_experiment_{path.stem}"
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name to read its annotations.
    sys.modules[key] = module
    with _beside(path):
        spec.loader.exec_module(module)
    return module


def package() -> ModuleType:
    """The package of experiments, `jaxmed.experiments`, of a wheel or of a checkout."""
    if _PACKAGE not in sys.modules:
        place = folder()
        spec = importlib.util.spec_from_file_location(
            _PACKAGE, place / "__init__.py", submodule_search_locations=[str(place)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[_PACKAGE] = module
        spec.loader.exec_module(module)
    return sys.modules[_PACKAGE]


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Let a user's file import modules beside it while it loads, as `python FILE` does."""
    beside = str(path.parent)
    sys.path.insert(0, beside)
    try:
        yield
    finally:
        sys.path.remove(beside)
