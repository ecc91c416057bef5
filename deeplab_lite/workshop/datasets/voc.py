"""Pascal VOC 2012, with the labels that SBD adds, read by torchvision. Taught in lesson 09.

Everingham et al. (2010, 2015): 1,464 images to train on, 1,449 to validate; 255 on outlines.
Hariharan et al. (2011), Semantic contours from inverse detectors (SBD), label 11,355 images of VOC
without such a band. The papers of DeepLab train on `train_aug`: what both label, without VOC's
validation images, 10,582 in all.
"""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from deeplab_lite.colors import voc_palette
from deeplab_lite.scenes import normalize
from deeplab_lite.workshop.datasets.pairs import (
    VARIABLE,
    Item,
    data_folder,
    read_mask,
    recoloured,
    unequal,
)

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
SPLITS = ("train", "val", "trainval", "train_aug")
UNPACKED = ("ImageSets", "val.txt")  # of VOC and of SBD, whose folder also takes the archive


class VOC(Dataset[Item]):
    """A split of VOC 2012: item i is (image float32 (3, H, W) in [-1, 1], label int64 (H, W)).

    root: the folder with VOCdevkit/VOC2012/, or one of these two; for "train_aug" also with sbd/,
    which holds img/, cls/, train.txt and val.txt. Without it, see `workshop.datasets`. download
    leaves it to torchvision to fetch what is not there: 2 GB, and 1.4 GB of SBD.

    Images of train_aug that VOC labels have VOC's labels; names are `names`. Raises ValueError for
    an unknown split, masks in colours and masks of another size, FileNotFoundError where data or a
    part of it is not there, ConnectionError where it cannot be fetched. Taught in lesson 09.
    """

    classes, palette = CLASSES, tuple(map(tuple, voc_palette(len(CLASSES)).tolist()))

    def __init__(
        self, split: str = "train", root: str | Path | None = None, download: bool = False
    ):
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: expected {', '.join(SPLITS)}")
        self.split, self.root = split, find(data_folder(root))
        parts, held_out = [self._voc(split.removesuffix("_aug"), download)], set()
        if split == "train_aug":
            parts += self._sbd(download)
            held_out = set(_names(self._voc("val", False)))
        #    name: part and index in it, of the first part that has the name
        items: dict[str, tuple[Any, int]] = {}
        for part in parts:
            for index, name in enumerate(_names(part)):
                items.setdefault(name, (part, index))
        self.names = [name for name in items if name and name not in held_out]
        self.items = [items[name] for name in self.names]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item:
        part, place = self.items[index]
        picture, file = Path(part.images[place]), Path(part.masks[place])
        own = read_mask(file) if file.suffix == ".png" else None  # VOC's; SBD has MATLAB's
        try:
            image, mask = part[place]
        except Exception as error:  # decoders raise anything on damaged files
            which = f"{picture} or {file}" if own is None else picture
            raise ValueError(f"{which} cannot be decoded ({error}): copy it again") from error
        pixels, label = np.array(image), np.array(mask) if own is None else own
        if own is not None and (problem := recoloured(file, label, self.palette)):
            raise ValueError(problem)
        if pixels.shape[:2] != label.shape:
            raise ValueError(unequal(picture, file, pixels.shape[1::-1], label.shape[::-1]))
        return normalize(pixels), torch.from_numpy(label).long()

    def _voc(self, split: str, download: bool) -> Any:
        from torchvision.datasets.voc import DATASET_YEAR_DICT, VOCSegmentation

        url = DATASET_YEAR_DICT["2012"]["url"]
        there = self.root / "VOCdevkit" / "VOC2012"
        options = {"year": "2012", "image_set": split}
        return _open(VOCSegmentation, url, there, self.root, download, **options)

    def _sbd(self, download: bool) -> list[Any]:
        from torchvision.datasets import SBDataset

        there = self.root / "sbd"
        options = [{"image_set": split, "mode": "segmentation"} for split in ("train", "val")]
        return [_open(SBDataset, SBDataset.url, there, there, download, **each) for each in options]


def find(folder: Path) -> Path:
    """The folder that VOCdevkit/VOC2012 is in: `folder`, or one or two above it."""
    for candidate in (folder, *folder.absolute().parents[:2]):
        if (candidate / "VOCdevkit" / "VOC2012").is_dir():
            return candidate
    return folder


def _names(part: Any) -> list[str]:
    """The names in a list; "" for an empty line, of which torchvision makes the file ".jpg"."""
    return [Path(image).name.rpartition(".")[0] for image in part.images]


def _open(kind: Any, url: str, there: Path, root: Path, download: bool, **options: Any) -> Any:
    """torchvision's data set; fetched if it is not there, with one sentence for what goes wrong."""
    fetches = download and not any((there / part).exists() for part in UNPACKED)
    try:
        dataset = kind(root, download=fetches, **options)
    except (RuntimeError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        if fetches:
            raise ConnectionError(
                f"torchvision could not fetch {kind.__name__} ({reason}): "
                f"download {url} by other means and unpack it to {there}"
            ) from error
        raise FileNotFoundError(
            f"there is no {kind.__name__} in {there} ({reason}): fetch it with download=True "
            f"(--download), or give the folder as root (--root) or in {VARIABLE}"
        ) from error
    for paths in (dataset.images, vars(dataset).get("targets", [])):
        paths[:] = [path.replace("\ufeff", "") for path in paths]  # a list that an editor marked
    files = [*dataset.images, *dataset.masks]
    named = zip(files, 2 * _names(dataset), strict=True)
    if lost := [path for path, name in named if name and not Path(path).is_file()]:
        raise FileNotFoundError(
            f"{len(lost)} files of {kind.__name__} are missing, as {lost[0]}: add them, or take "
            "their names out of the list, where a line is a name alone, as 2007_000032; of the "
            f"published data, unpack {url} again. Masks in another folder: python -m deeplab_lite "
            f"import {shlex.quote(str(there))} --masks FOLDER --colours voc --out DATA"
        )
    return dataset
