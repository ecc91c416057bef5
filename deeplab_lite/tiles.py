"""A large image by overlapping tiles, whose probabilities are blended. Taught in lesson 09.

Tiles begin at multiples of the output stride, so each position of a tile's map stands on the pixel
where it stands in the map of the whole image. Where its receptive field ends inside of the tile, it
gives what it gives for the whole image. So an overlap of twice the field's reach, and weights of 0
within that reach of a cut, give the probabilities of the whole image.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

# Sums of probabilities are kept in 16 bits of fixed point, half the memory of float32: they lie
# between 0 and 1, where a step of 1 / 65,000 is finer than those of a 16-bit float above 1 / 32.
ONE = 65_000

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 (h, w, 3) to probabilities (K, h, w)
Track = Callable[[list["Tile"]], Iterable["Tile"]]  # as tqdm: passes its argument on


class Span(NamedTuple):
    """A tile along one axis: its pixels from `first` up to `end`, and what each counts for."""

    first: int
    end: int
    weights: np.ndarray  # float32 (end - first,); over all spans they sum to 1 at each pixel


class Tile(NamedTuple):
    """A row's and a column's span."""

    rows: Span
    columns: Span


def spans(length: int, tile: int, overlap: int, margin: int, stride: int, extra: int) -> list[Span]:
    """The fewest tiles that cover `length` pixels, alike and evenly placed, cut off at its end.

    A tile has at most `tile` pixels: a multiple of stride, plus extra. Neighbours share at least
    `overlap`. What lies less than `margin` from a cut counts nothing, from there on ever more.

    Raises ValueError for an overlap that leaves no step, or is less than twice the margin.
    """
    units = max(1, (tile - extra) // stride)
    all_units = max(1, -(-(length - extra) // stride))
    shared = -(-overlap // stride)
    step = units - shared
    if all_units <= units:
        return [Span(0, length, np.ones(length, np.float32))]
    if step < 1 or overlap < 2 * margin:
        raise ValueError(
            f"overlap {overlap}: expected {2 * margin} or more pixels, and at least one output "
            f"stride ({stride}) less than the tile of {units * stride + extra}"
        )
    count = 1 - -(all_units - units) // step
    units = shared - -(all_units - shared) // count  # as small as so many tiles can be
    beyond = all_units - units
    firsts = [stride * (beyond * i // (count - 1)) for i in range(count)]
    side = units * stride + extra
    windows = []
    total = np.zeros(all_units * stride + extra, np.float32)
    for first in firsts:
        window = np.full(side, side, np.float32)  # pixels to the nearest cut
        inside = np.arange(side, dtype=np.float32)
        if first > 0:
            window = np.minimum(window, inside)
        if first < firsts[-1]:
            window = np.minimum(window, inside[::-1])
        window = np.clip(window - (margin - 1), 0, max(1, overlap - 2 * margin))
        total[first : first + side] += window
        windows.append(window)
    covers = []
    for first, window in zip(firsts, windows, strict=True):
        end = min(first + side, length)
        weights = (window / total[first : first + side])[: end - first]
        covers.append(Span(first, end, weights))
    return covers


def blend(
    image: np.ndarray, predict: Predict, rows: list[Span], columns: list[Span], track: Track = iter
) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, probabilities uint16 (K, h, W) in units of 1 / ONE) from top to bottom.

    Only the rows that a row of tiles covers are in memory: K x tile x W x 2 bytes, whatever the
    height. image: uint8 (H, W, 3); predict: the probabilities of a tile. An array is good until
    the next one is asked for.
    """
    width = columns[-1].end
    sums: np.ndarray | None = None
    tiles = [Tile(row, column) for row in rows for column in columns]
    ends = {one.first: other.first for one, other in pairwise(rows)}
    for tile in track(tiles):
        (top, bottom, down), (left, right, across) = tile
        probs = predict(image[top:bottom, left:right])
        if sums is None:
            sums = np.zeros((len(probs), rows[0].end - rows[0].first, width), np.uint16)
        for total, new in zip(sums, probs, strict=True):
            part = np.rint(new * down[:, None] * (across * ONE))
            total[: bottom - top, left:right] += part.astype(np.uint16)
        if right == width:
            done = ends.get(top, bottom) - top
            yield top, sums[:, :done]
            kept = sums.shape[1] - done
            for total in sums:
                total[:kept] = total[done:].copy()
                total[kept:] = 0
