"""Scores while training: validation images, large ones by tiles, and the best score so far."""

import functools
import itertools
import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_lite import ask, sizes, tiles
from deeplab_lite.metrics import confusion_matrices
from deeplab_lite.workshop.train.config import Config
from deeplab_lite.workshop.train.stream import validation

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batch = tuple[Tensor, Tensor]  # images B x 3 x H x W, labels B x H x W
TILE = ask.ONE_PASS.tile  # pixels: a larger image is cut, as by `segment` and `evaluate`


@torch.no_grad()
def validate(fabric: "Fabric", model: nn.Module, dataset: Any, config: Config) -> Tensor:
    """Confusion matrices of the validation images, N x K x K; leaves the model in eval mode."""
    model.eval()
    loader, mine, count = validation(dataset, config, fabric.global_rank, fabric.world_size)
    overlap = functools.cache(overlap_of)

    def matrices_of(batch: Batch) -> Tensor:
        if max(batch[0].shape[-2:]) > TILE:
            items = zip(*batch, strict=True)
            return torch.cat([by_tiles(fabric, model, *item, overlap(model)) for item in items])
        images, labels = to_device(batch, fabric, config)
        with fabric.autocast():
            scores = ask.logits(model, images)
        return confusion_matrices(scores, labels, scores.shape[1])

    # a loop's variable would keep a batch while the next one is read: gigabytes of photographs
    counts = [*map(matrices_of, itertools.chain.from_iterable(loader))]
    classes = torch.tensor(counts[0].shape[-1] if counts else 0, device=fabric.device)
    fullest = fabric.all_reduce(classes, reduce_op="max")  # a process may have no image at all
    side = int(cast(Tensor, fullest))
    matrices = torch.zeros(count, side, side, dtype=torch.long, device=fabric.device)
    if counts:
        matrices[mine] = torch.cat(counts)
    return cast(Tensor, fabric.all_reduce(matrices, reduce_op="sum")).cpu()


def by_tiles(
    fabric: "Fabric", model: nn.Module, image: Tensor, label: Tensor, overlap: tuple[int, int]
) -> Tensor:
    """The confusion matrix 1 x K x K of an image's labels as `ask.label` gives them.

    image: 3 x H x W, normalised as its data set does it. Only a tile is on the device, and only a
    row of tiles has its answer in memory.
    """

    def probabilities(tile: Any) -> np.ndarray:
        pixels = tile.movedim(-1, 0)[None].to(fabric.device)
        height, width = pixels.shape[-2:]
        rows, columns = sizes.fitting_size(model, (height, width))
        padded = F.pad(pixels, (0, columns - width, 0, rows - height), mode="replicate")
        with fabric.autocast():
            answer = ask.logits(model, padded).float().softmax(1)[0, :, :height, :width]
        return answer.cpu().numpy()

    grid = (*overlap, getattr(model, "output_stride", 1), sizes.extra_of(model))
    rows, columns = (tiles.spans(side, TILE, *grid) for side in image.shape[-2:])
    pixels: Any = image.movedim(0, -1)
    counts = []
    for top, answer in tiles.blend(pixels, probabilities, rows, columns):
        predicted = torch.from_numpy(answer.argmax(0))
        counts.append(confusion_matrices(predicted, label[top:][: len(predicted)], len(answer)))
    return torch.stack(counts).sum(0).to(fabric.device)


def overlap_of(model: nn.Module) -> tuple[int, int]:
    """`ask.overlap_of`, or a quarter of a tile for a network whose field cannot be told."""
    try:
        return ask.overlap_of(model, ask.ONE_PASS)
    except (ValueError, TypeError, NotImplementedError, RuntimeError):
        return TILE // 4, TILE // 16


def to_device(batch: Batch, fabric: "Fabric", config: Config) -> Batch:
    """Images and labels where the network is, laid out as it is."""
    images, labels = batch
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    images = images.to(fabric.device, memory_format=layout, non_blocking=True)
    return images, labels.to(fabric.device, non_blocking=True)


class Best:
    """The best validation so far, its step and weights; when `patience` has run out, it is `over`.

    Without patience it keeps nothing.
    """

    def __init__(self, patience: int):
        self.patience, self.since = patience, 0  # validations
        self.score, self.step = -math.inf, 0
        self.weights: dict[str, Tensor] = {}

    def see(self, step: int, score: float, network: nn.Module) -> None:
        """Take in a validation."""
        self.since += 1
        if self.patience and score > self.score:
            self.score, self.step, self.since = score, step, 0
            self.weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}

    @property
    def over(self) -> bool:
        return 0 < self.patience <= self.since

    def state_dict(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "patience"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
