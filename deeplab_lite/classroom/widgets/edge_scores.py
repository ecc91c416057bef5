"""What the boundary microscope shows: label maps of several networks, scored near edges. Lesson 07.

Labels and edges are those of `scenes.scene(..., outline=0)`, where each pixel has its class, so
that the band begins at the true edge; benchmarks of the trimap are counted alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.ndimage import uniform_filter  # type: ignore[import-untyped]
from torch import Tensor, nn

from deeplab_lite import checkpoints, metrics, scenes
from deeplab_lite.crf import dense_crf

SIDE = 129
MOST = 8  # pixels on each side of the boundary that a band can have


class Recipe(NamedTuple):
    """How to come to a label map: a checkpoint, perhaps at another output stride, perhaps a CRF."""

    checkpoint: str
    output_stride: int | None = None
    crf: bool = False


MODELS = {
    "v1": Recipe("v1-scenes"),
    "v1 + CRF": Recipe("v1-scenes", crf=True),
    "v2": Recipe("v2-scenes"),
    "v3": Recipe("v3-scenes"),
    "v3 at OS8": Recipe("v3-scenes", 8),
    "v3+": Recipe("v3plus-scenes"),
    "v3+ at OS8": Recipe("v3plus-scenes", 8),
    "v3+ + CRF": Recipe("v3plus-scenes", crf=True),
}
Networks = Mapping[str, nn.Module | None]


def chosen(models: Iterable[str] | Networks | None) -> dict[str, nn.Module | None]:
    """Names, or a dict of name to network, as a dict; None stands for the one of MODELS.

    Raises ValueError for a name that is not known and has no network.
    """
    given = MODELS if models is None else models
    found: dict[str, nn.Module | None] = dict.fromkeys(given)
    if isinstance(models, Mapping):
        found.update(models)
    unknown = [name for name, network in found.items() if network is None and name not in MODELS]
    if unknown or not found:
        raise ValueError(
            f"models {unknown or '[]'}: expected some of {', '.join(MODELS)}, or a dict of name to "
            "network"
        )
    return found


@lru_cache(maxsize=8)
def _network(checkpoint: str, output_stride: int | None) -> nn.Module:
    network: Any = checkpoints.load(checkpoint)
    if output_stride:
        network.output_stride = output_stride
    return network


def label_maps(image: np.ndarray, networks: Networks) -> dict[str, np.ndarray]:
    """uint8 (H, W) by name: what each network says of an image, the CRF after it where one is.

    A network runs once, however many names share it. Raises ValueError for one that does not give
    a score of each of the scenes' classes to each pixel.
    """
    told: dict[Any, Tensor] = {}
    found = {}
    for name, given in networks.items():
        recipe = MODELS.get(name, Recipe(""))
        network = given if given is not None else _network(*recipe[:2])
        if network not in told:
            told[network] = _probabilities(name, network, image)
        probabilities = told[network]
        if given is None and recipe.crf:
            probabilities = dense_crf(probabilities, image)
        found[name] = probabilities.argmax(0).numpy().astype(np.uint8)
    return found


def _probabilities(name: str, network: nn.Module, image: np.ndarray) -> Tensor:
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            device = next((p.device for p in network.parameters()), torch.device("cpu"))
            logits = network(scenes.normalize(image)[None].to(device))
    finally:
        network.train(was_training)
    expected = (1, len(scenes.CLASSES), *image.shape[:2])
    if not isinstance(logits, Tensor) or logits.shape != expected:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"{name} gives {shape}: expected logits {expected}")
    return logits[0].float().softmax(0).cpu()


def spots(truth: np.ndarray, maps: Sequence[np.ndarray], count: int = 12) -> list[list[int]]:
    """Boundary pixels (y, x) where the maps differ the most, 14 pixels or more from each other.

    Around each it is counted, within 5 pixels, of which pixels the maps do not all say the same.
    """
    differ = (np.stack(maps) != maps[0]).any(0).astype(float)
    score = uniform_filter(differ, 11, mode="constant")
    score = np.where(metrics.trimap(truth, 1).numpy(), score + 1e-9, 0)
    y, x = np.indices(truth.shape)
    found: list[list[int]] = []
    while len(found) < count and score.max() > 0:
        row, column = map(int, np.unravel_index(score.argmax(), score.shape))
        found.append([row, column])
        score[(y - row) ** 2 + (x - column) ** 2 < 14**2] = 0
    return found


class Tally(NamedTuple):
    """One map's pixels within the band: of the scene, and of the window."""

    right: int
    pixels: int
    miou: float  # of the scene's band
    here: int  # right ones in the window
    pixels_here: int


def tally(labels: np.ndarray, truth: np.ndarray, width: int, shown: tuple[int, int, int]) -> Tally:
    """Counts within `width` pixels of a boundary, and mIoU there; `shown`: top, left, side."""
    band = metrics.trimap(truth, width).numpy()
    right = band & (labels == truth)
    matrix = metrics.trimap_matrices(labels, truth, len(scenes.CLASSES), [width])[0, 0]
    top, left, side = shown
    cut = np.s_[top : top + side, left : left + side]
    counts = (right.sum(), band.sum(), right[cut].sum(), band[cut].sum())
    mine, pixels, here, pixels_here = map(int, counts)
    return Tally(mine, pixels, float(metrics.miou(matrix)), here, pixels_here)


def share(right: int, pixels: int) -> str:
    """A share in per cent, halves upwards as the script rounds; a dash of nothing."""
    return f"{int(100 * right / pixels + 0.5)} %" if pixels else "–"


def describe(seed: int, width: int, side: int, tallies: Mapping[str, Tally]) -> str:
    """Who follows the edges best and worst; the script says the same."""
    (first, *_), names = tallies.values(), list(tallies)
    best = max(names, key=lambda name: tallies[name].right)
    worst = min(names, key=lambda name: tallies[name].right)
    text = (
        f"Scene {seed}: {first.pixels:,} pixels lie within {width} pixel{'s' * (width > 1)} of a "
        f"boundary. {best} has {share(tallies[best].right, first.pixels)} of them right"
    )
    if len(names) > 1:
        text += f", the most; {worst} {share(tallies[worst].right, first.pixels)}, the fewest"
    text += f". In this window of {side} x {side} pixels there are {first.pixels_here:,}"
    if first.pixels_here:
        rows = [f"{name} {share(found.here, found.pixels_here)}" for name, found in tallies.items()]
        text += f"; right are {', '.join(rows)}"
    return text + "."
