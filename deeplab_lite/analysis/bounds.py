"""What the units of a tensor see of the input, as intervals, and the moves all else is made of.

Every unit of a tensor sees one interval of the input along each input axis. An interval is kept as
four numbers, the four planes of `Axis.bounds`, signed so that the union of two intervals is always
an element-wise maximum:

    0, 1   -first, last   with the grid continued beyond the picture: padding counts as picture
    2, 3   -first, last   of the pixels that are really there: padding shows nothing (-inf)

+inf in planes 0 and 1 marks a unit that sees everything, whatever the input's size. A dimension
along which nothing changes has length 1, so a map of any size costs a few hundred numbers. Lesson
01, section 4.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf

import torch
from torch import Tensor


@dataclass(frozen=True)
class Axis:
    """What the units of one tensor see along one axis of the input."""

    bounds: Tensor  # (4, *dims), dims broadcastable to the tensor's shape
    stride: Fraction  # input pixels from one unit to the next

    def varies(self, dim: int) -> bool:
        return self.bounds.shape[dim + 1] > 1

    def varies_anywhere(self) -> bool:
        return self.bounds.numel() > 4


Field = tuple[Axis, ...]  # one Axis for each spatial axis of the input


def input_field(shape: Sequence[int]) -> Field:
    """The field of the network's input (B, C, *spatial): pixel p sees [p, p]."""
    field = []
    for dim in range(2, len(shape)):
        p = torch.arange(shape[dim], dtype=torch.float64)
        dims = [shape[dim] if d == dim else 1 for d in range(len(shape))]
        field.append(Axis(torch.stack([-p, p, -p, p]).reshape(4, *dims), Fraction(1)))
    return tuple(field)


@dataclass(frozen=True)
class Taps:
    """What each unit reads along one dimension, and how far apart the units stand.

    Row u of `seen` (units, taps) lists positions; those outside the map are padding. `pixels` lists
    other positions for what is really there (a reflected border shows real pixels). A tap where
    `exists` is False is not there at all.
    """

    seen: Tensor
    step: Fraction
    pixels: Tensor | None = None
    exists: Tensor | None = None


