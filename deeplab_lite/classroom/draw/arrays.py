"""Pictures that are arrays: PNG bytes, class overlays, heat maps on a photograph."""

import io
from typing import Any

import numpy as np
from PIL import Image

from deeplab_lite.classroom.draw.differences import DIFFERENCES
from deeplab_lite.colors import PALETTE, blend, checked, share


def _finite(values: Any, what: str) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{what} of shape {array.shape}: expected two dimensions (h, w)")
    if not np.isfinite(array).all():
        y, x = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"{what} is {array[y, x]} at ({y}, {x}): expected finite numbers")
    return array


def png(array: Any, *, level: int = 1, colors: int | None = None) -> bytes:
    """PNG bytes of a uint8 picture (H, W), (H, W, 3) or (H, W, 4).

    Level 1 is made for sliders (fast), 9 for pictures that are kept (small); `colors` keeps that
    many colours only (up to 243; besides, PALETTE, white and the DIFFERENCES that are in it, so
    that thin lines and legends keep theirs): a photograph gets some three times smaller. Raises
    ValueError if the array is not a picture.
    """
    array = np.asarray(array)
    flat = array.ndim == 2
    if array.dtype != np.uint8 or array.size == 0 or not (flat or array.shape[2:] in {(3,), (4,)}):
        raise ValueError(
            f"a picture of dtype {array.dtype} and shape {array.shape}: "
            "expected uint8 (H, W), (H, W, 3) or (H, W, 4)"
        )
    image = Image.fromarray(np.ascontiguousarray(array))
    if colors:
        image = _few(image.convert("RGB"), colors)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=level)
    return out.getvalue()


def _few(image: Image.Image, colors: int) -> Image.Image:
    fit = image.quantize(colors, Image.Quantize.MEDIANCUT, kmeans=1)  # nearer the picture's own
    marks = [mark for mark in DIFFERENCES if (np.asarray(image) == mark).all(-1).any()]
    kept = np.array([*PALETTE, *marks, (255, 255, 255)], np.uint8)
    table = (fit.getpalette() or [])[: 3 * colors] + kept.ravel().tolist()
    fit.putpalette(table)
    index = np.array(image.quantize(palette=fit, dither=Image.Dither.NONE))
    index[(np.asarray(image) == 255).all(-1)] = len(table) // 3 - 1  # Pillow's search is not exact
    fit.putdata(index.ravel())
    return fit


def heat(
    image: Any,
    values: Any,
    alpha: float = 0.85,
    vmin: float | None = None,
    vmax: float | None = None,
    smooth: bool = False,
) -> np.ndarray:
    """The photo in grey under a heat map of `values` (h, w): the higher, the brighter and denser.

    Smaller maps are enlarged to the photo, in square cells that show the map's real resolution, or
    bilinearly with `smooth`. `vmin` and `vmax` fix the scale (default: least and greatest value).
    """
    image, values, alpha = checked(image), _finite(values, "a heat map"), share(alpha)
    low = values.min() if vmin is None else vmin
    high = values.max() if vmax is None else vmax
    unit = np.clip((values - low) / (high - low if high > low else 1.0), 0, 1)
    kind = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    size = (image.shape[1], image.shape[0])
    unit = np.asarray(Image.fromarray(unit.astype(np.float32)).resize(size, kind))
    import matplotlib as mpl

    color = 255 * mpl.colormaps["inferno"](0.15 + 0.8 * unit)[..., :3]
    grey = np.repeat((image @ (0.299, 0.587, 0.114))[..., None], 3, axis=2)
    return blend(0.8 * grey + 25, color, alpha * np.sqrt(unit))


def scale(alpha: float = 0.85, width: int = 160) -> np.ndarray:
    """The colours of `heat` from the least to the greatest value, on mid-grey: (10, width, 3)."""
    values = np.broadcast_to(np.linspace(0, 1, width), (10, width))
    return heat(np.full((10, width, 3), 128, np.uint8), values, alpha, 0, 1)
