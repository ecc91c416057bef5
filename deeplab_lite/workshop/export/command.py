"""`python -m deeplab_lite export`: write a file, then run it beside its network. Lesson 09."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from deeplab_lite import checkpoints
from deeplab_lite.image_files import read
from deeplab_lite.scenes import CLASSES, ORDINARY, SPLITS, scene
from deeplab_lite.workshop.export.formats import compare, onnx, pt2, read_card
from deeplab_lite.workshop.export.program import deployed, sides
from deeplab_lite.workshop.export.script import script
from deeplab_lite.workshop.segment.find_photos import find

CALIBRATE, VERIFY = 64, 8  # images
LARGEST = 513  # side of a photograph, in pixels


def run(
    model: str,
    kind: str,
    out: str | Path,
    size: tuple[int, int] | None = None,
    photos: Sequence[str] = (),
) -> Iterator[str]:
    """Export, verify; yields lines for the reader. ONNX files get a `script` beside them.

    kind: onnx, pt2, or int8, which is ONNX in 8-bit integers. photos: files, folders or patterns to
    calibrate and to verify on; without them, scenes. Raises ValueError for int8 of a network of
    other classes than the scenes' without photos, and as `onnx` and `pt2` do.
    """
    card = checkpoints.card(model)
    if kind == "int8" and not photos and tuple(card["classes"]) != CLASSES:
        raise ValueError(
            "int8 is calibrated on images of the kind that the network will see: name some fifty "
            "of them with --photos FOLDER"
        )
    step, extra = sides(deployed(model).network)
    if photos:
        named = paths(photos)
        first, last = named[: CALIBRATE if kind == "int8" else 0], named[-VERIFY:]
        calibration, checks = (
            [fitting(read(path, LARGEST).image, step, extra, size) for path in part]
            for part in (first, last)
        )
    else:
        free = [(8 * step + extra,) * 2, (10 * step + extra, 14 * step + extra)]
        calibration = scenes("train", CALIBRATE, [size or free[0]]) if kind == "int8" else []
        checks = scenes("test", VERIFY, [size] if size else free)
    if kind == "pt2":
        written = pt2(model, out, size=size)
    else:
        written = onnx(model, out, size=size, int8=calibration if kind == "int8" else None)
    yield f"{written}: {written.stat().st_size / 1e6:.1f} MB"
    yield str(compare(written, model, checks))
    if kind != "pt2":
        program = script(written, model, read_card(written))
        yield f"{program}: masks of photographs, with onnxruntime, NumPy and Pillow alone"


def scenes(split: str, count: int, sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Scenes of a split, each cut around its middle to a size (H, W), in turn."""
    images = []
    for index in range(count):
        height, width = sizes[index % len(sizes)]
        image, _ = scene(SPLITS[split][0] + index, max(height, width, ORDINARY.side))
        top, left = (len(image) - height) // 2, (len(image) - width) // 2
        images.append(image[top : top + height, left : left + width])
    return images


def paths(photos: Sequence[str]) -> list[Path]:
    """The files that the words mean; raises ValueError for a word that means none."""
    matches, problems = find(photos)
    if problems:
        raise ValueError(problems[0].sentence)
    if lost := [photo.path for photo in matches if not photo.path.exists()]:
        raise ValueError(f"there is no {lost[0]}: expected photos")
    return [photo.path for photo in matches]


def fitting(
    image: np.ndarray, step: int, extra: int, size: tuple[int, int] | None = None
) -> np.ndarray:
    """The middle of an image, of `size`, or of the largest sides k step + extra within it.

    Raises ValueError for an image that is smaller.
    """
    height, width = size or (max(2, (n - extra) // step) * step + extra for n in image.shape[:2])
    if image.shape[0] < height or image.shape[1] < width:
        raise ValueError(
            f"an image of {image.shape[0]} x {image.shape[1]} pixels is smaller than {height} x "
            f"{width}: expected larger ones, or another --size"
        )
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]
