"""Masks as pictures beside the photographs: colours, palettes or class numbers, in any layout.

The nearest folder (masks, train_labels, SegmentationClass) or the end of the name (NAME_mask.png)
says what is a mask, or --masks does. Then a mask belongs to the picture that has the same folders
and name without such words.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from deeplab_lite.labels import IGNORE
from deeplab_lite.tables import some
from deeplab_lite.workshop.datasets.folder import lines, names_of
from deeplab_lite.workshop.datasets.importing import color_tables
from deeplab_lite.workshop.datasets.importing.export import (
    IGNORED,
    Export,
    Labelled,
    Options,
    Pictures,
    Size,
    names_in,
    visible,
)
from deeplab_lite.workshop.datasets.pairs import (
    LOSSY,
    SUFFIXES,
    Color,
    Colours,
    Pair,
    alike,
    palette_of,
    read_mask,
)

TITLE = "masks"
MASKS = re.compile(
    r"""[\W_]*(
        segmentation_?class(aug|_?raw)?
        | (mask|label|annot(ation)?|ground_?truth|gt_?fine
            |(?<![a-z])(seg(mentation)?|(ann|gt)(?![a-z])))
          (image|_?png)?s?
    )""",
    re.I | re.X,
)
IMAGES = re.compile(r"[\W_]*(jpeg_?images|left_?img_?8bit|images?|imgs?|photos?|pictures?)", re.I)
END = re.compile(
    r"[-_. ](gtfine_color|(mask|label|seg|segm|segmentation|gt|groundtruth|annotation)s?)$", re.I
)
START = re.compile(r"^(mask|label|seg|gt|groundtruth|annotation)s?[-_. ]", re.I)
IMAGE_END = re.compile(r"^(image|img|photo)[-_. ]|[-_. ](leftimg8bit|sat|image|img|rgb)$", re.I)
SKIP = re.compile(r"(^|[_/])(SegmentationObject|instance(Ids)?|label(Train)?Ids)(_png)?$", re.I)
TABLES = ("labelmap.txt", "class_dict.csv", "label_colors.txt")  # CVAT's, Kaggle's, CamVid's
PICTURES = (*SUFFIXES, ".gif")
NAMES = ("classes.txt", "codes.txt", "_classes.csv")  # ours, fastai's, Roboflow's
NUMBERED = re.compile(r"(\d+)\s*[,;]\s*(.+)")
WHITE = 65535  # of 16 bits, what 255 is of eight
SAMPLE = 5  # masks that a built-in table is chosen by


def read(root: Path, pictures: Pictures, options: Options) -> Export:
    """Raises ValueError where no mask is there, or none of the tables has a mask's colours."""
    pairs, alone = paired(root, pictures, options.masks)
    if not pairs and (arrays := visible(root, ".npy")):
        raise ValueError(f"{arrays[0]} is no picture: save such masks as grey PNG")
    if not pairs:
        raise ValueError(
            f"{root} has no picture with a mask, and no JSON or XML of a label tool: say which "
            'files are masks, as --masks "*_roi.png", and where pictures are, with --images'
        )
    source = options.colours or next((str(p) for n in TABLES for p in root.rglob(n)), "")
    if not source and _are_colours(pairs):
        source = _builtin(pairs)
    table = color_tables.named(source) if source else ()
    names, palette = color_tables.classes_of(table, names_in(options.classes))
    if source and not _are_numbers(pairs, table):
        export = _colours(pairs, table, names)
        export.notes.append(f"the colours are those of {Path(source).name}")
    else:
        files = [path for name in NAMES for path in sorted(root.rglob(name))]
        export = _values(pairs, names or (_listed(files[0]) if files else []))
    export.palette = palette or export.palette
    if alone:
        names = [path.name for path in alone]
        export.notes.append(
            f"{len(alone)} pictures or masks have no partner and are left out, as {some(names, 2)}"
        )
    return export


def _are_colours(pairs: Sequence[Pair]) -> bool:
    """Whether masks are RGB, or have palettes in which one value has two colours."""
    first: dict[int, Color] = {}
    try:
        for pair in pairs:
            with Image.open(pair.mask) as mask:
                grey = mask.mode in ("L", "1") or mask.mode.startswith("I")
            palette = palette_of(pair.mask)
            for value in [] if grey else np.unique(read_mask(pair.mask)).tolist():
                color = palette[value] if value < len(palette) else (0, 0, 0)
                if value != IGNORE and first.setdefault(value, color) != color:
                    return True
    except Colours:
        return True
    return False


