"""pytest plugin: makes strict nbval compare figures, which it passes over by itself.

Both pictures are shrunk to 64 pixels of width, so that another font or CPU makes no difference,
while an edge moved by 2 pixels or a swapped colour does. A changed digit in a title is not seen:
lessons print the numbers that matter.
"""

import base64
import io
import tempfile
from pathlib import Path

import numpy as np
from nbval.plugin import IPyNbCell
from PIL import Image

from tools import notebooks

WIDTH = 64  # pixels
TOLERANCE = 4  # grey levels of 255
KINDS = ("image/png", "image/jpeg")


def decode(data: str) -> Image.Image:
    """The picture in a notebook's base64, on white."""
    picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(ground, picture).convert("RGB")


def distance(reference: Image.Image, now: Image.Image) -> float:
    """max(mean difference, largest difference / 8) of the shrunk pictures, in grey levels.

    Infinite where the sizes differ by more than a fiftieth.
    """
    for ours, theirs in zip(reference.size, now.size, strict=True):
        if abs(ours - theirs) > 0.02 * ours:
            return float("inf")
    size = (WIDTH, max(1, round(WIDTH * reference.height / reference.width)))
    small = [np.asarray(p.resize(size, Image.Resampling.BOX), float) for p in (reference, now)]
    difference = np.abs(small[0] - small[1])
    return max(difference.mean(), difference.max() / 8)


def pictures(outputs) -> list[str]:
    return [data for out in outputs for kind, data in out.get("data", {}).items() if kind in KINDS]


def figure_problem(now: list[str], reference: list[str]) -> str | None:
    """What is wrong with the pictures of a cell, in a sentence; None if nothing is."""
    if len(now) != len(reference):
        return f"the cell draws {len(now)} pictures, the saved notebook has {len(reference)}"
    for number, (new, old) in enumerate(zip(now, reference, strict=True), 1):
        try:
            saved = decode(old)
        except Exception as error:  # Pillow raises many kinds for a broken file
            return f"saved picture {number} cannot be read ({error}): run `make notebooks`"
        drawn = decode(new)
        far = distance(saved, drawn)
        if far > TOLERANCE:
            folder = Path(tempfile.mkdtemp(prefix="figures-"))
            saved.save(folder / "saved.png")
            drawn.save(folder / "now.png")
            return (
                f"picture {number} differs from the saved one by {far:.1f} (at most {TOLERANCE}): "
                f"look at saved.png and now.png in {folder}; if now.png is right, `make notebooks`"
            )
    return None


compare_text = IPyNbCell.compare_outputs


def compare_outputs(self, test, ref, skip_compare=None):
    """nbval's comparison of texts, addresses scrubbed as in the saved file; then the figures."""
    for output in test:
        notebooks.scrub_output(output)
    if not compare_text(self, test, ref, skip_compare):
        return False
    problem = figure_problem(pictures(test), pictures(ref))
    if problem:
        self.comparison_traceback.append(problem)
    return problem is None


IPyNbCell.compare_outputs = compare_outputs
