"""Output-stride lab: a trained classifier at three densities on a photograph. Lesson 02."""

import html
from functools import cache, lru_cache
from typing import Any, NamedTuple

import ipywidgets
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deeplab_lite import photos
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets._asked import Asked
from deeplab_lite.classroom.widgets._twin import Twin, figure, headline

STRIDES = (32, 16, 8)
# Classes with something to see: the object, its parts, and what the classifier takes for another.
SUGGESTED = {
    "astronaut": ("space shuttle", "helmet", "wig", "wine bottle"),
    "chelsea": ("cat", "Egyptian cat", "tiger cat", "bow tie"),
    "coffee": ("coffee", "espresso", "ladle"),
    "motorcycle": ("motorbike", "disk brake", "crate"),
}
COLUMNS = ("output stride", "map", "multiply-adds", "activations")


class Cost(NamedTuple):
    """multiply_adds of all convolutions; activations: bytes of all their outputs, in float32."""

    multiply_adds: int
    activations: int


@cache
def dense_cost(size: tuple[int, int], output_stride: int = 32) -> Cost:
    """What the dense classifier costs for an image of sides (H, W) of the form 32 k + 1.

    Training keeps all activations, so its memory grows with them. Lesson 02, section 4.
    """
    network = photos.dense_classifier(output_stride).to("meta")
    sizes: list[int] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda *args: sizes.append(4 * args[2].numel()))
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, *size, device="meta"))
    return Cost(counter.get_total_flops() // 2, sum(sizes))


class State(NamedTuple):
    """What is shown."""

    photo: str
    class_name: str
    output_stride: int = 32
    alpha: float = 0.85  # strength of the overlay
    smooth: bool = False  # bilinear between positions, rather than a cell for each
    stretch: bool = False  # colours up to the highest probability found, rather than up to 1


# ---- Numbers and pictures ------------------------------------------------------------------------


def cropped(photo: str) -> np.ndarray:
    """The photograph without its last rows and columns, so that both sides are 32 k + 1.

    Positions then begin on its first pixel and end on its last, at every output stride.
    """
    image = photos.photo(photo)
    height, width = (n - (n - 1) % 32 for n in image.shape[:2])
    return image[:height, :width]


@lru_cache(maxsize=6)  # up to 25 MB each
def _probabilities(photo: str, output_stride: int) -> Tensor:
    return photos.dense_probabilities(cropped(photo), output_stride)


def _found(state: State) -> tuple[Tensor, list[int]]:
    """All probabilities (1000, h, w), and the indices whose sum is shown."""
    [index] = photos.class_indices([state.class_name])
    return _probabilities(state.photo, state.output_stride), index


def _top(state: State) -> float:
    """The probability that gets the brightest colour."""
    probabilities, index = _found(state)
    return float(probabilities[index].sum(0).max()) if state.stretch else 1.0


def frame(state: State) -> np.ndarray:
    """The photograph under the map, uint8 (H, W, 3): each pixel shows the nearest position.

    Raises ValueError for an unknown photograph, class or output stride.
    """
    image, step = cropped(state.photo), state.output_stride
    probabilities, index = _found(state)
    values = probabilities[index].sum(0)
    if state.smooth:
        values = photos.upsample(values[None], image.shape[:2], step)[0]
    else:
        rows, columns = ((np.arange(n) + step // 2) // step for n in image.shape[:2])
        values = values[rows][:, columns]
    return draw.heat(image, values.numpy(), state.alpha, 0, _top(state))


def costs(photo: str) -> list[tuple[str, str, str, str]]:
    """A row for each output stride, in the order of COLUMNS; times are those of stride 32."""
    size = cropped(photo).shape[:2]
    base, rows = dense_cost(size, 32), []
    for stride in STRIDES:
        cost = dense_cost(size, stride)
        height, width = ((n - 1) // stride + 1 for n in size)
        adds, memory = (f"{a / b:.1f}" for a, b in zip(cost, base, strict=True))
        rows.append(
            (
                str(stride),
                f"{height} × {width}",
                f"{cost.multiply_adds / 1e9:.1f} G ({adds}×)",
                f"{cost.activations / 1e6:.0f} MB ({memory}×)",
            )
        )
    return rows


def describe(state: State) -> str:
    """What the map says, in a sentence."""
    return _sentence(State(*state[:3]))


@lru_cache(maxsize=64)
def _sentence(state: State) -> str:
    probabilities, index = _found(state)
    wins = int(np.isin(probabilities.argmax(0).numpy(), index).sum())
    return (
        f"At output stride {state.output_stride}, “{state.class_name}” is the likeliest of 1000 "
        f"classes at {wins:,} of {probabilities[0].numel():,} positions; "
        f"its probability reaches {float(probabilities[index].sum(0).max()):.2f}."
    )


def picture(state: State) -> np.ndarray:
    """The lab's state as a picture, uint8 (H, W, 3): the photograph, the scale, the costs."""
    image, top = frame(state), _top(state)
    height = 5.6 * image.shape[0] / image.shape[1]
    fig = figure(5.6, height + 1.9)
    above, scale, below = fig.subplots(3, 1, height_ratios=(height, 0.12, 0.95))
    draw.show(image, above)
    scale.imshow(draw.scale(state.alpha), aspect="auto", extent=(0, 1, 0, 1))
    ticks = [f"{share * top:.2g}" for share in (0, 0.5, 1)]
    scale.set(yticks=[], xlabel=f"probability of “{state.class_name}”")
    scale.set_xticks([0, 0.5, 1], ticks)
    below.axis("off")
    table = below.table(costs(state.photo), colLabels=COLUMNS, loc="center", cellLoc="center")
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (row, _), cell in table.get_celld().items():
        cell.set(edgecolor="#C9CDD2", linewidth=0.6, height=0.25)
        if row == STRIDES.index(state.output_stride) + 1:
            cell.set_facecolor("#D6ECF9")
    headline(fig, describe(state), 9.5)
    return draw.pixels(fig)


# ---- The widget ----------------------------------------------------------------------------------


class OutputStrideLab(Asked, Twin, ipywidgets.VBox):
    """Choose a photograph, a class and an output stride: where the classifier sees that class.

    All strides have the same weights (`photos.dense_classifier`). A map is computed once; class and
    overlay then change at once. Arguments as in `State`; class_name may be any that
    `photos.dense_class_map` knows. Raises ValueError for others, and for an unknown photograph or
    output stride; what is mistyped in the widget is answered in the widget.
    """

    colors = 64

    def __init__(
        self,
        photo: str = "chelsea",
        class_name: str | None = None,
        output_stride: int = 32,
        alpha: float = State._field_defaults["alpha"],
        smooth: bool = False,
        stretch: bool = False,
    ):
        photos.photo(photo)
        words = SUGGESTED[photo]
        class_name = words[0] if class_name is None else class_name
        frame(State(photo, class_name, output_stride, alpha, smooth, stretch))
        wide = {"style": {"description_width": "80px"}, "layout": {"width": "310px"}}
        self.photo = ipywidgets.Dropdown(
            options=photos.photo_names(), value=photo, description="photograph", **wide
        )
        self.word = ipywidgets.Dropdown(options=words, description="class", **wide)
        self.other = ipywidgets.Combobox(
            options=photos.imagenet_classes(),
            placeholder="any of ImageNet's 1000",
            description="or",
            continuous_update=False,
            **wide,
        )
        if class_name in words:
            self.word.value = class_name
        else:
            self.other.value = class_name
        self.stride = ipywidgets.ToggleButtons(
            options=[(str(stride), stride) for stride in STRIDES],
            value=output_stride,
            tooltips=[f"output stride {stride}" for stride in STRIDES],
            style={"button_width": "64px"},
        )
        self.alpha = ipywidgets.FloatSlider(
            value=alpha, min=0, max=1, step=0.05, description="overlay", **wide
        )
        self.smooth = ipywidgets.Checkbox(value=smooth, description="bilinear", indent=False)
        self.stretch = ipywidgets.Checkbox(
            value=stretch, description="stretch colours to the highest", indent=False
        )
        self.image = ipywidgets.Image(format="png", layout={"width": "640px", "max_width": "100%"})
        self.note = ipywidgets.HTML()
        self.smooth.layout.width = self.stretch.layout.width = "auto"
        stride = ipywidgets.Label("output stride", layout={"margin": "2px 4px 2px 12px"})
        rows = (
            (self.photo, stride, self.stride),
            (self.word, self.other),
            (self.alpha, self.smooth, self.stretch),
        )
        bars = [ipywidgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows]
        super().__init__([*bars, self.image, self.note])
        self._draw(colors=192)  # smaller, for this one is saved with the notebook
        self.photo.observe(self._take_words, "value")
        self.word.observe(self._drop_other, "value")
        self._watch(self.photo, self.word, self.other, self.stride)
        self._watch(self.alpha, self.smooth, self.stretch)

    @property
    def state(self) -> State:
        """What the controls say now."""
        word = self.other.value.strip() or self.word.value
        controls = (self.stride, self.alpha, self.smooth, self.stretch)
        return State(self.photo.value, word, *(control.value for control in controls))

    def picture(self) -> np.ndarray:
        return picture(self.state)

    def alt(self) -> str:
        return f"Photograph “{self.state.photo}”. {describe(self.state)}"

    def _take_words(self, change: Any) -> None:
        self.other.value = ""
        self.word.options = SUGGESTED[self.photo.value]

    def _drop_other(self, change: Any) -> None:
        self.other.value = ""

    def _wait(self, change: Any) -> None:
        self.note.value = self.note.value.replace("<p>", "<p>Computing … ", 1)

    def _show(self, colors: int | None) -> None:
        state = self.state
        self.image.value = draw.png(frame(state), colors=colors)
        self.note.value = self._text(state)

    def _text(self, state: State) -> str:
        rows = ""
        for number, cells in enumerate([COLUMNS, *costs(state.photo)]):
            here = number and STRIDES[number - 1] == state.output_stride
            tag = "th" if not number else "td"
            inner = "".join(f'<{tag} style="padding:1px 14px 1px 0">{c}</{tag}>' for c in cells)
            rows += f'<tr style="font-weight:{"bold" if here else "normal"}">{inner}</tr>'
        return (
            f"<p>{html.escape(describe(state))}</p>"
            f"{draw.scale_html('0', f'{_top(state):.2g}', state.alpha)}"
            f'<table style="text-align:left;line-height:1.5">{rows}</table>'
        )