def _builtin(pairs: Sequence[Pair]) -> str:
    """The built-in table that has all colours of the first masks. Raises ValueError if not one."""
    sample = [_rgb(pair.mask) for pair in pairs[:SAMPLE]]
    tables = color_tables.builtin().items()
    fitting = [n for n, table in tables if all(color_tables.covers(table, p) for p in sample)]
    if len(fitting) == 1:
        return fitting[0]
    which = f"of several tables, {' and '.join(fitting)}" if fitting else "of no table built in"
    with Image.open(pairs[0].mask) as mask:
        clear = mask.mode == "RGBA" and mask.getchannel("A").getextrema()[0] != 255
    alpha = 'if alpha is the mask, save mask.getchannel("A"); else ' if clear else ""
    raise ValueError(
        f"{pairs[0].mask} has colours {which}: {alpha}name the table, or give a file of lines "
        "NAME R G B, with --colours"
    )


def _are_numbers(pairs: Sequence[Pair], table: color_tables.Rows) -> bool:
    """Whether grey masks hold the numbers of the table's classes, and not their colours."""
    if _are_colours(pairs) or palette_of(pairs[0].mask):
        return False
    return not all(color_tables.covers(table, _rgb(pair.mask)) for pair in pairs[:SAMPLE])


def _colours(pairs: Sequence[Pair], table: color_tables.Rows, classes: list[str]) -> Export:
    def draw(mask: Path, _: Size) -> np.ndarray:
        try:
            return color_tables.numbered(_rgb(mask), table, classes)
        except ValueError as error:
            lossy = "; JPEG changes colours" if mask.suffix.lower() in (".jpg", ".jpeg") else ""
            raise ValueError(f"{mask}: {error}{lossy}") from None

    items = [Labelled(p.image, p.mask, partial(draw, p.mask)) for p in pairs]
    return Export(TITLE, tuple(classes), items)


def _listed(file: Path) -> list[str]:
    """Names, one a line; of lines `0, name` those whose numbers follow each other."""
    rows = [match for line in lines(file) if (match := NUMBERED.fullmatch(line))]
    if [int(row[1]) for row in rows] == list(range(len(rows))) != []:
        return [row[2] for row in rows]
    return list(names_of(file))


def _values(pairs: Sequence[Pair], names: list[str]) -> Export:
    """Class numbers as they are, void 255; 0 and 255 alone are background and object.

    Raises ValueError for numbers without a name, and where 255 is the object in some masks alone.
    """
    values = {pair.mask: set(np.unique(_numbers(pair.mask)).tolist()) for pair in pairs}
    used = set().union(*values.values())
    binary = used == {0, IGNORE} and not palette_of(pairs[0].mask)
    white = [mask for mask in values if IGNORE in values[mask]]
    if white and used - {0} == {1, IGNORE} and not any(1 in values[mask] for mask in white):
        raise ValueError(
            f"{len(white)} masks have 255 where the others have 1, as {white[0]}: 255 is ignored, "
            "so save 1 for the object in all masks"
        )
    largest = max(used - {IGNORE}, default=0)
    if names and largest >= len(names):
        raise ValueError(
            f"the masks have values up to {largest}, and {len(names)} classes have names "
            f"({some(names)}): numbers begin at 0"
        )
    if largest > IGNORE:
        raise ValueError(f"the masks have values up to {largest}: expected 0..254")
    if not (names or binary or used - {IGNORE} == set(range(largest + 1))):
        raise ValueError(
            f"the masks have the values {some(sorted(used), 8)}, and classes without a name are 0, "
            f"1, 2, ...: name all of 0..{largest}, a line each, with --classes FILE; if they are "
            "shades of grey, name those with --colours FILE, in lines NAME R G B"
        )
    if binary and len(names) < 2:
        names = ["background", *(names or ["object"])]
    names = names or list(map(str, range(largest + 1)))
    kept = [number for number, name in enumerate(names) if name.lower() not in IGNORED]
    classes = np.full(256, IGNORE, np.uint8)
    classes[kept] = range(len(kept))
    if binary:
        classes[IGNORE] = 1

    def draw(mask: Path, _: Size) -> np.ndarray:
        return classes[_numbers(mask)]

    items = [Labelled(p.image, p.mask, partial(draw, p.mask)) for p in pairs]
    colors = palette_of(pairs[0].mask)
    palette = [colors[number] for number in kept if number < len(colors)]
    export = Export(TITLE, tuple(names[number] for number in kept), items, palette)
    if binary:
        export.notes.append(f"the masks have 0 and 255 alone: 255 has become class 1, {names[1]}")
    return export


