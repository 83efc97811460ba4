"""Boxes: their area and overlap, numbers relative to anchors, other conventions."""
