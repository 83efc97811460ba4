"""`jaxmed explain RUN IMAGES`: its options, maps, tests of them, and a page."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxmed.cli._place import refuse_run, writing
from jaxmed.cli.runs._settings import ask

_SHOWN = 24


@dataclasses.dataclass(frozen=True)
class Options:
    """Explain a trained run's answers to images by maps, and test the maps.

    Writes into the folder: NAME.npz of each image, with the image as the network sees it and the
    map of each method; explanations.csv, a row an image and method with the results of the tests;
    report.html with maps over images, the tests with intervals, and what each map is not.

    Args:
        run: the folder of a finished run of images' classes or numbers, or of masks.
        images: images as `jaxmed predict` takes them.
        out: the folder.
        methods: of gradient, smooth-grad, integrated-gradients, lrp, guided-backprop, grad-cam,
            occlusion, rise, shap.
        target: the class, number or structure that is explained; by default the model's answer.
        masks: a mask for each image, in the same order, of what a map should show. For a
            classifier or a regressor.
        seed: of what is random.
        tests: whether the maps are tested; --no-tests is quicker.
    """

    run: tyro.conf.Positional[Path]
    images: tyro.conf.Positional[tuple[Path, ...]]
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))] = Path("explanations")
    methods: tuple[str, ...] = ("integrated-gradients", "lrp", "grad-cam")
    target: str | None = None
    masks: tuple[Path, ...] = ()
    seed: int = 0
    tests: bool = True


def run(arguments: Sequence[str]) -> int:
    """Read, explain, test, write.

    Returns:
        0; 1 if some images could not be explained, 2 if none could: each is named with its reason.
    """
    options = ask(Options, arguments, prog="jaxmed explain")

    from jaxmed.cli.explain import _maps
    from jaxmed.cli.explain._methods import METHODS
    from jaxmed.cli.explain._models import outputs_of, see, shape_of
    from jaxmed.cli.predict._inputs import files, read
    from jaxmed.cli.predict._masks import exit_code, tried
    from jaxmed.inference import ImageModel, Segmenter, load_model

    refuse_run(options.out)
    for name in options.methods:
        if name not in METHODS:
            raise ValueError(f"--methods: there is no {name!r}; there are {', '.join(METHODS)}")
    model = load_model(options.run)
    if not isinstance(model, ImageModel | Segmenter):
        raise ValueError(
            f"{options.run} holds a {type(model).__name__}; maps are of a classifier, a regressor "
            f"or a segmenter"
        )
    names = outputs_of(model)
    if options.target is not None and options.target not in names:
        raise ValueError(
            f"--target: there is no output {options.target!r}; there are {', '.join(names)}"
        )
    given = files(options.images, model.recipe.channels)
    if options.masks and (len(options.masks) != len(given) or isinstance(model, Segmenter)):
        raise ValueError(
            f"--masks is one mask for each of the {len(given)} images of a classifier or regressor"
        )
    spacing = (1.0,) * len(shape_of(model))
    cases: list[_maps.Case] = []
    failed = 0
    for number, one in enumerate(given):
        for found in read(one, spacing, len(model.recipe.channels)):
            seen = tried(found, lambda scan: see(model, scan, options.target))
            if seen is None:
                failed += 1
                continue
            mask = None
            if options.masks and found.scan is not None:
                mask = _maps.mask_for(options.masks[number], found.scan, shape_of(model))
            cases.append(_maps.Case(found.name, seen, mask))
    if not cases:
        return exit_code(0, failed, what="explained")
    twice = [c.name for c in cases if [d.name for d in cases].count(c.name) > 1]
    if twice:
        raise ValueError(f"two images are called {twice[0]!r}: name one otherwise")
    found = _maps.explain(model, cases, options.methods, options.seed, options.tests)
    with writing(options.out):
        _maps.write(found, cases, options.out)
        page = _page(options, arguments, model, found, cases)
    print(f"{len(cases)} image(s), {len(options.methods)} method(s)")
    print(f"report: {page}")
    return exit_code(len(cases), failed, what="explained")


def _page(options: Options, arguments: Sequence[str], model: Any, found: Any, cases: Any) -> Path:
    from jaxmed import report
    from jaxmed.cli.explain._maps import BEFORE, LEGENDS, in_words
    from jaxmed.cli.explain._methods import METHODS
    from jaxmed.cli.explain._models import image_channels, outputs_of

    names, channels = outputs_of(model), image_channels(model)
    meanings = {name: METHODS[name].meaning for name in options.methods}
    meanings |= {
        name: "The same map, on the masks that the network before found."
        for name in found.maps
        if BEFORE in name
    }
    shown = [
        report.ExplainedCase(
            case.name,
            f"{case.seen.answer}. Maps are of {names[case.seen.target]}.",
            case.seen.image[..., :channels],
            {name: maps[number] for name, maps in found.maps.items()},
            case.mask,
        )
        for number, case in enumerate(cases[:_SHOWN])
    ]
    notes = [
        "A map is about the network, not about the patient. A network that has learned a shortcut "
        "has maps as well, and a map in the right place does not show that the right thing was "
        "seen there."
    ]
    if len(cases) > _SHOWN:
        notes.append(f"The first {_SHOWN} of {len(cases)} images are shown.")
    notes += found.notes
    return report.write_explanations(
        report.ExplainedModel(
            name=f"Why {options.run.name} answers so",
            cases=shown,
            meanings=meanings,
            tests=in_words(found.tests),
            legends=LEGENDS,
            facts=[
                ("model", str(options.run.name)),
                ("target", options.target or "what the model answers"),
                ("images", str(len(cases))),
                ("seed", str(options.seed)),
            ],
            notes=notes,
            command=shlex.join(["jaxmed", "explain", *arguments]),
        ),
        options.out,
    )
