"""Grader of lesson 00."""

from numbers import Real
from typing import Any

import numpy as np

from deeplab_lite.classroom.exercises.grading import expect, grader

# Background 0, cat 1; two pixels are too close to the outline to count
LABEL = np.array([[0, 0, 0, 0], [0, 1, 1, 255], [0, 1, 1, 255]])
PREDICTION = np.array([[0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 1, 0]])


@grader
def mean_iou(answer: Any) -> str:
    """answer(prediction, label): mean IoU of the classes 0 and 1; label 255 does not count."""
    counts = LABEL != 255
    both, either, true = _pixels(PREDICTION[counts], LABEL[counts])
    all_both, all_either, _ = _pixels(PREDICTION, LABEL)
    mistakes = {
        "pixels labelled 255 are still counted: leave them out of both maps first": (
            all_both / all_either
        ).mean(),
        "that is the share of pixels that are right, in which a large class hides a small one: "
        "divide by the union, class by class": both.sum() / counts.sum(),
        "you divided by the pixels that truly are of the class, so calling everything cat would "
        "be perfect for the cat: divide by the union": (both / true).mean(),
        "that is the IoU of the cat alone: the background is a class too": both[1] / either[1],
        "you divided the sum of the intersections by the sum of the unions: divide class by "
        "class, then average": both.sum() / either.sum(),
    }
    score = answer(PREDICTION.copy(), LABEL.copy())
    expect(isinstance(score, Real), f"mean_iou returned {score!r}: expected one number")
    for hint, value in mistakes.items():
        expect(abs(float(score) - value) > 1e-6, hint)
    random = np.random.RandomState(0)
    noise = random.choice([0, 1], (20, 30)), random.choice([0, 1, 255], (20, 30))
    for prediction, label in ((PREDICTION, LABEL), noise):
        both, either, _ = _pixels(prediction[label != 255], label[label != 255])
        score, right = float(answer(prediction.copy(), label.copy())), (both / either).mean()
        expect(
            abs(score - right) < 1e-6,
            f"not {score:.3f} but {right:.3f}: for each class, divide the pixels that both maps "
            "give it by the pixels that either gives it, and average the two",
        )
    return "a class counts as much as any other, however few pixels it has"


def _pixels(prediction: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, ...]:
    """Pixels of the classes 0 and 1 in both maps, in either, and in the label."""
    classes = np.arange(2)[:, None]
    predicted, true = prediction.ravel() == classes, label.ravel() == classes
    return (predicted & true).sum(1), (predicted | true).sum(1), true.sum(1)
