"""CRF playground: the dense CRF with every parameter on a slider, before and after. Lesson 04.

The pictures and sentences are pure functions in refinement.py; here is what listens and shows.
"""

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import ipywidgets
import numpy as np

from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets._asked import Asked, small
from deeplab_lite.classroom.widgets._twin import Twin, one_of
from deeplab_lite.classroom.widgets._unaries import THINGS, Unaries, of_arrays, of_photo, of_scene
from deeplab_lite.classroom.widgets.refinement import (
    PAPERS,
    VIEWS,
    WIDTH,
    CRFSettings,
    Refined,
    describe,
    frame,
    in_words,
    panels,
    picture,
    text_below,
    views,
)
from deeplab_lite.crf import exact
from deeplab_lite.scenes import ORDINARY

SIZES = {"scene": ORDINARY.side, "small scene": 65}  # the small one is small enough for all pairs
PHOTOS = {f"{name}: {thing}": name for name, (thing, _) in THINGS.items()}
#          description, least, greatest, step
SLIDERS = {
    "w_appearance": ("w appearance", 0, 20, 0.5),
    "sigma_xy": ("σ place, pixels", 1, 120, 1),
    "sigma_rgb": ("σ colour, of 255", 1, 60, 1),
    "w_smooth": ("w smoothness", 0, 20, 0.5),
    "sigma_smooth": ("σ smoothness, pixels", 0.5, 20, 0.5),
    "iterations": ("iterations", 0, 20, 1),
    "temperature": ("unary temperature", 0.25, 4, 0.05),
    "objects": ("object-object penalty", 0, 2, 0.1),
}


