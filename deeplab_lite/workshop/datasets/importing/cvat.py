"""CVAT's XML, "CVAT for images 1.1": polygons, boxes, ellipses and masks, in their z-order."""

from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

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

TITLE = "CVAT"
NO_AREA = {"tag", "points", "polyline", "skeleton", "cuboid"}

Element = ElementTree.Element


def is_one(document: Any) -> bool:
    """Whether a document is of this format."""
    return (
        isinstance(document, Element)
        and document.tag == "annotations"
        and document.find("meta") is not None
    )


def read(file: Path, document: Element) -> tuple[list[str], list[Annotation]]:
    """The labels in the task's order, and the shapes. Tags are not of a place, so not of a mask.

    Raises Fault for videos.
    """
    if document.find("track") is not None:
        raise Fault('these are tracks of a film: export the task as "CVAT for images 1.1"')
    labels = document.findall(".//labels/label")
    kept = [each for each in labels if each.findtext("type") not in NO_AREA]
    names = [class_name(each.findtext("name")) for each in kept]
    annotations = []
    for image in document.iterfind("image"):
        drawn, left_out = [], [WHOLE] * len(image.findall("tag"))
        picture = image.attrib["name"]
        for number, mark in enumerate((mark for mark in image if mark.tag != "tag"), 1):
            with within(place := f"{mark.tag} {number} of {picture}", TITLE):
                if paint := _paint(mark):
                    layer = (int(mark.get("z_order", "0")),)
                    drawn.append(Shape(class_name(mark.attrib["label"]), paint, place, layer))
                else:
                    left_out.append(f"{mark.tag.rstrip('s')}s")
        size = (int(image.attrib["width"]), int(image.attrib["height"]))
        split = image.get("subset") or document.findtext("meta/task/subset") or ""
        annotations.append(Annotation(picture, file, size, drawn, left_out, split=split))
    return names, annotations


def _paint(mark: Element) -> Paint | None:
    def values(names: str) -> list[float]:
        return [float(mark.attrib[name]) for name in names.split()]

    turn = float(mark.get("rotation", "0"))
    if mark.tag == "polygon":
        corners = mark.attrib["points"].split(";")
        return shapes.polygon([[float(value) for value in each.split(",")] for each in corners])
    if mark.tag == "box":
        left, top, right, bottom = values("xtl ytl xbr ybr")
        return shapes.rectangle(left, top, right, bottom, turn)
    if mark.tag == "ellipse":
        x, y, across, down = values("cx cy rx ry")
        return shapes.ellipse(x, y, across, down, turn)
    if mark.tag == "mask":
        left, top, width, height = [int(v) for v in values("left top width height")]
        counts = [int(count) for count in mark.attrib["rle"].split(",")]
        unpack = partial(shapes.from_runs, counts, height, width, by_column=False)
        return shapes.bitmap(unpack, left, top)
    return None
