"""The grader of lesson 00: the stub, the right answer, and each misconception by its name."""

import numpy as np
import pytest

from deeplab_lite.classroom import exercises as check


def pixels(prediction, label, ignore=True):
    """Of the classes 0 and 1: pixels in both maps, in either, and in the label."""
    if ignore:
        prediction, label = prediction[label != 255], label[label != 255]
    maps = [(prediction == c, label == c) for c in (0, 1)]
    return np.array([[(p & t).sum(), (p | t).sum(), t.sum()] for p, t in maps]).T


def right(prediction, label):
    both, either, _ = pixels(prediction, label)
    return (both / either).mean()


def with_void(prediction, label):
    both, either, _ = pixels(prediction, label, ignore=False)
    return (both / either).mean()


def pixel_accuracy(prediction, label):
    return (prediction == label)[label != 255].mean()


def recall(prediction, label):
    both, _, true = pixels(prediction, label)
    return (both / true).mean()


def cat_alone(prediction, label):
    both, either, _ = pixels(prediction, label)
    return both[1] / either[1]


def pooled(prediction, label):
    both, either, _ = pixels(prediction, label)
    return both.sum() / either.sum()


def learned_by_heart(prediction, label):
    return 23 / 35


@pytest.mark.parametrize(
    "answer, verdict",
    [
        (lambda prediction, label: ..., "· not attempted yet"),
        (right, "✓ a class counts as much as any other"),
        (with_void, "✗ pixels labelled 255 are still counted"),
        (pixel_accuracy, "✗ that is the share of pixels that are right"),
        (recall, "✗ you divided by the pixels that truly are of the class"),
        (cat_alone, "✗ that is the IoU of the cat alone"),
        (pooled, "✗ you divided the sum of the intersections by the sum of the unions"),
        (learned_by_heart, "✗ not 0.657 but 0."),
        (lambda prediction, label: None, "✗ mean_iou returned None: expected one number"),
        (lambda prediction, label: 1 / 0, "✗ your code stopped with ZeroDivisionError"),
    ],
)
def test_mean_iou(answer, verdict, capsys):
    check.mean_iou(answer)
    assert capsys.readouterr().out.startswith(verdict)
