"""Random streams by name: adding a consumer of randomness changes no other's draws."""

from __future__ import annotations

import zlib

import jax

from jaxmed.core._types import Key


def stream(key: Key, *names: str | int | jax.Array) -> Key:
    """Derive the key of a named random stream.

    Unlike :func:`jax.random.split`, where the order and number of consumers decide what each one
    draws, a stream depends on its name alone.

    Args:
        key: a typed PRNG key, ``jax.random.key(seed)``.
        *names: one or more names, outermost first. A string is hashed (CRC-32, stable across
            processes and Python versions); an integer, traced or not, is folded in as it is.

    Returns:
        The derived key.

    Raises:
        TypeError: if ``key`` is not a typed key, or a name is neither a string nor an integer.

    >>> key = jax.random.key(0)
    >>> bool(stream(key, "dropout", 3) == stream(stream(key, "dropout"), 3))
    True
    >>> bool(stream(key, "dropout") == stream(key, "params"))
    False
    """
    if not hasattr(key, "dtype") or not jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"stream needs a typed key as made by jax.random.key(seed), got {type(key).__name__} "
            f"{getattr(key, 'dtype', '')}"
        )
    if not names:
        raise TypeError("stream needs at least one name")
    for name in names:
        if isinstance(name, str):
            # A salt keeps the hash of a name apart from small integers folded in as they are.
            name = zlib.crc32(b"jaxmed:" + name.encode())
        elif isinstance(name, bool) or not (
            isinstance(name, int)
            or jax.numpy.issubdtype(jax.numpy.result_type(name), jax.numpy.integer)
        ):
            raise TypeError(f"a stream is named by a string or an integer, got {name!r}")
        key = jax.random.fold_in(key, name)
    return key


def streams(key: Key, names: tuple[str, ...]) -> dict[str, Key]:
    """The streams of several names as a dict, the form that Flax takes as ``rngs``."""
    return {name: stream(key, name) for name in names}
