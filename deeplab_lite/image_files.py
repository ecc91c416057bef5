"""Any picture file that Pillow reads, as the networks take it: RGB, upright, 8 bits. Lesson 08.

Everything happens in this process: nothing is uploaded, and no file is written.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import psutil
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

MAX_PIXELS = 50_000_000  # after decoding: some 200 MB
BYTES = 20  # of memory for a pixel: decoded, as an array, converted, its label, its overlay
GREY = (128, 128, 128)  # under what is transparent
LEFT_OUT = {"EPS", "WMF"}  # Pillow hands these to other programs, which would run them
Image.init()
FORMATS = sorted(set(Image.OPEN) - LEFT_OUT)
DEPTHS = (8, 10, 12, 14, 16)  # bits that scanners, cameras and microscopes store in 16
NO_DATA = -9999, 1e30  # and beyond: no measurement, in maps of heights and the like
NO_DATA_TAG = 42113  # of GDAL, in a TIFF: another such value
BITS_TAG, BANDS_TAG, FORMAT_TAG = 258, 277, 339
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how such a file begins


class Photo(NamedTuple):
    """A picture, and what was changed in reading it."""

    image: np.ndarray  # uint8 (H, W, 3), RGB
    source: str  # "PNG, 4000 x 3000"
    changes: tuple[str, ...]  # "turned upright", "shrunk to 129 x 97"; () if it came as it is

    def __str__(self) -> str:
        return ", ".join((self.source, *self.changes))


def read(
    file: bytes | memoryview | str | Path, largest: int | None = 513, limit: int | None = None
) -> Photo:
    """A picture from its bytes or its path, as it is meant to be seen. Lesson 08.

    Turned upright as EXIF says; in sRGB where it carries a colour profile; on grey where it is
    transparent; the first frame of an animation; 16 bits and floats scaled to 8. Where a side is
    longer than `largest` it is shrunk; None keeps the size. It may have `limit` pixels, by default
    MAX_PIXELS, after decoding.

    Raises ValueError, in one sentence, for what is no picture, is damaged or too large; OSError
    where the path cannot be read.
    """
    limit = limit or MAX_PIXELS
    name = Path(file).name if isinstance(file, str | Path) else "this file"
    with _stream(file) as source, _own_limit(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _read(source, largest, limit)
        except UnidentifiedImageError:
            source.seek(0)
            if source.read(4) in TIFF:
                raise ValueError(
                    f"{name} is a TIFF whose bands or numbers are not read here: save red, green "
                    "and blue, as `gdal_translate -b 1 -b 2 -b 3 -ot Byte -scale -co "
                    "PHOTOMETRIC=RGB IN OUT` does"
                ) from None
            raise ValueError(
                f"{name} is not an image that can be read here: save it as JPEG, PNG, WebP, TIFF, "
                "GIF or BMP"
            ) from None
        except Image.DecompressionBombError:
            text = f"more than {limit / 1e6:.0f} million pixels: save it smaller first"
            raise ValueError(f"{name} has {text}") from None
        except Exception as error:  # decoders raise anything on damaged files
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
            raise ValueError(
                f"{name} cannot be decoded ({reason}): if it is damaged or cut short, copy it "
                "again; if not, save it as PNG"
            ) from error


def room() -> int:
    """Pixels of the largest picture: as many as the free memory has room for, and MAX_PIXELS."""
    return max(MAX_PIXELS, psutil.virtual_memory().available // BYTES)


def shrunk(image: np.ndarray, largest: int) -> np.ndarray:
    """An RGB array (H, W, 3) with sides of at most `largest`; a smaller one as it is."""
    picture = Image.fromarray(image)
    picture.thumbnail((largest, largest), Image.Resampling.LANCZOS, reducing_gap=None)
    return np.array(picture)


def _stream(file: bytes | memoryview | str | Path) -> BinaryIO:
    return Path(file).open("rb") if isinstance(file, str | Path) else io.BytesIO(file)


@contextmanager
def _own_limit() -> Iterator[None]:
    """Without Pillow's limit of 179 million pixels: `_read` has one before it decodes."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _read(source: BinaryIO, largest: int | None, limit: int) -> Photo:
    image: Image.Image = Image.open(source, formats=FORMATS)
    kind, (width, height), changes = image.format, image.size, []
    largest = largest or max(width, height)
    if kind == "MPO":  # a JPEG, and a second view or a preview behind it
        kind = "JPEG"
    elif getattr(image, "is_animated", False):
        changes.append("its first frame")
    image.draft(None, (2 * largest, 2 * largest))  # a JPEG is decoded at 1/2, 1/4 or 1/8
    if image.width * image.height > limit:
        raise Image.DecompressionBombError
    _read_bands_apart(image)
    raw_modes = [_raw_mode(tile) for tile in getattr(image, "tile", [])]
    deep = any(re.match("[RGB].*;16|LA;16", mode) for mode in raw_modes)
    if kind == "TIFF":  # its fourth band is left out, so the others are not divided by it
        _read_as(image, lambda mode: mode.replace("RGBa", "RGBA"))
    tags: Any = getattr(image, "tag_v2", {})
    empty, bands = tags.get(NO_DATA_TAG), tags.get(BANDS_TAG, 1)
    image.load()  # of 16 bits of colour, the upper 8
    image, turned = _upright(image)
    if image.mode[0] in "IF":
        values = np.asarray(image)
        if tags.get(BITS_TAG) == (32,) and tags.get(FORMAT_TAG, (1,)) == (1,):
            values = values.view(np.uint32)
        image, change = _eight_bits(values.astype(np.float32), image.mode[0] == "I", empty)
        changes.append(change)
    elif deep and ((high := np.asarray(image, np.float32)[..., :3]).max() < 2**6 or empty):
        scaled, change = _eight_bits(256 * high + _lower_bytes(source), True, empty)
        if image.mode == "RGBA":
            alpha = image.getchannel("A")
            most = int(np.asarray(alpha).max())
            scaled.putalpha(alpha if most >= 2**6 else alpha.point(lambda a: a * 255 // most))
        image = scaled
        changes.append(change)
    if kind == "TIFF" and image.mode == "RGBA":
        image = image.convert("RGB")  # the fourth is often near infrared
    if bands > (kept := len(image.getbands())):
        more = "its fourth band" if bands == 4 else f"{bands - kept} of its {bands} bands"
        changes.append(f"{more} left out")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        clear = np.asarray(image)[..., 3]
        least, most = clear.min(), clear.max()
        if least == 255 or most == 0:  # a picture that is clear all over is not meant to be
            image = image.convert("RGB")
        if most == 0:
            changes.append("its alpha, 0 everywhere, left out")
        elif least < 255:
            changes.append("what is transparent laid on grey")
    elif image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    image.thumbnail((largest, largest), Image.Resampling.LANCZOS, reducing_gap=3)
    image = _srgb(image)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*GREY, 255)), image)
    if turned:
        changes.append("turned upright")
    if max(image.size) < max(width, height):
        changes.append(f"shrunk to {image.width} x {image.height}")
    return Photo(np.array(image.convert("RGB")), f"{kind}, {width} x {height}", tuple(changes))


