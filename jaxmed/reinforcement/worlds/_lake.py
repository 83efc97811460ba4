"""FrozenLake: over ice that may slip, between holes."""

from __future__ import annotations

from collections.abc import Sequence

from jaxmed.reinforcement.worlds._world import World, world_of

_MAPS = {
    4: ("SFFF", "FHFH", "FFFH", "HFFG"),
    8: (
        "SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF",
        "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG",
    ),
}  # fmt: skip
_MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # left, down, right, up


def frozen_lake(lake: int | Sequence[str] = 4, *, slippery: bool = True) -> World:
    """FrozenLake: reach the goal for a reward of 1; a hole ends the episode without.

    Args:
        lake: 4 or 8, for gymnasium's maps of that side; or a map as rows of ``S`` (start), ``F``
            (ice), ``H`` (hole) and ``G`` (goal).
        slippery: whether a step goes to either side of where it was meant to, with a probability
            of 1/3 each.

    Returns:
        The world, a state a field, row by row. Actions are left, down, right, up, as gymnasium
        numbers them. Its episodes are truncated after 100 steps there, 200 on the larger map.

    Raises:
        ValueError: if the map is no rectangle of those letters with one start, or there is none of
            that side.

    >>> frozen_lake()
    World of 16 states and 4 actions
    """
    if isinstance(lake, int) and lake not in _MAPS:
        raise ValueError(f"there are lakes of sides 4 and 8, not {lake}: give a map as rows")
    rows = _MAPS[lake] if isinstance(lake, int) else tuple(lake)
    fields = "".join(rows)
    if len({len(row) for row in rows}) != 1 or set(fields) - set("SFHG") or fields.count("S") != 1:
        raise ValueError(f"a lake is rows of one length of S, F, H and G, with one S; got {rows}")
    height, width = len(rows), len(rows[0])

    def outcomes(state: int, action: int):
        if fields[state] in "HG":
            return [(1.0, state, 0.0, True)]
        found = []
        for turned in (action - 1, action, action + 1) if slippery else (action,):
            down, right = _MOVES[turned % 4]
            row = min(max(state // width + down, 0), height - 1)
            column = min(max(state % width + right, 0), width - 1)
            to = row * width + column
            share = 1 / 3 if slippery else 1.0
            found.append((share, to, float(fields[to] == "G"), fields[to] in "HG"))
        return found

    return world_of(outcomes, len(fields), 4, start=fields.index("S"))
