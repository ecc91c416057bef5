"""What is wrong with a folder of images and masks, all at once, before a training. Lesson 09."""

import math
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeplab_lite import image_files
from deeplab_lite.labels import IGNORE
from deeplab_lite.tables import some, text_table
from deeplab_lite.workshop.datasets.folder import class_names, divide, files
from deeplab_lite.workshop.datasets.pairs import (
    Color,
    Colours,
    Pair,
    palette_of,
    read_mask,
    unequal,
)

SHOWN = 20  # problems in the table; the data has all
MUCH = 0.5  # share of 255 that is worth a note
CUT = (1, 3, 15)  # 255 in 1, 2 or 4 bits
CUT_BY = "Pillow saves a palette of 16 colours or less: give the palette 256"


class Problem(NamedTuple):
    """kind: layout, partner, unreadable, colours, size, value or split; file: "" for the folder."""

    kind: str
    file: str
    text: str


@dataclass(frozen=True)
class Report:
    """What `check_folder` saw; `str(report)` is a table.

    pixels and images: of each class, and how many images hold it. ignored: the share of pixels
    that are 255. smallest and largest: (width, height) by area. train and val: numbers of images.
    problems stop a training; notes do not.
    """

    root: str
    classes: tuple[str, ...]
    pixels: tuple[int, ...]
    images: tuple[int, ...]
    ignored: float
    smallest: tuple[int, int]
    largest: tuple[int, int]
    train: int
    val: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether a training can start."""
        return not self.problems

    def __str__(self) -> str:
        total = sum(self.pixels)
        rows = [["class", "pixels", "share", "images"]]
        for name, pixels, images in zip(self.classes, self.pixels, self.images, strict=True):
            share = f"{pixels / total:.2%}" if total else "-"
            rows.append([name, f"{pixels:,}", share, str(images)])
        lines = [
            f"{self.root}: {self.train} images to train on and {self.val} to validate on, "
            f"{_span(self.smallest, self.largest)} pixels, {self.ignored:.1%} of them 255",
            text_table(rows),
            *(f"note: {note}" for note in self.notes),
        ]
        if self.problems:
            lines.append(f"{len(self.problems)} problem{'s'[: len(self.problems) != 1]}:")
            lines += [f"  {p.text}" for p in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"  and {len(self.problems) - SHOWN} more")
        return "\n".join(lines)


def check_folder(root: str | Path) -> Report:
    """Look at every image and mask of a folder laid out as `datasets.folder` says.

    Problems are: images/ or masks/ not there; names without partner; files that are damaged or no
    images; masks in colours; unequal sizes; values that are no class; lists that name what is not
    there, and classes of one name. Notes are: absent classes, much that is 255. Raises nothing.
    Taught in lesson 09.
    """
    root = Path(root)
    try:
        pairs, images, masks = files(root)
    except OSError as error:
        problems = [Problem("layout", "", str(error))]
        return Report(str(root), (), (), (), 0.0, (0, 0), (0, 0), 0, 0, tuple(problems), ())
    problems = _partners(images, masks) if images or masks else []
    if not (pairs or problems):
        problems.append(Problem("layout", "", f"{root} has no images: expected files as one.jpg"))
    # Decoders let go of the GIL. Each thread silences warnings for a while, then restores what it
    # found, which may be another's silence: so the filters are restored once more, after all.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        looks = list(pool.map(_look, pairs))
    problems += [p for look in looks for p in look.problems]
    names: tuple[str, ...] = ()
    try:
        names = class_names(root)
    except ValueError as error:
        problems.append(Problem("layout", "classes.txt", str(error)))
    counts = [look.counts for look in looks]
    problems += _values(pairs, counts, names) + _palettes(pairs, looks)
    used: Counter[int] = sum(counts, Counter())
    if not names:
        largest = max((value for value in used if value < IGNORE), default=-1)
        names = tuple(str(value) for value in range(largest + 1))
    parts: dict[str, list[Pair]] = {"train": [], "val": []}
    try:
        parts = divide(root, pairs)
    except (OSError, ValueError) as error:
        problems.append(Problem("split", "", str(error)))
    sizes = sorted((look.size for look in looks if look.size), key=math.prod) or [(0, 0)]
    total = sum(used.values())
    ignored = used[IGNORE] / total if total else 0.0
    return Report(
        root=str(root),
        classes=names,
        pixels=tuple(used[value] for value in range(len(names))),
        images=tuple(sum(value in count for count in counts) for value in range(len(names))),
        ignored=ignored,
        smallest=sizes[0],
        largest=sizes[-1],
        train=len(parts["train"]),
        val=len(parts["val"]),
        problems=tuple(problems),
        notes=tuple(_notes(names, used, ignored, counts, parts, pairs)),
    )


class _Look(NamedTuple):
    """What one pair shows: the image's (width, height), pixels and colour by value, problems."""

    size: tuple[int, int] | None
    counts: Counter[int]
    colors: dict[int, Color]
    problems: list[Problem]


