"""What a label tool wrote, in one form: pictures, each with the shapes of its label map."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from deeplab_lite.labels import IGNORE
from deeplab_lite.tables import some
from deeplab_lite.workshop.datasets.folder import lines
from deeplab_lite.workshop.datasets.pairs import SUFFIXES, Color, alike

BACKGROUND = {"background", "_background_"}  # class 0 of an export that names it
VOID = "void"
IGNORED = {VOID, "ignore", "__ignore__"}  # shapes and colours of these names become 255
HASH = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before an uploaded file's name

Size = tuple[int, int]  # width, height
Paint = Callable[[np.ndarray, int], None]  # writes a number into a label map (H, W)


class Shape(NamedTuple):
    """A region of one class; painted in order, so later ones lie on top."""

    name: str
    paint: Paint


class Annotation(NamedTuple):
    """The shapes of one picture.

    picture: its name or path as the export has it; file: the file that holds the shapes. size: of
    the pixels they were drawn on, where the export says so. photo: reads the picture's file, where
    it is in the export.
    """

    picture: str
    file: Path
    size: Size | None
    shapes: Sequence[Shape]
    photo: Callable[[], bytes] | None = None


class Labelled(NamedTuple):
    """A picture, the file that labels it, and a label map (H, W) for a picture of that size."""

    picture: Path
    file: Path
    draw: Callable[[Size], np.ndarray]


@dataclass(frozen=True)
class Options:
    """images: the folder of the pictures; classes: a file with a name a line. The rest as flags."""

    images: Path | None = None
    classes: Path | None = None
    colours: str = ""
    masks: str = ""
    empty: bool = False
    longest: int = 0


@dataclass
class Export:
    """All of it: 255 is void. palette: a colour for each class, if the export has them."""

    format: str
    classes: tuple[str, ...]
    items: list[Labelled]
    palette: Sequence[Color] = ()
    notes: list[str] = field(default_factory=list)


class Pictures:
    """The pictures in a folder, however deep, and how to find those that an export names."""

    def __init__(self, root: Path, scratch: Path):
        self.root, self.scratch = root, scratch
        self.paths = visible(root, *SUFFIXES)
        self.named: dict[str, list[Path]] = {}
        for path in self.paths:
            self.named.setdefault(alike(path.name), []).append(path)

    def find(self, annotation: Annotation) -> Path | None:
        """The picture whose path ends most like the name in the export, and then the one nearest to
        the file of the annotation; None if none does.

        Raises ValueError where two are as near: nobody could say which one was labelled.
        """
        parts = [alike(p) for p in PurePosixPath(annotation.picture.replace("\\", "/")).parts]
        if not parts:
            return None
        named = self.named.get(parts[-1]) or self.named.get(HASH.sub("", parts[-1]), [])
        home = annotation.file.parent.parts
        ranks = [
            (_common(reversed(path.parts), reversed(parts)), _common(path.parts, home))
            for path in named
        ]
        best = [path for path, rank in zip(named, ranks, strict=True) if rank == max(ranks)]
        if len(best) > 1:
            raise ValueError(
                f"{annotation.file} names {annotation.picture}, which is {best[0]} or {best[1]}: "
                "give its folder with --images"
            )
        return best[0] if best else self._embedded(annotation, parts[-1])

    def _embedded(self, annotation: Annotation, name: str) -> Path | None:
        if not annotation.photo:
            return None
        content = annotation.photo()
        suffix = ".png" if content.startswith(b"\x89PNG") else ".jpg"
        path = self.scratch / f"{Path(name).stem}{suffix}"
        while path.exists():
            path = path.with_stem(f"{path.stem}-2")
        path.write_bytes(content)
        return path


def visible(folder: Path, *suffixes: str) -> list[Path]:
    """Files with these suffixes in a folder, however deep, sorted; what is hidden is left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _common(path: Iterable[str], other: Iterable[str]) -> int:
    """How many parts of two paths agree, from the first on."""
    same = (alike(a) == alike(b) for a, b in zip(path, other, strict=False))
    return sum(takewhile(bool, same))


def assembled(
    form: str,
    names: Iterable[str],
    annotations: Sequence[Annotation],
    pictures: Pictures,
    options: Options,
    left_out: Sequence[str] = (),
) -> Export:
    """An export out of shapes: classes are numbered, pictures found, what is missing is noted.

    names: the classes, if the export lists them; else those of the shapes, in alphabetical order.
    left_out: what the reader could not take, a word for each.
    Raises ValueError for a shape of a class that --classes does not name, and without pictures.
    """
    used = {shape.name for annotation in annotations for shape in annotation.shapes}
    classes = with_background(names_in(options.classes) or list(names) or sorted(used))
    numbers = {name: number for number, name in enumerate(classes)}
    numbers |= {name: 0 for name in used if name.lower() in BACKGROUND}
    numbers |= {name: IGNORE for name in used if name.lower() in IGNORED}
    items, missing, empty = [], [], []
    for annotation in annotations:
        for shape in annotation.shapes:
            if shape.name not in numbers:
                raise ValueError(
                    f"{annotation.file} has the class {shape.name!r}, and the classes are "
                    f"{some(classes, 8)}: add it to --classes, or rename it"
                )
        if not (annotation.shapes or options.empty):
            empty.append(annotation.picture)
        elif picture := pictures.find(annotation):
            items.append(Labelled(picture, annotation.file, _painter(annotation, numbers)))
        else:
            missing.append(annotation.picture)
    if missing and not items:
        raise ValueError(
            f"{pictures.root} has none of the {len(missing)} pictures of the export, as "
            f"{missing[0]}: give their folder with --images"
        )
    drawn = {item.picture for item in items}
    known = {alike(PurePosixPath(name).name) for name in empty}
    alone = [
        path.name for path in pictures.paths if path not in drawn and alike(path.name) not in known
    ]
    kinds = [f"{left_out.count(kind)} {kind}" for kind in dict.fromkeys(left_out)]
    notes = [
        (empty, "pictures have no shape and are left out (--empty: they are background)"),
        (alone, "pictures have no annotation and are left out"),
        (missing, "pictures of the export are not there and are left out"),
    ]
    sentences = [f"{len(few)} {text}, as {some(few, 2)}" for few, text in notes if few]
    if left_out:
        sentences.append(f"left out: {', '.join(kinds)}")
    return Export(form, classes, items, notes=sentences)


def names_in(file: Path | None) -> list[str]:
    """The lines of --classes; [] without."""
    return lines(file) if file else []


def with_background(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once, without void; background is class 0."""
    kept = [name for name in dict.fromkeys(names) if name.lower() not in IGNORED]
    own = [name for name in kept if name.lower() in BACKGROUND]
    return ("background", *(name for name in kept if name not in own))


def _painter(annotation: Annotation, numbers: dict[str, int]) -> Callable[[Size], np.ndarray]:
    def draw(size: Size) -> np.ndarray:
        width, height = annotation.size or size
        label = np.zeros((height, width), np.uint8)
        for shape in annotation.shapes:
            try:
                shape.paint(label, numbers[shape.name])
            except (ValueError, IndexError) as error:
                raise ValueError(f"{annotation.file}, {annotation.picture}: {error}") from error
        return label

    return draw
