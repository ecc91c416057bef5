"""Scenes drawn on the spot: the data that the family learns from. No download. Lesson 00.

A scene shows shapes of eight classes. The outline alone tells the class: colours and textures come
from one lottery. So the middle of a large shape can be named only by a network whose receptive
field reaches its outline, and small shapes and thin handles suffer from a coarse output stride.

A seed gives the same bytes on every machine: all is drawn with +, -, x, / and square roots, which
all round alike, from the random stream that NumPy has frozen (NEP 19).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deeplab_lite.labels import IGNORE
from deeplab_lite.textures import far_from, fill, noise

CLASSES = (
    *("background", "disc", "square", "triangle", "star"),
    *("cross", "crescent", "ring", "hourglass"),
)
HALF = 127.5  # `normalize` maps [0, 255] to [-1, 1], as EfficientNet-Lite0 expects it too

#         first seed   scenes
SPLITS = {
    "train": (1_000_000_000, 1_000_000_000),  # never the same scene twice
    "val": (1_000_000, 500),
    "test": (2_000_000, 1_000),
}


@dataclass(frozen=True)
class Difficulty:
    """What makes a scene hard. Lengths in pixels.

    radius: least and largest radius of the shapes' circumscribed circles.
    small: 1 makes small shapes frequent, 0 makes all radii alike.
    shapes: least and largest number of shapes on a scene of `side` x `side` pixels.
    company: share of shapes that come from one of COMPANIES, drawn for the scene as a whole.
    thin: share of shapes with a handle, which is part of the shape; handle: its width.
    occlusion: 0 keeps circumscribed circles apart, 0.5 lets them overlap by half.
    contrast: least distance of a shape's mean colour from the background's, as a share of 255.
    texture: strength of the patterns on shapes and background, 1 as they come, 0 for flat colours.
    edge: least and largest width of the soft edge of a shape.
    light: how much brighter and darker the light is from place to place, as a share.
    """

    radius: tuple[float, float] = (20.0, 140.0)
    small: float = 0.0
    shapes: tuple[int, int] = (3, 8)
    side: int = 321  # the papers' crops, so that their rates fit
    company: float = 0.9
    thin: float = 0.3
    handle: tuple[float, float] = (4.0, 8.0)
    occlusion: float = 0.3
    contrast: float = 0.2
    texture: float = 0.7
    edge: tuple[float, float] = (1.0, 5.0)
    light: float = 0.35

    def __post_init__(self) -> None:
        for name, least in (("radius", 2), ("shapes", 1), ("handle", 1), ("edge", 1)):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise ValueError(f"{name} {(low, high)}: expected {least} <= least <= largest")
        for name in ("small", "company", "thin", "occlusion", "contrast", "texture", "light"):
            most = 0.6 if name == "contrast" else 1  # no colour is further from mid-grey
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} {getattr(self, name)}: expected a share from 0 to {most}")


ORDINARY = Difficulty()
# Small, sharp and evenly lit: for networks that train in a minute.
SMALL = Difficulty(
    radius=(8.0, 40.0), small=1.0, shapes=(4, 9), side=129, company=0.0, handle=(2.0, 3.5),
    contrast=0.3, texture=0.6, edge=(1.0, 1.0), light=0.0,
)  # fmt: skip
# Classes that keep together, as things do in photographs: what else is there tells twins apart.
COMPANIES = ((1, 2, 4, 8), (3, 5, 6, 7))


class Shape(NamedTuple):
    """One shape: its class, centre (y, x) and radius in pixels, rotation as (cos, sin)."""

    label: int
    center: tuple[float, float]
    radius: float
    turn: tuple[float, float]
    handle: tuple[float, float]  # length beyond the radius, half width; (0, 0) for none


class Scene(NamedTuple):
    """image uint8 (H, W, 3); label uint8 (H, W), 255 on outlines; owner int16 (H, W): which of
    `shapes` a pixel belongs to, -1 for the ground."""

    image: np.ndarray
    label: np.ndarray
    owner: np.ndarray
    shapes: tuple[Shape, ...]


def scene(
    seed: int, size: int | None = None, difficulty: Difficulty = ORDINARY, *, outline: float = 0.7
) -> tuple[np.ndarray, np.ndarray]:
    """An image, uint8 (size, size, 3), and its label, uint8 (size, size): indices into CLASSES.

    Without a size it has the difficulty's `side`. Pixels whose centres lie within `outline` pixels
    of a visible outline are labelled 255, as in Pascal VOC; 0 labels every pixel. Raises ValueError
    for a size below 32, or a seed that is not a whole number in [0, 2^32).
    """
    return full_scene(seed, size, difficulty, outline=outline)[:2]


def full_scene(
    seed: int, size: int | None = None, difficulty: Difficulty = ORDINARY, *, outline: float = 0.7
) -> Scene:
    """`scene` with what was drawn: each pixel's shape, and the shapes from back to front."""
    if not (isinstance(seed, int | np.integer) and 0 <= seed < 2**32):
        raise ValueError(f"seed {seed!r}: expected a whole number in [0, 2^32)")
    size = difficulty.side if size is None else size
    if size < 32:
        raise ValueError(f"size {size}: expected at least 32 pixels")
    if outline < 0:
        raise ValueError(f"outline {outline}: expected 0 or more pixels")
    random = np.random.RandomState(seed)
    shapes = _arrange(random, size, difficulty)
    ground = 255 * random.random_sample(3)
    image = fill(random, (size, size), ground, difficulty.texture)
    label = np.zeros((size, size), np.uint8)
    owner = np.full((size, size), -1, np.int16)
    for index, shape in enumerate(shapes):
        box, distance = _distances(shape, size)
        color = far_from(random, ground, difficulty.contrast)
        pattern = fill(random, distance.shape, color, difficulty.texture)
        sharp, soft = difficulty.edge  # a width of 1 pixel is anti-aliasing, no more
        width = sharp + (soft - sharp) * random.random_sample() if soft > sharp else sharp
        cover = np.clip(0.5 - distance / np.float32(width), 0, 1)[..., None]
        image[box] += cover * (pattern - image[box])
        inside = distance < 0
        label[box][inside] = shape.label
        label[box][np.abs(distance) < outline] = IGNORE
        owner[box][inside] = index
    if difficulty.light:
        light = noise(random, size, size, 128)[..., :1]  # from -0.5 to 0.5
        image = np.clip(image * (1 + np.float32(2 * difficulty.light) * light), 0, 255)
    return Scene((image + 0.5).astype(np.uint8), label, owner, tuple(shapes))


