"""Receptive fields: the recurrence, the cone of one unit, the effective field. Taught in lesson 01.

Pixels are counted from 0. Unit u of a map of stride S, padding P and size r covers the pixels
[u S - P, u S - P + r - 1]; those before 0 and past the picture's end are padding. The exact field
of any network (`receptive_fields`) and its proof by brute force stand in `analysis/`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deeplab_lite.analysis.brute_force import brute_force as brute_force
from deeplab_lite.analysis.fields import ReceptiveField as ReceptiveField
from deeplab_lite.analysis.fields import Unit, known_layer, unit_index, watch
from deeplab_lite.analysis.fields import receptive_fields as receptive_fields
from deeplab_lite.analysis.twins import eagerly, sharing

# ---- The recurrence ------------------------------------------------------------------------------


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


# ---- The cone of one unit ------------------------------------------------------------------------


class Cone(NamedTuple):
    """What one unit of a 1-D stack reads, level by level; level 0 is the input."""

    sizes: list[int]  # units on each map; 0 from where a kernel no longer fits
    fields: list[Field1D]  # receptive field of each level: size, stride, padding
    spans: list[tuple[int, int]]  # first and last position inside the cone, not clipped to the map
    counts: list[list[int]]  # on how many paths each position of each map is read
    padded: list[list[int]]  # positions that are read off the map: zeros of the padding
    edges: list[list[tuple[int, int]]]  # per layer: (unit above, position below) of every tap


def trace(layers: Iterable[Any], n: int, unit: int | None = None, level: int | None = None) -> Cone:
    """Follow one unit of a stack down to the input and count the paths on which it reads.

    `layers` are (kernel, stride=1, padding=0, dilation=1), padding a number or "same" (an odd zero
    too many goes to the right, as in PyTorch); `n` is the width of the input in pixels; `unit`
    defaults to the middle one, `level` to the last layer. Where a kernel does not fit, `sizes` is 0
    and the lists of the cone are empty. Raises ValueError for a unit that does not exist.
    """
    if n < 1:
        raise ValueError(f"an input of {n} pixels: expected at least 1")
    table, spare = [], []
    for values in layers:
        numbers = tuple(values)
        kernel, stride, padding, dilation = numbers + (0, 1, 0, 1)[len(numbers) :]
        reach = dilation * (kernel - 1)
        left, both = (reach // 2, reach) if padding == "same" else (padding, 2 * padding)
        table.append((kernel, stride, left, dilation))
        spare.append(both - reach - 1)
    fields, sizes = [Field1D(1, 1, 0), *chain(table)], [n]
    for (_, stride, _, _), room in zip(table, spare, strict=True):
        room += sizes[-1]
        sizes.append(room // stride + 1 if sizes[-1] and room >= 0 else 0)

    level = len(table) if level is None else level
    if not 0 <= level <= len(table):
        raise ValueError(f"level {level}: this stack has levels 0 (input) to {len(table)}")
    if not sizes[level]:
        return Cone(sizes, fields, [], [], [], [])
    at = sizes[level] // 2 if unit is None else unit
    if not 0 <= at < sizes[level]:
        raise ValueError(f"unit {at} of level {level}: its units are 0..{sizes[level] - 1}")

    reads, spans = {at: 1}, [(at, at)]
    counts: list[list[int]] = [[int(u == at) for u in range(sizes[level])]]
    padded: list[list[int]] = [[]]
    edges: list[list[tuple[int, int]]] = []
    for depth in reversed(range(level)):
        kernel, stride, left, dilation = table[depth]
        low, high = spans[0]
        spans.insert(0, (low * stride - left, high * stride - left + dilation * (kernel - 1)))
        taps = [(u, u * stride - left + t * dilation) for u in reads for t in range(kernel)]
        below: dict[int, int] = {}
        for u, position in taps:
            below[position] = below.get(position, 0) + reads[u]
        inside = range(sizes[depth])
        edges.insert(0, taps)
        padded.insert(0, sorted(set(below) - set(inside)))
        counts.insert(0, [below.get(u, 0) for u in inside])
        reads = {u: below[u] for u in inside if u in below}
    return Cone(sizes, fields, spans, counts, padded, edges)


# ---- The effective field -------------------------------------------------------------------------


def effective_receptive_field(
    model: nn.Module, images: Tensor, layer: str = "", unit: Unit | None = None
) -> Tensor:
    """How strongly each pixel moves one unit: squared input gradients, averaged, summing to 1.

    images: (B, C, H, W) floats; unit: (i, j) on the layer's map, the middle one if None. Averaged
    over images and channels. Returns (H, W) float64. A copy of the model runs, in its mode. Luo et
    al. 2016, arXiv:1701.04128. Raises ValueError for an unknown layer or where all gradients are 0.
    """
    if images.ndim != 4 or not images.is_floating_point() or not bool(images.isfinite().all()):
        raise ValueError(
            f"images {tuple(images.shape)}, {images.dtype}: give finite floats (B, C, H, W)"
        )
    network, outputs = sharing(model), dict[str, Tensor]()
    pixels = images.detach().clone().requires_grad_()
    with torch.enable_grad(), eagerly(), watch(network, outputs.__setitem__):
        network(pixels)
    output = outputs[known_layer(layer, outputs)]
    middle = [n // 2 for n in output.shape[2:]]
    at = unit_index(middle if unit is None else unit, output.shape[2:])
    (gradient,) = torch.autograd.grad(output[:, :, at[0], at[1]].sum(), pixels)
    energy = gradient.double().square().sum((0, 1))
    if not bool(energy.sum() > 0):
        raise ValueError(
            f"every gradient of unit {at} of {layer!r} is zero: try other images or another unit"
        )
    return energy / energy.sum()