def _look(pair: Pair) -> _Look:
    size, counts, problems = None, Counter[int](), []
    colors: dict[int, Color] = {}
    try:
        height, width = image_files.read(pair.image, largest=None).image.shape[:2]
        size = (width, height)
    except (OSError, ValueError) as error:
        problems.append(Problem("unreadable", pair.image.name, str(error)))
    try:
        values = read_mask(pair.mask)
        numbers, times = np.unique(values, return_counts=True)
        counts.update(dict(zip(numbers.tolist(), times.tolist(), strict=True)))
        colors = {v: c for v, c in enumerate(palette_of(pair.mask)) if v in counts}
        if size and values.shape[::-1] != size:
            text = unequal(pair.image, pair.mask, size, values.shape[::-1])
            problems.append(Problem("size", pair.mask.name, text))
    except ValueError as error:
        kind = "colours" if isinstance(error, Colours) else "unreadable"
        problems.append(Problem(kind, pair.mask.name, str(error)))
    return _Look(size, counts, colors, problems)


def _partners(images: Sequence[Path], masks: Sequence[Path]) -> list[Problem]:
    missing = [(path, "mask of its own, a PNG of its name in masks/") for path in images]
    missing += [(path, "image of its own, of its name in images/") for path in masks]
    return [
        Problem("partner", path.name, f"{path} has no {what}: rename, add or remove one")
        for path, what in missing
    ]


def _values(
    pairs: Sequence[Pair], counts: Sequence[Counter[int]], names: Sequence[str]
) -> list[Problem]:
    """Values that are no class; and masks whose values are not class numbers at all."""
    used = sorted(v for v in sum(counts, Counter()) if 0 <= v < IGNORE)
    if len(used) > 1 and used == list(range(1, len(names or used) + 1)):
        text = (
            f"the masks have the values 1..{used[-1]}, and classes are numbered 0..{used[-1] - 1}: "
            "subtract 1 from each value but 255"
        )
        return [Problem("value", "", text)]
    known = len(names) or IGNORE
    problems = []
    for pair, count in zip(pairs, counts, strict=True):
        if wrong := sorted(v for v in count if v != IGNORE and not 0 <= v < known):
            expected = (
                f"classes.txt names 0..{known - 1}" if names else f"classes are below {known}"
            )
            text = f"{pair.mask} has the values {some(wrong)}: {expected}, and 255 is ignored"
            if wrong[0] in CUT and len(wrong) == 1:
                text += f". 255 becomes {wrong[0]} where {CUT_BY}"
            problems.append(Problem("value", pair.mask.name, text))
    if not names and used and used != list(range(len(used))):
        text = (
            f"the masks have the values {some(used)}, with gaps between: if these are classes, "
            "name all of 0, 1, 2, ... in classes.txt; if they are shades of grey, save 0, 1, 2, ..."
        )
        problems.append(Problem("value", "", text))
    if pairs and len(used) == 1:
        text = (
            f"the masks have one class, {used[0]}: expected two or more. 255 is ignored: where it "
            "is meant as a class of its own, save 1 in its place"
        )
        problems.append(Problem("value", "", text))
    return problems


def _palettes(pairs: Sequence[Pair], looks: Sequence[_Look]) -> list[Problem]:
    """Masks with palettes of their own: a value has two colours, so it means two classes."""
    first: dict[int, tuple[Color, Path]] = {}
    for pair, look in zip(pairs, looks, strict=True):
        for value, color in look.colors.items():
            other, mask = first.setdefault(value, (color, pair.mask))
            if other != color and value != IGNORE:
                text = (
                    f"value {value} is the colour {other} in {mask.name} and {color} in "
                    f"{pair.mask.name}: a value is one class, so save all masks with one palette"
                )
                return [Problem("colours", pair.mask.name, text)]
    return []


def _notes(
    names: Sequence[str],
    used: Counter[int],
    ignored: float,
    counts: Sequence[Counter[int]],
    parts: dict[str, list[Pair]],
    pairs: Sequence[Pair],
) -> list[str]:
    notes = []
    absent = [name for value, name in enumerate(names) if not used[value]]
    if absent:
        notes.append(f"no pixel is {some(absent)}: nothing can be learned about it")
    held = dict(zip(pairs, counts, strict=True))
    for split, kept in parts.items():
        there = sum((held[pair] for pair in kept), Counter())
        here = [n for v, n in enumerate(names) if used[v] and not there[v]]
        if kept and here:
            notes.append(f"{some(here)} is in no image of {split}")
    if ignored > MUCH:
        notes.append(f"{ignored:.0%} of the pixels are 255, and teach nothing")
    if empty := [pair.mask.name for pair, count in held.items() if set(count) == {IGNORE}]:
        notes.append(f"{len(empty)} masks are 255 everywhere, as {empty[0]}")
    return notes


def _span(smallest: tuple[int, int], largest: tuple[int, int]) -> str:
    sizes = dict.fromkeys((smallest, largest))
    return " to ".join(f"{width} x {height}" for width, height in sizes)
