"""Photographs of metal parts on trays, as a label tool would hand them over. Lesson 09.

The parts are shapes of `own_scene`, so that the lesson needs no download. Two masks are wrong.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from deeplab_lite import scenes
from deeplab_lite.classroom import own_scene
from deeplab_lite.colors import SCENE_PALETTE

CLASSES = ("tray", "washer", "clip", "bracket", "plate")
SHAPES = ("background", "ring", "crescent", "cross", "square")  # what they look like
METALS = ("#9aa3ad", "#b08d57", "#b87333", "#5d6670")
MATS = ("#31465e", "#3d5a45", "#6b5b4b")
TRAYS, SHOTS = 20, 4
WIDTH, HEIGHT, BORDER = 320, 240, 40  # pixels; parts may lie across the border
SLIPS = {(7, 1): ("plate", "washer"), (16, 1): ("bracket", "clip")}  # what was painted as what

CLASS_OF = np.zeros(256, np.uint8)  # of a scene's class; litter is tray
CLASS_OF[[scenes.CLASSES.index(shape) for shape in SHAPES]] = range(len(CLASSES))
CLASS_OF[255] = 255
COLOURS = np.full((256, 3), 255, np.uint8)
COLOURS[: len(CLASSES)] = SCENE_PALETTE[: len(CLASSES)]


def photograph(tray: int, shot: int) -> tuple[np.ndarray, np.ndarray]:
    """A tray and its mask, uint8 (H, W, 3) and (H, W); from shot to shot it moves on a little."""
    random, parts = np.random.RandomState(tray), []
    mat = own_scene.Background(MATS[random.randint(3)], "gravel")
    for spot in random.permutation(12)[: random.randint(5, 9)]:
        kind = (*SHAPES[1:], *SHAPES[1:], "star", "disc")[random.randint(10)]
        x = BORDER + 80 * (spot % 4) + random.uniform(-13, 13) + 8 * shot
        y = BORDER + 32 + 80 * (spot // 4) + random.uniform(-13, 13) + 5 * shot
        metal, radius = METALS[random.randint(4)], float(random.uniform(18, 42))
        place = float(x), float(y), radius, float(random.uniform(0, 360))
        parts.append(own_scene.Placed(kind, *place, metal, "noise"))
    image, mask, *_ = own_scene.compose(parts, mat, WIDTH + BORDER)
    rows, columns = slice(BORDER, BORDER + HEIGHT), slice(0, WIDTH)
    return image[rows, columns], CLASS_OF[mask[rows, columns]]


def export(folder: str | Path) -> Path:
    """Write what a label tool gives: photos/, coloured masks, and a table of the colours."""
    folder = Path(folder)
    for part in ("photos", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for tray in range(TRAYS):
        for shot in range(SHOTS):
            image, mask = photograph(tray, shot)
            if (tray, shot) in SLIPS:
                right, wrong = map(CLASSES.index, SLIPS[tray, shot])
                mask = np.where(mask == right, wrong, mask)
            name = f"tray{tray:02}-{shot}"
            Image.fromarray(image).save(folder / "photos" / f"{name}.jpg", quality=90)
            Image.fromarray(COLOURS[mask]).save(folder / "masks" / f"{name}.png")
    rows = zip((*CLASSES, "void"), COLOURS.tolist(), strict=False)
    lines = [f"{name} {' '.join(map(str, color))}" for name, color in rows]
    (folder / "colours.txt").write_text("\n".join(lines), "utf-8")
    return folder


def mend(folder: str | Path) -> list[str]:
    """Correct the two wrong masks of an imported folder; their names."""
    names = []
    for tray, shot in SLIPS:
        names.append(f"tray{tray:02}-{shot}")
        path = Path(folder, "masks", f"{names[-1]}.png")
        with Image.open(path) as old:
            palette = old.getpalette()
        mask = Image.fromarray(photograph(tray, shot)[1])
        mask.putpalette(palette or COLOURS.ravel().tolist())
        mask.save(path)
    return names
