"""Rules of operations that slide a window over a map, or look it up: one for each family."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor, inf

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from deeplab_lite.analysis.bounds import (
    Axis,
    Field,
    Taps,
    mix_channels,
    pool_all,
    slide,
    squash,
    stride_seen,
    union,
)
from deeplab_lite.analysis.call import Call, Unknown, per_rank, rule


def windows(units: int, kernel: int, stride: int, padding: int, dilation: int) -> Taps:
    u, k = torch.arange(units)[:, None], torch.arange(kernel)[None]
    return Taps(u * stride - padding + k * dilation, Fraction(stride))


def transposed_windows(units: int, kernel: int, stride: int, padding: int, dilation: int) -> Taps:
    """Input i lands on outputs u = i stride - padding + k dilation; read backwards."""
    u, k = torch.arange(units)[:, None], torch.arange(kernel)[None]
    landed = u + padding - k * dilation
    return Taps(landed // stride, Fraction(1, stride), exists=landed % stride == 0)


def spans(ends: list[tuple[int, int]], step: Fraction) -> Taps:
    """Windows of different lengths, by their first and last position."""
    first, last = torch.tensor(ends).T[:, :, None]
    seen = first + torch.arange(int((last - first).max()) + 1)
    return Taps(seen, step, exists=seen <= last)


@rule("convolution", "_convolution")
def _convolution(call: Call) -> Field:
    weight, out = call["weight"], call.result
    count = weight.ndim - 2
    options = [call.sizes(name, count) for name in ("stride", "padding", "dilation")]
    kind = transposed_windows if call["transposed"] else windows
    kernel, units = weight.shape[2:], out.shape[2:]
    reads = {2 + k: kind(units[k], kernel[k], *(o[k] for o in options)) for k in range(count)}
    return slide(mix_channels(call.field, call["groups"], out.shape[1]), call.x.shape, reads)


@rule(*per_rank("avg_pool{}d", "max_pool{}d", "max_pool{}d_with_indices"))
def _pool(call: Call) -> Field:
    reads = {dim: windows(call.result.shape[dim], *w) for dim, (_, w) in pooled(call).items()}
    return slide(call.field, call.x.shape, reads)


def pooled(call: Call) -> dict[int, tuple[int, Sequence[int]]]:
    """By dimension: size and (kernel, stride, padding, dilation). The indices keep a note of it."""
    count = int(call.name.split("pool")[1][0])
    kernel = call.sizes("kernel_size", count)
    stride = kernel if call["stride"] in (None, []) else call.sizes("stride", count)
    padding, dilation = call.sizes("padding", count, 0), call.sizes("dilation", count)
    dims = range(call.x.ndim - count, call.x.ndim)
    options = zip(kernel, stride, padding, dilation, strict=True)
    note: dict[int, tuple[int, Sequence[int]]] = {
        dim: (call.x.shape[dim], o) for dim, o in zip(dims, options, strict=True)
    }
    for indices in tree_leaves(call.out)[1:]:
        indices.pooled = note
    return note


@rule(*per_rank("max_unpool{}d"))
def max_unpool(call: Call) -> Field:
    """A pixel reads every unit whose pooling window holds it: the largest may be there."""
    reads = {}
    for dim, window in unpooled(call["indices"], call.result).items():
        reads[dim] = transposed_windows(call.result.shape[dim], *window)
    return slide(union(call.operands(), call.x.ndim), call.x.shape, reads)


def base(view: Tensor) -> Tensor:
    return view if view._base is None else view._base


def unpooled(indices: Tensor, result: Tensor) -> dict[int, Sequence[int]]:
    """By dimension of the result: the window of the max pool that the indices come from."""
    note = getattr(base(indices), "pooled", None)
    if note is None:
        raise Unknown("its indices do not come from a max pool as they are")
    # 1-D pools are 2-D ones on maps one unit wide, and unpooling has that unit elsewhere.
    note = {dim: options for dim, options in note.items() if options[0] > 1}
    dims = [dim for dim in range(2, result.ndim) if result.shape[dim] > 1]
    if [result.shape[dim] for dim in dims] != [size for size, _ in note.values()]:
        raise Unknown("its output is not as large as the input of its max pool")
    return {dim: window for dim, (_, window) in zip(dims, note.values(), strict=True)}


@rule(*per_rank("fractional_max_pool{}d"))
def _fractional_pool(call: Call) -> Field:
    """The union over all draws: a window starts at or beside u (n - kernel) / (units - 1)."""
    count, reads = int(call.name[-2]), {}
    for k, kernel in enumerate(call.sizes("kernel_size", count)):
        dim = call.x.ndim - count + k
        n, m = call.x.shape[dim], call.result.shape[dim]
        starts = [Fraction(u * (n - kernel), m - 1) for u in range(m - 1)] + [Fraction(n - kernel)]
        ends = [(floor(start), ceil(start) + kernel - 1) for start in starts]
        reads[dim] = spans(ends, Fraction(n, m))
    return slide(call.field, call.x.shape, reads)


@rule(*per_rank("adaptive_avg_pool{}d", "_adaptive_avg_pool{}d", "adaptive_max_pool{}d"))
def _adaptive_pool(call: Call) -> Field:
    x, out, reads, whole = call.x, call.result, {}, []
    for dim in range(x.ndim - int(call.name[-2]), x.ndim):
        n, m = x.shape[dim], out.shape[dim]
        if m == 1:
            whole.append(dim)
        else:
            ends = [(u * n // m, -(-(u + 1) * n // m) - 1) for u in range(m)]
            reads[dim] = spans(ends, Fraction(n, m))
    return slide(pool_all(call.field, x.shape, whole), x.shape, reads)


INTERPOLATIONS = [
    *per_rank("upsample_nearest{}d", "_upsample_nearest_exact{}d"),
    *("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"),
    *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
]


@rule(*INTERPOLATIONS)
def _interpolate(call: Call) -> Field:
    x, out, reads = call.x, call.result, {}
    factors = call["scale_factors"]
    for dim in range(2, x.ndim):
        n, m = x.shape[dim], out.shape[dim]
        factor = factors[dim - 2] if factors else call[_scale_name(dim, x.ndim)]
        ratio = 1 / Fraction(factor).limit_denominator(10**6) if factor else Fraction(n, m)
        if call["align_corners"]:
            ratio = Fraction(n - 1, m - 1) if m > 1 else Fraction(0)
        ends = [_sample(call.name, u, ratio, bool(call["align_corners"])) for u in range(m)]
        taps = spans(ends, ratio)
        reads[dim] = replace(taps, pixels=taps.seen.clamp(0, n - 1))
    return slide(call.field, x.shape, reads)


def _scale_name(dim: int, ndim: int) -> str:
    return "scales" if ndim == 3 else "scales_" + "dhw"[dim - ndim]


def _sample(kind: str, unit: int, ratio: Fraction, align_corners: bool) -> tuple[int, int]:
    """First and last position that a resampled unit mixes; a weight of exactly 0 is not seen."""
    if "nearest" in kind:  # torch computes these in float32, rounding included
        half = 0.5 if "exact" in kind else 0.0
        at = floor((torch.tensor(unit + half) * torch.tensor(float(ratio))).item())
        return at, at
    reach = Fraction(2 if "bicubic" in kind else 1)
    half_pixel = Fraction(0 if align_corners else 1, 2)
    place = (unit + half_pixel) * ratio - half_pixel
    if kind.endswith("_aa"):  # the filter widens with the ratio
        reach = reach * max(ratio, Fraction(1))
        return floor(place - reach) + 1, -floor(-(place + reach)) - 1
    if place.denominator == 1:
        return int(place), int(place)
    return floor(place - reach) + 1, floor(place + reach)


@rule("constant_pad_nd", *per_rank("reflection_pad{}d", "replication_pad{}d"))
def _pad(call: Call) -> Field:
    x, spatial, reads = call.x, len(call.field), {}
    padding = call["pad"] or call["padding"]
    for k in range(len(padding) // 2):
        dim, n = x.ndim - 1 - k, x.shape[x.ndim - 1 - k]
        at = torch.arange(call.result.shape[dim])[:, None] - padding[2 * k]
        if dim < x.ndim - spatial:  # extra channels continue no grid
            reads[dim] = Taps(at.clamp(0, n - 1), Fraction(1), exists=(at >= 0) & (at < n))
        elif call.name.startswith("constant"):
            reads[dim] = Taps(at, Fraction(1))
        elif call.name.startswith("reflection"):
            reads[dim] = Taps(at, Fraction(1), pixels=n - 1 - (n - 1 - at.abs()).abs())
        else:
            reads[dim] = Taps(at, Fraction(1), pixels=at.clamp(0, n - 1))
    return slide(call.field, x.shape, reads)


@rule(*per_rank("grid_sampler_{}d"))
def _grid_sample(call: Call) -> Field:
    """A constant grid: each unit reads what lies around its place."""
    grid = call.constant(call["grid"], "the values of its grid").double()
    sizes, corners = call.x.shape[2:], bool(call["align_corners"])
    index = torch.zeros(1, *grid.shape[:-1], dtype=torch.long)  # taps, B, then the result's axes
    exists = torch.ones_like(index, dtype=torch.bool)
    for n, place in zip(sizes, reversed(grid.unbind(-1)), strict=True):
        at, there = _around(place, n, call["interpolation_mode"], call["padding_mode"], corners)
        index = (index[:, None] * n + at).flatten(0, 1)
        exists = (exists[:, None] & there).flatten(0, 1)
    result = []
    for k, axis in enumerate(call.field):
        flat = axis.bounds.expand(4, len(grid), -1, *sizes).flatten(3)
        taps = index.movedim(0, 1).flatten(1)[None, :, None].expand(*flat.shape[:3], -1)
        seen = flat.gather(3, taps).unflatten(3, (len(index), *grid.shape[1:-1]))
        seen = seen.masked_fill(~exists.movedim(0, 1)[None, :, None], -inf)
        bounds = squash(seen.amax(3))
        result.append(Axis(bounds, stride_seen(bounds, k, len(sizes), axis.stride)))
    return tuple(result)


def _around(place: Tensor, n: int, mode: int, border: int, corners: bool) -> tuple[Tensor, Tensor]:
    """The positions along one axis (taps, ...) that grid_sample mixes, and which of them count.

    place: -1 to 1, as in a grid; mode: 0 bilinear, 1 nearest, 2 bicubic; border: 0 zeros, 1 edges,
    2 reflected. Places within 1e-4 of a position are taken for it: a linspace rounds.
    """
    low, span = (0.0, n - 1.0) if corners else (-0.5, float(n))

    def inside(position: Tensor) -> Tensor:
        if border == 2:
            turned = ((position - low) % (2 * span)) if span else position * 0
            position = torch.minimum(turned, 2 * span - turned) + low
        return position.clamp(0, n - 1)

    position = (place + 1) / 2 * span + low
    position = torch.where((position - position.round()).abs() < 1e-4, position.round(), position)
    if border and mode != 2:
        position = inside(position)
    first = position.round() if mode == 1 else position.floor()
    reach = torch.tensor([(0, 1), (0,), (-1, 0, 1, 2)][mode]).view(-1, *[1] * place.ndim)
    at, counts = first + reach, (reach == 0) | (position > first)
    if border:
        at = inside(at)
    else:
        counts = counts & (at >= 0) & (at < n)
    return at.clamp(0, n - 1).long(), counts


@rule("torchvision::deform_conv2d")
def _deformable(call: Call) -> Field:
    raise Unknown("it reads where its offsets say")
