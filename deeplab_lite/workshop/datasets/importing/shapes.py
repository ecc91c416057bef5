"""Regions of a label map: polygons, ellipses, and masks as run lengths.

Coordinates are continuous: the first pixel reaches from 0 to 1, and belongs to a region that holds
its centre.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from skimage import draw

from deeplab_lite.tables import some
from deeplab_lite.workshop.datasets.importing.export import Fault, Paint


def polygon(points: Sequence[Sequence[float]]) -> Paint:
    """The inside of a polygon with corners (x, y). Raises Fault for what is no corner."""
    corners = np.array(points, float)
    if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
        raise Fault(f"a polygon has the corners {some(points)}: expected x, y of each")
    x, y = corners.T - 0.5

    def paint(label: np.ndarray, number: int) -> None:
        label[draw.polygon(y, x, label.shape)] = number

    return paint


def rectangle(
    left: float,
    top: float,
    right: float,
    bottom: float,
    turn: float = 0,
    pivot: tuple[float, float] | None = None,
) -> Paint:
    """A box, turned clockwise by so many degrees about its centre, or about another pivot."""
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    px, py = pivot or ((left + right) / 2, (top + bottom) / 2)
    corners = [(left - px, top - py), (right - px, top - py)]
    corners += [(right - px, bottom - py), (left - px, bottom - py)]
    return polygon([(px + x * cosine - y * sine, py + x * sine + y * cosine) for x, y in corners])


def ellipse(x: float, y: float, radius_x: float, radius_y: float, turn: float = 0) -> Paint:
    """An ellipse about (x, y), turned clockwise by so many degrees."""

    def paint(label: np.ndarray, number: int) -> None:
        where = draw.ellipse(
            y - 0.5, x - 0.5, radius_y, radius_x, label.shape, rotation=-math.radians(turn)
        )
        label[where] = number

    return paint


def several(parts: Sequence[Paint]) -> Paint:
    """Regions that make one together."""

    def paint(label: np.ndarray, number: int) -> None:
        for part in parts:
            part(label, number)

    return paint


def bitmap(unpack: Callable[[], np.ndarray], left: int = 0, top: int = 0) -> Paint:
    """The pixels where a mask (h, w), unpacked when it is painted, is true; corner (left, top)."""

    def paint(label: np.ndarray, number: int) -> None:
        mask = unpack()
        height, width = mask.shape
        if left < 0 or top < 0 or left + width > label.shape[1] or top + height > label.shape[0]:
            raise Fault(
                f"a mask of {width} x {height} at ({left}, {top}) for a picture of "
                f"{label.shape[1]} x {label.shape[0]}"
            )
        label[top : top + height, left : left + width][mask] = number

    return paint


def from_runs(counts: Sequence[int], height: int, width: int, by_column: bool) -> np.ndarray:
    """A mask (height, width) from lengths of runs of 0, 1, 0, 1, ..., in rows or in columns.

    Raises Fault unless they fill it.
    """
    if sum(counts) != height * width or min(counts, default=0) < 0:
        raise Fault(f"runs of {sum(counts)} pixels for a mask of {width} x {height}")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T if by_column else flat.reshape(height, width)


def unpacked(text: str) -> list[int]:
    """The run lengths in COCO's compressed form: ten lines, where pycocotools is compiled C.

    A character less 48 has five bits of a number, the lowest first; 32 says that more follow, and
    16 in the last that the number is negative. From the fourth on, numbers are differences to the
    run of the same kind before.
    """
    counts: list[int] = []
    value = shift = 0
    for code in text.encode():
        bits = code - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << shift - 4
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts


def from_brush(rle: Sequence[int], height: int, width: int) -> np.ndarray:
    """A mask (height, width) of Label Studio's brush: the alpha of RGBA, packed in bits.

    32 bits say how many values there are, 5 how wide one is, four times 4 how wide a length can be,
    all but the first less one. Then a run comes after the other: a bit that says whether one value
    is repeated, 2 bits for the width of the length, the length less one, and the value or values.

    Raises Fault where the values are not 4 for each pixel.
    """
    bits = "".join(f"{byte:08b}" for byte in rle)
    place = 0

    def number(width: int) -> int:
        nonlocal place
        place += width
        return int(bits[place - width : place] or "0", 2)

    total, depth = number(32), number(5) + 1
    widths = [number(4) + 1 for _ in range(4)]
    if total != 4 * height * width or depth != 8:
        raise Fault(f"a brush of {total} values for 4 x {width} x {height}")
    values = bytearray()
    while len(values) < total and place < len(bits):
        repeated, which = number(1), number(2)
        length = number(widths[which]) + 1
        values += bytes([number(8)]) * length if repeated else _octets(bits, place, length)
        place += 0 if repeated else 8 * length
    if len(values) != total:
        raise Fault(f"a brush that ends after {len(values)} of {total} values")
    return np.frombuffer(values, np.uint8).reshape(height, width, 4)[..., 3] > 127


def _octets(bits: str, place: int, count: int) -> bytes:
    part = bits[place : place + 8 * count]
    return int(part, 2).to_bytes(len(part) // 8, "big") if part else b""
