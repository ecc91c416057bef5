"""The exact receptive field of every layer of any network. Lesson 01, section 5."""

import difflib
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from deeplab_lite.analysis.bounds import Field, squash
from deeplab_lite.analysis.input_shape import InputSize, explained, input_shape
from deeplab_lite.analysis.tracker import Tracker
from deeplab_lite.analysis.twins import float_type, on_meta

Unit = int | Sequence[int]
Region = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """What the units of a layer's map see of the input. Tuples: one entry per axis, (h, w)."""

    input_size: tuple[int, ...]  # pixels
    map_size: tuple[int, ...]  # units; (1, 1) for an output that is no map, such as class scores
    size: tuple[
        int, ...
    ]  # pixels that a unit sees, padding counted; the largest where units differ
    stride: tuple[Fraction, ...]  # pixels from one unit to the next
    padding: tuple[int, ...]  # unit 0 begins this many pixels before the picture
    is_global: bool  # every unit sees the whole input, whatever its size
    is_uniform: bool  # one size, stride and padding tell every unit's interval
    _grid: tuple[
        Tensor, ...
    ]  # per axis (2, *map): first and last position, the grid continued into the padding
    _pixels: tuple[Tensor, ...]  # per axis (2, *map): first and last pixel really seen

    def region(self, u: Unit, clip: bool = True) -> Region | None:
        """First and last position that unit u sees, per axis: ((top, bottom), (left, right)).

        Both ends are included. clip=True: the real pixels only, exactly (None if the unit sees
        nothing but padding). clip=False: with the grid continued into the padding, as in the
        formula above; a unit that sees everything has the picture's bounds. u is (i, j), or one
        number for the same index on each axis. Raises IndexError for a unit outside the map.
        """
        at = unit_index(u, self.map_size)
        intervals = []
        for bounds in self._pixels if clip else self._grid:
            first, last = _pick(bounds, at)
            if first > last:
                return None
            intervals.append((int(first), int(last)))
        return tuple(intervals)

    def center(self, u: Unit) -> tuple[float, ...]:
        """Middle of region(u, clip=False), in pixels: 0.5 lies between pixels 0 and 1."""
        region = self.region(u, clip=False)
        if region is None:
            raise ValueError(f"unit {u} sees nothing of the input, so it has no center")
        return tuple((first + last) / 2 for first, last in region)

    def __repr__(self) -> str:
        def pair(values: Iterable[Any]) -> str:
            return " x ".join(map(str, values))

        kind = ", global" * self.is_global + ", not uniform" * (not self.is_uniform)
        return (
            f"ReceptiveField(size {pair(self.size)}, stride {pair(self.stride)}, "
            f"padding {pair(self.padding)}, map {pair(self.map_size)}{kind})"
        )


def unit_index(u: Unit, map_size: Sequence[int]) -> tuple[int, ...]:
    """u as one index per axis; IndexError if it is not on the map."""
    at = tuple(u) if isinstance(u, Sequence) else (u,) * len(map_size)
    if len(at) != len(map_size) or not all(
        isinstance(i, Integral) and 0 <= i < n for i, n in zip(at, map_size, strict=True)
    ):
        size = " x ".join(map(str, map_size))
        raise IndexError(f"unit {u} is not on the map of {size} units: count from 0 on each axis")
    return tuple(int(i) for i in at)


def receptive_fields(
    model: nn.Module, input_size: InputSize, layers: Sequence[str] | None = None
) -> dict[str, ReceptiveField]:
    """Exact receptive field of every layer of any network. Lesson 01, section 5.

    One forward pass on the meta device (no values, no memory) carries the interval of input
    positions that each unit sees through every operation. A copy of the model runs, in the mode it
    is in: batch norm in training sees the whole batch, so call `model.eval()` first.

    input_size: H = W, or (H, W), or (C, H, W); channels, if not given, are those of the model's
    first layer, or others if it does not run on those. Networks of 1-D or 3-D convolutions take 1
    or 3 sizes.
    layers: names as in `named_modules()`; all layers that ran, if None. A layer that runs more than
    once tells its last run. The model's own output is ""; a dict or tuple of tensors gives one
    entry each: "out", "aux" or "layer.out".

    Raises ValueError for sizes the model cannot run on and for unknown layers. An operation without
    a rule gives a UserWarning that names it, and every unit after it counts as seeing everything.
    """
    shape = input_shape(model, input_size)
    network, values = on_meta(model)
    tracker = Tracker(values)
    image = tracker.image(shape, float_type(model))
    seen: dict[str, tuple[Tensor, Field]] = {}

    def note(name: str, output: Tensor) -> None:
        if (field := tracker.field_of(output)) is not None:
            seen.pop(name, None)  # the last run counts, and stands last
            seen[name] = (output, field)

    with explained(shape), watch(network, note), tracker:
        network(image)
    for operation, reason in tracker.unknown.items():
        warnings.warn(
            f"receptive_fields has no rule for {operation}{reason and f' ({reason})'}: "
            "every unit after it counts as seeing the whole input",
            stacklevel=2,
        )
    if tracker.learning:
        warnings.warn(
            "batch norm in training sees the whole batch, and so does every unit after it: "
            "call model.eval() for the fields of the trained network",
            stacklevel=2,
        )
    if not seen:
        raise ValueError(
            "no layer's output depends on the input: forward must return tensors made from it"
        )
    if layers is not None:
        layers = [layers] if isinstance(layers, str) else layers
        seen = {name: seen[known_layer(name, seen)] for name in layers}
    return {name: _summary(t, f, tuple(shape[2:])) for name, (t, f) in seen.items()}


