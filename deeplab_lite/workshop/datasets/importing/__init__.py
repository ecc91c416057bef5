"""From where people label to a folder that trains: `python -m deeplab_lite import`. Lesson 09.

`coco`, `labelme`, `cvat` and `label_studio` read shapes, `masks` reads pictures of labels in any
layout, with `color_tables`. `export` is the form that all of them give, `shapes` paints; `splits`
divides, `writing` writes, and `importer` detects the format and does all of it.
"""

from deeplab_lite.workshop.datasets.importing.export import Options
from deeplab_lite.workshop.datasets.importing.importer import FORMATS, import_data

__all__ = ["FORMATS", "Options", "import_data"]
