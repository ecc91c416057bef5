"""Colours that mean "wrong" or "differs". No class has one of them, in scenes, VOC or CamVid.

Light, middle and dark, so that they are told apart by eyes that see fewer colours, and on grey.
Each picture on which they stand is in grey, and has a legend.
"""

import numpy as np

DIFFERENCES = np.array([(136, 255, 170), (170, 102, 255), (51, 17, 51), (238, 204, 255)], np.uint8)
MINT, VIOLET, PLUM, LILAC = DIFFERENCES

# What can be wrong with a pixel; class 0 is the background.
ERRORS = {
    "missed": ("object as background", PLUM),
    "invented": ("background as object", MINT),
    "confused": ("object as another", VIOLET),
}
# What can become of a pixel whose class changes.
CHANGES = {
    "fixed": ("wrong before, right now", MINT),
    "broken": ("right before, wrong now", VIOLET),
    "still wrong": ("one wrong class for another", PLUM),
    "changed": ("no truth is given here", LILAC),
}
# How two answers can differ at a pixel.
DISAGREEMENT = {
    "second": ("only the second is right", MINT),
    "first": ("only the first is right", VIOLET),
    "neither": ("both wrong, in two ways", PLUM),
    "unknown": ("no truth is given", LILAC),
}


def palette(kinds: dict[str, tuple[str, np.ndarray]]) -> np.ndarray:
    """uint8 (1 + N, 3): the colours of N kinds behind one for 0, which `overlay` leaves clear."""
    return np.stack([np.zeros(3, np.uint8), *(color for _, color in kinds.values())])
