"""The ladder of the family: what each step brings, here and in the papers. Lesson 08, section 4."""

from collections.abc import Mapping, Sequence
from typing import Any

from deeplab_lite.classroom.draw.axes import GREY, INK
from deeplab_lite.colors import COLORS

BETTER, WORSE, SAME = COLORS["green"], COLORS["vermillion"], "#6B7280"
PAPER = COLORS["purple"]
#                  title, unit
COSTS = {"parameters": ("weights, k", 1e-3), "multiply_adds": ("GMAC", 1e-9)}
SHOWN = (-16.0, 11.0)  # points of mIoU; a step below is an arrow at the rim
Row = Mapping[str, Any]


def ladder(rows: Sequence[Row], figure: Any = None) -> Any:
    """One line for each rung: its step in points of mIoU, the papers' step, and what it costs.

    rows: lines of assets/ladder.csv, that is dicts of `rung`, `against` (another rung, or ""),
    `idea`, `paper`, `miou`, `step` with `low` and `high`, `parameters` and `multiply_adds`. A step
    is green where its interval lies above 0, orange where it lies below, and grey where it holds 0.
    A rung against none has no step.

    Raises ValueError for an `against` that is no rung.
    """
    names = {row["rung"] for row in rows}
    for row in rows:
        if row["against"] and row["against"] not in names:
            raise ValueError(f"{row['rung']} is against {row['against']!r}, which is no rung")
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(10, 0.29 * len(rows) + 1.1))
    axes = figure.subplots(1, 5, sharey=True, width_ratios=(4.6, 5, 0.8, 1.3, 1))
    ideas, steps, scores, *costs = axes
    small = {"va": "center", "size": 8.5, "color": INK}
    for y, row in enumerate(rows):
        if row["against"]:
            text = f"{row['idea']}, against {row['against']}"
            ideas.text(0, y, text, **small | {"color": GREY})
            _step(steps, y, row)
        scores.text(0, y, f"{100 * float(row['miou']):.1f}", **small)
        for ax, (key, (_, unit)) in zip(costs, COSTS.items(), strict=True):
            value = unit * float(row[key])
            ax.barh(y, value, 0.62, color="#C3CAD3")
            ax.text(0, y, f" {value:.2f}" if value < 10 else f" {value:.0f}", **small)
    ideas.set_yticks(range(len(rows)), [row["rung"] for row in rows], size=9.5, color=INK)
    ideas.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, 1))
    steps.set(xlim=SHOWN, xticks=range(-15, 11, 5))
    steps.axvline(0, color=INK, lw=0.8, zorder=1)
    steps.grid(axis="x", color="#DDE1E6")
    steps.plot([], [], "o", ms=5.5, color=BETTER, label="our step, with its interval")
    steps.plot([], [], "D", ms=5, mfc="none", color=PAPER, label="the paper's")
    steps.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, fontsize=9, borderaxespad=2.2
    )
    titles = ("what changes", "step, in points of mIoU", "mIoU", *(c[0] for c in COSTS.values()))
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=9)
        ax.spines[:].set_visible(False)
        ax.tick_params(left=False)
        if ax is not steps:
            ax.set_xticks([])
        for y in range(0, len(rows), 2):
            ax.axhspan(y - 0.5, y + 0.5, color="#F3F5F8", lw=0, zorder=0)
    return figure


def _step(ax: Any, y: int, row: Row) -> None:
    """The step with its interval, and the diamond of the paper's."""
    value, low, high = (100 * float(row[key]) for key in ("step", "low", "high"))
    color = BETTER if low > 0 else WORSE if high < 0 else SAME
    beside = high + 0.5
    if row["paper"]:
        paper = float(row["paper"].split()[0])
        beside = max(beside, paper + 1.1)
        ax.plot(paper, y, "D", ms=5, mfc="none", color=PAPER, zorder=4)
    if value < SHOWN[0]:
        beside = max(beside, SHOWN[0] + 2.1)
        arrow = {"arrowstyle": "-|>", "color": color, "lw": 1.8, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", (SHOWN[0] + 0.1, y), (SHOWN[0] + 1.6, y), arrowprops=arrow)
    else:
        ax.plot([low, high], [y, y], color=color, lw=5, alpha=0.35, solid_capstyle="butt")
        ax.plot(value, y, "o", ms=5.5, color=color, zorder=3)
    text = f"{value:+.1f}".replace("-", "−")
    ax.text(beside, y, text, va="center", size=8.5, color=color)
