"""Atrous convolution, and what a stack of rates reads. Lesson 02; DeepLab v1, 3.1, and v3, 3.3.

One operation computed three ways, of which the third is PyTorch's own `F.conv2d(x, weight,
dilation=rate)`; gridding; and taps that fall off the map. `with_output_stride`, which trades the
strides of any trained network for dilation, stands in `analysis/`.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from deeplab_lite.analysis.output_stride import with_output_stride as with_output_stride

Size = int | Sequence[int]  # one number for every axis, or one each


def effective_kernel(kernel: int, dilation: int) -> int:
    """Width in pixels of a dilated kernel: k + (k - 1)(d - 1). Lesson 02, section 2.

    Raises ValueError if either is not a whole number of at least 1.
    """
    (kernel,), (dilation,) = per_axis(kernel, 1, "kernel"), per_axis(dilation, 1, "dilation")
    return kernel + (kernel - 1) * (dilation - 1)


def dilate_kernel(weight: Tensor, dilation: Size) -> Tensor:
    """The same kernel with d - 1 zeros between neighbouring taps. Lesson 02, section 3.

    weight: (out, in, *spatial), with any number of spatial axes. Raises ValueError if it has none,
    or for a dilation below 1.
    """
    if weight.ndim < 3:
        raise ValueError(f"weight {tuple(weight.shape)}: expected (out, in, *spatial)")
    rates = per_axis(dilation, weight.ndim - 2, "dilation")
    size = [effective_kernel(k, d) for k, d in zip(weight.shape[2:], rates, strict=True)]
    dilated = weight.new_zeros(*weight.shape[:2], *size)
    dilated[(slice(None), slice(None), *(slice(None, None, d) for d in rates))] = weight
    return dilated


def atrous_by_zeros(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    dilation: Size,
    padding: Size | str = 0,
    groups: int = 1,
) -> Tensor:
    """Atrous convolution with an explicitly dilated kernel: right, and it multiplies all the zeros.

    Shapes, arguments and errors: those of `atrous_by_interleaving`.
    """
    padded = _pad(x, weight, per_axis(dilation, 2, "dilation"), padding)
    return F.conv2d(padded, dilate_kernel(weight, dilation), bias, groups=groups)


def atrous_by_interleaving(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    dilation: Size,
    padding: Size | str = 0,
    groups: int = 1,
) -> Tensor:
    """Atrous convolution by plain convolutions of interleaved sub-maps (the algorithme a trous).

    A kernel at rate d meets only every d-th row and column, so each such sub-map is convolved on
    its own. x: (N, C, H, W); weight: (out, C / groups, kh, kw); dilation and padding: a number or
    (y, x), padding also "same". Returns (N, out, H', W'). Lesson 02, section 3. Raises ValueError
    for other ranks, a dilation below 1, a kernel that does not fit on the padded map.
    """
    rates = per_axis(dilation, 2, "dilation")
    padded = _pad(x, weight, rates, padding)
    height, width = (padded.shape[i] - rates[i] * (weight.shape[i] - 1) for i in (-2, -1))
    parts = F.conv2d(space_to_batch(padded, rates), weight, bias, groups=groups)
    return batch_to_space(parts, rates, (height, width))


def space_to_batch(x: Tensor, rate: Size) -> Tensor:
    """Every ry-th row and rx-th column as a map of its own: (N, C, H, W) -> (ry rx N, C, h, w).

    h = ceil(H / ry), w = ceil(W / rx); sub-maps that end earlier are filled with zeros.
    """
    ry, rx = per_axis(rate, 2, "rate")
    x = F.pad(x, (0, -x.shape[-1] % rx, 0, -x.shape[-2] % ry))
    parts = x.unflatten(3, (-1, rx)).unflatten(2, (-1, ry))  # N, C, h, ry, w, rx
    return parts.permute(3, 5, 0, 1, 2, 4).flatten(0, 2)


def batch_to_space(parts: Tensor, rate: Size, size: tuple[int, int]) -> Tensor:
    """The way back: (ry rx N, C, h, w) -> (N, C, H, W), cropped to size = (H, W)."""
    ry, rx = per_axis(rate, 2, "rate")
    x = parts.unflatten(0, (ry, rx, -1)).permute(2, 3, 4, 0, 5, 1)  # N, C, h, ry, w, rx
    return x.flatten(4, 5).flatten(2, 3)[..., : size[0], : size[1]]


def per_axis(value: Size, axes: int, what: str) -> tuple[int, ...]:
    """`value` as one whole number of at least 1 per axis; ValueError if it is anything else."""
    values: Any = tuple(value) if isinstance(value, list | tuple) else (value,) * axes
    if len(values) != axes or not all(_is_whole(v) and v >= 1 for v in values):
        many = f" or {axes} of them" if axes > 1 else ""
        raise ValueError(f"{what} {value!r}: expected a whole number of at least 1{many}")
    return tuple(int(v) for v in values)


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _pad(x: Tensor, weight: Tensor, rates: Sequence[int], padding: Any) -> Tensor:
    """x inside the zeros that F.conv2d would put around it."""
    if x.ndim != 4 or weight.ndim != 4:
        raise ValueError(
            f"x {tuple(x.shape)} and weight {tuple(weight.shape)}: "
            "expected (N, C, H, W) and (out, C / groups, kh, kw)"
        )
    reach = [d * (k - 1) for d, k in zip(rates, weight.shape[2:], strict=True)]
    if padding == "same":  # an odd zero too many goes to the bottom and to the right
        before, after = [r // 2 for r in reach], [r - r // 2 for r in reach]
    else:
        before = list(padding) if isinstance(padding, list | tuple) else [padding, padding]
        if len(before) != 2 or not all(_is_whole(p) and p >= 0 for p in before):
            raise ValueError(f'padding {padding!r}: expected a number >= 0, a pair, or "same"')
        after = before
    x = F.pad(x, (before[1], after[1], before[0], after[0]))
    for side, size, r in zip(("height", "width"), x.shape[2:], reach, strict=True):
        if size <= r:
            raise ValueError(
                f"{side} {size} of the padded map is less than the effective kernel {r + 1}: "
                'lower the rate, or pad more (padding="same" keeps the size)'
            )
    return x


# ---- Gridding, and taps off the map --------------------------------------------------------------


def tap_counts(rates: Sequence[Size], kernel: Size = 3) -> np.ndarray:
    """How often one output of a stack of stride-1 atrous convolutions reads each input pixel.

    rates: one per layer, a number or (y, x). Returns the receptive field as a 2-D int64 array with
    the output's own pixel in the middle: exact numbers of paths, and 0 is a hole of the grid.
    Lesson 02, section 5. Raises ValueError for a rate below 1 or an even kernel, which has no
    middle tap; OverflowError where a count needs more than 63 bits.
    """
    kernels = per_axis(kernel, 2, "kernel")
    if not all(k % 2 for k in kernels):
        raise ValueError(f"kernel {kernel!r}: expected odd, since an even one has no middle tap")
    pairs = [per_axis(rate, 2, "rate") for rate in rates]
    # The taps of a layer are a grid, so paths in y and in x multiply. dtype object means Python's
    # own whole numbers, which do not overflow.
    sides = []
    for axis, k in enumerate(kernels):
        paths = np.ones(1, dtype=object)
        for pair in pairs:
            taps = np.zeros(effective_kernel(k, pair[axis]), dtype=object)
            taps[:: pair[axis]] = 1
            paths = np.convolve(paths, taps)
        sides.append(paths)
    most = max(sides[0]) * max(sides[1])
    if most > np.iinfo(np.int64).max:
        raise OverflowError(
            f"{len(pairs)} layers read one pixel on {float(most):.1e} paths: "
            "int64 holds 9.2e18, so use fewer layers"
        )
    return np.outer(*(side.astype(np.int64) for side in sides))


def coverage(rates: Sequence[Size], kernel: Size = 3) -> float:
    """Share of the receptive field that is really read: 1 where the stack leaves no holes."""
    counts = tap_counts(rates, kernel)
    return np.count_nonzero(counts) / counts.size


class ValidTaps(NamedTuple):
    """positions[n]: output positions with exactly n taps on the map; share: of all their taps."""

    positions: np.ndarray
    share: float


def valid_taps(
    map_size: Size, rate: Size, kernel: Size = 3, padding: int | str = "same"
) -> ValidTaps:
    """How many taps of one atrous convolution fall on the map at each position (v3, figure 4).

    `positions` counts exactly, for n = 0 .. kh kw. From rate = map_size on, a 3x3 kernel is its
    centre tap: positions[1] holds all. Lesson 02, section 6. Raises ValueError for a size or rate
    below 1, a negative padding, a kernel that does not fit on the padded map.
    """
    if padding != "same" and (not isinstance(padding, int) or padding < 0):
        raise ValueError(f'padding {padding!r}: expected a number of pixels >= 0, or "same"')
    sizes, rates = per_axis(map_size, 2, "map_size"), per_axis(rate, 2, "rate")
    valid = []  # taps on the map, for each row and for each column of the output
    for n, r, k in zip(sizes, rates, per_axis(kernel, 2, "kernel"), strict=True):
        reach = r * (k - 1)
        before, after = (
            (padding, padding) if isinstance(padding, int) else (reach // 2, -(-reach // 2))
        )
        first = np.arange(-before, n + after - reach)
        if not len(first):
            raise ValueError(
                f"a map of {n} padded by {padding} is less than the effective kernel {reach + 1}: "
                'lower the rate, or pad more (padding="same" keeps the size)'
            )
        taps = first[:, None] + r * np.arange(k)
        valid.append(((taps >= 0) & (taps < n)).sum(axis=1))
    on_map = np.outer(*valid)
    taps_in_all = int(np.prod(per_axis(kernel, 2, "kernel")))
    positions = np.bincount(on_map.ravel(), minlength=taps_in_all + 1).astype(np.int64)
    return ValidTaps(positions, float(on_map.mean() / taps_in_all))
