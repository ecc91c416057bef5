"""What can be wrong with a folder's layout, names and values, a sentence each. Lesson 09."""

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from deeplab_lite.labels import IGNORE
from deeplab_lite.tables import some
from deeplab_lite.workshop.datasets.pairs import SUFFIXES, Color, Pair, alike, shown

MUCH, MOST = 0.5, 0.9  # shares of 255, and of one class, that are worth a note
END = re.compile(r"[-_. ][A-Za-z]+$")  # what a mask's name may have more than its image's
CUT = (1, 3, 15)  # 255 in 1, 2 or 4 bits
CUT_BY = "Pillow saves a palette of 16 colours or less: give the palette 256"


class Problem(NamedTuple):
    """kind: layout, partner, unreadable, colours, size, value or split; file: "" for the folder."""

    kind: str
    file: str
    text: str


class Look(NamedTuple):
    """What one pair shows: the image's (width, height), pixels and colour by value, problems.

    kind: of the mask; turned: the image's name, where EXIF turns it and leaves its size; picture,
    label: digests of the image's pixels and of the mask's values.
    """

    size: tuple[int, int] | None
    counts: Counter[int]
    colors: dict[int, Color]
    problems: list[Problem]
    kind: str
    turned: str
    picture: bytes
    label: bytes


def _import(root: Path, flags: str = "") -> str:
    """The command that brings other layouts into this one."""
    return f"`python -m deeplab_lite import {shlex.quote(str(root))} --out NEW{flags}`"


def layout(root: Path) -> list[Problem]:
    """Files of images/ and masks/ that nobody reads, though they look as if they were meant."""
    problems = []
    for part, suffixes in (("images", SUFFIXES), ("masks", (".png",))):
        inside = [path for path in shown(root / part) if path.is_dir()]
        files = sorted(path for folder in inside for path in folder.rglob("*"))
        deep = [path for path in files if path.suffix.lower() in SUFFIXES]
        if deep:
            text = (
                f"{len(deep)} files lie in folders of {root / part}, as {deep[0].parent.name}/"
                f"{deep[0].name}, and are not read: {_import(root)} lays them side by side"
            )
            problems.append(Problem("layout", part, text))
        files = [path for path in shown(root / part) if path.is_file()]
        other = [path.name for path in files if path.suffix.lower() not in suffixes]
        if other and (part == "images" or Path(other[0]).suffix.lower() in SUFFIXES):
            text = (
                f"{len(other)} files of {root / part} are not read, as {other[0]}: expected "
                f"{', '.join(suffixes)}"
                + (f"; {_import(root)} takes other masks" if part == "masks" else "")
            )
            problems.append(Problem("layout", part, text))
    return problems


def partners(
    root: Path, pairs: Sequence[Pair], images: Sequence[Path], masks: Sequence[Path]
) -> list[Problem]:
    """Images and masks without partner; one sentence where one rule joins many names."""
    problems = []
    others = {p.stem for p in shown(root / "masks") if p.is_file() and p.suffix.lower() != ".png"}
    lone = {path for path in (*images, *masks) if path.stem not in others}
    pictures, forms = {p.stem: p for p in images}, {alike(p.stem): p for p in images}
    same = [(forms[alike(m.stem)], m) for m in masks if alike(m.stem) in forms]
    if same:
        one, other = same[0]
        how = "case" if one.stem.lower() == other.stem.lower() else "the Unicode form of a letter"
        text = (
            f"{len(same)} images and masks have names that differ in {how} alone, as {one.name} "
            f"and {other.name}: rename one of each, or {_import(root)}"
        )
        problems.append(Problem("partner", other.name, text))
        lone -= {path for both in same for path in both}
    for tail in dict.fromkeys(match[0] for mask in masks if (match := END.search(mask.stem))):
        joined = [(pictures.get(m.stem.removesuffix(tail)), m) for m in masks if m in lone]
        joined = [(image, mask) for image, mask in joined if image]
        if len(joined) > 1:
            text = (
                f"{len(joined)} masks have their image's name and {tail} after it, as "
                f"{joined[0][1].name}: {_import(root)} takes this layout"
            )
            problems.append(Problem("partner", "", text))
            lone -= {path for both in joined for path in both if path}
    if images and masks and lone and not (pairs or problems):
        text = (
            f"no mask has the name of an image, as {images[0].name} and {masks[0].name}: expected "
            f"{images[0].stem}.png in masks/; {_import(root, ' --masks PATTERN')} joins other names"
        )
        return [Problem("partner", "", text)]
    twice = {path for path in images if path.stem in {pair.image.stem for pair in pairs}}
    problems += [
        Problem("partner", path.name, f"{path} has the name of another image: rename or remove one")
        for path in images
        if path in twice
    ]
    lone -= twice
    missing = [(path, "mask of its own, a PNG of its name in masks/") for path in images]
    missing += [(path, "image of its own, of its name in images/") for path in masks]
    problems += [
        Problem("partner", path.name, f"{path} has no {what}: rename, add or remove one")
        for path, what in missing
        if path in lone
    ]
    return problems


