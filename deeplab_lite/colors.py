"""Colours of classes: palettes, label maps as pictures, classes tinted on a photograph.

Used in every lesson. 255 is the label that no loss and no score counts: white, or grey on a photo.
"""

from typing import Any

import numpy as np

from .labels import IGNORE

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


def voc_palette(count: int) -> np.ndarray:
    """Pascal VOC's colours: bits 0, 1, 2 of the class, then 3, 4, 5, are R, G, B from the top."""
    numbers = np.arange(count)[:, None]
    bits = [((numbers >> (3 * i + np.arange(3))) & 1) << (7 - i) for i in range(3)]
    return np.sum(bits, axis=0).astype(np.uint8)


def checked(image: Any) -> np.ndarray:
    """The image as uint8 (H, W, 3); ValueError, with the remedy, if it is something else."""
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ValueError(
            f"an image of dtype {array.dtype} and shape {array.shape}: expected uint8 (H, W, 3); "
            "a float image in 0..1 is converted by (255 * image).astype('uint8')"
        )
    return array


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
    image, label, alpha = checked(image), np.asarray(label), share(alpha)
    if label.shape != image.shape[:2] or label.dtype.kind not in "iub":
        raise ValueError(
            f"labels of dtype {label.dtype} and shape {label.shape} on an image of shape "
            f"{image.shape}: expected integers of shape {image.shape[:2]}"
        )
    label, table = _indices(label, palette), _table(palette, 160)
    window = 1 + 2 * max(1, max(label.shape) // 320)  # outlines survive a shrunk photo
    outline = edges(label, window) & (label != IGNORE)
    strength = np.where(outline, max(alpha, 0.95), alpha) if alpha else alpha
    return blend(image, table[label], np.where(label == 0, 0, strength))


def edges(labels: np.ndarray, window: int | tuple[int, ...]) -> np.ndarray:
    """Where the window around a pixel holds more than one label, as booleans."""
    from scipy.ndimage import maximum_filter, minimum_filter  # type: ignore[import-untyped]

    return maximum_filter(labels, window) != minimum_filter(labels, window)


def _indices(label: Any, palette: np.ndarray) -> np.ndarray:
    label = np.asarray(label)
    if label.ndim != 2 or label.dtype.kind not in "iub":
        raise ValueError(
            f"labels of dtype {label.dtype} and shape {label.shape}: expected integers (H, W)"
        )
    label, last = label.astype(np.int64), len(palette) - 1
    bad = (label < 0) | ((label > last) & (label != IGNORE))
    if bad.any():
        y, x = np.argwhere(bad)[0]
        raise ValueError(
            f"label {label[y, x]} at ({y}, {x}): the palette has colours for 0..{last} and {IGNORE}"
        )
    return label


def _table(palette: np.ndarray, void: int) -> np.ndarray:
    table = np.full((IGNORE + 1, 3), void, np.uint8)
    table[: len(palette)] = palette
    return table


def share(alpha: float) -> float:
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha} is not between 0 (photo only) and 1 (colour only)")
    return alpha


def blend(under: np.ndarray, over: np.ndarray, weight: np.ndarray) -> np.ndarray:
    weight = weight[..., None]
    return np.rint((1 - weight) * under + weight * over).astype(np.uint8)
