"""Label Studio's JSON: polygons, boxes and ellipses in per cent of the picture, and brushes."""

from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from deeplab_lite.workshop.datasets.importing import shapes
from deeplab_lite.workshop.datasets.importing.export import Annotation, Paint, Shape
from deeplab_lite.workshop.datasets.pairs import SUFFIXES

TITLE = "Label Studio"
MIN = "annotation_id"  # a key of JSON-MIN alone


def is_one(document: Any) -> bool:
    """Whether a JSON document is of this format, or its shorter form, JSON-MIN."""
    first = document[0] if isinstance(document, list) and document else None
    return isinstance(first, dict) and (MIN in first or {"data", "annotations"} <= set(first))


def read(file: Path, document: Any, left_out: list[str]) -> tuple[list[str], list[Annotation]]:
    """The first annotation of each task that was not cancelled. The export lists no classes.

    Raises ValueError for JSON-MIN, and for pictures that were turned while they were labelled.
    """
    if MIN in document[0]:
        raise ValueError("this is Label Studio's JSON-MIN: export the project as JSON")
    annotations = []
    for task in document:
        kept = [each for each in task["annotations"] if not each.get("was_cancelled")]
        left_out += ["second annotations of a picture"] * (len(kept) - 1)
        drawn, size = [], None
        for mark in kept[0]["result"] if kept else ():
            value = mark.get("value", {})
            names = [value[key] for key in value if key.endswith("labels")]
            if not names or "original_width" not in mark:
                continue  # a choice or a text about the picture
            size = (int(mark["original_width"]), int(mark["original_height"]))
            if mark.get("image_rotation"):
                raise ValueError(f"{_picture(task)} was labelled turned: turn it back")
            if paint := _paint(value, *size):
                drawn.append(Shape(names[0][0], paint))
            else:
                left_out.append(f"{mark.get('type')}")
        annotations.append(Annotation(_picture(task), file, size, drawn))
    return [], annotations


def _picture(task: Any) -> str:
    """Its path in the upload folder, in a store of local files, or on the web."""
    for value in task["data"].values():
        parts = urlsplit(str(value))
        path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
        if PurePosixPath(path).suffix.lower() in SUFFIXES:
            return path
    return str(task.get("file_upload") or f"task {task.get('id')}")


def _paint(value: Any, width: int, height: int) -> Paint | None:
    turn = value.get("rotation", 0)
    if "rle" in value:
        return shapes.bitmap(partial(shapes.from_brush, value["rle"], height, width))
    if "points" in value:
        return shapes.polygon([(x * width / 100, y * height / 100) for x, y in value["points"]])
    if not {"x", "y"} <= set(value):
        return None
    x, y = value["x"] * width / 100, value["y"] * height / 100
    if "radiusX" in value:
        across, down = value["radiusX"] * width / 100, value["radiusY"] * height / 100
        return shapes.ellipse(x, y, across, down, turn)
    if "width" in value:
        right, bottom = x + value["width"] * width / 100, y + value["height"] * height / 100
        return shapes.rectangle(x, y, right, bottom, turn, pivot=(x, y))
    return None