def values(
    root: Path, pairs: Sequence[Pair], looks: Sequence[Look], names: Sequence[str]
) -> list[Problem]:
    """Values that are no class; and masks whose values are not class numbers at all."""
    total = sum((look.counts for look in looks), Counter[int]())
    used = sorted(value for value in total if 0 <= value < IGNORE)
    cut = CUT if any(look.colors for look in looks) else ()
    if len(used) > 1 and used[-1] == len(names or used) and (used[0] or used[-1] not in cut):
        text = (
            f"the masks have the values {ranges(used)}, and classes are numbered 0..{used[-1] - 1}"
            + (": subtract 1 from each value but 255" if used[0] else "")
            + ("" if used[0] else ": if 0 is background, add its name to classes.txt as line one")
        )
        return [Problem("value", "", text)]
    known = len(names) or IGNORE
    problems = []
    for pair, look in zip(pairs, looks, strict=True):
        if wrong := sorted(v for v in look.counts if v != IGNORE and not 0 <= v < known):
            expected = (
                f"classes.txt names 0..{known - 1}" if names else f"classes are below {known}"
            )
            text = f"{pair.mask} has the values {some(wrong)}: {expected}, and 255 is ignored"
            if wrong[0] in cut and len(wrong) == 1:
                text += f". 255 becomes {wrong[0]} where {CUT_BY}"
            problems.append(Problem("value", pair.mask.name, text))
    if not names and used and used != list(range(len(used))):
        text = (
            f"the masks have the values {some(used)}, with gaps between: if these are classes, "
            "name all of 0, 1, 2, ... in classes.txt; if they are shades of grey, save 0, 1, 2, ..."
        )
        problems.append(Problem("value", "", text))
    if len(used) == 1 and not problems:
        text = f"the masks have one class, {used[0]}: expected two or more"
        if total[IGNORE]:
            text += (
                ". 255 is ignored: where it is meant as a class of its own, save 1 in its place, "
                f"as {_import(root)} does"
            )
        problems.append(Problem("value", "", text))
    return problems


def palettes(root: Path, pairs: Sequence[Pair], looks: Sequence[Look]) -> list[Problem]:
    """Masks with palettes of their own: a value has two colours, so it means two classes."""
    first: dict[int, tuple[Color, Path]] = {}
    for pair, look in zip(pairs, looks, strict=True):
        for value, color in look.colors.items():
            other, mask = first.setdefault(value, (color, pair.mask))
            if other != color and value != IGNORE:
                text = (
                    f"value {value} is the colour {other} in {mask.name} and {color} in "
                    f"{pair.mask.name}: a value is one class, so save all masks with one palette, "
                    f"or name the colours' classes: {_import(root, ' --colours FILE')}"
                )
                return [Problem("colours", pair.mask.name, text)]
    return []


def twins(
    parts: dict[str, list[Pair]], pairs: Sequence[Pair], looks: Sequence[Look]
) -> list[Problem]:
    """Pictures that are in two splits, or have two masks, under two names."""
    split = {pair: name for name, kept in parts.items() for pair in kept}
    first: dict[bytes, tuple[Pair, Look]] = {}
    apart, unlike = [], []
    for pair, look in zip(pairs, looks, strict=True):
        other, there = first.setdefault(look.picture, (pair, look))
        both = f"{other.image.name} and {pair.image.name}"
        if look.picture and split.get(pair) != split.get(other):
            apart.append(f"{both}, one in {split.get(other)} and one in {split.get(pair)}")
        if look.picture and look.label != there.label:
            unlike.append(both)
    problems = []
    if apart:
        text = (
            f"{len(apart)} images are there under two names and in two splits, as {apart[0]}: "
            "scores of images that were trained on say nothing; remove one of each, or list both "
            "in one split"
        )
        problems.append(Problem("split", "", text))
    if unlike:
        text = (
            f"{len(unlike)} images have two masks that differ, as {unlike[0]}: keep the right one"
        )
        problems.append(Problem("value", "", text))
    return problems


