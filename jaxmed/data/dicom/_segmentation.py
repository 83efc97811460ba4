"""Reading of DICOM segmentations, frame by frame into the grid of an image or their own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data._error import fault, reading
from jaxmed.data.dicom._dataset import dicom_files, quiet, read_header, read_whole
from jaxmed.data.dicom._frames import Frame, frames_of
from jaxmed.data.dicom._pixels import decoded
from jaxmed.data.images._geometry import to_space
from jaxmed.data.images._segments import Code, Segment
from jaxmed.data.images._space import Scan, Space

_APART = 0.1  # of a voxel, by which a frame may miss the grid that it is placed on
_TO_RAS = np.array([-1.0, -1.0, 1.0])


class DicomSegmentation(NamedTuple):
    """The segments of a file on one grid, each on its own, so that they may overlap.

    Attributes:
        masks: (*spatial, segments) bool.
        affine: from voxel indices to mm.
        file: the grid of the image's file, or of the segmentation itself.
        segments: their numbers, names and codes.
    """

    masks: np.ndarray
    affine: np.ndarray
    file: Space
    segments: tuple[Segment, ...]


def read_dicom_seg(
    path: str | os.PathLike, *, like: Scan | None = None, threshold: float = 0.5
) -> DicomSegmentation:
    """Read a DICOM segmentation, each of its segments on its own.

    Frames are placed by their position in the patient, never by their order; a slice without a
    frame is empty. `read_mask` reads the same file as one mask, if its segments do not overlap.

    Args:
        path: the file, or a folder that holds it alone.
        like: the image it belongs to: the segments come on its grid. Without it they come on the
            smallest grid that holds all frames.
        threshold: the probability from which a voxel of a fractional segmentation belongs to it.

    Returns:
        The segments, with their names and codes.

    Raises:
        DataError: the file is no segmentation, is damaged, or does not lie on the image's grid.
    """
    content = _open(Path(path))
    grid = like.file if like is not None else _own_grid(content)
    masks = np.zeros((len(content.segments), *grid.shape), bool)
    position = {segment.number: k for k, segment in enumerate(content.segments)}
    top = float(content.dataset.get("MaximumFractionalValue") or 1)
    for number, frame, pixels in _planes(content):
        target = _target(content, frame, grid)
        if number is None:
            for label, k in position.items():
                target.put(content.path, masks[k], pixels == label, True)
        else:
            target.put(content.path, masks[position[number]], pixels >= threshold * top, True)
    affine = grid.affine
    if like is not None:
        affine = like.affine
        masks = np.stack([to_space(mask, grid.affine, like.space) for mask in masks])
    return DicomSegmentation(np.moveaxis(masks, 0, -1), affine, grid, content.segments)


def read_seg_labels(path: Path, *, like: Scan | None = None) -> tuple[np.ndarray, Space]:
    """Read a segmentation as one mask, on the grid of an image's file or its own.

    Raises:
        DataError: segments overlap, or are fractions between 0 and 1.
    """
    content = _open(path)
    grid = like.file if like is not None else _own_grid(content)
    # What has no frame is, in a map of labels, what the header calls padding.
    padding = int(content.dataset.get("PixelPaddingValue") or 0)
    out = np.full(grid.shape, padding if content.kind == "LABELMAP" else 0, np.int32)
    top = int(content.dataset.get("MaximumFractionalValue") or 1)
    names = {segment.number: segment.name for segment in content.segments}
    for number, frame, pixels in _planes(content):
        target = _target(content, frame, grid)
        if number is None:
            target.put(path, out, pixels != padding, pixels.astype(np.int32))
            continue
        if np.any((pixels != 0) & (pixels != top)):
            detail = "a fractional segmentation; choose a threshold (data.read_dicom_seg)"
            raise fault(path, "integer-mask", detail)
        if np.any(target.get(out)[pixels != 0]):
            raise fault(
                path,
                "mask-overlap",
                f"segment {number} ({names[number]}) overlaps with another one; read each on its "
                "own (data.read_dicom_seg)",
            )
        target.put(path, out, pixels != 0, number)
    return out, grid


def read_seg_space(path: Path) -> Space:
    """The smallest grid that holds a segmentation."""
    return _own_grid(_open(path))


def read_dicom_segments(path: Path) -> tuple[Segment, ...]:
    """The segments that a file describes; none of an image."""
    return _open(path).segments if is_segmentation(path) else ()


def is_segmentation(path: Path) -> bool:
    """Whether a file, or the only DICOM file of a folder, is a segmentation."""
    if path.is_dir():
        files = [*itertools.islice(dicom_files(path), 2)]
        return len(files) == 1 and is_segmentation(files[0])
    return read_header(path).get("Modality") == "SEG"


class _Content(NamedTuple):
    """A file's frames and what they are of."""

    path: Path
    dataset: Any
    frames: tuple[Frame, ...]
    segments: tuple[Segment, ...]
    kind: str


def _open(path: Path) -> _Content:
    if path.is_dir():
        files = [*dicom_files(path)]
        if len(files) != 1:
            raise fault(path, "one-series", f"{len(files)} DICOM files; name the segmentation")
        path = files[0]
    dataset = read_whole(path)
    with reading(path, "the segmentation"), quiet():
        if dataset.get("Modality") != "SEG" or "SegmentSequence" not in dataset:
            raise ValueError("it is no DICOM segmentation")
        if "TotalPixelMatrixRows" in dataset:
            detail = "a segmentation of a whole slide, which has no place in a patient"
            raise fault(path, "shape", detail)
        segments = tuple(_segment(item) for item in dataset.SegmentSequence)
        kind = str(dataset.get("SegmentationType"))
        background = [s for s in segments if s.number == 0 and kind == "LABELMAP"]
        segments = tuple(segment for segment in segments if segment not in background)
        frames = tuple(frames_of(path, dataset))
    if not frames:
        raise fault(path, "non-empty", "a segmentation without a frame")
    return _Content(path, dataset, frames, segments, kind)


