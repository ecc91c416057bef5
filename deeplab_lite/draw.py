"""Pictures: numbers in, picture out. Used by every lesson and every widget.

Functions of arrays return uint8 arrays. Functions that take `ax` draw on it, or on a new pyplot
figure, and return it: a lesson composes them, a widget renders them without pyplot's global state.
"""

import io
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter  # type: ignore[import-untyped]

from .taps import trace

# Okabe and Ito's palette: told apart with every common kind of colour blindness. At most 8 classes.
COLORS = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
}
PALETTE = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in COLORS.values()], np.uint8)
VOID = 255  # the label that no metric and no loss counts
FAINT = "#C9CDD2"  # what is there but not meant to be looked at


def style() -> None:
    """Set matplotlib's defaults for a lesson: white ground, readable sizes, safe colours."""
    import matplotlib as mpl
    from cycler import cycler

    cycle = [COLORS[name] for name in ("blue", "vermillion", "green", "purple", "orange", "sky")]
    mpl.rcParams.update(
        {
            "figure.figsize": (7.5, 3.2),
            "figure.dpi": 96,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "white",
            "font.size": 11,
            "axes.titlesize": 11.5,
            "axes.titlelocation": "left",
            "axes.labelsize": 10.5,
            "axes.edgecolor": "#6B7280",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=cycle),
            "xtick.color": "#4B5563",
            "ytick.color": "#4B5563",
            "xtick.labelsize": 9.5,
            "ytick.labelsize": 9.5,
            "legend.frameon": False,
            "legend.fontsize": 10,
            "lines.linewidth": 2,
            "image.interpolation": "nearest",
            "image.cmap": "viridis",
        }
    )


# ---- arrays ------------------------------------------------------------------------------------


def _photo(image: Any) -> np.ndarray:
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ValueError(
            f"an image of dtype {array.dtype} and shape {array.shape}: expected uint8 (H, W, 3); "
            "a float image in 0..1 is converted by (255 * image).astype('uint8')"
        )
    return array


def _finite(values: Any, what: str) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{what} of shape {array.shape}: expected two dimensions (h, w)")
    if not np.isfinite(array).all():
        y, x = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"{what} is {array[y, x]} at ({y}, {x}): expected finite numbers")
    return array


def _share(alpha: float) -> float:
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha} is not between 0 (photo only) and 1 (colour only)")
    return alpha


def png(array: Any, *, level: int = 1, colors: int | None = None) -> bytes:
    """PNG bytes of a uint8 picture (H, W), (H, W, 3) or (H, W, 4).

    Level 1 is made for sliders (fast), 9 for pictures that are kept (small); `colors` keeps that
    many colours only, which makes a photograph about three times smaller. Raises ValueError if the
    array is not a picture.
    """
    array = np.asarray(array)
    flat = array.ndim == 2
    if array.dtype != np.uint8 or array.size == 0 or not (flat or array.shape[2:] in {(3,), (4,)}):
        raise ValueError(
            f"a picture of dtype {array.dtype} and shape {array.shape}: "
            "expected uint8 (H, W), (H, W, 3) or (H, W, 4)"
        )
    image = Image.fromarray(np.ascontiguousarray(array))
    if colors:
        image = image.convert("RGB").quantize(colors, Image.Quantize.MEDIANCUT)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=level)
    return out.getvalue()


