"""The shipped family on the 1,000 test scenes: how well, how large, how fast.

    python -m benchmarks.family            3 minutes on two cores

Writes assets/family.csv and assets/predictions.png, and the scores into the cards beside the
checkpoints. All networks are timed in turns, so that speeds compare within one run. Three rows of
the table are no networks: labels shrunk to stride 16, 8 and 4, and enlarged again.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers import turns
from deeplab_lite import checkpoints, metrics, tables
from deeplab_lite.files import replacing
from deeplab_lite.models.base import resize
from deeplab_lite.models.zoo import FAMILY, build
from deeplab_lite.scenes import CLASSES, SPLITS, full_scene, normalize

ASSETS = Path(__file__).parents[1] / "assets"
RADII = ((8, 12), (12, 18), (18, 26), (26, 40))  # pixels
SIZE, COUNT, BATCH = 129, 1_000, 50
SHOWN = (3, 8, 11, 23, 40)  # test scenes of the picture
#            shipped name   output_stride if it is not the one of training
VARIANTS = [*((name, None) for name in FAMILY), ("v3", 8), ("v3plus", 8)]


class TestSet:
    """The test scenes: images, labels with and without the band of 255, each pixel's radius."""

    def __init__(self, count: int = COUNT, size: int = SIZE):
        first, _ = SPLITS["test"]
        images, banded, exact, radii = [], [], [], []
        for seed in range(first, first + count):
            drawn = full_scene(seed, size)
            images.append(drawn.image)
            banded.append(drawn.label)
            classes = np.array([*(shape.label for shape in drawn.shapes), 0], np.uint8)
            radius = np.array([*(shape.radius for shape in drawn.shapes), 0])
            exact.append(classes[drawn.owner])  # owner -1, the ground, takes the last: 0
            radii.append(radius[drawn.owner])
        self.images, self.radii = np.stack(images), torch.from_numpy(np.stack(radii))
        self.banded, self.exact = (torch.from_numpy(np.stack(x)) for x in (banded, exact))