def normalize(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) or (B, H, W, 3) as networks take it: float32 in [-1, 1], channels first."""
    pixels = torch.from_numpy(np.ascontiguousarray(image))
    return pixels.movedim(-1, -3).float().div_(HALF).sub_(1)


class Scenes(Dataset[tuple[Tensor, Tensor]]):
    """Scenes of a split: item i, a function of i alone, is (image float32, label int64)."""

    def __init__(
        self,
        split: str = "train",
        length: int | None = None,
        size: int | None = None,
        difficulty: Difficulty = ORDINARY,
        *,
        outline: float = 0.7,
    ):
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: expected {', '.join(SPLITS)}")
        self.first, available = SPLITS[split]
        self.length = available if length is None else length
        if not 0 < self.length <= available:
            raise ValueError(f"length {length}: {split} has 1 to {available} scenes")
        self.size, self.difficulty, self.outline = size, difficulty, outline

    def __len__(self) -> int:
        return self.length

    def seed(self, index: int) -> int:
        """The seed of item `index`, for `scene`."""
        if not -self.length <= index < self.length:
            raise IndexError(f"scene {index} of {self.length}")
        return self.first + index % self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = scene(self.seed(index), self.size, self.difficulty, outline=self.outline)
        return normalize(image), torch.from_numpy(label).long()


SIN_72, COS_72, SIN_36, COS_36 = 0.9510565, 0.3090170, 0.5877853, 0.8090170
SIN_60, SIN_45 = 0.8660254, 0.7071068
#                     where a handle begins, as a share of the radius below the centre
HANDLES_AT = dict(zip(CLASSES[1:], (0.95, 0.75, 0.45, 0.9, 0.9, 0.95, 0.95, 0.75), strict=True))


def outline_distance(kind: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance, below 0 inside, from the outline of a shape of radius 1 at the origin.

    Along straight edges and arcs it is exact, beyond a corner it is a lower bound.
    """
    a, b = np.abs(u), np.abs(v)
    if kind == "disc":
        return np.sqrt(u * u + v * v) - 1
    if kind == "square":
        return np.maximum(a, b) - 0.8
    if kind == "triangle":
        return np.maximum(-v, SIN_60 * a + 0.5 * v) - 0.5
    if kind == "star":  # inside at least four of the five half planes of a pentagon
        near, far = SIN_72 * a + COS_72 * v, SIN_36 * a - COS_36 * v  # mirror images: larger |u|
        first, second = v, np.full_like(v, -9)
        for plane in (near, near - 2 * SIN_72 * a, far, far - 2 * SIN_36 * a):
            second = np.maximum(second, np.minimum(first, plane))
            first = np.maximum(first, plane)
        return second - COS_72
    if kind == "cross":
        return np.maximum(np.maximum(a, b) - 0.95, np.minimum(a, b) - 0.3)
    if kind == "crescent":
        bite = 0.75 - np.sqrt((u - 0.5) * (u - 0.5) + v * v)
        return np.maximum(np.sqrt(u * u + v * v) - 1, bite)
    if kind == "ring":
        return np.abs(np.sqrt(u * u + v * v) - 0.75) - 0.25
    if kind == "hourglass":
        return np.maximum(b - 0.8, SIN_45 * (a - b) - 0.08)
    raise ValueError(f"no shape is called {kind!r}: there are {', '.join(CLASSES[1:])}")


