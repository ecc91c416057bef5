"""A contact sheet: classes laid on the photos of a folder, to be looked at before a training."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from deeplab_lite import colors, image_files
from deeplab_lite.files import replacing
from deeplab_lite.labels import IGNORE
from deeplab_lite.workshop.datasets import folder
from deeplab_lite.workshop.datasets.check import Report
from deeplab_lite.workshop.datasets.pairs import Pair, read_mask

COLUMNS, ROWS = 4, 6
SIDE, LINE = 240, 20  # pixels, of a tile's picture and of a line of text
WIDTH = COLUMNS * SIDE
INK, PAPER, GREY = (0, 0, 0), (255, 255, 255), (160, 160, 160)


def contact_sheet(report: Report, file: Path) -> str:
    """Write a PNG of up to 24 images, evenly spread over the folder, with a legend above.

    Class 0 is tinted as well. What cannot be drawn shows why. Returns a sentence for the terminal.
    Raises FileNotFoundError where there is no folder of images and masks. Taught in lesson 09.
    """
    pairs, *_ = folder.files(Path(report.root))
    step = max(1, -(-len(pairs) // (COLUMNS * ROWS)))
    shown = pairs[::step]
    own = folder.palette(pairs, len(report.classes))
    palette = np.array(own or colors.voc_palette(max(1, len(report.classes))), np.uint8)
    legend = _legend(report.classes, palette)
    rows = -(-len(shown) // COLUMNS)
    sheet = Image.new("RGB", (WIDTH, legend.height + rows * (SIDE + LINE)), PAPER)
    sheet.paste(legend)
    for i, pair in enumerate(shown):
        place = (i % COLUMNS * SIDE, legend.height + i // COLUMNS * (SIDE + LINE))
        sheet.paste(_tile(pair, palette), place)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as path:
        sheet.save(path, "PNG")
    return f"{file}: {len(shown)} of {len(pairs)} images with their classes"


def _legend(classes: tuple[str, ...], palette: np.ndarray) -> Image.Image:
    """A square and a name for each class, and for 255."""
    entries = [*zip(classes, map(tuple, palette.tolist()), strict=False), ("255, ignored", GREY)]
    lines = -(-len(entries) // COLUMNS)
    legend = Image.new("RGB", (WIDTH, lines * LINE + 4), PAPER)
    draw = ImageDraw.Draw(legend)
    for i, (name, color) in enumerate(entries):
        x, y = i % COLUMNS * SIDE + 4, i // COLUMNS * LINE + 4
        draw.rectangle((x, y, x + 12, y + 12), fill=color, outline=INK)
        draw.text((x + 18, y), name[:34], fill=INK)
    return legend


def _tile(pair: Pair, palette: np.ndarray) -> Image.Image:
    tile = Image.new("RGB", (SIDE, SIDE + LINE), PAPER)
    draw = ImageDraw.Draw(tile)
    draw.text((4, SIDE + 4), pair.image.name[:36], fill=INK)
    try:
        picture = image_files.read(pair.image, largest=SIDE - 4).image
        mask = Image.fromarray(read_mask(pair.mask).clip(0, IGNORE).astype(np.uint8))
        size = (picture.shape[1], picture.shape[0])
        label = np.array(mask.resize(size, Image.Resampling.NEAREST))
        label[(label >= len(palette)) & (label != IGNORE)] = IGNORE
        raised = np.where(label == IGNORE, IGNORE, label + 1)  # overlay leaves class 0 as it is
        tinted = colors.overlay(picture, raised, 0.5, np.vstack([palette[:1], palette]))
        tile.paste(Image.fromarray(tinted), (2, 2))
    except (OSError, ValueError) as error:
        text = str(error).removeprefix(f"{pair.image.parent.parent}/")
        cut = [text[i : i + 38] for i in range(0, min(len(text), 38 * 12), 38)]
        draw.text((4, 4), "\n".join(cut), fill=(192, 0, 0))
    return tile
