"""One way to ask a trained network: output stride, scales, mirror image, CRF, tiles. Lesson 08, 09.

    probabilities(network, image)                                       # K x H x W, in one pass
    label(network, image, Inference(scales=(0.75, 1, 1.25), flip=True)) # H x W, tile by tile

An image is uint8 (H, W, 3) and of any size: `sizes.fit` brings it to sides that the network takes.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import sizes
from .analysis.fields import receptive_fields
from .crf import dense_crf
from .models.v2 import Mirrored, MultiScale
from .scenes import normalize
from .tiles import Track, blend, spans


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How a network is asked.

    - `output_stride`: another than the one of training, with the same weights; None keeps it.
    - `scales`: sizes in which the network sees an image; `fuse` "mean" averages probabilities, as
      in v3 and v3+, "max" takes the largest logit, as in v2. `flip`: the mirror image, too.
    - `crf`: True refines by the dense CRF with DeepLab v1's parameters, a dict with others.
    - `tile`: longest side, in pixels, of one pass; a larger image is cut into tiles that share
      `overlap` pixels. None is what the receptive field needs.

    Raises ValueError for values outside of these.
    """

    output_stride: int | None = None
    scales: tuple[float, ...] = (1.0,)
    fuse: str = "mean"
    flip: bool = False
    crf: bool | Mapping[str, Any] = False
    tile: int = 1025
    overlap: int | None = None

    def __post_init__(self) -> None:
        if not self.scales or not all(0.1 <= scale <= 10 for scale in self.scales):
            text = ",".join(f"{scale:g}" for scale in self.scales) or "none"
            raise ValueError(f"scales {text}: expected numbers from 0.1 to 10, as 0.75,1,1.25")
        if self.fuse not in ("mean", "max"):
            raise ValueError(f"fuse {self.fuse!r}: expected mean or max")
        if self.tile < 65:
            raise ValueError(f"tile {self.tile}: expected 65 pixels or more")
        if self.overlap is not None and not 0 <= self.overlap <= self.tile // 2:
            raise ValueError(
                f"overlap {self.overlap}: expected 0 to {self.tile // 2} pixels, half of the tile"
            )


ONE_PASS = Inference()


# ---- One pass ------------------------------------------------------------------------------------


def logits(network: nn.Module, images: Tensor) -> Tensor:
    """Logits B x K x H x W of images B x 3 x H x W of any size; of a dict, its "out"."""
    scores = _out(network(sizes.fit(images, network)))
    size = images.shape[-2:]
    return scores if scores.shape[-2:] == size else sizes.resize(scores, size, False)


def _out(scores: Any) -> Any:
    """Logits; of a dict, as torchvision's networks return, its "out"."""
    return scores["out"] if isinstance(scores, dict) else scores


@torch.inference_mode()
def probabilities(
    network: nn.Module,
    image: np.ndarray,
    inference: Inference = ONE_PASS,
    classes: int | None = None,
    name: str = "",
) -> np.ndarray:
    """float32 (K, H, W) of an image in one pass, after the CRF if there is one.

    `name` is what errors call the network; its mode and stride stay. Raises ValueError for an
    output stride that it cannot have, for NaN, and for logits of another shape than `classes`
    channels and the image's size.
    """
    with _set_up(network, inference) as model:
        parameter = next(network.parameters(), torch.empty(0))
        images = sizes.fit(normalize(image)[None].to(parameter.device), network)
        scores = _out(model(images))
    shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
    channels = classes or (shape[1] if len(shape) == 4 else "K")
    if shape != (expected := (1, channels, *images.shape[-2:])):
        raise ValueError(
            f"{name or type(network).__name__} gives {shape}: expected logits {expected}, a "
            "channel for each class and the image's size"
        )
    probs = scores.float().softmax(1)
    if probs.isnan().any():
        raise ValueError(f"{name or 'the network'} gives NaN: its weights are damaged or diverged")
    if probs.shape[-2:] != image.shape[:2]:
        probs = sizes.resize(probs, image.shape[:2], False)
    array = probs[0].cpu().numpy()
    return refine(array, image, inference)