def _distances(shape: Shape, size: int) -> tuple[tuple[slice, slice], np.ndarray]:
    """The box of pixels around a shape, and the signed distance of each from its outline."""
    (cy, cx), radius, (cos, sin), (length, half) = shape[1:]
    kind, reach = CLASSES[shape.label], radius + length + 2
    rows, cols = (slice(max(0, int(c - reach)), min(size, int(c + reach) + 1)) for c in (cy, cx))
    y = (np.arange(rows.start, rows.stop)[:, None] + (0.5 - cy)).astype(np.float32)
    x = (np.arange(cols.start, cols.stop) + (0.5 - cx)).astype(np.float32)
    u, v = np.float32(cos) * x + np.float32(sin) * y, np.float32(cos) * y - np.float32(sin) * x
    scale = np.float32(1 / radius)
    distance = np.float32(radius) * outline_distance(kind, u * scale, v * scale)
    if length:
        near, far = HANDLES_AT[kind] * radius, radius + length
        along = np.abs(v + np.float32((near + far) / 2)) - np.float32((far - near) / 2)
        distance = np.minimum(distance, np.maximum(np.abs(u) - np.float32(half), along))
    return (rows, cols), distance


def _arrange(random: np.random.RandomState, size: int, difficulty: Difficulty) -> list[Shape]:
    """Shapes from back to front, the large ones behind; fewer than asked for where none fits."""
    low, high = difficulty.radius
    least, most = difficulty.shapes
    area = (size / difficulty.side) * (size / difficulty.side)
    count = max(1, int(area * (least + (most + 1 - least) * random.random_sample())))
    company = COMPANIES[int(2 * random.random_sample())] if difficulty.company else ()
    shapes: list[Shape] = []
    for _ in range(8 * count):
        draw = random.random_sample(9)
        radius = low + (high - low) * draw[0] * (1 - difficulty.small + difficulty.small * draw[0])
        margin = min(0.7 * radius, size / 2)
        center = (margin + (size - 2 * margin) * draw[1], margin + (size - 2 * margin) * draw[2])
        if all(_apart(center, radius, other, difficulty.occlusion) for other in shapes):
            handle = (0.0, 0.0)
            if draw[3] < difficulty.thin:
                thin, thick = difficulty.handle
                width = thin + (thick - thin) * draw[5]
                handle = (radius * (0.3 + 0.7 * draw[4]), width / 2)
            pick, share = draw[6], difficulty.company
            among: Sequence[int] = company if pick < share else range(1, len(CLASSES))
            pick = pick / share if pick < share else (pick - share) / (1 - share)
            label = among[int(pick * len(among))]
            shapes.append(Shape(label, center, radius, _turn(draw[7], draw[8]), handle))
        if len(shapes) == count:
            break
    return sorted(shapes, key=lambda shape: -shape.radius)


def _apart(center: tuple[float, float], radius: float, other: Shape, occlusion: float) -> bool:
    dy, dx = center[0] - other.center[0], center[1] - other.center[1]
    least = (1 - occlusion) * (radius + other.radius)
    return dy * dy + dx * dx >= least * least


def _turn(share: float, quadrant: float) -> tuple[float, float]:
    """(cos, sin) of a rotation from the tangent t of half of it: cos = (1 - t^2) / (1 + t^2)."""
    t = np.float64(share)
    cos, sin = float((1 - t * t) / (1 + t * t)), float(2 * t / (1 + t * t))
    return ((cos, sin), (-sin, cos), (-cos, -sin), (sin, -cos))[int(4 * quadrant)]
