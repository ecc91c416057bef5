"""A canvas of shapes to add, drag, resize and turn; the Playground of lesson 08 draws with it.

The outlines live in the page and follow the pointer at once; the kernel draws the scene below them.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import anywidget
import numpy as np
import traitlets

from deeplab_lite.classroom.own_scene import (
    BACKGROUND,
    MOST,
    PATTERNS,
    RADIUS,
    Background,
    Placed,
    compose,
)
from deeplab_lite.classroom.widgets._live import url
from deeplab_lite.classroom.widgets._twin import Twin, script, sheet
from deeplab_lite.scenes import CLASSES, ORDINARY, Scene, outline_distance

START = (
    Placed("ring", 100, 110, 75, 0, "#d98c3a", "brick"),
    Placed("star", 235, 95, 65, 12, "#3f7fbf", "noise"),
    Placed("cross", 220, 240, 55, 30, "#c9d44f", "grass"),
    Placed("disc", 100, 250, 30, 0, "#b04a6f", "plain"),
)


class ShapeCanvas(Twin, anywidget.AnyWidget):
    """Shapes on a background, moved by pointer and keys.

    - `shapes`: dicts with the fields of `own_scene.Placed`, from back to front.
    - `background`: a dict with the fields of `own_scene.Background`.
    - `selected`: the place of the chosen shape in `shapes`, -1 for none.

    `scene` is what they make. Raises ValueError for shapes that cannot be drawn.
    """

    _esm = script("shape_canvas")
    _css = sheet("shape_canvas")
    shapes = traitlets.List(traitlets.Dict()).tag(sync=True)
    background = traitlets.Dict().tag(sync=True)
    selected = traitlets.Int(0).tag(sync=True)
    drawn = traitlets.Unicode().tag(sync=True)  # the scene, as a data URL
    size = traitlets.Int(ORDINARY.side).tag(sync=True)
    lists = traitlets.Dict().tag(sync=True)  # what can be chosen, and the outlines

    def __init__(
        self,
        shapes: Iterable[Placed | Mapping[str, Any]] = START,
        background: Background | Mapping[str, Any] = BACKGROUND,
        size: int = ORDINARY.side,
        **options: Any,
    ):
        value = [s._asdict() if isinstance(s, Placed) else dict(s) for s in shapes]
        under = background._asdict() if isinstance(background, Background) else dict(background)
        scene = compose(value, under, size)
        lists = {
            "kinds": list(CLASSES[1:]),
            "patterns": list(PATTERNS),
            "radius": list(RADIUS),
            "most": MOST,
            "paths": {kind: path(kind) for kind in CLASSES[1:]},
        }
        super().__init__(
            shapes=value,
            background=under,
            size=size,
            lists=lists,
            drawn=url(scene.image, 128),
            **options,
        )

    @property
    def scene(self) -> Scene:
        """Image and exact labels of the present shapes."""
        return compose(self.shapes, self.background, self.size)

    @traitlets.validate("shapes")
    def _check_shapes(self, proposal: Any) -> list[dict[str, Any]]:
        compose(proposal["value"], BACKGROUND, self.size)
        return proposal["value"]

    @traitlets.validate("background")
    def _check_background(self, proposal: Any) -> dict[str, Any]:
        compose([], proposal["value"], self.size)
        return proposal["value"]

    @traitlets.observe("shapes", "background")
    def _draw(self, change: Any) -> None:
        if self.lists:  # not while the traits are first set
            self.drawn = url(self.scene.image, None)

    def picture(self) -> np.ndarray:
        """uint8 (H, W, 3): the scene, each pixel two wide."""
        return self.scene.image.repeat(2, axis=0).repeat(2, axis=1)

    def alt(self) -> str:
        """What lies where."""
        return describe(self.shapes)


def describe(shapes: list[dict[str, Any]]) -> str:
    """The shapes of a scene in a sentence."""
    sentence = [
        f"{s['kind']} of radius {s['radius']:.0f} at {s['x']:.0f}, {s['y']:.0f}" for s in shapes
    ]
    if not sentence:
        return "A background with no shape on it."
    return f"A scene with {len(sentence)} shape{'s' * (len(sentence) > 1)}: {', '.join(sentence)}."


@cache
def path(kind: str) -> str:
    """The outline of a shape of radius 1 at the origin, as an SVG path."""
    from skimage.measure import approximate_polygon, find_contours

    line = np.linspace(-1.2, 1.2, 97)
    distance = outline_distance(kind, line[None, :] + 0 * line[:, None], line[:, None] + 0 * line)
    parts = []
    for loop in find_contours(distance, 0):
        y, x = approximate_polygon(loop, 0.1).T / 40 - 1.2
        points = " ".join(f"{a:.3f} {b:.3f}" for a, b in zip(x, y, strict=True))
        parts.append(f"M{points}Z")
    return "".join(parts)
