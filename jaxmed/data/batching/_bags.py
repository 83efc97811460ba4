"""Batches of bags of different sizes, padded to a few bucket sizes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data._source import Example, as_source, case_ids, stack
from jaxmed.data.batching._batches import Batches, batches


@dataclass(frozen=True)
class BagBatches(Batches):
    """Batches of bags; made by `bag_batches`. Shapes differ from batch to batch, by bucket.

    Attributes:
        bag: fields with a leading axis of instances.
        buckets: the numbers of instances to which bags are padded, ascending.
        sizes: (n,) instances of every bag.
    """

    bag: tuple[str, ...] = ("image",)
    buckets: tuple[int, ...] = ()
    sizes: np.ndarray = field(default_factory=lambda: np.zeros(0, int))

    def bucket(self, step: int) -> int:
        """The number of instances to which the bags of a step are padded.

        It is that of the whole global batch, so that processes sharing it agree.
        """
        largest = min(self.sizes[self.indices(step)].max(), self.buckets[-1])
        return next(bucket for bucket in self.buckets if bucket >= largest)

    def _read(self, positions: np.ndarray, rows: np.ndarray, step: int) -> Example:
        bucket, names = self.bucket(step), case_ids(self.source)
        examples = []
        for position, row in zip(positions, rows, strict=True):
            example = dict(self.source[int(position)])
            rng = None
            if self.transform is not None or self.sizes[position] > bucket:
                rng = np.random.default_rng([self.seed, step, int(row)])
            if self.transform is not None and rng is not None:
                example = self.transform(rng, example)
            examples.append(self._padded(example, bucket, rng, names[int(position)]))
        return stack(examples, positions, names)

    def _padded(self, example: Example, bucket: int, rng: Any, name: str) -> Example:
        n = _size(example, self.bag, name)
        if n > bucket and rng is not None:
            # Instances that do not fit are left out at random, different ones at each step.
            chosen = np.sort(rng.permutation(n)[:bucket])
        else:
            # Repeat instances in turn, so that ignoring the mask shows no artificial instances.
            chosen = np.arange(bucket) % n
        padded = {key: np.asarray(example[key])[chosen] for key in self.bag}
        return {**example, **padded, "bag_mask": np.arange(bucket) < n}


def bag_batches(
    source: Any,
    size: int,
    *,
    buckets: int | Sequence[int] | None = None,
    bag: str | Sequence[str] = "image",
    **options: Any,
) -> BagBatches:
    """Divide a source of bags of different sizes into batches, padded to a few sizes.

    Each batch is padded to the smallest bucket that holds its largest bag, so that the number of
    compiled programs is that of the buckets, not of the bag sizes.

    Args:
        source: examples whose bag fields have a leading axis of instances.
        size: bags per batch.
        buckets: numbers of instances, such as ``(16, 64, 256)``. A bag larger than the last is cut
            down to it, other instances chosen at each step. Powers of two up to the largest
            bag by default; with an int, a single bucket.
        bag: the fields that hold instances.
        **options: as in `batches`: ``seed``, ``shuffle``, ``remainder``, ``transform``
            (which must keep the number of instances), ``shard``.

    Returns:
        The batches: bag fields ``(size, bucket, ...)``, padded by repeating a bag's instances;
        ``bag_mask`` ``(size, bucket)``, True for real instances; and all that `batches` gives.

    Raises:
        DataError: an empty bag, or fields of one bag with different numbers of instances.
        ValueError: buckets that are not positive and ascending.

    Examples:
        >>> import numpy as np
        >>> bags = [{"image": np.ones((n, 3)), "label": n > 4} for n in (2, 7, 3)]
        >>> b = bag_batches(bags, 1, shuffle=False)
        >>> [b[step]["image"].shape for step in range(3)]
        [(1, 2, 3), (1, 7, 3), (1, 4, 3)]
        >>> b[2]["bag_mask"].tolist()
        [[True, True, True, False]]
    """
    source = as_source(source)
    fields = (bag,) if isinstance(bag, str) else tuple(bag)
    names = case_ids(source)
    sizes = np.array([_size(source[i], fields, names[i]) for i in range(len(source))])
    if buckets is None:
        top = int(sizes.max())
        powers = 2 ** np.arange(top.bit_length())
        buckets = (*(int(p) for p in powers if p < top), top)
    buckets = (buckets,) if isinstance(buckets, int) else tuple(int(b) for b in buckets)
    if not buckets or buckets[0] < 1 or any(a >= b for a, b in itertools.pairwise(buckets)):
        raise ValueError(f"buckets are positive and ascending, got {buckets}")
    plain = batches(source, size, **options)
    return BagBatches(**vars(plain), bag=fields, buckets=buckets, sizes=sizes)


def _size(example: Example, fields: Sequence[str], name: str) -> int:
    """Return the number of instances of a bag."""
    missing = [field for field in fields if field not in example]
    if missing:
        raise fault(name, "example-shape", f"no field {missing[0]!r}; there are {sorted(example)}")
    shapes = {field: np.shape(example[field]) for field in fields}
    counts = {shape[0] if shape else None for shape in shapes.values()}
    n = counts.pop() if len(counts) == 1 else None
    if n is None:
        raise fault(name, "length", f"the fields of a bag have the shapes {shapes}")
    if n == 0:
        raise fault(name, "non-empty", "the bag has no instances")
    return n
