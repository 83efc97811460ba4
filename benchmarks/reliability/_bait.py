"""Sound inputs of commands, small ones: what is then changed at random."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.reliability._tensor_files import write_tensors


class Bait(NamedTuple):
    """One command and what it reads.

    Attributes:
        name: of the folder of its files.
        words: of the command line; `{here}` stands for that folder, `{base}` for the
            one of all sound files, `{out}` for that of results.
        files: patterns of the files that are changed.
        stranger: whether the folder comes as a whole from somebody else, as a model does: nothing
            outside of it may be read.
    """

    name: str
    words: str
    files: tuple[str, ...]
    stranger: bool = False


BAITS = (
    Bait("nifti", "predict {base}/model3d {here}/a.nii.gz -o {out}", ("a.nii.gz",)),
    Bait("nifti-plain", "predict {base}/model3d {here}/a.nii -o {out}", ("a.nii",)),
    Bait("nrrd", "predict {base}/model3d {here}/a.nrrd -o {out}", ("a.nrrd",)),
    Bait("metaimage", "predict {base}/model3d {here}/a.mha -o {out}", ("a.mha",)),
    Bait("dicom", "predict {base}/model3d {here}/series -o {out}", ("series/*.dcm",)),
    Bait("png", "predict {base}/model2d {here}/a.png -o {out}", ("a.png",)),
    Bait("tiff", "predict {base}/model2d {here}/a.tif -o {out}", ("a.tif",)),
    Bait("jpeg", "predict {base}/model2d {here}/a.jpg -o {out}", ("a.jpg",)),
    Bait("arrays", "predict {base}/classifier {here}/a.npz -o {out}", ("a.npz",)),
    Bait("listed", "predict {base}/model2d {here}/table.csv -o {out}", ("table.csv",)),
    Bait("data-table", "data check {here}/table.csv", ("table.csv",)),
    Bait("data-excel", "data check {here}/table.xlsx", ("table.xlsx",)),
    Bait("data-lines", "data check {here}/table.jsonl", ("table.jsonl",)),
    Bait("data-medmnist", "data check {here}/breastmnist.npz", ("breastmnist.npz",)),
    Bait("data-decathlon", "data check {here}/Task99_Made", ("Task99_Made/dataset.json",)),
    Bait("data-images", "data check {here}/set", ("set/*/*",)),
    Bait("coco", "data check {here}/boxes.json", ("boxes.json",)),
    Bait(
        "detection",
        "evaluate --predictions {here}/found.json --reference {here}/true.json --out {out}",
        ("found.json", "true.json"),
    ),
    Bait(
        "scores",
        "evaluate --predictions {here}/scores.csv --study {here}/study.toml "
        "--ledger {here}/ledger.json --out {out}",
        ("scores.csv", "study.toml", "ledger.json"),
    ),
    Bait("compare", "compare {here}/a.csv {here}/b.csv --out {out}", ("a.csv", "b.csv")),
    Bait(
        "masks",
        "evaluate --predictions {here}/found --reference {here}/true --out {out}",
        ("found/*", "true/*"),
    ),
    Bait(
        "register",
        "register {here}/a.nii.gz {here}/b.nii.gz --transform rigid --levels 1 --steps 1 -o {out}",
        ("a.nii.gz", "b.nii.gz"),
    ),
    Bait("slide", "tiles {here}/s.ome.tif --size 16 -o {out}", ("s.ome.tif",)),
    Bait(
        "tensors", "convert {here}/w.safetensors --as monai:SegResNet --option groups=2 -o {out}",
        ("w.safetensors",),
    ),
    Bait(
        "torch", "convert {here}/w.pth --as monai:SegResNet --option groups=2 -o {out}", ("w.pth",)
    ),
    Bait(
        "arrays-of-weights",
        "convert {here}/w.npz --as monai:SegResNet --option groups=2 -o {out}", ("w.npz",),
    ),
    Bait(
        "stranger-segmenter", "predict {here}/run {base}/png/a.png -o {out}",
        ("run/**/*",), stranger=True,
    ),
    Bait(
        "stranger-classifier", "predict {here}/run {base}/png/a.png --sets 0.9 -o {out}",
        ("run/**/*",), stranger=True,
    ),
    Bait("stranger-export", "export {here}/run -o {out}", ("run/**/*",), stranger=True),
    Bait(
        "stranger-generator", "generate {here}/run --count 1 -o {out}",
        ("run/**/*",), stranger=True,
    ),
)  # fmt: skip

SHAPE = (6, 8)


def make(root: Path) -> None:
    """Write the sound files of all baits, each in a folder of its name."""
    rng = np.random.default_rng(0)
    _models(root)
    for bait in BAITS:
        (root / bait.name).mkdir(parents=True, exist_ok=True)
    _volumes(root, rng)
    _pictures(root, rng)
    _sets(root, rng)
    _tables(root, rng)
    write_tensors(root)


def _models(root: Path) -> None:
    import jax
    import jax.numpy as jnp

    import jaxmed as jm
    from jaxmed import inference, networks
    from jaxmed.generative import GenerativeRecipe, edm, save_generative_model

    def segmenter(shape: tuple[int, ...]) -> inference.Segmenter:
        recipe = inference.Recipe(
            ("background", "bright"), ("grey",), (1.0,) * len(shape), shape,
            net=jm.from_linen(networks.Conv(2, 1)), normalisation="linear", linear=(1.0, 0.0),
        )  # fmt: skip
        kernel = jnp.array([0.0, 1.0]).reshape(*(1,) * len(shape), 1, 2)
        return inference.segmenter(recipe, {"kernel": kernel, "bias": jnp.array([0.1, 0.0])}, {})

    recipe = inference.ImageRecipe(
        "binary", ("dark", "light"), ("grey",), SHAPE, networks.mlp(2, hidden=()),
        normalisation="linear", linear=(1.0, 0.0),
    )  # fmt: skip
    params, state = recipe.network().init(jax.random.key(0), jnp.ones((1, *SHAPE, 1)))
    classifier = inference.image_model(recipe, params, state)
    inference.save_model(root / "model2d", segmenter(SHAPE))
    inference.save_model(root / "model3d", segmenter((4, 4, 4)))
    inference.save_model(root / "classifier", classifier)
    inference.save_model(root / "stranger-segmenter/run", segmenter(SHAPE))
    inference.save_model(root / "stranger-export/run", classifier)
    own = inference.save_model(root / "stranger-classifier/run", classifier).parent
    rng = np.random.default_rng(0)
    np.savez(
        own / "held_out.npz", classes=["dark", "light"], labels=np.arange(40) % 2,
        scores=rng.dirichlet((1, 1), 40),
    )  # fmt: skip
    tiny = {"widths": (4,), "attention": (), "groups": 2, "embedding": 8}
    drawn = GenerativeRecipe(
        "diffusion", networks.denoiser_unet(1, **tiny), (5, 6, 1),
        {"process": edm(highest=5.0), "steps": 2},
    )  # fmt: skip
    params, state = drawn.network().init(jax.random.key(0), jnp.ones((1, 5, 6, 1)))
    save_generative_model(root / "stranger-generator/run", drawn, params, state)


def _volumes(root: Path, rng: np.random.Generator) -> None:
    import nibabel as nib
    import nrrd
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    volume = rng.integers(0, 900, (6, 7, 5)).astype(np.int16)
    image = nib.Nifti1Image(volume, np.diag([1.0, 1.5, 2.0, 1.0]))
    for name in ("nifti/a.nii.gz", "nifti-plain/a.nii", "register/a.nii.gz", "register/b.nii.gz"):
        image.to_filename(root / name)
    place = {"space": "left-posterior-superior", "space directions": np.diag([1.0, 1.5, 2.0])}
    nrrd.write(
        str(root / "nrrd/a.nrrd"), volume, {**place, "space origin": [0, 0, 0], "encoding": "gzip"}
    )
    head = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "CompressedData = True\nElementSpacing = 1 1.5 2\nDimSize = 6 7 5\n"
        "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    (root / "metaimage/a.mha").write_bytes(head.encode() + zlib.compress(volume.T.tobytes()))
    (root / "dicom/series").mkdir(parents=True, exist_ok=True)
    for i in range(4):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{i + 1}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.4"
        ds.FrameOfReferenceUID, ds.Modality, ds.InstanceNumber = "1.2.3.5", "CT", i + 1
        ds.Rows, ds.Columns, ds.SamplesPerPixel = 6, 7, 1
        ds.PhotometricInterpretation, ds.PixelRepresentation = "MONOCHROME2", 1
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
        ds.PixelSpacing, ds.ImageOrientationPatient = [1, 1.5], [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient, ds.SliceThickness = [0, 0, 2 * i], 2
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1000
        ds.PixelData = volume[..., i].tobytes()
        ds.save_as(root / f"dicom/series/{i}.dcm", enforce_file_format=True)
    for part in ("found", "true"):
        (root / "masks" / part).mkdir(parents=True, exist_ok=True)
        for k in range(2):
            mask = (volume > 400 + 50 * k).astype(np.uint8)
            nib.Nifti1Image(mask, image.affine).to_filename(root / f"masks/{part}/c{k}.nii.gz")


def _pictures(root: Path, rng: np.random.Generator) -> None:
    from PIL import Image

    from jaxmed.data import write_pyramid

    def picture(*size: int) -> Image.Image:
        return Image.fromarray(rng.integers(0, 255, size or SHAPE).astype(np.uint8))

    for name in ("png/a.png", "tiff/a.tif", "jpeg/a.jpg"):
        picture().save(root / name)
    for folder in ("listed", "data-table", "data-excel", "data-lines", "coco", "detection"):
        for k in range(4):
            picture(16, 16).save(root / folder / f"p{k}.png")
    np.savez_compressed(root / "arrays/a.npz", image=rng.random((3, *SHAPE, 1), np.float32))
    pixels = np.full((80, 120, 3), 243, np.uint8)
    pixels[16:64, 24:96] = rng.integers(60, 200, (48, 72, 3))
    write_pyramid(root / "slide/s.ome.tif", pixels, mpp=0.5, tile=16)
    for kind in ("dark", "light"):
        (root / "data-images/set" / kind).mkdir(parents=True, exist_ok=True)
        for k in range(2):
            picture(8, 8).save(root / f"data-images/set/{kind}/{k}.png")


def _sets(root: Path, rng: np.random.Generator) -> None:
    import nibabel as nib

    parts = {}
    for part, n in (("train", 6), ("val", 2), ("test", 4)):
        parts[f"{part}_images"] = rng.integers(0, 255, (n, 28, 28)).astype(np.uint8)
        parts[f"{part}_labels"] = (np.arange(n) % 2).astype(np.uint8)[:, None]
    np.savez(root / "data-medmnist/breastmnist.npz", **parts)
    task = root / "data-decathlon/Task99_Made"
    listed = []
    for k in range(2):
        for folder, kind in (("imagesTr", np.int16), ("labelsTr", np.uint8)):
            (task / folder).mkdir(parents=True, exist_ok=True)
            array = rng.integers(0, 3, (5, 6, 4)).astype(kind)
            nib.Nifti1Image(array, np.eye(4)).to_filename(task / folder / f"c{k}.nii.gz")
        listed.append({"image": f"./imagesTr/c{k}.nii.gz", "label": f"./labelsTr/c{k}.nii.gz"})
    labels = {"0": "background", "1": "organ", "2": "lesion"}
    table = {"labels": labels, "modality": {"0": "MRI"}, "training": listed}
    (task / "dataset.json").write_text(json.dumps(table))
    boxes = {
        "images": [
            {"id": k, "file_name": f"p{k}.png", "width": 16, "height": 16} for k in range(4)
        ],
        "categories": [{"id": 1, "name": "spot"}],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 1, "bbox": [2, 3, 5, 6], "area": 30,
             "iscrowd": 0} for k in range(4)
        ],
    }  # fmt: skip
    found = [
        {"image_id": k, "category_id": 1, "bbox": [2.5, 3, 5, 6], "score": 0.9 - 0.1 * k}
        for k in range(4)
    ]
    (root / "coco/boxes.json").write_text(json.dumps(boxes))
    (root / "detection/true.json").write_text(json.dumps(boxes))
    (root / "detection/found.json").write_text(json.dumps(found))


def _tables(root: Path, rng: np.random.Generator) -> None:
    from openpyxl import Workbook

    rows = [["image", "label", "patient", "split"]]
    rows += [[f"p{k}.png", "ab"[k % 2], f"s{k}", "test" if k == 3 else "train"] for k in range(4)]
    lines = "\n".join(",".join(row) for row in rows) + "\n"
    for folder in ("listed", "data-table"):
        (root / folder / "table.csv").write_text(lines)
    book = Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    book.save(root / "data-excel/table.xlsx")
    as_json = [json.dumps(dict(zip(rows[0], row, strict=True))) for row in rows[1:]]
    (root / "data-lines/table.jsonl").write_text("\n".join(as_json) + "\n")
    for name in ("scores/scores.csv", "compare/a.csv", "compare/b.csv"):
        scores = rng.random(24)
        body = [f"c{i},{i % 2},{x:.4f},p{i // 2}" for i, x in enumerate(scores)]
        (root / name).write_text("\n".join(["case,label,score,patient", *body]) + "\n")
    (root / "scores/study.toml").write_text('intended_use = "triage"\nfunding = "none"\n')
    looked = {"when": "2026-01-01", "why": "a", "digest": "0", "cases": 1, "marks": ["0"]}
    (root / "scores/ledger.json").write_text(json.dumps(looked) + "\n")
