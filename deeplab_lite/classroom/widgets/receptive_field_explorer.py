"""Receptive-field explorer: point at a unit of a 1-D stack, its cone lights up. Lessons 01, 02."""

from collections.abc import Iterable
from typing import Any

import anywidget
import numpy as np
import traitlets

from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets._twin import Twin, figure, headline, script, sheet
from deeplab_lite.receptive_field import trace

LIMITS = {"kernel": (1, 7), "stride": (1, 3), "dilation": (1, 6), "padding": (0, 18)}
STRIDED, DILATED = "strided", "dilated, same weights"
DEFAULTS = {"kernel": 3, "stride": 1, "dilation": 1, "padding": 0}


class ReceptiveFieldExplorer(Twin, anywidget.AnyWidget):
    """Up to six 1-D layers over an input of `n` pixels, drawn as rows of units.

    `layers` are dicts (kernel, stride, dilation, padding: "none", "same" or a number), or tuples
    (kernel, stride=1, padding=0, dilation=1) as in `receptive_field.chain`. `unit` of layer `level`
    (0 is the input) is the one whose cone is lit; None means the middle one, and the last layer.
    With `dense` the same stack is drawn again below, its strides traded for dilation; `unit` is
    then a position of the dense map, and the last layer is shown. All five are traits: read them,
    or set them from another cell. Raises ValueError for a layer out of bounds.
    """

    _esm = script("receptive_field_explorer")
    _css = sheet("receptive_field_explorer")
    layers = traitlets.List(traitlets.Dict()).tag(sync=True)
    n = traitlets.Int(25).tag(sync=True)
    unit = traitlets.Int(None, allow_none=True).tag(sync=True)
    level = traitlets.Int(None, allow_none=True).tag(sync=True)
    dense = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        layers: Iterable[Any] = ((3,), (3,), (3,)),
        n: int = 25,
        unit: int | None = None,
        level: int | None = None,
        dense: bool = False,
        **options: Any,
    ):
        table = [layer_dict(layer, at) for at, layer in enumerate(layers, 1)]
        super().__init__(layers=table, n=n, unit=unit, level=level, dense=dense, **options)

    @traitlets.validate("layers")
    def _check_layers(self, proposal: Any) -> list[dict[str, Any]]:
        table = [layer_dict(layer, at) for at, layer in enumerate(proposal["value"], 1)]
        if not 1 <= len(table) <= 6:
            raise ValueError(f"{len(table)} layers: the explorer draws 1 to 6")
        return table

    @traitlets.validate("n")
    def _check_n(self, proposal: Any) -> int:
        if not 1 <= proposal["value"] <= 64:
            raise ValueError(f"n {proposal['value']}: the explorer draws inputs of 1 to 64 pixels")
        return proposal["value"]

    def picture(self) -> np.ndarray:
        if self.dense:
            return dense_picture(self.layers, self.n, self.unit)
        return picture(self.layers, self.n, self.unit, self.level)

    def alt(self) -> str:
        if self.dense:
            return dense_title(self.layers, self.n, self.unit)
        return title(self.layers, self.n, self.unit, self.level)


def layer_dict(layer: Any, at: int = 1) -> dict[str, Any]:
    """A checked layer: from a tuple in the order of `chain`, or from a dict with keys left out."""
    if not isinstance(layer, dict):
        layer = dict(zip(("kernel", "stride", "padding", "dilation"), layer, strict=False))
    if unknown := layer.keys() - DEFAULTS.keys():
        raise ValueError(f"layer {at}: {unknown.pop()!r} is none of {', '.join(DEFAULTS)}")
    layer = {**DEFAULTS, **layer}
    if layer["padding"] == "none":
        layer["padding"] = 0
    for name, (low, high) in LIMITS.items():
        value = layer[name]
        if name == "padding" and value == "same":
            continue
        if not isinstance(value, int) or not low <= value <= high:
            also = ", or 'none' or 'same'" if name == "padding" else ""
            raise ValueError(f"layer {at}: {name} {value!r} is not in {low}..{high}{also}")
    return layer


def _rows(layers: Iterable[dict[str, Any]]) -> list[tuple]:
    return [(x["kernel"], x["stride"], x["padding"], x["dilation"]) for x in layers]


