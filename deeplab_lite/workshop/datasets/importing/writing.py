"""The pictures of an export and their masks as files of a folder that trains."""

import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps
from tqdm import tqdm

from deeplab_lite import image_files
from deeplab_lite.colors import voc_palette
from deeplab_lite.labels import IGNORE
from deeplab_lite.tables import some
from deeplab_lite.workshop.datasets.importing.export import Export, Labelled
from deeplab_lite.workshop.datasets.pairs import alike, orientation

# What is said of pictures as they are written, with their number, some names, and --longest.
NOTES = {
    "shrunk": "{} pictures and their masks were shrunk to a longer side of {longest} pixels, as {}",
    "lost": "{} pictures have shapes that no pixel of their mask is left of, as {}: too small or "
    "thin, below others, or outside of the picture",
    "turned": "{} pictures have an orientation tag and labels of their stored pixels, as {}: the "
    "labels were turned like the picture",
    "unsure": "{} pictures have an orientation tag that leaves their size, as {}: this takes their "
    "labels for those of the upright picture; look at the sheet",
}


def names_of(items: list[Labelled], root: Path) -> list[str]:
    """A name for each picture: its own, with its folders before it where two share one."""
    times = Counter(alike(item.picture.stem) for item in items)
    names: dict[str, str] = {}
    for item in items:
        path, name = item.picture, item.picture.stem
        if times[alike(name)] > 1 and path.is_relative_to(root):
            name = "-".join(path.relative_to(root).with_suffix("").parts)
        while alike(name) in names:
            name += "-2"
        names[alike(name)] = name
    return list(names.values())


def write(export: Export, names: list[str], folder: Path, longest: int = 0) -> None:
    """The pictures, shrunk if above `longest`, and palette masks for what they look like."""
    for part in ("images", "masks"):
        (folder / part).mkdir()
    palette = voc_palette(256)
    palette[: len(export.palette)] = export.palette or palette[:0]
    palette[IGNORE] = 255
    noted: dict[str, list[str]] = {word: [] for word in NOTES}
    for item, name in tqdm(
        list(zip(export.items, names, strict=True)), unit="picture", disable=not sys.stderr.isatty()
    ):
        label, word = as_seen(item)
        words, mask = [word], Image.fromarray(label)
        values = {*item.values, *_values(mask)}
        copy = folder / "images" / f"{name}{item.picture.suffix.lower()}"
        if 0 < longest < max(mask.size):
            words.append("shrunk")
            pixels = image_files.read(item.picture, longest, image_files.room()).image
            Image.fromarray(pixels).save(copy, quality=95)
            mask = mask.resize(pixels.shape[1::-1], Image.Resampling.NEAREST)  # mixes no classes
        else:
            shutil.copyfile(item.picture, copy)
        mask.putpalette(palette.ravel().tolist())
        mask.save(folder / "masks" / f"{name}.png")
        words += ["lost"] * (values != _values(mask))
        for word in filter(None, words):
            noted[word].append(item.picture.name)
    (folder / "classes.txt").write_text("".join(f"{n}\n" for n in export.classes), "utf-8")
    export.notes += [
        NOTES[word].format(len(names), some(names, 2), longest=longest)
        for word, names in noted.items()
        if names
    ]


def _values(mask: Image.Image) -> set[Any]:
    return {value for _, value in mask.getcolors() or ()}


def as_seen(item: Labelled) -> tuple[np.ndarray, str]:
    """The label map of the upright picture; "turned" where it had to be, "unsure" where sizes leave
    open whether it should.

    Raises ValueError where labels were drawn on another size.
    """
    try:
        stored, turn = orientation(item.picture)
    except OSError as error:
        raise ValueError(f"{item.picture} cannot be read ({error})") from error
    shown = stored[::-1] if turn > 4 else stored
    label = item.draw(shown)
    size = label.shape[::-1]
    if size == shown:
        return label, "unsure" if turn > 1 and stored == shown else ""
    if size != stored:
        raise ValueError(
            f"{item.file} labels {item.picture.name} on {size[0]} x {size[1]} pixels, and the "
            f"picture has {shown[0]} x {shown[1]}: export it for the same picture"
        )
    mask = Image.fromarray(label)
    mask.getexif()[ExifTags.Base.Orientation] = turn
    return np.array(ImageOps.exif_transpose(mask)), "turned"
