"""The front page: site/index.md with its explorer, its cards and its ladder filled in."""

import base64
import html
import io
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from deeplab_lite import ask, checkpoints
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.own_scene import compose
from deeplab_lite.classroom.widgets import DilationExplorer, shape_canvas
from deeplab_lite.tables import measured
from tools import notebooks, playground
from tools.figures import RATES
from tools.site import pages, widgets

SITE = notebooks.ROOT / "site"
CARD = (560, 280)  # pixels of a card's picture
# The networks weigh more than all else here: site/_static/site.js opens the frame at a click.
DRAG = """\
<button type="button" class="drag"
 data-frame="playground/index.html#draw=&amp;bare=&amp;second=none">
<img src="_static/scene.png" alt="A scene of shapes">
<img src="_static/answer.png" alt="and its label map">
<span class="start">Drag a shape</span>
<small>{name} runs in this page: 8 MB, once</small>
</button>"""
# The rungs in sight; the others are folded away.
MAIN = (
    "v1-small",
    "v1",
    "v2",
    "v3",
    "v3, trained at OS8",
    "v3+",
    "v3+ Lite0",
    "v1 + CRF",
    "v3+ + CRF",
)


def stage(folder: Path) -> None:
    """Write index.md and the pictures of its cards to `folder`."""
    lessons = pages.lessons()
    pictures = folder / "_static" / "lessons"
    pictures.mkdir(parents=True, exist_ok=True)
    for lesson in lessons:
        (pictures / f"{lesson.number}.png").write_bytes(picture(lesson.path))
    for name, image in drag_pictures().items():
        (folder / "_static" / f"{name}.png").write_bytes(draw.png(image, level=9, colors=128))
    contents = [
        pages.toctree(
            *(f"notebooks/{lesson.path.stem}" for lesson in lessons),
            options=":hidden:\n:caption: Lessons",
        ),
        pages.toctree(
            "Glossary <notebooks/glossary>",
            "Small print <notebooks/appendix>",
            "notebooks/solutions/index",
            "The code in this order <deeplab_lite/README>",
            options=":hidden:\n:caption: To look up",
        ),
    ]
    template = (SITE / "index.md").read_text("utf-8").replace("](../", "](")
    text = Template(template).substitute(
        explorer=explorer(),
        drag=DRAG.format(name=playground.title(name := network(), data_of(name))),
        lessons="".join(map(card, lessons)),
        ladder=ladder(measured("ladder.csv")),
    )
    pages.write(folder / "index.md", f"{text}\n" + "\n".join(contents))


def explorer() -> str:
    """The dilation explorer of lesson 02, which moves until somebody takes it over."""
    widget = DilationExplorer(RATES[0])
    model = widget.get_manager_state(widgets=[widget])["state"][widget.model_id]
    return widgets.element(model, widget.alt(), play=[{"rates": rates} for rates in RATES])


def network() -> str:
    """The network that the playground opens with."""
    return playground.first_choice(checkpoints.names())[0]


def data_of(name: str) -> str:
    """What a network has learnt from, as its card calls it."""
    return checkpoints.card(name)["data"]["name"]


def drag_pictures() -> dict[str, np.ndarray]:
    """The scene that the playground opens with, and the network's label map."""
    name = network()
    side = playground.WORLDS[data_of(name)][1].side
    scale = side / shape_canvas.ShapeCanvas.size.default_value
    shapes = [
        shape._replace(x=scale * shape.x, y=scale * shape.y, radius=scale * shape.radius)
        for shape in shape_canvas.START
    ]
    scene = compose(shapes, size=side).image
    label = ask.label(checkpoints.load(name), scene)
    answer = draw.overlay(draw.grey(scene), label, 0.7, draw.SCENE_PALETTE)
    return {"scene": scene, "answer": answer}


# ---- cards ----