def _upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image as its EXIF says that the camera was held; whether that turned it."""
    with suppress(Exception):  # damaged EXIF is no reason to refuse the picture
        if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
            return ImageOps.exif_transpose(image), True
    return image, False


def _lower_bytes(source: BinaryIO) -> np.ndarray:
    """What Pillow drops of 16-bit colours: read in the other byte order, they are what it keeps."""
    image: Any = Image.open(source, formats=FORMATS)
    _read_bands_apart(image)
    grey = _raw_mode(image.tile[0]).startswith("LA")
    _read_as(image, _other_byte)
    image.load()
    values = np.asarray(_upright(image)[0], np.float32)
    return values[..., 1:2] if grey else values[..., :3]


def _other_byte(mode: str) -> str:
    """The raw mode of the other byte order; of grey with alpha, one of all four bytes."""
    if mode.startswith("LA"):
        return "RGBA"
    return mode.replace("RGBa", "RGBA")[:-1] + ("L" if mode.endswith("B") else "B")


def _read_bands_apart(image: Any) -> None:
    """Of 16-bit bands that lie one after the other in a TIFF, Pillow would read 8 bits."""
    tags: Any = getattr(image, "tag_v2", {})
    if 16 in tags.get(BITS_TAG, ()) and _raw_mode(image.tile[0]) == "R":
        order = "L" if tags.prefix == b"II" else "B"
        _read_as(image, lambda mode: f"{mode};16{order}")


def _raw_mode(tile: Any) -> str:
    return str(tile.args[0] if isinstance(tile.args, tuple) else tile.args)


def _read_as(image: Any, change: Callable[[str], str]) -> None:
    """Make Pillow unpack a file's pixels by another of its raw modes."""
    for i, tile in enumerate(image.tile):
        rest = tile.args[1:] if isinstance(tile.args, tuple) else ()
        image.tile[i] = tile._replace(args=(change(_raw_mode(tile)), *rest))


def _eight_bits(
    values: np.ndarray, whole: bool, empty: str | None = None
) -> tuple[Image.Image, str]:
    """Whole numbers of 16 or 32 bits, or floats, in 8 bits; and what was done, in words.

    empty: a value that stands for no measurement, as text.
    """
    known = np.isfinite(values) & (values > NO_DATA[0]) & (values < NO_DATA[1])
    with suppress(TypeError, ValueError):
        known &= values != np.float32(empty)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0, 0)
    if whole and low >= 0 and high < 2 ** DEPTHS[-1]:
        depth = next(bits for bits in DEPTHS if high < 2**bits)
        low, high, change = 0, 2**depth - 1, f"{depth} bits scaled to 8"
    elif not whole and low >= 0 and high <= 255:
        low, high = 0, 1 if high <= 1 else 255
        change = f"0..{high} scaled to 8 bits"
    else:
        change = f"{low:.4g}..{high:.4g} stretched to 8 bits"
    scaled = np.where(known, values - low, 0) * (255 / max(high - low, 1e-30))
    return Image.fromarray(np.rint(scaled).clip(0, 255).astype(np.uint8)), change


def _srgb(image: Image.Image) -> Image.Image:
    """Colours as the file's profile means them; a profile that does not fit is left out."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    with suppress(ImageCms.PyCMSError, OSError):
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, io.BytesIO(profile), srgb, outputMode=mode) or image
    return image
