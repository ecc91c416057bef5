"""A reader's own picture, of any kind that Pillow reads, as the networks take it. Lesson 08.

Everything happens in this process: nothing is uploaded, and no file is written.
"""

import io
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

MAX_BYTES = 100_000_000  # of a file
MAX_PIXELS = 50_000_000  # after decoding: some 200 MB
GREY = (128, 128, 128)  # under what is transparent
LEFT_OUT = {"EPS", "WMF"}  # Pillow hands these to other programs, which would run them
DEPTHS = (8, 10, 12, 14, 16)  # bits that scanners, cameras and microscopes store in 16
NO_DATA = -9999  # and below: no measurement, in maps of heights and the like
KINDS = "JPEG, PNG, WebP, TIFF, GIF and BMP are among those that work"


class Photo(NamedTuple):
    """A picture that was read, and what had to be done to it."""

    image: np.ndarray  # uint8 (H, W, 3), RGB
    source: str  # "PNG, 4000 x 3000"
    changes: tuple[str, ...]  # "turned upright", "shrunk to 129 x 97"; () if it came as it is

    def __str__(self) -> str:
        return ", ".join((self.source, *self.changes))


def read(
    file: bytes | bytearray | memoryview | str | Path,
    largest: int = 513,
    ground: tuple[int, int, int] = GREY,
) -> Photo:
    """A picture from its bytes or its path, as it is meant to be seen, its sides at most `largest`.

    Turned upright as EXIF says; in sRGB where it carries a colour profile; transparency laid on
    `ground`; the first frame of an animation; 16 bits and floats scaled to 8. It is shrunk where
    it is larger, and never enlarged. Lesson 08.

    Raises ValueError, in one sentence, for what is no picture, is damaged or too large, and for a
    largest below 1; FileNotFoundError where there is no such file.
    """
    if largest < 1:
        raise ValueError(f"largest {largest}: expected the longer side in pixels, at least 1")
    data, name = _bytes(file)
    try:
        with warnings.catch_warnings():  # of size, which is looked at below
            warnings.simplefilter("ignore")
            return _read(data, name, largest, ground)
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not an image that can be read here: {_advice(data)}") from None
    except Image.DecompressionBombError:
        raise ValueError(_too_large(name)) from None
    except _Refused:
        raise
    except Exception as error:  # decoders raise anything on damaged files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise ValueError(
            f"{name} cannot be decoded ({reason}): it is damaged or cut short; copy it anew, or "
            "save it as PNG"
        ) from error


def shrunk(image: np.ndarray, largest: int) -> np.ndarray:
    """An RGB array (H, W, 3) with sides of at most `largest`; a smaller one as it is."""
    picture = Image.fromarray(image)
    picture.thumbnail((largest, largest), Image.Resampling.LANCZOS, reducing_gap=None)
    return np.array(picture)


# ---- Parts ---------------------------------------------------------------------------------------


class _Refused(ValueError):
    """A sentence that is already complete."""


def _bytes(file: Any) -> tuple[bytes, str]:
    """The content, and what to call it in a sentence."""
    name = "this file"
    if isinstance(file, str | Path):
        path = Path(file)
        name = path.name or str(path)
        if not path.is_file():
            what = "a folder" if path.is_dir() else "not there"
            raise FileNotFoundError(f"{path} is {what}: expected the path of a picture")
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    else:
        data = bytes(file)
        size = len(data)
    if size > MAX_BYTES:
        raise ValueError(
            f"{name} has {size / 1e6:.0f} MB: expected at most {MAX_BYTES / 1e6:.0f}, so save it "
            "smaller first"
        )
    if not size:
        raise ValueError(f"{name} is empty: expected a picture; {KINDS}")
    return data, name


