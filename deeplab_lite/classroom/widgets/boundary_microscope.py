"""Boundary microscope: one edge, magnified, as several networks draw it. Lesson 07."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import anywidget
import numpy as np
import traitlets

from deeplab_lite import metrics, scenes
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets._live import Knocks, runs, script, sheet, url
from deeplab_lite.classroom.widgets._twin import Twin, figure, headline, one_of
from deeplab_lite.classroom.widgets.edge_scores import (
    MOST,
    SIDE,
    Networks,
    Tally,
    chosen,
    label_maps,
    share,
    spots,
    tally,
)

VIEWS = ("labels", "errors")
WINDOWS = (17, 129)  # pixels, least and largest side of the magnified window


class Known(NamedTuple):
    """A scene and what the networks say of it."""

    image: np.ndarray
    truth: np.ndarray  # each pixel has its class
    maps: dict[str, np.ndarray]
    spots: list[list[int]]


class BoundaryMicroscope(Twin, Knocks, anywidget.AnyWidget):
    """Magnify an edge of a scene: the truth, and what each network makes of it.

    - `seeds` are the scenes that it brings along; `seed` is the one shown, by default the first.
      With a kernel it may be any.
    - `models`: names of `boundary.MODELS`, or a dict of name to network, where None stands for the
      one of that name.
    - `at` is the pixel (row, column) in the middle, by default where the networks differ the most;
      `window` the magnified side and `width` that of the trimap on each side, in pixels; `view` is
      "labels" or "errors".

    Label maps are computed when a scene is chosen; all else works with no kernel. Raises ValueError
    for what is none of these, and for a network that does not fit the scenes.
    """

    _esm = script("boundary_microscope")
    _css = sheet("boundary_microscope")
    scenes: Any = traitlets.Dict().tag(sync=True)  # seed -> photo, truth, maps, spots
    models: Any = traitlets.List().tag(sync=True)  # names
    at: Any = traitlets.List(traitlets.Int()).tag(sync=True)
    window = traitlets.Int().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    view = traitlets.Unicode().tag(sync=True)
    classes: Any = traitlets.List().tag(sync=True)  # name and colour
    kinds: Any = traitlets.List().tag(sync=True)
    size = traitlets.Int(SIDE).tag(sync=True)
    colors = 128

    def __init__(
        self,
        seed: int | None = None,
        at: Sequence[int] | None = None,
        window: int = 65,
        width: int = 4,
        view: str = "labels",
        *,
        models: Iterable[str] | Networks | None = None,
        seeds: Iterable[int] = (23, 7, 11),
    ):
        self._networks = chosen(models)
        bundled = list(dict.fromkeys(seeds))
        seed = (bundled or [23])[0] if seed is None else seed
        self._bundled = [seed, *(other for other in bundled if other != seed)]
        self._known = {other: self._read(other) for other in self._bundled}
        super().__init__(
            seed=seed,
            scenes=self._drawn(),
            models=list(self._networks),
            at=list(self._start(seed) if at is None else at),
            window=window,
            width=width,
            view=view,
            classes=[
                [name, draw.hex_color(color)]
                for name, color in zip(scenes.CLASSES, draw.SCENE_PALETTE, strict=True)
            ],
            kinds=draw.kinds(draw.ERRORS),
        )

    # ---- State

    @traitlets.observe("seed")
    def _move(self, change: Any) -> None:
        seed = change["new"]
        if seed in self._known:
            return
        kept = {known: self._known[known] for known in self._bundled}
        self._known = kept | {seed: self._read(seed)}  # one guest at a time
        self.scenes = self._drawn()
        self.at = self._start(seed)

    @traitlets.validate("at")
    def _check_at(self, proposal: Any) -> list[int]:
        at = proposal["value"]
        if len(at) != 2 or not all(0 <= place < SIDE for place in at):
            raise ValueError(f"at {at}: expected row and column of a scene of {SIDE} x {SIDE}")
        return at

    @traitlets.validate("window")
    def _check_window(self, proposal: Any) -> int:
        low, high = WINDOWS
        if not low <= proposal["value"] <= high:
            raise ValueError(f"window {proposal['value']}: expected {low} to {high} pixels")
        return proposal["value"]

    @traitlets.validate("width")
    def _check_width(self, proposal: Any) -> int:
        if not 1 <= proposal["value"] <= MOST:
            raise ValueError(f"width {proposal['value']}: expected 1 to {MOST} pixels")
        return proposal["value"]

    @traitlets.validate("view")
    def _check_view(self, proposal: Any) -> str:
        return one_of("view", proposal["value"], VIEWS)

    @property
    def shown(self) -> tuple[int, int, int]:
        """Top, left and side of the window."""
        return draw.window((self.at[0], self.at[1]), self.window, SIDE)

    @property
    def tallies(self) -> dict[str, Tally]:
        """How each network does within the band, in the scene and in the window."""
        known = self._known[self.seed]
        return {
            name: tally(labels, known.truth, self.width, self.shown)
            for name, labels in known.maps.items()
        }

    def picture(self) -> np.ndarray:
        return picture(self)

    def alt(self) -> str:
        """The scene, the band, the window, and each network's right share of the band."""
        shares = [f"{name} {share(t.right, t.pixels)}" for name, t in self.tallies.items()]
        return f"{title(self)}; right in the band: {', '.join(shares)}"

    # ---- Scenes

    def _read(self, seed: int) -> Known:
        image, truth = scenes.scene(seed, SIDE, outline=0)
        maps = label_maps(image, self._networks)
        return Known(image, truth, maps, spots(truth, list(maps.values())))

    def _start(self, seed: int) -> list[int]:
        return (self._known[seed].spots or [[SIDE // 2, SIDE // 2]])[0]

    def _drawn(self) -> dict[str, Any]:
        return {
            str(seed): {
                "photo": url(known.image),
                "truth": runs(known.truth),
                "maps": [runs(labels) for labels in known.maps.values()],
                "spots": known.spots,
            }
            for seed, known in self._known.items()
        }


def title(microscope: BoundaryMicroscope) -> str:
    """The scene, the band and the window."""
    top, left, side = microscope.shown
    return (
        f"Boundary microscope on scene {microscope.seed}: a band of {microscope.width} pixels a "
        f"side, window of {side} × {side} at row {top}, column {left}"
    )


def picture(microscope: BoundaryMicroscope) -> np.ndarray:
    """The microscope's state as a picture, uint8 (H, W, 3): the scene, and the window in panels."""
    from matplotlib.patches import Rectangle

    known, shown = microscope._known[microscope.seed], microscope.shown
    band = metrics.trimap(known.truth, microscope.width).numpy()
    panels = {"image": known.image, "truth": draw.banded(known.image, known.truth, band)}
    for name, labels in known.maps.items():
        if microscope.view == "errors":
            panels[name] = draw.band_errors(known.image, labels, known.truth, band)
        else:
            panels[name] = draw.banded(known.image, labels, band)
    columns = {7: 4}.get(len(panels), 5 if len(panels) < 9 else 6)  # with few empty places
    rows = -(-(1 + len(panels)) // columns)
    fig = figure(9.4, 0.95 + rows * (9.4 / columns + 0.42))
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    draw.show(known.image, axes[0], title=f"scene {microscope.seed}")
    top, left, side = shown
    for color, width in (("black", 3), ("white", 1.4)):
        axes[0].add_patch(Rectangle((left, top), side, side, fill=False, ec=color, lw=width))
    tallies = microscope.tallies
    for ax, (name, panel) in zip(axes[1:], panels.items(), strict=False):
        counts = tallies.get(name)
        score = f"\n{share(counts.right, counts.pixels)}, mIoU {counts.miou:.3f}" if counts else ""
        wrong = band & (known.maps[name] != known.truth) if counts else None
        draw.magnified(
            panel, known.truth, shown, ax, title=f"{name}{score}",
            wrong=wrong if microscope.view == "labels" else None,
        )  # fmt: skip
    for ax in axes:
        ax.title.set_fontsize(9)
    for ax in axes[1 + len(panels) :]:
        ax.set_axis_off()
    errors = microscope.view == "errors"
    dots = "" if errors else "; dots are wrong pixels"
    above = "Above each panel: right in the whole scene's band, mIoU there"
    headline(fig, f"{title(microscope)}. {above}{dots}", 9)
    draw.legend(fig, legend(microscope), 3 if errors else 9, 8.5)
    return draw.pixels(fig)


def legend(microscope: BoundaryMicroscope) -> list[draw.LegendRow]:
    """Names and colours of the classes in the window, or of the kinds of errors."""
    if microscope.view == "errors":
        return draw.kind_rows(draw.ERRORS)
    known, (top, left, side) = microscope._known[microscope.seed], microscope.shown
    cut = np.s_[top : top + side, left : left + side]
    present = np.unique([labels[cut] for labels in (known.truth, *known.maps.values())])
    return [(scenes.CLASSES[k], draw.SCENE_PALETTE[k]) for k in present]
