"""Label Studio's JSON: polygons, boxes and ellipses in per cent of the picture, and brushes."""

from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

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
from deeplab_lite.workshop.datasets.pairs import SUFFIXES

TITLE = "Label Studio"
MIN = "annotation_id"  # a key of JSON-MIN alone
REGION = {"x", "points", "rle"}  # one of them says where; choices and texts have none


def is_one(document: Any) -> bool:
    """Whether a JSON document is of this format, or its shorter form, JSON-MIN."""
    first = document[0] if isinstance(document, list) and document else None
    return isinstance(first, dict) and (
        MIN in first or ("data" in first and not {"annotations", "completions"}.isdisjoint(first))
    )


def read(file: Path, document: Any) -> tuple[list[str], list[Annotation]]:
    """Of each task the first annotation with a result that was not cancelled; no list of classes.

    Raises Fault for JSON-MIN, and for pictures that were turned while they were labelled.
    """
    if MIN in document[0]:
        raise Fault("this is Label Studio's JSON-MIN: export the project as JSON")
    annotations = []
    for task in document:
        with within(f"task {task.get('id')}", TITLE):
            annotations.append(_annotation(file, task))
    return [], annotations


def _annotation(file: Path, task: Any) -> Annotation:
    of_people = task.get("annotations", task.get("completions", ()))  # before 1.0
    kept = [each["result"] for each in of_people if not each.get("was_cancelled")]
    kept = [result for result in kept if result]
    left_out = ["second annotations of a picture"] * (len(kept) - 1)
    left_out += ["predictions"] * (not kept and bool(task.get("predictions")))
    values = [mark for mark in next(iter(kept), ()) if "value" in mark]  # relations have none
    marks = [mark for mark in values if not REGION.isdisjoint(mark["value"])]
    left_out += [WHOLE] * (len(values) - len(marks))
    picture = _picture(task, next((mark.get("to_name", "") for mark in marks), ""))
    drawn, size = [], None
    for mark in marks:
        with within(place := f"region {mark.get('id')}", TITLE):
            value = mark["value"]
            names = [name for key in value if key.endswith("labels") for name in value[key]]
            if not names or "original_width" not in mark:
                left_out.append("regions without " + ("original_width" if names else "label"))
                continue
            size = (int(mark["original_width"]), int(mark["original_height"]))
            if mark.get("image_rotation"):
                raise Fault(f"{picture} was labelled turned: turn it back")
            if paint := _paint(value, *size):
                drawn.append(Shape(class_name(names[0]), paint, f"task {task.get('id')}: {place}"))
                left_out += ["second labels of a region"] * (len(names) - 1)
            else:
                left_out.append(f"{mark.get('type')}")
    return Annotation(picture, file, size, drawn, left_out)


def _picture(task: Any, name: str) -> str:
    """Its path in the upload folder, in a store of local files, or on the web.

    name: what the regions are of, which is the one of several pictures that has it, if one has.
    """
    for key in sorted(task["data"], key=lambda key: key != name):
        parts = urlsplit(str(task["data"][key]))
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
    if "height" in value:
        right, bottom = x + value["width"] * width / 100, y + value["height"] * height / 100
        return shapes.rectangle(x, y, right, bottom, turn, pivot=(x, y))
    return None
