"""What the taps of a 1-D stack read: the numbers behind the cone. Taught in lessons 01 and 02."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from .receptive_field import Field1D, chain


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
        given = tuple(values)
        kernel, stride, padding, dilation = given + (0, 1, 0, 1)[len(given) :]
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
