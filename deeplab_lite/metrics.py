"""How good is a label map? Confusion matrices per image, and all scores that follow from them.

    matrices = confusion_matrices(logits, label, num_classes)     # N x K x K, one per image
    miou(matrices.sum(0)), confidence_interval(matrices)

Rows of a matrix are the true classes, columns the predicted ones. IoU and mIoU are taught in lesson
03, the trimap (Kohli et al. 2009, and a figure in DeepLab v1, v2 and v3+) in lessons 04 and 07.
What would divide by 0, as the IoU of an absent class, is NaN and left out of means.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

IGNORE = 255  # the label that no score counts
WIDTHS = (1, 2, 4, 8)  # of the trimap, in pixels
COLUMNS = ("class", "iou", "accuracy", "precision", "pixels")

Array = Tensor | np.ndarray

# ---- Confusion matrices --------------------------------------------------------------------------


def confusion_matrices(prediction: Array, label: Array, num_classes: int) -> Tensor:
    """Pixels by true and predicted class, one matrix per image: int64 N x K x K.

    label: N x H x W or H x W, classes 0 to K - 1, and 255 where the pixel does not count.
    prediction: logits N x K x H x W (or K x H x W), or a class per pixel, of label's shape.

    Raises ValueError for values that are no classes, naming the first and its place, for shapes
    that do not belong together and for logits that are NaN; TypeError for what is no array.
    """
    from torchmetrics.functional.classification import multiclass_confusion_matrix  # 2 s to import

    if type(num_classes) is not int or not 1 <= num_classes <= IGNORE:
        raise ValueError(f"num_classes {num_classes!r}: expected a whole number from 1 to {IGNORE}")
    label = _label(label)
    predicted = _classes(prediction, label, num_classes).to(label.device)
    _check_range(label, num_classes, "label")
    _check_range(predicted, num_classes, "prediction")
    height, width = label.shape[-2:]
    pairs = zip(predicted.view(-1, height, width), label.view(-1, height, width), strict=True)
    return torch.stack(
        [
            multiclass_confusion_matrix(
                mine, true, num_classes, ignore_index=IGNORE, validate_args=False
            )
            for mine, true in pairs
        ]
    )


def _label(label: Array) -> Tensor:
    if not isinstance(label, Tensor | np.ndarray):
        raise TypeError(f"label is a {type(label).__name__}: expected a tensor or a NumPy array")
    label = torch.as_tensor(label)
    if label.ndim not in (2, 3) or not label.numel():
        raise ValueError(
            f"label has shape {tuple(label.shape)}: expected N x H x W or H x W. "
            'A palette PNG read as RGB looks like this: open it with mode "P".'
        )
    if label.is_floating_point() or label.is_complex():
        raise ValueError(f"label is {label.dtype}: expected whole numbers, as uint8 or int64")
    return label.long()


def _classes(prediction: Array, label: Tensor, num_classes: int) -> Tensor:
    """The class of each pixel, in the shape of label."""
    if isinstance(prediction, dict):
        raise TypeError(
            "prediction is a dict, as models with an auxiliary head return: pass its 'out'"
        )
    if not isinstance(prediction, Tensor | np.ndarray):
        raise TypeError(
            f"prediction is a {type(prediction).__name__}: expected a tensor or a NumPy array"
        )
    prediction = torch.as_tensor(prediction)
    if prediction.ndim == label.ndim + 1:
        if (channels := prediction.shape[-3]) != num_classes:
            raise ValueError(
                f"logits have {channels} channels: expected one per class, {num_classes}"
            )
        if prediction.isnan().any():
            raise ValueError("logits hold NaN, so they name no class: the network has diverged")
        prediction = prediction.argmax(-3)
    elif prediction.is_floating_point() or prediction.is_complex():
        raise ValueError(
            f"prediction is {prediction.dtype} of shape {tuple(prediction.shape)}: for label of "
            f"shape {tuple(label.shape)} expected whole numbers of that shape, or logits with an "
            "axis of classes before H x W"
        )
    if prediction.shape != label.shape:
        raise ValueError(
            f"the classes predicted have shape {tuple(prediction.shape)} and label has "
            f"{tuple(label.shape)}: bring logits to the size of the label, never the label to "
            'theirs: F.interpolate(logits, label.shape[-2:], mode="bilinear")'
        )
    return prediction.long()


def _check_range(classes: Tensor, num_classes: int, what: str) -> None:
    wrong = (classes < 0) | (classes >= num_classes)
    if what == "label":
        wrong &= classes != IGNORE
    if wrong.any():
        *image, y, x = wrong.nonzero()[0].tolist()
        place = f"({y}, {x})" + (f" of image {image[0]}" if image else "")
        hint = (
            f" and {IGNORE} is ignored. A palette PNG opened as grey looks like this: "
            'open it with mode "P".'
        )
        raise ValueError(
            f"{what} value {int(classes[wrong][0])} at {place}: classes are 0..{num_classes - 1}"
            + (hint if what == "label" else "")
        )


# ---- Scores of a confusion matrix, or of many (... x K x K) --------------------------------------
# Of a data set, sum over its images first, as Pascal VOC does: miou(matrices.sum(0)).


def class_iou(matrix: Tensor) -> Tensor:
    """... x K x K to ... x K: pixels in both over pixels in either, of truth and prediction.

    NaN for a class in neither; 0 for one that is predicted but not there. Taught in lesson 03.
    """
    both, true, predicted = _counts(matrix)
    return both / (true + predicted - both)


def class_accuracy(matrix: Tensor) -> Tensor:
    """... x K x K to ... x K: the share of a class's pixels that got it (recall)."""
    both, true, _ = _counts(matrix)
    return both / true


