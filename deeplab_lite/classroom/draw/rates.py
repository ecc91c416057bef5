"""Settings of a pyramid: its taps on a small map, and a table of scores. Lesson 06."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deeplab_lite.classroom.draw.axes import INK, _axes
from deeplab_lite.colors import COLORS

BRANCHES = (COLORS["blue"], COLORS["vermillion"], COLORS["green"])  # the first, second, third 3x3
MARKS = ("o", "s", "^")
PALE, SKY = np.array([238, 245, 251]), np.array([86, 180, 233])  # of a score of 0, and of the best


def map_taps(
    side: int, unit: tuple[int, int], rates: Sequence[int], ax: Any = None, *, margin: float = 0.25
) -> Any:
    """The taps of up to three 3x3 kernels around `unit` of a side x side map.

    Taps that meet the map are filled, those that fall off it hollow; `margin` is how much of the
    surroundings is shown, as a share of the side.
    """
    ax = _axes(ax, 4.2, 4.2)
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((-0.5, -0.5), side, side, fc="#F3F4F6", ec="#6B7280", zorder=0))
    dots = np.mgrid[:side, :side].reshape(2, -1)
    ax.plot(dots[1], dots[0], ".", color="#9CA3AF", ms=max(1.2, 36 / side), zorder=1)
    reach, size = side * margin + 0.5, min(10, max(5, 110 / side))
    for rate, color, mark in list(zip(rates, BRANCHES, MARKS, strict=False))[::-1]:
        look = {"marker": mark, "color": color, "ms": size, "ls": "none", "zorder": 3}
        places = [(unit[0] + i * rate, unit[1] + j * rate) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        for y, x in places:
            inside = 0 <= y < side and 0 <= x < side
            if -reach <= min(y, x) and max(y, x) <= side - 1 + reach and (y, x) != tuple(unit):
                ax.plot(x, y, **look, mfc=color if inside else "white", clip_on=False)
    ax.plot(unit[1], unit[0], "o", color="black", ms=size, zorder=4)
    ax.set(xlim=(-reach, side - 1 + reach), ylim=(side - 1 + reach, -reach), aspect="equal")
    ax.set_axis_off()
    return ax


def score_table(
    scores: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    at: tuple[int, int],
    dashed: tuple[int, int],
    ax: Any = None,
) -> Any:
    """Scores from 0 to 1 as a table, darker for more.

    The score `at` (row, column) has a frame, the one at `dashed` a dashed frame. Raises ValueError
    where scores are not one for each row and column.
    """
    scores = np.asarray(scores, float)
    if scores.shape != (len(rows), len(columns)):
        raise ValueError(
            f"scores of shape {scores.shape}: expected {len(rows)} rows and {len(columns)} columns"
        )
    ax = _axes(ax, 0.6 * len(columns) + 1, 0.35 * len(rows) + 0.6)
    from matplotlib.patches import Rectangle

    share = scores[..., None] / scores.max()
    ax.imshow((PALE + share * (SKY - PALE)) / 255, aspect="auto")
    for (i, j), score in np.ndenumerate(scores):
        ax.text(j, i, f"{score:.2f}", ha="center", va="center", fontsize=9.5, color=INK)
    for (row, column), color, line in ((dashed, INK, "--"), (at, COLORS["vermillion"], "-")):
        corner = column - 0.5, row - 0.5
        ax.add_patch(Rectangle(corner, 1, 1, fill=False, ec=color, lw=2.5, ls=line))
    ax.set_xticks(range(len(columns)), columns, fontsize=9.5, color=INK)
    ax.set_yticks(range(len(rows)), rows, fontsize=9.5, color=INK)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax
