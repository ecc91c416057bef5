"""What a label tool wrote, in one form: pictures, each with the shapes of its label map."""

import io
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from deeplab_lite.labels import IGNORE
from deeplab_lite.tables import some
from deeplab_lite.workshop.datasets.folder import names_of
from deeplab_lite.workshop.datasets.pairs import SUFFIXES, Color, alike

BACKGROUND = {"background", "_background_"}  # class 0 of an export that names it
VOID = "void"
IGNORED = {VOID, "ignore", "__ignore__"}  # shapes and colours of these names become 255
WHOLE = (
    "tags, choices and flags of whole pictures"  # left out of a mask, and no fault of the picture's
)
FORMATS = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "BMP": ".bmp", "WEBP": ".webp"}
HASH = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before an uploaded file's name

Size = tuple[int, int]  # width, height
Paint = Callable[[np.ndarray, int], None]  # writes a number into a label map (H, W)


class Fault(ValueError):
    """What is wrong with an export, in words of this package and not of Python."""


@contextmanager
def within(place: object, tool: str) -> Iterator[None]:
    """Any error inside becomes one sentence that begins with the place."""
    try:
        yield
    except Fault as error:
        raise Fault(f"{place}: {error}") from error
    except KeyError as error:
        raise Fault(f"{place} is not as {tool} writes it: it has no {error}") from error
    except (ArithmeticError, AttributeError, IndexError, OSError, TypeError, ValueError) as error:
        raise Fault(f"{place} is not as {tool} writes it: export it again") from error


class Shape(NamedTuple):
    """A region of one class, its place in the file; higher layers lie on top, then later ones."""

    name: str
    paint: Paint
    place: str
    layer: tuple[float, ...] = ()


class Annotation(NamedTuple):
    """The shapes of one picture.

    picture: its name or path as the export has it; file: the file that holds the shapes. size: of
    the pixels they were drawn on, where the export says so. left_out: what could not be taken, a
    word for each. photo: reads the picture's file, where it is in the export. split: its name.
    """

    picture: str
    file: Path
    size: Size | None
    shapes: Sequence[Shape]
    left_out: Sequence[str] = ()
    photo: Callable[[], bytes] | None = None
    split: str = ""