def _numbers(mask: Path) -> np.ndarray:
    """The values of a mask, white 255; of a JPEG only black and white. ValueError for its greys."""
    values = read_mask(mask, lossy=True)
    values = np.where(values == WHITE, IGNORE, values)
    with Image.open(mask) as picture:
        if picture.format not in LOSSY:
            return values
    if ((values > 63) & (values < 192)).mean() > 0.05:
        raise ValueError(f"{mask} is a JPEG, which changes values: export masks as PNG")
    return np.where(values > 127, IGNORE, 0).astype(np.uint8)


def _rgb(mask: Path) -> np.ndarray:
    with Image.open(mask) as picture:
        return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


# ---- Which mask is of which picture --------------------------------------------------------------


def paired(root: Path, pictures: Pictures, pattern: str) -> tuple[list[Pair], list[Path]]:
    """Pictures with their masks, and what has no partner. ValueError for two masks of one."""
    files = [path for path in visible(root, *PICTURES) if not _skipped(path, root)]
    masks = _by_pattern(root, pattern) if pattern else [p for p in files if _is_mask(p, root)]
    chosen = set(masks)
    if not masks:  # one.jpg and one.png side by side
        jpegs = {p.with_suffix("") for p in files if p.suffix.lower() in (".jpg", ".jpeg")}
        chosen = {p for p in files if p.suffix.lower() == ".png" and p.with_suffix("") in jpegs}
    images: dict[tuple[tuple[str, ...], str], Path] = {}
    stems: dict[str, list[Path]] = {}
    alone = []
    for path in pictures.paths:
        if path in chosen or _is_mask(path, pictures.root) or _skipped(path, pictures.root):
            continue
        key = _key(path, pictures.root)
        if images.setdefault(key, path) != path:  # one.jpg and one.tif
            alone.append(path)
        stems.setdefault(key[1], []).append(images[key])
    masks_of: dict[Path, Path] = {}
    for mask in sorted(chosen):
        folder, stem = _key(mask, root)
        shorter = [stem[: len(stem) - len(tail)] for tail in _tails(stem)]
        near = [images[folder, each] for each in shorter if (folder, each) in images]
        same = [stems[each][0] for each in shorter if len(set(stems.get(each, ()))) == 1]
        if not (image := next(iter(near + same), None)):
            alone.append(mask)
        elif other := masks_of.get(image):
            which = (
                f'"*{mask.name[len(image.stem) :]}"'
                if mask.stem != other.stem
                else mask.parent.name
            )
            raise ValueError(
                f"{image} has the masks {other} and {mask}: say which are meant, as --masks {which}"
            )
        else:
            masks_of[image] = mask
    alone += [path for path in images.values() if path not in masks_of]
    return [Pair(image, mask) for image, mask in sorted(masks_of.items())], alone


def _by_pattern(root: Path, pattern: str) -> list[Path]:
    """The files of a folder in `root`, or those that a pattern fits."""
    if (root / pattern).is_dir():
        return visible(root / pattern, *PICTURES)
    return [p for p in visible(root, *PICTURES) if p.match(pattern)]


def _skipped(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    return any(SKIP.search(part) for part in (*parts[:-1], path.stem))


def _is_mask(path: Path, root: Path) -> bool:
    if END.search(path.stem) or START.search(path.stem):
        return True
    for part in reversed(path.relative_to(root).parts[:-1]):
        if MASKS.search(part):
            return True
        if IMAGES.search(part):
            return False
    return False


def _key(path: Path, root: Path) -> tuple[tuple[str, ...], str]:
    """Folders and name without the words for images and masks, but for a mask's ending."""
    parts = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    plain = (IMAGES.sub("", MASKS.sub("", part)).strip("-_. ") for part in parts)
    return tuple(alike(part) for part in plain if part), alike(
        START.sub("", IMAGE_END.sub("", path.stem))
    )


def _tails(stem: str) -> list[str]:
    """What may follow a picture's name in its mask's: nothing, _mask, _gtFine_color, ..."""
    return ["", *(stem[match.start() :] for match in reversed([*re.finditer(r"[-_. ]", stem)]))]
