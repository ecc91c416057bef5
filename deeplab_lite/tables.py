"""Scores as records, as text and as a card's report; tables as measured. Lesson 03 on."""

import csv
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deeplab_lite.files import assets
from deeplab_lite.labels import sizes
from deeplab_lite.metrics import (
    class_accuracy,
    class_iou,
    confidence_interval,
    counts,
    mean_accuracy,
    pixel_accuracy,
)

COLUMNS = ("class", "iou", "accuracy", "precision", "pixels")


def records(matrix: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """K x K to a dict per class: class, iou, accuracy (recall), precision, pixels (true ones).

    Raises ValueError unless there are K names.
    """
    both, true, predicted = counts(matrix)
    if matrix.ndim != 2 or len(classes) != len(matrix):
        raise ValueError(
            f"{len(classes)} class names for a matrix of {sizes(matrix)}: expected K x K, summed "
            "over images, and K names"
        )
    columns = (class_iou(matrix), class_accuracy(matrix), both / predicted, true.long())
    rows = zip(classes, *(column.tolist() for column in columns), strict=True)
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def table(matrix: Tensor, classes: Sequence[str]) -> str:
    """`records` as text, with the means below; a dash where there is no number."""
    rows = records(matrix, classes)
    means = torch.tensor([[row[key] for key in COLUMNS[1:4]] for row in rows]).nanmean(0).tolist()
    lines = [[*row.values()] for row in rows] + [["mean", *means, int(matrix.sum())]]
    cells = [[name, *map(_digits, shares), f"{pixels:,}"] for name, *shares, pixels in lines]
    accuracy = ["pixel accuracy", "", _digits(float(pixel_accuracy(matrix))), "", ""]
    return text_table([["class", "IoU", "accuracy", "precision", "pixels"], *cells, accuracy])


def _digits(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.3f}"


def some(values: Sequence[Any], most: int = 4) -> str:
    """The first of many values, and how many more there are."""
    rest = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(map(str, values[:most])) + rest


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of words as aligned text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("   ".join([f"{first:{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines)


def report(matrices: Tensor, classes: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """N x K x K to the scores of a model card, to four digits; the interval is that of mIoU.

    {"images", "miou", "interval": [low, high], "accuracy" (of pixels), "mean_accuracy", "iou": per
    class}.
    """
    matrix = matrices.sum(0)
    mean, low, high = confidence_interval(matrices, seed=seed)
    return {
        "images": len(matrices),
        "miou": round(mean, 4),
        "interval": [round(low, 4), round(high, 4)],
        "accuracy": round(float(pixel_accuracy(matrix)), 4),
        "mean_accuracy": round(float(mean_accuracy(matrix)), 4),
        "iou": {row["class"]: round(row["iou"], 4) for row in records(matrix, classes)},
    }


def measured(name: str) -> list[dict[str, str]]:
    """The rows of a table in assets/, which benchmarks/ wrote: measured("ladder.csv").

    Found wherever the lesson runs. Raises FileNotFoundError where there is no such table.
    """
    with (assets() / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
