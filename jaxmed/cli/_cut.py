"""How slides are cut into tiles: options that two commands share, and that load nothing."""

from __future__ import annotations

from typing import Any


def add_cut(parser: Any) -> None:
    """Add how slides are cut into tiles to a parser, or to a group of its options."""
    parser.add_argument(
        "--mpp", type=float, default=0.5, metavar="UM",
        help="micrometres a pixel of a tile, in prediction as in training; 0.5 by default",
    )  # fmt: skip
    parser.add_argument(
        "--overlap", type=float, default=0.0, help="share of an edge that neighbours have in common"
    )
    parser.add_argument(
        "--least", type=float, default=0.5, metavar="SHARE",
        help="least share of a tile's area that is tissue; half by default",
    )  # fmt: skip
    parser.add_argument("--all", action="store_true", help="tiles without tissue too")
    parser.add_argument(
        "--pixel-size", type=float, default=None, metavar="UM",
        help="micrometres a pixel of the slides' files, where they do not say",
    )  # fmt: skip
