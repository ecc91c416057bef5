"""From an export to a folder that trains: its format is detected, all is written or nothing."""

import csv
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from PIL import ExifTags, Image, ImageOps
from tqdm import tqdm

from deeplab_lite import image_files
from deeplab_lite.colors import voc_palette
from deeplab_lite.labels import IGNORE
from deeplab_lite.tables import some
from deeplab_lite.workshop.datasets.folder import GROUPS, HEAD
from deeplab_lite.workshop.datasets.importing import (
    coco,
    cvat,
    label_studio,
    labelme,
    masks,
    splits,
)
from deeplab_lite.workshop.datasets.importing.export import (
    Annotation,
    Export,
    Labelled,
    Options,
    Pictures,
    assembled,
    visible,
    within,
)
from deeplab_lite.workshop.datasets.pairs import SUFFIXES, alike, orientation

READERS: dict[str, Any] = {
    "coco": coco,
    "labelme": labelme,
    "label-studio": label_studio,
    "cvat": cvat,
}
FORMATS = (*READERS, "masks")
ANNOTATIONS = {"annotations", "labels", "json"}  # folders beside that of the pictures
SCRATCH = "scratch"  # in the folder that is written, for what an export has packed
LOOKED_AT = 20  # documents of a folder, of each suffix, before it counts as one of masks


class Imported(NamedTuple):
    """What was written; `str` of it is the report."""

    out: Path
    export: Export
    lists: dict[str, list[str]]

    def __str__(self) -> str:
        export = self.export
        parts = ", ".join(f"{len(names)} {part}" for part, names in self.lists.items() if names)
        lines = [
            f"{export.format}: {len(export.items)} pictures, {len(export.classes)} classes "
            f"({some(export.classes)}) are in {self.out}: {parts}",
            *(f"note: {note}" for note in export.notes),
            f"next: python -m deeplab_lite check {self.out} --sheet sheet.png",
        ]
        return "\n".join(lines)


