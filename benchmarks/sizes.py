"""Images whose sides a network does not take: grey beside them, their edge repeated, or resized.

    python -m benchmarks.sizes            # 40 test scenes cut to each side, some five minutes
    python -m benchmarks.sizes --camvid   # and the 101 frames of CamVid's val, if they are there

Rewrites assets/sizes.csv: mIoU by network, side and way. `sizes.fit` and `sizes.repeat_edge` take
their ways from it.
"""

import csv
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_lite import ask, checkpoints, metrics, scenes
from deeplab_lite.sizes import fitting_size

TABLE = Path(__file__).parents[1] / "assets" / "sizes.csv"
NETWORKS = ("v1-scenes", "v3-scenes", "v3plus-scenes")
SIDES = (321, 320, 316, 312, 308, 306)


def padded(network: nn.Module, images: Tensor, mode: str) -> Tensor:
    height, width = images.shape[-2:]
    below, beside = (
        new - old
        for new, old in zip(fitting_size(network, (height, width)), (height, width), strict=True)
    )
    return network(F.pad(images, (0, beside, 0, below), mode))[..., :height, :width]


WAYS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "grey": lambda network, images: padded(network, images, "constant"),  # 0 is grey
    "edge": lambda network, images: padded(network, images, "replicate"),
    "resized": ask.logits,
}


@torch.inference_mode()
def scores(
    network: nn.Module, samples: Iterable[tuple[Tensor, Any]], classes: int
) -> dict[str, float]:
    """mIoU of each way on images 3 x H x W with labels H x W."""
    matrices = dict.fromkeys(WAYS, torch.zeros(classes, classes, dtype=torch.long))
    for image, label in samples:
        for way, ask_network in WAYS.items():
            logits = ask_network(network, image[None])
            matrices[way] = matrices[way] + metrics.confusion_matrices(logits[0], label, classes)[0]
    return {way: float(metrics.miou(matrix)) for way, matrix in matrices.items()}


def cut_scenes(side: int, count: int = 40) -> Iterable[tuple[Tensor, np.ndarray]]:
    first, _ = scenes.SPLITS["test"]
    for seed in range(first, first + count):
        image, label = scenes.scene(seed)
        yield scenes.normalize(image)[:, :side, :side], label[:side, :side]


def main() -> None:
    rows = []
    for name in NETWORKS:
        network = checkpoints.load(name)
        for side in SIDES:
            rows.append({"network": name, "side": side} | scores(network, cut_scenes(side), 9))
            print(*rows[-1].values(), flush=True)
    if "--camvid" in sys.argv:
        from deeplab_lite.workshop.datasets import CamVid

        network, frames = checkpoints.load("camvid-v3plus"), CamVid("val")
        samples = (frames[index] for index in range(len(frames)))
        rows.append(
            {"network": "camvid-v3plus", "side": "360 x 480"} | scores(network, samples, 11)
        )
        print(*rows[-1].values(), flush=True)
    elif TABLE.is_file():
        with TABLE.open() as file:
            rows += [row for row in csv.DictReader(file) if row["network"] == "camvid-v3plus"]
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()})


if __name__ == "__main__":
    main()
