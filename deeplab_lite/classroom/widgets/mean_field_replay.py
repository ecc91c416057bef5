"""Mean-field replay: every step of a CRF's inference on one image, forwards and back. Lesson 04."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets

from deeplab_lite.classroom import draw
from deeplab_lite.classroom.draw import crf_steps as pictures
from deeplab_lite.classroom.widgets._live import png_url, url
from deeplab_lite.classroom.widgets._twin import Twin, figure, headline, one_of, script, sheet
from deeplab_lite.classroom.widgets._unaries import of_arrays, of_scene
from deeplab_lite.classroom.widgets.mean_field_steps import (
    OF_A_CLASS,
    VIEWS,
    frames,
    numbers,
    table,
    tops,
)
from deeplab_lite.crf import Trace, dense_crf
from deeplab_lite.labels import IGNORE

SIDE = 160  # pixels of a frame, at most: of a larger image every second or third pixel is shown
MOST = 8  # classes that are named: those that most pixels have


class MeanFieldReplay(Twin, anywidget.AnyWidget):
    """Step through the mean-field inference of a dense CRF: labels, marginals, messages, energies.

    - `image` is uint8 (H, W, 3); `probs` are K x H x W probabilities, or a `Trace` of that image.
      Without them, scene `seed` and what v1-scenes says of it.
    - `label` (H, W), 255 where none is given, adds mIoU, and tells better changes from worse.
    - `classes` (names) and `palette` (K x 3) default to the scenes' if there are as many.
    - `step`, `view` (one of VIEWS) and `class_name` are traits; `settings` go to `dense_crf`.

    All frames are drawn once, in Python, so the widget needs no kernel. Raises ValueError for what
    does not fit together, and as `dense_crf`.
    """

    _esm = script("mean_field_replay")
    _css = sheet("mean_field_replay")
    size = traitlets.List(traitlets.Int()).tag(sync=True)  # height, width of a frame
    photo = traitlets.Unicode().tag(sync=True)  # the image, a data URL, as are all pictures
    ground = traitlets.Unicode().tag(sync=True)  # the image in grey, which lies under the frames
    truth = traitlets.Unicode().tag(sync=True)  # empty where none is given
    sheets = traitlets.Dict().tag(sync=True)  # view, or view/class -> all steps below each other
    names: Any = traitlets.List().tag(sync=True)  # name and colour of the classes that are seen
    kinds: Any = traitlets.List().tag(sync=True)  # name, meaning and colour of changes
    ramp: Any = traitlets.List().tag(sync=True)  # colours from 0 to 1, or to the message's top
    tops: Any = traitlets.Dict().tag(sync=True)  # what the last colour means for each message
    numbers = traitlets.Dict().tag(sync=True)
    curves = traitlets.Dict().tag(sync=True)  # energies of each step, from their start
    settings = traitlets.Unicode().tag(sync=True)
    step = traitlets.Int().tag(sync=True)
    view = traitlets.Unicode().tag(sync=True)
    class_name = traitlets.Unicode().tag(sync=True)
    show_truth = traitlets.Bool(False).tag(sync=True)
    colors = 128

    def __init__(
        self,
        image: Any = None,
        probs: Any = None,
        *,
        label: Any = None,
        classes: Sequence[str] | None = None,
        palette: np.ndarray | None = None,
        seed: int = 7,
        step: int = 1,
        view: str = "labels",
        class_name: str | None = None,
        **settings: Any,
    ):
        trace = probs if isinstance(probs, Trace) else None
        if trace and settings:
            raise ValueError(f"{', '.join(settings)}: this trace was made with settings of its own")
        first = trace.marginals[0] if trace else probs
        start = of_arrays(image, first, label, classes, palette) or of_scene(seed)
        self._start = start
        self._trace = trace or dense_crf(start.probs, start.image, trace=True, **settings)
        labels = self._trace.marginals.detach().cpu().numpy().argmax(1)
        shown = _most(labels, start.label)
        # Of two classes the second will do: the other's probability is the rest.
        chosen = shown if len(start.classes) > 2 else [len(start.classes) - 1]
        names = [start.classes[k] for k in chosen]
        rows = draw.class_rows(start.classes, start.palette, shown)
        self._frames = frames(
            self._trace, labels, start.label, dict(zip(chosen, names, strict=True))
        )
        self._thin = -(-max(labels.shape[1:]) // SIDE)
        super().__init__(
            **self._drawn(),
            names=[[name, draw.hex_color(color)] for name, color in rows],
            kinds=draw.kinds(draw.CHANGES),
            ramp=[draw.hex_color(color) for color in _over_grey(pictures.heat_table())[::3]],
            tops=tops(self._trace),
            numbers=numbers(labels, self._trace.energies["free"].tolist(), start.label),
            curves={
                name: [round(value, 1) for value in values.tolist()]
                for name, values in pictures.energy_curves(self._trace.energies).items()
            },
            settings="" if trace else _settings(settings),
            step=step,
            view=view,
            class_name=class_name or names[min(1, len(names) - 1)],
        )

    @traitlets.validate("step")
    def _check_step(self, proposal: Any) -> int:
        last = len(self._trace.marginals) - 1
        if not 0 <= proposal["value"] <= last:
            raise ValueError(f"step {proposal['value']}: this inference has steps 0 to {last}")
        return proposal["value"]

    @traitlets.validate("view")
    def _check_view(self, proposal: Any) -> str:
        return one_of("view", proposal["value"], VIEWS)

    @traitlets.validate("class_name")
    def _check_class(self, proposal: Any) -> str:
        known = [key.partition("/")[2] for key in self._frames if key.startswith("marginal/")]
        if proposal["value"] not in known:
            raise ValueError(
                f"class_name {proposal['value']!r}: expected one of {', '.join(known)}, which are "
                "the classes of this image"
            )
        return proposal["value"]

    def shown(self) -> np.ndarray:
        """The frame of the present state, uint8 (H, W, 3)."""
        key = f"{self.view}/{self.class_name}" if self.view in OF_A_CLASS else self.view
        colors = table(self.view, self._start.palette)
        return pictures.tint(self._start.image, self._frames[key][self.step], colors)

    def picture(self) -> np.ndarray:
        return picture(self)

    def alt(self) -> str:
        name = f" of “{self.class_name}”" if self.view in OF_A_CLASS else ""
        numbers, step = self.numbers, self.step
        text = (
            f"Mean field, {VIEWS[self.view]}{name}, step {step} of {len(numbers['free']) - 1}: "
            f"{int(numbers['changed'][step]):,} pixels changed, free energy "
            f"{numbers['free'][step]:,.0f} nats"
        ).replace("-", "−")
        return f"{text}, mIoU {numbers['miou'][step]:.3f}" if numbers["miou"] else text

    def _drawn(self) -> dict[str, Any]:
        """The traits that are pictures."""
        thin = slice(None, None, self._thin)
        image, label, palette = (
            self._start.image[thin, thin],
            self._start.label,
            self._start.palette,
        )
        truth = ""
        if label is not None:
            painted = draw.overlay(draw.grey(image), label[thin, thin], 0.6, palette)
            truth = url(painted)
        return {
            "size": list(image.shape[:2]),
            "photo": url(image),
            "ground": url(draw.grey(image)[..., 0], None),
            "truth": truth,
            "sheets": {
                key: png_url(
                    pictures.sheet(index[:, thin, thin], table(key.partition("/")[0], palette))
                )
                for key, index in self._frames.items()
            },
        }


def picture(replay: MeanFieldReplay) -> np.ndarray:
    """The replay's state as a picture, uint8 (H, W, 3): image, frame, energies."""
    height = 2.7 * replay.size[0] / replay.size[1]
    fig = figure(8.6, max(2.0, height) + 0.75)
    fig.get_layout_engine().set(wspace=0, w_pad=0.03)
    left, middle, right = fig.subplots(1, 3, width_ratios=(1.25, 1.25, 1))
    draw.show(replay._start.image, left, title="image")
    name = f": {replay.class_name}" if replay.view in OF_A_CLASS else ""
    draw.show(replay.shown(), middle, title=VIEWS[replay.view] + name)
    draw.energy_chart(replay._trace.energies, replay.step, right)
    right.set_title("energies")
    for ax in (left, middle, right):
        ax.title.set_fontsize(10)
    headline(fig, replay.alt())
    draw.legend(fig, legend(replay), MOST)  # in one line, in the order of the classes
    return draw.pixels(fig)


