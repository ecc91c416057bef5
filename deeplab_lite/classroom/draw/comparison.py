"""Two answers side by side: where they differ and who is right, how unsure each is. Lesson 08."""

from typing import Any

import numpy as np

from deeplab_lite.classroom.draw.arrays import heat
from deeplab_lite.classroom.draw.crf_steps import change_kinds
from deeplab_lite.classroom.draw.differences import DISAGREEMENT, palette
from deeplab_lite.classroom.draw.segmentation import grey
from deeplab_lite.colors import overlay


def disagreement_kinds(first: Any, second: Any, label: Any = None) -> np.ndarray:
    """uint8 (H, W): 0 where two class maps agree, else 1 + the place in DISAGREEMENT.

    first, second: classes (H, W); label likewise, 255 where no class is given, or None. Raises
    ValueError where their shapes differ.
    """
    return change_kinds(first, second, label)


def disagreement(
    image: Any, first: Any, second: Any, label: Any = None, alpha: float = 0.85
) -> np.ndarray:
    """The image in grey, the pixels where two class maps differ in the colours of DISAGREEMENT."""
    return overlay(
        grey(image), disagreement_kinds(first, second, label), alpha, palette(DISAGREEMENT)
    )


def entropy(probabilities: Any) -> np.ndarray:
    """(K, H, W) to (H, W): 0 where one class is certain, 1 where all are equally likely.

    The entropy -sum p log p over its largest value, log K. Unlike the confidence it tells two
    classes in doubt from nine. Raises ValueError for other shapes.
    """
    probs = np.asarray(probabilities, dtype=np.float32)
    if probs.ndim != 3 or len(probs) < 2:
        raise ValueError(
            f"probabilities of shape {probs.shape}: expected (K, H, W), of 2 classes or more"
        )
    bits = -(probs * np.log(np.maximum(probs, 1e-30))).sum(0)
    return np.clip(bits / np.log(len(probs)), 0, 1)


def surprise(image: Any, probabilities: Any, alpha: float = 0.85) -> np.ndarray:
    """The image in grey, brighter colours where the entropy is higher; from 0 to its largest."""
    return heat(image, entropy(probabilities), alpha, 0, 1)
