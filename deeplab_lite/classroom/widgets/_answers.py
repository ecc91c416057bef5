"""What networks say of an image: with another output stride, several sizes, a mirror, a CRF.

The Playground of lesson 08 asks here. Passes through networks are kept, so that what needs none,
such as another view or another CRF, follows at once.
"""

import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from deeplab_lite import checkpoints, image_files, scenes
from deeplab_lite.classroom.widgets._subjects import Subject
from deeplab_lite.classroom.widgets._twin import one_of
from deeplab_lite.classroom.widgets.refinement import PAPERS, Settings
from deeplab_lite.crf import dense_crf
from deeplab_lite.models.v2 import MultiScale

STRIDES = (8, 16, 32)
# The best of lesson 04's search on v1-scenes; its colour sigma suits textured shapes.
SEARCHED = Settings(w_appearance=20.0, sigma_xy=25.0, sigma_rgb=20.0)
CRFS: dict[str, Settings | None] = {"off": None, "DeepLab's": PAPERS["v1"], "searched": SEARCHED}


class Recipe(NamedTuple):
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


class Answers:
    """Asks networks; `models` maps names to networks, or to None for the checkpoint of that name.

    A network takes images as `scenes.normalize` makes them, with sides of 16 k + 1, and gives
    logits of the images' size, a channel for each of `classes` classes.
    """

    def __init__(self, models: Mapping[str, nn.Module | None], classes: int):
        self.models, self.classes = dict(models), classes
        self._network = lru_cache(maxsize=8)(self._find)
        self.strides = lru_cache(maxsize=None)(self._strides)
        self._passed = lru_cache(maxsize=32)(self._pass)
        self._refined = lru_cache(maxsize=32)(self._refine)

    def ask(self, recipe: Recipe, subject: Subject) -> tuple[np.ndarray, tuple[str, ...]]:
        """Probabilities (K, H, W), float32, and what the network warned of.

        Raises ValueError as `check`, and for logits of another shape.
        """
        self.check(recipe)
        return self._refined(subject, recipe)

    def check(self, recipe: Recipe) -> None:
        """Raises ValueError for a model, a stride or a CRF that there is not."""
        one_of("model", recipe.model, self.models)
        one_of("crf", recipe.crf, CRFS)
        _, strides = self.strides(recipe.model)
        if recipe.stride is not None and recipe.stride not in strides:
            known = ", ".join(map(str, strides)) or "none, it has no such setting"
            raise ValueError(f"{recipe.model} at output stride {recipe.stride}: there is {known}")

    # ---- Parts

    def _find(self, name: str) -> nn.Module:
        network = self.models[name]
        return checkpoints.load(name) if network is None else network

    def _strides(self, name: str) -> tuple[int | None, tuple[int, ...]]:
        """The output stride as trained, and all that it can be set to: its rates decide."""
        network: Any = self._network(name)
        own: int | None = getattr(network, "output_stride", None)
        found: list[int] = []
        if own is None:
            return None, ()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for stride in STRIDES:
                with suppress(ValueError):
                    network.output_stride = stride
                    found.append(stride)
            network.output_stride = own
        return own, tuple(found)

    def _refine(self, subject: Subject, recipe: Recipe) -> tuple[np.ndarray, tuple[str, ...]]:
        probs, said = self._passed(subject, recipe._replace(crf="off"))
        settings = CRFS[recipe.crf]
        if settings is None:
            return probs, said
        named = settings._asdict()
        kept = {name: named[name] for name in named if name not in ("temperature", "objects")}
        return dense_crf(probs, subject.image, **kept), said

    def _pass(self, subject: Subject, recipe: Recipe) -> tuple[np.ndarray, tuple[str, ...]]:
        image = subject.image
        network: Any = self._network(recipe.model)
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        batch = scenes.normalize(image_files.padded(image))[None].to(device)
        if recipe.flip:  # one batch, up to a sixth quicker than Mirrored, which spares memory
            batch = torch.cat([batch, batch.flip(-1)])
        own, was_training = self.strides(recipe.model)[0], network.training
        network.eval()
        try:
            with warnings.catch_warnings(record=True) as caught, torch.inference_mode():
                warnings.simplefilter("always")
                if recipe.stride is not None:
                    network.output_stride = recipe.stride
                logits = (MultiScale(network) if recipe.multi_scale else network)(batch)
        finally:
            network.train(was_training)
            if recipe.stride is not None:
                network.output_stride = own
        expected = (len(batch), self.classes, *batch.shape[2:])
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if found != expected:
            raise ValueError(
                f"{recipe.model} gives {found}: expected logits {expected}, the classes named and "
                "the image's size"
            )
        probs = logits.detach().float().softmax(1)
        mean = (probs[0] + probs[1].flip(-1)) / 2 if recipe.flip else probs[0]
        height, width = image.shape[:2]
        said = tuple(dict.fromkeys(str(warning.message) for warning in caught))
        return mean[:, :height, :width].cpu().numpy(), said