class CRFPlayground(Asked, Twin, ipywidgets.VBox):
    """Turn the dense CRF's parameters and see what it fixes and what it breaks.

    - `source` is one of SIZES, a scene with what v1-scenes says of it, or a photograph of PHOTOS
      with what the dense classifier says; `seed` is the scene's.
    - `image`, uint8 (H, W, 3), with its `probs` (K x H x W) takes their place, with `label`,
      `classes` and `palette` as in SegmentationViewer.
    - `view` is one of VIEWS, `class_name` that of the marginal; `settings` are fields of
      `CRFSettings`.

    Raises ValueError for what is none of these; what goes wrong later is said in the widget.
    """

    colors = 96

    def __init__(
        self,
        source: str = "scene",
        seed: int = 7,
        view: str = "after",
        class_name: str | None = None,
        *,
        image: Any = None,
        probs: Any = None,
        label: Any = None,
        classes: Sequence[str] | None = None,
        palette: np.ndarray | None = None,
        **settings: Any,
    ):
        self._own = of_arrays(image, probs, label, classes, palette)
        source = next((key for key, name in PHOTOS.items() if source == name), source)
        one_of("source", source, (*SIZES, *PHOTOS))
        chosen = _checked(settings)
        self._refined = lru_cache(maxsize=16)(self._refine)  # so that other views follow at once
        start = self._start(source, seed)
        one_of("view", view, views(start))
        if class_name is not None:
            one_of("class_name", class_name, start.classes)
        self._make_controls(source, seed, view, chosen)
        self._fit(start)
        if class_name is not None:
            self.class_name.value = class_name
        if chosen.backend not in self.backend.options:
            known = ", ".join(self.backend.options)
            raise ValueError(f"backend {chosen.backend!r}: expected one of {known} for this image")
        self.backend.value = chosen.backend
        super().__init__(self._rows())
        self._draw(colors=240)  # smaller, for this one is saved with the notebook
        self._listen()

    # ---- State

    @property
    def settings(self) -> CRFSettings:
        """What the controls say now."""
        values = {name: slider.value for name, slider in self.sliders.items()}
        return CRFSettings(**values, backend=self.backend.value)

    @property
    def result(self) -> Refined:
        """The refined answer for the present image and settings."""
        return self._refined(self.source.value, self.seed.value, self.settings)

    def picture(self) -> np.ndarray:
        return picture(self.result, self.view.value, self.class_name.value)

    def alt(self) -> str:
        """What is shown, the settings and the scores, in some sentences."""
        refined = self.result
        settings = in_words(refined.settings)
        return f"Dense CRF on {refined.start.title} with {settings}. {describe(refined)}"

    def _start(self, source: str, seed: int) -> Unaries:
        if self._own is not None:
            return self._own
        return of_scene(seed, SIZES[source]) if source in SIZES else of_photo(PHOTOS[source])

    def _refine(self, source: str, seed: int, settings: CRFSettings) -> Refined:
        return Refined(self._start(source, seed), settings)

    # ---- Controls

    def _make_controls(self, source: str, seed: int, view: str, chosen: CRFSettings) -> None:
        narrow = {"style": {"description_width": "60px"}}
        self.source = ipywidgets.Dropdown(
            options=[*SIZES, *PHOTOS], value=source, description="image",
            layout={"width": "270px"}, **narrow,
        )  # fmt: skip
        self.seed = ipywidgets.BoundedIntText(
            value=seed, min=0, max=2**32 - 1, description="number",
            layout={"width": "160px"}, **narrow,
        )  # fmt: skip
        self.backend = ipywidgets.Dropdown(
            options=["lattice"], description="backend", layout={"width": "190px"}, **narrow
        )
        self.sliders = {
            name: _slider(name, getattr(chosen, name)) for name in CRFSettings._fields[:-1]
        }
        self.papers = [
            ipywidgets.Button(
                description=name, tooltip=f"the settings of {name}", layout={"width": "70px"}
            )
            for name in PAPERS
        ]
        self.view = ipywidgets.ToggleButtons(
            options=[(title, name) for name, title in VIEWS.items()], value=view,
            tooltips=[f"show {title}" for title in VIEWS.values()],
            style={"button_width": "106px"}, layout={"margin": "2px 0"},
        )  # fmt: skip
        self.class_name = ipywidgets.Dropdown(
            description="of", layout={"width": "170px"}, style={"description_width": "20px"}
        )
        wide = {"width": f"{WIDTH}px", "max_width": "100%"}
        self.names = ipywidgets.HTML(layout=wide)
        self.image = ipywidgets.Image(format="png", layout=wide)
        self.note = ipywidgets.HTML(layout={"max_width": f"{WIDTH}px"})
        self.time = ipywidgets.HTML()

    def _rows(self) -> list[Any]:
        flow = {"flex_flow": "row wrap"}
        appearance = ("w_appearance", "sigma_xy", "sigma_rgb", "iterations")
        names = (appearance, [name for name in self.sliders if name not in appearance])
        half = {"flex": "1 1 310px", "max_width": f"{WIDTH // 2}px"}
        columns = [
            ipywidgets.VBox([self.sliders[name] for name in part], layout=half) for part in names
        ]
        first = [self.backend] if self._own else [self.source, self.seed, self.backend]
        papers = ipywidgets.Label("papers' settings", layout={"margin": "2px 4px 2px 12px"})
        return [
            ipywidgets.HBox([*first, ipywidgets.HBox([papers, *self.papers])], layout=flow),
            ipywidgets.HBox(columns, layout=flow),
            ipywidgets.HBox([self.view, self.class_name], layout=flow),
            self.names,
            self.image,
            self.note,
            self.time,
        ]

    def _listen(self) -> None:
        self._watch(self.source, self.seed, self.backend, self.view, self.class_name)
        self._watch(*self.sliders.values())
        for button in self.papers:
            button.on_click(lambda button: self._set(PAPERS[button.description]))

    def _set(self, settings: CRFSettings) -> None:
        """The sliders take a paper's settings; the backend stays."""
        for name, slider in self.sliders.items():
            slider.value = getattr(settings, name)

    def _fit(self, start: Unaries) -> None:
        """Only what can be chosen for this image."""
        height, width = start.image.shape[:2]
        backends = ["lattice"]
        if height * width <= exact.MAX_PIXELS:
            backends.insert(0, "exact")
        if importlib.util.find_spec("pydensecrf"):
            backends.append("pydensecrf")
        if tuple(backends) != self.backend.options:
            kept = self.backend.value if self.backend.value in backends else "lattice"
            self.backend.options, self.backend.value = backends, kept
        if start.classes != self.class_name.options:
            self.class_name.options = start.classes
            self.class_name.value = start.classes[min(1, len(start.classes) - 1)]
        options = [(VIEWS[name], name) for name in views(start)]
        if options != list(self.view.options):
            self.view.options = options
        self.seed.layout.display = "" if self.source.value in SIZES else "none"
        self.class_name.layout.visibility = "visible" if self.view.value == "marginal" else "hidden"

    # ---- Drawing

    def _wait(self, change: Any) -> None:
        if change["owner"] is self.source:  # a photograph takes some seconds when first asked for
            self.time.value = small("Computing …")

    def _show(self, colors: int | None) -> None:
        self._fit(self._start(self.source.value, self.seed.value))
        refined, view, class_name = self.result, self.view.value, self.class_name.value
        self.image.value = draw.png(frame(refined, view, class_name), colors=colors)
        self.names.value = draw.titles_html(panels(refined, view, class_name))
        self.note.value = text_below(refined, view)


def _checked(settings: dict[str, Any]) -> CRFSettings:
    """Raises ValueError for a parameter that is none, or that lies beyond its slider."""
    if unknown := sorted(set(settings) - set(CRFSettings._fields)):
        raise ValueError(f"{', '.join(unknown)}: expected some of {', '.join(CRFSettings._fields)}")
    for name, value in settings.items():
        if name in SLIDERS:
            _, low, high, _ = SLIDERS[name]
            if not low <= value <= high:
                raise ValueError(f"{name} {value}: the playground's slider has {low} to {high}")
    return CRFSettings(**settings)


def _slider(name: str, value: float) -> Any:
    title, low, high, step = SLIDERS[name]
    kind = ipywidgets.IntSlider if name == "iterations" else ipywidgets.FloatSlider
    digits = "d" if step == 1 and value == int(value) else ".2f" if step < 0.1 else ".1f"
    return kind(
        value=value, min=low, max=high, step=step, description=title, readout_format=digits,
        layout={"width": "auto"}, style={"description_width": "148px"},
    )  # fmt: skip
