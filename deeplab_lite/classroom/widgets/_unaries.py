"""What the CRF's widgets start from: an image, a network's probabilities, the truth. Lesson 04."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from deeplab_lite import checkpoints, photos, scenes
from deeplab_lite.classroom import draw

# A thing in each photograph: its name for the dense classifier, and its classes in the mask.
THINGS = {
    "chelsea": ("cat", ("cat",)),
    "astronaut": ("space shuttle", ("space shuttle",)),
    "coffee": ("coffee", ("cup", "coffee")),
    "motorcycle": ("motorbike", ("motorbike",)),
}
SIDE = 132  # pixels of a photograph's longer side: 17,000 in all are filtered in a blink


class Unaries(NamedTuple):
    """What a CRF starts from, and what is known of the truth."""

    title: str
    image: np.ndarray  # uint8 (H, W, 3)
    probs: np.ndarray  # float32 (K, H, W)
    label: np.ndarray | None  # classes (H, W), 255 where none is given
    edges: np.ndarray | None  # the same without a band of 255: where the boundaries are
    classes: tuple[str, ...]
    palette: np.ndarray  # uint8 (K, 3) or more rows


def of_arrays(
    image: Any,
    probs: Any,
    label: Any = None,
    classes: Sequence[str] | None = None,
    palette: np.ndarray | None = None,
) -> Unaries | None:
    """A reader's own image and probabilities, K x H x W; None without them.

    Classes and palette default to the scenes' if there are as many, else to numbers and to Okabe
    and Ito's eight colours. Raises ValueError where these do not fit together.
    """
    if (image is None) != (probs is None):
        raise ValueError("image and probs belong together: give both, or neither for a scene")
    if image is None:
        return None
    image, probs = draw.checked(image), np.asarray(torch.as_tensor(probs).detach().cpu())
    if probs.ndim != 3 or probs.shape[1:] != image.shape[:2]:
        raise ValueError(
            f"probs of shape {probs.shape} for an image of shape {image.shape}: expected K x H x W "
            "and H x W x 3"
        )
    if label is not None and np.shape(label) != image.shape[:2]:
        raise ValueError(
            f"labels of shape {np.shape(label)} for an image of shape {image.shape}: expected H x W"
        )
    k = len(probs)
    like_scenes = k == len(scenes.CLASSES)
    if classes is None:
        classes = scenes.CLASSES if like_scenes else [f"class {i}" for i in range(k)]
    if palette is None:
        palette = draw.SCENE_PALETTE
    if len(classes) != k or len(palette) < k:
        raise ValueError(
            f"{len(classes)} names and {len(palette)} colours for {k} classes: expected {k} names "
            "and as many colours"
        )
    label = None if label is None else np.asarray(torch.as_tensor(label).cpu())
    return Unaries("an image", image, probs, label, label, tuple(classes), np.asarray(palette))


@lru_cache(maxsize=16)
def of_scene(seed: int, size: int = scenes.ORDINARY.side) -> Unaries:
    """A scene, or its middle, with what v1-scenes says. Raises ValueError for a seed that is none.

    The network sees the whole scene.
    """
    image, label = scenes.scene(seed)
    _, edges = scenes.scene(seed, outline=0)
    with torch.inference_mode():
        probs = _network()(scenes.normalize(image)[None])[0].softmax(0).numpy()
    first = (len(image) - size) // 2
    part = slice(first, first + size)
    image, probs, label, edges = (
        image[part, part],
        probs[:, part, part],
        label[part, part],
        edges[part, part],
    )
    names = scenes.CLASSES
    return Unaries(f"scene {seed}", image, probs, label, edges, names, draw.SCENE_PALETTE)


@lru_cache(maxsize=8)
def of_photo(name: str) -> Unaries:
    """A photograph, shrunk to SIDE pixels, with the dense classifier's word for its THINGS.

    Two classes, the thing and the rest, at output stride 8. Takes some seconds when first asked.
    """
    image, (thing, parts) = photos.photo(name), THINGS[name]
    height, width = image.shape[:2]
    maps = photos.upsample(photos.dense_class_map(image, thing, 8), (height, width), 8)[0].numpy()
    share = SIDE / max(height, width)
    size = round(height * share), round(width * share)
    rows, columns = (
        ((np.arange(n) + 0.5) * full / n).astype(int)
        for n, full in zip(size, (height, width), strict=True)
    )
    small = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BOX))
    inside = maps[rows][:, columns]
    known = photos.mask_classes(name)
    table = np.zeros(256, np.uint8)
    table[[known.index(part) for part in parts]], table[255] = 1, 255
    label, edges = (table[photos.reference_mask(name, band)[rows][:, columns]] for band in (2, 0))
    palette = draw.PALETTE[[0, 1]]
    probs = np.stack([1 - inside, inside])
    return Unaries(name, small, probs, label, edges, (f"not {thing}", thing), palette)


@lru_cache(maxsize=1)
def _network() -> nn.Module:
    return checkpoints.load("v1-scenes")
