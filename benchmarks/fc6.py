"""fc6 of VGG-16 in the forms of DeepLab v1, timed in one run. Lesson 03, section 3.

    python -m benchmarks.fc6       a minute on two cores, 2 GB of memory; writes assets/fc6.csv

All take turns at a map of 39 x 39 positions, that of a 306-pixel image. A quiet machine, please.
"""

import csv
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deeplab_lite.models.base import set_dilation
from deeplab_lite.models.v1 import FORMS

from .peers import turns

SIDE, ENTERING = 39, 512  # positions along a side; channels of pool5
NAMES = ("7x7", "base", "4x4", "largefov")
TABLE = Path(__file__).parents[1] / "assets" / "fc6.csv"


def fc6(name: str) -> nn.Conv2d:
    """The first layer of the head of a form of v1, at output stride 8."""
    kernel, rate, channels, _ = FORMS[name]
    conv = nn.Conv2d(ENTERING, channels, kernel)
    set_dilation(conv, rate)
    return conv


def multiply_adds(name: str) -> int:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        fc6(name)(torch.empty(1, ENTERING, SIDE, SIDE))
    return counter.get_total_flops() // 2


@torch.inference_mode()
def main() -> None:
    x = torch.randn(1, ENTERING, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    seconds = turns({name: partial(fc6(name), x) for name in NAMES}, rounds=5)
    with TABLE.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["form", "threads", "multiply_adds", "seconds"])
        for name in NAMES:
            adds, spent = multiply_adds(name), seconds[name]
            rows.writerow([name, torch.get_num_threads(), adds, f"{spent:.3f}"])
            print(f"{name:9}{1000 * seconds[name]:8.0f} ms")


if __name__ == "__main__":
    main()
