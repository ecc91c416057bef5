"""VGG-16 on its way to DeepLab v1, as rows of numbers. Lesson 03.

What the explorer shows. Layers and counts are read off networks on the meta device once; its script
puts them together in the same way, and the tests compare both with the networks.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn

from deeplab_lite.models.base import set_dilation
from deeplab_lite.models.v1 import FORMS, DeepLabV1
from deeplab_lite.receptive_field import chain

FC6 = ("7x7", "4x4", "largefov")
POOLS = ("torchvision", "caffe", "notes")
SIZES = (32, 1025)


class Layer(NamedTuple):
    """A layer as the network has it; lengths in units of the map that it reads."""

    name: str
    kind: str  # "conv", "max", "mean"; "full" where the network is not convolutional
    kernel: int
    stride: int
    dilation: int
    before: int  # padding
    after: int
    ceil: bool  # whether a pool has a last output for a window that is not full
    entering: int  # channels
    leaving: int
    parameters: int


class State(NamedTuple):
    """An image's side and the changes made to VGG-16; `pools` is one of POOLS, fc6 one of FC6."""

    input_size: int = 321
    convolutional: bool = True  # fc6 to fc8
    dense: bool = True  # pool4 and pool5 at stride 1
    atrous: bool = True  # conv5 at dilation 2, fc6 at the dilation of its form
    fc6: str = "largefov"
    pools: str = "caffe"


class Row(NamedTuple):
    """What a layer gives: lengths along one axis."""

    layer: Layer
    size: int  # of its map; 0 if it does not fit
    stride: int  # pixels from one unit to the next
    field: int  # pixels that a unit sees
    start: int  # unit 0 begins this many pixels before the image
    spacing: int  # pixels from one tap of its kernel to the next, 0 for one tap
    trained: int  # the same where VGG-16's weights were trained
    multiply_adds: int


# ---- The numbers: all from networks on the meta device -------------------------------------------


def network(state: State) -> DeepLabV1:
    """The network of a state with 21 classes, on the meta device; fc6 to fc8 as convolutions."""
    rate = FORMS[state.fc6].rate if state.atrous else 1
    stride = 8 if state.dense else 32
    pool5a = FORMS[state.fc6].pool5a and state.pools == "caffe"  # it came with the released pools
    with torch.device("meta"):
        model = DeepLabV1(
            21, state.fc6, state.pools, output_stride=stride, rate=rate, pool5a=pool5a
        )
    for name, module in named_layers(model):
        if name.startswith("conv5") and isinstance(module, nn.Conv2d):
            set_dilation(module, 2 if state.atrous else 1)
    return model


def named_layers(model: DeepLabV1) -> Iterator[tuple[str, nn.Module]]:
    """The convolutions and pools of v1 in order, as conv1_1, pool1, .. fc8."""
    backbone = model.backbone
    for name, at in backbone.index.items():
        if name.startswith("relu"):
            yield name.replace("relu", "conv"), backbone.features[at - 1]
        else:
            yield name, backbone.features[at]
    for name, module in (*model.head.named_children(), ("fc8", model.fc8)):
        if name.startswith(("fc", "pool")):
            yield name, module


def _layer(name: str, module: Any, channels: int) -> Layer:
    """The row of a module that reads a map of so many channels."""
    kernel, stride, dilation = (
        value if isinstance(value, int) else value[0]
        for value in (module.kernel_size, module.stride, getattr(module, "dilation", 1))
    )
    if module.padding == "same":  # PyTorch pads the odd zero after
        reach = dilation * (kernel - 1)
        before, after = reach // 2, reach - reach // 2
    else:
        before = after = module.padding if isinstance(module.padding, int) else module.padding[0]
    kind = {nn.Conv2d: "conv", nn.MaxPool2d: "max", nn.AvgPool2d: "mean"}[type(module)]
    return Layer(
        name, kind, kernel, stride, dilation, before, after, getattr(module, "ceil_mode", False),
        channels, getattr(module, "out_channels", channels),
        sum(parameter.numel() for parameter in module.parameters()),
    )  # fmt: skip