def _read(data: bytes, name: str, largest: int, ground: tuple[int, int, int]) -> Photo:
    image: Image.Image = _opened(data)
    width, height = image.size
    if not (width and height):
        raise _Refused(f"{name} has {width} x {height} pixels: expected at least one")
    changes = []
    kind = "JPEG" if image.format == "MPO" else image.format
    if getattr(image, "is_animated", False) and image.format != "MPO":
        changes.append("its first frame")
        image.seek(0)
    if image.format == "JPEG":
        image.draft(None, (2 * largest, 2 * largest))  # decodes a half, a quarter or an eighth
    if image.size[0] * image.size[1] > MAX_PIXELS:
        raise _Refused(_too_large(name))
    deep = "RGB;16" in str(getattr(image, "tile", ""))  # Pillow decodes the upper 8 bits only
    image.load()
    image, turned = _upright(image)
    profile = image.info.get("icc_profile")

    if image.mode[0] in "IF":
        image, words = _eight_bits(np.asarray(image, np.float32), image.mode[0] == "I")
        changes.append(words)
    elif deep and (high := np.asarray(image, np.float32)).max() < 2**6:  # 14 bits or fewer
        image, words = _eight_bits(256 * high + np.asarray(_lower_bytes(data)), True)
        changes.append(words)
    if kind == "TIFF" and image.mode == "RGBA":  # a satellite's fourth band is often marked so
        alpha = np.asarray(image.getchannel("A"))
        if ((alpha > 0) & (alpha < 255)).mean() > 0.5:
            image = image.convert("RGB")
            changes.append("its fourth band left out")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        changes.append("what is transparent laid on grey" if ground == GREY else "its ground laid")
    elif image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGB")
    image.thumbnail((largest, largest), Image.Resampling.LANCZOS, reducing_gap=3)
    image = _srgb(image, profile)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*ground, 255)), image)
    image = image.convert("RGB")
    if turned:
        changes.append("turned upright")
    if max(image.size) < max(width, height):
        changes.append(f"shrunk to {image.width} x {image.height}")
    return Photo(np.array(image), f"{kind}, {width} x {height}", tuple(changes))


def _opened(data: bytes) -> ImageFile.ImageFile:
    Image.init()
    return Image.open(io.BytesIO(data), formats=sorted(set(Image.OPEN) - LEFT_OUT))


def _upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image as its EXIF says that the camera was held; whether that turned it."""
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
        return (ImageOps.exif_transpose(image), True) if turned else (image, False)
    except Exception:  # damaged EXIF is no reason to refuse the picture
        return image, False


def _lower_bytes(data: bytes) -> Image.Image:
    """Of 16-bit colours, what Pillow drops: in the other byte order, it keeps the other byte."""
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    image = _opened(data)
    for i, tile in enumerate(image.tile):
        mode, *rest = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        new: Any = getattr(type(tile), "_make", tuple)  # a plain tuple before Pillow 11
        image.tile[i] = new((*tile[:3], (mode[:-1] + other[mode[-1]], *rest)))
    image.load()
    return _upright(image)[0]


def _eight_bits(values: np.ndarray, whole: bool) -> tuple[Image.Image, str]:
    """Whole numbers of 16 or 32 bits, or floats, in 8 bits; and what was done, in words."""
    known = np.isfinite(values) & (values > NO_DATA)
    span = values[known] if known.any() else np.zeros(1)
    low, high = float(span.min()), float(span.max())
    if whole and low >= 0 and high < 2 ** DEPTHS[-1]:
        depth = next(bits for bits in DEPTHS if high < 2**bits)
        low, high, words = 0, 2**depth - 1, f"{depth} bits scaled to 8"
    elif not whole and low >= 0 and high <= 255:
        low, high = 0, 1 if high <= 1 else 255
        words = f"0..{high} scaled to 8 bits"
    else:
        words = f"{low:.4g}..{high:.4g} stretched to 8 bits"
    grey = np.where(known, values - low, 0) * (255 / max(high - low, 1e-30))
    return Image.fromarray(np.rint(grey).clip(0, 255).astype(np.uint8)), words


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Colours as the file's profile means them; a profile that does not fit is left out."""
    if image.mode != "LAB" and not profile:
        return image
    try:
        lab = image.mode == "LAB"
        source_profile: Any = ImageCms.createProfile("LAB") if lab else io.BytesIO(profile or b"")
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(
            image, source_profile, ImageCms.createProfile("sRGB"), outputMode=mode
        )
        return converted or image
    except (ImageCms.PyCMSError, OSError):
        return image


def _too_large(name: str) -> str:
    return f"{name} has more than {MAX_PIXELS / 1e6:.0f} million pixels: save it smaller first"


def _advice(data: bytes) -> str:
    """What to do with a file that Pillow does not know, from what it begins with."""
    head = data[:1024].lstrip()
    if data[4:8] == b"ftyp":
        return "it looks like HEIC or a film; save it as JPEG or PNG"
    if b"<svg" in head or head.startswith(b"%"):
        return "it looks like SVG, PDF or PostScript, a drawing; export it as PNG"
    return KINDS
