"""Packages that only some formats need, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any


class MissingPackage(ModuleNotFoundError):
    """A package of an extra is not installed; the message names the extra."""


def optional(module: str, what: str, *, extra: str = "formats") -> Any:
    """Import a module of an extra.

    Args:
        module: its name, such as ``"pydicom"``.
        what: what needs it, for the message.
        extra: the extra of this package that installs it.

    Raises:
        MissingPackage: it is not installed. `reading` converts it into a fault of rule
            ``codec-missing``.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingPackage(
            f"{what} needs the package {package}: pip install 'jaxmed[{extra}]'", name=package
        ) from error
