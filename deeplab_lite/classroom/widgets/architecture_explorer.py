"""Architecture explorer: VGG-16 becomes DeepLab v1, one change at a time. Lesson 03."""

from typing import Any

import anywidget
import numpy as np
import traitlets

from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets._twin import Twin, figure, headline, one_of, script, sheet
from deeplab_lite.classroom.widgets.architecture_steps import (
    FC6,
    POOLS,
    SIZES,
    State,
    layers,
    rows,
    summary,
    table,
)


def columns(state: State) -> list[draw.Column]:
    """The chain as it is drawn, with what VGG-16 had where that is something else."""
    plain = {
        row.layer.name: (row.size, row.field)
        for row in rows(State(state.input_size, True, False, False, "7x7", state.pools))
    }
    out = [draw.Column("image", "image", state.input_size, 1, 1, 0.2)]
    for row in rows(state):
        kind = {"max": "pool", "mean": "pool"}.get(row.layer.kind, row.layer.kind)
        kind = "dilated" if row.layer.dilation > 1 else kind
        width = min(0.95, max(0.15, (2 * np.log2(row.layer.leaving) - 5) / 20))
        out.append(
            draw.Column(
                row.layer.name, kind, row.size, row.stride, row.field, width,
                None if kind == "full" else plain.get(row.layer.name), row.spacing != row.trained,
            )
        )  # fmt: skip
    return out


def picture(state: State, chosen: str) -> np.ndarray:
    """The explorer's state as a picture, uint8 (H, W, 3): the chain, the sums, a title."""
    fig = figure(8.0, 4.6)
    ax = fig.add_subplot()
    draw.layer_chain(columns(state), chosen, ax)
    row = next((row for row in rows(state) if row.layer.name == chosen), None)
    if row is not None and row.size:
        inset = ax.inset_axes((0.6, 0.58, 0.26, 0.42))  # above the small maps
        taps: list[tuple[int, int, str | None]] = []
        taps += [(row.layer.kernel, row.trained, None)] if row.spacing != row.trained else []
        taps += [(row.layer.kernel, row.spacing, draw.COLORS["vermillion"])] if row.spacing else []
        first = row.size // 2 * row.stride - row.start
        grid = (row.field / 2 - row.start, row.stride, row.size)
        draw.unit_on_image(state.input_size, (first, row.field), grid, taps, inset)
    sums = "   ".join(f"{name} {value}" for value, name in summary(state))
    ax.set_title(sums, fontsize=9.5, loc="left", weight="bold")
    headline(fig, title(state, chosen), 9.5)
    return draw.pixels(fig)


def title(state: State, name: str) -> str:
    """The image's side, and a layer's map, field and taps."""
    text = f"VGG-16 to DeepLab v1, image {state.input_size} × {state.input_size}"
    row = next((row for row in rows(state) if row.layer.name == name), None)
    if row is None:
        return text
    size = f"map {row.size} × {row.size}" if row.size else "no output"
    text += f"; {name}: {size}, field {row.field} pixels"
    same = row.spacing == row.trained
    return text if same else f"{text}, taps {row.spacing} pixels apart, trained {row.trained} apart"


# ---- The widget ----------------------------------------------------------------------------------


class ArchitectureExplorer(Twin, anywidget.AnyWidget):
    """VGG-16 layer by layer, with the four changes of v1 on switches.

    Arguments are those of State, and the `layer` that is chosen: "image", "conv1_1", .. "fc8". All
    are traits. Raises ValueError for a value that there is not.
    """

    _esm = script("architecture_explorer")
    _css = sheet("architecture_explorer")
    table = traitlets.Dict().tag(sync=True)
    input_size = traitlets.Int(321).tag(sync=True)
    convolutional = traitlets.Bool(True).tag(sync=True)
    dense = traitlets.Bool(True).tag(sync=True)
    atrous = traitlets.Bool(True).tag(sync=True)
    fc6 = traitlets.Unicode("largefov").tag(sync=True)
    pools = traitlets.Unicode("caffe").tag(sync=True)
    layer = traitlets.Unicode("fc6").tag(sync=True)

    def __init__(
        self,
        input_size: int = 321,
        convolutional: bool = True,
        dense: bool = True,
        atrous: bool = True,
        fc6: str = "largefov",
        pools: str = "caffe",
        layer: str = "fc6",
        **options: Any,
    ):
        state = State(input_size, convolutional, dense, atrous, fc6, pools)
        super().__init__(table=table(), layer=layer, **state._asdict(), **options)

    @traitlets.validate("input_size", "fc6", "pools", "layer")
    def _check(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "input_size":
            if not SIZES[0] <= value <= SIZES[1]:
                raise ValueError(f"input_size {value}: expected {SIZES[0]} to {SIZES[1]} pixels")
            return value
        return one_of(name, value, {"fc6": FC6, "pools": POOLS, "layer": names()}[name])

    @property
    def state(self) -> State:
        return State(*(getattr(self, name) for name in State._fields))

    def shown(self) -> str:
        """The layer that is shown: pool5a is in LargeFOV alone, else it is pool5."""
        there = ["image", *(layer.name for layer in layers(self.state))]
        return self.layer if self.layer in there else "pool5"

    def picture(self) -> np.ndarray:
        return picture(self.state, self.shown())

    def alt(self) -> str:
        sums = "; ".join(f"{name} {value}" for value, name in summary(self.state))
        return f"{title(self.state, self.shown())}; {sums}"


def names() -> list[str]:
    """The layers that can be chosen."""
    return ["image", *(layer.name for layer in layers(State()))]
