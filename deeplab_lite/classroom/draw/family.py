"""The map of the DeepLab family: what each network adds, drops and scores. Lesson 00, section 3."""

from typing import Any, NamedTuple

from deeplab_lite.colors import COLORS


class Member(NamedTuple):
    """A network, as its paper has it."""

    name: str
    about: str  # year, backbone, lessons
    output_stride: int
    also: str  # what else there is to say of the output stride
    adds: tuple[str, ...]
    drops: tuple[str, ...]
    miou: tuple[tuple[str, str], ...]  # per cent on VOC 2012 val, as published, and with what
    color: str


# mIoU: v1 table 1, v2 table 4, v3 table 6, v3+ tables 3 and 5; the ledger has the arXiv ids
FAMILY = (
    Member(
        "VGG-16", "2014 · a classifier", 32, "a single answer",
        ("only 3 × 3 kernels", "five pools of stride 2", "fully connected layers"),
        (),
        (), "#6B7280",
    ),
    Member(
        "DeepLab v1", "2015 · VGG-16", 8, "then × 8, bilinear",
        ("convolutional head", "atrous convolution", "3 × 3 fc6 at rate 12", "dense CRF"),
        ("stride of pools 4 and 5", "7 × 7 fc6"),
        (("62.25", ""), ("67.64", "CRF")), COLORS["blue"],
    ),
    Member(
        "DeepLab v2", "2016 · ResNet-101", 8, "then × 8, bilinear",
        ("ASPP: four rates", "residual backbone", "fusion of three scales", "poly schedule"),
        ("head with a single rate", "step schedule"),
        (("76.35", ""), ("77.69", "CRF")), COLORS["green"],
    ),
    Member(
        "DeepLab v3", "2017 · ResNet-101", 16, "8 at test time",
        ("image pooling", "batch norm in ASPP", "1 × 1 branch", "multi-grid rates"),
        ("dense CRF", "rate 24", "adding up of scores"),
        (("77.21", "stride 16"), ("78.51", "stride 8"), ("79.77", "scales, flip")),
        COLORS["vermillion"],
    ),
    Member(
        "DeepLab v3+", "2018 · Xception", 16, "decoder: 4",
        ("decoder", "low-level features", "atrous separable conv", "adapted Xception"),
        ("a single jump × 16",),
        (("78.85", "ResNet-101"), ("79.93", "Xception")), COLORS["purple"],
    ),
)  # fmt: skip

WIDTH, GAP, LOW, HIGH, SCALE = 186, 15, 60, 81, 14  # pixels; per cent; pixels per cent
STRIDE, LISTS, CHART = 76, 164, 336  # where the rows of the cards begin
GREY, INK, RED = "#4B5563", "#101820", COLORS["vermillion"]


def family(ax: Any = None) -> Any:
    """Five cards from VGG-16 to v3+, their published mIoU below; 1000 pixels wide at 96 dpi."""
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


def _card(ax: Any, left: float, member: Member) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((left, 0), WIDTH, CHART - 14, fc="#F3F5F8", lw=0))
    ax.add_patch(Rectangle((left, 0), WIDTH, 7, fc=member.color, lw=0))
    _write(ax, left + 12, 28, member.name, 13, weight="bold")
    _write(ax, left + 12, 52, member.about, color=GREY)
    for y in (STRIDE - 8, LISTS - 10):
        ax.plot([left + 12, left + WIDTH - 12], [y, y], color="#D5DAE1", lw=1)
    _stride(ax, left + 12, member)
    lines = [("+", COLORS["green"], what) for what in member.adds]
    lines += [("−", RED, what) for what in member.drops]
    for row, (sign, color, what) in enumerate(lines):
        y = LISTS + 9 + 21 * row
        _write(ax, left + 17, y, sign, 12, color=color, weight="bold", ha="center")
        _write(ax, left + 29, y, what, color=GREY if sign == "−" else INK)
    for value, with_what in member.miou:
        level = _height(float(value))
        ax.plot(left + 20, level, "o", ms=7, color=member.color, zorder=3)
        _write(ax, left + 34, level, value, weight="bold", bbox=_ground())
        if with_what:
            _write(ax, left + 82, level, with_what, 9, color=GREY, bbox=_ground())
    if len(member.miou) > 1:
        ends = [_height(float(value)) for value, _ in (member.miou[0], member.miou[-1])]
        ax.plot([left + 20] * 2, ends, color=member.color, lw=2)


def _stride(ax: Any, left: float, member: Member) -> None:
    """A square of 32 pixels with a position in each cell: what the output stride means."""
    from matplotlib.patches import Rectangle

    side, step = 56, 7 * member.output_stride // 4
    for x in range(0, side, step):
        for y in range(0, side, step):
            corner = (left + x + 0.75, STRIDE + 6 + y + 0.75)
            cell = Rectangle(corner, step - 1.5, step - 1.5, fc=member.color, alpha=0.75, lw=0)
            ax.add_patch(cell)
    _write(ax, left + 68, STRIDE + 13, "output stride", 9, color=GREY)
    _write(ax, left + 68, STRIDE + 34, str(member.output_stride), 14, weight="bold")
    _write(ax, left + 68, STRIDE + 56, member.also, 8.5, color=GREY)


def _scale(ax: Any) -> None:
    """Gridlines of the chart, their names where VGG-16, which has no mIoU, leaves room."""
    for value in range(LOW, HIGH, 5):
        ax.plot([196, 1000], [_height(value)] * 2, color="#E1E5EA", lw=1, zorder=0)
        _write(ax, 190, _height(value), str(value), color=GREY, ha="right")
    _write(ax, 4, _height(80) + 2, "mIoU, per cent", 10, weight="bold")
    notes = """Pascal VOC 2012 val,
as published

+ adds   − drops
a square: 32 × 32 pixels,
a cell for each position"""
    for row, text in enumerate(notes.splitlines()):
        _write(ax, 4, _height(80) + 22 + 17 * row, text, 9, color=GREY)


def _height(value: float) -> float:
    return CHART + 8 + (HIGH - value) * SCALE


def _ground() -> dict[str, Any]:
    return {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
