"""IoU of each class as bars, one network beside another. Lesson 09."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from deeplab_lite.classroom.draw.axes import INK, _axes
from deeplab_lite.colors import COLORS

MEAN = "mIoU"
BARS = ("blue", "orange", "green", "sky")  # of the networks; grey prints keep neighbours apart


def class_bars(scores: Mapping[str, Mapping[str, float]], ax: Any = None) -> Any:
    """One group of bars for each class, its best on top, and their mean below.

    scores: of each network, by its name, the IoU of each class, 0 to 1; up to four networks with
    the same classes. Classes are sorted by the first network. NaN, a class that nothing has, gets
    a dash, comes last, and is left out of the mean.

    Raises ValueError for other numbers of networks, and for classes or scores that are not so.
    """
    table = _table(scores)
    order = np.argsort(-np.nan_to_num(table[0], nan=-1), kind="stable")
    table = np.column_stack([table[:, order], np.nanmean(table, 1)])
    names = [*np.array([*next(iter(scores.values()))])[order], MEAN]
    places = np.arange(len(names), dtype=float)
    places[-1] += 0.45  # the mean stands apart
    ax = _axes(ax, 7.5, 0.8 + 0.13 * len(names) * (1 + len(scores)))
    thick = 0.82 / len(scores)
    for row, (network, values) in enumerate(zip(scores, table, strict=True)):
        ys = places + (row - (len(scores) - 1) / 2) * thick
        ax.barh(ys, np.nan_to_num(values), thick * 0.92, color=COLORS[BARS[row]], label=network)
        for y, value in zip(ys, values, strict=True):
            text = "-" if np.isnan(value) else f"{value:.2f}"
            ax.annotate(
                text, (np.nan_to_num(value), y), (4, 0), textcoords="offset points",
                va="center", size=8.5, color=INK,
            )  # fmt: skip
    ax.axhline(places[-1] - 0.72, color="#6B7280", lw=0.8)
    ax.set_yticks(places, names, color=INK)
    ax.get_yticklabels()[-1].set_fontweight("bold")
    ax.set(xlim=(0, 1.06), ylim=(places[-1] + 0.55, -0.55), xlabel="IoU")
    ax.set_xticks(np.linspace(0, 1, 6))
    ax.tick_params(axis="y", left=False)
    ax.spines["left"].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(axis="x", color="#DDE1E6")
    if len(scores) > 1:
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(scores), borderaxespad=0.2)
    return ax


def _table(scores: Mapping[str, Mapping[str, float]]) -> np.ndarray:
    """Networks x classes, in the order of the first network's classes."""
    if not 1 <= len(scores) <= len(BARS):
        raise ValueError(f"{len(scores)} networks: expected 1 to {len(BARS)} side by side")
    first, classes = next(iter(scores.items()))
    for network, of in scores.items():
        if other := set(of) ^ set(classes):
            raise ValueError(
                f"{min(other)} is a class of only one of {first} and {network}: expected the same"
            )
    table = np.array([[float(of[name]) for name in classes] for of in scores.values()])
    wrong = np.argwhere((table < 0) | (table > 1))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"{list(classes)[column]} of {list(scores)[row]} is {table[row, column]:g}: expected "
            "an IoU from 0 to 1; per cent are divided by 100"
        )
    if np.isnan(table).all(1).any() or not table.size:
        raise ValueError("a network has no score of any class: expected an IoU from 0 to 1")
    return table
