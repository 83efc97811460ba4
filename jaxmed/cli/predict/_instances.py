"""Label maps of the objects in new images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jaxmed.cli.predict._inputs import Given
from jaxmed.cli.predict._masks import exit_code, targets_of
from jaxmed.data import DataError, write_mask
from jaxmed.data.formats._read import read_channels
from jaxmed.inference import InstanceModel, find_instances


def write(model: InstanceModel, given: Sequence[Given], out: Path | None) -> int:
    """Write each image's objects, numbered from 1, on the grid of its own file."""
    targets = targets_of(given, out, len(model.recipe.patch))
    done = failed = 0
    for one, target in zip(given, targets, strict=True):
        try:
            if one.error:
                raise ValueError(one.error)
            image = read_channels(one.paths, canonical=False)
            labels = find_instances(model, image.array)
        except (DataError, ValueError, OSError) as error:
            print(f"{one.path}: {error}")
            failed += 1
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        write_mask(target, labels, image)
        count = int(labels.max())
        print(f"{target}: {count} object{'' if count == 1 else 's'}")
        done += 1
    return exit_code(done, failed)
