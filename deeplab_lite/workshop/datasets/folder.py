"""A folder of your own: images/ and, under the same names, masks/. Taught in lesson 09.

my-data/images/one.jpg      JPEG, PNG, TIFF, BMP or WebP
my-data/masks/one.png       a palette or grey PNG: each value is a class, 255 counts nowhere
my-data/classes.txt         the classes' names, one a line; numbers if there is none
my-data/val.txt             the names to validate on, one a line; a random fifth if there is none
my-data/train.txt           the names to train on; all others if there is none
my-data/test.txt            the names to score once, at the end; none if there is none
my-data/groups.csv          name,group: images that belong together; each alone if there is none
"""

import csv
import random
import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from deeplab_lite.labels import IGNORE
from deeplab_lite.workshop.datasets.pairs import (
    Color,
    Pair,
    Pairs,
    alike,
    matched,
    palette_of,
    read_mask,
)

SPLITS = ("train", "val", "test")
GROUPS, HEAD = "groups.csv", ["name", "group"]
SLACK = 1.25  # how much larger than its share a part may become by a group
LEAST = 2  # images to validate on: the interval of a score is that of other such images


class Folder(Pairs):
    """The images of a folder to train or to validate on, with their masks.

    split: "train", "val" or "test". The lists say which is which; without those of train and val,
    `share` of the images, drawn by `seed` in whole groups, validate. classes: the names, else those
    of classes.txt, else numbers up to the largest value in a mask. `check_folder` finds what is
    wrong.

    `groups` has what each image belongs to by groups.csv, its own name where it stands alone.

    Raises ValueError for an unknown split, for images or masks that have no partner, and for lists
    of names or groups that cannot be followed; FileNotFoundError without images/ or masks/.
    Taught in lesson 09.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        classes: Sequence[str] | None = None,
        share: float = 0.2,
        seed: int = 0,
    ):
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: expected {', '.join(SPLITS)}")
        self.root, self.split = Path(root), split
        pairs, *alone = files(self.root)
        if single := [path for part in alone for path in part]:
            raise ValueError(
                f"{len(single)} files of {self.root} have no partner, as {single[0].name}: an "
                "image and its mask have one name; check_folder lists all"
            )
        kept = divide(self.root, pairs, share, seed)
        if not kept[split]:  # divide sees to the others
            raise ValueError(f"{self.root} has no test.txt: expected names to test on, one a line")
        names = classes or class_names(self.root) or counted(pairs)
        super().__init__(kept[split], names, palette(pairs, len(names)))
        group_of = groups(self.root, pairs)
        self.groups = [group_of[name] for name in self.names]


def files(root: Path) -> tuple[list[Pair], list[Path], list[Path]]:
    """`matched` of images/ and masks/. Raises FileNotFoundError where one is not there."""
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root} is no folder: expected one with images/ and, as PNG files, masks/"
        )
    images, masks = root / "images", root / "masks"
    for folder in (images, masks):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder} is not there: expected images/ and, as PNG files, masks/ in {root}; "
                f"`python -m deeplab_lite import {shlex.quote(str(root))} --out NEW` takes other "
                "layouts"
            )
    return matched(images, masks)


def divide(
    root: Path, pairs: Sequence[Pair], share: float = 0.2, seed: int = 0
) -> dict[str, list[Pair]]:
    """{"train", "val", "test"}: by the lists in the folder, or by chance; test only by its list.

    Raises ValueError for a list with a name that is not there, one that is in two lists, a share
    that is none, and where less than one image is left to train on or two to validate on; without
    lists, as `groups`.
    """
    if not 0 < share < 1:
        raise ValueError(f"share {share}: expected a part of the images between 0 and 1")
    by_name = {pair.image.stem: pair for pair in pairs}
    lists = {split: _list(root / f"{split}.txt", by_name) for split in SPLITS}
    train, val, test = lists["train"], lists["val"], lists["test"] or []
    if train is None and val is None:
        group_of = groups(root, pairs)
        names = set(by_name) - set(test)
        drawn = shuffled_blocks({name: group_of[name] for name in names}, seed)
        val = sorted(whole_blocks(drawn, max(LEAST, round(share * len(names)))))
    listed = set(train or val or ()) | set(test)
    rest = [name for name in by_name if name not in listed]
    train, val = rest if train is None else train, rest if val is None else val
    if problem := in_two_lists(dict(zip(SPLITS, (train, val, test), strict=True))):
        raise ValueError(problem)
    if not train or len(val) < LEAST:
        raise ValueError(
            f"{len(train)} images to train on and {len(val)} to validate on: expected at least 1 "
            f"and {LEAST}" + "; a group of groups.csv stays whole" * (root / GROUPS).is_file()
        )
    parts = zip(SPLITS, (train, val, test), strict=True)
    return {split: [by_name[name] for name in names] for split, names in parts}


def shuffled_blocks(group_of: Mapping[str, str], seed: int) -> list[list[str]]:
    """The names of each group, the groups in an order that is the same on all machines.

    A name whose group is "" stands alone.
    """
    members: dict[str, list[str]] = {}
    for name in sorted(group_of):
        members.setdefault(group_of[name] or f"\0{name}", []).append(name)
    blocks = list(members.values())
    random.Random(seed).shuffle(blocks)
    return blocks


def whole_blocks(blocks: list[list[str]], size: int) -> list[str]:
    """Names of whole blocks, taken out of the list: `size` of them or a few more, the rest stays.

    A block that would make it much larger is left, unless there were less than two names.
    """
    names: list[str] = []
    for block in list(blocks):
        if len(names) + len(block) <= SLACK * size and len(names) < size:
            names += block
            blocks.remove(block)
    while len(names) < LEAST and len(blocks) > 1:
        blocks.remove(block := min(blocks, key=len))
        names += block
    return names


def in_two_lists(lists: Mapping[str, Collection[str]]) -> str:
    """The sentence for names that are in two splits; "" if none are."""
    for one, other in combinations(lists, 2):
        if both := sorted({*lists[one]} & {*lists[other]}):
            return (
                f"{len(both)} names are in {one} and in {other}, as {both[0]}: scores of images "
                "that were trained on say nothing; keep each in one"
            )
    return ""


def _list(path: Path, known: dict[str, Pair]) -> list[str] | None:
    """The names in a list, with or without suffix and folder."""
    if not path.is_file():
        return None
    names = _named(lines(path), known)
    if strange := [name for name in names if name not in known]:
        raise ValueError(
            f"{path.name} names {len(strange)} images that are not there, as {strange[0]}: "
            "expected names of images/, one a line"
        )
    return list(dict.fromkeys(names))


def _named(listed: Iterable[str], known: Collection[str]) -> list[str]:
    """Names as the images have them, of names with or without suffix and folder."""
    forms = {alike(name): name for name in known}
    names = [p.name if p.name in known else p.stem for p in map(Path, listed)]
    return [name if name in known else forms.get(alike(name), name) for name in names]


def groups(root: Path, pairs: Sequence[Pair]) -> dict[str, str]:
    """name -> what the image belongs to by groups.csv, its own name where it stands alone.

    Raises ValueError for a file that is no such table, an image in two groups, and one in no line.
    """
    names = [pair.image.stem for pair in pairs]
    if not (path := root / GROUPS).is_file():
        return {name: name for name in names}
    head, *rows = [*csv.reader(lines(path))] or [[]]
    wrong = [head] if head != HEAD else [row for row in rows if len(row) != 2]
    if wrong:
        raise ValueError(
            f"{path} has the line {','.join(wrong[0])!r}: expected {','.join(HEAD)} first, then an "
            "image and its group a line"
        )
    group_of: dict[str, str] = {}
    for name, (_, group) in zip(_named([row[0] for row in rows], names), rows, strict=True):
        if group_of.setdefault(name, group or name) != (group or name):
            raise ValueError(f"{path} has {name} in two groups: expected one line for each image")
    if missing := [name for name in names if name not in group_of]:
        raise ValueError(
            f"{path} has no line for {len(missing)} images, as {missing[0]}: expected one for "
            "each, with an empty group where it stands alone"
        )
    return group_of


def class_names(root: Path) -> tuple[str, ...]:
    """The names in classes.txt; () if there is none. Raises ValueError as `names_of`."""
    path = root / "classes.txt"
    return names_of(path) if path.is_file() else ()


def names_of(path: Path) -> tuple[str, ...]:
    """A class's name a line, its spaces made one, less their numbers if they count from 0.

    Raises ValueError for a name that is twice, and for more than 255.
    """
    names = [" ".join(line.split()) for line in lines(path)]
    if len(names) > IGNORE:
        raise ValueError(f"{path} names {len(names)} classes: expected 255 at most")
    numbered = [re.fullmatch(rf"{value}[\s,:;=]+(.+)", name) for value, name in enumerate(names)]
    if names and all(numbered):
        names = [match[1] for match in numbered if match]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(
            f"{path} names {twice[0]} twice: scores go by name, so expected one of its own for each"
        )
    return tuple(names)


def lines(path: Path) -> list[str]:
    """Of a text, empty ones left out. Raises ValueError for another encoding than UTF-8."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not in UTF-8: save it in that encoding") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def counted(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """ "0", "1", ... up to the largest value in the masks, 255 left out."""
    largest = 0
    for pair in pairs:
        values = read_mask(pair.mask)
        largest = max(largest, int(np.max(values, initial=0, where=values != IGNORE)))
    return tuple(str(value) for value in range(largest + 1))


def palette(pairs: Sequence[Pair], count: int) -> tuple[Color, ...]:
    """The colours of the first mask's palette, if it has as many; else ()."""
    colors = palette_of(pairs[0].mask) if pairs else []
    return tuple(colors[:count]) if len(colors) >= count else ()
