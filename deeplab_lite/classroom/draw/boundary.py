"""A magnified edge: labels in a band around the boundaries, these as lines. Lesson 07.

Windows are (top, left, side) in pixels, as `window` cuts them.
"""

from typing import Any

import numpy as np

from deeplab_lite.classroom.draw.axes import _axes, show
from deeplab_lite.classroom.draw.segmentation import ERROR_PALETTE, error_kinds, grey
from deeplab_lite.colors import SCENE_PALETTE, checked

Window = tuple[int, int, int]
NEAR, FAR = 0.8, 0.28  # how dense labels are within the band and beyond it


def window(center: tuple[int, int], side: int, size: int) -> Window:
    """The square of `side` pixels around a pixel (y, x), moved until it lies in size x size."""
    top, left = (min(max(0, at - side // 2), size - side) for at in center)
    return top, left, side


def banded(
    image: Any, labels: Any, band: Any, palette: np.ndarray = SCENE_PALETTE
) -> np.ndarray:  # fmt: skip
    """The image in grey under its labels (H, W), dense within the band, thin beyond: (H, W, 3).

    band: bool (H, W), as `metrics.trimap` gives it. The first class, the ground, is left clear
    beyond the band.
    """
    labels, band = np.asarray(labels), np.asarray(band)
    share = np.where(band, NEAR, np.where(labels > 0, FAR, 0))[..., None]
    return np.rint((1 - share) * grey(image) + share * palette[labels]).astype(np.uint8)


def band_errors(image: Any, labels: Any, truth: Any, band: Any) -> np.ndarray:
    """The image in grey, paler in the band, its wrong pixels there in the colours of ERRORS."""
    kinds, band = error_kinds(labels, truth), np.asarray(band)
    wrong = band & (kinds > 0)
    share = np.where(wrong, 0.9, np.where(band, 0.5, 0))[..., None]
    color = np.where(wrong[..., None], ERROR_PALETTE[kinds], 255)
    return np.rint((1 - share) * grey(image) + share * color).astype(np.uint8)


def boundary_segments(label: Any) -> np.ndarray:
    """Lines between pixels of two classes: float (N, 2, 2), two ends (x, y) each.

    Straight runs are one line. Pixel (y, x) reaches from x - 0.5 to x + 0.5, as matplotlib has it.
    """
    label = np.asarray(label)
    segments = []
    for turned in (False, True):  # lines along rows, then along columns
        grid = label.T if turned else label
        differs = grid[1:] != grid[:-1]
        for row, cells in enumerate(differs):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], cells, [0]])))
            for start, stop in edges.reshape(-1, 2).tolist():
                ends = [(start - 0.5, row + 0.5), (stop - 0.5, row + 0.5)]
                segments.append([end[::-1] for end in ends] if turned else ends)
    return np.array(segments, float).reshape(-1, 2, 2)


def magnified(
    picture: Any, label: Any, shown: Window, ax: Any = None, *, title: str = "",
    wrong: Any = None,
) -> Any:  # fmt: skip
    """A window of a picture (H, W, 3), each pixel a square, with the boundaries of `label` (H, W).

    wrong: bool (H, W): pixels that get a dot.
    """
    from matplotlib.collections import LineCollection

    top, left, side = shown
    ax = show(checked(picture)[top : top + side, left : left + side], _axes(ax, 3, 3), title=title)
    ax.images[0].set_interpolation("nearest")
    lines = boundary_segments(label) - (left, top)
    for color, width in (("white", 2.6), ("black", 1.1)):
        ax.add_collection(LineCollection(list(lines), colors=color, linewidths=width, zorder=3))
    if wrong is not None:
        y, x = np.nonzero(np.asarray(wrong)[top : top + side, left : left + side])
        ax.plot(x, y, "o", color="black", ms=min(3.0, 50 / side), mew=0, zorder=4)
    return ax
