"""LabelMe's JSON, a file for each picture; the picture may be inside."""

import base64
import io
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deeplab_lite.workshop.datasets.importing import shapes
from deeplab_lite.workshop.datasets.importing.export import (
    WHOLE,
    Annotation,
    Fault,
    Paint,
    Shape,
    class_name,
    within,
)

TITLE = "LabelMe"
POINTS = {"rectangle": (2, 4), "circle": (2,), "mask": (2,)}  # X-AnyLabeling gives four corners


def is_one(document: Any) -> bool:
    """Whether a JSON document is of this format."""
    return isinstance(document, dict) and {"shapes", "imagePath"} <= set(document)


def read(file: Path, document: Any) -> tuple[list[str], list[Annotation]]:
    """The shapes in the file's order, which is that of LabelMe's own converters."""
    flags = document.get("flags") or {}
    drawn, left_out = [], [WHOLE] * sum(flag is True for flag in flags.values())
    for number, shape in enumerate(document["shapes"], 1):
        with within(place := f"shape {number}", TITLE):
            kind = shape.get("shape_type") or "polygon"
            if paint := _paint(kind, shape):
                drawn.append(Shape(class_name(shape["label"]), paint, place))
            else:
                left_out.append(f"{kind}s")
    width, height = document.get("imageWidth"), document.get("imageHeight")
    size = (int(width), int(height)) if width and height else None
    photo = partial(_photo, file) if document.get("imageData") else None
    return [], [Annotation(document["imagePath"], file, size, drawn, left_out, photo)]


def _paint(kind: str, shape: Any) -> Paint | None:
    points = shape["points"]
    if len(points) not in POINTS.get(kind, (len(points),)):
        expected = " or ".join(map(str, POINTS[kind]))
        raise Fault(f"a {kind} of {len(points)} points: expected {expected}")
    if kind in ("polygon", "rectangle", "oriented_rectangle", "rotation") and len(points) > 2:
        return shapes.polygon(points)
    if kind == "circle":
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        return shapes.ellipse(x, y, radius, radius)
    if kind not in ("rectangle", "mask"):
        return None
    (left, right), (top, bottom) = (sorted(each) for each in zip(*points, strict=True))
    if kind == "rectangle":
        return shapes.rectangle(left, top, right, bottom)
    return shapes.bitmap(partial(_mask, shape["mask"]), round(left), round(top))


def _mask(data: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(data))) as mask:
        return np.array(mask) > 0


def _photo(file: Path) -> bytes:
    """Read anew: the pictures of all files would fill the memory."""
    return base64.b64decode(json.loads(file.read_text("utf-8-sig"))["imageData"])
