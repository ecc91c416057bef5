"""Pictures that are arrays: PNG bytes, class overlays, heat maps on a photograph."""

import io
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter  # type: ignore[import-untyped]

# Okabe and Ito's palette: told apart with every common kind of colour blindness. At most 8 classes.
COLORS = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
}
PALETTE = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in COLORS.values()], np.uint8)
# For the nine classes of the scenes: a pale ground, then all eight colours, black last.
SCENE_PALETTE = np.vstack([np.full((1, 3), 236, np.uint8), PALETTE[1:], PALETTE[:1]])
VOID = 255  # the label that no metric and no loss counts


def checked(image: Any) -> np.ndarray:
    """The image as uint8 (H, W, 3); ValueError, with the remedy, if it is something else."""
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ValueError(
            f"an image of dtype {array.dtype} and shape {array.shape}: expected uint8 (H, W, 3); "
            "a float image in 0..1 is converted by (255 * image).astype('uint8')"
        )
    return array


def _finite(values: Any, what: str) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{what} of shape {array.shape}: expected two dimensions (h, w)")
    if not np.isfinite(array).all():
        y, x = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"{what} is {array[y, x]} at ({y}, {x}): expected finite numbers")
    return array


def _share(alpha: float) -> float:
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha} is not between 0 (photo only) and 1 (colour only)")
    return alpha


def png(array: Any, *, level: int = 1, colors: int | None = None) -> bytes:
    """PNG bytes of a uint8 picture (H, W), (H, W, 3) or (H, W, 4).

    Level 1 is made for sliders (fast), 9 for pictures that are kept (small); `colors` keeps that
    many colours only (up to 247; PALETTE and white besides, so that thin lines keep theirs): a
    photograph gets some three times smaller. Raises ValueError if the array is not a picture.
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
    fit = image.quantize(colors, Image.Quantize.MEDIANCUT)
    table = (fit.getpalette() or [])[: 3 * colors] + PALETTE.ravel().tolist() + [255] * 3
    fit.putpalette(table)
    index = np.array(image.quantize(palette=fit, dither=Image.Dither.NONE))
    index[(np.asarray(image) == 255).all(-1)] = len(table) // 3 - 1  # Pillow's search is not exact
    fit.putdata(index.ravel())
    return fit


def paint(label: Any, palette: np.ndarray = SCENE_PALETTE) -> np.ndarray:
    """A label map (H, W) as a picture (H, W, 3): each class in its colour, 255 (void) white.

    Raises ValueError when a label has no colour.
    """
    return _table(palette, 255)[_indices(label, palette)]


def overlay(
    image: Any, label: Any, alpha: float = 0.5, palette: np.ndarray = PALETTE
) -> np.ndarray:
    """The photo (H, W, 3) with each class of `label` (H, W) tinted and outlined in its colour.

    Class 0 is background and stays as it is; 255 (void) is drawn grey. Raises ValueError when the
    shapes differ or a label has no colour.
    """
    image, label, alpha = checked(image), np.asarray(label), _share(alpha)
    if label.shape != image.shape[:2] or label.dtype.kind not in "iub":
        raise ValueError(
            f"labels of dtype {label.dtype} and shape {label.shape} on an image of shape "
            f"{image.shape}: expected integers of shape {image.shape[:2]}"
        )
    label, table = _indices(label, palette), _table(palette, 160)
    window = 1 + 2 * max(1, max(label.shape) // 320)  # outlines survive a shrunk photo
    edge = maximum_filter(label, window) != minimum_filter(label, window)
    strength = np.where(edge & (label != VOID), max(alpha, 0.95), alpha) if alpha else alpha
    return _blend(image, table[label], np.where(label == 0, 0, strength))


def _indices(label: Any, palette: np.ndarray) -> np.ndarray:
    label = np.asarray(label)
    if label.ndim != 2 or label.dtype.kind not in "iub":
        raise ValueError(
            f"labels of dtype {label.dtype} and shape {label.shape}: expected integers (H, W)"
        )
    label, last = label.astype(np.int64), len(palette) - 1
    bad = (label < 0) | ((label > last) & (label != VOID))
    if bad.any():
        y, x = np.argwhere(bad)[0]
        raise ValueError(
            f"label {label[y, x]} at ({y}, {x}): the palette colours 0..{last}, and {VOID} is void"
        )
    return label


def _table(palette: np.ndarray, void: int) -> np.ndarray:
    table = np.full((VOID + 1, 3), void, np.uint8)
    table[: len(palette)] = palette
    return table


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
    image, values, alpha = checked(image), _finite(values, "a heat map"), _share(alpha)
    low = values.min() if vmin is None else vmin
    high = values.max() if vmax is None else vmax
    unit = np.clip((values - low) / (high - low if high > low else 1.0), 0, 1)
    kind = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    size = (image.shape[1], image.shape[0])
    unit = np.asarray(Image.fromarray(unit.astype(np.float32)).resize(size, kind))
    import matplotlib as mpl

    color = 255 * mpl.colormaps["inferno"](0.15 + 0.8 * unit)[..., :3]
    grey = np.repeat((image @ (0.299, 0.587, 0.114))[..., None], 3, axis=2)
    return _blend(0.8 * grey + 25, color, alpha * np.sqrt(unit))


def _blend(under: np.ndarray, over: np.ndarray, weight: np.ndarray) -> np.ndarray:
    weight = weight[..., None]
    return np.rint((1 - weight) * under + weight * over).astype(np.uint8)
