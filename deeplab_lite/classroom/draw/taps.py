"""Pictures of what a kernel or a stack of layers reads. Lessons 01 and 02."""

from typing import Any

import numpy as np

from deeplab_lite.classroom.draw.arrays import _finite
from deeplab_lite.classroom.draw.axes import GREY, INK, _axes
from deeplab_lite.colors import COLORS
from deeplab_lite.receptive_field import trace


def tap_grid(counts: Any, ax: Any = None, *, title: str = "", numbers: bool | None = None) -> Any:
    """A map of tap counts (h, w): the more often a pixel is read the darker; holes are hatched.

    `counts` are integers from 0, as `atrous.tap_counts` gives them. Numbers are written into the
    cells of maps up to 17 wide, or as `numbers` says.
    """
    counts = _finite(counts, "a tap count")
    if (counts < 0).any() or (counts % 1).any():
        raise ValueError("a tap count is negative or not whole: expected integers from 0 (a hole)")
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    height, width = counts.shape
    ax = _axes(ax, 4, 4 * height / width)
    ax.imshow(tap_colors(counts), interpolation="nearest")
    holes = np.argwhere(counts == 0)[:, ::-1].astype(float)
    if len(holes):
        corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
        path = Path((holes[:, None] + corners).reshape(-1, 2), [1, 2, 2, 2, 79] * len(holes))
        ax.add_patch(PathPatch(path, facecolor="none", edgecolor="#B4BAC2", hatch="/////", lw=0))
    if max(counts.shape) <= 31:
        ax.hlines(np.arange(0.5, height - 1), -0.5, width - 0.5, color="white", lw=0.8)
        ax.vlines(np.arange(0.5, width - 1), -0.5, height - 0.5, color="white", lw=0.8)
    if max(counts.shape) <= 17 if numbers is None else numbers:
        dark = tap_shade(counts) > 0.55
        for (y, x), count in np.ndenumerate(counts):
            if count:
                ax.text(
                    x, y, f"{count:.0f}", ha="center", va="center_baseline", zorder=3,
                    color="white" if dark[y, x] else INK,
                    fontsize=min(11, 110 / max(counts.shape)),
                )  # fmt: skip
    ax.set(xticks=[], yticks=[], title=title)
    for spine in ax.spines.values():
        spine.set(visible=True, color="#C9CDD2")
    return ax


def tap_shade(counts: Any) -> np.ndarray:
    """Darkness 0..1 of tap counts: logarithmic, since counts are products. The widget's too."""
    counts = np.asarray(counts, dtype=float)
    return np.log1p(counts) / np.log1p(max(counts.max(), 8))


def tap_colors(counts: Any) -> np.ndarray:
    """Colours (h, w, 3) of tap counts: white for a hole, then pale to deep blue."""
    stops = np.array([[222, 238, 249], [86, 180, 233], [0, 114, 178], [3, 44, 87]], float)
    place = tap_shade(counts) * 3
    ramp = np.stack([np.interp(place, range(4), stops[:, channel]) for channel in range(3)], -1)
    color = np.where(np.asarray(counts)[..., None] > 0, ramp, 255)
    return np.rint(color).astype(np.uint8)


def cone(
    layers: Any,
    n: int,
    unit: int | None = None,
    level: int | None = None,
    *,
    ax: Any = None,
    title: str = "",
) -> Any:
    """The receptive-field cone of one unit of a 1-D stack; arguments as in `taps.trace`.

    Shaded: what the recurrence says the unit can see. Orange: what its taps read; squares are zeros
    of the padding, rings are holes; the bars say on how many paths an input pixel is read.
    """
    from matplotlib.collections import EllipseCollection, LineCollection
    from matplotlib.patches import Polygon

    seen = trace(layers, n, unit, level)
    top, shown = len(seen.sizes) - 1, len(seen.spans) - 1
    unit_ink, tap_ink = COLORS["blue"], COLORS["vermillion"]
    ax = _axes(ax, 7.5, 1.5 + 0.6 * top)

    def place(depth: int, u: Any) -> Any:  # a unit stands above the centre of its field
        size, stride, offset = seen.fields[depth]
        return np.asarray(u) * stride - offset + (size - 1) / 2

    def dots(depth: int, units: Any, **look: Any) -> None:
        spots = np.stack([place(depth, units), np.full(len(units), float(depth))], 1)
        size = np.full(len(units), 0.56)  # in units of x: one input pixel
        where = {"offsets": spots, "offset_transform": ax.transData}
        ax.add_collection(EllipseCollection(size, size, 0 * size, units="x", **where, **look))

    low = min([0.0] + [float(place(d, 0)) for d in range(top + 1) if seen.sizes[d]])
    high = max([n - 1.0] + [float(place(d, s - 1)) for d, s in enumerate(seen.sizes) if s])
    for depth, size in enumerate(seen.sizes):
        dots(depth, np.arange(size), facecolor="#D9DDE2", lw=0, zorder=2)
        name = f"layer {depth}" if depth else "input"
        ax.text(-0.01, depth, name, transform=ax.get_yaxis_transform(), ha="right", va="center")
    for depth, (a, b) in enumerate(seen.spans):
        low, high = min(low, float(place(depth, a))), max(high, float(place(depth, b)))
        inside = np.arange(max(a, 0), min(b + 1, seen.sizes[depth]))
        read = np.asarray(seen.counts[depth])[inside] > 0
        dots(depth, inside[~read], facecolor="white", edgecolor="#8A93A0", lw=0.9, zorder=4)
        dots(depth, inside[read], facecolor=tap_ink if depth < shown else unit_ink, lw=0, zorder=5)
        zeros = place(depth, np.asarray(seen.padded[depth], float))
        mark = min(4.5, 200 / (n + 2 * seen.fields[-1][2]))
        ax.plot(zeros, 0 * zeros + depth, "s", color=tap_ink, mfc="white", ms=mark, zorder=5)
        if depth < shown:
            c, d = place(depth + 1, seen.spans[depth + 1])
            a, b = place(depth, (a, b))
            shape = [(a - 0.5, depth), (c - 0.5, depth + 1), (d + 0.5, depth + 1), (b + 0.5, depth)]
            ax.add_patch(Polygon(shape, color=COLORS["sky"], alpha=0.22, lw=0, zorder=1))
            ends = np.array(seen.edges[depth])
            upper, lower = place(depth + 1, ends[:, 0]), place(depth, ends[:, 1])
            x, y = np.stack([upper, lower], 1), np.broadcast_to([depth + 1, depth], ends.shape)
            lines = np.stack([x, y], 2)
            ax.add_collection(
                LineCollection(list(lines), color=tap_ink, alpha=0.4, lw=0.8, zorder=3)
            )
    if not seen.spans:
        note = {"color": tap_ink, "ha": "center", "transform": ax.transAxes}
        ax.text(0.5, 0.9, "no output: a kernel is wider than the map below it", **note)
    paths = np.asarray(seen.counts[0] if shown > 0 else [0] * n)  # an input pixel reads nothing
    tall = 0.7 * paths / max(paths.max(), 1)
    ax.bar(np.arange(n), -tall, 0.56, bottom=-0.45, color=tap_ink, alpha=0.75, lw=0)
    for at in np.flatnonzero(paths) if high - low < 42 and paths.max() < 100 else ():
        ax.text(at, -0.5 - tall[at], paths[at], ha="center", va="top", fontsize=7.5, color=GREY)
    ax.set(xlim=(low - 1, high + 1), ylim=(-1.7, top + 0.5), xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)
    return ax
