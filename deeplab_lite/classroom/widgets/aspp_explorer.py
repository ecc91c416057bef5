"""ASPP explorer: what each branch of v2's pyramid reads, and what it says alone. Lesson 05."""

from collections.abc import Iterable, Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets

from deeplab_lite import checkpoints, scenes
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets import branch_scores as aspp
from deeplab_lite.classroom.widgets._live import Knocks, runs, script, sheet, text, url
from deeplab_lite.classroom.widgets._twin import Twin, figure, headline, one_of
from deeplab_lite.labels import IGNORE
from deeplab_lite.models.v2 import DeepLabV2

SIDE = scenes.ORDINARY.side
VIEWS = ("labels", "errors")
MOST = 6  # branches


class ASPPExplorer(Twin, Knocks, anywidget.AnyWidget):
    """Choose a position and switch branches off: where each one reads, and what it says.

    - `seed` chooses the scene, `unit` (row, column) the position on the map; by default the
      smallest shape that the whole pyramid names there.
    - `on` says which branches count; `view` is "labels" or "errors".
    - `model` is a DeepLabV2 in eval mode, such as one that a lesson has trained, or the name of
      its checkpoint.

    All scores of a scene are computed when it is chosen, so that all but another scene works with
    no kernel. Raises ValueError for what is none of these.
    """

    _esm = script("aspp_explorer")
    _css = sheet("aspp_explorer")
    data: Any = traitlets.Dict().tag(sync=True)  # of the scene: see `_data`
    rates: Any = traitlets.List(traitlets.Int()).tag(sync=True)
    on: Any = traitlets.List(traitlets.Bool()).tag(sync=True)
    unit: Any = traitlets.List(traitlets.Int()).tag(sync=True)
    view = traitlets.Unicode().tag(sync=True)
    palette: Any = traitlets.List().tag(sync=True)
    kinds: Any = traitlets.List().tag(sync=True)
    colors = 128

    def __init__(
        self,
        seed: int = 2_000_037,
        on: Iterable[bool] | None = None,
        unit: Sequence[int] | None = None,
        view: str = "labels",
        *,
        model: str | DeepLabV2 = "v2-scenes",
    ):
        network: Any = checkpoints.load(model) if isinstance(model, str) else model
        aspp.check(network)
        rates = network.rates
        if not 1 <= len(rates) <= MOST:
            raise ValueError(f"a pyramid of {len(rates)} branches: the explorer draws 1 to {MOST}")
        self._model = network
        self._read(seed)
        super().__init__(
            seed=seed,
            data=self._data(),
            rates=list(rates),
            on=[True] * len(rates) if on is None else [bool(lights) for lights in on],
            unit=list(self._best() if unit is None else unit),
            view=view,
            palette=[draw.hex_color(color) for color in draw.SCENE_PALETTE],
            kinds=draw.kinds(draw.ERRORS),
        )

    # ---- State

    @traitlets.observe("seed")
    def _move(self, change: Any) -> None:
        if change["new"] != self._seed:
            self._read(change["new"])
            self.data = self._data()
            self.unit = list(self._best())

    @traitlets.validate("on")
    def _check_on(self, proposal: Any) -> list[bool]:
        if len(proposal["value"]) != len(self._model.rates):
            raise ValueError(
                f"on {proposal['value']}: expected {len(self._model.rates)}, one for each branch"
            )
        return proposal["value"]

    @traitlets.validate("unit")
    def _check_unit(self, proposal: Any) -> list[int]:
        side, unit = self._side, proposal["value"]
        if len(unit) != 2 or not all(0 <= at < side for at in unit):
            raise ValueError(f"unit {unit}: expected row and column on a map of {side} x {side}")
        return unit

    @traitlets.validate("view")
    def _check_view(self, proposal: Any) -> str:
        return one_of("view", proposal["value"], VIEWS)

    @property
    def result(self) -> aspp.Answer:
        """What the branches that are on say together."""
        return aspp.answer(self._scores, self._scene, self._shapes, self.on)

    def picture(self) -> np.ndarray:
        return picture(self)

    def alt(self) -> str:
        """The scene, the branches that are on, their score, and the position."""
        on = [str(n) for n, lights in enumerate(self.on, 1) if lights]
        answer = self.result
        kept = sum(share >= 0.5 for share in answer.shares)
        return (
            f"ASPP on scene {self._seed}, rates {', '.join(map(str, self.rates))}: branches on "
            f"{', '.join(on) or 'none'}; mIoU {answer.miou:.3f}, {kept} of {len(answer.shares)} "
            f"shapes right; position ({', '.join(map(str, self.unit))})"
        )

    # ---- A scene

    def _read(self, seed: int) -> None:
        self._scene = scenes.full_scene(seed)
        self._scores = aspp.branch_scores(self._model, self._scene.image)
        self._side = self._scores.codes.shape[-1]  # of the map
        self._factor = (SIDE - 1) // (self._side - 1)
        self._shapes = aspp.shapes_of(self._scene, self._factor)
        self._seed = seed

    def _data(self) -> dict[str, Any]:
        scene, codes = self._scene, self._scores.codes
        lows = codes.min((1, 2, 3))
        return {
            "seed": self._seed,
            "size": SIDE,
            "map": self._side,
            "classes": list(scenes.CLASSES),
            "photo": url(scene.image),
            "ground": url(draw.grey(scene.image)[..., 0], None),
            "label": runs(scene.label),
            "owner": runs(scene.owner + 1),
            "shapes": [[s.place, s.label, s.radius, list(s.unit)] for s in self._shapes],
            "step": self._scores.step,
            "lows": lows.tolist(),
            "codes": text(packed(codes - lows[:, None, None, None])),
        }

    def _best(self) -> tuple[int, int]:
        """The position of the smallest shape whose class the whole pyramid says there."""
        total = self._scores.codes.sum(0)
        for shape in self._shapes:
            i, j = shape.unit
            true = self._scene.label[i * self._factor, j * self._factor]
            if total[:, i, j].argmax() == shape.label == true:
                return i, j
        return (self._side // 2,) * 2

    def taps(self) -> list[draw.Branch]:
        """What the branches that are on read from the position, in pixels."""
        branches = []
        for rate, lights in zip(self.rates, self.on, strict=True):
            rows, columns = (aspp.taps(at, rate, self._side) for at in self.unit)
            if lights:
                step = float(self._factor)
                places = [(y * step, x * step) for y in rows for x in columns]
                branches.append(draw.Branch(str(rate), places))
        return branches


def packed(values: np.ndarray) -> bytes:
    """Whole numbers below 2 ** aspp.BITS, one after the other, the lowest bits first."""
    bits = (values.reshape(-1, 1) >> np.arange(aspp.BITS)) & 1
    return np.packbits(bits.astype(bool), bitorder="little").tobytes()


def picture(explorer: ASPPExplorer) -> np.ndarray:
    """The explorer's state as a picture, uint8 (H, W, 3): scene, truth, sum, and each branch."""
    image, label = explorer._scene.image, explorer._scene.label
    together, grey = explorer.result.labels, draw.grey(explorer._scene.image)
    palette, factor = draw.SCENE_PALETTE, explorer._factor
    y, x = (at * factor for at in explorer.unit)

    def labelled(labels: np.ndarray) -> np.ndarray:
        return draw.overlay(grey, labels, 0.75, palette)

    fig = figure(8.8, 6.1)
    top, bottom = fig.subfigures(2, 1, height_ratios=(1.62, 1))
    left, middle, right = top.subplots(1, 3)
    draw.pyramid_taps(image, (y, x), explorer.taps(), left, title="image: what the taps read")
    draw.show(labelled(label), middle, title="truth")
    lit = sum(explorer.on)
    name = "all branches" if lit == len(explorer.on) else f"{lit} of {len(explorer.on)} branches"
    if explorer.view == "errors":
        draw.show(draw.errors(image, together, label), right, title=f"errors of {name}")
    else:
        draw.show(labelled(together), right, title=f"sum of {name}")
    scores = explorer._scores.codes
    for n, ax in enumerate(bottom.subplots(1, max(4, len(scores)), squeeze=False)[0]):
        if n >= len(scores):
            ax.set_axis_off()
            continue
        draw.show(labelled(aspp.labels_of(scores[[n]], factor)), ax)
        on = "" if explorer.on[n] else ", off"
        ax.set_title(f"branch {n + 1}, rate {explorer.rates[n]}{on}", color="#999" if on else "k")
        if on:
            ax.images[0].set_alpha(0.35)
    for ax in [*top.axes, *bottom.axes]:
        ax.title.set_fontsize(9.5)
        if ax is not left and ax.images:
            ax.plot(x, y, "+", color="black", ms=11, mew=3)
            ax.plot(x, y, "+", color="white", ms=10, mew=1.4)
    headline(fig, explorer.alt(), 9)
    alone = [aspp.labels_of(branch[None], factor) for branch in scores]
    errors = explorer.view == "errors"
    rows = legend(explorer, np.stack([together, *alone]))
    draw.legend(fig, rows, 3 if errors else 8, 8.5)
    return draw.pixels(fig)


def legend(explorer: ASPPExplorer, labels: np.ndarray) -> list[draw.LegendRow]:
    """Names and colours of the classes there or predicted, or of the kinds of errors."""
    if explorer.view == "errors":
        return draw.kind_rows(draw.ERRORS)
    present = np.setdiff1d(np.union1d(labels, explorer._scene.label), [0, IGNORE])
    return [(scenes.CLASSES[k], draw.SCENE_PALETTE[k]) for k in present]
