"""From an export to a folder that trains: its format is detected, all is written or nothing."""

import csv
import json
import os
import shlex
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from xml.etree import ElementTree

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
    Options,
    Pictures,
    assembled,
    visible,
    within,
)
from deeplab_lite.workshop.datasets.importing.writing import names_of, write
from deeplab_lite.workshop.datasets.pairs import SUFFIXES

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
            f"next: python -m deeplab_lite check {shlex.quote(str(self.out))} --sheet sheet.png",
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
            try:
                with zipfile.ZipFile(source) as archive:
                    archive.extractall(scratch / source.name)
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
                raise ValueError(
                    f"{source} cannot be unpacked here ({error}): copy it again, or unpack it "
                    "and import the folder"
                ) from error
            source = scratch / source.name
        root = options.images or _root(source)
        pictures = Pictures(root, scratch)
        export = read(source, form, pictures, options)
        if not export.items:
            raise ValueError("; ".join([f"{source} has no labelled picture", *export.notes]))
        names = names_of(export.items, root)
        write(export, names, folder, options.longest)
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
    except (ValueError, RecursionError, ElementTree.ParseError) as error:
        raise ValueError(f"{file} cannot be read ({error}): export it again") from error


def _documents(source: Path, reader: ModuleType) -> list[Path]:
    if source.is_file():
        return [source]
    return visible(source, ".xml" if reader is cvat else ".json")


def _formats() -> str:
    return ", ".join(FORMATS)
