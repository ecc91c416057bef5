"""The DeepLab family in a picture: the maps of each network, what it adds and scores. Lesson 00."""

from typing import Any, NamedTuple

from deeplab_lite.classroom.draw.axes import GREY, INK
from deeplab_lite.colors import COLORS


class Member(NamedTuple):
    """A network, as its paper has it."""

    name: str
    about: str  # year and backbone
    strides: tuple[int, ...]  # of its maps, from the image down; repeated where a stage dilates
    branches: tuple[bool, ...]  # of its head, side by side; whether a branch is new
    new_holes: bool  # whether it is the first whose last stages dilate
    decoder: bool
    crf: bool
    adds: tuple[str, ...]
    drops: tuple[str, ...]
    miou: tuple[tuple[str, str], ...]  # per cent on VOC 2012 val, as published, and with what
    color: str


# mIoU: v1 table 1, v2 table 4, v3 table 6, v3+ tables 3 and 5; the ledger has the arXiv ids
FAMILY = (
    Member(
        "VGG-16", "2014 · a classifier", (1, 2, 4, 8, 16, 32), (), False, False, False,
        (), (), (), "#6B7280",
    ),
    Member(
        "DeepLab v1", "2015 · VGG-16", (1, 2, 4, 8, 8, 8), (True,), True, False, True,
        ("a class per position", "atrous convolution", "dense CRF"), (),
        (("62.25", ""), ("67.64", "CRF")), COLORS["blue"],
    ),
    Member(
        "DeepLab v2", "2016 · ResNet-101", (1, 2, 4, 8, 8, 8), (True,) * 4, False, False, True,
        ("ASPP: four rates", "image at three sizes"), (),
        (("76.35", ""), ("77.69", "CRF")), COLORS["green"],
    ),
    Member(
        "DeepLab v3", "2017 · ResNet-101", (1, 2, 4, 8, 16, 16),
        (True, False, False, False, True), False, False, False,
        ("image pooling", "1 × 1 branch"), ("dense CRF",),
        (("77.21", "stride 16"), ("78.51", "stride 8"), ("79.77", "scales, flip")),
        COLORS["vermillion"],
    ),
    Member(
        "DeepLab v3+", "2018 · Xception", (1, 2, 4, 8, 16, 16), (False,) * 5, False, True, False,
        ("decoder", "separable convolutions"), (),
        (("78.85", "ResNet-101"), ("79.93", "Xception")), COLORS["purple"],
    ),
)  # fmt: skip

WIDTH, GAP, LOW, HIGH, SCALE = 186, 15, 60, 81, 14  # pixels; per cent; pixels per cent
MAPS, LIST, CHART = 76, 262, 344  # where the rows of the cards begin
FULL, THICK, STEP = 150, 8, 13  # a map at stride 1, its thickness, from one map to the next
OLD, PALE = "#A3ABB6", "#DDE2E8"


