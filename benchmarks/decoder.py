"""A decoder for a network that has none: v3, frozen, and decoders of several widths. Lesson 07.

    python -m benchmarks.decoder      a quarter of an hour on one core; writes assets/decoder.csv

The backbone and the pyramid are v3-scenes' as shipped, and stay as they are. On their maps decoders
learn that differ in what they are given of the low-level map alone, all from the same batches.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_lite import checkpoints, metrics, scenes
from deeplab_lite.models.base import resize
from deeplab_lite.models.v3plus import Decoder

CHANNELS, CLASSES = 64, len(scenes.CLASSES)
# of the low-level map's 64 channels: a 1x1 to as many, none, or all of them with no 1x1
LOW = ("0", "2", "4", "16", "64", "as they are")
SEEDS, STEPS, BATCH, SIDE, RATE = (0,), 400, 16, 97, 4e-3
TRAIN, TEST, SCORED = scenes.SPLITS["train"][0], scenes.SPLITS["test"][0], 200
TABLE = Path(__file__).parents[1] / "assets" / "decoder.csv"


class Head(nn.Module):
    """A decoder and its 1x1 scores, of the pyramid's map and the low-level one."""

    def __init__(self, low: str):
        super().__init__()
        kept = int(low) if low.isdigit() else CHANNELS
        self.blind = kept == 0
        self.decoder = Decoder(CHANNELS, CHANNELS, CHANNELS, max(1, kept), align_corners=True)
        if not low.isdigit():
            self.decoder.reduce = nn.Identity()  # type: ignore[assignment]
        self.classifier = nn.Conv2d(CHANNELS, CLASSES, 1)

    def forward(self, deep: Tensor, low: Tensor, side: int) -> Tensor:
        """Logits B x 9 x side x side of the pyramid's map and of the low-level map."""
        low = torch.zeros_like(low) if self.blind else low
        return resize(self.classifier(self.decoder(deep, low)), (side, side), align_corners=True)


@torch.inference_mode()
def frozen(network: Any, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """The pyramid's map of uint8 images B x H x W x 3, and the low-level one."""
    maps = network.backbone(scenes.normalize(images))
    return network.classifier[0](maps["out"]), maps["low"]


def drawn(first: int, count: int, side: int, **options: Any) -> tuple[np.ndarray, Tensor]:
    images, labels = zip(
        *(scenes.scene(first + i, side, **options) for i in range(count)), strict=True
    )
    return np.stack(images), torch.from_numpy(np.stack(labels))


def trained(network: nn.Module, seed: int) -> dict[str, Head]:
    """A decoder for each of LOW, after STEPS batches that all of them saw."""
    heads, optimizers = {}, {}
    for low in LOW:
        torch.manual_seed(seed)
        heads[low] = Head(low)
        optimizers[low] = torch.optim.AdamW(heads[low].parameters(), lr=RATE)
    for step in range(STEPS):
        images, labels = drawn(TRAIN + (seed * STEPS + step) * BATCH, BATCH, SIDE)
        deep, low_map = (m.clone() for m in frozen(network, images))
        for low, head in heads.items():
            for group in optimizers[low].param_groups:
                group["lr"] = RATE * (1 - step / STEPS) ** 0.9
            scores = head(deep, low_map, SIDE)
            optimizers[low].zero_grad()
            F.cross_entropy(scores, labels.long(), ignore_index=255).backward()
            optimizers[low].step()
    return {low: head.eval() for low, head in heads.items()}


def main() -> None:
    network = checkpoints.load("v3-scenes")
    images, labels = drawn(TEST, SCORED, 129, outline=0)
    parts = [frozen(network, part) for part in np.split(images, 10)]
    with TABLE.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["low_channels", "seed", "parameters", "miou", "trimap_2"])
        for seed in SEEDS:
            for low, head in trained(network, seed).items():
                with torch.inference_mode():
                    found = torch.cat([head(*part, 129).argmax(1) for part in parts])
                near = metrics.trimap_matrices(found, labels, CLASSES, (2,))[0].sum(0)
                score = metrics.miou(metrics.confusion_matrices(found, labels, CLASSES).sum(0))
                count = sum(p.numel() for p in head.parameters())
                row = [low, seed, count, f"{score:.4f}", f"{metrics.miou(near):.4f}"]
                rows.writerow(row)
                file.flush()
                print(*row, sep="\t", flush=True)


if __name__ == "__main__":
    main()