@torch.inference_mode()
def predict(model: nn.Module, images: np.ndarray) -> Tensor:
    """The class of each pixel, uint8 N x H x W."""
    parts = np.array_split(images, max(1, len(images) // BATCH))
    return torch.cat([model(normalize(part)).argmax(1).to(torch.uint8) for part in parts])


def scores(predicted: Tensor, test: TestSet) -> dict[str, Any]:
    """`tables.report`, mIoU within the trimap of each width, and recall by radius."""
    classes = len(CLASSES)
    found = tables.report(metrics.confusion_matrices(predicted, test.banded, classes), CLASSES)
    bands = metrics.trimap_matrices(predicted, test.exact, classes).sum(1)
    found["trimap_miou"] = {
        str(width): round(float(metrics.miou(band)), 4)
        for width, band in zip(metrics.WIDTHS, bands, strict=True)
    }
    right = predicted == test.exact
    found["right_by_radius"] = {
        f"{low} to {high}": round(float(right[here].double().mean()), 4)
        for low, high in RADII
        if (here := (test.radii >= low) & (test.radii < high)).any()
    }
    return found


def through_stride(label: Tensor, stride: int) -> Tensor:
    """What a perfect map at `stride`, enlarged as the networks do it, would say: N x H x W.

    The true classes are averaged with the tent that bilinear enlargement spreads a position over.
    """
    classes = len(CLASSES)
    shares = F.one_hot(label.long(), classes).permute(0, 3, 1, 2).float()
    tent = 1 - (torch.arange(2 * stride - 1) - (stride - 1)).abs() / stride
    kernel = (tent[:, None] * tent / stride**2).expand(classes, 1, -1, -1)
    wide = F.pad(shares, (stride - 1,) * 4, mode="replicate")
    small = F.conv2d(wide, kernel, stride=stride, groups=classes)
    return resize(small, label.shape[-2:], align_corners=True).argmax(1).to(torch.uint8)


def multiply_adds(name: str, output_stride: int | None) -> int:
    """Of one scene, counted on a network without weights."""
    with torch.device("meta"):
        model = build(name).eval()
        if output_stride:
            model.output_stride = output_stride
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.empty(1, 3, SIZE, SIZE))
    return counter.get_total_flops() // 2


@torch.inference_mode()
def speeds(models: dict[Any, nn.Module], rounds: int = 13) -> dict[Any, float]:
    """Images per second, one at a time, the median of rounds in which all take turns."""
    image = torch.randn(1, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    calls = {k: lambda m=m: [m(image) for _ in range(5)] for k, m in models.items()}
    return {key: 5 / seconds for key, seconds in turns(calls, rounds).items()}


def label_of(key: tuple[str, int | None]) -> str:
    name, output_stride = key
    return f"{name} at OS{output_stride}" if output_stride else name


def write_cards(found: dict[tuple[str, int | None], dict[str, Any]]) -> None:
    """Put the scores into the cards; what a card already holds stays."""
    for (name, output_stride), result in found.items():
        path = ASSETS / "checkpoints" / f"{name}-scenes.json"
        card = json.loads(path.read_text("utf-8"))
        card["metrics"]["test at OS8" if output_stride else "test"] = result
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")


def picture(test: TestSet, predicted: dict[tuple[str, int | None], Tensor]) -> None:
    """Scenes with their labels and what each network says, one scene a row."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from deeplab_lite.classroom import draw

    draw.style()
    columns = {
        "scene": None,
        "label": test.banded,
        **{label_of(k): p for k, p in predicted.items()},
    }
    size = (1.3 * len(columns), 1.34 * len(SHOWN) + 0.25)
    figure, axes = plt.subplots(len(SHOWN), len(columns), figsize=size)
    for index, line in zip(SHOWN, axes, strict=True):
        for ax, (title, maps) in zip(line, columns.items(), strict=True):
            ax.imshow(test.images[index] if maps is None else draw.paint(maps[index].numpy()))
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if index == SHOWN[0]:
                ax.set_title(title, fontsize=9, loc="center")
    figure.savefig(ASSETS / "predictions.png", dpi=90)


def row(name: str, result: dict[str, Any]) -> dict[str, Any]:
    """A line of family.csv from `scores`."""
    low, high = result["interval"]
    return {
        "model": name,
        **{"miou": result["miou"], "low": low, "high": high},
        **{f"trimap_{width}": value for width, value in result["trimap_miou"].items()},
        **{f"radius {radii}": value for radii, value in result["right_by_radius"].items()},
    }


def main() -> None:
    """Score what is shipped; print and write the table."""
    test = TestSet()
    shipped = set(checkpoints.names())
    keys = [key for key in VARIANTS if f"{key[0]}-scenes" in shipped]
    models: dict[Any, Any] = {}
    for key in keys:
        models[key] = checkpoints.load(f"{key[0]}-scenes").to(memory_format=torch.channels_last)
        if key[1]:
            models[key].output_stride = key[1]
    predicted = {key: predict(model, test.images) for key, model in models.items()}
    found = {key: scores(maps, test) for key, maps in predicted.items()}
    speed = speeds(models)
    write_cards(found)
    rows = []
    for key, result in found.items():
        sizes = {
            "parameters": sum(p.numel() for p in models[key].parameters()),
            "multiply_adds": multiply_adds(*key),
            "images_per_s": round(speed[key], 1),
        }
        rows.append(row(label_of(key), result) | sizes)
    for stride in (16, 8, 4):
        rows.append(
            row(f"labels at stride {stride}", scores(through_stride(test.exact, stride), test))
        )
    for line in rows:
        print("  ".join(f"{key} {value}" for key, value in line.items()))
    with (ASSETS / "family.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    picture(test, {key: predicted[key] for key in keys if key[0] != "v3plus-lite0"})


if __name__ == "__main__":
    main()
