"""The section of a page on an agent's ways through images."""

from __future__ import annotations

from jaxmed.report.figures._episode import episode_figure, episodes_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit
from jaxmed.report.results._episodes import Episode, away, checked_episode, told_distance
from jaxmed.report.results._results import Results

_MOST = 24


def episode_exhibits(results: Results) -> Exhibits:
    """Draw a montage of the ways, and the median and the worst one by themselves."""
    if results.episodes is None or not results.episodes.walks:
        return []
    walks, unit, actions, chosen = results.episodes
    checked = sorted(map(checked_episode, walks), key=lambda e: (e.failed, away(e)))
    ended = [e for e in checked if not e.failed]
    failed = len(checked) - len(ended)
    shown = min(len(checked), _MOST)
    of = "" if shown == len(checked) else f"{shown} of "
    caption = (
        f"{chosen} {of}{len(checked)} episodes, those that came to no end first ({failed}), then "
        "by how far they end from the target."
    ).strip()
    figures = [
        exhibit(
            episodes_figure(walks, unit=unit, most=_MOST), "episodes", caption,
            f"Montage of episodes; {failed} came to no end. Farthest: "
            f"{_told(checked[-1], unit)}; nearest: {_told(checked[0], unit)}.", wide=True,
        )
    ]  # fmt: skip
    middle = ended[(len(ended) - 1) // 2] if ended else None
    for name, words, e in (
        ("median", "The median of the episodes that came to an end", middle),
        ("worst", "The worst episode" if failed else "The episode that ends farthest", checked[-1]),
    ):
        if e is not None and (name == "median" or e is not middle):
            figures.append(
                exhibit(
                    episode_figure(e, unit=unit, actions=actions), f"episode-{name}",
                    f"{words}, {_told(e, unit)}.{_scales(e)}",
                    f"{words}: {_told(e, unit)} after {len(e.path) - 1} steps.", wide=True,
                )
            )  # fmt: skip
    return figures


def _scales(e: Episode) -> str:
    changed = e.scale is not None and len({*e.scale.tolist()}) > 1
    return " Dotted lines: a finer scale begins." if changed else ""


def _told(e: Episode, unit: str) -> str:
    parts = (e.name, told_distance(e, unit), "no end" if e.failed else "")
    return ", ".join(part for part in parts if part)