def settle(layers: list[dict], n: int, unit: int | None, level: int | None) -> tuple[int, int]:
    """The level and unit that are shown: None is the top and the middle; no level without units."""
    sizes = trace(_rows(layers), n, level=0).sizes
    at = len(layers) if level is None else max(0, min(level, len(layers)))
    while not sizes[at]:
        at -= 1
    return at, max(0, min(sizes[at] // 2 if unit is None else unit, sizes[at] - 1))


def title(layers: list[dict], n: int, unit: int | None, level: int | None) -> str:
    """The unit that is shown, its field and how many pixels of it are read."""
    at, u = settle(layers, n, unit, level)
    cone = trace(_rows(layers), n, u, at)
    low, high = cone.spans[0]
    name = f"unit {u} of layer {at}" if at else f"pixel {u} of the input"
    return (
        f"Receptive field of {name}: {high - low + 1} pixels, {low} to {high}, "
        f"{np.count_nonzero(cone.counts[0])} read"
    ).replace("-", "−")


def picture(layers: list[dict], n: int, unit: int | None, level: int | None) -> np.ndarray:
    """The explorer's state as a picture, uint8 (H, W, 3)."""
    at, u = settle(layers, n, unit, level)
    fig = figure(7.6, 1.9 + 0.5 * len(layers))
    _draw(layers, n, at, u, fig.add_subplot())
    headline(fig, title(layers, n, u, at), 10.5)
    return draw.pixels(fig)


def _draw(layers: list[dict], n: int, at: int, unit: int, ax: Any) -> None:
    """The cone of a unit, and at the right of each row its layer, its units and its field."""
    rows = _rows(layers)
    draw.cone(rows, n, unit, at, ax=ax)
    stack = trace(rows, n, level=0)
    for depth, (size, field) in enumerate(zip(stack.sizes, stack.fields, strict=True)):
        name = f"input: {n} pixels"
        if depth:
            look = layers[depth - 1]
            dilation = f" d{look['dilation']}" if look["dilation"] > 1 else ""
            name = (
                f"k{look['kernel']} s{look['stride']}{dilation}: {size} units, field {field.size}"
            )
        ax.text(
            1.01, depth, name, transform=ax.get_yaxis_transform(), va="center", fontsize=9,
            color=draw.COLORS["blue"] if depth == at else "#374151",
        )  # fmt: skip


# ---- Strided against dilated ---------------------------------------------------------------------


def traded(layers: list[dict]) -> list[dict]:
    """The stack at stride 1: each stride it loses dilates and pads all that follow.

    An even kernel with padding "same" loses the odd zero at its right.
    """
    lost, table = 1, []
    for layer in layers:
        reach = layer["dilation"] * (layer["kernel"] - 1)
        padding = reach // 2 if layer["padding"] == "same" else layer["padding"]
        dilated = {"stride": 1, "dilation": lost * layer["dilation"], "padding": lost * padding}
        table.append({**layer, **dilated})
        lost *= layer["stride"]
    return table


def settle_dense(layers: list[dict], n: int, unit: int | None) -> tuple[int, int, int | None]:
    """Level, position on the dense map, and the strided stack's unit there; None if it has none."""
    at, u = settle(traded(layers), n, unit, None)
    stack = trace(_rows(layers), n, level=0)
    stride = stack.fields[at].stride
    return at, u, u // stride if u % stride == 0 and u // stride < stack.sizes[at] else None


def dense_title(layers: list[dict], n: int, unit: int | None) -> str:
    """Whether both stacks have a unit at the position, and how wide its field is."""
    at, u, own = settle_dense(layers, n, unit)
    field = trace(_rows(layers), n, level=0).fields[at].size
    who = "only the dilated stack has" if own is None else "both stacks have"
    return f"Position {u}: {who} a unit here, with a field of {field} pixels"


def dense_picture(layers: list[dict], n: int, unit: int | None) -> np.ndarray:
    """Both stacks as a picture, uint8 (H, W, 3): strided above, dilated below."""
    at, u, own = settle_dense(layers, n, unit)
    field = trace(_rows(traded(layers)), n, level=0).fields[at]
    pixel = min(max(u - field.padding + (field.size - 1) // 2, 0), n - 1)
    fig = figure(7.6, 2 * (1.9 + 0.5 * len(layers)))
    above, below = fig.subplots(2, 1)
    _draw(layers, n, *((0, pixel) if own is None else (at, own)), above)
    _draw(traded(layers), n, at, u, below)
    above.set_title(STRIDED, loc="left", fontsize=10.5)
    below.set_title(DILATED, loc="left", fontsize=10.5)
    limits = np.array([above.get_xlim(), below.get_xlim()])
    for ax in (above, below):  # a pixel stands under itself
        ax.set_xlim(limits[:, 0].min(), limits[:, 1].max())
    headline(fig, dense_title(layers, n, unit), 10.5)
    return draw.pixels(fig)