def gather(axis: Axis, dim: int, taps: Taps) -> Axis:
    """Each unit's union over what it reads. Beyond the map the grid goes on at its stride."""
    n, seen = axis.bounds.shape[dim + 1], taps.seen
    pixels = seen if taps.pixels is None else taps.pixels
    # A grid of stride p/q repeats its pattern every q units, p pixels further on.
    period, advance = axis.stride.denominator, axis.stride.numerator
    turns = torch.where(seen < 0, seen // period, -((n - 1 - seen) // period).clamp(max=0))

    def pick(planes: Tensor, positions: Tensor) -> Tensor:
        picked = planes.index_select(dim + 1, positions.clamp(0, n - 1).flatten())
        return picked.unflatten(dim + 1, tuple(positions.shape))

    def along(values: Tensor) -> Tensor:
        return values.reshape(tuple(values.shape) + (1,) * (axis.bounds.ndim - dim - 2))

    shift = along(turns * advance).to(torch.float64)
    if n > 1 and not changes(axis.bounds[:2], dim):  # only the pixels vary: no grid to continue
        shift = torch.zeros_like(shift)
    grid = pick(axis.bounds[:2], seen - turns * period) + torch.stack([-shift, shift]).reshape(
        2, *[1] * dim, *shift.shape
    )
    real = pick(axis.bounds[2:], pixels)
    real = real.masked_fill(along((pixels < 0) | (pixels >= n)), -inf)
    bounds = torch.cat([grid, real])
    if taps.exists is not None:
        bounds = bounds.masked_fill(along(~taps.exists), -inf)
    return replace(axis, bounds=bounds.amax(dim + 2))


def carries(field: Field, index: int, dim: int, shape: Sequence[int]) -> bool:
    """Does tensor dimension `dim` run along input axis `index`? One unit is told by its layout."""
    axis = field[index]
    by_layout = len(shape) == len(field) + 2 and dim == index + 2 and shape[dim] == 1
    return axis.varies(dim) or (by_layout and not axis.varies_anywhere())


def slide(field: Field, shape: Sequence[int], reads: dict[int, Taps]) -> Field:
    """Gather along each dimension of `reads` that runs along an input axis of the operand."""
    result = []
    for index, axis in enumerate(field):
        carried = [d for d in reads if carries(field, index, d, shape)]
        for dim in carried:
            axis = gather(axis, dim, reads[dim])
        along = index + len(shape) - len(field)  # axes of the input run along the last dimensions
        step = reads[along].step if along in reads else Fraction(1)
        for dim in reads.keys() - carried:
            axis = blindfold(axis, dim, reads[dim], shape)
        result.append(Axis(squash(axis.bounds), axis.stride * step))
    return agree_on_nothing(tuple(result))


def blindfold(axis: Axis, dim: int, taps: Taps, shape: Sequence[int]) -> Axis:
    """Where units are alike along `dim`, those whose whole window is padding still see nothing."""
    pixels = taps.seen if taps.pixels is None else taps.pixels
    there = (pixels >= 0) & (pixels < shape[dim])
    blind = ~(there if taps.exists is None else there & taps.exists).any(1)
    if not bool(blind.any()):
        return axis
    lined = blind.reshape(-1, *[1] * (axis.bounds.ndim - dim - 2))
    bounds = axis.bounds.expand(4, *torch.broadcast_shapes(axis.bounds.shape[1:], lined.shape))
    return replace(axis, bounds=torch.cat([bounds[:2], bounds[2:].masked_fill(lined, -inf)]))


def agree_on_nothing(field: Field) -> Field:
    """A unit whose window is all padding along one axis sees no pixel along the others either."""
    empty = [torch.isneginf(axis.bounds[3]) for axis in field]
    if len(field) < 2 or not any(bool(e.any()) for e in empty):
        return field
    nowhere = torch.stack(torch.broadcast_tensors(*empty)).any(0)

    def blank(bounds: Tensor) -> Tensor:
        bounds = bounds.expand(4, *torch.broadcast_shapes(bounds.shape[1:], nowhere.shape))
        return squash(torch.cat([bounds[:2], bounds[2:].masked_fill(nowhere, -inf)]))

    return tuple(replace(axis, bounds=blank(axis.bounds)) for axis in field)


def pool_all(field: Field, shape: Sequence[int], dims: Iterable[int]) -> Field:
    """All units along `dims` (kept, length 1) are read at once; if none vary, all input is seen.

    So it is where the dimensions are those of a map whose units were alike before.
    """
    dims = [d % len(shape) for d in dims]
    result = []
    for index, axis in enumerate(field):
        bounds = axis.bounds.amax([d + 1 for d in dims], keepdim=True) if dims else axis.bounds
        # The channels of a picture may see unlike parts of it, and all of them see it to its ends.
        seen = bounds[:2].amax(2) if len(shape) == len(field) + 2 else bounds[:2]
        alike = len(shape) == len(field) + 2 and index + 2 in dims and not axis.varies_anywhere()
        if squash(seen).numel() == 2 and (alike or any(map(axis.varies, dims))):
            bounds = torch.cat([torch.full_like(bounds[:2], inf), bounds[2:]])
        stride = axis.stride
        if index + 2 in dims and len(shape) == len(field) + 2:
            stride = stride * shape[index + 2]
        result.append(Axis(bounds, stride))
    return tuple(result)


def union(fields: Iterable[Field], ndim: int) -> Field:
    """The field of an element-wise operation on broadcast operands."""

    def join(a: Axis, b: Axis) -> Axis:
        # The grid of a sum is that of the operand that has one: a pooled branch has none.
        stride = b.stride if b.varies_anywhere() and not a.varies_anywhere() else a.stride
        return Axis(torch.maximum(a.bounds, b.bounds), stride)

    result: Field = ()
    for field in fields:
        field = tuple(replace(a, bounds=lift(a.bounds, ndim)) for a in field)
        result = tuple(map(join, result, field)) if result else field
    return result


def lift(bounds: Tensor, ndim: int) -> Tensor:
    """Broadcasting puts missing dimensions in front."""
    return bounds.reshape(4, *[1] * (ndim + 1 - bounds.ndim), *bounds.shape[1:])


def changes(planes: Tensor, dim: int) -> bool:
    """Does anything change along the tensor's dimension `dim`?"""
    return not bool((planes == planes.narrow(dim + 1, 0, 1)).all())


def squash(bounds: Tensor) -> Tensor:
    """Give length 1 to every dimension along which nothing changes."""
    for d in range(1, bounds.ndim):
        if bounds.stride(d) == 0 and bounds.shape[d] > 1:  # expanded: no need to look at the values
            bounds = bounds.narrow(d, 0, 1)
    for d in range(1, bounds.ndim):
        if bounds.shape[d] > 1 and not changes(bounds, d - 1):
            bounds = bounds.narrow(d, 0, 1)
    return bounds


def mix_channels(field: Field, groups: int, out_channels: int) -> Field:
    """Each output channel reads every channel of its group (dimension 1)."""

    def mix(bounds: Tensor) -> Tensor:
        if bounds.shape[2] == 1:
            return bounds
        per_group = bounds.unflatten(2, (groups, -1)).amax(3)
        return squash(per_group.repeat_interleave(out_channels // groups, 2))

    return tuple(replace(a, bounds=mix(a.bounds)) for a in field)


def everything(fields: Iterable[Field], ndim: int) -> Field:
    """After an operation that may mix all units, each sees whatever any of them saw."""
    result = []
    for axes in zip(*fields, strict=True):
        real = torch.stack([a.bounds[2:].reshape(2, -1).amax(1) for a in axes]).amax(0)
        bounds = torch.cat([torch.full_like(real, inf), real]).reshape(4, *[1] * ndim)
        result.append(Axis(bounds, axes[0].stride))
    return tuple(result)


def stride_seen(bounds: Tensor, index: int, spatial: int, stride: Fraction) -> Fraction:
    """A reshape changes the stride unasked: where the bounds contradict it, believe them."""
    dim = index + 3
    if bounds.ndim != spatial + 3 or bounds.shape[dim] <= stride.denominator:
        return stride
    last = bounds[1].movedim(dim - 1, 0)
    period = last[stride.denominator :] - last[: -stride.denominator]
    steps = last[1:] - last[:-1]
    step = steps.flatten()[0]
    known = bool(
        (steps == step).all() and step.isfinite()
    )  # infinite beside units that see nothing
    if bool((period == stride.numerator).all()) or not known:
        return stride
    return Fraction(int(step))
