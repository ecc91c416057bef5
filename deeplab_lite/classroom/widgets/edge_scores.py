"""What the boundary microscope shows: label maps of several networks, scored near edges. Lesson 07.

Labels and edges are those of `scenes.scene(..., outline=0)`, where each pixel has its class, so
that the band begins at the true edge; benchmarks of the trimap are counted alike.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter  # type: ignore[import-untyped]
from torch import nn

from deeplab_lite import metrics, scenes
from deeplab_lite.classroom.widgets._answers import Answers, Choice, Networks, table_of
from deeplab_lite.classroom.widgets._subjects import Subject

SIDE = scenes.ORDINARY.side
MOST = 8  # pixels on each side of the boundary that a band can have


MODELS = {
    "v1": Choice("v1-scenes"),
    "v1 + CRF": Choice("v1-scenes", crf="DeepLab's"),
    "v2": Choice("v2-scenes"),
    "v3": Choice("v3-scenes"),
    "v3 at OS8": Choice("v3-scenes", 8),
    "v3+": Choice("v3plus-scenes"),
    "v3+ at OS8": Choice("v3plus-scenes", 8),
    "v3+ + CRF": Choice("v3plus-scenes", crf="DeepLab's"),
}
SHIPPED = Answers(dict.fromkeys(choice.model for choice in MODELS.values()), len(scenes.CLASSES))


def chosen(models: Iterable[str] | Networks | None) -> dict[str, nn.Module | None]:
    """Names, or a dict of name to network, as a dict; None stands for the one of MODELS.

    Raises ValueError for a name that is not known and has no network.
    """
    table = dict.fromkeys(MODELS) if models is None else table_of(models)
    unknown = [name for name, network in table.items() if network is None and name not in MODELS]
    if unknown:
        raise ValueError(
            f"models {unknown}: expected some of {', '.join(MODELS)}, or a dict of name to network"
        )
    return table


def label_maps(image: np.ndarray, networks: Networks) -> dict[str, np.ndarray]:
    """uint8 (H, W) by name: the class of each pixel by each network, after its CRF if it has one.

    Raises ValueError for a network that does not give each pixel a score for each of the scenes'
    classes.
    """
    subject = Subject("the image", image)
    own = Answers({k: v for k, v in networks.items() if v is not None}, len(scenes.CLASSES))
    maps = {}
    for name, network in networks.items():
        answers, choice = (SHIPPED, MODELS[name]) if network is None else (own, Choice(name))
        maps[name] = answers.ask(choice, subject)[0].argmax(0).astype(np.uint8)
    return maps


def spots(truth: np.ndarray, maps: Sequence[np.ndarray], count: int = 12) -> list[list[int]]:
    """Boundary pixels (y, x) where the maps differ the most, 14 pixels or more from each other.

    Around each it is counted, within 5 pixels, of which pixels the maps do not all say the same.
    """
    differ = (np.stack(maps) != maps[0]).any(0).astype(float)
    score = uniform_filter(differ, 11, mode="constant")
    score = np.where(metrics.trimap(truth, 1).numpy(), score + 1e-9, 0)
    y, x = np.indices(truth.shape)
    centers: list[list[int]] = []
    while len(centers) < count and score.max() > 0:
        row, column = map(int, np.unravel_index(score.argmax(), score.shape))
        centers.append([row, column])
        score[(y - row) ** 2 + (x - column) ** 2 < 14**2] = 0
    return centers


class Tally(NamedTuple):
    """One map's pixels within the band: of the scene, and of the window."""

    right: int
    pixels: int
    miou: float  # of the scene's band
    here: int  # right ones in the window
    pixels_here: int


def tally(labels: np.ndarray, truth: np.ndarray, width: int, shown: tuple[int, int, int]) -> Tally:
    """Counts within `width` pixels of a boundary, and mIoU there; `shown`: top, left, side."""
    band = metrics.trimap(truth, width).numpy()
    right = band & (labels == truth)
    matrix = metrics.trimap_matrices(labels, truth, len(scenes.CLASSES), [width])[0, 0]
    top, left, side = shown
    cut = np.s_[top : top + side, left : left + side]
    counts = (right.sum(), band.sum(), right[cut].sum(), band[cut].sum())
    mine, pixels, here, pixels_here = map(int, counts)
    return Tally(mine, pixels, float(metrics.miou(matrix)), here, pixels_here)


def share(right: int, pixels: int) -> str:
    """A share in per cent, halves upwards as the script rounds; a dash of nothing."""
    return f"{int(100 * right / pixels + 0.5)} %" if pixels else "–"