class Labelled(NamedTuple):
    """A picture, the file that labels it, and a label map (H, W) for a picture of that size.

    others: more files that label it; splits: the names of its splits, if the export has them;
    values: the class numbers of its shapes.
    """

    picture: Path
    file: Path
    draw: Callable[[Size], np.ndarray]
    others: Sequence[Path] = ()
    splits: Sequence[str] = ()
    values: Collection[int] = ()


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
        self.places = {os.path.abspath(path): path for path in self.paths}
        self.named: dict[str, list[Path]] = {}
        for path in self.paths:
            self.named.setdefault(alike(path.name), []).append(path)

    def find(self, annotation: Annotation, beside: bool = True) -> Path | None:
        """The picture at the path in the export, from the annotation's file on; else that whose
        path ends most like it, and then the one nearest to that file; None if there is none.

        beside: whether that path may lead out of the folder of the pictures. Raises ValueError
        where two are as near: nobody could say which one was labelled.
        """
        name = PurePosixPath(annotation.picture.replace("\\", "/"))
        parts = [alike(part) for part in name.parts]
        if not parts:
            return None
        place = os.path.abspath(annotation.file.parent / name)
        if place in self.places:
            return self.places[place]
        if beside and Path(place).is_file() and name.suffix.lower() in SUFFIXES:
            return Path(place)
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
        with within(f"{annotation.file}: the picture inside", "the label tool"):
            content = annotation.photo()
            form = Image.open(io.BytesIO(content), formats=list(FORMATS)).format
        path = self.scratch / f"{Path(name).stem}{FORMATS[str(form)]}"
        while path.exists() and path.read_bytes() != content:
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
) -> Export:
    """An export out of shapes: classes are numbered, pictures found, what is missing is noted.

    names: the classes, if the export lists them; else those of the shapes, in alphabetical order.
    A picture that is labelled more than once gets one label map of all its shapes. Raises
    ValueError for a shape of a class that --classes does not name, without pictures, and where a
    picture is labelled on two sizes.
    """
    used = {shape.name for annotation in annotations for shape in annotation.shapes}
    classes = with_background(names_in(options.classes) or list(names) or sorted(used))
    numbers = {name: number for number, name in enumerate(classes)}
    numbers |= {name: 0 for name in used if name.lower() in BACKGROUND}
    numbers |= {name: IGNORE for name in used if name.lower() in IGNORED}
    of: dict[Path, list[Annotation]] = {}
    missing = []
    for annotation in annotations:
        for shape in annotation.shapes:
            if shape.name not in numbers:
                raise ValueError(
                    f"{annotation.file} has the class {shape.name!r}, and the classes are "
                    f"{some(classes, 8)}: add it to --classes, or rename it"
                )
        if picture := pictures.find(annotation, beside=not options.images):
            of.setdefault(picture, []).append(annotation)
        else:
            missing.append(annotation)
    lost = list(dict.fromkeys(annotation.picture for annotation in missing))
    if not of:
        raise ValueError(
            f"{pictures.root} has none of the {len(lost)} pictures of the export, as "
            f"{lost[0]}: give their folder with --images"
        )
    items, empty, unusable, united = [], [], [], []
    for picture, all_of_it in of.items():
        drawn = [annotation for annotation in all_of_it if annotation.shapes]
        if not drawn and any({*annotation.left_out} - {WHOLE} for annotation in all_of_it):
            unusable.append(picture.name)
        elif not (drawn or options.empty):
            empty.append(picture.name)
        else:
            items.append(_labelled(picture, drawn or all_of_it, numbers, form))
        if len(drawn) > 1:
            files = dict.fromkeys(f"{one.file.parent.name}/{one.file.name}" for one in drawn)
            united.append(f"{picture.name} in {' and '.join(files)}")
    shapes = sum(len(annotation.shapes) for annotation in missing)
    alone = [path.name for path in pictures.paths if path not in of]
    notes = [
        (empty, "pictures have no shape and are left out (--empty: they are background)"),
        (unusable, "pictures have nothing that a mask is made of, and are left out"),
        (alone, "pictures have no annotation and are left out"),
        (lost, f"pictures are not there or not readable, and are left out with {shapes} shapes"),
        (
            united,
            "pictures are labelled more than once: one mask has all shapes, later ones on top "
            "where the export has no other order",
        ),
    ]
    sentences = [f"{len(few)} {text}, as {some(few, 2)}" for few, text in notes if few]
    if kinds := Counter(kind for annotation in annotations for kind in annotation.left_out):
        counts = [f"{kind} ({count})" for kind, count in kinds.items()]
        sentences.append(f"left out: {', '.join(counts)}")
    return Export(form, classes, items, notes=sentences)


def names_in(file: Path | None) -> list[str]:
    """The names in --classes; [] without."""
    return list(names_of(file)) if file else []


def class_name(name: object) -> str:
    """A name on one line, its spaces made one; of a number its digits. Raises Fault for none."""
    text = " ".join(str(name).split()) if isinstance(name, str | int | float) else ""
    if not text:
        raise Fault(f"a class has the name {name!r}: give it one in the label tool")
    return text


def with_background(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once, without void; background is class 0. Raises ValueError for too many."""
    kept = [name for name in dict.fromkeys(names) if name.lower() not in IGNORED]
    classes = ("background", *(name for name in kept if name.lower() not in BACKGROUND))
    if len(classes) > IGNORE:
        raise ValueError(f"{len(classes)} classes: a mask has room for {IGNORE}; {IGNORE} is void")
    return classes


def _labelled(
    picture: Path, drawn: Sequence[Annotation], numbers: dict[str, int], tool: str
) -> Labelled:
    """One picture with the shapes of all its annotations."""
    files = list(dict.fromkeys(annotation.file for annotation in drawn))
    sizes = {annotation.size: annotation.file for annotation in drawn if annotation.size}
    if len(sizes) > 1:
        (one, first), (other, second), *_ = sizes.items()
        raise ValueError(
            f"{picture.name} is labelled on {one[0]} x {one[1]} pixels in {first}, and on "
            f"{other[0]} x {other[1]} in {second}: keep the one that fits"
        )
    shapes = [(shape, annotation.file) for annotation in drawn for shape in annotation.shapes]
    shapes.sort(key=lambda pair: pair[0].layer)

    def draw(size: Size) -> np.ndarray:
        width, height = next(iter(sizes), size)
        label = np.zeros((height, width), np.uint8)
        for shape, file in shapes:
            with within(f"{file}: {shape.place}", tool):
                shape.paint(label, numbers[shape.name])
        return label

    splits = list(dict.fromkeys(annotation.split for annotation in drawn if annotation.split))
    values = {numbers[shape.name] for shape, _ in shapes}
    return Labelled(picture, files[0], draw, files[1:], splits, values)
