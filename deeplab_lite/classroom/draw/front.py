"""Scores against cost, and the front of those that nothing beats. Lesson 08, section 5."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from deeplab_lite.classroom.draw.axes import _axes
from deeplab_lite.colors import COLORS

GREEN, GREY = COLORS["green"], "#9AA3AF"
GAP = 0.011  # of mIoU, between two names


def front(
    costs: Mapping[str, float],
    scores: Mapping[str, float],
    kept: Sequence[str],
    squares: Container[str] = (),
    xlabel: str = "cost",
    ax: Any = None,
) -> Any:
    """A dot for each network, or a square; a staircase joins those of the front, which have names.

    kept: the front, cheapest first. Its names stand in a column at the left, joined to their dots.
    """
    ax = _axes(ax, 9, 4.2)
    left, right = 0.45 * min(costs.values()), 1.4 * max(costs.values())
    for name, cost in costs.items():
        color = GREEN if name in kept else GREY
        ax.plot(cost, scores[name], "s" if name in squares else "o", color=color, ms=7, zorder=3)
    stairs = [(costs[name], scores[name]) for name in kept]
    stairs.append((right, stairs[-1][1]))
    ax.step(*zip(*stairs, strict=True), where="post", color=GREEN)
    line = {"arrowstyle": "-", "color": GREEN, "lw": 0.7, "alpha": 0.6, "shrinkB": 5}
    height = 0.0
    for name in kept:
        height = max(scores[name], height + GAP)
        ax.text(2 * left, height, f"{name} ", color=GREEN, size=9.5, ha="right", va="center")
        ax.annotate("", (costs[name], scores[name]), (2 * left, height), arrowprops=line)
    shown = [scores[name] for name in costs]
    ax.set(xscale="log", xlim=(left, right), ylim=(min(shown) - 0.02, max(shown) + 0.02))
    ax.set(xlabel=xlabel, ylabel="mIoU")
    ticks = [tick for tick in (0.5, 1, 2, 4, 8, 16) if left < tick < right]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    return ax
