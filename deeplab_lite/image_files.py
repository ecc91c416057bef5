"""Any picture file that Pillow reads, as the networks take it: RGB, upright, 8 bits. Lesson 08.

Everything happens in this process: nothing is uploaded, and no file is written.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import psutil
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from deeplab_lite.deep_images import (
    BANDS_TAG,
    NO_DATA_TAG,
    eight_bits,
    lower_bytes,
    numbers,
    raw_mode,
    read_as,
    read_bands_apart,
)

MAX_PIXELS = 50_000_000  # after decoding: some 200 MB
BYTES = 20  # of memory for a pixel: decoded, as an array, converted, its label, its overlay
GREY = (128, 128, 128)  # under what is transparent
LEFT_OUT = {"EPS", "WMF"}  # Pillow hands these to other programs, which would run them
Image.init()
FORMATS = sorted(set(Image.OPEN) - LEFT_OUT)
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
                    f"{name} is a TIFF whose bands or numbers are not read here: save it with 8 "
                    "bits, as `gdal_translate -ot Byte -scale IN OUT` does; of more than one band "
                    "red, green and blue, with `-b 1 -b 2 -b 3 -co PHOTOMETRIC=RGB` too"
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
    try:
        return _by_pillow(source, largest, limit)
    except UnidentifiedImageError:
        source.seek(0)
        if source.read(4) not in TIFF:
            raise
        return _by_tifffile(source, largest, limit)


def _by_tifffile(source: BinaryIO, largest: int | None, limit: int) -> Photo:
    """A TIFF whose numbers Pillow does not read, such as floats of 64 bits."""
    try:
        import tifffile  # optional: of the extra `lab`

        source.seek(0)
        page: Any = tifffile.TiffFile(source).pages[0]
        if page.imagewidth * page.imagelength > limit:
            raise Image.DecompressionBombError
        values = page.asarray()
        if not values.size:
            raise ValueError
    except Image.DecompressionBombError:
        raise
    except Exception as error:
        raise UnidentifiedImageError from error
    if page.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    bands, whole = page.samplesperpixel, values.dtype.kind in "iu"
    if values.ndim > 2:
        values = values[..., :3] if bands > 2 else values[..., 0]
    empty = page.tags.valueof(NO_DATA_TAG)
    image, *changes = eight_bits(values.astype(np.float32), whole, empty)
    changes += _left_out(image, bands)
    image.getexif()[ExifTags.Base.Orientation] = page.tags.valueof("Orientation", 1)
    image, turned = _upright(image)
    return _finished(image, "TIFF", image.size, largest or max(image.size), turned, changes)


def _by_pillow(source: BinaryIO, largest: int | None, limit: int) -> Photo:
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
    read_bands_apart(image)
    raw_modes = [raw_mode(tile) for tile in getattr(image, "tile", [])]
    deep = any(re.match("[RGB].*;16|LA;16", mode) for mode in raw_modes)
    if kind == "TIFF":  # its fourth band is left out, so the others are not divided by it
        read_as(image, lambda mode: mode.replace("RGBa", "RGBA"))
    tags: Any = getattr(image, "tag_v2", {})
    empty, bands = tags.get(NO_DATA_TAG), tags.get(BANDS_TAG, 1)
    image.load()  # of 16 bits of colour, the upper 8
    image, turned = _upright(image)
    if (values := numbers(image, tags)) is not None:
        image, change = eight_bits(values, image.mode[0] != "F", empty)
        changes.append(change)
    elif deep and ((high := np.asarray(image, np.float32)[..., :3]).max() < 2**6 or empty):
        scaled, change = eight_bits(256 * high + lower_bytes(source, _upright), True, empty)
        if image.mode == "RGBA":
            alpha = image.getchannel("A")
            most = int(np.asarray(alpha).max())
            scaled.putalpha(alpha if most >= 2**6 else alpha.point(lambda a: a * 255 // most))
        image = scaled
        changes.append(change)
    if kind == "TIFF" and image.mode in ("LA", "RGBA"):
        image = image.convert(image.mode[:-1])  # the last is often near infrared
    changes += _left_out(image, bands)
    return _finished(image, str(kind), (width, height), largest, turned, changes)


def _left_out(image: Image.Image, bands: int) -> list[str]:
    """What of its bands a TIFF's picture lacks, in words."""
    if bands <= (kept := len(image.getbands())):
        return []
    return [
        f"{'its fourth band' if bands == 4 else f'{bands - kept} of its {bands} bands'} left out"
    ]


def _finished(
    image: Image.Image,
    kind: str,
    size: tuple[int, int],
    largest: int,
    turned: bool,
    changes: list[str],
) -> Photo:
    """From 8 bits on: without transparency, in sRGB, shrunk."""
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
    if max(image.size) < max(size):
        changes.append(f"shrunk to {image.width} x {image.height}")
    return Photo(np.array(image.convert("RGB")), f"{kind}, {size[0]} x {size[1]}", tuple(changes))


def _upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image as its EXIF says that the camera was held; whether that turned it."""
    with suppress(Exception):  # damaged EXIF is no reason to refuse the picture
        if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
            return ImageOps.exif_transpose(image), True
    return image, False


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
