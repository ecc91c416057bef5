"""A checkpoint for photographs of any size: its classes, colours, device. Taught in lesson 09."""

import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from inspect import signature
from typing import Any

import numpy as np
import torch
from PIL import Image

from deeplab_lite import ask, checkpoints, colors
from deeplab_lite.ask import Inference
from deeplab_lite.crf import dense_crf
from deeplab_lite.image_files import shrunk
from deeplab_lite.scenes import CLASSES
from deeplab_lite.tiles import Track
from deeplab_lite.workshop.datasets import camvid


@dataclass(frozen=True)
class Settings(Inference):
    """How photos are segmented: a network and an `Inference`, all of whose fields are here, too.

    model: a name of `checkpoints.names()` or the path of a .safetensors with its card. longest: the
    network sees larger photos shrunk to this side, as `import --longest` shrank those that it
    learned from; 0 shrinks none.
    """

    model: str
    longest: int = 0


class Segmenter:
    """A trained network that takes images of any size: uint8 (H, W, 3).

    With `crf=True` the CRF has the parameters of the card, or DeepLab v1's. Raises ValueError or
    FileNotFoundError as `checkpoints.load`; ValueError for an output stride that the network cannot
    have, and for a device that is not there.
    """

    def __init__(self, settings: Settings, device: str = "auto"):
        self.card = checkpoints.card(settings.model)
        if settings.crf is True:
            parameters = self.card.get("crf", {})
            try:
                signature(dense_crf).bind(None, None, **parameters)
            except TypeError as error:
                raise ValueError(
                    f"the card of {settings.model} has a wrong crf: {error}"
                ) from error
            settings = replace(settings, crf=dict(parameters))
        self.settings = settings
        self.device = find_device(device)
        self.classes = tuple(map(str, self.card["classes"]))
        self.palette = palette(self.card)
        network: Any = checkpoints.load(settings.model, device=self.device)
        self.network: Any = network
        self.network.to(memory_format=torch.channels_last)
        if settings.output_stride is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.network.output_stride = settings.output_stride

    @property
    def name(self) -> str:
        """The model's name or path, as in the settings."""
        return self.settings.model

    def described(self) -> dict[str, Any]:
        """All that decides what comes out, as JSON: the settings and the weights' sha256."""
        description = asdict(self.settings) | {"sha256": self.card["sha256"]}
        return description | {"scales": list(self.settings.scales)}

    @cached_property
    def overlap(self) -> tuple[int, int]:
        """See `ask.overlap_of`."""
        return ask.overlap_of(self.network, self.settings)

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """float32 (K, H, W) of an image in one pass, see `ask.probabilities`."""
        with warnings.catch_warnings():  # of rates larger than the map of a small image
            warnings.simplefilter("ignore")
            classes = len(self.classes)
            return ask.probabilities(self.network, image, self.settings, classes, self.name)

    def labels(self, image: np.ndarray, track: Track = iter) -> np.ndarray:
        """The class of each pixel, uint8 (H, W), tile by tile if need be, see `ask.label`.

        Of an image above `longest`, the labels of the shrunk one, enlarged again.
        """
        if 0 < self.settings.longest < max(image.shape[:2]):
            small = Image.fromarray(self.labels(shrunk(image, self.settings.longest), track))
            return np.array(small.resize(image.shape[1::-1], Image.Resampling.NEAREST))
        large = max(image.shape[:2]) > self.settings.tile
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            overlap = self.overlap if large else None
            return ask.label(self.network, image, self.settings, track, overlap)


def find_device(name: str) -> torch.device:
    """auto (a GPU where there is one), cpu, cuda, cuda:1 or mps; ValueError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(
            f"device {name!r} is not there: expected auto, cpu, cuda, cuda:1 or mps"
        ) from None
    return device


def palette(card: checkpoints.Card) -> np.ndarray:
    """A colour for each class, uint8 (K, 3).

    The card's "palette", that of the scenes or of CamVid by the classes' names, or Pascal VOC's.
    """
    classes = tuple(card["classes"])
    if "palette" in card:
        return np.array(card["palette"], np.uint8)
    if classes == CLASSES:
        return colors.SCENE_PALETTE
    if classes == camvid.CLASSES:
        return np.array(camvid.PALETTE, np.uint8)
    return colors.voc_palette(len(classes))


def shares(labels: np.ndarray, classes: Iterable[str]) -> list[dict[str, Any]]:
    """A dict for each class: class (its number), name, pixels, share (of all, to 6 digits)."""
    names = tuple(classes)
    counts = np.zeros(len(names), int)
    for row in labels:  # of all at once, bincount would make a copy 8 times as large
        counts += np.bincount(row, minlength=len(names))
    return [
        {"class": k, "name": name, "pixels": n, "share": round(n / labels.size, 6)}
        for k, (name, n) in enumerate(zip(names, counts.tolist(), strict=True))
    ]