def _segment(item: Any) -> Segment:
    codes = []
    for name in ("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence"):
        found = (item.get(name) or [{}])[0]
        names = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
        codes.append(Code(*(str(found.get(part) or "") for part in names)))
    return Segment(int(item.SegmentNumber), str(item.get("SegmentLabel") or ""), *codes)


def _planes(content: _Content) -> Iterator[tuple[int | None, Frame, np.ndarray]]:
    """The segment of each frame (None for a map of labels), its place, and its pixels."""
    dataset = content.dataset
    with reading(content.path, "the pixels"):
        pixels = decoded(content.path, dataset, range(len(content.frames)))[..., 0]
        numbers = [_number(dataset, k, content.kind) for k in range(len(pixels))]
    known = {segment.number for segment in content.segments}
    stray = {n for n in numbers if n is not None} - known
    if stray:
        detail = f"frames are of the segments {sorted(stray)}, which it does not describe"
        raise fault(content.path, "table", detail)
    yield from zip(numbers, content.frames, pixels, strict=True)


def _number(dataset: Any, index: int, kind: str) -> int | None:
    if kind == "LABELMAP":
        return None
    groups = [dataset.PerFrameFunctionalGroupsSequence[index]]
    groups += [*(dataset.get("SharedFunctionalGroupsSequence") or ())][:1]
    for group in groups:
        if found := group.get("SegmentIdentificationSequence"):
            return int(found[0].ReferencedSegmentNumber)
    raise ValueError(f"frame {index} names no segment")


class _Target(NamedTuple):
    """Where the pixels of a frame lie on a grid: an index array for each axis, and which do."""

    index: tuple[np.ndarray, ...]
    inside: np.ndarray

    def get(self, array: np.ndarray) -> np.ndarray:
        """The values of a grid at the pixels; 0 outside."""
        out = np.zeros(self.inside.shape, array.dtype)
        out[self.inside] = array[tuple(i[self.inside] for i in self.index)]
        return out

    def put(self, path: Path, array: np.ndarray, where: np.ndarray, value: Any) -> None:
        """Write a value, or one of each pixel, at some pixels."""
        lost = int((where & ~self.inside).sum())
        if lost:
            raise fault(path, "mask-affine", f"{lost} of its voxels lie outside of the image")
        at = tuple(i[where] for i in self.index)
        array[at] = value[where] if isinstance(value, np.ndarray) else value


def _target(content: _Content, frame: Frame, grid: Space) -> _Target:
    """Find the voxels of a grid that the pixels of a frame are."""
    rows, columns = np.indices(frame.size)
    if frame.position is None or frame.axes is None:
        if grid.shape != frame.size:
            detail = f"the mask is {frame.size}, its image {grid.shape}"
            raise fault(content.path, "mask-shape", detail)
        return _Target((rows, columns), np.ones(frame.size, bool))
    if len(grid.affine) != 4:
        detail = "it lies in a patient, and its image is a picture without a place"
        raise fault(content.path, "mask-affine", detail)
    spacing = frame.spacing or (1.0, 1.0)
    plane = np.eye(4)[:, [0, 1, 3]]
    plane[:3, 0] = _TO_RAS * frame.axes[0] * spacing[1]
    plane[:3, 1] = _TO_RAS * frame.axes[1] * spacing[0]
    plane[:3, 2] = _TO_RAS * frame.position
    steps = np.linalg.solve(grid.affine, plane)[:3]
    whole = np.rint(steps)
    ends = np.array([[0, 0, 1], [frame.size[1] - 1, 0, 1], [0, frame.size[0] - 1, 1]])
    apart = float(np.abs((steps - whole) @ ends.T).max())
    if apart > _APART:
        raise fault(
            content.path,
            "mask-affine",
            f"a frame of it lies {apart:.2g} voxels beside the grid of its image; resample the one "
            "or the other (data.to_space)",
        )
    moves = whole.astype(int)
    index = tuple(m[0] * columns + m[1] * rows + m[2] for m in moves)
    inside = np.ones(frame.size, bool)
    for along, size in zip(index, grid.shape, strict=True):
        inside &= (along >= 0) & (along < size)
    return _Target(index, inside)


def _own_grid(content: _Content) -> Space:
    """The smallest grid that holds all frames of a segmentation."""
    first = content.frames[0]
    if first.position is None or first.axes is None:
        return Space(first.size, np.diag([*(first.spacing or (1.0, 1.0)), 1.0]))
    normal = np.cross(*first.axes)
    places = np.array([frame.position for frame in content.frames])
    along = places @ normal
    order = np.argsort(along, kind="stable")
    gaps = np.diff(along[order])
    gaps = gaps[gaps > 0.01]
    stated = first.thickness or (float(gaps.min()) if len(gaps) else 1.0)
    # Slices without a frame leave gaps, of which the header's distance knows the number.
    fits = np.all(np.abs(gaps / stated - np.rint(gaps / stated)) <= _APART)
    distance = stated if fits else float(gaps.min())
    counts = np.rint((along[order[-1]] - along[order[0]]) / distance)
    bottom, top = places[order[0]], places[order[-1]]
    step = (top - bottom) / counts if counts else normal * distance
    spacing = first.spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = first.axes[0] * spacing[1], first.axes[1] * spacing[0]
    affine[:3, 2], affine[:3, 3] = step, bottom
    affine[:3] *= _TO_RAS[:, None]
    return Space((first.size[1], first.size[0], int(counts) + 1), affine)