def pixels(figure: Any) -> np.ndarray:
    """The uint8 (H, W, 3) pixels of a matplotlib figure, rendered by Agg whatever the backend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def overlay(
    image: Any, label: Any, alpha: float = 0.5, palette: np.ndarray = PALETTE
) -> np.ndarray:
    """The photo (H, W, 3) with each class of `label` (H, W) tinted and outlined in its colour.

    Class 0 is background and stays as it is; 255 (void) is drawn grey. Raises ValueError when the
    shapes differ or a label has no colour.
    """
    image, label, alpha = _photo(image), np.asarray(label), _share(alpha)
    if label.shape != image.shape[:2] or label.dtype.kind not in "iub":
        raise ValueError(
            f"labels of dtype {label.dtype} and shape {label.shape} on an image of shape "
            f"{image.shape}: expected integers of shape {image.shape[:2]}"
        )
    label, last = label.astype(np.int64), len(palette) - 1
    bad = (label < 0) | ((label > last) & (label != VOID))
    if bad.any():
        y, x = np.argwhere(bad)[0]
        raise ValueError(
            f"label {label[y, x]} at ({y}, {x}): the palette colours 0..{last}, and {VOID} is void"
        )
    table = np.full((VOID + 1, 3), 160, np.uint8)
    table[: last + 1] = palette
    window = 1 + 2 * max(1, max(label.shape) // 320)  # outlines survive a shrunk photo
    edge = maximum_filter(label, window) != minimum_filter(label, window)
    strength = np.where(edge & (label != VOID), max(alpha, 0.95), alpha) if alpha else alpha
    return _blend(image, table[label], np.where(label == 0, 0, strength))


def heat(
    image: Any,
    values: Any,
    alpha: float = 0.85,
    vmin: float | None = None,
    vmax: float | None = None,
    smooth: bool = False,
) -> np.ndarray:
    """The photo in grey under a heat map of `values` (h, w): the higher, the brighter and denser.

    Smaller maps are enlarged to the photo, in square cells that show the map's real resolution, or
    bilinearly with `smooth`. `vmin` and `vmax` fix the scale (default: least and greatest value).
    """
    image, values, alpha = _photo(image), _finite(values, "a heat map"), _share(alpha)
    low = values.min() if vmin is None else vmin
    high = values.max() if vmax is None else vmax
    unit = np.clip((values - low) / (high - low if high > low else 1.0), 0, 1)
    kind = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    size = (image.shape[1], image.shape[0])
    unit = np.asarray(Image.fromarray(unit.astype(np.float32)).resize(size, kind))
    import matplotlib as mpl

    color = 255 * mpl.colormaps["inferno"](0.15 + 0.8 * unit)[..., :3]
    grey = np.repeat((image @ (0.299, 0.587, 0.114))[..., None], 3, axis=2)
    return _blend(0.8 * grey + 25, color, alpha * np.sqrt(unit))


def _blend(under: np.ndarray, over: np.ndarray, weight: np.ndarray) -> np.ndarray:
    weight = weight[..., None]
    return np.rint((1 - weight) * under + weight * over).astype(np.uint8)


# ---- axes --------------------------------------------------------------------------------------


def _axes(ax: Any, width: float, height: float) -> Any:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout="constrained").add_subplot()


def show(image: Any, ax: Any = None, *, title: str = "", margin: float = 0) -> Any:
    """A photo without ticks; around it `margin` pixels of hatched ground, for the padding."""
    image = _photo(image)
    height, width = image.shape[:2]
    ax = _axes(ax, 4.2, 4.2 * height / width)
    if margin:
        ax.set_facecolor("#F3F4F6")
        ax.patch.set(hatch="////", edgecolor="#DDE1E6", linewidth=0)
    ax.imshow(image, interpolation="antialiased", zorder=1)
    ax.set(xlim=(-0.5 - margin, width - 0.5 + margin), ylim=(height - 0.5 + margin, -0.5 - margin))
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)
    return ax


def box(region: Any, ax: Any, color: str = "#E69F00", label: str = "", dashed: bool = False) -> Any:
    """Outline the pixels ((y0, y1), (x0, x1)), both ends included, with a name at the top left."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    (y0, y1), (x0, x1) = (tuple(map(float, side)) for side in region)
    if not (y0 <= y1 and x0 <= x1):
        raise ValueError(f"box {region}: expected ((y0, y1), (x0, x1)) with y0 <= y1 and x0 <= x1")
    halo = [withStroke(linewidth=3.5, foreground="white")]
    look = {"ls": (0, (3, 2))} if dashed else {"path_effects": halo}
    size = (x1 - x0 + 1, y1 - y0 + 1)
    ax.add_patch(
        Rectangle((x0 - 0.5, y0 - 0.5), *size, fill=False, ec=color, lw=2, zorder=3, **look)
    )
    name = {"fontsize": 10, "fontweight": "bold", "path_effects": halo, "zorder": 4}
    offset = {"xytext": (4, -4), "textcoords": "offset points", "annotation_clip": True}
    ax.annotate(label, (x0, y0), color=color, va="top", **name, **offset)
    return ax


def tap_grid(counts: Any, ax: Any = None, *, title: str = "", numbers: bool | None = None) -> Any:
    """A map of tap counts (h, w): the more often a pixel is read the darker; holes are hatched.

    `counts` are integers from 0, as `atrous.tap_counts` gives them. Numbers are written into the
    cells of maps up to 15 wide, or as `numbers` says.
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
    if max(counts.shape) <= 15 if numbers is None else numbers:
        dark = tap_shade(counts) > 0.55
        for (y, x), count in np.ndenumerate(counts):
            if count:
                ax.text(
                    x, y, f"{count:.0f}", ha="center", va="center_baseline", zorder=3,
                    color="white" if dark[y, x] else "#1F2933",
                    fontsize=min(11, 110 / max(counts.shape)),
                )  # fmt: skip
    ax.set(xticks=[], yticks=[], title=title)
    for spine in ax.spines.values():
        spine.set(visible=True, color=FAINT)
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


def cone(layers: Any, n: int, unit: int | None = None, ax: Any = None, *, title: str = "") -> Any:
    """The receptive-field cone of one unit of a 1-D stack; arguments as in `taps.trace`.

    Shaded: what the recurrence says the unit can see. Orange: what its taps read; squares are zeros
    of the padding, rings are holes; the bars say on how many paths an input pixel is read.
    """
    from matplotlib.collections import EllipseCollection, LineCollection
    from matplotlib.patches import Polygon

    seen = trace(layers, n, unit)
    top, unit_ink, tap_ink = len(seen.sizes) - 1, COLORS["blue"], COLORS["vermillion"]
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
        dots(depth, inside[read], facecolor=tap_ink if depth < top else unit_ink, lw=0, zorder=5)
        zeros = place(depth, np.asarray(seen.padded[depth], float))
        ax.plot(zeros, 0 * zeros + depth, "s", color=tap_ink, mfc="white", ms=4, zorder=5)
        if depth < top:
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
    paths = np.asarray(seen.counts[0] if seen.spans else [0] * n)
    tall = 0.7 * paths / max(paths.max(), 1)
    ax.bar(np.arange(n), -tall, 0.56, bottom=-0.45, color=tap_ink, alpha=0.75, lw=0)
    for at in np.flatnonzero(paths) if high - low < 42 and paths.max() < 100 else ():
        ax.text(at, -0.5 - tall[at], paths[at], ha="center", va="top", fontsize=8, color="#4B5563")
    ax.set(xlim=(low - 1, high + 1), ylim=(-1.7, top + 0.5), xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)
    return ax
