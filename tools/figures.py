"""Figures of the README, taken from the lessons' saved outputs: `make figures`.

A picture has one source, the cell that draws it. The same outputs give the same files. One figure
moves: the dilation explorer of lesson 02, drawn in a few of its states.
"""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets import dilation_explorer

from .notebooks import read

ROOT = Path(__file__).resolve().parents[1]

#            lesson           cell                  colours kept (None: all)
FIGURES = {
    "cat.png": ("00_start_here", "cat-at-two-strides", 240),
    "family.png": ("00_start_here", "family-map", None),
    "explorer.png": ("00_start_here", "explorer", None),
    "playground.png": ("08_the_family", "playground", 240),
}

MOVING = "dilation.gif"
# A stack with holes, and how other rates fill them; the front page of the pages shows the same.
RATES = [[2, 2, 2, 0], [1, 2, 2, 0], [1, 2, 3, 0], [1, 2, 5, 0], [1, 2, 4, 0], [2, 2, 0, 0]]
SECONDS = 1.8  # of each


def figure(name: str) -> bytes:
    """PNG bytes of a figure of the README. Raises LookupError where the lesson has it not."""
    lesson, cell_id, colors = FIGURES[name]
    cells = read(ROOT / "notebooks" / f"{lesson}.ipynb")["cells"]
    outputs = [out for cell in cells if cell.get("id") == cell_id for out in cell["outputs"]]
    for output in outputs:
        if data := output.get("data", {}).get("image/png"):
            picture = Image.open(io.BytesIO(base64.b64decode("".join(data)))).convert("RGB")
            return draw.png(np.asarray(picture), level=9, colors=colors)
    raise LookupError(f"{lesson} shows no picture in a cell {cell_id!r}: run `make notebooks`")


def moving() -> bytes:
    """GIF bytes of the dilation explorer, state after state, for ever."""
    pictures = [Image.fromarray(dilation_explorer.picture(rates, 3)) for rates in RATES]
    first, *others = (picture.quantize(64, dither=Image.Dither.NONE) for picture in pictures)
    out = io.BytesIO()
    milliseconds = round(1000 * SECONDS)
    first.save(out, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    return out.getvalue()


def main() -> None:
    for name in [*FIGURES, MOVING]:
        path = ROOT / "assets" / name
        path.parent.mkdir(exist_ok=True)
        data = moving() if name == MOVING else figure(name)
        path.write_bytes(data)
        print(f"assets/{name}: {len(data) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
