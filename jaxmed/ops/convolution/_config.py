"""The convolution setting: which implementation runs."""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax

ConvForm = Literal["auto", "xla", "pure", "onednn"]

# Part of the key of every jit cache: a program traced under another form is traced again.
_context = jax.make_user_context("auto")


class _Restore:
    """Context manager returned by `config`: restores the previous form on exit."""

    def __init__(self, previous: ConvForm, scoped: Any) -> None:
        self._previous = previous
        self._scoped = scoped

    def __enter__(self) -> None:
        _context.set_global(self._previous)
        self._scoped.__enter__()

    def __exit__(self, *error: object) -> None:
        self._scoped.__exit__(*error)


def config(*, conv: ConvForm) -> _Restore:
    """Set the form of every convolution traced from now on.

    Called on its own it sets the form for the process; as a context manager it applies to the
    block (and to this thread only). The choice is read when a function is traced and is part of
    the `jax.jit` cache key: changing it retraces and recompiles.

    Args:
      conv: ``"auto"``: the fastest known for the platform and the shape (see
        ``docs/performance.md``); ``"xla"``: `jax.lax.conv_general_dilated` and its
        derivatives; ``"pure"``: faster rewrites in plain JAX; ``"onednn"``: oneDNN's
        kernel, an error where it cannot run.

    Returns:
      A context manager; it may be ignored.

    Raises:
      ValueError: If the form is unknown.

    >>> with config(conv="pure"):
    ...     conv_form()
    'pure'
    >>> conv_form()
    'auto'
    """
    if conv not in get_args(ConvForm):
        raise ValueError(f"conv={conv!r}: expected one of {', '.join(get_args(ConvForm))}")
    previous = _context.get_global()
    _context.set_global(conv)
    return _Restore(previous, _context(conv))


def conv_form() -> ConvForm:
    """Return the form currently set by `config`.

    >>> conv_form()
    'auto'
    """
    return _context.value
