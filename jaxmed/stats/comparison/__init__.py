"""Tests between models or groups: paired, unpaired, permuted, corrected for multiplicity."""
