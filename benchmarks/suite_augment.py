"""3D augmentation of images and masks: affine and elastic, gamma, noise, bias field.

MONAI's and TorchIO's transforms take volumes one by one, on the CPU, as their pipelines do; on a
GPU ours are compared with that. TorchIO is ``pip install torchio`` (SimpleITK does its resampling).
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np

from benchmarks import _torch
from benchmarks._case import Case, Options, Run, UnavailableError
from benchmarks._jax import normal, program_bytes, waiting
from benchmarks._memory import mark
from jaxmed import augment


def cases(options: Options) -> list[Case]:
    """A batch of volumes; the peers take them one by one, as their transforms do."""
    size, batch = (16, 2) if options.quick else (96, 4)
    data = {
        "image": normal(0, batch, size, size, size, 1),
        "mask": (normal(1, batch, size, size, size) > 1).astype(np.int32),
    }
    sides = {
        "jaxmed": lambda: _ours(data),
        "monai": lambda: _monai(data, options),
        "torchio": lambda: _torchio(data, options),
    }
    return [Case(f"{batch} volumes of {size}^3", sides, items=batch, unit="volumes")]


def _ours(data: dict[str, np.ndarray]) -> Run:
    steps = augment.chain(
        augment.random_affine(rotation=15.0, scale=(0.9, 1.1)),
        augment.elastic(0.03),
        augment.gamma((0.7, 1.5)),
        augment.noise((0.0, 0.1)),
        augment.bias_field(0.3),
    )
    run = jax.jit(steps).lower(jax.random.key(0), data).compile()
    mark()
    batch = jax.device_put(data)
    keys = (jax.random.key(i) for i in itertools.count())
    return waiting(lambda: run(next(keys), batch), memory=program_bytes(run))


def _monai(data: dict[str, np.ndarray], options: Options) -> Run:
    torch = _torch.torch_module(options.threads)
    try:
        from monai import transforms
    except ImportError as error:
        raise UnavailableError("pip install --no-deps monai") from error
    mark()
    both, image = ["image", "mask"], ["image"]
    angle = float(np.pi / 12)
    # Rand3DElastic does the affine part too, in the same resample: MONAI's quickest way.
    steps = transforms.Compose(
        [
            transforms.Rand3DElasticd(
                both,
                sigma_range=(5, 8),
                magnitude_range=(50, 150),
                prob=1.0,
                rotate_range=(angle,) * 3,
                scale_range=(0.1,) * 3,
                mode=["bilinear", "nearest"],
                padding_mode="border",
            ),
            transforms.RandAdjustContrastd(image, prob=1.0, gamma=(0.7, 1.5)),
            transforms.RandGaussianNoised(image, prob=1.0, std=0.1),
            transforms.RandBiasFieldd(image, prob=1.0, coeff_range=(0.0, 0.3)),
        ]
    )
    return _one_by_one(torch, steps, data)


def _torchio(data: dict[str, np.ndarray], options: Options) -> Run:
    torch = _torch.torch_module(options.threads)
    try:
        import torchio
    except ImportError as error:
        raise UnavailableError("pip install torchio") from error
    mark()
    steps = torchio.Compose(
        [
            torchio.RandomAffine(scales=0.1, degrees=15),
            torchio.RandomElasticDeformation(),
            torchio.RandomGamma(),
            torchio.RandomNoise(std=0.1),
            torchio.RandomBiasField(coefficients=0.3),
        ]
    )

    def one(example: dict[str, Any]) -> Any:
        return steps(
            torchio.Subject(
                image=torchio.ScalarImage(tensor=example["image"]),
                mask=torchio.LabelMap(tensor=example["mask"]),
            )
        )

    return _one_by_one(torch, one, data)


def _one_by_one(torch: Any, steps: Any, data: dict[str, np.ndarray]) -> Run:
    examples = [
        {
            "image": torch.from_numpy(np.moveaxis(image, -1, 0).copy()),
            "mask": torch.from_numpy(mask[None].astype(np.float32)),
        }
        for image, mask in zip(data["image"], data["mask"], strict=True)
    ]

    def call() -> None:
        for example in examples:
            steps(dict(example))

    return Run(call)
