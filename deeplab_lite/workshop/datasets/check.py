"""What is wrong with a folder of images and masks, all at once, before a training. Lesson 09."""

import math
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from PIL import Image

from deeplab_lite import image_files
from deeplab_lite.labels import IGNORE
from deeplab_lite.tables import text_table
from deeplab_lite.workshop.datasets import faults
from deeplab_lite.workshop.datasets.faults import Look, Problem, ranges
from deeplab_lite.workshop.datasets.folder import class_names, divide, files, groups
from deeplab_lite.workshop.datasets.pairs import (
    Color,
    Colours,
    Pair,
    orientation,
    palette_of,
    read_mask,
    unequal,
)

SHOWN = 20  # problems in the table; the data has all
KINDS = {"P": "palette", "L": "grey", "1": "of one bit", "LA": "grey", "RGB": "grey as RGB"}
SMALL = 513  # pixels: JPEGs are decoded no larger than need be
KINDS["RGBA"] = KINDS["RGB"]


@dataclass(frozen=True)
class Report:
    """What `check_folder` saw; `str(report)` is a table.

    pixels and images: of each class, and how many images hold it. ignored: the share of pixels
    that are 255. smallest and largest: (width, height) by area. train, val, test: numbers of
    images. kinds: how many masks are palette, grey, ...; values: those that masks have.
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
    test: int = 0
    kinds: tuple[tuple[str, int], ...] = ()
    values: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether a training can start."""
        return not self.problems

    def __str__(self) -> str:
        total = sum(self.pixels)
        rows = [["class", "pixels", "share", "images"]]
        for name, pixels, images in zip(self.classes, self.pixels, self.images, strict=True):
            share = f"{pixels / total:.2%}" if total else "-"
            if images or not name.isdigit():  # of numbers, those that are there
                rows.append([name, f"{pixels:,}", share, str(images)])
        parts = f"{self.train} images to train on and {self.val} to validate on"
        parts += f", {self.test} to test on" if self.test else ""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds)
        lines = [
            f"{self.root}: {parts}, "
            f"{_span(self.smallest, self.largest)} pixels, {self.ignored:.1%} of them 255",
            f"masks: {kinds or 'none that can be read'}; values {ranges(self.values)}",
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
    there; classes of one name; one picture in two splits, or with two masks; a groups.csv that
    cannot be followed. Notes are: absent classes, much that is 255, groups in two splits. Raises
    nothing.
    Taught in lesson 09.
    """
    root = Path(root)
    try:
        pairs, images, masks = files(root)
    except OSError as error:
        problems = [Problem("layout", "", str(error))]
        return Report(str(root), (), (), (), 0.0, (0, 0), (0, 0), 0, 0, tuple(problems), ())
    problems = faults.layout(root) + faults.partners(root, pairs, images, masks)
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
    problems += faults.values(root, pairs, looks, names) + faults.palettes(root, pairs, looks)
    used: Counter[int] = sum(counts, Counter())
    if not names:
        largest = max((value for value in used if value < IGNORE), default=-1)
        names = tuple(str(value) for value in range(largest + 1))
    parts: dict[str, list[Pair]] = {"train": [], "val": [], "test": []}
    group_of: dict[str, str] = {}
    try:
        group_of = groups(root, pairs)
        parts = divide(root, pairs) if pairs else parts
    except (OSError, ValueError) as error:
        problems.append(Problem("split", "", str(error)))
    problems += faults.twins(parts, pairs, looks)
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
        notes=(
            *faults.notes(names, used, counts, parts, pairs),
            *faults.colours_twice(pairs, looks),
            *_turned(looks),
            *faults.groups_apart(group_of, parts),
        ),
        test=len(parts["test"]),
        kinds=tuple(Counter(look.kind for look in looks if look.kind).items()),
        values=tuple(sorted(used)),
    )


def _look(pair: Pair) -> Look:
    size, counts, problems = None, Counter[int](), []
    colors: dict[int, Color] = {}
    kind = turned = ""
    picture = label = b""
    try:
        pixels = image_files.read(pair.image, SMALL, image_files.room()).image
        picture = _digest(pixels)
        stored, turn = orientation(pair.image)
        size = stored[::-1] if turn > 4 else stored
        turned = pair.image.name if turn > 1 and stored == size else ""
    except (OSError, ValueError) as error:
        problems.append(Problem("unreadable", pair.image.name, str(error)))
    try:
        values = read_mask(pair.mask)
        with Image.open(pair.mask) as mask:
            kind = KINDS.get(mask.mode, "16 bits")
        label = _digest(values.astype(np.uint8))
        numbers, times = np.unique(values, return_counts=True)
        counts.update(dict(zip(numbers.tolist(), times.tolist(), strict=True)))
        colors = {v: c for v, c in enumerate(palette_of(pair.mask)) if v in counts}
        if size and values.shape[::-1] != size:
            text = unequal(pair.image, pair.mask, size, values.shape[::-1])
            problems.append(Problem("size", pair.mask.name, text))
    except ValueError as error:
        kind = "colours" if isinstance(error, Colours) else "unreadable"
        problems.append(Problem(kind, pair.mask.name, str(error)))
    return Look(size, counts, colors, problems, kind, turned, picture, label)


def _digest(array: np.ndarray) -> bytes:
    return blake2b(array.tobytes(), digest_size=16).digest()


def _span(smallest: tuple[int, int], largest: tuple[int, int]) -> str:
    sizes = dict.fromkeys((smallest, largest))
    return " to ".join(f"{width} x {height}" for width, height in sizes)


def _turned(looks: Sequence[Look]) -> list[str]:
    """Images that EXIF turns so that size says nothing of what their mask was drawn on."""
    if not (names := [look.turned for look in looks if look.turned]):
        return []
    return [
        f"{len(names)} images have an orientation tag that leaves their size, as {names[0]}: masks "
        "must be of the upright image; --sheet shows whether they are"
    ]
