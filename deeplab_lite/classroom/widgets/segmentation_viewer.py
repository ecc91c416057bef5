"""Segmentation viewer: any checkpoint on any scene, its errors and its doubt. Lesson 03 on."""

import html
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import ipywidgets
import numpy as np
from torch import nn

from deeplab_lite import checkpoints, scenes
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets._answers import Answers, Choice, table_of
from deeplab_lite.classroom.widgets._asked import Asked
from deeplab_lite.classroom.widgets._subjects import Subject
from deeplab_lite.classroom.widgets._twin import Twin, one_of
from deeplab_lite.classroom.widgets.segmentation_view import (
    VIEWS,
    WIDTH,
    Result,
    describe,
    frame,
    legend,
    panels,
    picture,
    views,
)


class SegmentationViewer(Asked, Twin, ipywidgets.VBox):
    """Choose a scene and a network: what it sees, where it errs, where it is unsure.

    - `models`: names of checkpoints (all that know `classes`, if None), or a dict of name to
      network, such as one that a lesson has just trained; a value None means the checkpoint of that
      name. Networks take images as `scenes.normalize` makes them, and give logits of their size.
    - `image`, uint8 (H, W, 3), takes the place of the scenes, with its `label` (H, W) if there is
      one; or `images`, pairs of an image and its label or None, among which `seed` chooses.
      `classes` and `palette` (K x 3) are those of the scenes unless given.
    - `view` is one of VIEWS, `alpha` the strength of the overlay.

    What a network says of a scene is kept: after more training, make a new viewer.

    Raises ValueError for an unknown model, view or seed, for `image` beside `images`, and for
    classes that the network does not tell apart. What goes wrong later is said in the widget.
    """

    colors = 96

    def __init__(
        self,
        seed: int | None = None,
        model: str | None = None,
        view: str = "prediction",
        alpha: float = 0.7,
        *,
        models: Iterable[str] | Mapping[str, nn.Module | None] | None = None,
        image: Any = None,
        label: Any = None,
        images: Sequence[tuple[Any, Any]] | None = None,
        classes: Sequence[str] = scenes.CLASSES,
        palette: np.ndarray = draw.SCENE_PALETTE,
    ):
        self._models = table_of(checkpoints.names(classes) if models is None else models)
        if model is None:
            model = "v1-scenes" if "v1-scenes" in self._models else next(iter(self._models))
        one_of("model", model, self._models)
        if len(palette) < len(classes):
            raise ValueError(f"{len(palette)} colours for {len(classes)} classes: give a palette")
        self._classes, self._palette = tuple(classes), np.asarray(palette, np.uint8)
        if image is not None and images is not None:
            raise ValueError("image and images: give one of them")
        pairs = [(image, label)] if image is not None else images
        self._images = None if pairs is None else [_pair(*pair) for pair in pairs]
        if self._images == []:
            raise ValueError("images is empty: expected pairs of an image and its label or None")
        last = 2**32 - 1 if self._images is None else len(self._images) - 1
        if seed is None:
            seed = 7 if self._images is None else 0
        if not 0 <= seed <= last:
            raise ValueError(f"seed {seed}: expected 0 to {last}")
        labelled = self._images is None or all(label is not None for _, label in self._images)
        known = views(np.zeros(0) if labelled else None)
        one_of("view", view, known)
        # A network and a scene are read once; other views and strengths follow at once.
        self._answers = Answers(self._models, len(self._classes))
        self._result = lru_cache(maxsize=32)(self._segment)
        frame(self._result(model, seed), view, alpha)

        wide = {"style": {"description_width": "60px"}}
        self.seed = ipywidgets.BoundedIntText(
            value=seed, min=0, max=last, description="scene" if self._images is None else "image",
            layout={"width": "180px"}, **wide,
        )  # fmt: skip
        self.model = ipywidgets.Dropdown(
            options=list(self._models), value=model, description="network",
            layout={"width": "280px"}, **wide,
        )  # fmt: skip
        self.alpha = ipywidgets.FloatSlider(
            value=alpha, min=0, max=1, step=0.05, description="overlay",
            layout={"width": "300px"}, **wide,
        )  # fmt: skip
        self.view = ipywidgets.ToggleButtons(
            options=[(VIEWS[name], name) for name in known], value=view,
            tooltips=[f"show the {VIEWS[name]}" for name in known],
            style={"button_width": "100px"}, layout={"margin": "2px 0 2px 12px"},
        )  # fmt: skip
        self.names = ipywidgets.HTML(layout={"width": f"{WIDTH}px", "max_width": "100%"})
        self.image = ipywidgets.Image(
            format="png", layout={"width": f"{WIDTH}px", "max_width": "100%"}
        )
        self.note = ipywidgets.HTML(layout={"max_width": f"{WIDTH}px"})
        first = [self.seed, self.model] if last else [self.model]
        rows = (first, [self.alpha, self.view])
        bars = [ipywidgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows]
        super().__init__([*bars, self.names, self.image, self.note])
        self._draw(colors=128)  # smaller, for this one is saved with the notebook
        self._watch(self.seed, self.model, self.alpha, self.view)

    @property
    def result(self) -> Result:
        """What the chosen network says of the chosen image."""
        return self._result(self.model.value, self.seed.value)

    def picture(self) -> np.ndarray:
        return picture(self.result, self.view.value, self.alpha.value, self._title())

    def alt(self) -> str:
        """What is shown, and the scores, in two or three sentences."""
        return f"{self._title()}, {VIEWS[self.view.value]}. {describe(self.result)}"

    def _title(self) -> str:
        if self._images is None:
            where = f"scene {self.seed.value}"
        else:
            where = "an image" if len(self._images) == 1 else f"image {self.seed.value}"
        return f"{self.model.value} on {where}"

    def _segment(self, name: str, seed: int) -> Result:
        image, label = scenes.scene(seed) if self._images is None else self._images[seed]
        probs, _ = self._answers.ask(Choice(name), Subject(name, image))
        return Result(image, label, probs, self._classes, self._palette)

    def _show(self, colors: int | None) -> None:
        result, view, alpha = self.result, self.view.value, self.alpha.value
        self.image.value = draw.png(frame(result, view, alpha), colors=colors)
        self.names.value = draw.titles_html(panels(result, view, alpha))
        self.note.value = _text(result, view, alpha)


def _pair(image: Any, label: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """An image of the reader's as uint8 (H, W, 3), and its label (H, W) if there is one."""
    return draw.checked(image), None if label is None else np.asarray(label)


def _text(result: Result, view: str, alpha: float) -> str:
    """The sentence, and the legends of what the panels show."""
    scale = ""
    if view == "confidence":
        least = f"{1 / len(result.classes):.2f}"
        scale = draw.scale_html("likeliest class: probability 1", least, alpha)
    unit = "IoU" if result.label is not None else "share of pixels"
    rows = _legend(legend(result, "errors"), "pixels") if view == "errors" else ""
    rows += _legend(legend(result, "prediction"), unit)
    sentence = html.escape(describe(result))
    return f'<p style="margin:6px 0 4px;line-height:1.45">{sentence}</p>{scale}{rows}'


def _legend(rows: list[tuple[str, Any, str]], unit: str) -> str:
    return draw.legend_html(
        [(f"{name} {number}", color) for name, color, number in rows], after=f"({unit})"
    )