def legend(replay: MeanFieldReplay) -> list[draw.LegendRow]:
    """Names and colours of what the frame shows; a heat map's are those of its ends."""
    if replay.view == "labels":
        return [(name, color) for name, color in replay.names]
    if replay.view == "changes":
        known = replay._start.label is not None
        return [(name, color) for name, _, color in replay.kinds[0 if known else 3 :]]
    top = f"{replay.tops.get(replay.view, 1):g}"
    return [(f"{VIEWS[replay.view]} 0", replay.ramp[0]), (top, replay.ramp[-1])]


# ---- Parts ---------------------------------------------------------------------------------------


def _most(labels: np.ndarray, label: np.ndarray | None) -> list[int]:
    """The classes to name, in their order: at most MOST, those of the most pixels."""
    seen = [labels.ravel()] if label is None else [labels.ravel(), label[label != IGNORE]]
    counts = np.bincount(np.concatenate(seen))
    return sorted(np.argsort(-counts, kind="stable")[: min(MOST, (counts > 0).sum())].tolist())


def _over_grey(table: np.ndarray) -> np.ndarray:
    share = table[:, 3:] / 255
    return np.rint(share * table[:, :3] + (1 - share) * 150).astype(np.uint8)


def _settings(chosen: Mapping[str, Any]) -> str:
    """The CRF's parameters in force, as text."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(dense_crf).parameters.items()
        if isinstance(parameter.default, float)
    }
    values = {name: chosen.get(name, value) for name, value in defaults.items()}
    return ", ".join(f"{name} {float(value):g}" for name, value in values.items())
