"""The ladder of lesson 08: the family and how it is asked, one idea on or off from rung to rung.

    python -m benchmarks.ladder            a quarter of an hour on two cores
    python -m benchmarks.ladder --times    a minute: measures the column `ms` anew, nothing else

Writes assets/ladder.csv. All rungs see the same 1,000 test scenes, so a rung is compared with the
one that it changes image by image: `gain` is the paired difference of mIoU with its interval,
`near_gain` that within 2 pixels of an edge. All rungs are timed in turns, one image at a time, from
picture to labels. Multiply-adds are the networks'; a CRF has none to speak of, it fetches and adds.
"""

import argparse
import csv
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.family import ASSETS, SIZE, TestSet, row, scores
from benchmarks.peers import turns
from deeplab_lite import checkpoints, metrics
from deeplab_lite.crf import dense_crf
from deeplab_lite.files import replacing
from deeplab_lite.models.v2 import Mirrored, MultiScale
from deeplab_lite.models.zoo import build
from deeplab_lite.scenes import CLASSES, normalize

TABLE = ASSETS / "ladder.csv"
BATCH = 20
# What lessons 04 and 07 find on validation scenes, for v1 and for v3+ alike.
SEARCHED: dict[str, Any] = {"w_appearance": 20.0, "sigma_xy": 25.0, "sigma_rgb": 20.0}
V1_CRF: dict[str, Any] = {}  # the defaults of dense_crf are those of v1's script
SIZES = (0.75, 1.0, 1.25)  # best on 60 validation scenes, of the sets up to twice the size


class Rung(NamedTuple):
    """A network and how it is asked; `against` is the rung that it differs from by one idea."""

    name: str
    against: str
    idea: str
    model: str
    stride: int | None = None  # another output stride than in training
    sizes: tuple[float, ...] = ()  # of the image, if it is asked at several
    fuse: str = "mean"  # of their probabilities, v3's way, or the "max" of their logits, v2's
    flip: bool = False  # the mirror image, too
    crf: dict[str, Any] | None = None  # arguments of dense_crf


LADDER = (
    Rung("v1-small", "", "", "v1-small"),
    Rung("v1", "v1-small", "LargeFOV: fc6 at rate 4", "v1"),
    Rung("v2", "v1", "ASPP: four rates", "v2"),
    Rung("v3", "v2", "output stride 16; new head", "v3"),
    Rung("v3+", "v3", "decoder", "v3plus"),
    Rung("v3+ Lite0", "v3+", "EfficientNet-Lite0 backbone", "v3plus-lite0"),
    Rung("v3, OS8", "v3", "output stride 8 at test", "v3", stride=8),
    Rung("v3+, OS8", "v3+", "output stride 8 at test", "v3plus", stride=8),
    Rung("v2, max", "v2", "three sizes by max", "v2", sizes=(1.0, 0.75, 0.5), fuse="max"),
    Rung("v3+, flip", "v3+", "mirror image", "v3plus", flip=True),
    Rung("v3, sizes", "v3", "three sizes and mirror", "v3", sizes=SIZES, flip=True),
    Rung("v3+, sizes", "v3+, flip", "three sizes", "v3plus", sizes=SIZES, flip=True),
    Rung("v1 + CRF", "v1", "CRF, v1's values", "v1", crf=V1_CRF),
    Rung("v1 + CRF*", "v1 + CRF", "CRF, searched", "v1", crf=SEARCHED),
    Rung("v2 + CRF", "v2", "CRF, v1's values", "v2", crf=V1_CRF),
    Rung("v3+ + CRF", "v3+", "CRF, v1's values", "v3plus", crf=V1_CRF),
    Rung("v3+ + CRF*", "v3+ + CRF", "CRF, searched", "v3plus", crf=SEARCHED),
    Rung("v3+, sizes + CRF*", "v3+ + CRF*", "three sizes and mirror", "v3plus", sizes=SIZES,
         flip=True, crf=SEARCHED),
)  # fmt: skip


def asked(rung: Rung, model: nn.Module) -> nn.Module:
    """`model` with what a rung wraps around it; still images to logits."""
    if rung.stride:
        model.output_stride = rung.stride  # type: ignore[assignment]
    if rung.sizes:
        model = MultiScale(model, rung.sizes, rung.fuse)
    return Mirrored(model) if rung.flip else model


def network(rung: Rung) -> nn.Module:
    """The shipped network, asked as the rung says."""
    model = checkpoints.load(f"{rung.model}-scenes").to(memory_format=torch.channels_last)
    return asked(rung, model)


@torch.inference_mode()
def answer(rung: Rung, model: nn.Module, images: np.ndarray) -> Tensor:
    """The class of each pixel, uint8 N x H x W, of uint8 images N x H x W x 3."""
    found = []
    for first in range(0, len(images), BATCH):
        part = images[first : first + BATCH]
        probs = model(normalize(part)).softmax(1)
        if rung.crf is not None:
            probs = dense_crf(probs, torch.from_numpy(part), **rung.crf)
        found.append(probs.argmax(1).to(torch.uint8))
    return torch.cat(found)


def multiply_adds(rung: Rung) -> int:
    """Of all passes for one scene, counted on a network without weights."""
    with torch.device("meta"):
        model = asked(rung, build(rung.model).eval())
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.empty(1, 3, SIZE, SIZE))
    return counter.get_total_flops() // 2


def milliseconds(image: np.ndarray, rounds: int = 21) -> dict[str, float]:
    """Of each rung, from one picture (H, W, 3) to its labels; all take turns."""
    models = {rung.name: network(rung) for rung in LADDER}
    calls: dict[Any, Any] = {
        r.name: lambda r=r: answer(r, models[r.name], image[None]) for r in LADDER
    }
    return {name: round(1000 * spent, 2) for name, spent in turns(calls, rounds).items()}


def table(test: TestSet) -> list[dict[str, Any]]:
    """A row for each rung, without its time."""
    rows: list[dict[str, Any]] = []
    counted: dict[str, tuple[Tensor, Tensor]] = {}
    for rung in LADDER:
        model = network(rung)
        labels = answer(rung, model, test.images)
        counted[rung.name] = (
            metrics.confusion_matrices(labels, test.banded, len(CLASSES)),
            metrics.trimap_matrices(labels, test.exact, len(CLASSES), (2,))[0],
        )
        line: dict[str, Any] = {"rung": rung.name, "against": rung.against, "idea": rung.idea}
        line |= {k: v for k, v in row(rung.name, scores(labels, test)).items() if k != "model"}
        for kind, which in (("gain", 0), ("near_gain", 1)):
            steps: Any = ("", "", "")
            if rung.against:
                pair = counted[rung.name][which], counted[rung.against][which]
                steps = [round(value, 4) for value in metrics.paired_difference(*pair)]
            line |= dict(zip((kind, f"{kind}_low", f"{kind}_high"), steps, strict=True))
        line["parameters"] = sum(p.numel() for p in model.parameters())
        line["multiply_adds"] = multiply_adds(rung)
        rows.append(line)
        print(f"{rung.name:20} {line['miou']:.4f}  {line['gain']}", flush=True)
    return rows


def read() -> list[dict[str, Any]]:
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", action="store_true", help="measure the times anew, only")
    only_times = parser.parse_args().times
    test = TestSet(1 if only_times else 1_000)
    rows = read() if only_times else table(test)
    for line, spent in zip(rows, milliseconds(test.images[0]).values(), strict=True):
        line["ms"] = spent
        print(f"{line['rung']:20}{spent:8.1f} ms")
    with replacing(TABLE) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
