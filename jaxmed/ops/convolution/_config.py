"""The one setting of the room: which form of the convolution runs."""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax

ConvForm = Literal["auto", "xla", "pure", "onednn"]

# Part of the key of every jit cache: a program traced under another form is traced again.
_context = jax.make_user_context("auto")


class _Restore:
    """What `config` returns: set already; leaving a `with` block sets the old form again."""

    def __init__(self, previous: ConvForm, scoped: Any) -> None:
        self._previous = previous
        self._scoped = scoped

    def __enter__(self) -> None:
        _context.set_global(self._previous)
        self._scoped.__enter__()

    def __exit__(self, *error: object) -> None:
        self._scoped.__exit__(*error)


def config(*, conv: ConvForm) -> _Restore:
    """Chooses the form of every convolution traced from here on.

    Called alone it sets the form for the process; as a context manager it holds
    for the block (and for this thread only). The choice is read when a function
    is traced, and is part of the key under which `jax.jit` keeps what it traced:
    a change traces and compiles again.

    Args:
      conv: ``"auto"``: the fastest known for the platform and the shape (see
        ``docs/performance.md``); ``"xla"``: `jax.lax.conv_general_dilated` and its
        own derivatives; ``"pure"``: the better forms in plain JAX; ``"onednn"``:
        the native kernel, an error where it cannot run.

    Returns:
      An object for a ``with`` statement, or to drop.

    Raises:
      ValueError: the form is unknown.

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
    """The form chosen by `config` at this moment.

    >>> conv_form()
    'auto'
    """
    return _context.value
