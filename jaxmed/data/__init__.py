"""Data: sources, batches, splits, readers of medical image formats, and phantoms.

A *source* is any object with a length whose items are examples, each a dict of arrays: a dict of
arrays (`ArraySource`), a Grain or tfds source, a list. `batches` divides a source into batches that
are a pure function of the global step; `bag_batches` does so for bags of different sizes,
`balanced_batches` with as many examples of each class. `split` and `folds` are seeded, stratified
and by patient.
Malformed data raise one `DataError` that names the file and the rule; `check` lists all faults of a
data set at once. Nothing here imports JAX: this subpackage runs on the host.
"""

from jaxmed.data import phantoms
from jaxmed.data._error import RULES, DataError, Fault
from jaxmed.data._source import (
    ArraySource,
    ListSource,
    Source,
    as_source,
    case_ids,
    column,
    in_memory,
    map_source,
    subset,
    take,
)
from jaxmed.data.batching._bags import BagBatches, bag_batches
from jaxmed.data.batching._balanced import BalancedBatches, balanced_batches
from jaxmed.data.batching._batches import Batches, batches
from jaxmed.data.batching._members import MemberBatches, member_batches
from jaxmed.data.batching._split import Fold, check_disjoint, folds, split
from jaxmed.data.dicom._segmentation import DicomSegmentation, read_dicom_seg
from jaxmed.data.dicom._series import SeriesInfo, dicom_series, read_dicom
from jaxmed.data.dicom._write_segmentation import write_dicom_seg
from jaxmed.data.formats._read import read_image, read_mask, read_space
from jaxmed.data.formats._segments import read_segments
from jaxmed.data.formats._write import write_mask
from jaxmed.data.formats._write_image import write_image
from jaxmed.data.images._fit import fit_example, fit_image
from jaxmed.data.images._geometry import (
    crop_or_pad,
    crop_or_pad_scan,
    moves_whole_voxels,
    random_patch,
    resample_spacing,
    to_space,
)
from jaxmed.data.images._intensity import normalise
from jaxmed.data.images._landmarks import component_boxes, contact_point, insertion_points
from jaxmed.data.images._mask_labels import MaskLabels
from jaxmed.data.images._segments import Code, Segment
from jaxmed.data.images._space import Scan, Space
from jaxmed.data.interchange._grain import GrainBatches, grain_batches, to_grain
from jaxmed.data.interchange._tfds import TFDSSource, read_tfds, write_tfds
from jaxmed.data.public._bag_tables import bag_table
from jaxmed.data.public._catalogue import MEDMNIST, MedMNIST
from jaxmed.data.public._digits import mnist, usps
from jaxmed.data.public._download import cache_root, data_root, fetch
from jaxmed.data.public._drive import drive
from jaxmed.data.public._isbi2012 import isbi2012
from jaxmed.data.public._lgg import LGGSource, lgg_mri
from jaxmed.data.public._medmnist import ChecksumWarning, medmnist
from jaxmed.data.public._nuclei import NUCLEI, colon_centres, colon_nuclei
from jaxmed.data.public._ucr import ucr
from jaxmed.data.slides._pyramid import write_pyramid
from jaxmed.data.slides._slide import Level, Slide, slide
from jaxmed.data.slides._tiles import TileSource, tiles
from jaxmed.data.slides._tissue import Tissue, tissue
from jaxmed.data.sources._boxes import BoxSource, box_dataset
from jaxmed.data.sources._check import check
from jaxmed.data.sources._dataset import dataset
from jaxmed.data.sources._decathlon import DecathlonSource, decathlon
from jaxmed.data.sources._identity import identity
from jaxmed.data.sources._manifest import ManifestSource, manifest
from jaxmed.data.sources._memory_mapped import MemoryMappedSource, memory_mapped

__all__ = [
    "MEDMNIST",
    "NUCLEI",
    "RULES",
    "ArraySource",
    "BagBatches",
    "BalancedBatches",
    "Batches",
    "BoxSource",
    "ChecksumWarning",
    "Code",
    "DataError",
    "DecathlonSource",
    "DicomSegmentation",
    "Fault",
    "Fold",
    "GrainBatches",
    "LGGSource",
    "Level",
    "ListSource",
    "ManifestSource",
    "MaskLabels",
    "MedMNIST",
    "MemberBatches",
    "MemoryMappedSource",
    "Scan",
    "Segment",
    "SeriesInfo",
    "Slide",
    "Source",
    "Space",
    "TFDSSource",
    "TileSource",
    "Tissue",
    "as_source",
    "bag_batches",
    "bag_table",
    "balanced_batches",
    "batches",
    "box_dataset",
    "cache_root",
    "case_ids",
    "check",
    "check_disjoint",
    "colon_centres",
    "colon_nuclei",
    "column",
    "component_boxes",
    "contact_point",
    "crop_or_pad",
    "crop_or_pad_scan",
    "data_root",
    "dataset",
    "decathlon",
    "dicom_series",
    "drive",
    "fetch",
    "fit_example",
    "fit_image",
    "folds",
    "grain_batches",
    "identity",
    "in_memory",
    "insertion_points",
    "isbi2012",
    "lgg_mri",
    "manifest",
    "map_source",
    "medmnist",
    "member_batches",
    "memory_mapped",
    "mnist",
    "moves_whole_voxels",
    "normalise",
    "phantoms",
    "random_patch",
    "read_dicom",
    "read_dicom_seg",
    "read_image",
    "read_mask",
    "read_segments",
    "read_space",
    "read_tfds",
    "resample_spacing",
    "slide",
    "split",
    "subset",
    "take",
    "tiles",
    "tissue",
    "to_grain",
    "to_space",
    "ucr",
    "usps",
    "write_dicom_seg",
    "write_image",
    "write_mask",
    "write_pyramid",
    "write_tfds",
]
