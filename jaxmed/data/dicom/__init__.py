"""DICOM: series, pixels, geometry, segmentations, identity."""
