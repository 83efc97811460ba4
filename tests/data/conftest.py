from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

# A left-handed, turned and anisotropic grid: axes swapped and flipped against RAS+.
TURNED = np.array(
    [[0.0, -1.5, 0.0, 40.0], [2.0, 0.0, 0.0, -20.0], [0.0, 0.0, -3.0, 7.0], [0.0, 0.0, 0.0, 1.0]]
)


def save(path, array, affine=TURNED, dtype=None):
    image = nib.Nifti1Image(np.asarray(array, dtype or np.asarray(array).dtype), affine)
    image.set_qform(affine, code=2)
    image.set_sform(affine, code=1)
    image.to_filename(path)
    return path


@pytest.fixture
def save_nifti():
    return save


@pytest.fixture
def turned():
    return TURNED
