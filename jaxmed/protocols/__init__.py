"""Protocols."""

from jaxmed.protocols._ledger import Opening, Openings, open_test

__all__ = ["Opening", "Openings", "open_test"]
