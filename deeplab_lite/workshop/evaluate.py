"""A checkpoint scored on labelled images: scenes, CamVid, VOC, your folder. Taught in lesson 09.

Images are whole and at full size; `Inference` says how a network is asked, as for `segment`.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from deeplab_lite import checkpoints, metrics, scenes, tables
from deeplab_lite.files import replacing
from deeplab_lite.labels import IGNORE, Array, as_label
from deeplab_lite.workshop import intervals
from deeplab_lite.workshop.segment import Segmenter, Settings

DATA = ("scenes", "camvid", "voc")
STRIP = 1024  # rows that are scored at once


class Sample(NamedTuple):
    """An image, its label, and the label that distances from edges are measured in."""

    image: np.ndarray  # uint8 (H, W, 3)
    label: Array  # (H, W), 255 ignored
    edges: Array  # (H, W); as label, or without a band of 255 on outlines


class Samples(NamedTuple):
    """A split of a data set."""

    name: str  # "scenes, test"
    classes: Sequence[str]  # () where they have no names
    length: int
    sample: Callable[[int], Sample]
    groups: Sequence[str] = ()  # what each image belongs to; () where each stands alone


class Evaluation(NamedTuple):
    """Scores of a model on N images of K classes."""

    samples: Samples
    segmenter: Segmenter
    matrices: Tensor  # N x K x K
    bands: Tensor  # W x N x K x K, within the trimap of each of metrics.WIDTHS
    seconds: float  # for an image, the median

    @property
    def unnamed(self) -> bool:
        """Whether only their number says that the data has the network's classes."""
        return not checkpoints.have_names(self.samples.classes) and checkpoints.have_names(
            self.segmenter.classes
        )

    def report(self) -> dict[str, Any]:
        """As JSON: `intervals.report`, mIoU within each trimap, time, data and settings."""
        bands = zip(metrics.WIDTHS, self.bands.sum(1), strict=True)
        return {
            "model": self.segmenter.name,
            "data": self.samples.name,
            **intervals.report(self.matrices, self.segmenter.classes, self.samples.groups),
            "trimap_miou": {str(width): round(float(metrics.miou(m)), 4) for width, m in bands},
            "seconds_per_image": round(self.seconds, 4),
            "device": str(self.segmenter.device),
            "settings": self.segmenter.described(),
        }

    def write(self, path: str | Path) -> None:
        """`report` as a JSON file; the IoU of a class that is nowhere is null."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(Path(path)) as file:
            content = checkpoints.plain(self.report())
            text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
            file.write_text(text + "\n", "utf-8")

    def __str__(self) -> str:
        scores, groups = self.report(), self.samples.groups
        lines = [
            f"{self.segmenter.name} on {self.samples.name}: {len(self.matrices)} images",
            *(["its classes have no names: taken for the network's, in its order"] * self.unnamed),
            "",
            tables.table(self.matrices.sum(0), self.segmenter.classes),
            "",
            f"mIoU {intervals.sentence(scores)}",
        ]
        for width, band in zip(metrics.WIDTHS, self.bands, strict=True):
            within = f"{float(metrics.miou(band.sum(0))):.3f}"
            if scores["interval"]:
                within = f"{metrics.confidence_interval(intervals.by_group(band, groups))}"
            lines.append(f"within {width} px of an edge {within}")
        return "\n".join([*lines, f"{1000 * self.seconds:.0f} ms for an image, the median"])


def evaluate(
    settings: Settings,
    data: str = "scenes",
    split: str = "val",
    images: int = 0,
    root: str | Path | None = None,
    device: str = "auto",
) -> Evaluation:
    """Score a checkpoint on a split, the first `images` of it, or all with 0. Lesson 09.

    data: scenes, camvid, voc or a folder with images/ and masks/; root: where camvid or voc is.

    Raises ValueError for a network of other classes than the data, by number, name or order, an
    unknown name or split, less than two images, and as `Segmenter`; FileNotFoundError where the
    data is not.
    """
    return score(Segmenter(settings, device), open_samples(data, split, root), images)


def score(segmenter: Segmenter, samples: Samples, images: int = 0) -> Evaluation:
    """`evaluate` for a segmenter and a split that are open. Raises ValueError as it does."""
    known, labelled = segmenter.classes, samples.classes
    if labelled and len(labelled) != len(known):
        raise ValueError(
            f"{segmenter.name} knows {len(known)} classes ({tables.some(known)}) and "
            f"{samples.name} has {len(labelled)} ({tables.some(labelled)}): evaluate it on the "
            "data that it was trained on, or fine-tune it to these classes with train --init"
        )
    if labelled and checkpoints.have_names(known) and checkpoints.have_names(labelled):
        pairs = zip(known, labelled, strict=True)
        if other := [pair for pair in pairs if pair[0].casefold() != pair[1].casefold()]:
            same = {name.casefold() for name in known} == {name.casefold() for name in labelled}
            raise ValueError(
                f"{segmenter.name} and {samples.name} have {len(known)} classes each, "
                f"{'in another order' if same else 'of other names'}: where the network has "
                f"{other[0][0]}, the data has {other[0][1]}. Bring the data to the network's order "
                "with import --classes FILE, or fine-tune the network with train --init"
            )
    count = min(images or samples.length, samples.length)
    if count < 2:
        raise ValueError(f"{count} images are too few to score: expected 2 or more")
    matrices, bands, seconds = [], [], []
    for index in tqdm(range(count), unit="image", disable=not sys.stderr.isatty()):
        image, label, edges = samples.sample(index)
        start = time.perf_counter()
        predicted = segmenter.labels(image)
        seconds.append(time.perf_counter() - start)
        counts = by_strips(predicted, label, edges, len(known))
        matrices.append(counts[:1])
        bands.append(counts[1:, None])
    return Evaluation(
        samples, segmenter, torch.cat(matrices), torch.cat(bands, 1), float(np.median(seconds))
    )


def by_strips(predicted: np.ndarray, label: Array, edges: Array, classes: int) -> Tensor:
    """The matrix of an image and those of its trimaps: (1 + W) x K x K.

    They are sums over strips, so a large image needs little memory. A strip sees more rows beyond
    it than the widest trimap has, so the sums are exact.
    """
    beyond, total = math.ceil(max(metrics.WIDTHS)) + 1, torch.tensor(0)
    for top in range(0, len(label), STRIP):
        rows, first = slice(top, top + STRIP), max(0, top - beyond)
        near = metrics.boundary_distance(edges[first : top + STRIP + beyond])[top - first :][:STRIP]
        bands = [
            as_label(edges[rows]).masked_fill(near > width, IGNORE) for width in metrics.WIDTHS
        ]
        counts = [
            metrics.confusion_matrices(predicted[rows], each, classes)
            for each in (label[rows], *bands)
        ]
        total = total + torch.cat(counts)
    return total


def open_samples(data: str, split: str, root: str | Path | None = None) -> Samples:
    """A split by the name of its data set, or a folder. Raises as `evaluate`."""
    if data == "scenes":
        if split not in ("val", "test"):
            raise ValueError(f"split {split!r} of scenes: expected val or test")
        first, count = scenes.SPLITS[split]
        return Samples(f"scenes, {split}", scenes.CLASSES, count, lambda i: _scene(first + i))
    from deeplab_lite.workshop import datasets

    dataset: Any
    if data == "camvid":
        dataset = datasets.CamVid(split, root)
    elif data == "voc":
        dataset = datasets.VOC(split, root)
    elif Path(data).is_dir():
        report = datasets.check_folder(data)
        if report.problems:
            raise ValueError(str(report))
        dataset = datasets.Folder(data, split, report.classes)
    else:
        raise ValueError(
            f"no data set is called {data!r}: there are {', '.join(DATA)}, and no folder is there"
        )
    name, groups = f"{Path(data).name}, {split}", getattr(dataset, "groups", ())
    if data == "voc":
        return Samples(name, dataset.classes, len(dataset), lambda i: _sample(*dataset[i]))
    return Samples(name, dataset.classes, len(dataset), lambda i: _pair(*dataset.read(i)), groups)


def _scene(seed: int) -> Sample:
    """A test scene; edges are those of shapes, not of the band of 255 on them."""
    image, label = scenes.scene(seed)
    return Sample(image, label, scenes.scene(seed, outline=0)[1])


def _pair(image: np.ndarray, label: np.ndarray) -> Sample:
    return Sample(image, label, label)


def _sample(pixels: Tensor, label: Tensor) -> Sample:
    """An item of `deeplab_lite.workshop.datasets`, its pixels as they were in the file."""
    image = ((pixels + 1) * scenes.HALF).round().clamp(0, 255).byte()
    return Sample(image.movedim(0, -1).numpy(), label, label)