def miou(matrix: Tensor) -> Tensor:
    """... x K x K to ...: the mean of class_iou over the classes that have one."""
    return class_iou(matrix).nanmean(-1)


def mean_accuracy(matrix: Tensor) -> Tensor:
    """... x K x K to ...: the mean of class_accuracy over the classes that are there."""
    return class_accuracy(matrix).nanmean(-1)


def pixel_accuracy(matrix: Tensor) -> Tensor:
    """... x K x K to ...: the share of pixels, of any class, that got the right one."""
    both, true, _ = _counts(matrix)
    return both.sum(-1) / true.sum(-1)


def _counts(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels of each class in truth and prediction, in truth, in prediction: float64."""
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"matrix has shape {tuple(matrix.shape)}: expected ... x K x K")
    matrix = matrix.double()
    return matrix.diagonal(dim1=-2, dim2=-1), matrix.sum(-1), matrix.sum(-2)


# ---- How sure ------------------------------------------------------------------------------------


class Interval(NamedTuple):
    """A score with its confidence interval; written 0.853 [0.846, 0.860]."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


Score = Callable[[Tensor], Tensor]


def confidence_interval(
    matrices: Tensor,
    score: Score = miou,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """A score of N images (N x K x K), and the interval that it falls into for other such images.

    The bootstrap: draw N of the images with replacement, score their sum, `resamples` times; the
    interval holds the middle `level` of the results. It tells what other images would change, not
    what another training seed would. A class that no drawn image has is left out of that mean.
    Raises ValueError for less than two images.
    """
    value, drawn = _bootstrap(matrices, score, resamples, seed)
    return _interval(value, drawn, level)


def paired_difference(
    first: Tensor,
    second: Tensor,
    score: Score = miou,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """How much better the first model is than the second on the same N images (N x K x K each).

    Both are scored on the same draws, so that what makes an image hard for both cancels: the
    interval is narrower than those of the two scores suggest. If it excludes 0, the difference is
    more than the choice of images. Raises ValueError where the images are not the same.
    """
    if first.shape != second.shape or not torch.equal(first.sum(-1), second.sum(-1)):
        raise ValueError(
            f"matrices of shapes {tuple(first.shape)} and {tuple(second.shape)} count different "
            "pixels: both models must be scored on the same images in the same order"
        )
    value, drawn = _bootstrap(first, score, resamples, seed)
    other_value, other_drawn = _bootstrap(second, score, resamples, seed)
    return _interval(value - other_value, drawn - other_drawn, level)


def _bootstrap(matrices: Tensor, score: Score, resamples: int, seed: int) -> tuple[Tensor, Tensor]:
    """The score of all images, and of each draw."""
    if matrices.ndim != 3 or len(matrices) < 2:
        raise ValueError(
            f"matrices have shape {tuple(matrices.shape)}: expected N x K x K, one per image, "
            "of two images or more"
        )
    matrices = matrices.cpu()
    count, classes = len(matrices), matrices.shape[-1]
    draws = torch.randint(count, (resamples, count), generator=torch.Generator().manual_seed(seed))
    times = torch.zeros(resamples, count, dtype=torch.float64)
    times.scatter_add_(1, draws, torch.ones_like(times))  # how often each image is drawn
    sums = times @ matrices.double().flatten(1)
    return score(matrices.sum(0)), score(sums.view(-1, classes, classes))


def _interval(value: Tensor, drawn: Tensor, level: float) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"level {level!r}: expected a share between 0 and 1, as 0.95")
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=drawn.dtype)
    low, high = drawn.nanquantile(ends).tolist()
    return Interval(float(value), low, high)


# ---- Near the boundaries -------------------------------------------------------------------------


def boundary_distance(label: Array) -> Tensor:
    """Pixels from each pixel to the nearest one of another class: float32, of label's shape.

    Distances are Euclidean, between centres: 1 for both pixels at a straight edge. Infinite in an
    image of one class. 255 is an edge of its own, as in v3+: where a label carries it as a band on
    its outlines, distances count from the band's rim, and are 0 in it. To measure from the true
    edge, use a label without the band (`scenes.scene(..., outline=0)`).
    """
    from scipy.ndimage import distance_transform_edt  # type: ignore[import-untyped]

    label = _label(label)
    images = label.cpu().numpy().reshape(-1, *label.shape[-2:])
    distances = np.full(images.shape, np.inf, np.float32)
    for image, distance in zip(images, distances, strict=True):
        present = np.unique(image)
        for value in present if len(present) > 1 else ():
            inside = image == value
            distance[inside] = distance_transform_edt(inside)[inside]
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
    label = _label(label)
    predicted = _classes(prediction, label, num_classes)
    distance = boundary_distance(label)
    bands = [label.masked_fill(distance > _width(width), IGNORE) for width in widths]
    return torch.stack([confusion_matrices(predicted, band, num_classes) for band in bands])


def _width(width: float) -> float:
    if not (isinstance(width, int | float) and width > 0 and not math.isnan(width)):
        raise ValueError(f"width {width!r}: expected a number of pixels above 0")
    return width


# ---- Tables --------------------------------------------------------------------------------------


def records(matrix: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """K x K to a dict per class: class, iou, accuracy (recall), precision, pixels (true ones).

    Raises ValueError unless there are K names.
    """
    both, true, predicted = _counts(matrix)
    if matrix.ndim != 2 or len(classes) != len(matrix):
        raise ValueError(
            f"{len(classes)} class names for a matrix of shape {tuple(matrix.shape)}: expected "
            "K x K, summed over images, and K names"
        )
    columns = (class_iou(matrix), class_accuracy(matrix), both / predicted, true.long())
    rows = zip(classes, *(column.tolist() for column in columns), strict=True)
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def table(matrix: Tensor, classes: Sequence[str]) -> str:
    """`records` as text, with the means below; a dash where there is no number."""
    rows = records(matrix, classes)
    means = [float(torch.tensor([row[key] for row in rows]).nanmean()) for key in COLUMNS[1:4]]
    rows.append(dict(zip(COLUMNS, ["mean", *means, int(matrix.sum())], strict=True)))
    wide = max(len(name) for name in ("pixel accuracy", *classes))
    lines = [f"{'class':{wide}}        IoU   accuracy  precision      pixels"]
    for name, *shares, pixels in (row.values() for row in rows):
        numbers = "".join(f"{'-' if math.isnan(x) else f'{x:.3f}':>11}" for x in shares)
        lines.append(f"{name:{wide}}{numbers}{pixels:12,}")
    return "\n".join([*lines, f"{'pixel accuracy':{wide}}{float(pixel_accuracy(matrix)):22.3f}"])


def report(matrices: Tensor, classes: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """N x K x K to the "metrics" of a model card: scores, the interval of mIoU, and `records`."""
    matrix = matrices.sum(0)
    interval = confidence_interval(matrices, seed=seed)
    return {
        "images": len(matrices),
        "miou": interval.value,
        "interval": [interval.low, interval.high],
        "pixel_accuracy": float(pixel_accuracy(matrix)),
        "mean_accuracy": float(mean_accuracy(matrix)),
        "per_class": records(matrix, classes),
    }