def card(lesson: pages.Lesson) -> str:
    title, promise = html.escape(lesson.title), html.escape(lesson.promise)
    return (
        f'<a class="lesson-card" href="notebooks/{lesson.path.stem}.html">'
        f'<img src="_static/lessons/{lesson.number}.png" alt="" loading="lazy">'
        f'<span class="title"><b>{lesson.number}</b> {title}</span>'
        f"<span>{promise}</span><small>{lesson.minutes} minutes</small></a>\n"
    )


def picture(path: Path) -> bytes:
    """The first picture of a lesson, cut to the shape of a card: PNG bytes."""
    for cell in notebooks.read(path)["cells"]:
        for output in cell.get("outputs", []):
            if code := output.get("data", {}).get("image/png"):
                image = Image.open(io.BytesIO(base64.b64decode("".join(code)))).convert("RGB")
                part = Image.fromarray(crop(np.asarray(image)))
                part.thumbnail(CARD, Image.Resampling.LANCZOS)
                return draw.png(np.asarray(part), level=9, colors=128)
    raise ValueError(f"{path.name} shows no picture for its card")


def crop(image: np.ndarray) -> np.ndarray:
    """The upper left part that is nearest to a card's shape, cut where a row or column is white."""
    ink = (image < 250).any(2)
    rows, columns = (np.flatnonzero(ink.any(axis)) for axis in (1, 0))
    top, left = rows[0], columns[0]
    image, ink = (a[top : rows[-1] + 1, left : columns[-1] + 1] for a in (image, ink))
    height, width = ink.shape
    across = width / height > CARD[0] / CARD[1]  # too wide: cut at a column
    wanted = height * CARD[0] / CARD[1] if across else width * CARD[1] / CARD[0]
    white = np.flatnonzero(~ink.any(0 if across else 1))
    ends = np.append(white, width if across else height)
    end = ends[np.abs(np.log(np.maximum(ends, 1) / wanted)).argmin()]
    return image[:, :end] if across else image[:end]


# ---- the ladder ----


def ladder(rows: list[dict[str, str]]) -> str:
    """The rungs of assets/ladder.csv as two HTML tables, the second one folded away."""
    main = [row for row in rows if row["rung"] in MAIN]
    others = [row for row in rows if row["rung"] not in MAIN]
    return (
        f"{table(main)}\n<details><summary>{len(others)} more: other rates, strides, crops, "
        f"sizes, CRFs</summary>\n{table(others)}</details>"
    )


def table(rows: list[dict[str, str]]) -> str:
    head = ("network", "what it adds", "to", "mIoU", "step", "near edges", "weights", "GMAC")
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(f"<tr>{rung(row)}</tr>\n" for row in rows)
    return f'<table class="ladder"><thead><tr>{names}</tr></thead><tbody>\n{body}</tbody></table>'


def rung(row: dict[str, str]) -> str:
    """A row of the table: what it adds to which rung, and what that gains."""
    name, against, idea = (html.escape(row[key]) for key in ("rung", "against", "idea"))
    score = float(row["miou"])
    numbers = (
        f"{float(row['trimap_4']):.3f}",
        f"{float(row['parameters']) / 1e6:.2f} M" if row["parameters"] else "",
        f"{float(row['multiply_adds']) / 1e9:.2f}" if row["multiply_adds"] else "",
    )
    return (
        f'<th scope="row">{name}</th>'
        f"<td>{idea}</td><td>{against}</td>"
        f'<td class="bar" style="--share: {score:.3f}">{score:.3f}</td>'
        f'<td class="number">{step(row)}</td>'
    ) + "".join(f'<td class="number">{number}</td>' for number in numbers)


def step(row: dict[str, str]) -> str:
    """The gain over the rung that this one is compared with; grey if its interval holds 0."""
    if not row["step"]:
        return ""
    gain, low, high = (float(row[key]) for key in ("step", "low", "high"))
    kind = "luck" if low <= 0 <= high else "better" if gain > 0 else "worse"
    return f'<span class="{kind}">{gain:+.3f}</span>'.replace("-", "−")
