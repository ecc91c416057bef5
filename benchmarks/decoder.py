"""A decoder for a network that has none: v3, frozen, and eight decoders of it. Lesson 07.

    python -m benchmarks.decoder      five minutes on one core; writes assets/decoder.csv

v3 stays as shipped, up to its last 3x3. On its maps eight decoders learn from the same batches.
They differ in what they get of the two maps, and in their number of 3x3 convolutions.
"""

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_lite import checkpoints, metrics
from deeplab_lite.models.base import resize
from deeplab_lite.models.v3plus import Decoder
from deeplab_lite.scenes import CLASSES, SPLITS, normalize, scene


class Design(NamedTuple):
    """What a decoder gets of the low-level map: so many channels, 0 for one of zeros, None for all
    with no 1x1 before them; sampled at which stride; how many 3x3 follow; whether it gets deep."""

    low: int | None
    stride: int = 4
    convs: int = 2
    deep: bool = True


DESIGNS = (
    *(Design(low) for low in (0, 2, 16, None)),
    Design(16, stride=16),
    *(Design(16, convs=convs) for convs in (1, 3)),
    Design(None, deep=False),
)
DEEP, LOW = 64, 32  # channels of v3's map and of the low-level one
SEED, STEPS, BATCH, RATE, SCORED = 0, 250, 8, 4e-3, 200
TABLE = Path(__file__).parents[1] / "assets" / "decoder.csv"


class Head(nn.Module):
    """A decoder and its 1x1 scores, of v3's map and the low-level one."""

    def __init__(self, design: Design):
        super().__init__()
        self.design = design
        kept = LOW if design.low is None else max(1, design.low)
        self.decoder = Decoder(DEEP, LOW, DEEP, kept, design.convs, False, align_corners=True)
        if design.low is None:
            self.decoder.reduce = nn.Identity()  # type: ignore[assignment]
        self.classifier = nn.Conv2d(DEEP, len(CLASSES), 1)

    def forward(self, deep: Tensor, low: Tensor, side: int) -> Tensor:
        """Logits B x 9 x side x side."""
        if self.design.low == 0:
            low = torch.zeros_like(low)
        if not self.design.deep:
            deep = torch.zeros_like(deep)
        step = self.design.stride // 4
        low = resize(low[..., ::step, ::step], low.shape[-2:], align_corners=True)
        return resize(self.classifier(self.decoder(deep, low)), (side, side), align_corners=True)


@torch.no_grad()
def maps(v3: Any, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """Of uint8 images B x H x W x 3: v3's map before its scores, and the low-level map."""
    features = v3.backbone(normalize(images))
    *head, _ = v3.classifier
    return nn.Sequential(*head)(features["out"]), features["low"]


def draw(first: int, count: int, **options: Any) -> tuple[np.ndarray, Tensor]:
    images, labels = zip(*(scene(first + i, **options) for i in range(count)), strict=True)
    return np.stack(images), torch.from_numpy(np.stack(labels))


def train(v3: Any) -> dict[Design, Head]:
    """A decoder of each design, after STEPS batches that all of them saw."""
    heads, optimizers = {}, {}
    for design in DESIGNS:
        torch.manual_seed(SEED)
        heads[design] = Head(design)
        optimizers[design] = torch.optim.AdamW(heads[design].parameters(), lr=RATE)
    for step in range(STEPS):
        images, labels = draw(SPLITS["train"][0] + step * BATCH, BATCH)
        deep, low = maps(v3, images)
        for design, head in heads.items():
            for group in optimizers[design].param_groups:
                group["lr"] = RATE * (1 - step / STEPS) ** 0.9
            with torch.autocast("cpu", torch.bfloat16):
                scores = head(deep, low, images.shape[1])
            optimizers[design].zero_grad()
            F.cross_entropy(scores.float(), labels.long(), ignore_index=255).backward()
            optimizers[design].step()
    return {design: head.eval() for design, head in heads.items()}


@torch.no_grad()
def main() -> None:
    v3 = checkpoints.load("v3-scenes")
    with torch.enable_grad():
        heads = train(v3)
    images, banded = draw(SPLITS["test"][0], SCORED)
    _, exact = draw(SPLITS["test"][0], SCORED, outline=0)
    parts = [maps(v3, part) for part in np.split(images, SCORED // 10)]
    with TABLE.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["low", "stride", "convs", "deep", "parameters", "miou", "trimap_4"])
        for design, head in heads.items():
            labels = torch.cat([head(*part, images.shape[1]).argmax(1).byte() for part in parts])
            score = metrics.miou(metrics.confusion_matrices(labels, banded, len(CLASSES)).sum(0))
            near = metrics.trimap_matrices(labels, exact, len(CLASSES), [4])[0].sum(0)
            count = sum(p.numel() for p in head.parameters())
            scores = [f"{float(value):.4f}" for value in (score, metrics.miou(near))]
            low, *others, deep = design
            row = ["all" if low is None else low, *others, "yes" if deep else "no", count, *scores]
            rows.writerow(row)
            file.flush()
            print(*row, sep="\t", flush=True)


if __name__ == "__main__":
    main()
