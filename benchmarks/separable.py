"""A 3x3 of DeepLab v3+, plain and separable, timed in one run. Lesson 07.

    python -m benchmarks.separable     half a minute on two cores; writes assets/separable.csv

The layers are those of the paper's network on an image of 513 pixels: the decoder's first, on 129 x
129 positions, and a branch of the pyramid, on 33 x 33. All take turns. A quiet machine, please.
"""

import csv
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deeplab_lite.models.aspp import AtrousSeparableConv

from .peers import turns


class Layer(NamedTuple):
    side: int  # positions
    entering: int  # channels
    leaving: int
    rate: int


LAYERS = {"decoder": Layer(129, 304, 256, 1), "pyramid": Layer(33, 2048, 256, 6)}
FORMS = ("plain", "separable", "depthwise", "pointwise")
TABLE = Path(__file__).parents[1] / "assets" / "separable.csv"


def build(layer: Layer, form: str) -> nn.Module:
    """The layer as a plain 3x3, as a separable one, or one of the two parts of that."""
    _, entering, leaving, rate = layer
    if form == "plain":
        return nn.Conv2d(entering, leaving, 3, padding=rate, dilation=rate, bias=False)
    separable = AtrousSeparableConv(entering, leaving, rate)
    return {"separable": separable, "depthwise": separable[0], "pointwise": separable[1]}[form]


def multiply_adds(layer: Layer, form: str) -> int:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build(layer, form)(torch.empty(1, layer.entering, layer.side, layer.side))
    return counter.get_total_flops() // 2


@torch.inference_mode()
def main() -> None:
    torch.manual_seed(0)
    calls = {}
    for name, layer in LAYERS.items():
        x = torch.randn(1, layer.entering, layer.side, layer.side)
        calls |= {(name, form): partial(build(layer, form), x) for form in FORMS}
    seconds = turns(calls)
    with TABLE.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["layer", "form", "threads", "multiply_adds", "seconds"])
        for (name, form), spent in seconds.items():
            adds = multiply_adds(LAYERS[name], form)
            rows.writerow([name, form, torch.get_num_threads(), adds, f"{spent:.4f}"])
            print(f"{name:9}{form:11}{1000 * spent:8.1f} ms")


if __name__ == "__main__":
    main()
