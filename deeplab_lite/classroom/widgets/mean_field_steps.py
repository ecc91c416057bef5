"""What the mean-field replay shows of each step: numbers and frames. Lesson 04."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from deeplab_lite import metrics
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.draw import crf_steps as pictures
from deeplab_lite.crf import Trace
from deeplab_lite.labels import IGNORE

VIEWS = {
    "labels": "label map",
    "changes": "what changed",
    "marginal": "marginal",
    "appearance": "appearance message",
    "smoothness": "smoothness message",
}
OF_A_CLASS = ("marginal", "appearance", "smoothness")

Numbers = Mapping[str, list[float]]  # per step: changed, fixed, broken, free, miou


def numbers(labels: np.ndarray, free: Sequence[float], label: np.ndarray | None) -> Numbers:
    """What is told of each step: pixels that changed, for the better and the worse; free energy.

    labels: T + 1 x H x W, the likeliest classes. fixed, broken and miou are empty without label.
    """
    kinds = [np.zeros_like(labels[0])]
    kinds += [draw.change_kinds(*pair, label) for pair in itertools.pairwise(labels)]
    steps: dict[str, list[float]] = {
        "changed": [int((kind > 0).sum()) for kind in kinds],
        "fixed": [int((kind == 1).sum()) for kind in kinds],
        "broken": [int((kind == 2).sum()) for kind in kinds],
        "free": [round(float(value), 1) for value in free],
        "miou": [],
    }
    if label is None:
        return {**steps, "fixed": [], "broken": []}
    classes = 1 + max(int(labels.max()), int(label[label != IGNORE].max(initial=0)))
    same = np.broadcast_to(label, labels.shape)
    scores = metrics.miou(metrics.confusion_matrices(labels, same, classes))
    return {**steps, "miou": [round(float(score), 3) for score in scores]}


def frames(
    trace: Trace, labels: np.ndarray, label: np.ndarray | None, classes: Mapping[int, str]
) -> dict[str, np.ndarray]:
    """T + 1 x H x W rows of `table` for each view, or view/class name; empty at the start."""
    none = np.zeros_like(labels[:1])
    kinds = [draw.change_kinds(*pair, label) for pair in itertools.pairwise(labels)]
    steps = {
        "labels": pictures.outlined(labels, trace.marginals.shape[1]),
        "changes": np.concatenate([none, *(kind[None] for kind in kinds)]),
    }
    for k, name in classes.items():
        steps[f"marginal/{name}"] = pictures.levels(trace.marginals[:, k].detach().cpu())
        for message, sent in trace.messages.items():
            shown = pictures.levels(sent[:, k].detach().cpu() / tops(trace)[message])
            steps[f"{message}/{name}"] = np.concatenate([none, shown])
    return steps


def tops(trace: Trace) -> dict[str, float]:
    """What the brightest colour of each message means: the largest sent, up to the next tenth.

    Each kernel is divided by the roots of two pixels' sums, so what arrives may exceed 1.
    """
    return {
        name: max(1.0, math.ceil(10 * float(sent.max())) / 10)
        for name, sent in trace.messages.items()
    }


def table(view: str, palette: np.ndarray) -> np.ndarray:
    """The colours of a view's frames, RGBA."""
    if view == "labels":
        return pictures.class_table(palette)
    return pictures.change_table() if view == "changes" else pictures.heat_table()
