"""COCO's JSON: polygons and run lengths, by category. Crowds become 255."""

from functools import partial
from pathlib import Path
from typing import Any

from deeplab_lite.tables import some
from deeplab_lite.workshop.datasets.importing import shapes
from deeplab_lite.workshop.datasets.importing.export import (
    VOID,
    Annotation,
    Fault,
    Paint,
    Shape,
    class_name,
    within,
)

TITLE = "COCO"


def is_one(document: Any) -> bool:
    """Whether a JSON document is of this format."""
    return isinstance(document, dict) and {"images", "annotations", "categories"} <= set(document)


def read(file: Path, document: Any) -> tuple[list[str], list[Annotation]]:
    """The categories by their ids, and the annotations; 1 and "1" are the same id.

    COCO has no order of depth, so smaller objects lie on larger ones, and all on crowds. Raises
    Fault for an unknown category, for the panoptic form, and where no annotation has its picture.
    """
    categories = {}
    for each in sorted(document["categories"], key=lambda each: each["id"]):
        with within(f"category {each['id']}", TITLE):
            categories[str(each["id"])] = class_name(each["name"])
    regions: dict[str, list[Shape]] = {}
    left_out: dict[str, list[str]] = {}
    for each in document["annotations"]:
        if "segments_info" in each:
            raise Fault(
                "this is COCO's panoptic form, whose regions are in PNG files: export instances, "
                "or masks as SegmentationClass"
            )
        place = f"annotation {each.get('id')}"
        with within(place, TITLE):
            image, category = str(each["image_id"]), str(each["category_id"])
            if category not in categories:
                raise Fault(f"its category is {category}, and there are {some([*categories], 8)}")
            drawn = regions.setdefault(image, [])
            if paint := _paint(each.get("segmentation")):
                crowd, area = bool(each.get("iscrowd")), float(each.get("area") or 0)
                name = VOID if crowd else categories[category]
                drawn.append(Shape(name, paint, place, (not crowd, -area)))
            else:
                left_out.setdefault(image, []).append("boxes")
    annotations = []
    for image in document["images"]:
        key = str(image["id"])
        size = (int(image["width"]), int(image["height"])) if image.get("width") else None
        picture = (image["file_name"], file, size, regions.pop(key, []), left_out.get(key, []))
        annotations.append(Annotation(*picture))
    if regions and not any(one.shapes or one.left_out for one in annotations):
        raise Fault(
            f"no image has the image_id of an annotation, as {next(iter(regions))}: export images "
            "and annotations together"
        )
    for key, drawn in regions.items():
        annotations.append(Annotation(f"image_id {key}", file, None, drawn, left_out.get(key, [])))
    return [*categories.values()], annotations


def _paint(segmentation: Any) -> Paint | None:
    """One region; None where there is only a box."""
    if isinstance(segmentation, dict):
        height, width = segmentation["size"]
        counts = segmentation["counts"]
        counts = shapes.unpacked(counts) if isinstance(counts, str) else counts
        return shapes.bitmap(partial(shapes.from_runs, counts, height, width, by_column=True))
    for part in segmentation or ():
        if not isinstance(part, list) or len(part) % 2:
            raise Fault("its segmentation is no list of polygons, each a list x, y, x, y, ...")
    parts = [list(zip(part[::2], part[1::2], strict=True)) for part in segmentation or ()]
    parts = [part for part in parts if len(part) > 2]
    return shapes.several([shapes.polygon(part) for part in parts]) if parts else None