def refine(probs: np.ndarray, image: np.ndarray, inference: Inference) -> np.ndarray:
    """Probabilities (K, H, W) after the CRF that `inference` names, or as they are."""
    if inference.crf is False:
        return probs
    return dense_crf(probs, image, **({} if inference.crf is True else inference.crf))


@contextmanager
def _set_up(network: Any, inference: Inference) -> Iterator[nn.Module]:
    """The network in eval mode, set up and wrapped as `inference` says; afterwards as it was."""
    own, stride = getattr(network, "output_stride", None), inference.output_stride
    modes = [(layer, layer.training) for layer in network.modules()]
    if own is None and stride:
        raise ValueError(f"a {type(network).__name__} has no output_stride that could be set")
    network.eval()
    try:
        if stride and stride != own:
            network.output_stride = stride
        model: nn.Module = network
        if inference.scales != (1.0,):
            model = MultiScale(network, inference.scales, inference.fuse)
        yield Mirrored(model) if inference.flip else model
    finally:
        for layer, training in modes:
            layer.training = training
        if own is not None and network.output_stride != own:
            network.output_stride = own


# ---- Any size ------------------------------------------------------------------------------------


def label(
    network: nn.Module,
    image: np.ndarray,
    inference: Inference = ONE_PASS,
    track: Track = iter,
    overlap: tuple[int, int] | None = None,
) -> np.ndarray:
    """The class of each pixel, uint8 (H, W). `track` gets the list of tiles, as tqdm does.

    overlap: that of `overlap_of`, for callers who ask about many large images.

    An image with sides of up to `tile` is one pass, others are cut into `tiles`. Their labels are
    those of one pass where half a tile has room for twice the field's reach and the sides fit the
    network. They are only close to them with image pooling, several scales or a CRF, which see a
    tile in place of the image.
    """
    if max(image.shape[:2]) <= inference.tile:
        return probabilities(network, image, inference).argmax(0).astype(np.uint8)

    def one_tile(tile: np.ndarray) -> np.ndarray:
        height, width = tile.shape[:2]
        whole = probabilities(network, sizes.repeat_edge(tile, network), inference)
        return whole[:, :height, :width]

    shared, margin = overlap or overlap_of(network, inference)
    stride: Any = inference.output_stride or getattr(network, "output_stride", 1)
    grid = (shared, margin, stride, sizes.extra_of(network))
    rows, columns = (spans(side, inference.tile, *grid) for side in image.shape[:2])
    labels = np.empty(image.shape[:2], np.uint8)
    for top, probs in blend(image, one_tile, rows, columns, track):
        labels[top : top + probs.shape[1]] = probs.argmax(0)
    return labels


def reach(network: nn.Module, inference: Inference = ONE_PASS) -> int | None:
    """How many pixels to any side of a pixel can change its class; None: all of the image."""
    inference = replace(inference, flip=False)  # does not move what is seen any further
    with _set_up(network, inference) as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stride, extra = getattr(network, "output_stride", 1), sizes.extra_of(network)
        middle = 16 * stride
        field = receptive_fields(model, 2 * middle + extra, [""])[""]
    if field.is_global:
        return None
    furthest = 0
    for pixel in range(middle, middle + stride):
        for first, last in field.region(pixel, clip=False) or ():
            furthest = max(furthest, pixel - first, last - pixel)
    return furthest


def overlap_of(network: nn.Module, inference: Inference) -> tuple[int, int]:
    """Pixels that neighbouring tiles share, and those next to a cut that don't count.

    Twice the reach, where half a tile has room for it: then tiles give the labels of the whole
    image. Otherwise, and with image pooling, a quarter of the tile.
    """
    tile, overlap, pixels = inference.tile, inference.overlap, reach(network, inference)
    if overlap is None:
        overlap = 2 * pixels if pixels is not None and 2 * pixels <= tile // 2 else tile // 4
    return overlap, pixels if pixels is not None and 2 * pixels <= overlap else overlap // 4
