"""A segmentation on its image: classes, errors by kind, where a network is unsure. Lesson 03 on."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deeplab_lite.classroom.draw.arrays import heat
from deeplab_lite.classroom.draw.differences import ERRORS, palette
from deeplab_lite.colors import checked, overlay
from deeplab_lite.labels import IGNORE

ERROR_PALETTE = palette(ERRORS)
GAP = 4  # pixels between the pictures of a strip, darker than any of their greys
BETWEEN = 56


def error_kinds(prediction: Any, label: Any) -> np.ndarray:
    """uint8 (H, W): 0 where the class is right, else 1 + the place in ERRORS; 255 does not count.

    prediction, label: classes (H, W), label with 255 where no class is given. Raises ValueError
    where their shapes differ.
    """
    prediction, label = np.asarray(prediction), np.asarray(label)
    if prediction.shape != label.shape or label.ndim != 2:
        raise ValueError(
            f"a prediction of shape {prediction.shape} and labels of shape {label.shape}: "
            "expected classes (H, W) for both"
        )
    kinds = np.select([prediction == label, prediction == 0, label == 0], [0, 1, 2], 3)
    kinds[label == IGNORE] = IGNORE
    return kinds.astype(np.uint8)


def errors(image: Any, prediction: Any, label: Any, alpha: float = 0.85) -> np.ndarray:
    """The image in grey, its wrong pixels in the colours of ERRORS, those not counted pale."""
    return overlay(grey(image), error_kinds(prediction, label), alpha, ERROR_PALETTE)


def doubt(image: Any, probabilities: Any, alpha: float = 0.85) -> np.ndarray:
    """The image in grey, brighter colours where the likeliest class is less likely.

    probabilities: (K, H, W). The scale reaches from 1 (no colour) to 1 / K, where all classes are
    equally likely, so nothing can be less sure. Raises ValueError for other shapes and for NaN.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 3 or probabilities.shape[1:] != np.shape(image)[:2]:
        raise ValueError(
            f"probabilities of shape {probabilities.shape} for an image of shape "
            f"{np.shape(image)}: expected (K, H, W) and (H, W, 3)"
        )
    least = max(1e-6, 1 - 1 / len(probabilities))
    return heat(image, 1 - probabilities.max(0), alpha, 0, least)


def grey(image: Any) -> np.ndarray:
    """The image without colour and a little paler, a ground for coloured marks: (H, W, 3)."""
    light = checked(image) @ np.array([0.299, 0.587, 0.114])
    return np.repeat(np.rint(0.55 * light + 85).astype(np.uint8)[..., None], 3, axis=2)


def strip(pictures: Sequence[np.ndarray], scale: int = 1) -> np.ndarray:
    """Pictures (H, W, 3) of one height side by side, each pixel as scale x scale pixels."""
    height = pictures[0].shape[0]
    bar = np.full((height * scale, GAP, 3), BETWEEN, np.uint8)
    parts: list[np.ndarray] = []
    for picture in pictures:
        parts += [bar, picture.repeat(scale, axis=0).repeat(scale, axis=1)]
    return np.concatenate(parts[1:], axis=1)
