"""The textbook recurrence, along one axis. Lesson 01, section 2."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Layer(NamedTuple):
    """One layer of a chain, along one axis."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1


class Field1D(NamedTuple):
    """Receptive field after a layer of a chain, along one axis: all in input pixels."""

    size: int
    stride: int
    padding: int


def chain(layers: Iterable[Sequence[int]]) -> list[Field1D]:
    """Field after each layer of a chain: r += d (k - 1) S, P += p S, S *= s. Lessons 01 and 02.

    layers: (kernel, stride=1, padding=0, dilation=1) each. Raises ValueError for values out of
    range.
    """
    size, total_stride, total_padding, fields = 1, 1, 0, []
    for number, values in enumerate(layers, 1):
        layer = Layer(*values)
        for name, least in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            value = getattr(layer, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"{name} {value!r} in layer {number}: give a whole number of at least {least}"
                )
        size += layer.dilation * (layer.kernel - 1) * total_stride
        total_padding += layer.padding * total_stride
        total_stride *= layer.stride
        fields.append(Field1D(size, total_stride, total_padding))
    return fields
