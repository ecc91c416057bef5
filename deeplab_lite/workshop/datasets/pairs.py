"""Images with label maps beside them: what CamVid and a folder of your own have in common."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from deeplab_lite import image_files
from deeplab_lite.labels import IGNORE, check_range
from deeplab_lite.scenes import normalize

VARIABLE = "DEEPLAB_LITE_DATA"
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")  # of images

Item = tuple[Tensor, Tensor]
Color = tuple[int, int, int]


class Pair(NamedTuple):
    """An image and its label map, as files."""

    image: Path
    mask: Path


class Pairs(Dataset[Item]):
    """Item i is (image float32 (3, H, W) in [-1, 1], label int64 (H, W), 255 ignored).

    pairs: the files; classes: their names; palette: an RGB colour for each, if there is one.
    void: values of the masks that are read as 255.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        classes: Sequence[str],
        palette: Sequence[Color] = (),
        void: Collection[int] = (),
    ):
        self.pairs, self.classes, self.palette = list(pairs), tuple(classes), tuple(palette)
        self.void = tuple(void)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Item:
        """Raises ValueError for a damaged file, unequal sizes or a value that is no class."""
        image, mask = self.pairs[index]
        pixels = image_files.read(image, largest=None).image
        label = torch.from_numpy(read_mask(mask)).long()
        for value in self.void:
            label[label == value] = IGNORE
        if pixels.shape[:2] != label.shape:
            raise ValueError(unequal(image, mask, pixels.shape[1::-1], (*label.shape[::-1],)))
        try:
            check_range(label, len(self.classes))
        except ValueError as error:
            raise ValueError(f"{mask}: {error}") from None
        return normalize(pixels), label


class Colours(ValueError):
    """A mask that was saved as a picture."""


def read_mask(path: Path) -> np.ndarray:
    """The class numbers of a palette or grey mask: uint8 (H, W), or int32 of one with 16 bits.

    Raises ValueError for colours, and for what is no image or is damaged.
    """
    try:
        with Image.open(path) as mask:
            mask.load()
    except Exception as error:  # decoders raise anything on damaged files
        raise ValueError(f"{path} cannot be read as an image ({type(error).__name__})") from error
    if mask.mode not in ("P", "L", "1") and not mask.mode.startswith("I"):
        raise Colours(
            f"{path} is {mask.mode}, colours and no class numbers: expected a palette or grey PNG. "
            "Convert it: for each colour, labels[(rgb == colour).all(-1)] = class, and save "
            "Image.fromarray(labels) with labels of uint8"
        )
    values = np.array(mask)
    return values.astype(np.uint8) if mask.mode in ("P", "L", "1") else values.astype(np.int32)


def palette_of(path: Path) -> list[Color]:
    """The colours of a palette mask, by class number; [] for a grey one."""
    with Image.open(path) as mask:
        values = mask.getpalette("RGB") if mask.mode == "P" else None
    return list(zip(*[iter(values or ())] * 3, strict=True))


def unequal(image: Path, mask: Path, one: Sequence[int], other: Sequence[int]) -> str:
    """The sentence for an image and a mask of different sizes, each (width, height)."""
    turned = ", as a photo that the camera held upright" if tuple(one) == tuple(other)[::-1] else ""
    return (
        f"{image} is {one[0]} x {one[1]} and its mask {mask.name} {other[0]} x {other[1]}{turned}: "
        "expected a class for each pixel of the image"
    )


def matched(images: Path, masks: Path) -> tuple[list[Pair], list[Path], list[Path]]:
    """Files of two folders by name without suffix: pairs, images alone, masks alone; sorted.

    Of two images with one name, the second is alone. Hidden files are left out: macOS puts a
    ._one.jpg beside one.jpg on other systems' disks and into archives.
    """
    pictures = [path for path in shown(images) if path.suffix.lower() in SUFFIXES]
    labels = {path.stem: path for path in shown(masks) if path.suffix.lower() == ".png"}
    pairs: dict[str, Pair] = {}
    alone = []
    for path in pictures:
        if path.stem in labels and path.stem not in pairs:
            pairs[path.stem] = Pair(path, labels[path.stem])
        else:
            alone.append(path)
    return list(pairs.values()), alone, [p for name, p in labels.items() if name not in pairs]


def shown(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, sorted."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def data_folder(root: str | Path | None = None) -> Path:
    """Where data sets are: root, else $DEEPLAB_LITE_DATA, else a folder in the user's cache."""
    import platformdirs

    folder = root or os.environ.get(VARIABLE)
    if folder:
        return Path(folder).expanduser()
    return platformdirs.user_cache_path("deeplab_lite", appauthor=False, opinion=False)
