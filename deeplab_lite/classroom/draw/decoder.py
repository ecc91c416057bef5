"""DeepLab v3+ as a block diagram, with the shape of every map. Lesson 07."""

from collections.abc import Mapping, Sequence
from typing import Any

from deeplab_lite.classroom.draw.axes import GREY, INK, _axes
from deeplab_lite.colors import COLORS

#               x and y of its box: the encoder above, the decoder below
MAPS: dict[str, tuple[float, float]] = {
    "image": (0, 0),
    "low": (1.2, 1),
    "out": (2.4, 0),
    "deep": (3.6, 0),
    "enlarged": (3.6, 0.55),
    "reduced": (2.4, 1),
    "joined": (3.6, 1),
    "refined": (4.8, 1),
    "scores": (6, 1),
    "logits": (7.2, 1),
}
#          from, to, what happens on the way
STEPS = (
    ("image", "out", "VGG-16"),
    ("out", "deep", "ASPP\n3×3"),
    ("image", "low", "after conv3_3"),
    ("low", "reduced", "1×1"),
    ("deep", "enlarged", "× 4"),
    ("reduced", "joined", ""),
    ("enlarged", "joined", ""),
    ("joined", "refined", "3×3\n3×3"),
    ("refined", "scores", "1×1"),
    ("scores", "logits", "× 4"),
)
NEW = {"reduced", "enlarged", "joined", "refined"}  # what v3 has not
WIDE, TALL = 0.9, 0.26


def decoder_diagram(shapes: Mapping[str, Sequence[int]], ax: Any = None) -> Any:
    """v3+ from image to logits; `shapes`: (channels, height, width) of each of MAPS, by name."""
    from matplotlib.patches import Rectangle

    if wrong := set(shapes) ^ set(MAPS):
        raise ValueError(f"shapes of {sorted(wrong)}: expected those of {', '.join(MAPS)}")
    ax = _axes(ax, 9.6, 3)
    text: dict[str, Any] = {"ha": "center", "va": "center", "color": INK}
    for name, (x, y) in MAPS.items():
        color = COLORS["orange"] if name in NEW else COLORS["sky"]
        corner = (x - WIDE / 2, y - TALL / 2)
        ax.add_patch(Rectangle(corner, WIDE, TALL, fc=color, alpha=0.45, lw=0))
        ax.text(x, y - 0.06, name, fontsize=9.5, weight="bold", **text)
        ax.text(x, y + 0.07, " × ".join(map(str, shapes[name])), fontsize=8, **text)
    for start, end, what in STEPS:
        _arrow(ax, MAPS[start], MAPS[end], what)
    ax.set(xlim=(-0.5, 7.7), ylim=(1.2, -0.25))
    ax.axis("off")
    return ax


def _arrow(ax: Any, start: tuple[float, float], end: tuple[float, float], what: str) -> None:
    """Along a row, or down to a box from one above or from the arrow above."""
    (x0, y0), (x1, y1) = start, end
    text = {"fontsize": 8, "color": GREY}
    if y0 == y1:
        x0, x1 = x0 + WIDE / 2, x1 - WIDE / 2
        ax.text((x0 + x1) / 2, y0 - 0.03, what, ha="center", va="bottom", **text)
    else:
        y0, y1 = y0 + (TALL / 2 if x0 == x1 else 0), y1 - TALL / 2
        x0 = x1
        ax.text(x0 + 0.06, (y0 + y1) / 2, what, va="center", **text)
    line = {"arrowstyle": "-|>", "color": GREY, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (x1, y1), (x0, y0), arrowprops=line)
