"""Files of tensors as other libraries write them, of one small network."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np


def write_tensors(root: Path) -> None:
    """Write the same tensors in three formats, each in the folder of its bait."""
    from safetensors.numpy import save_file

    source = Path(__file__).parents[2] / "tests/networks/stored/segresnet.npz"
    with np.load(source) as file:
        tensors = dict(file)
    save_file(tensors, root / "tensors/w.safetensors")
    np.savez(root / "arrays-of-weights/w.npz", **tensors)
    write_torch(root / "torch/w.pth", tensors)


def write_torch(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write tensors as `torch.save` does, without torch: a zip of a pickle and of storages."""

    def text(word: str) -> bytes:
        return b"X" + struct.pack("<I", len(word)) + word.encode()

    def whole(numbers: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"J" + struct.pack("<i", n) for n in numbers) + b"t"

    body = b"\x80\x02}("
    for key, (name, array) in enumerate(tensors.items()):
        steps = tuple(s // 4 for s in np.ascontiguousarray(array, np.float32).strides)
        storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(str(key))
        storage += text("cpu") + b"J" + struct.pack("<i", array.size) + b"tQ"
        body += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage
        body += b"J" + struct.pack("<i", 0) + whole(array.shape) + whole(steps) + b"\x89}tR"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", body + b"u.")
        for key, array in enumerate(tensors.values()):
            archive.writestr(f"w/data/{key}", np.ascontiguousarray(array, np.float32).tobytes())