@cache
def table() -> dict[str, Any]:
    """What all states are put together from, read off the networks: rows as lists, for JSON.

    {"convs": [undilated, dilated], "pools": {pools: [strided, dense]}, "heads": {fc6: [..]}}.
    """

    def parts(**state: Any) -> dict[str, list[list[Any]]]:
        out: dict[str, list[list[Any]]] = {"conv": [], "pool": [], "head": []}
        channels = 3
        for name, module in named_layers(network(State(**state))):
            row = _layer(name, module, channels)
            channels = row.leaving
            part = "head" if name.startswith("fc") or name == "pool5a" else name[:4]
            out[part].append(list(row))
        return out

    both = (False, True)
    return {
        "convs": [parts(atrous=atrous)["conv"] for atrous in both],
        "pools": {p: [parts(dense=dense, pools=p)["pool"] for dense in both] for p in POOLS},
        "heads": {f: [parts(atrous=atrous, fc6=f)["head"] for atrous in both] for f in FC6},
    }


def layers(state: State) -> list[Layer]:
    """The layers of a state, put together from the table."""
    parts = table()
    convs = parts["convs"][state.atrous]
    rows = []
    for pool in parts["pools"][state.pools][state.dense]:
        rows += [conv for conv in convs if conv[0][4] == pool[0][4]] + [pool]
    for row in parts["heads"][state.fc6][state.atrous]:
        layer = Layer(*row)
        if layer.name == "pool5a" and state.pools != "caffe":
            continue
        if layer.kind == "conv" and not state.convolutional:
            layer = layer._replace(kind="full", dilation=1, before=0, after=0)
        rows.append(layer)
    return [Layer(*row) for row in rows]


def size_after(layer: Layer, size: int) -> int:
    """Units of the map that a layer makes of one of `size` units; 0 if it does not fit."""
    if layer.kind == "full":
        return int(size == layer.kernel)
    room = size + layer.before + layer.after - layer.dilation * (layer.kernel - 1) - 1
    if not size or room < 0:
        return 0
    units = room // layer.stride + 1
    if layer.ceil and room % layer.stride and units * layer.stride < size + layer.before:
        units += 1
    return units


def rows(state: State) -> list[Row]:
    """What each layer gives, fields by the recurrence of lesson 01."""
    stack = layers(state)
    plain = layers(state._replace(dense=False, atrous=False, fc6="7x7"))
    strides = {
        layer.name: (1, *(field.stride for field in chain(_steps(plain))))[at]
        for at, layer in enumerate(plain)
    }
    taps = {layer.name: layer.kernel for layer in plain}
    size, stride, out = state.input_size, 1, []
    for layer, field in zip(stack, chain(_steps(stack)), strict=True):
        size = size_after(layer, size)
        learnt = layer.parameters and layer.kernel > 1
        spacing = layer.dilation * stride if learnt else 0
        # Of VGG-16's 7 taps a side a smaller fc6 keeps every second or third.
        kept = (taps[layer.name] - 1) // (layer.kernel - 1) if learnt else 0
        trained = strides[layer.name] * kept if learnt else 0
        adds = size * size * max(0, layer.parameters - layer.leaving)  # biases add, not multiply
        stride = field.stride
        out.append(Row(layer, size, stride, field.size, field.padding, spacing, trained, adds))
    return out


def _steps(stack: list[Layer]) -> list[tuple[int, int, int, int]]:
    return [(x.kernel, x.stride, x.before, x.dilation) for x in stack]


def amount(count: int) -> str:
    """134.3 M: a count to one decimal."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit:
            tenths = (20 * count + unit) // (2 * unit)
            return f"{tenths // 10}.{tenths % 10} {name}"
    return str(count)


def summary(state: State) -> list[tuple[str, str]]:
    """(value, name) of the whole network."""
    entries = rows(state)
    last = entries[-1]
    size = f"{last.size} × {last.size}" if last.size else "none"
    return [
        (size, "score map"),
        (str(last.stride) if last.size else "none", "output stride"),
        (str(last.field) if last.size else "none", "field, pixels"),
        (amount(sum(row.layer.parameters for row in entries)), "parameters"),
        (amount(sum(row.multiply_adds for row in entries)), "multiply-adds"),
    ]
