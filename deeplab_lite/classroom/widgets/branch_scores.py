"""What the ASPP explorer knows of a scene: the scores of each branch. Lesson 05.

DeepLab v2 adds the scores of its branches, so what a branch contributes is exact: switch it off,
and the sum of the others is left. Scores are kept as whole numbers of a small step; sums and
enlarged maps are whole numbers too, and the script has the same ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from deeplab_lite import metrics, scenes
from deeplab_lite.labels import IGNORE
from deeplab_lite.models.v2 import DeepLabV2

BITS = 14  # of a score as it is kept


class Scores(NamedTuple):
    """What each branch says, in units of `step`."""

    codes: np.ndarray  # int64 (branches, K, h, w)
    step: float


class Shape(NamedTuple):
    """A shape of a scene of which something can be seen."""

    place: int  # among the scene's shapes
    label: int
    radius: float  # pixels, to a tenth
    unit: tuple[int, int]  # of the map: of those inside it, the nearest to its centre


class Answer(NamedTuple):
    """What the branches that are on say of the scene, together."""

    labels: np.ndarray  # (H, W)
    miou: float
    shares: list[float]  # of each shape's pixels, those that are right


def branch_scores(model: DeepLabV2, image: np.ndarray) -> Scores:
    """The scores of every branch of `model`.

    Raises ValueError for a model whose scores are no sum of branches.
    """
    check(model)
    with torch.inference_mode():
        features = model.backbone(scenes.normalize(image)[None])["out"]
        maps = torch.cat([branch(features) for branch in model.branches]).double().numpy()
    step = float(np.ptp(maps, axis=(1, 2, 3)).max()) / (2**BITS - 1) or 1.0
    return Scores(np.rint(maps / step).astype(np.int64), step)


def check(model: nn.Module) -> None:
    """Raises ValueError unless `model` is a DeepLabV2 that aligns corners and is in eval mode."""
    if not (isinstance(model, DeepLabV2) and model.align_corners and not model.training):
        raise ValueError(
            f"a {type(model).__name__}: expected a DeepLabV2 with align_corners=True in eval mode, "
            "as checkpoints.load('v2-scenes')"
        )


def enlarge(scores: np.ndarray, factor: int) -> np.ndarray:
    """Bilinear, corners aligned: (K, h, w) to (K, (h - 1) factor + 1, ...), times factor squared.

    Whole numbers stay whole.
    """
    for axis in (1, 2):
        count = scores.shape[axis]
        at = np.arange((count - 1) * factor + 1)
        share = (at % factor).reshape((-1, 1) if axis == 1 else (-1,))
        near = scores.take(at // factor, axis)
        far = scores.take(np.minimum(at // factor + 1, count - 1), axis)
        scores = (factor - share) * near + share * far
    return scores


def labels_of(codes: np.ndarray, factor: int) -> np.ndarray:
    """The class of each pixel (H, W) from the sum of branches (n, K, h, w); 0 where n is 0."""
    return enlarge(codes.sum(0), factor).argmax(0)


def shapes_of(scene: scenes.Scene, factor: int) -> list[Shape]:
    """The shapes with a pixel that counts, the smallest first."""
    result = []
    for index, shape in enumerate(scene.shapes):
        mine = scene.owner == index
        if not (mine & (scene.label != IGNORE)).any():
            continue
        pixels = np.argwhere(mine)
        grid = pixels[(pixels % factor == 0).all(1)]
        pixels = grid if len(grid) else pixels
        near = pixels[np.square(pixels + 0.5 - shape.center).sum(1).argmin()]
        i, j = np.rint(near / factor).astype(int).tolist()
        result.append(Shape(index, shape.label, round(float(shape.radius), 1), (i, j)))
    return sorted(result, key=lambda shape: shape.radius)


def answer(
    scores: Scores, scene: scenes.Scene, shapes: Sequence[Shape], on: Sequence[bool]
) -> Answer:
    """What the branches that are `on` say together."""
    factor = (len(scene.image) - 1) // (scores.codes.shape[-1] - 1)
    labels = labels_of(scores.codes[np.asarray(on, bool)], factor)
    matrix = metrics.confusion_matrices(labels, scene.label, len(scenes.CLASSES))[0]
    counted = scene.label != IGNORE
    shares = []
    for shape in shapes:
        mine = counted & (scene.owner == shape.place)
        shares.append(float((labels[mine] == shape.label).mean()))
    return Answer(labels, float(metrics.miou(matrix)), shares)


def taps(unit: int, rate: int, count: int) -> list[int]:
    """Where the three taps of a 3x3 meet the map along one axis; the others meet padding."""
    return [at for at in (unit - rate, unit, unit + rate) if 0 <= at < count]
