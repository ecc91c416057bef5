"""Playground: draw a scene or bring a photograph, see where two networks differ. Lesson 08."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
from torch import nn

from deeplab_lite import checkpoints, photos, scenes
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.own_scene import BACKGROUND, Placed
from deeplab_lite.classroom.widgets import _subjects
from deeplab_lite.classroom.widgets._answers import Answers, Choice, table_of
from deeplab_lite.classroom.widgets._asked import Asked, NothingYet
from deeplab_lite.classroom.widgets._choice_row import DEFAULT_SECOND, rows_for
from deeplab_lite.classroom.widgets._subjects import (
    SIDES,
    SOURCES,
    STRANGE,
    WITH_TRUTH,
    Subject,
)
from deeplab_lite.classroom.widgets._twin import Twin, one_of
from deeplab_lite.classroom.widgets.file_chooser import FileChooser
from deeplab_lite.classroom.widgets.playground_view import (
    VIEWS,
    WIDTH,
    Compared,
    describe,
    magnified,
    panels,
    picture,
    text_below,
    title,
)
from deeplab_lite.classroom.widgets.segmentation_view import Result
from deeplab_lite.classroom.widgets.shape_canvas import START, ShapeCanvas

# Pictures are sent as small as they are, and enlarged in the page.
SHARP = "<style>.dl-pixels { image-rendering: pixelated }</style>"
SLOTS = 5  # pictures at most: image, truth, two answers, their difference


class Playground(Asked, Twin, ipywidgets.VBox):
    """One image, one or two networks: segmentations, confidence, entropy, where they differ.

    - `source` is one of SOURCES: the scene of a `seed`; `shapes` on a `background`, to be dragged;
      a `photo` of photos.photo_names(); or a `file`, the path or bytes of any picture. Photographs
      and files are shrunk to `side` pixels. Nothing leaves this machine.
    - `first` and `second` are names of `models`, or a `Choice` that also says the output stride,
      multi-scale, flip and CRF; `second` may be None.
    - `models`, `classes`, `palette` are as in SegmentationViewer.
    - `view` is one of VIEWS, `alpha` the strength of the overlay.

    Raises ValueError for what is none of these, FileNotFoundError for a file that is not there;
    what goes wrong later is said in the widget.
    """

    colors = 96

    def __init__(
        self,
        source: str | None = None,
        seed: int = 7,
        first: str | Choice | None = None,
        second: str | Choice | None = DEFAULT_SECOND,
        view: str = "prediction",
        alpha: float = 0.7,
        *,
        photo: str = "coffee",
        file: bytes | str | Path | None = None,
        shapes: Iterable[Placed | Mapping[str, Any]] = START,
        background: Mapping[str, Any] | Any = BACKGROUND,
        side: int = SIDES[0],
        models: Iterable[str] | Mapping[str, nn.Module | None] | None = None,
        classes: Sequence[str] = scenes.CLASSES,
        palette: np.ndarray = draw.SCENE_PALETTE,
    ):
        table = table_of(checkpoints.names(classes) if models is None else models)
        if len(palette) < len(classes):
            raise ValueError(f"{len(palette)} colours for {len(classes)} classes: give a palette")
        source = source or ("scene" if file is None else "upload")
        one_of("source", source, SOURCES)
        one_of("side", side, SIDES)
        one_of("photo", photo, photos.photo_names())
        if source == "upload" and file is None:
            raise ValueError("source 'upload' needs a file: its path, or its bytes")
        self._classes, self._palette = tuple(classes), np.asarray(palette, np.uint8)
        self._answers = Answers(table, len(self._classes))
        self._strange = models is None or all(network is None for network in table.values())
        self._file = Path(file) if isinstance(file, str) else file
        # Equal choices give the same subject, and so the answers that were kept for it.
        self._scene, self._photograph, self._upload, self._drawn = (
            lru_cache(maxsize=8)(of)
            for of in (
                _subjects.scene, _subjects.photograph, _subjects.upload,
                lambda text: _subjects.drawing(*json.loads(text)),
            )
        )  # fmt: skip
        self._compared = lru_cache(maxsize=8)(self._answered)
        if source == "scene":
            self._scene(seed)
        self._drawing = tuple(shapes), background
        self.canvas: ShapeCanvas | None = None  # made when it is first looked at
        self.rows = rows_for(self._answers, first, second)
        self._make_controls(source, seed, view, alpha, photo, side)
        self._fit()
        panels(self.comparison, view, alpha)  # what cannot be pictures is refused here
        super().__init__(self._children())
        self._draw(colors=96)  # smaller, for this one is saved with the notebook
        self._listen()

    # ---- State

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choice of the first row, and of the second if it has a network."""
        return tuple(choice for row in self.rows if (choice := row.choice) is not None)

    @property
    def subject(self) -> Subject:
        """The present image, with its truth if one is known."""
        source = self.source.value
        if source == "scene":
            return self._scene(self.seed.value)
        if source == "drawing":
            canvas = self._board_of()
            return self._drawn(json.dumps([canvas.shapes, canvas.background]))
        if source == "photograph":
            return self._photograph(self.photo.value, self.side.value)
        return self._upload(self._file, self.side.value)

    @property
    def comparison(self) -> Compared:
        """The present image, and what the chosen networks say of it."""
        return self._compared(self.subject, self.choices)

    def _answered(self, subject: Subject, choices: tuple[Choice, ...]) -> Compared:
        answers = [self._answers.ask(choice, subject) for choice in choices]
        results = tuple(
            Result(subject.image, subject.label, probs, self._classes, self._palette)
            for probs, _ in answers
        )
        messages = tuple(dict.fromkeys(text for _, texts in answers for text in texts))
        return Compared(subject, choices, results, messages)

    def picture(self) -> np.ndarray:
        return picture(self.comparison, self.view.value, self.alpha.value)

    def alt(self) -> str:
        """What is pictures, the scores, and where the answers differ, in some sentences."""
        comparison = self.comparison
        return f"{comparison.subject.title}, {VIEWS[self.view.value]}. {describe(comparison)}"

    def _board_of(self) -> ShapeCanvas:
        if self.canvas is None:
            self.canvas = ShapeCanvas(*self._drawing)
            self.canvas.observe(self._ask, ["shapes", "background"])
        return self.canvas

    # ---- Controls

    def _make_controls(
        self, source: str, seed: int, view: str, alpha: float, photo: str, side: int
    ) -> None:
        def dropdown(name: str, options: Any, value: Any, width: str) -> Any:
            return ipywidgets.Dropdown(
                options=options, value=value, description=name, layout={"width": width},
                style={"description_width": "60px"},
            )  # fmt: skip

        self.source = dropdown("image", SOURCES, source, "190px")
        self.seed = ipywidgets.BoundedIntText(
            value=seed, min=0, max=2**32 - 1, description="number", layout={"width": "170px"},
            style={"description_width": "60px"},
        )  # fmt: skip
        self.photo = dropdown("of", photos.photo_names(), photo, "190px")
        self.upload = FileChooser(layout={"margin": "2px 8px"})
        self.side = dropdown("side", [(f"{n} pixels", n) for n in SIDES], side, "180px")
        known = [v for v in VIEWS if v != "errors" or source in WITH_TRUTH]
        one_of("view", view, known)
        self.view = ipywidgets.ToggleButtons(
            options=[(VIEWS[v], v) for v in known], value=view, style={"button_width": "100px"},
            layout={"margin": "2px 0 2px 12px"},
        )  # fmt: skip
        self.alpha = ipywidgets.FloatSlider(
            value=alpha, min=0, max=1, step=0.05, description="overlay",
            layout={"width": "280px"}, style={"description_width": "60px"},
        )  # fmt: skip
        self._board = ipywidgets.VBox()
        self._style = ipywidgets.HTML(SHARP, layout={"display": "none"})
        self.names = [ipywidgets.HTML() for _ in range(SLOTS)]
        self.images = [ipywidgets.Image(format="png") for _ in range(SLOTS)]
        for image in self.images:
            image.add_class("dl-pixels")
        self._sent: list[Any] = [None] * SLOTS
        self.note = ipywidgets.HTML(layout={"max_width": f"{WIDTH}px"})
        self.time = ipywidgets.HTML()

    def _children(self) -> list[Any]:
        flow = {"flex_flow": "row wrap"}
        self._slots = [
            ipywidgets.VBox([name, image], layout={"margin": "4px 6px 4px 0", "display": "none"})
            for name, image in zip(self.names, self.images, strict=True)
        ]
        chosen = [self.source, self.seed, self.photo, self.upload, self.side]
        return [
            ipywidgets.HBox(chosen, layout=flow),
            self._board,
            *self.rows,
            ipywidgets.HBox([self.alpha, self.view], layout=flow),
            ipywidgets.HBox(self._slots, layout={**flow, "align_items": "flex-end"}),
            self.note,
            self.time,
            self._style,
        ]

    def _listen(self) -> None:
        self._watch(self.source, self.seed, self.photo, self.side, self.view, self.alpha)
        for row in self.rows:
            row.listen(self._ask)
        self.upload.observe(self._take, "count")

    def _take(self, change: Any) -> None:
        """A file has been chosen."""
        self._file = self.upload.file
        self._ask(change)

    def _fit(self) -> None:
        """Only what can be chosen for this image and these networks."""
        source = self.source.value
        for control, there in (
            (self.seed, source == "scene"), (self.photo, source == "photograph"),
            (self.upload, source == "upload"), (self.side, source in ("photograph", "upload")),
        ):  # fmt: skip
            control.layout.display = "" if there else "none"
        for row in self.rows:
            row.fit()
        options = [(VIEWS[v], v) for v in VIEWS if v != "errors" or source in WITH_TRUTH]
        if options != list(self.view.options):
            chosen = self.view.value
            self.view.options = options
            self.view.value = chosen if chosen in dict(options).values() else options[0][1]
        self._board.children = [self._board_of()] if source == "drawing" else []

    # ---- Drawing

    def _show(self, colors: int | None) -> None:
        self._fit()
        try:
            comparison, view, alpha = self.comparison, self.view.value, self.alpha.value
        except NothingYet:
            self._put({}, colors)
            raise
        self._put(panels(comparison, view, alpha), colors)
        strange = self._strange and comparison.subject.label is None
        self.note.value = text_below(comparison, view, alpha, STRANGE if strange else "")

    def _put(self, pictures: dict[str, np.ndarray], colors: int | None) -> None:
        """These pictures by their titles, and no others; sends those that are not there yet."""
        if self.source.value == "drawing":
            pictures.pop("image", None)  # the canvas shows it
        for place, slot in enumerate(self._slots):
            slot.layout.display = "" if place < len(pictures) else "none"
        for place, (name, array) in enumerate(pictures.items()):
            self.names[place].value = title(name)
            if not np.array_equal(array, self._sent[place]):
                self.images[place].layout.width = f"{magnified(array)}px"
                self.images[place].value = draw.png(array, colors=colors)
                self._sent[place] = None if colors else array  # with few colours only for now
