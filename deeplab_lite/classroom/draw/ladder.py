"""The ladder of the family: what each step brings, and what it costs. Lesson 08, section 1."""

from collections.abc import Mapping, Sequence
from typing import Any

from deeplab_lite.colors import COLORS

BETTER, WORSE, SAME = COLORS["green"], COLORS["vermillion"], "#6B7280"
BANDS = {"1": "#9CC9E8", "2": "#56A5D8", "4": "#1F78B4", "8": "#0B3C5D"}  # pixels from an edge
COSTS = {
    "parameters": ("M weights", 1e-6),
    "multiply_adds": ("GMAC", 1e-9),
    "time": ("time", 1.0),
}
Row = Mapping[str, Any]


def ladder(rows: Sequence[Row], figure: Any = None) -> Any:
    """One line for each rung: mIoU and its step, mIoU near edges, weights, multiply-adds, time.

    rows: dicts of `rung`, `against` (a rung above, or ""), `idea`, `miou` with `low` and `high`,
    `gain` with `gain_low` and `gain_high` of the step, `trimap_1` to `trimap_8`, `parameters`,
    `multiply_adds` and `time`, which is shown as it is. An arrow leads from the rung that a rung is
    compared with; it is grey where the step's interval holds 0.

    Raises ValueError for an `against` that is no rung.
    """
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(10, 0.32 * len(rows) + 1.1))
    score = {row["rung"]: float(row["miou"]) for row in rows}
    for row in rows:
        if row["against"] and row["against"] not in score:
            raise ValueError(f"{row['rung']} is against {row['against']!r}, which is no rung")
    steps, near, *costs = figure.subplots(
        1, 2 + len(COSTS), sharey=True, width_ratios=(4, 2.6, *[1] * len(COSTS))
    )
    for y, row in enumerate(rows):
        _step(steps, y, row, score.get(row["against"]))
        values = [float(row[f"trimap_{width}"]) for width in BANDS]
        near.plot(values, [y] * len(values), color="#D5DAE1", lw=2, zorder=1)
        near.scatter(values, [y] * len(values), color=list(BANDS.values()), s=22, zorder=2)
        for ax, (key, (_, unit)) in zip(costs, COSTS.items(), strict=True):
            value = unit * float(row[key])
            ax.barh(y, value, 0.62, color="#C3CAD3")
            ax.text(0, y, f" {value:.2f}" if value < 10 else f" {value:.0f}", va="center", size=8.5)
    steps.set_yticks(range(len(rows)), [row["rung"] for row in rows], size=10, color="#101820")
    steps.set(ylim=(len(rows) - 0.5, -0.5))
    span = max(score.values()) - min(score.values())
    steps.set_xlim(min(score.values()) - 0.22 * span, max(score.values()) + 0.2 * span)
    for ax in (steps, near):
        ax.grid(axis="x", color="#DDE1E6")
    steps.set_title("mIoU, and the step to it")
    near.set_title("mIoU near edges")
    for width, color in BANDS.items():
        near.plot([], [], "o", ms=4.5, color=color, label=width)
    near.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0), ncols=len(BANDS), title="within pixels",
        fontsize=9, title_fontsize=9, handletextpad=0, columnspacing=0.8, borderaxespad=2.2,
    )  # fmt: skip
    for ax, (title, _) in zip(costs, COSTS.values(), strict=True):
        ax.set(title=title, xticks=[])
    for ax in (steps, near, *costs):
        ax.title.set_fontsize(10.5)
        ax.spines[:].set_visible(False)
        ax.tick_params(left=False)
        for y in range(0, len(rows), 2):
            ax.axhspan(y - 0.5, y + 0.5, color="#F3F5F8", lw=0, zorder=0)
    return figure


def _step(ax: Any, y: int, row: Row, base: float | None) -> None:
    """A rung's score with its interval, and the arrow from the rung below."""
    value, low, high = (float(row[key]) for key in ("miou", "low", "high"))
    color = "#101820"
    if base is not None:
        least, most = float(row["gain_low"]), float(row["gain_high"])
        color = BETTER if least > 0 else WORSE if most < 0 else SAME
        ax.plot([base] * 2, [y - 0.25, y + 0.25], color=color, lw=1.5)
        arrow = {"arrowstyle": "-|>", "color": color, "lw": 1.8, "shrinkA": 0, "shrinkB": 3}
        ax.annotate("", (value, y), (base, y), arrowprops=arrow)
        side = 1 if value >= base else -1
        ax.annotate(
            f"{float(row['gain']):+.3f}".replace("-", "−"),
            xy=(value, y),
            xytext=(7 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            size=9,
            color=color,
        )
    ax.plot([low, high], [y, y], color=color, lw=5, alpha=0.35, solid_capstyle="butt")
    ax.plot(value, y, "o", ms=5.5, color=color, zorder=3)
