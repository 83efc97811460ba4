"""`jaxmed register FIXED MOVING`: one scan moved onto another, with a page that shows how well."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxmed.cli._place import writing
from jaxmed.cli.runs._settings import ask


@dataclasses.dataclass(frozen=True)
class Options:
    """Move one image onto another: first a linear map, then a field.

    Writes into the folder: moved.nii.gz, the moving image on the fixed one's grid; warp.nii.gz (a
    field) or warp.tfm (a linear map), as ITK, SimpleITK and ANTs read them; moved_mask.nii.gz, if
    a mask of the moving image is given; registration.json; report.html with checkerboards, the
    bent grid and the Jacobian determinant, before and after.

    Args:
        images: the fixed image, whose grid stays, and the moving one. Any format that `train`
            reads.
        out: the folder.
        network: folder of a finished run that has learned to register such scans. It predicts the
            warp, which is then what --transform velocity begins with where --refine is given.
        refine: steps of optimisation of what a network predicted.
        guide: folder of a finished run that segments such scans: what it sees in both is moved onto
            each other too.
        guide_weight: of that overlap, beside the similarity of the images.
        transform: what is looked for. velocity does not fold and has an inverse.
        linear: the map that a field begins with.
        similarity: lncc and ncc for one modality; mutual-information or mind for two; mse where
            brightness means the same.
        smoothness: weight of the penalty of rough fields, larger is smoother; by default .2, of
            B-splines 1.
        levels: how many, each half as fine as the next.
        steps: at each level.
        centre: whether the middles of the grids are put on each other first: for scans whose
            headers say nothing of one place. A network that has learned from such pairs does so.
        symmetric: whether the inverse also moves the fixed image onto the moving one.
        masks: masks of the fixed and of the moving image, on which Dice is measured, and which
            nothing is fitted to; only the second is needed to move it, with - for the first.
    """

    images: tyro.conf.Positional[tuple[Path, Path]]
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))] = Path("registration")
    network: Path | None = None
    refine: int = 0
    guide: Path | None = None
    guide_weight: float = 6.0
    transform: Literal["velocity", "displacement", "bspline", "affine", "rigid"] = "velocity"
    linear: Literal["affine", "rigid", "none"] = "affine"
    similarity: Literal["lncc", "ncc", "mse", "mind", "mutual-information"] = "lncc"
    smoothness: float | None = None
    levels: int = 3
    steps: int = 60
    centre: bool = False
    symmetric: bool = False
    masks: tuple[Path, Path] | None = None


def run(arguments: Sequence[str]) -> int:
    """Read, register, write, print.

    Returns:
        0.
    """
    options = ask(Options, arguments, prog="jaxmed register")
    smooth = 0 <= (options.smoothness or 0) < float("inf")
    if options.levels < 1 or options.steps < 1 or not smooth:
        raise ValueError("--levels and --steps are 1 or more, --smoothness 0 or more")
    if options.refine < 0 or (options.refine and options.network is None):
        raise ValueError("--refine is 0 or more steps, of what a --network predicted")
    if options.network is not None and options.transform != "velocity":
        raise ValueError("--network predicts the warp: leave out --transform")
    if options.guide is not None and options.network is not None and not options.refine:
        raise ValueError("--guide is for what is optimised: with --network give --refine too")
    with writing(options.out):
        return _registered(options, arguments)


def _registered(options: Options, arguments: Sequence[str]) -> int:
    import numpy as np

    from jaxmed import data, report
    from jaxmed import registration as reg
    from jaxmed._files import write_whole

    fixed, moving = (data.read_image(path) for path in options.images)
    masks = _masks(options, fixed, moving)
    print(f"fixed {_told(fixed)}, moving {_told(moving)}")
    model = None if options.network is None else reg.load_warp_model(options.network)
    centred = options.centre or (model is not None and model.centred)
    start = reg.centre_warp(fixed, moving) if centred else None
    begun = start or reg.affine_warp(np.eye(len(fixed.affine)))
    seen = (fixed, moving)
    if options.guide is not None:
        seen = _guided(options.images, options.guide, seen)
    warp = _found(options, model, *seen, start)
    folder = options.out
    moved = reg.warp_scan(warp, moving, fixed.space)
    _write(folder / "moved.nii.gz", moved)
    linear = warp.kind == "affine"
    written = reg.write_warp(folder / ("warp.tfm" if linear else "warp.nii.gz"), warp)
    before = reg.warp_scan(begun, moving, fixed.space)
    numbers = _similar(fixed, before, moved)
    if masks[1] is not None:
        carried = reg.warp_scan(warp, masks[1], fixed.space)
        _write(folder / "moved_mask.nii.gz", carried)
        if masks[0] is not None:
            still = reg.warp_scan(begun, masks[1], fixed.space)
            numbers += _overlap(masks[0].array, still.array, carried.array)
    space = fixed.space
    points = np.asarray(reg.warp_points(warp, _nodes(space)))
    shift = points - _nodes(space)
    growth = np.asarray(reg.jacobian_determinant(warp, space))
    facts = {
        "transform": options.transform if options.network is None else f"{warp.kind}, predicted",
        "mean displacement": f"{np.linalg.norm(shift, axis=-1).mean():.2f} mm",
        "largest displacement": f"{np.linalg.norm(shift, axis=-1).max():.2f} mm",
        "determinant": f"{growth.min():.3f} to {growth.max():.3f}",
        "folds": f"{100 * float((growth <= 0).mean()):.3f} % of voxels",
        "SD of log determinant": f"{float(reg.sd_log_jacobian(warp, space)):.3f}",
    }
    record = {"facts": facts, "numbers": {n: {"before": b, "after": a} for n, b, a in numbers}}
    write_whole(folder / "registration.json", json.dumps(record, indent=1) + "\n")
    names = [path.name for path in options.images]
    page = report.write_registration(
        report.RegisteredImages(
            name=f"{names[1]} moved onto {names[0]}",
            fixed=fixed.array[..., 0],
            moving=before.array[..., 0],
            moved=moved.array[..., 0],
            field=shift @ np.linalg.inv(space.affine[:-1, :-1]).T,
            determinant=growth,
            spacing=space.spacing,
            numbers=numbers,
            facts=tuple(facts.items()),
            notes=_notes(options, fixed),
            command=shlex.join(["jaxmed", "register", *arguments]),
        ),
        folder,
    )
    for name, one, two in numbers:
        print(f"{name}: {one} before, {two} after")
    print(f"folds: {facts['folds']}")
    print(f"warp: {written}")
    print(f"report: {page}")
    return 0


def _found(options: Options, model: Any, fixed: Any, moving: Any, start: Any) -> Any:
    from jaxmed import registration as reg

    def unlike(name: Any) -> Any:
        return name if options.guide is None else reg.guided(name, weight=options.guide_weight)

    shared: dict[str, Any] = {
        "similarity": unlike(options.similarity.replace("-", "_")),
        "levels": options.levels,
        "steps": options.steps,
    }
    if model is not None:
        images = (scan._replace(array=scan.array[..., :1]) for scan in (fixed, moving))
        found = model.warp(*((fixed, moving) if options.guide is None else images), initial=start)
        if not options.refine:
            return found
        shared |= {"levels": 1, "steps": options.refine, "rate": 0.1}
        penalty = None if options.smoothness is None else {"diffusion": options.smoothness}
        symmetric = {"symmetric": options.symmetric}
        return reg.register(
            fixed, moving, initial=found, penalty=penalty, **shared, **symmetric
        ).warp
    symmetric: dict[str, Any] = {"symmetric": options.symmetric}
    if options.transform in ("affine", "rigid"):
        given = {**shared, **symmetric, "transform": options.transform}
        return reg.register(fixed, moving, initial=start, **given).warp
    if options.linear != "none":
        given = {**shared, **symmetric, "transform": options.linear}
        # Windows see what is near; a linear map has to find what is far.
        if options.similarity == "lncc":
            given["similarity"] = unlike("ncc")
        start = reg.register(fixed, moving, initial=start, **given).warp
        print("linear map found")
    kind = "bending" if options.transform == "bspline" else "diffusion"
    field: dict[str, Any] = symmetric if options.transform == "velocity" else {}
    found = reg.register(
        fixed, moving, transform=options.transform, initial=start, **shared, **field,
        penalty=None if options.smoothness is None else {kind: options.smoothness},
    )  # fmt: skip
    return found.warp


def _guided(paths: tuple[Path, Path], run: Path, scans: tuple[Any, Any]) -> tuple[Any, Any]:
    """Both images, with the probabilities of structures as further channels."""
    import numpy as np

    from jaxmed import data, inference
    from jaxmed import registration as reg

    model = inference.load_model(run)
    if not isinstance(model, inference.Segmenter):
        raise ValueError(f"--guide {run}: a run that segments is asked for")
    seen = []
    for path, scan in zip(paths, scans, strict=True):
        soft = inference.probabilities(model, data.read_image(path, canonical=True)).array
        structures = soft if model.recipe.regions else soft[..., 1:]
        if not np.any(structures > 0.5):
            raise ValueError(f"{path}: the run in {run} sees no structure in it")
        seen.append(reg.guided_scan(scan, structures))
    print(f"guided by {', '.join(model.recipe.classes[1:])}")
    return seen[0], seen[1]


def _masks(options: Options, fixed: Any, moving: Any) -> tuple[Any, Any]:
    from jaxmed import data

    paths = options.masks or ("-", "-")
    found = [
        None if str(path) == "-" else data.read_mask(path, like=image)
        for path, image in zip(paths, (fixed, moving), strict=True)
    ]
    return found[0], found[1]


def _similar(fixed: Any, before: Any, moved: Any) -> list[tuple[str, str, str]]:
    import jax.numpy as jnp

    from jaxmed import losses

    rows = []
    for name, loss in (
        ("correlation", lambda a, b: 1 - losses.ncc(a, b)),
        ("correlation within windows of 9", lambda a, b: 1 - losses.lncc(a, b)),
        ("mutual information (nats)", lambda a, b: -losses.mutual_information(a, b)),
    ):
        values = [
            float(loss(jnp.asarray(x.array)[None], jnp.asarray(fixed.array)[None])[0])
            for x in (before, moved)
        ]
        rows.append((name, f"{values[0]:.3f}", f"{values[1]:.3f}"))
    return rows


def _overlap(truth: Any, before: Any, after: Any) -> list[tuple[str, str, str]]:
    import numpy as np

    rows = []
    for label in np.unique(truth[truth != 0]):
        dice = [
            2 * ((x == label) & (truth == label)).sum()
            / ((x == label).sum() + (truth == label).sum())
            for x in (before, after)
        ]  # fmt: skip
        rows.append((f"Dice of label {label}", f"{dice[0]:.3f}", f"{dice[1]:.3f}"))
    return rows


def _notes(options: Options, fixed: Any) -> tuple[str, ...]:
    notes = [
        "Images that look alike need not agree place by place: similarity is what was optimised. "
        "Landmarks or structures that nothing was fitted to are the better judge."
    ]
    if options.masks is not None:
        notes.append("Masks were moved by linear interpolation of each class; none was fitted to.")
    if fixed.array.shape[-1] > 1:
        notes.append("Pictures show the first channel.")
    return tuple(notes)


def _nodes(space: Any) -> Any:
    import numpy as np

    index = np.moveaxis(np.indices(space.shape), 0, -1)
    return (index @ space.affine[:-1, :-1].T + space.affine[:-1, -1]).astype(np.float32)


def _write(path: Path, scan: Any) -> None:
    import nibabel as nib
    import numpy as np

    from jaxmed._files import replacing

    rank = len(scan.affine) - 1
    affine = np.eye(4)
    affine[:rank, :rank] = scan.affine[:rank, :rank]
    affine[:rank, 3] = scan.affine[:rank, rank]
    array = scan.array
    if array.ndim > rank and array.shape[-1] == 1:
        array = array[..., 0]
    elif array.ndim > rank and rank == 2:
        array = array[:, :, None]
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    with replacing(path) as partial:
        nib.save(image, partial)


def _told(scan: Any) -> str:
    lengths = " x ".join(f"{s:.3g}" for s in scan.spacing)
    return f"{' x '.join(map(str, scan.space.shape))} voxels of {lengths} mm"
