"""A contact sheet: classes laid on the photos of a folder, to be looked at before a training."""

import textwrap
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

    A class 0 called background keeps its colours; what cannot be drawn shows why. Returns a
    sentence for the terminal. Raises FileNotFoundError where images/ or masks/ is not there. Taught
    in lesson 09.
    """
    pairs, *_ = folder.files(Path(report.root))
    count = min(len(pairs), COLUMNS * ROWS)
    shown = [pairs[i * len(pairs) // count] for i in range(count)]
    own = folder.palette(pairs, len(report.classes))
    palette = np.array(own or colors.voc_palette(max(1, len(report.classes))), np.uint8)
    tiles = [_tile(pair, palette, report.classes) for pair in shown]
    rows = [tiles[i : i + COLUMNS] for i in range(0, count, COLUMNS)]
    legend = _legend(report.classes, palette)
    heights = [legend.height, *(max(tile.height for tile in row) for row in rows)]
    sheet = Image.new("RGB", (WIDTH, sum(heights)), PAPER)
    sheet.paste(legend)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            sheet.paste(tile, (j * SIDE, sum(heights[: i + 1])))
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


def _tile(pair: Pair, palette: np.ndarray, classes: tuple[str, ...]) -> Image.Image:
    tile = Image.new("RGB", (SIDE, SIDE + LINE), PAPER)
    draw = ImageDraw.Draw(tile)
    draw.text((4, 4), pair.image.name[:36], fill=INK)
    try:
        picture = image_files.read(pair.image, SIDE - 4, image_files.room()).image
        mask = Image.fromarray(read_mask(pair.mask).clip(0, IGNORE).astype(np.uint8))
        size = (picture.shape[1], picture.shape[0])
        label = np.array(mask.resize(size, Image.Resampling.NEAREST))
        label[(label >= len(palette)) & (label != IGNORE)] = IGNORE
        if classes[:1] != ("background",):  # overlay leaves class 0 as it is
            label = np.where(label == IGNORE, IGNORE, label + 1)
            palette = np.vstack([palette[:1], palette])
        tile.paste(Image.fromarray(colors.overlay(picture, label, 0.5, palette)), (2, LINE))
    except (OSError, ValueError) as error:
        text = str(error).replace(f"{pair.image.parent.parent}/", "")
        draw.text((4, LINE), "\n".join(textwrap.wrap(text, 38)[:12]), fill=(192, 0, 0))
        return tile
    return tile.crop((0, 0, SIDE, LINE + size[1] + 4))
