"""Field-on-photo explorer: what a unit of a real network sees of a real photograph. Lesson 01."""

import base64
import difflib
import io
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import anywidget
import numpy as np
import torch
import torchvision
import traitlets
from PIL import Image
from torch import nn

from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets._twin import Twin, figure, headline, script, sheet
from deeplab_lite.photos import photo as load_photo
from deeplab_lite.receptive_field import receptive_fields

NETWORKS = ("alexnet", "vgg16", "resnet18", "resnet50", "mobilenet_v2")
# The layers worth a stop: blocks rather than the convolutions inside them.
STOPS = {
    "alexnet|vgg|mobilenet": r"features\.\d+",
    "resne|wide_resnet": r"conv1|maxpool|layer\d\.\d+",
    "densenet": r"features\.(conv0|pool0|denseblock\d|transition\d)",
}
PREVIEW = 360  # pixels: the longer side of the photograph that the widget carries

Field = list[Any]  # name, kind, size, stride, padding, map; the last four (vertical, horizontal)


class FieldOnPhoto(Twin, anywidget.AnyWidget):
    """Point at a photograph: the receptive field of that unit of a layer, padding included.

    `image` is uint8 (H, W, 3), default the astronaut: the networks' input, of which the widget
    carries a preview. `networks` are torchvision names, or a dict of your own modules. `network`,
    `layer` and `unit` (i, j) are traits. Fields are exact (`receptive_fields`, lesson 01) and
    computed once, so the widget needs no kernel. Raises ValueError for what is no image, and for
    unknown networks and layers.
    """

    _esm = script("field_on_photo")
    _css = sheet("field_on_photo")
    photo = traitlets.Unicode().tag(sync=True)  # a data URL
    size = traitlets.List(traitlets.Int()).tag(sync=True)  # height, width of the network's input
    fields = traitlets.Dict().tag(sync=True)  # network -> list of Field
    network = traitlets.Unicode().tag(sync=True)
    layer = traitlets.Unicode().tag(sync=True)
    unit = traitlets.List(traitlets.Int(), None, allow_none=True).tag(sync=True)
    colors = 192

    def __init__(
        self,
        image: np.ndarray | None = None,
        networks: Sequence[str] | Mapping[str, nn.Module] = NETWORKS,
        network: str | None = None,
        layer: str | None = None,
        unit: Sequence[int] | None = None,
        **options: Any,
    ):
        image = draw.checked(load_photo("astronaut") if image is None else image)
        height, width = image.shape[:2]
        fields = {name: _table(name, networks, (height, width)) for name in networks}
        if not fields:
            raise ValueError("no networks: expected torchvision names, or a dict of modules")
        network = network or ("vgg16" if "vgg16" in fields else next(iter(fields)))
        _known(network, fields, "network")
        layers = [field[0] for field in fields[network]]
        _known(layer or layers[-1], layers, f"layer of {network}")
        super().__init__(
            photo=preview(image),
            size=[height, width],
            fields=fields,
            network=network,
            layer=layer or layers[-1],
            unit=None if unit is None else list(unit),
            **options,
        )

    def shown(self) -> tuple[Field, list[int]]:
        """The field and the unit that are drawn; None means the middle one."""
        field = next((f for f in self.fields[self.network] if f[0] == self.layer), None)
        field = field or self.fields[self.network][-1]
        unit = self.unit or [n // 2 for n in field[5]]
        return field, [max(0, min(u, n - 1)) for u, n in zip(unit, field[5], strict=True)]

    def picture(self) -> np.ndarray:
        return picture(self.photo, self.size, self.network, *self.shown())

    def alt(self) -> str:
        return title(self.network, *self.shown())


def preview(image: np.ndarray) -> str:
    """A JPEG of at most 360 pixels a side, as a data URL of some 25 KB."""
    small = Image.fromarray(image)
    small.thumbnail((PREVIEW, PREVIEW), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=72)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _known(name: str, names: Any, what: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or list(names)[:3]
        raise ValueError(f"no {what} is called {name!r}: did you mean {' or '.join(near)}?")


def _table(name: str, networks: Any, size: tuple[int, int]) -> list[Field]:
    if isinstance(networks, Mapping):
        return fields_of(networks[name], size)
    return _fields_by_name(name, size)


@lru_cache(maxsize=64)
def _fields_by_name(name: str, size: tuple[int, int]) -> list[Field]:
    _known(name, torchvision.models.list_models(module=torchvision.models), "torchvision network")
    with torch.device("meta"):  # no weights are needed, so none are drawn
        model = torchvision.models.get_model(name, weights=None).eval()
    stops = next((stop for key, stop in STOPS.items() if re.match(key, name)), ".*")
    return fields_of(model, size, stops)


def fields_of(model: nn.Module, size: tuple[int, int], stops: str = ".*") -> list[Field]:
    """Rows for the widget: layers with one field for all units, each that looks further or coarser.

    `stops` is a regular expression for the names of the layers to list.
    """
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    rows: list[Field] = []
    for name, field in receptive_fields(model, size).items():
        whole = all(stride.denominator == 1 for stride in field.stride)
        if not re.fullmatch(stops, name) or not name or field.is_global or not field.is_uniform:
            continue
        stride = [int(step) for step in field.stride]
        row = [list(field.size), stride, list(field.padding), list(field.map_size)]
        if whole and (not rows or row != rows[-1][2:]):
            rows.append([name, kinds.get(name, ""), *row])
    if not rows:
        raise ValueError("no layer of this network has one receptive field for all of its units")
    return rows


def region(field: Field, unit: Sequence[int]) -> list[list[int]]:
    """The pixels that a unit sees, padding counted: [[top, bottom], [left, right]]."""
    _, _, size, stride, padding, _ = field
    lows = [u * s - p for u, s, p in zip(unit, stride, padding, strict=True)]
    return [[low, low + n - 1] for low, n in zip(lows, size, strict=True)]


def title(network: str, field: Field, unit: Sequence[int]) -> str:
    """The unit, and the size and place of its field."""
    rows, columns = (f"{low} to {high}".replace("-", "−") for low, high in region(field, unit))
    return (
        f"Unit ({', '.join(map(str, unit))}) of {network}, {field[0]}: field "
        f"{'×'.join(map(str, field[2]))} pixels, rows {rows}, columns {columns}"
    )


def picture(
    photo: str, size: Sequence[int], network: str, field: Field, unit: Sequence[int]
) -> np.ndarray:
    """The explorer's state as a picture, uint8 (H, W, 3): the field and what is in it."""
    data = io.BytesIO(base64.b64decode(photo.partition(",")[2]))
    image = np.asarray(Image.open(data).convert("RGB").resize((size[1], size[0])))
    bounds = region(field, unit)
    reach = [
        max(pad, (count - 1) * step - pad + wide - n, 0)
        for wide, step, pad, count, n in zip(*field[2:], size, strict=True)
    ]
    fig = figure(7.2, 4.1)
    left, right = fig.subplots(1, 2, width_ratios=(2.1, 1))
    draw.show(image, left, margin=max(*reach, 0.03 * max(size)))
    draw.box(bounds, left, label="×".join(map(str, field[2])))
    (top, bottom), (first, last) = bounds
    left.plot((first + last) / 2, (top + bottom) / 2, "o", color=draw.COLORS["blue"], mec="white")
    draw.show(image, right, title="all that it sees", margin=max(*reach, 1))
    right.set(xlim=(first - 0.5, last + 0.5), ylim=(bottom + 0.5, top - 0.5))
    _, _, _, (_, stride), (_, padding), _ = field
    note = f"stride {stride}\npadding {padding}"
    right.set_xlabel(f"{network}\n{field[0]}\n{note}", fontsize=10)
    headline(fig, title(network, field, unit), 9.5)
    return draw.pixels(fig)
