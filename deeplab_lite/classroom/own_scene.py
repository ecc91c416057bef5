"""A scene of one's own: shapes placed by hand, drawn as scenes.py draws them. Lesson 08.

The truth is exact, as everywhere in the course: it comes from the signed distances of the outlines.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from deeplab_lite.labels import IGNORE
from deeplab_lite.scenes import CLASSES, ORDINARY, Scene, Shape, _distances
from deeplab_lite.textures import TEXTURES, noise, texture

PATTERNS = ("plain", "noise", *TEXTURES)
MOST = 24  # shapes in one scene
RADIUS = (8.0, 160.0)  # least and largest, in pixels
BIT = 14.0  # deviation of the photographs' grey from a shape's colour, of 255


class Placed(NamedTuple):
    """A shape where a reader has put it."""

    kind: str  # one of CLASSES, not the background
    x: float  # centre, in pixels from the left
    y: float  # and from the top
    radius: float
    angle: float = 0.0  # degrees, clockwise
    color: str = "#808080"
    pattern: str = "plain"  # one of PATTERNS


class Background(NamedTuple):
    """What shows where no shape is."""

    color: str = "#5f8a78"
    pattern: str = "grass"


BACKGROUND = Background()


def compose(
    shapes: Sequence[Placed | Mapping[str, Any]],
    background: Background | Mapping[str, Any] = BACKGROUND,
    size: int = ORDINARY.side,
    *,
    outline: float = 0.7,
) -> Scene:
    """The scene of these shapes, from back to front; `scenes.scene` says what `outline` is.

    Shapes may be dicts with the fields of Placed. Their patterns depend on their place in the list
    alone, so moving one shape changes nothing else. Raises ValueError for a shape that cannot be
    drawn, naming its place in the list, for more than MOST shapes, and a size below 32. Lesson 08.
    """
    if size < 32:
        raise ValueError(f"size {size}: expected at least 32 pixels")
    if len(shapes) > MOST:
        raise ValueError(f"{len(shapes)} shapes: expected at most {MOST}, remove some")
    placed = [_placed(shape, index, size) for index, shape in enumerate(shapes)]
    below = _as(Background, background, "the background")
    image = _fill(below.color, below.pattern, (size, size), 0, "the background")
    label, owner = np.zeros((size, size), np.uint8), np.full((size, size), -1, np.int16)
    drawn = []
    for index, own in enumerate(placed):
        turn = math.radians(own.angle)
        shape = Shape(
            CLASSES.index(own.kind), (own.y, own.x), own.radius,
            (math.cos(turn), math.sin(turn)), (0.0, 0.0),
        )  # fmt: skip
        box, distance = _distances(shape, size)
        what = f"shape {index + 1}"
        fill = _fill(own.color, own.pattern, distance.shape, index + 1, what)
        cover = np.clip(0.5 - distance, 0, 1)[..., None]
        image[box] += cover * (fill - image[box])
        inside = distance < 0
        label[box][inside] = shape.label
        label[box][np.abs(distance) < outline] = IGNORE
        owner[box][inside] = index
        drawn.append(shape)
    return Scene((image + 0.5).astype(np.uint8), label, owner, tuple(drawn))


def _as(kind: Any, fields: Any, what: str) -> Any:
    """A named tuple from one, or from a dict of its fields."""
    try:
        return fields if isinstance(fields, kind) else kind(**fields)
    except TypeError:
        raise ValueError(
            f"{what} is {fields!r}: expected the fields {', '.join(kind._fields)}"
        ) from None


def _placed(fields: Any, index: int, size: int) -> Placed:
    what = f"shape {index + 1}"
    own: Placed = _as(Placed, fields, what)
    if own.kind not in CLASSES[1:]:
        raise ValueError(f"{what} is a {own.kind!r}: there are {', '.join(CLASSES[1:])}")
    for name, low, high in (("x", 0, size), ("y", 0, size), ("radius", *RADIUS)):
        value = getattr(own, name)
        if not (isinstance(value, int | float) and low <= value <= high):  # nor is NaN
            raise ValueError(f"{what} has {name} {value!r}: expected {low:g} to {high:g} pixels")
    if not (isinstance(own.angle, int | float) and math.isfinite(own.angle)):
        raise ValueError(f"{what} has angle {own.angle!r}: expected degrees")
    return own


def _fill(color: str, pattern: str, shape: tuple[int, ...], seed: int, what: str) -> np.ndarray:
    """A pattern around a colour, float32 (height, width, 3) in [0, 255]."""
    if not (isinstance(color, str) and re.fullmatch("#[0-9a-fA-F]{6}", color)):
        raise ValueError(f"{what} has color {color!r}: expected one as '#e69f00'")
    if pattern not in PATTERNS:
        raise ValueError(f"{what} has pattern {pattern!r}: there are {', '.join(PATTERNS)}")
    height, width = shape
    mean = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
    random = np.random.RandomState(seed)
    pattern_values = np.zeros((height, width, 3), np.float32)
    if pattern == "noise":
        pattern_values = noise(random, height, width, 8) * np.float32(5 * BIT)
    elif pattern in TEXTURES:
        photo = texture(pattern)
        y, x = (int(random.random_sample() * (len(photo) - n)) for n in (height, width))
        pattern_values = photo[y : y + height, x : x + width, None] * np.float32(BIT)
    return np.clip(mean + pattern_values, 0, 255)
