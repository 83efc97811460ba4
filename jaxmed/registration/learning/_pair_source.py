"""Pairs of the scans of a source, drawn by seed and index."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from jaxmed.data import Source
from jaxmed.data._source import Example, about, as_source, case_ids, fingerprint, shown, take

Of = Literal["any", "same", "different"]
_SIDES = ("fixed", "moving")


@dataclass(frozen=True, repr=False)
class PairSource:
    """Pairs of another source's examples; made by :func:`scan_pairs`.

    Attributes:
        source: the scans.
        pairs: (n, 2) positions in it, of the fixed and of the moving scan.
        case_ids: a name a pair.
        groups: None: a pair is of two patients.
        classes: of the source.
        notes: of the source.
    """

    source: Source
    pairs: np.ndarray
    case_ids: Sequence[str]
    groups: None
    classes: Sequence[str]
    notes: Sequence[str]

    def __repr__(self) -> str:
        return shown(self)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Example:
        return _joined(*(self.source[int(i)] for i in self.pairs[index]))

    def take(self, indices: Sequence[int] | np.ndarray) -> Example:
        """Read several pairs at once, stacked."""
        rows = self.pairs[np.asarray(indices, np.int64)]
        return _joined(*(take(self.source, rows[:, side]) for side in range(2)))

    @cached_property
    def made(self) -> str:
        """What tells these pairs from others: the scans, and which are paired."""
        return f"{fingerprint(self.source)} {zlib.crc32(self.pairs.tobytes())}"


def _joined(fixed: Example, moving: Example) -> Example:
    found = {}
    for side, example in zip(_SIDES, (fixed, moving), strict=True):
        for name, value in example.items():
            found[side if name == "image" else f"{side}_{name}"] = value
    return found


def scan_pairs(
    source: Any,
    count: int | None = None,
    *,
    seed: int = 0,
    patients: Of = "any",
    pairs: Sequence[tuple[int, int]] | np.ndarray | None = None,
) -> PairSource:
    """Pair the scans of a source, at random or as told.

    Pair i is a function of ``seed`` and i alone: more of them are the same ones, and more.

    Args:
        source: scans of one shape: a source, or a dict of arrays.
        count: how many pairs are drawn, each of two different scans, in either order.
        seed: of the draws.
        patients: ``"same"``, pairs within a patient, or ``"different"``, by the source's
            ``groups``; ``"any"`` looks at none.
        pairs: (n, 2) positions of the fixed and the moving scan, in place of drawn ones.

    Returns:
        A source whose examples have ``fixed`` and ``moving``, the scans' ``image``, and their other
        fields as ``fixed_mask``, ``moving_mask`` and the like.

    Raises:
        ValueError: neither a count nor pairs or both, positions that there are not, or scans that
            cannot be paired as asked.

    Examples:
        >>> scans = {"image": np.arange(4.0).reshape(4, 1, 1, 1), "mask": np.zeros((4, 1, 1), int)}
        >>> found = scan_pairs(scans, 6, seed=1)
        >>> sorted(found[0])
        ['fixed', 'fixed_mask', 'moving', 'moving_mask']
        >>> scan_pairs(scans, pairs=[(0, 3)]).case_ids
        ('3 onto 0',)
    """
    source = as_source(source)
    if (count is None) == (pairs is None):
        raise ValueError("give how many pairs are drawn (count), or the pairs, one of the two")
    n = len(source)
    if pairs is None:
        if count is None or count < 1:
            raise ValueError(f"count={count}: one pair or more")
        rows = _drawn(_partners(source, patients), count, seed)
    else:
        rows = np.asarray(pairs, np.int64)
        if rows.ndim != 2 or rows.shape[1] != 2 or not len(rows):
            raise ValueError(f"pairs have the shape (n, 2), got {rows.shape}")
        if rows.min() < 0 or rows.max() >= n:
            raise ValueError(f"pairs hold positions from 0 to {n - 1}, got {rows.tolist()}")
    names = case_ids(source)
    kept = about(source)
    kept["case_ids"] = tuple(f"{names[b]} onto {names[a]}" for a, b in rows)
    kept["groups"] = None
    return PairSource(source, rows, **kept)


def _partners(source: Source, patients: Of) -> list[np.ndarray]:
    """Which scans each may be paired with."""
    n = len(source)
    if patients not in ("any", "same", "different"):
        raise ValueError(f"patients={patients!r}; expected 'any', 'same' or 'different'")
    every = np.arange(n)
    if patients == "any":
        found = [every[every != i] for i in every]
    else:
        groups: Any = getattr(source, "groups", None)
        if groups is None:
            raise ValueError(f"patients={patients!r}: the source names no patients (groups)")
        _, whose = np.unique([str(g) for g in groups], return_inverse=True)
        same = whose[:, None] == whose
        apart = same & ~np.eye(n, dtype=bool) if patients == "same" else ~same
        found = [np.flatnonzero(row) for row in apart]
    if not any(map(len, found)):
        raise ValueError(f"of {n} scans none has another to be paired with (patients={patients!r})")
    return found


def _drawn(partners: list[np.ndarray], count: int, seed: int) -> np.ndarray:
    """The pairs of the first indices; scans without a partner are in none."""
    able = np.array([i for i, others in enumerate(partners) if len(others)])
    rows = np.empty((count, 2), np.int64)
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        fixed = able[rng.integers(len(able))]
        rows[index] = fixed, partners[fixed][rng.integers(len(partners[fixed]))]
    return rows