def colours_twice(pairs: Sequence[Pair], looks: Sequence[Look]) -> list[str]:
    """A colour that is one value in one mask and another in the next: perhaps one class."""
    first: dict[Color, tuple[int, Path, Look]] = {}
    for pair, look in zip(pairs, looks, strict=True):
        for value, color in look.colors.items():
            other, mask, there = first.setdefault(color, (value, pair.mask, look))
            if other != value and value not in there.colors and other not in look.colors:
                return [
                    f"the colour {color} is value {other} in {mask.name} and {value} in "
                    f"{pair.mask.name}: if it is one class, the masks have palettes of their own"
                ]
    return []


def notes(
    names: Sequence[str],
    used: Counter[int],
    counts: Sequence[Counter[int]],
    parts: dict[str, list[Pair]],
    pairs: Sequence[Pair],
) -> list[str]:
    notes = []
    absent = [name for value, name in enumerate(names) if not used[value]]
    if absent:
        text = f"no pixel is {some(absent)}: nothing can be learned about it"
        if used[IGNORE] and absent == [names[-1]]:
            text += f". If 255 is meant as {absent[0]}, save {len(names) - 1} in its place"
        notes.append(text)
    first: dict[str, str] = {}
    if twice := [(first[alike(n)], n) for n in names if first.setdefault(alike(n), n) != n]:
        text = f"the classes {' and '.join(twice[0])} differ in case alone"
        notes.append(f"{text}: if they are one, give them one name in the label tool")
    held = dict(zip(pairs, counts, strict=True))
    for split, kept in parts.items():
        there = sum((held[pair] for pair in kept), Counter())
        here = [n for v, n in enumerate(names) if used[v] and not there[v]]
        if kept and here:
            notes.append(f"{some(here)} is in no image of {split}")
    ones, voids = ([c for c in counts if value in c] for value in (1, IGNORE))
    if ones and voids and set(used) <= {0, 1, IGNORE} and not any(1 in each for each in voids):
        notes.append(
            f"{len(voids)} masks have 255 and no 1, and {len(ones)} have 1 and no 255: if both "
            "mean the same, save 1 in place of 255, which is ignored"
        )
    if (ignored := used[IGNORE] / max(1, sum(used.values()))) > MUCH:
        notes.append(f"{ignored:.0%} of the pixels are 255, and teach nothing")
    several = len(set(used) - {IGNORE}) > 1
    for value, name in enumerate(names if several else ()):
        if (share := used[value] / max(1, sum(used.values()) - used[IGNORE])) > MOST:
            notes.append(
                f"{share:.1%} of the pixels that count are {name}: accuracy will say little, so "
                "look at each class's IoU, and try --class-weights"
            )
    if empty := [pair.mask.name for pair, count in held.items() if set(count) == {IGNORE}]:
        notes.append(f"{len(empty)} masks are 255 everywhere, as {empty[0]}")
    return notes


def groups_apart(group_of: Mapping[str, str], parts: dict[str, list[Pair]]) -> list[str]:
    """Groups that are in two splits: their score is one of images that were as good as seen."""
    first: dict[str, str] = {}
    apart: dict[str, str] = {}
    for split, kept in parts.items():
        for group in (group_of[pair.image.stem] for pair in kept):
            if first.setdefault(group, split) != split:
                apart.setdefault(group, f"{first[group]} and in {split}")
    if not apart:
        return []
    group, where = next(iter(apart.items()))
    return [
        f"{len(apart)} group{'s'[: len(apart) != 1]} of groups.csv in two splits, as {group} in "
        f"{where}: what is alike trains and is scored, so the score says little; keep each in one"
    ]


def ranges(values: Sequence[int]) -> str:
    """0..3, 7 and 255."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1 and value != IGNORE:
            runs[-1].append(value)
        else:
            runs.append([value])
    words = [f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return some(words, 8) or "none"
