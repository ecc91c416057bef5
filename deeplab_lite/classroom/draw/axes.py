"""Pictures on matplotlib axes: the style of the lessons, photographs and boxes on them."""

from typing import Any

import numpy as np

from deeplab_lite.classroom.draw.arrays import heat
from deeplab_lite.colors import COLORS, checked

INK, GREY = "#101820", "#4B5563"  # of text, and of quiet text


def style() -> None:
    """Set matplotlib's defaults for a lesson: white ground, readable sizes, safe colours."""
    import matplotlib as mpl
    from matplotlib.rcsetup import cycler

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
            "xtick.color": GREY,
            "ytick.color": GREY,
            "xtick.labelsize": 9.5,
            "ytick.labelsize": 9.5,
            "legend.frameon": False,
            "legend.fontsize": 10,
            "lines.linewidth": 2,
            "image.interpolation": "nearest",
            "image.cmap": "viridis",
        }
    )


def pixels(figure: Any) -> np.ndarray:
    """The uint8 (H, W, 3) pixels of a matplotlib figure, rendered by Agg whatever the backend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _axes(ax: Any, width: float, height: float) -> Any:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout="constrained").add_subplot()


def show(image: Any, ax: Any = None, *, title: str = "", margin: float = 0) -> Any:
    """A photo without ticks; around it `margin` pixels of hatched ground, for the padding."""
    image = checked(image)
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


def heat_bar(figure: Any, axes: Any, label: str) -> Any:
    """A colour bar from 0 to 1 beside pictures that `heat` made with vmin=0 and vmax=1."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap

    ground = np.full((1, 256, 3), 128, np.uint8)
    ramp = heat(ground, np.linspace(0, 1, 256)[None], vmin=0, vmax=1)[0] / 255
    scale = ScalarMappable(cmap=ListedColormap(ramp))
    return figure.colorbar(scale, ax=axes, label=label, ticks=[0, 0.5, 1])


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
