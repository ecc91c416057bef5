"""A network as a chain of layers: its maps upward, its receptive fields downward. Lesson 03."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from deeplab_lite.classroom.draw.axes import GREY, INK
from deeplab_lite.colors import COLORS

LOOKS: dict[str, dict[str, Any]] = {
    "image": {"fc": COLORS["sky"], "alpha": 0.45},
    "conv": {"fc": COLORS["sky"]},
    "dilated": {"fc": "white", "ec": COLORS["vermillion"], "hatch": "-----"},
    "pool": {"fc": "#8A93A0"},
    "full": {"fc": INK},
}


class Column(NamedTuple):
    """A layer in the chain: lengths along one axis, map in units, field in pixels."""

    name: str
    kind: str  # one of LOOKS
    size: int  # 0 for a layer that has no map
    stride: int
    field: int
    width: float  # of its bar, as a share of the column's
    before: tuple[int, int] | None = None  # size and field to compare with, drawn as ticks
    odd: bool = False  # whether its name is marked


def layer_chain(columns: Sequence[Column], chosen: str, ax: Any) -> Any:
    """The chain on `ax`, the image first; the layer called `chosen` stands out."""
    image = columns[0].size
    up = 1 / max(c.size for c in columns)
    most = max(max(c.field, c.before[1] if c.before else 0) for c in columns)
    down = 0.75 / max(image, most)
    roof = -0.36  # below the names and strides
    last: tuple[int, int] = (0, 0)
    for x, c in enumerate(columns):
        on = c.name == chosen
        ink = {"color": COLORS["blue"] if on else INK, "weight": "bold" if on else "normal"}
        text = {"ha": "center", "fontsize": 7}
        if on:
            ax.axvspan(x - 0.5, x + 0.5, color=COLORS["sky"], alpha=0.16, lw=0)
        tall = max(0.012, c.size * up)
        if c.size:
            look = {"ec": "none", "lw": 0, **LOOKS[c.kind]}
            ax.bar(x, tall, c.width, **look)
            if x:
                ax.bar(x, -c.field * down, 0.62, roof, color=COLORS["sky"], alpha=0.35, lw=0)
                end = under = c.field * down
                if c.before and end - 0.01 < c.before[1] * down < end + 0.1:
                    under = c.before[1] * down + 0.02  # clear of the tick
                ax.text(x, roof - under - 0.02, c.field, va="top", **text, **ink)
        else:
            ax.text(x, 0.02, "×", color=COLORS["vermillion"], fontsize=11, ha="center")
        if c.size and (on or c.size != last[0]):
            ax.text(x, tall + 0.015, c.size, va="bottom", **text, **ink)
        if c.before:
            for y, same in (
                (c.before[0] * up, c.before[0] == c.size),
                (roof - c.before[1] * down, c.before[1] == c.field and c.size),
            ):
                if not same:
                    ax.hlines(y, x - 0.46, x + 0.46, color=INK, lw=1, ls=(0, (2, 1.2)))
        name = c.name.replace("conv", "").replace("pool5a", "5a")
        ax.text(x, -0.04, name, va="top", **text, **(ink | ({"color": "#B34700"} if c.odd else {})))
        if on or c.stride != last[1]:
            ax.text(x, -0.16, c.stride, va="top", **text, color=GREY)
        last = (c.size, c.stride)
    ax.axhline(roof - image * down, color=GREY, lw=0.8, ls=":")
    side = {"va": "top", "ha": "left", "fontsize": 7.5, "color": GREY}
    places = ((0.13, "map side"), (-0.04, "layer"), (-0.16, "stride"), (roof - 0.02, "field"))
    for y, word in (*places, (roof - image * down - 0.01, "image")):
        ax.text(-2.5, y, word, **side)
    ax.set(xlim=(-2.5, len(columns) - 0.4), ylim=(roof - 0.85, 1.12), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def unit_on_image(
    image: int, field: tuple[int, int], grid: tuple[float, int, int], taps: Sequence[Any], ax: Any
) -> Any:
    """An image of `image` x `image` pixels from above, with what one unit sees and reads.

    field: its first pixel and side; grid: first centre, stride and count of the map's units; taps:
    (kernel, pixels apart, colour or None for a ring) for each set around the field's middle.
    """
    from matplotlib.patches import Rectangle

    first, side = field
    ax.add_patch(Rectangle((0, 0), image, image, fc="#F3F5F8", ec=GREY, lw=1))
    ax.add_patch(Rectangle((first, first), side, side, fc=COLORS["sky"], alpha=0.35, lw=0))
    start, stride, count = grid
    if stride * 50 > image:  # else they would run together
        at = [start + u * stride for u in range(count)]
        rows, columns = zip(*[(y, x) for y in at for x in at], strict=True)
        ax.plot(columns, rows, ".", color="#8A93A0", ms=2.2, mew=0)
    for kernel, apart, color in taps:
        at = [first + side / 2 + (k - (kernel - 1) / 2) * apart for k in range(kernel)]
        rows, columns = zip(*[(y, x) for y in at for x in at], strict=True)
        look = (
            {"color": color, "ms": 3.2, "mew": 0}
            if color
            else {"mec": INK, "mfc": "none", "ms": 4.5}
        )
        ax.plot(columns, rows, "o", **look)
    low, high = min(0, first), max(image, first + side)
    pad = 0.02 * (high - low)
    ax.set(xlim=(low - pad, high + pad), ylim=(high + pad, low - pad), aspect="equal")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax
