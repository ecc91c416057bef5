"""v3-scenes at other output strides, rates and multi-grids than it was trained with.

    python -m benchmarks.rates             6 minutes on one core

Writes assets/rates.csv, which the widget RatesLab of lesson 06 shows. Every row has the same
weights, on the first 200 test scenes: what is measured is how well they bear the change, not what
a network trained that way would reach.
"""

import csv
import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from benchmarks.family import ASSETS, SIZE, TestSet, predict, scores
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deeplab_lite import checkpoints
from deeplab_lite.files import replacing
from deeplab_lite.models.zoo import build
from deeplab_lite.receptive_field import receptive_fields

COUNT = 200  # scenes
OUTPUT_STRIDES = (32, 16, 8)
RATES = ((1, 1, 1), (1, 2, 3), (2, 4, 6), (3, 6, 9), (4, 8, 12), (6, 12, 18))
MULTI_GRIDS = ((1, 1, 1), (1, 2, 1), (1, 2, 4))
TRAINED = (16, (1, 2, 3), (1, 2, 4))


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


def cost(setting: tuple[int, tuple[int, ...], tuple[int, ...]]) -> int:
    """Multiply-adds of one scene."""
    with torch.device("meta"):
        model = arrange(build("v3").eval(), *setting)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rates as large as the map
        model(torch.empty(1, 3, SIZE, SIZE, device="meta"))
    return counter.get_total_flops() // 2


def fields(setting: tuple[int, tuple[int, ...], tuple[int, ...]]) -> list[int]:
    """Pixels a side that a unit sees, padding counted: of the backbone's map, of each branch."""
    model: Any = arrange(build("v3").eval(), *setting)
    last = f"backbone.features.{len(model.backbone.features) - 1}"
    names = [last, *(f"classifier.0.convs.{number}" for number in (1, 2, 3))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = receptive_fields(model, SIZE, layers=names)
    return [seen[name].size[0] for name in names]


def main() -> None:
    """Score every setting; print and write the table."""
    warnings.simplefilter("ignore")
    test = TestSet(COUNT)
    model = checkpoints.load("v3-scenes").to(memory_format=torch.channels_last)
    rows = []
    for setting in itertools.product(OUTPUT_STRIDES, RATES, MULTI_GRIDS):
        output_stride, rates, multi_grid = setting
        found = scores(predict(arrange(model, *setting), test.images), test)
        low, high = found["interval"]
        line = {
            "output_stride": output_stride,
            "rates": " ".join(map(str, rates)),
            "multi_grid": " ".join(map(str, multi_grid)),
            **{"miou": found["miou"], "low": low, "high": high},
            **{f"radius {radii}": share for radii, share in found["right_by_radius"].items()},
            **dict(zip(("backbone", "first", "second", "third"), fields(setting), strict=True)),
            "multiply_adds": cost(setting),
        }
        rows.append(line)
        print("  ".join(f"{key} {value}" for key, value in line.items()), flush=True)
    with replacing(ASSETS / "rates.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
