"""Legends: what each colour of a picture means, on a figure and as HTML below a widget."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deeplab_lite.classroom.draw.arrays import png, scale

EDGE = "#8A93A0"  # around each swatch: white and black show on white and black pages
LegendRow = tuple[str, Any]  # a name, and its colour: uint8 red, green, blue, or "#rrggbb"


def legend(on: Any, rows: Iterable[LegendRow], columns: int = 6, size: float = 9) -> None:
    """Draw swatches with their names below a figure with constrained layout; no rows, no legend.

    `on` is the figure, or one of its axes: then they stand below that. `columns` is how many stand
    in a line, `size` that of the text in points.
    """
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

    patches = [Patch(fc=hex_color(color), ec=EDGE, lw=0.5, label=name) for name, color in rows]
    place: dict[str, Any] = {"loc": "outside lower left"}
    if isinstance(on, Axes):
        place = {"loc": "upper left", "bbox_to_anchor": (0, 0), "borderpad": 0}
    if patches:
        on.legend(
            handles=patches, ncols=columns, fontsize=size,
            handlelength=1.2, columnspacing=1.4, frameon=False, **place,
        )  # fmt: skip


def legend_html(rows: Iterable[LegendRow], before: str = "", after: str = "") -> str:
    """A line of swatches with their names, between two pale texts; names are escaped."""
    swatch = f"display:inline-block;width:13px;height:13px;border:1px solid {EDGE}"
    items = "".join(
        f'<span style="margin-right:16px;white-space:nowrap"><span style="{swatch};vertical-align:'
        f'-2px;background:{hex_color(color)}"></span> {html.escape(name)}</span>'
        for name, color in rows
    )
    pale = '<span style="opacity:.7;margin-right:10px">{}</span>'
    first, last = (pale.format(html.escape(text)) if text else "" for text in (before, after))
    return f'<div style="line-height:1.7">{first}{items}{last}</div>'


def scale_html(low: str, high: str, alpha: float = 0.85) -> str:
    """A line with the colours of `heat` between what its ends mean."""
    code = base64.b64encode(png(scale(alpha))).decode()
    return (
        f'<div style="line-height:1.7">{html.escape(low)} <img alt="colours of the scale" '
        f'src="data:image/png;base64,{code}" style="display:inline;vertical-align:middle"> '
        f"{html.escape(high)}</div>"
    )


def class_rows(classes: Sequence[str], palette: Any, which: Iterable[int]) -> list[LegendRow]:
    """Rows for some classes; the background, class 0, keeps the image's grey."""
    return [(classes[k], palette[k] if k else "#969696") for k in which]


def titles_html(names: Iterable[str]) -> str:
    """What stands above the pictures of a `strip`."""
    cells = "".join(f'<span style="flex:1">{html.escape(name)}</span>' for name in names)
    return f'<div style="display:flex;gap:4px;font-weight:600">{cells}</div>'


def table_html(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table whose cells are HTML already."""
    cell = '<{0} style="padding:0 18px 0 0;text-align:left;font-weight:normal">{1}</{0}>'
    lines = ["".join(cell.format("th", name) for name in head)]
    lines += ["".join(cell.format("td", text) for text in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<table style="line-height:1.5">{body}</table>'


def kinds(table: Mapping[str, tuple[str, Any]]) -> list[list[str]]:
    """ERRORS or CHANGES as lists for a script: name, meaning, "#rrggbb"."""
    return [[name, meaning, hex_color(color)] for name, (meaning, color) in table.items()]


def kind_rows(table: Mapping[str, tuple[str, Any]]) -> list[LegendRow]:
    """Rows for ERRORS or CHANGES: what each name means, and its colour."""
    return [(f"{name}: {meaning}", color) for name, (meaning, color) in table.items()]


def hex_color(color: Any) -> str:
    """uint8 red, green, blue as "#rrggbb"; a string stays as it is."""
    return color if isinstance(color, str) else "#" + bytes(int(part) for part in color).hex()
