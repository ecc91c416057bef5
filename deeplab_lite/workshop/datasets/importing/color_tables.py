"""Which colour of a mask is which class: the tables of CamVid, Cityscapes and VOC, or a file's."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deeplab_lite.labels import IGNORE
from deeplab_lite.workshop.datasets import voc
from deeplab_lite.workshop.datasets.folder import lines
from deeplab_lite.workshop.datasets.importing.export import IGNORED, VOID
from deeplab_lite.workshop.datasets.pairs import Color

Rows = Sequence[tuple[str, Color]]  # a class may have several colours; "void" is 255

# The 32 classes of CamVid by the eleven that they are merged to; SegNet's own colours as well.
CAMVID = """
Sky          128 128 128
Building     128 0 0      0 128 64      192 0 128    64 0 64       64 192 0
Pole         192 192 128  0 0 64
Road         128 64 128   128 0 192     192 0 64     255 69 0
Pavement     0 0 192      64 192 128    128 128 192  60 40 222
Tree         128 128 0    192 192 0
SignSymbol   192 128 128  128 128 64    0 64 64
Fence        64 64 128
Car          64 0 128     64 128 192    192 128 192  192 64 128    128 64 64
Pedestrian   64 64 0      192 128 64    64 0 192     64 128 64
Bicyclist    0 128 192    192 0 192
void         0 0 0
"""
# Those that Cityscapes scores, and the others as void.
CITYSCAPES = """
road           128 64 128
sidewalk       244 35 232
building       70 70 70
wall           102 102 156
fence          190 153 153
pole           153 153 153
traffic light  250 170 30
traffic sign   220 220 0
vegetation     107 142 35
terrain        152 251 152
sky            70 130 180
person         220 20 60
rider          255 0 0
car            0 0 142
truck          0 0 70
bus            0 60 100
train          0 80 100
motorcycle     0 0 230
bicycle        119 11 32
void           0 0 0    111 74 0    81 0 81    250 170 160   230 150 140  180 165 180
void           150 100 100  150 120 90  0 0 90  0 0 110
"""
NUMBERS = re.compile(r"(?<![\w.#])\d{1,3}(?![\w.])")


def builtin() -> dict[str, Rows]:
    """The tables by name."""
    pascal = [*zip(voc.CLASSES, voc.VOC.palette, strict=True), (VOID, (224, 224, 192))]
    return {
        "camvid": parsed(CAMVID.strip().splitlines(), "camvid"),
        "cityscapes": parsed(CITYSCAPES.strip().splitlines(), "cityscapes"),
        "voc": pascal,
    }


def named(name: str) -> Rows:
    """A table by its name, or of a file: lines of `name r g b`, or `r g b name`, commas or not.

    Raises ValueError for a line without name or without colour, and for one colour twice.
    """
    tables = builtin()
    if name in tables:
        return tables[name]
    if not Path(name).is_file():
        raise ValueError(
            f"no table of colours is called {name!r}: there are {', '.join(tables)}, "
            "and no file is there"
        )
    return parsed(lines(Path(name)), name)


def parsed(rows: Sequence[str], source: str) -> Rows:
    """Rows of text as a table. A first row without numbers is a header; # begins a comment."""
    table: dict[Color, str] = {}
    for number, row in enumerate(row for row in rows if not row.startswith("#")):
        values = [int(each) for each in NUMBERS.findall(row)]
        name = " ".join(NUMBERS.sub(" ", row).replace(",", " ").replace(":", " ").split())
        if not values and number == 0:
            continue
        if not (name and values) or len(values) % 3 or max(values) > IGNORE:
            raise ValueError(f"{source} has the line {row!r}: expected a name and r g b in 0..255")
        for color in zip(*[iter(values)] * 3, strict=True):
            if table.setdefault(color, name) != name:
                raise ValueError(f"{source} gives {table[color]} and {name} the colour {color}")
    return [(name, color) for color, name in table.items()]


def classes_of(table: Rows, names: Sequence[str] = ()) -> tuple[list[str], list[Color]]:
    """The classes in the table's order or in that of `names`, without void; a colour of each.

    Raises ValueError for a class that `names` does not have.
    """
    first: dict[str, Color] = {}
    for name, color in table:
        if name.lower() not in IGNORED:
            first.setdefault(name, color)
    if names and (strange := set(first) - set(names)):
        raise ValueError(f"the table of colours has {min(strange)}, and --classes does not")
    order = list(names or first)
    return order, [first.get(name, (0, 0, 0)) for name in order]


def codes(pixels: np.ndarray) -> np.ndarray:
    """Colours (..., 3) as numbers, r g b as their bytes."""
    wide = pixels.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def covers(table: Rows, pixels: np.ndarray) -> bool:
    """Whether the table has every colour of a picture (H, W, 3)."""
    return bool(np.isin(codes(pixels), codes(np.array([color for _, color in table]))).all())


def numbered(pixels: np.ndarray, table: Rows, classes: Sequence[str]) -> np.ndarray:
    """The class of each pixel of a picture (H, W, 3), uint8, 255 for void.

    Raises ValueError for a colour that the table does not have, naming its place.
    """
    numbers = [classes.index(n) if n.lower() not in IGNORED else IGNORE for n, _ in table]
    known = codes(np.array([color for _, color in table]))
    order = np.argsort(known)
    colors = codes(pixels)
    place = order[np.searchsorted(known, colors, sorter=order).clip(0, len(known) - 1)]
    if (strange := known[place] != colors).any():
        y, x = np.argwhere(strange)[0].tolist()
        color = tuple(pixels[y, x].tolist())
        raise ValueError(
            f"the colour {color} at ({y}, {x}), of {strange.mean():.1%} of the pixels, is in no "
            "line of the table of colours: add it, under the name void if it is no class"
        )
    return np.array(numbers, np.uint8)[place]
