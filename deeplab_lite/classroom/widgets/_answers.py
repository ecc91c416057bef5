"""What networks say of an image, as a widget asks for it: passes are kept, so sliders are quick.

Used by the Playground (lesson 08), the boundary microscope (07) and the segmentation viewer (03).
"""

import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from deeplab_lite import ask, checkpoints
from deeplab_lite.ask import Inference
from deeplab_lite.classroom.widgets._subjects import Subject
from deeplab_lite.classroom.widgets._twin import one_of

STRIDES = (8, 16, 32)
MULTI_SCALE = {"scales": (1.0, 0.75, 0.5), "fuse": "max"}  # v2's way
# The best of lesson 04's search on v1-scenes; its colour sigma suits textured shapes.
SEARCHED = {"w_appearance": 20.0, "sigma_xy": 25.0, "sigma_rgb": 20.0}
CRFS: dict[str, bool | dict[str, float]] = {"off": False, "DeepLab's": True, "searched": SEARCHED}

Networks = Mapping[str, nn.Module | None]


class Choice(NamedTuple):
    """A network, and how it is asked.

    - `stride`: another output stride with the same weights; None leaves the network as it is.
    - `multi_scale`: v2's way, sizes 1, 0.75 and 0.5, the largest logit of each class and pixel.
    - `flip`: the mean of the probabilities for the image and for its mirror image, as in v3.
    - `crf`: one of CRFS.
    """

    model: str
    stride: int | None = None
    multi_scale: bool = False
    flip: bool = False
    crf: str = "off"

    def __str__(self) -> str:
        parts = [
            self.model,
            f"at OS{self.stride}" if self.stride else "",
            "+ multi-scale" if self.multi_scale else "",
            "+ flip" if self.flip else "",
            f"+ CRF ({self.crf})" if self.crf != "off" else "",
        ]
        return " ".join(filter(None, parts))

    @property
    def inference(self) -> Inference:
        """The same for `deeplab_lite.ask`."""
        scales: dict[str, Any] = MULTI_SCALE if self.multi_scale else {}
        return Inference(output_stride=self.stride, flip=self.flip, crf=CRFS[self.crf], **scales)


class Answers:
    """Asks networks; `models` maps names to networks, or to None for the checkpoint of that name.

    A network takes images as `scenes.normalize` makes them, and gives logits of the images' size, a
    channel for each of `classes` classes.
    """

    def __init__(self, models: Networks, classes: int):
        self.models, self.classes = dict(models), classes
        self.network = lru_cache(maxsize=8)(self._load)
        self.strides = lru_cache(maxsize=None)(self._strides)
        self._passes = lru_cache(maxsize=32)(self._pass)
        self._refined = lru_cache(maxsize=32)(self._refine)

    def ask(self, choice: Choice, subject: Subject) -> tuple[np.ndarray, tuple[str, ...]]:
        """Probabilities (K, H, W), float32, and what the network warned of.

        Raises ValueError as `check`, and for logits of another shape.
        """
        self.check(choice)
        return self._refined(subject, choice)

    def check(self, choice: Choice) -> None:
        """Raises ValueError for an unknown model or CRF, or a stride that the model can't have."""
        one_of("model", choice.model, self.models)
        one_of("crf", choice.crf, CRFS)
        _, strides = self.strides(choice.model)
        if choice.stride is not None and choice.stride not in strides:
            known = ", ".join(map(str, strides)) or "none, it has no such setting"
            raise ValueError(f"{choice.model} at output stride {choice.stride}: there is {known}")

    # ---- Parts

    def _load(self, name: str) -> nn.Module:
        network = self.models[name]
        return checkpoints.load(name) if network is None else network

    def _strides(self, name: str) -> tuple[int | None, tuple[int, ...]]:
        """The output stride as trained, and all that it can be set to: its rates decide."""
        network: Any = self.network(name)
        own: int | None = getattr(network, "output_stride", None)
        possible: list[int] = []
        if own is None:
            return None, ()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for stride in STRIDES:
                with suppress(ValueError):
                    network.output_stride = stride
                    possible.append(stride)
            network.output_stride = own
        return own, tuple(possible)

    def _refine(self, subject: Subject, choice: Choice) -> tuple[np.ndarray, tuple[str, ...]]:
        probs, messages = self._passes(subject, choice._replace(crf="off"))
        return ask.refine(probs, subject.image, choice.inference), messages

    def _pass(self, subject: Subject, choice: Choice) -> tuple[np.ndarray, tuple[str, ...]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            network, image = self.network(choice.model), subject.image
            settings = (choice.inference, self.classes, choice.model)
            probs = ask.probabilities(network, image, *settings)
        return probs, tuple(dict.fromkeys(str(warning.message) for warning in caught))


def table_of(models: Iterable[str] | Networks) -> dict[str, nn.Module | None]:
    """Names, or a dict of name to network, as such a dict. Raises ValueError if there are none."""
    table = dict(models) if isinstance(models, Mapping) else dict.fromkeys(models)
    if not table:
        raise ValueError("no models: give names of checkpoints, or a dict of name to network")
    return table
