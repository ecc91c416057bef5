"""Which pictures train, validate and test: groups stay together, so that no score is of a twin."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from deeplab_lite.workshop.datasets.folder import LEAST, lines, shuffled_blocks, whole_blocks
from deeplab_lite.workshop.datasets.importing.export import Labelled
from deeplab_lite.workshop.datasets.pairs import alike

SHARES = {"val": 0.2, "test": 0.1}
ENOUGH = 10  # pictures for a test list
FEW = 3  # groups: with less, parts could not be filled
NAMES = {"train": "train", "training": "train", "valid": "val", "validation": "val", "val": "val"}
NAMES |= {"test": "test", "testing": "test"}
LISTS = NAMES | {"trainaug": "train", "train_aug": "train"}  # VOC's with the labels of SBD
WORD = re.compile(rf"(?<![a-z])({'|'.join(sorted(NAMES, reverse=True))})(?![a-z]{{2}})", re.I)


Items = Mapping[str, Labelled]  # by name
Lists = dict[str, list[str]]  # "train", "val", "test" -> names


def of(items: Items, root: Path, by: str, seed: int) -> tuple[Lists, dict[str, str], list[str]]:
    """The export's own lists, or lists drawn by chance; the group of each picture, "" for none; and
    how that was done, in sentences.

    Without --group, an export whose lists divide what has one name has no groups.
    """
    pictures = {name: item.picture for name, item in items.items()}
    lists, notes = of_export(root, items), []
    if out_of := len(items) - sum(map(len, lists.values())) if lists else 0:
        notes.append(f"{out_of} pictures are in no list of the export, and in none here")
    if lists.get("val"):
        groups, how = groups_of(pictures, root, by)
        if by == "auto" and not whole(groups, lists):
            groups = dict.fromkeys(pictures, "")
        how = f"; {how}" if any(groups.values()) else ""
        return lists, groups, [*notes, f"train, val and test are those of the export{how}"]
    groups, how = groups_of({n: pictures[n] for n in lists.get("train") or pictures}, root, by)
    kept = {"test": lists["test"]} if lists else {}
    lists = divided(groups, seed, test=not kept) | kept
    which = "test is that of the export, train and val" if kept else "train, val and test"
    if kept:  # the groups of test, by the same rule
        rule = "prefix" if by == "auto" else by
        groups, _ = groups_of(pictures, root, rule if any(groups.values()) else "none")
    return lists, groups, [*notes, f"{which} were drawn by chance: {how}"]


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
        sources = {n: p.stem.partition(".rf.")[0] for n, p in pictures.items()}  # Roboflow's
        plain = {n: stem.rstrip("0123456789").rstrip("-_. ") for n, stem in sources.items()}
        groups = {name: f"{folders[name]}/{plain[name]}" for name in pictures}
    count = len(set(groups.values()))
    if by == "auto" and count < FEW:
        groups, how = groups_of(pictures, root, "none")
        return groups, f"{how}; if they are frames of a film, neighbours are in train and in val"
    if count < 2:
        raise ValueError(f"all pictures have one {by}, so they make one group: say --group none")
    return groups, f"{count} groups, by {'name' if by == 'auto' else by}"


def lone(groups: Mapping[str, str], lists: Lists) -> list[str]:
    """The sentence for a val that is one single group; [] for others."""
    group, *others = {groups[name] for name in lists["val"]}
    if others or not group:
        return []
    return [
        f"val is one group alone, {group}, so its score says little about others: label more "
        "groups, or say --group none if their pictures don't belong together"
    ]


def whole(groups: Mapping[str, str], lists: Lists) -> bool:
    """Whether no group is in two of the lists, and groups are not just the lists themselves."""
    pairs = {(groups[name], part) for part, names in lists.items() for name in names}
    count = len({group for group, _ in pairs})
    return len(pairs) == count > len({part for _, part in pairs})


def divided(groups: Mapping[str, str], seed: int = 0, test: bool = True) -> Lists:
    """{"train", "val", "test"} of the names, whole groups in each, by chance.

    groups: name -> group, "" for one that stands alone. A fifth validates and a tenth tests; there
    is no test list of less than ten pictures, and none without `test`.
    """
    blocks = shuffled_blocks(groups, seed)
    lists: Lists = {"train": [], "val": [], "test": []}
    for part, share in SHARES.items():
        size = max(LEAST, round(share * len(groups)))
        if part == "test" and (len(groups) < ENOUGH or not test):
            break
        lists[part] = whole_blocks(blocks, size)
    lists["train"] = [name for block in blocks for name in block]
    return {part: sorted(names) for part, names in lists.items()}


def of_export(root: Path, items: Items) -> Lists:
    """The lists that the export has: text files, splits, or folders and files with their names.

    {} unless there are train and val or test; val may be empty. A picture that lists leave out is
    in none. Raises ValueError for a picture that two files put into two splits.
    """
    for way in (_listed, _by_word):
        of = way(root, items)
        lists = {part: sorted(n for n in of if of[n] == part) for part in ("train", "val", "test")}
        if lists["train"] and (len(lists["val"]) >= LEAST or (lists["test"] and not lists["val"])):
            return lists
    return {}


def _listed(root: Path, items: Items) -> dict[str, str]:
    """name -> the part whose list names it; "" for one of none, if there is a list of train."""
    for folder in (root, *sorted(root.rglob("ImageSets/Segmentation"))):
        listed: dict[str, set[str]] = {}
        for file in sorted(folder.glob("*.txt")):
            if part := LISTS.get(file.stem.lower()):
                listed.setdefault(part, set()).update(*map(_keys, lines(file)))
        rest = "" if "train" in listed else "train"
        if listed:
            keys = {name: _own_keys(item.picture) for name, item in items.items()}
            return {
                name: next(
                    (p for p in ("test", "val", "train") if keys[name] & listed.get(p, set())), rest
                )
                for name in items
            }
    return {}


def _own_keys(picture: Path) -> set[str]:
    return {alike(picture.stem), alike(f"{picture.parent.name}/{picture.stem}")}


def _keys(line: str) -> set[str]:
    """What a line of a list may mean: a name or a path, with a suffix, with a mask's path after."""
    paths = [PurePosixPath(text.replace("\\", "/")) for text in (line, line.split()[0])]
    texts = {text for path in paths for text in (path.name, path.stem)}
    if folder := paths[1].parent.name:
        texts = {f"{folder}/{text}" for text in texts}
    return set(map(alike, texts))


def _by_word(root: Path, items: Items) -> dict[str, str]:
    """name -> the part that its split, folder or file of annotations is called; {} unless all."""
    words = {name: _word(item, root) for name, item in items.items()}
    return words if all(words.values()) else {}


def _word(item: Labelled, root: Path) -> str:
    """train, val or test, or ""."""
    picture, files = item.picture, [item.file, *item.others]
    parts = picture.parent.relative_to(root).parts if picture.is_relative_to(root) else ()
    folders = [part for part in parts if WORD.search(part)][:1]
    stems = [file.stem for file in files if file.stem != picture.stem]
    for texts in (item.splits, folders, stems):
        words = {NAMES[match[1].lower()] for text in texts if (match := WORD.search(text))}
        if len(words) > 1:
            raise ValueError(
                f"{picture.name} is in {' and '.join(sorted(words))}, by "
                f"{' and '.join(map(str, files))}: a picture may be in one of them"
            )
        if words:
            return words.pop()
    return ""