def family(ax: Any = None) -> Any:
    """Five cards from VGG-16 to v3+, their published mIoU below; 1000 pixels wide at 96 dpi.

    In a card a bar is a feature map, as wide as the map; what the paper adds has its colour.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        height = CHART + 26 + (HIGH - LOW) * SCALE
        ax = plt.figure(figsize=(1000 / 96, height / 96), layout="none").add_axes((0, 0, 1, 1))
        ax.set(xlim=(0, 1000), ylim=(height, 0))
    ax.axis("off")
    _scale(ax)
    for at, member in enumerate(FAMILY):
        left = 4 + at * (WIDTH + GAP)
        _card(ax, left, member)
        if at:
            tip = [(left - 3, 30), (left - GAP + 3, 22), (left - GAP + 3, 38)]
            ax.fill(*zip(*tip, strict=True), color=GREY, lw=0)
    return ax


def _write(ax: Any, x: float, y: float, text: str, size: float = 9.5, **look: Any) -> None:
    ax.text(x, y, text, fontsize=size, va="center", **{"color": INK, **look})


def _bar(ax: Any, middle: float, top: float, width: float, color: str) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((middle - width / 2, top), width, THICK, fc=color, lw=0, zorder=2))


def _card(ax: Any, left: float, member: Member) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((left, 0), WIDTH, CHART - 14, fc="#F3F5F8", lw=0))
    ax.add_patch(Rectangle((left, 0), WIDTH, 7, fc=member.color, lw=0))
    _write(ax, left + 12, 28, member.name, 13, weight="bold")
    _write(ax, left + 12, 52, member.about, color=GREY)
    _network(ax, left + WIDTH / 2, member)
    lines = [("+", INK, what) for what in member.adds]
    lines += [("−", GREY, what) for what in member.drops]
    for row, (sign, color, what) in enumerate(lines):
        y = LIST + 9 + 21 * row
        _write(ax, left + 17, y, sign, 12, color=color, weight="bold", ha="center")
        _write(ax, left + 29, y, what, color=GREY if sign == "−" else INK)
    for value, with_what in member.miou:
        level = _height(float(value))
        ax.plot(left + 20, level, "o", ms=7, color=member.color, zorder=3)
        _write(ax, left + 34, level, value, weight="bold", bbox=_halo())
        if with_what:
            _write(ax, left + 82, level, with_what, 9, color=GREY, bbox=_halo())
    if len(member.miou) > 1:
        ends = [_height(float(value)) for value, _ in (member.miou[0], member.miou[-1])]
        ax.plot([left + 20] * 2, ends, color=member.color, lw=2)


def _network(ax: Any, middle: float, member: Member) -> None:
    """The maps from the image at the top to the answer at the bottom."""
    y, above = MAPS, 0
    for stride in member.strides:
        width = FULL / stride
        if stride == above:  # a dilated stage: its kernel's taps stand apart
            color = member.color if member.new_holes else OLD
            for tap in (-1, 0, 1):
                _bar(ax, middle + 7 * tap, y, 4, color)
        else:
            _bar(ax, middle, y, width, OLD)
        y, above = y + STEP, stride
    _write(ax, middle + 22, y - STEP + 3, f"stride {above}", 8.5, color=GREY)
    for at, new in enumerate(member.branches):
        x = middle + 22 * (at - (len(member.branches) - 1) / 2)
        _bar(ax, x, y + 6, 16, member.color if new else OLD)
    if len(member.branches) > 1:
        _write(ax, x + 11, y + 9, "ASPP", 8.5, color=GREY)
    if not member.branches:
        ax.scatter(middle, y + 10, 36, color=OLD, lw=0)
        _write(ax, middle, y + 28, "one answer", 8.5, color=GREY, ha="center")
        return
    y += 6 + STEP
    if member.decoder:
        _decoder(ax, middle, y, member.color)
    else:
        _grow(ax, middle, y, FULL / above, FULL, 40, f"× {above}")
    y += 42
    _bar(ax, middle, y, FULL, OLD)
    if member.crf:
        _bar(ax, middle, y + STEP, FULL, member.color if member.new_holes else OLD)
        _write(ax, middle, y + STEP + 16, "CRF", 8.5, color=GREY, ha="center")


def _grow(
    ax: Any, middle: float, y: float, narrow: float, wide: float, tall: float, text: str
) -> None:
    """Bilinear enlargement: a trapezoid from the small map to the large one."""
    x = [middle - narrow / 2, middle + narrow / 2, middle + wide / 2, middle - wide / 2]
    ax.fill(x, [y, y, y + tall, y + tall], color=PALE, lw=0, zorder=1)
    _write(ax, middle, y + tall - 9, text, 8.5, color=GREY, ha="center")


def _decoder(ax: Any, middle: float, y: float, color: str) -> None:
    """Enlarge by 4, join the early map at stride 4, enlarge by 4."""
    early, at = MAPS + 2 * STEP + THICK / 2, y + 12
    _grow(ax, middle, y, FULL / 16, FULL / 4, 12, "")
    _bar(ax, middle, at, FULL / 4, color)
    _write(ax, middle + 25, at + 3, "decoder", 8.5, color=GREY)
    _grow(ax, middle, at + THICK, FULL / 4, FULL, 20, "× 4")
    side, edge = middle - FULL / 2 + 2, middle - FULL / 8
    ax.plot([edge, side, side], [early, early, at + THICK / 2], color=color, lw=2)
    arrow = {"arrowstyle": "-|>", "color": color, "lw": 2, "shrinkA": 0, "shrinkB": 0}
    ends = ((edge - 2, at + THICK / 2), (side - 1, at + THICK / 2))
    ax.annotate("", *ends, arrowprops=arrow)


def _scale(ax: Any) -> None:
    """Gridlines of the chart, their names where VGG-16, which has no mIoU, leaves room."""
    for value in range(LOW, HIGH, 5):
        ax.plot([196, 1000], [_height(value)] * 2, color="#E1E5EA", lw=1, zorder=0)
        _write(ax, 190, _height(value), str(value), color=GREY, ha="right")
    _write(ax, 4, _height(80) + 2, "mIoU, per cent", 10, weight="bold")
    notes = """Pascal VOC 2012 val,
as published

a bar: a feature map,
as wide as the map
three dashes: made
by dilated kernels
in colour: what is new"""
    for row, text in enumerate(notes.splitlines()):
        _write(ax, 4, _height(80) + 22 + 17 * row, text, 9, color=GREY)


def _height(value: float) -> float:
    return CHART + 8 + (HIGH - value) * SCALE


def _halo() -> dict[str, Any]:
    return {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
