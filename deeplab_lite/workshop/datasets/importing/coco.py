"""COCO's JSON: polygons and run lengths, by category. Crowds become 255."""

from functools import partial
from pathlib import Path
from typing import Any

from deeplab_lite.workshop.datasets.importing import shapes
from deeplab_lite.workshop.datasets.importing.export import VOID, Annotation, Paint, Shape

TITLE = "COCO"


def is_one(document: Any) -> bool:
    """Whether a JSON document is of this format."""
    return isinstance(document, dict) and {"images", "annotations", "categories"} <= set(document)


def read(file: Path, document: Any, left_out: list[str]) -> tuple[list[str], list[Annotation]]:
    """The categories by their ids, and the annotations. Raises ValueError for an unknown id.

    COCO has no order of depth, so smaller objects lie on larger ones, and all on crowds.
    """
    categories = {each["id"]: each["name"] for each in document["categories"]}
    regions: dict[Any, list[tuple[bool, float, Shape]]] = {}
    for each in document["annotations"]:
        if each["category_id"] not in categories:
            raise ValueError(
                f"annotation {each.get('id')} has the category {each['category_id']}, "
                f"and the categories are {sorted(categories)}"
            )
        if paint := _paint(each.get("segmentation")):
            crowd, area = bool(each.get("iscrowd")), float(each.get("area") or 0)
            shape = Shape(VOID if crowd else categories[each["category_id"]], paint)
            regions.setdefault(each["image_id"], []).append((not crowd, -area, shape))
        else:
            left_out.append("boxes")
    annotations = []
    for image in document["images"]:
        ordered = sorted(regions.get(image["id"], []), key=lambda region: region[:2])
        size = (int(image["width"]), int(image["height"])) if image.get("width") else None
        drawn = [shape for *_, shape in ordered]
        annotations.append(Annotation(image["file_name"], file, size, drawn))
    return [categories[key] for key in sorted(categories)], annotations


def _paint(segmentation: Any) -> Paint | None:
    """One region; None where there is only a box."""
    if isinstance(segmentation, dict):
        height, width = segmentation["size"]
        counts = segmentation["counts"]
        counts = shapes.unpacked(counts) if isinstance(counts, str) else counts
        return shapes.bitmap(partial(shapes.from_runs, counts, height, width, by_column=True))
    parts = [list(zip(part[::2], part[1::2], strict=True)) for part in segmentation or ()]
    parts = [part for part in parts if len(part) > 2]
    return shapes.several([shapes.polygon(part) for part in parts]) if parts else None
