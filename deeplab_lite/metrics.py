"""How good is a label map? Confusion matrices per image, and all scores that follow from them.

    matrices = confusion_matrices(logits, label, num_classes)     # N x K x K, one per image
    miou(matrices.sum(0)), confidence_interval(matrices)

Rows of a matrix are the true classes, columns the predicted ones. IoU and mIoU are taught in lesson
03, the trimap (Kohli et al. 2009, and a figure in DeepLab v1, v2 and v3+) in lessons 04 and 07.
What would divide by 0, as the IoU of an absent class, is NaN and left out of means.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deeplab_lite.labels import IGNORE, Array, as_classes, as_label, check_range, sizes

WIDTHS = (1, 2, 4, 8)  # of the trimap, in pixels


def confusion_matrices(prediction: Array, label: Array, num_classes: int) -> Tensor:
    """Pixels by true and predicted class, one matrix per image: int64 N x K x K.

    label: N x H x W or H x W, classes 0 to K - 1, and 255 where the pixel does not count.
    prediction: logits N x K x H x W (or K x H x W), or a class per pixel, of label's shape.

    Raises ValueError for values that are no classes, naming the first and its place, for shapes
    that do not belong together and for logits that are NaN; TypeError for what is no array.
    """
    if type(num_classes) is not int or not 1 <= num_classes <= IGNORE:
        raise ValueError(f"num_classes {num_classes!r}: expected a whole number from 1 to {IGNORE}")
    label = as_label(label)
    predicted = as_classes(prediction, label, num_classes)
    check_range(label, num_classes, "label")
    check_range(predicted, num_classes, "prediction")
    if label.ndim == 2:
        label, predicted = label[None], predicted[None]
    pairs = num_classes * label + predicted  # a number for each pair of true and predicted class
    counts = [
        torch.bincount(pair[y != IGNORE], minlength=num_classes**2)
        for pair, y in zip(pairs, label, strict=True)
    ]
    return torch.stack(counts).view(-1, num_classes, num_classes)


# ---- Scores of a confusion matrix, or of many (... x K x K) --------------------------------------
# Of a data set, sum over its images first, as Pascal VOC does: miou(matrices.sum(0)).


def class_iou(matrix: Tensor) -> Tensor:
    """... x K x K to ... x K: pixels in both over pixels in either, of truth and prediction.

    NaN for a class in neither; 0 for one that is predicted but not there. Taught in lesson 03.
    """
    both, true, predicted = counts(matrix)
    return both / (true + predicted - both)


def class_accuracy(matrix: Tensor) -> Tensor:
    """... x K x K to ... x K: the share of a class's pixels that got it (recall)."""
    both, true, _ = counts(matrix)
    return both / true


def miou(matrix: Tensor) -> Tensor:
    """... x K x K to ...: the mean of class_iou over the classes that have one."""
    return class_iou(matrix).nanmean(-1)


def mean_accuracy(matrix: Tensor) -> Tensor:
    """... x K x K to ...: the mean of class_accuracy over the classes that are there."""
    return class_accuracy(matrix).nanmean(-1)


def pixel_accuracy(matrix: Tensor) -> Tensor:
    """... x K x K to ...: the share of pixels, of any class, that got the right one."""
    both, true, _ = counts(matrix)
    return both.sum(-1) / true.sum(-1)


