"""A small lesson that keeps every rule: the tests of the harness break one thing at a time."""

import base64
import copy
import io
import json
from pathlib import Path

from hygiene import Notebook
from PIL import Image

from tools import notebooks

OPENING = """# 01 · A made-up lesson

*A promise.*

**You will be able to**
- count
- measure
- compare

**You need** lesson 00.

**Time** 3 minutes to read, 1 minute to run.

**Paper** Chen et al. 2015, [arXiv:1412.7062](https://arxiv.org/abs/1412.7062), section 3.2.
"""
RECAP = """## Recap

| | paper | ours |
|---|---|---|
| field | 404 | 404 |

Chen et al. 2015, arXiv:1412.7062.

**Next:** 02 · Atrous convolution (coming)
"""
WIDGET = {"model_name": "AnyModel", "state": {"rate": 2}}
SEEN = "A grey square, darker on its left side."


def png(size=(64, 32), colour=128) -> str:
    file = io.BytesIO()
    Image.new("L", size, colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def prose(text: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def code(text: str, *outputs: dict) -> dict:
    return {"cell_type": "code", "metadata": {}, "source": text, "outputs": list(outputs)}


def printed(text: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": text}


def shown(**data) -> dict:
    found = {kind.replace("_", "/"): value for kind, value in data.items()}
    alt = {"image/png": {"alt": SEEN}}
    return {"output_type": "display_data", "data": found, "metadata": alt}


def widget() -> dict:
    output = shown(image_png=png())
    output["data"][notebooks.WIDGET_VIEW] = {"model_id": "m1"}
    return output


def stub(number: int) -> list[dict]:
    return [
        prose(f"### Exercise {number}. Count {number}"),
        code(f"check.count_{number}(...)", printed("not attempted yet\n")),
    ]


def answer(number: int) -> list[dict]:
    return [
        prose(f"## Exercise {number}. Count {number}"),
        code(f"check.count_{number}({number})", printed("✓ right\n")),
    ]


def number_cells(cells: list[dict]) -> dict:
    """The raw notebook: ids and counts filled in."""
    cells = copy.deepcopy(cells)
    count = 0
    for place, cell in enumerate(cells):
        cell["id"] = f"c{place}"
        if cell["cell_type"] == "code":
            count += 1
            cell["execution_count"] = count
    metadata = json.loads(json.dumps(notebooks.METADATA))
    metadata["widgets"] = {notebooks.WIDGET_STATE: {"state": {"m1": WIDGET}}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


LESSON = number_cells(
    [
        prose(OPENING),
        code("picture(404)\nplt.show()", shown(image_png=png())),
        prose(f"**Figure 1.** {SEEN}\n\nMore."),
        prose("## 1. An idea"),
        code("explorer", widget()),
        prose(f"**Widget.** {SEEN}"),
        prose("## Break it"),
        prose("## Your turn"),
        *stub(1),
        *stub(2),
        *stub(3),
        prose(RECAP),
    ]
)
SOLUTIONS = number_cells(
    [
        prose("# 01 · A made-up lesson: solutions\n\n[lesson](../01_made_up.ipynb)"),
        *answer(1),
        *answer(2),
        *answer(3),
    ]
)


def save(folder: Path) -> tuple[Notebook, Notebook]:
    """Lesson and solutions as files, with fresh raw contents that a test may break."""
    (folder / "solutions").mkdir()
    made = []
    for path, raw in (("01_made_up.ipynb", LESSON), ("solutions/01_made_up.ipynb", SOLUTIONS)):
        (folder / path).write_text(json.dumps(raw))
        made.append(Notebook.open(folder / path))
    return made[0], made[1]
