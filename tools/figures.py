"""Figures of the README, taken from the lessons' saved outputs: `make figures`.

A picture has one source, the cell that draws it. The same outputs give the same files.
"""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from deeplab_lite.classroom import draw

from .notebooks import read

ROOT = Path(__file__).resolve().parents[1]

#            lesson           cell                  colours kept (None: all)
FIGURES = {
    "cat.png": ("00_start_here", "cat-at-two-strides", 240),
    "family.png": ("00_start_here", "family-map", None),
    "explorer.png": ("00_start_here", "explorer", None),
    "playground.png": ("08_the_family", "playground", 240),
}


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


def main() -> None:
    for name in FIGURES:
        path = ROOT / "assets" / name
        path.parent.mkdir(exist_ok=True)
        data = figure(name)
        path.write_bytes(data)
        print(f"assets/{name}: {len(data) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
