"""Old public names: each still works, with a warning that names the new one.

A module says which of its names have moved, in one line at its end::

    __getattr__ = deprecated_names(__name__, {"adjust": "adjust_p_values"})

Pure Python: every subpackage may use it, those that stand without JAX too.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def deprecated_names(
    module: str,
    names: Mapping[str, str],
    otherwise: Callable[[str], Any] | None = None,
) -> Callable[[str], Any]:
    """Give a module-level ``__getattr__`` (PEP 562) that serves renamed names with a warning.

    Args:
        module: the module's ``__name__``.
        names: new name of each old one; a name that has left the module is given with its new
            module and a colon: ``{"old": "jaxmed.stats:new"}``.
        otherwise: the module's own ``__getattr__``, asked for names that are not among these.

    Returns:
        A function of a name; raises ``AttributeError`` for a name it does not know.
    """

    def lookup(name: str) -> Any:
        if name in names:
            home, _, new = names[name].rpartition(":")
            home = home or module
            # Level 2 is the line that names it, for `module.old` and for `from module import old`:
            # the frames of the import system between are skipped by `warnings` itself.
            warnings.warn(
                f"{module}.{name} is now {home}.{new}; the old name will be removed in a later "
                "release",
                DeprecationWarning,
                stacklevel=2,
            )
            return getattr(importlib.import_module(home), new)
        if otherwise is not None:
            return otherwise(name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return lookup
