"""Which pictures train, validate and test: groups stay together, so that no score is of a twin."""

import random
import re
from collections.abc import Mapping
from pathlib import Path

from deeplab_lite.workshop.datasets.folder import LEAST, lines

SHARES = {"val": 0.2, "test": 0.1}
SLACK = 1.25  # how much larger than its share a part may become by a group
ENOUGH = 10  # pictures for a test list
FEW = 3  # groups: with less, parts could not be filled
NAMES = {"train": "train", "valid": "val", "validation": "val", "val": "val", "test": "test"}
WORD = re.compile(r"(?<![a-z])(train|validation|valid|val|test)(?![a-z]{2})", re.I)


def groups_of(pictures: Mapping[str, Path], root: Path, by: str) -> tuple[dict[str, str], str]:
    """name -> what its picture belongs to: its folder, its name without the number, or nothing.

    "auto" is "prefix", or "none" where that would make too few groups. And what was done, in words.
    Raises ValueError where all pictures are of one folder or prefix.
    """
    if by == "none":
        return dict.fromkeys(pictures, ""), "each picture by itself"
    folders = {
        name: path.parent.relative_to(root).as_posix() if path.is_relative_to(root) else ""
        for name, path in pictures.items()
    }
    if by == "folder":
        groups = folders
    else:
        plain = {n: p.stem.rstrip("0123456789").rstrip("-_. ") for n, p in pictures.items()}
        groups = {name: f"{folders[name]}/{plain[name]}" for name in pictures}
    count = len(set(groups.values()))
    if by == "auto" and count < FEW:
        groups, how = groups_of(pictures, root, "none")
        return groups, f"{how}; if they are frames of a film, neighbours are in train and in val"
    if count < 2:
        raise ValueError(f"all pictures have one {by}, so they make one group: say --group none")
    return groups, f"{count} groups, by {'name' if by == 'auto' else by}"


def divided(groups: Mapping[str, str], seed: int = 0) -> dict[str, list[str]]:
    """{"train", "val", "test"} of the names, whole groups in each, by chance.

    groups: name -> group, "" for one that stands alone. A fifth validates and a tenth tests; there
    is no test list of less than ten pictures.
    """
    members: dict[str, list[str]] = {}
    for name in sorted(groups):
        members.setdefault(groups[name] or f"\0{name}", []).append(name)
    blocks = list(members.values())
    random.Random(seed).shuffle(blocks)
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for part, share in SHARES.items():
        size = max(LEAST, round(share * len(groups)))
        if part == "test" and len(groups) < ENOUGH:
            break
        for block in list(blocks):
            if len(lists[part]) + len(block) <= SLACK * size and len(lists[part]) < size:
                lists[part] += block
                blocks.remove(block)
        while len(lists[part]) < LEAST and len(blocks) > 1:
            blocks.remove(block := min(blocks, key=len))
            lists[part] += block
    lists["train"] = [name for block in blocks for name in block]
    return {part: sorted(names) for part, names in lists.items()}


def of_export(root: Path, names: Mapping[str, tuple[Path, Path]]) -> dict[str, list[str]]:
    """The lists that the export has: VOC's text files, or folders and files called train and val.

    names: name -> picture and the file that labels it. {} unless there are train and val.
    """
    folders = (root, *root.rglob("ImageSets/Segmentation"))
    if folder := next((each for each in folders if _has(each)), None):
        files = {part: folder / f"{part}.txt" for part in SHARES}
        known = {part: set(lines(file)) for part, file in files.items() if file.is_file()}
        of = {
            name: next((part for part in known if picture.stem in known[part]), "train")
            for name, (picture, _) in names.items()
        }
    else:
        of = {name: _word(pair, root) for name, pair in names.items()}
    lists = {part: sorted(n for n in names if of[n] == part) for part in ("train", "val", "test")}
    return lists if all(of.values()) and lists["train"] and len(lists["val"]) >= LEAST else {}


def _has(folder: Path) -> bool:
    return all((folder / f"{part}.txt").is_file() for part in ("train", "val"))


def _word(pair: tuple[Path, Path], root: Path) -> str:
    """train, val or test, where a folder or the name of the annotations has the word."""
    picture, file = pair
    parts = list(picture.parent.relative_to(root).parts) if picture.is_relative_to(root) else []
    parts += [] if file.stem == picture.stem else [file.stem]
    words = [match[1].lower() for part in parts for match in WORD.finditer(part)]
    return NAMES[words[0]] if words else ""
