"""Pictures of more than 8 bits a number, brought to 8. Lesson 08.

Pillow keeps the upper 8 of 16 bits of colour, and leaves the numbers of many TIFFs as they are.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

DEPTHS = (8, 10, 12, 14, 16)  # bits that scanners, cameras and microscopes store in 16
LEVELS = 32  # of 256: a picture that would keep fewer is stretched
NO_DATA = -9999, 1e30  # and beyond: no measurement, in maps of heights and the like
NO_DATA_TAG = 42113  # of GDAL, in a TIFF: another such value
BITS_TAG, PACKING_TAG, WHITE_TAG, BANDS_TAG, PLANES_TAG, FORMAT_TAG = 258, 259, 262, 277, 284, 339
WHOLE_32, SIGNED_8, WHOLE_16 = (1, 32), (2, 8), (1, 16)  # a TIFF's kind of number, and its bits


def numbers(image: Image.Image, tags: Mapping[int, Any]) -> np.ndarray | None:
    """Grey of more than 8 bits, or 8 with a sign, as the file means it; None for other images."""
    number = tags.get(FORMAT_TAG, (1,))[0], tags.get(BITS_TAG, (8,))[0]
    if image.mode[0] not in "IF" and number != SIGNED_8:
        return None
    values = np.asarray(image)
    if number in (WHOLE_32, SIGNED_8):
        values = values.view(np.uint32 if number == WHOLE_32 else np.int8)
    if number == WHOLE_16 and tags.get(WHITE_TAG) == 0:  # 0 is white: Pillow turns 8 bits only
        values = 2**16 - 1 - values.astype(np.int32)
    return values.astype(np.float32)


def lower_bytes(source: BinaryIO, upright: Callable[[Any], tuple[Any, bool]]) -> np.ndarray:
    """What Pillow drops of 16-bit colours: read in the other byte order, they are what it keeps."""
    image: Any = Image.open(source)
    tags = getattr(image, "tag_v2", {})
    if tags.get(PLANES_TAG) == 2 and tags.get(PACKING_TAG) != 1:
        raise UnidentifiedImageError  # there libtiff chooses the bytes
    read_bands_apart(image)
    grey = raw_mode(image.tile[0]).startswith("LA")
    read_as(image, _other_byte)
    image.load()
    values = np.asarray(upright(image)[0], np.float32)
    return values[..., 1:2] if grey else values[..., :3]


def _other_byte(mode: str) -> str:
    """The raw mode of the other byte order; of grey with alpha, one of all four bytes."""
    if mode.startswith("LA"):
        return "RGBA"
    return mode.replace("RGBa", "RGBA")[:-1] + ("L" if mode.endswith("B") else "B")


def read_bands_apart(image: Any) -> None:
    """Of 16-bit bands that lie one after the other in a TIFF, Pillow would read 8 bits."""
    tags: Any = getattr(image, "tag_v2", {})
    if 16 in tags.get(BITS_TAG, ()) and raw_mode(image.tile[0]) == "R":
        order = "L" if tags.prefix == b"II" else "B"
        read_as(image, lambda mode: f"{mode};16{order}")


def raw_mode(tile: Any) -> str:
    return str(tile.args[0] if isinstance(tile.args, tuple) else tile.args)


def read_as(image: Any, change: Callable[[str], str]) -> None:
    """Make Pillow unpack a file's pixels by another of its raw modes."""
    for i, tile in enumerate(image.tile):
        rest = tile.args[1:] if isinstance(tile.args, tuple) else ()
        image.tile[i] = tile._replace(args=(change(raw_mode(tile)), *rest))


def eight_bits(
    values: np.ndarray, whole: bool, empty: str | None = None
) -> tuple[Image.Image, str]:
    """Whole numbers of 16 or 32 bits, or floats, in 8 bits; and what was done, in words.

    empty: a value that stands for no measurement, as text. Raises ValueError if all do.
    """
    known = np.isfinite(values) & (values > NO_DATA[0]) & (values < NO_DATA[1])
    with suppress(TypeError, ValueError):
        known &= values != np.float32(empty)
    if not known.any():
        raise ValueError("none of its pixels has a value")
    low, high = values[known].min(), values[known].max()
    depth = next((bits for bits in DEPTHS if high < 2**bits), 0) if whole else 0
    top = 2**depth - 1 if whole else 1 if high <= 1 else 255
    if low < 0 or high > max(top, 0) or ((high - low) * 256 < LEVELS * top and low < high):
        change = f"{low:.4g}..{high:.4g} stretched to 8 bits"
    else:
        low, high = 0, top
        change = f"{depth} bits scaled to 8" if whole else f"0..{top} scaled to 8 bits"
    if not known.all():
        change += f", black where it has no value ({1 - known.mean():.1%})"
    scaled = np.where(known, values - low, 0) * (255 / max(high - low, 1e-30))
    return Image.fromarray(np.rint(scaled).clip(0, 255).astype(np.uint8)), change