@contextmanager
def watch(model: nn.Module, note: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Report every tensor that a module returns, under its name, while the block runs."""

    def hook(name: str) -> Any:
        return lambda module, inputs, output: _tell(note, name, output)

    handles = [m.register_forward_hook(hook(name)) for name, m in model.named_modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tell(note: Callable[[str, Tensor], None], name: str, output: Any) -> None:
    """Not a closure: one that calls itself would hold every tensor until the next collection."""
    if isinstance(output, Tensor):
        note(name, output)
    elif isinstance(output, dict | list | tuple):
        items = output.items() if isinstance(output, dict) else enumerate(output)
        for key, value in items:
            _tell(note, f"{name}.{key}" if name else str(key), value)


def known_layer(name: str, seen: Collection[str]) -> str:
    """The name, if such a layer ran; else a ValueError with the nearest names."""
    if name in seen:
        return name
    near = difflib.get_close_matches(name, seen, n=3, cutoff=0.4) or list(seen)[:3]
    offered = ", ".join(repr(n) for n in near)
    raise ValueError(f"no layer {name!r} ran in this model: the nearest names are {offered}")


def _summary(tensor: Tensor, field: Field, input_size: tuple[int, ...]) -> ReceptiveField:
    """From bounds per channel to one interval per unit of the map, and the formula that tells them
    all."""
    dims = _map_dims(tensor, field)
    rest = [d + 1 for d in range(tensor.ndim) if d not in dims]
    map_size = tuple(tensor.shape[d] for d in dims) or (1,) * len(field)
    grids, pixels, formulas = [], [], []
    whole = True
    for index, axis in enumerate(field):
        bounds = axis.bounds.amax(rest) if rest else axis.bounds
        bounds = bounds if dims else bounds.reshape(4, *map_size)
        real = torch.stack([-bounds[2], bounds[3]])
        sees_all = torch.isposinf(bounds[1])
        whole &= bool(sees_all.all())
        grid = squash(torch.where(sees_all, real, torch.stack([-bounds[0], bounds[1]])))
        grids.append(grid)
        pixels.append(squash(real))
        formulas.append(_formula(grid, index, map_size[index], axis.stride, bool(sees_all.all())))
    sizes, strides, paddings, uniform = zip(*formulas, strict=True)
    return ReceptiveField(
        input_size,
        map_size,
        sizes,
        strides,
        paddings,
        whole,
        all(uniform),
        tuple(grids),
        tuple(pixels),
    )


def _formula(
    grid: Tensor, index: int, units: int, stride: Fraction, sees_all: bool
) -> tuple[int, Fraction, int, bool]:
    """(size, stride, padding, does it hold for every unit?) from the intervals along one axis."""
    first, last = grid
    seeing = first <= last
    if not bool(seeing.any()):
        return 0, stride, 0, False
    sizes = (last - first + 1)[seeing]
    size, even = int(sizes.max()), bool((sizes == sizes[0]).all() and seeing.all())
    if sees_all:
        return size, stride, 0, even
    # Units may differ along their own axis only, if one formula is to hold.
    if first.numel() != first.shape[index]:
        return size, stride, -int(first[seeing].min()), False
    starts = first.flatten()
    if len(starts) > 1 and even and stride >= 1:
        steps = starts[1:] - starts[:-1]
        if bool((steps == steps[0]).all()):
            stride = Fraction(int(steps[0]))  # windows of adaptive pooling, say, 10 -> 3, step by 3
    u = int(seeing.flatten().nonzero()[0])
    padding = floor(u * stride - int(starts[u]))
    grown = len(starts) == units or units == 1
    line = [u * stride - padding for u in range(len(starts))]
    return size, stride, padding, even and grown and line == [int(s) for s in starts.tolist()]


def _map_dims(tensor: Tensor, field: Field) -> list[int]:
    """The tensor dimensions that are the map's axes: after (B, C) as torch has it, or before C in
    channels-last code."""
    count = len(field)
    if tensor.ndim != count + 2:
        return []
    last = all(axis.varies(k + 1) for k, axis in enumerate(field))
    # Concatenated channels and rows of padding vary along both of these dimensions on both axes.
    crossed = any(a.varies(j + 1) for k, a in enumerate(field) for j in range(count) if j != k)
    if last and not crossed and not any(axis.varies(tensor.ndim - 1) for axis in field):
        return list(range(1, count + 1))
    return list(range(2, count + 2))


def _pick(bounds: Tensor, at: Sequence[int]) -> tuple[float, float]:
    for i in at:
        bounds = bounds.select(1, min(i, bounds.shape[1] - 1))
    first, last = bounds.tolist()
    return first, last
