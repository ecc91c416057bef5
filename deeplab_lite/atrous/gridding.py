"""What stacked rates read, and what falls off the map. Taught in lesson 02; DeepLab v3, 3.3."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deeplab_lite.atrous.convolution import Size, effective_kernel, per_axis


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
