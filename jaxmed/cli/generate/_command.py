"""`jaxmed generate RUN -n 64`: its options, images, a sheet of them, and a note."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxmed._files import owning
from jaxmed.cli.runs._settings import ask

_NOTE = "generated.json"


@dataclasses.dataclass(frozen=True)
class Options:
    """Draw images by a trained generator.

    Writes into the folder: each image, as PNG, or as NIfTI if it is a volume; sheet.png, all of
    them on one sheet (of a volume its middle plane); generated.json, written last: the seed, a
    digest of the model, the class of each image. The same seed and model draw the same images, and
    the first images of a larger number are those of a smaller one.

    Args:
        run: the folder of a finished run of a generator, such as of `jaxmed train synthesis`.
        count: how many images.
        out: the folder, which must be empty or missing.
        label: the class of all images, by name or number; by default each class in its turn.
        seed: of all draws.
        steps: from noise to image, of a diffusion model; by default those of the run.
        guidance: weight of the class, of a diffusion model that learned without classes too.
        chunk: images that are drawn at once: fewer take less memory.
    """

    run: tyro.conf.Positional[Path]
    count: Annotated[int, tyro.conf.arg(aliases=("-n",))] = 16
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))] = Path("generated")
    label: str | None = None
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    chunk: int = 64


def run(arguments: Sequence[str]) -> int:
    """Load, draw, write.

    Returns:
        0.
    """
    options = ask(Options, arguments, prog="jaxmed generate")

    import jax
    import numpy as np

    from jaxmed.cli.generate._write import write
    from jaxmed.generative import load_generative_model

    if options.count < 1 or options.chunk < 1:
        raise ValueError(f"-n and --chunk are at least 1, got {options.count} and {options.chunk}")
    _check_empty(options.out)
    model = load_generative_model(options.run)
    changes = _changes(options, model.recipe)
    labels = _labels(options, model.recipe)
    drawn = model.draw(
        jax.random.key(options.seed),
        options.count,
        condition=None if labels is None else {"label": labels},
        chunk=options.chunk,
        **changes,
    )
    classes = model.recipe.classes
    note = {
        "run": str(options.run),
        "model": model.digest(),
        "kind": model.recipe.kind,
        "seed": options.seed,
        "options": changes,
    }
    names = None if labels is None else [classes[k] for k in np.asarray(labels)]
    with owning(options.out):
        _check_empty(options.out)  # another process may have drawn into it meanwhile
        write(options.out, drawn, model.recipe, names, note)
    print(f"{options.count} image(s): {options.out}")
    print(f"on one sheet: {options.out / 'sheet.png'}")
    return 0


def _check_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - {".lock"}):
        raise ValueError(f"{out} is not an empty folder: give another one by -o")


def _changes(options: Options, recipe: Any) -> dict[str, Any]:
    """What is drawn otherwise than the run would."""
    asked = {"steps": options.steps, "guidance": options.guidance}
    given = {name: value for name, value in asked.items() if value is not None}
    for name in given:
        if recipe.kind not in ("diffusion", "latent"):
            raise ValueError(
                f"--{name} is of a diffusion model; {options.run} holds a generator of the kind "
                f"{recipe.kind!r}, which draws in one step"
            )
    if "guidance" in given and not recipe.options.get("optional"):
        raise ValueError(
            f"--guidance is of a model that learned to draw without a class too; {options.run} "
            + ("did not" if recipe.classes else "has no classes")
        )
    return given


def _labels(options: Options, recipe: Any) -> Any:
    """The class of each image, or None of a generator without."""
    import numpy as np

    if recipe.options.get("map_channels"):
        raise ValueError(
            f"{options.run} draws by maps, which this command has none of: load it by "
            "jaxmed.generative.load_generative_model and give draw(condition={'map': ...})"
        )
    classes = recipe.classes
    if options.label is None:
        return np.arange(options.count) % len(classes) if classes else None
    if not classes:
        raise ValueError(
            f"--label {options.label}: {options.run} learned without classes, and draws by none"
        )
    if options.label in classes:
        number = classes.index(options.label)
    elif options.label.isdecimal() and int(options.label) < len(classes):
        number = int(options.label)
    else:
        known = ", ".join(f"{k} ({name})" for k, name in enumerate(classes))
        raise ValueError(f"--label {options.label}: there is no such class; there are {known}")
    return np.full(options.count, number)
