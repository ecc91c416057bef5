"""Images with label maps beside them: what CamVid and a folder of your own have in common."""

import os
import unicodedata
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from deeplab_lite import image_files
from deeplab_lite.labels import IGNORE, check_range
from deeplab_lite.scenes import normalize

VARIABLE = "DEEPLAB_LITE_DATA"
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")  # of images
WINDOWS_OWN = ("thumbs.db", "desktop.ini")
LOSSY = ("JPEG", "MPO")
STEPS = {"L;2": 85, "L;4": 17}  # Pillow stretches grey of 2 and 4 bits to 0..255

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

    @property
    def names(self) -> list[str]:
        """Of the images, without suffix."""
        return [pair.image.stem for pair in self.pairs]

    def __getitem__(self, index: int) -> Item:
        """Raises ValueError as `read` does."""
        pixels, label = self.read(index)
        return normalize(pixels), torch.from_numpy(label).long()

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """An item as its files have it: uint8 (H, W, 3), and the label in as few bytes.

        Raises ValueError for a damaged file, unequal sizes, a palette of other colours, or a value
        that is no class.
        """
        image, mask = self.pairs[index]
        pixels = image_files.read(image, None, image_files.room()).image
        label = read_mask(mask)
        if problem := recoloured(mask, label, self.palette):
            raise ValueError(problem)
        for value in self.void:
            label[label == value] = IGNORE
        if pixels.shape[:2] != label.shape:
            raise ValueError(unequal(image, mask, pixels.shape[1::-1], (*label.shape[::-1],)))
        kept = torch.from_numpy(np.where(label == IGNORE, 0, label))
        try:
            check_range(kept, len(self.classes), f"{mask}: label")
        except ValueError as error:
            ignored = " and ".join(map(str, (*self.void, IGNORE)))
            raise ValueError(
                f"{error}, and {ignored} count nowhere. Save 255 where it is none of these; masks "
                "of more classes are a folder of your own, with their names in classes.txt"
            ) from None
        return pixels, label


class Colours(ValueError):
    """A mask that was saved as a picture."""


def read_mask(path: Path, lossy: bool = False) -> np.ndarray:
    """The class numbers of a palette or grey mask: uint8 (H, W), or int32 of one with 16 bits.

    Three equal channels are grey, and so is grey with alpha that hides nothing; whole numbers may
    be floats; a mask with an orientation tag is turned upright, as its image is. Raises ValueError
    for colours, for a JPEG unless `lossy`, and for what is no image or is damaged.
    """
    try:
        with Image.open(path) as file:
            step = STEPS.get(str(file.tile[0].args) if file.tile else "", 1)
            mask: Image.Image = ImageOps.exif_transpose(file)
            kind = file.format
    except Exception as error:  # decoders raise anything on damaged files
        what = f"{path} cannot be read as an image ({type(error).__name__})"
        raise ValueError(f"{what}: copy it again, or export it anew") from error
    if kind in LOSSY and not lossy:
        raise ValueError(
            f"{path} is a JPEG inside, which blurs class numbers: export it as PNG anew"
        )
    if mask.mode in ("LA", "RGB", "RGBA") and (grey := _one_channel(mask)):
        mask = grey
    if mask.mode == "F" and not (np.array(mask) % 1).any():
        mask = mask.convert("I")
    if mask.mode not in ("P", "L", "1") and not mask.mode.startswith("I"):
        raise Colours(
            f"{path} is {mask.mode}, colours and no class numbers: expected a palette or grey PNG. "
            "`python -m deeplab_lite import FOLDER --colours TABLE --out NEW` converts all masks"
            if mask.mode != "LA"
            else f"{path} is grey with transparent pixels: expected a grey PNG without alpha"
        )
    values = np.array(mask)
    if mask.mode in ("P", "L", "1"):
        return values.astype(np.uint8) // step
    return values.astype(np.int32)


def _one_channel(mask: Image.Image) -> Image.Image | None:
    """The grey that all channels hold, if alpha hides nothing of it."""
    bands = list(mask.split())
    if mask.mode.endswith("A") and bands.pop().getextrema()[0] != 255:
        return None
    same = all(band.tobytes() == bands[0].tobytes() for band in bands)
    return bands[0] if same else None


def orientation(path: Path) -> tuple[tuple[int, int], int]:
    """A picture's (width, height) as stored, and how EXIF says to turn it: 1 to 8, 1 not at all.

    From 5 on, width and height change places. Raises OSError for what is no picture.
    """
    with Image.open(path) as picture:
        turn = 1
        with suppress(Exception):  # damaged EXIF is no reason to refuse the picture
            turn = picture.getexif().get(ExifTags.Base.Orientation, 1)
        turn = turn if turn in range(1, 9) else 1
        if picture.format == "TIFF" and turn > 4:  # turned upright by Pillow itself
            picture.load()
            return picture.size[::-1], turn
        return picture.size, turn


def alike(name: str) -> str:
    """A name without regard to case, or to whether an accent is a character of its own."""
    return unicodedata.normalize("NFC", name).casefold()


def palette_of(path: Path) -> list[Color]:
    """The colours of a palette mask, by class number; [] for a grey one."""
    with Image.open(path) as mask:
        values = mask.getpalette("RGB") if mask.mode == "P" else None
    return list(zip(*[iter(values or ())] * 3, strict=True))


def recoloured(mask: Path, values: np.ndarray, palette: Sequence[Color]) -> str:
    """The sentence for a mask in whose own palette a class has another's colour; "" for others."""
    for value, (color, expected) in enumerate(zip(palette_of(mask), palette, strict=False)):
        if color != expected and color in palette and (values == value).any():
            return (
                f"{mask} has the colour {color} as value {value}, and it is the colour of class "
                f"{list(palette).index(color)}: save all masks with one palette"
            )
    return ""


def unequal(image: Path, mask: Path, one: Sequence[int], other: Sequence[int]) -> str:
    """The sentence for an image and a mask of different sizes, each (width, height)."""
    sentence = f"{image} is {one[0]} x {one[1]} and its mask {mask.name} {other[0]} x {other[1]}"
    if tuple(one) == tuple(other)[::-1] and orientation(image)[1] > 4:
        return (
            f"{sentence}, as a photo that its orientation tag turns upright, and a mask of the "
            "pixels as they are stored: `python -m deeplab_lite import FOLDER --out NEW` turns "
            "such masks"
        )
    return f"{sentence}: expected a class for each pixel of the image"


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
    """What is in a folder and not hidden, sorted; without what Windows puts into folders."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower() not in WINDOWS_OWN
    )


def data_folder(root: str | Path | None = None) -> Path:
    """Where data sets are: root, else $DEEPLAB_LITE_DATA, else a folder in the user's cache."""
    import platformdirs

    folder = root or os.environ.get(VARIABLE)
    if folder:
        return Path(folder).expanduser()
    return platformdirs.user_cache_path("deeplab_lite", appauthor=False, opinion=False)