def counts(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels of each class in truth and prediction, in truth, in prediction: float64."""
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"matrix of {sizes(matrix)}: expected ... x K x K")
    matrix = matrix.double()
    return matrix.diagonal(dim1=-2, dim2=-1), matrix.sum(-1), matrix.sum(-2)


class Interval(NamedTuple):
    """A score with its confidence interval; written 0.853 [0.846, 0.860]."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


Score = Callable[[Tensor], Tensor]


def confidence_interval(
    matrices: Tensor, score: Score = miou, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """A score of N images (N x K x K), and the interval that it falls into for other such images.

    The bootstrap: draw N of the images with replacement, score their sum, `resamples` times; the
    interval holds the middle `level` of the results. It tells what other images would change, not
    what another training seed would. A class that no drawn image has is left out of that mean.
    Raises ValueError for less than two images.
    """
    return _interval(_bootstrap(matrices, score, resamples, seed), level)


def paired_difference(
    first: Tensor, second: Tensor, score: Score = miou, level: float = 0.95, seed: int = 0
) -> Interval:
    """How much better the first model is than the second on the same N images (N x K x K each).

    Both are scored on the same 1000 draws, so that what makes an image hard for both cancels: the
    interval is narrower than those of the two scores suggest. If it excludes 0, the difference is
    more than the choice of images. Raises ValueError where the images are not the same.
    """
    if first.shape != second.shape or not torch.equal(first.sum(-1), second.sum(-1)):
        raise ValueError(
            f"matrices of {sizes(first)} and {sizes(second)} count different pixels: "
            "score both models on the same images in the same order"
        )
    mine, other = (_bootstrap(matrices, score, 1000, seed) for matrices in (first, second))
    return _interval(mine - other, level)


def _bootstrap(matrices: Tensor, score: Score, resamples: int, seed: int) -> Tensor:
    """The score of all images, followed by that of each draw."""
    if matrices.ndim != 3 or len(matrices) < 2:
        raise ValueError(f"matrices of {sizes(matrices)}: expected N x K x K, of 2 images or more")
    count = len(matrices)
    draws = torch.randint(count, (resamples, count), generator=torch.Generator().manual_seed(seed))
    times = torch.zeros(1 + resamples, count, dtype=torch.float64)  # each image is drawn
    times[0] = 1
    times[1:].scatter_add_(1, draws, torch.ones_like(times[1:]))
    sums = times @ matrices.cpu().double().flatten(1)
    return score(sums.view(-1, *matrices.shape[1:]))


def _interval(scores: Tensor, level: float) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"level {level!r}: expected a share between 0 and 1, as 0.95")
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=scores.dtype)
    return Interval(float(scores[0]), *scores[1:].nanquantile(ends).tolist())


def boundary_distance(label: Array) -> Tensor:
    """Pixels from each pixel to the nearest one of another class: float32, of label's shape.

    Distances are Euclidean, between centres: 1 for both pixels at a straight edge. Infinite in an
    image of one class. 255 is an edge of its own, as in v3+: where a label carries it as a band on
    its outlines, distances count from the band's rim, and are 0 in it. To measure from the true
    edge, use a label without the band (`scenes.scene(..., outline=0)`).
    """
    from scipy import ndimage  # type: ignore[import-untyped]

    label = as_label(label)
    images = label.cpu().numpy().reshape(-1, *label.shape[-2:])
    distances = np.full(images.shape, np.inf, np.float32)
    for image, distance in zip(images, distances, strict=True):
        present = np.unique(image)
        numbered = np.searchsorted(present, image) + 1
        boxes = ndimage.find_objects(numbered) if len(present) > 1 else ()
        for number, box in enumerate(boxes, start=1):
            # one pixel more on each side: the nearest of another class is never further out
            wider = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
            inside = numbered[wider] == number
            distance[wider][inside] = ndimage.distance_transform_edt(inside)[inside]
    distances[images == IGNORE] = 0
    return torch.from_numpy(distances).view(label.shape).to(label.device)


def trimap(label: Array, width: float) -> Tensor:
    """The band around class boundaries: bool, of label's shape, True up to `width` pixels away.

    The band has `width` pixels on each side of a boundary between two classes. Pixels of label 255
    are in it, and no score counts them; see `boundary_distance` for bands of 255 on outlines.
    Raises ValueError for a width that is not above 0.
    """
    return boundary_distance(label) <= _width(width)


def trimap_matrices(
    prediction: Array, label: Array, num_classes: int, widths: Sequence[float] = WIDTHS
) -> Tensor:
    """confusion_matrices within the trimap of each width: int64 W x N x K x K.

    `miou(trimap_matrices(...).sum(1))` is the curve that the papers plot over the width.
    """
    label = as_label(label)
    predicted = as_classes(prediction, label, num_classes)
    distance = boundary_distance(label)
    bands = [label.masked_fill(distance > _width(width), IGNORE) for width in widths]
    return torch.stack([confusion_matrices(predicted, band, num_classes) for band in bands])


def _width(width: float) -> float:
    if not (isinstance(width, int | float) and width > 0):  # nor is NaN
        raise ValueError(f"width {width!r}: expected a number of pixels above 0")
    return width
