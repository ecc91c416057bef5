"""Where the Playground's images come from: a seed, a canvas, a photograph, a file. Lesson 08."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeplab_lite import image_files, photos, scenes
from deeplab_lite.classroom.own_scene import compose
from deeplab_lite.classroom.widgets._asked import NothingYet

SOURCES = ("scene", "drawing", "photograph", "upload")
WITH_TRUTH = SOURCES[:2]
SIDES = (321, 257, 193, 129)  # pixels of the longer side of photographs and uploads

STRANGE = (
    "The networks of this course were trained on drawn scenes of eight shapes, and never saw a "
    "photograph. They have to call everything a shape or background, so this shows what they react "
    "to, not how well DeepLab does on photographs."
)


@dataclass(frozen=True, eq=False)
class Subject:
    """An image, its truth where one is known, and what to call it. Equal only to itself."""

    title: str
    image: np.ndarray  # uint8 (H, W, 3)
    label: np.ndarray | None = None  # classes (H, W), 255 where none is given


def scene(seed: int) -> Subject:
    """A scene of scenes.py. Raises ValueError for a seed that is none."""
    return Subject(f"scene {seed}", *scenes.scene(seed))


def drawing(shapes: Any, background: Any) -> Subject:
    """The scene of these shapes. Raises ValueError for shapes that cannot be drawn."""
    own = compose(shapes, background)
    return Subject("your scene", own.image, own.label)


def photograph(name: str, side: int) -> Subject:
    """A bundled photograph, shrunk. It has no labels among the classes of the scenes."""
    return Subject(f"the photograph “{name}”", image_files.shrunk(photos.photo(name), side))


def upload(file: bytes | Path | None, side: int) -> Subject:
    """A reader's picture, shrunk. Raises ValueError as `image_files.read`, NothingYet for None."""
    if file is None:
        raise NothingYet("Choose a picture, of any kind and size. It stays on this machine.")
    photo = image_files.read(file, side)
    return Subject(f"your picture ({photo})", photo.image)