def import_data(
    source: Path,
    out: Path,
    form: str = "",
    options: Options | None = None,
    group: str = "auto",
    seed: int = 0,
) -> Imported:
    """Write images/, masks/, classes.txt, lists of the splits and groups.csv to `out`, or nothing.

    source: a file, a zip archive or a folder; form: one of FORMATS, else it is detected.
    Raises ValueError, naming the file, for what cannot be read or has no class; FileExistsError
    where `out` holds something; FileNotFoundError where `source` is not there. Taught in lesson 09.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source} is not there")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FileExistsError(f"{out} has content: name a folder that is new or empty")
    options = options or Options()
    with _temporary(out) as folder:
        scratch = folder / SCRATCH
        scratch.mkdir()
        if source.is_file() and zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                archive.extractall(scratch / source.name)
            source = scratch / source.name
        root = options.images or _root(source)
        pictures = Pictures(root, scratch)
        export = read(source, form, pictures, options)
        if not export.items:
            raise ValueError("; ".join([f"{source} has no labelled picture", *export.notes]))
        names = _names(export.items, root)
        _write(export, names, folder, options.longest)
        items = dict(zip(names, export.items, strict=True))
        lists, groups, notes = splits.of(items, root, group, seed)
        export.notes += [*notes, *splits.lone(groups, lists)]
        for part, listed in lists.items():
            if listed:
                text = "".join(f"{name}\n" for name in listed)
                (folder / f"{part}.txt").write_text(text, "utf-8")
        if any(groups.values()):
            with (folder / GROUPS).open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([HEAD, *groups.items()])
        shutil.rmtree(scratch)
    return Imported(out, export, lists)


@contextmanager
def _temporary(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name at the end, or goes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield folder
        folder.chmod(0o777 & ~_umask())
        if out.exists():
            out.rmdir()
        folder.replace(out)
    except ValueError as error:  # of a file that was unpacked here
        text = str(error).replace(f"{folder / SCRATCH}{os.sep}", "")
        raise ValueError(text) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _umask() -> int:
    os.umask(mask := os.umask(0))
    return mask


# ---- Reading -------------------------------------------------------------------------------------


def _root(source: Path) -> Path:
    """Where pictures are looked for: the folder of the annotations, or the one around it."""
    folder = source if source.is_dir() else source.parent
    around = folder.name.lower() in ANNOTATIONS and (
        source.is_file() or not visible(source, *SUFFIXES)
    )
    return folder.absolute().parent if around else folder


def read(source: Path, form: str, pictures: Pictures, options: Options) -> Export:
    """The export, by a reader of its format. Raises ValueError for a file of none."""
    form = form or detected(source)
    if form == "masks":
        return masks.read(source if source.is_dir() else source.parent, pictures, options)
    reader = READERS[form]
    names: list[str] = []
    annotations: list[Annotation] = []
    for file in _documents(source, reader):
        document = parsed(file)
        if document is None or not reader.is_one(document):
            continue
        with within(file, reader.TITLE):
            more, read_ones = reader.read(file, document)
        names += more
        annotations += read_ones
    if not annotations:
        raise ValueError(f"{source} has nothing of {reader.TITLE}: the formats are {_formats()}")
    return assembled(reader.TITLE, names, annotations, pictures, options)


def detected(source: Path) -> str:
    """The format of a file, or of the first document in a folder that is of one; else masks."""
    for suffix in (".json", ".xml"):
        files = [source] if source.is_file() else visible(source, suffix)
        for file in files[:LOOKED_AT]:
            document = parsed(file)
            for form, reader in READERS.items():
                if document is not None and reader.is_one(document):
                    return form
    if source.is_file():
        raise ValueError(f"{source} is no export that is known here: the formats are {_formats()}")
    return "masks"


def parsed(file: Path) -> Any:
    """A JSON or XML document; None for another file. Raises ValueError where it is damaged."""
    suffix = file.suffix.lower()
    if suffix not in (".json", ".xml"):
        return None
    try:
        if suffix == ".json":
            return json.loads(file.read_text("utf-8-sig"))
        return ElementTree.parse(file).getroot()
    except (ValueError, ElementTree.ParseError) as error:
        raise ValueError(f"{file} cannot be read ({error}): export it again") from error


def _documents(source: Path, reader: ModuleType) -> list[Path]:
    if source.is_file():
        return [source]
    return visible(source, ".xml" if reader is cvat else ".json")


def _formats() -> str:
    return ", ".join(FORMATS)


# ---- Writing -------------------------------------------------------------------------------------


def _names(items: list[Labelled], root: Path) -> list[str]:
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


def _write(export: Export, names: list[str], folder: Path, longest: int = 0) -> None:
    """The pictures, shrunk if above `longest`, and palette masks for what they look like."""
    for part in ("images", "masks"):
        (folder / part).mkdir()
    palette = voc_palette(256)
    palette[: len(export.palette)] = export.palette or palette[:0]
    palette[IGNORE] = 255
    turned: list[str] = []
    unsure: list[str] = []
    shrunk: list[str] = []
    for item, name in tqdm(
        list(zip(export.items, names, strict=True)), unit="picture", disable=not sys.stderr.isatty()
    ):
        label, word = as_seen(item)
        {"turned": turned, "unsure": unsure}.get(word, []).append(item.picture.name)
        mask = Image.fromarray(label)
        copy = folder / "images" / f"{name}{item.picture.suffix.lower()}"
        if 0 < longest < max(mask.size):
            shrunk.append(item.picture.name)
            pixels = image_files.read(item.picture, longest, image_files.room()).image
            Image.fromarray(pixels).save(copy, quality=95)
            mask = mask.resize(pixels.shape[1::-1], Image.Resampling.NEAREST)  # mixes no classes
        else:
            shutil.copyfile(item.picture, copy)
        mask.putpalette(palette.ravel().tolist())
        mask.save(folder / "masks" / f"{name}.png")
    (folder / "classes.txt").write_text("".join(f"{n}\n" for n in export.classes), "utf-8")
    if shrunk:
        export.notes.append(
            f"{len(shrunk)} pictures and their masks were shrunk to a longer side of {longest} "
            f"pixels, as {some(shrunk, 2)}"
        )
    if turned:
        export.notes.append(
            f"{len(turned)} pictures have an orientation tag and labels of their stored pixels, as "
            f"{some(turned, 2)}: the labels were turned like the picture"
        )
    if unsure:
        export.notes.append(
            f"{len(unsure)} pictures have an orientation tag that leaves their size, as "
            f"{some(unsure, 2)}: this takes their labels for those of the upright picture; look at "
            "the sheet"
        )


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
