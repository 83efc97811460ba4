"""Records: numbers and categories of a patient, some of them missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._convolution import at_least_float32
from jaxmed.networks.vision.classifiers._mlp import MLP


class Tabular(nn.Module):
    """Multi-layer perceptron on records of numbers and categories, any of which may be missing.

    A number is standardised; a missing one (NaN) counts as the mean, with a second input that says
    so. A category has a learned vector for each of its values, and one for missing or unknown.

    Attributes:
        columns: what each column holds: 0 for a number, k for a category of codes 0 to k - 1.
        classes: number of logits; None for a trunk without a head.
        center: subtracted from each column's numbers; zeros if None.
        scale: what they are then divided by; ones if None.
        embedding: length of a category's vector.
        hidden: widths of the hidden layers.
        norm: normalisation, see :func:`make_norm`.
        dropout: dropout rate after each hidden layer.
        dtype: dtype of the computation; parameters, `features` and `logits` are float32.
    """

    columns: tuple[int, ...]
    classes: int | None = None
    center: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    embedding: int = 4
    hidden: tuple[int, ...] = (64,)
    norm: str | Callable[..., nn.Module] = "none"
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, columns)` to `features` `(batch, hidden[-1])` and `logits`.

        Raises:
            ValueError: if the record, or center or scale, has another number of columns.
        """
        x, n = at_least_float32(x), len(self.columns)
        if x.ndim != 2 or x.shape[1] != n:
            raise ValueError(
                f"records must be (batch, {n}), one for each of columns, not {x.shape}"
            )
        for name, values in (("center", self.center), ("scale", self.scale)):
            if values is not None and len(values) != n:
                raise ValueError(f"{name} has {len(values)} values for {n} columns")
        missing = jnp.isnan(x)
        parts = []
        numbers = [i for i, k in enumerate(self.columns) if not k]
        if numbers:
            center = np.zeros(n) if self.center is None else np.asarray(self.center)
            scale = np.ones(n) if self.scale is None else np.asarray(self.scale)
            gone = missing[:, numbers]
            known = jnp.where(gone, jnp.float32(center[numbers]), x[:, numbers])
            parts += [(known - center[numbers]) / scale[numbers], gone.astype(jnp.float32)]
        for i, k in enumerate(self.columns):
            if k:
                code = jnp.where(missing[:, i], -1, x[:, i]).astype(jnp.int32)
                code = jnp.where((code >= 0) & (code < k), code, k)
                table = self.param(
                    f"category{i}", nn.initializers.normal(0.5), (k + 1, self.embedding)
                )
                parts.append(jax.nn.one_hot(code, k + 1) @ table)
        body = MLP(self.classes, self.hidden, self.norm, self.dropout, self.dtype, name="body")
        return body(jnp.concatenate(parts, axis=1).astype(jnp.float32), train=train)


def tabular(
    columns: tuple[int, ...],
    classes: int | None = None,
    *,
    fitted_to: np.typing.ArrayLike | None = None,
    **options: Any,
) -> Tabular:
    """Create a network on records; see :class:`Tabular` for the options.

    Args:
        columns: what each column holds: 0 for a number, k for a category of k values.
        classes: number of logits; None for a trunk without a head.
        fitted_to: records ``(cases, columns)`` of the training cases, by whose means and standard
            deviations numbers are standardised.
        **options: of :class:`Tabular`.

    Raises:
        ValueError: if the records have another number of columns.

    >>> import jax, jax.numpy as jnp
    >>> records = np.array([[61.0, 0], [np.nan, 2], [43.0, np.nan]])
    >>> net = tabular((0, 3), 2, fitted_to=records, hidden=(8,))
    >>> net.center, net.scale
    ((52.0, 0.0), (9.0, 1.0))
    >>> params = net.init(jax.random.key(0), jnp.asarray(records))
    >>> net.apply(params, jnp.asarray(records))["logits"].shape
    (3, 2)
    """
    if fitted_to is not None:
        rows = np.asarray(fitted_to, np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(columns):
            raise ValueError(
                f"fitted_to must be (cases, {len(columns)}), one column for each of columns, not "
                f"{rows.shape}"
            )
        center, scale = [], []
        for values, k in zip(rows.T, columns, strict=True):
            known = values[np.isfinite(values)] if not k else np.zeros(0)
            spread = float(known.std()) if known.size else 0.0
            center.append(float(known.mean()) if known.size else 0.0)
            scale.append(spread if spread > 0 else 1.0)
        options = {"center": tuple(center), "scale": tuple(scale), **options}
    return Tabular(tuple(columns), classes, **options)
