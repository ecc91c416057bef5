"""Photographs in, label maps out, with any checkpoint. Taught in lesson 09.

    python -m deeplab_lite segment holiday/ "more/**/*.jpg" --model v3plus-scenes --out labels

- `segmenter`: a checkpoint with its classes, colours and device; how it is asked is `ask.py`
- `find_photos`: which files a command line means
- `results`: what is written for each photo, and whether it is there already
- `run`: the loop
"""

from deeplab_lite.workshop.segment.run import segment_photos
from deeplab_lite.workshop.segment.segmenter import Segmenter, Settings

__all__ = ["Segmenter", "Settings", "segment_photos"]
