"""Two networks on the same scenes: apart, and as a difference. Lesson 08, section 2."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

GREY = "#6B7280"
Interval = tuple[float, float, float]  # value, low, high


def paired(
    shares: Mapping[str, Sequence[float]],
    scores: Mapping[str, Interval],
    step: Interval,
    figure: Any = None,
) -> Any:
    """A dot for each scene; beside it both scores, and below them, on the same scale, the step.

    shares: two networks' shares of right pixels, a number for each scene; scores: their mIoU;
    step: by how much the second is better than the first.
    """
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(9.2, 3.3))
    axes = figure.subplot_mosaic("ab;ac", width_ratios=(1, 1.6))
    (first, second), right = shares, np.array([*shares.values()])
    ends = right.min() - 0.01, 1.005
    axes["a"].plot(ends, ends, color=GREY, lw=1, ls="--")
    axes["a"].plot(*right, "o", color="C0", ms=5, alpha=0.6)
    axes["a"].set(xlabel=f"{first}: right pixels of a scene", ylabel=second, aspect="equal")
    axes["a"].locator_params(nbins=5)
    low, high = min(s[1] for s in scores.values()), max(s[2] for s in scores.values())
    margin = 0.15 * (high - low)
    _intervals(axes["b"], scores, low - margin, high + margin)
    axes["b"].set(xlabel="mIoU")
    start = min(0, step[1]) - 2 * margin
    _intervals(axes["c"], {"step": step}, start, start + high - low + 2 * margin)
    axes["c"].set(xlabel="difference of mIoU, on the same scenes")
    axes["c"].axvline(0, color=GREY, ls="--", lw=1)
    return figure


def _intervals(ax: Any, rows: Mapping[str, Interval], left: float, right: float) -> None:
    for y, (value, low, high) in enumerate(rows.values()):
        ax.plot([low, high], [y, y], lw=6, alpha=0.35, color="C0", solid_capstyle="butt")
        ax.plot(value, y, "o", color="C0")
    ax.set_yticks(range(len(rows)), rows)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlim=(left, right))
    ax.locator_params(axis="x", nbins=7)
    ax.grid(axis="x", color="#E8EBEF")
