"""v3-scenes at other output strides, rates and multi-grids than it was trained with. Lesson 06.

    python -m benchmarks.rates             5 minutes on one core

Writes assets/rates.csv, which the widget RatesLab shows. Every row has the same weights, on the
first 100 test scenes: it says how well they tolerate the change, not what a network trained that
way would reach.
"""

import csv
import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ladder import ASSETS, RADII, SIDE, shares, test_scenes
from deeplab_lite import checkpoints, metrics
from deeplab_lite.files import replacing
from deeplab_lite.models.zoo import build
from deeplab_lite.receptive_field import receptive_fields
from deeplab_lite.scenes import CLASSES, normalize

COUNT = 100  # scenes
OUTPUT_STRIDES = (32, 16, 8)
RATES = ((1, 2, 3), (3, 6, 9), (6, 12, 18), (12, 24, 36))
MULTI_GRIDS = ((1, 1, 1), (1, 2, 1), (1, 2, 4))
TRAINED = (16, (3, 6, 9), (1, 1, 1))


def arrange(
    model: Any, output_stride: int, rates: Sequence[int], multi_grid: Sequence[int]
) -> nn.Module:
    """`model` with its backbone at another output_stride and multi-grid, and the pyramid's rates as
    given, in positions: unlike model.output_stride = 8, which scales them too."""
    model.backbone.multi_grid = tuple(multi_grid)
    model.classifier.rates = [4 * rate for rate in rates]  # whole numbers at every stride
    model.output_stride = output_stride
    model.classifier.rates = rates
    return model


@torch.inference_mode()
def predict(model: nn.Module, images: np.ndarray) -> Tensor:
    """The class of each pixel, uint8 N x H x W."""
    parts = np.array_split(images, max(1, len(images) // 4))
    return torch.cat([model(normalize(part)).argmax(1).to(torch.uint8) for part in parts])


def scores(setting: tuple[int, tuple[int, ...], tuple[int, ...]], model: nn.Module) -> dict:
    """mIoU with its interval, and the share of right pixels by a shape's radius."""
    test = test_scenes(COUNT)
    labels = predict(arrange(model, *setting), test.images)
    matrices = metrics.confusion_matrices(labels, test.banded, len(CLASSES))
    interval = metrics.confidence_interval(matrices)._asdict()
    line = {"miou": interval["value"], "low": interval["low"], "high": interval["high"]}
    right, shape = labels == test.exact, test.exact > 0
    recall = shares(right[shape], test.radius[shape], RADII, "radius")
    return {name: round(value, 4) for name, value in line.items()} | recall


def cost(setting: tuple[int, tuple[int, ...], tuple[int, ...]]) -> int:
    """Multiply-adds of one scene."""
    with torch.device("meta"):
        model = arrange(build("v3").eval(), *setting)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rates as large as the map
        model(torch.empty(1, 3, SIDE, SIDE, device="meta"))
    return counter.get_total_flops() // 2


def fields(setting: tuple[int, tuple[int, ...], tuple[int, ...]]) -> list[int]:
    """Pixels a side that a unit sees, padding counted: of the backbone's map, of each branch."""
    model: Any = arrange(build("v3").eval(), *setting)
    last = f"backbone.features.{len(model.backbone.features) - 1}"
    names = [last, *(f"classifier.0.convs.{number}" for number in (1, 2, 3))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = receptive_fields(model, SIDE, layers=names)
    return [seen[name].size[0] for name in names]


def main() -> None:
    """Score every setting; print and write the table."""
    warnings.simplefilter("ignore")
    model = checkpoints.load("v3-scenes").to(memory_format=torch.channels_last)
    rows = []
    for setting in itertools.product(OUTPUT_STRIDES, RATES, MULTI_GRIDS):
        output_stride, rates, multi_grid = setting
        line = {
            "output_stride": output_stride,
            "rates": " ".join(map(str, rates)),
            "multi_grid": " ".join(map(str, multi_grid)),
            **scores(setting, model),
            **dict(zip(("backbone", "first", "second", "third"), fields(setting), strict=True)),
            "multiply_adds": cost(setting),
        }
        rows.append(line)
        print("  ".join(f"{key} {value}" for key, value in line.items()), flush=True)
    with replacing(ASSETS / "rates.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
