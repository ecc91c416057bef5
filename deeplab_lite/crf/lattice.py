"""Gaussian filtering on a permutohedral lattice, in torch. Taught in lesson 04.

Adams, Baek and Davis 2010: pixels live in d dimensions (place and colour over their sigmas).
Space is tiled by simplices whose d + 1 corners lie on a lattice. To filter, each pixel hands its
value to the corners of its simplex (splat), corners are blurred along d + 1 axes, each with its
next and previous one (1/2, 1, 1/2), and each pixel collects from its corners (slice).

All three are sums of few weighted rows, which is what `embedding_bag` computes, fast, on CPU and
GPU. The lattice is that of the reference code: same scale, same corners, same blur.
"""

from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor


class Filter:
    """D^-1/2 K D^-1/2 for a Gaussian K of unit sigma, approximated on the lattice.

    features: d x N, divided by their sigmas. Calling it filters a map N x K, with gradients.
    Raises ValueError where features span more cells than can be numbered.
    """

    def __init__(self, features: Tensor, dtype: torch.dtype = torch.float32):
        keys, weights, steps = corners(features)
        axes, points = keys.shape
        keys, order = keys.flatten().sort(stable=True)
        first = torch.cat([keys.new_ones(1, dtype=torch.bool), keys[1:] != keys[:-1]])
        begin = first.nonzero()[:, 0]
        vertices = keys[begin]
        corner = torch.empty_like(order, dtype=torch.int32)
        corner[order] = first.cumsum(0, dtype=torch.int32) - 1

        weights = weights.to(dtype)
        begin = torch.cat([begin, begin.new_tensor([len(order)])]).int()
        self.splat = ((order % points).int(), weights.flatten()[order], begin)
        self.blur = [_neighbours(vertices, step, dtype) for step in steps]
        self.slice = _bags(corner.view(axes, points).t(), weights.t())

        norm = self._apply(weights.new_ones(points, 1))[:, 0].clamp_(min=1e-20).rsqrt_()
        self.splat[1].mul_(norm[self.splat[0]])
        self.slice[1].view(points, axes).mul_(norm[:, None])

    def __call__(self, values: Tensor) -> Tensor:
        if values.requires_grad and torch.is_grad_enabled():
            return _Apply.apply(values, self)
        return self._apply(values)

    def _apply(self, values: Tensor, transpose: bool = False) -> Tensor:
        values = _sum_rows(values, *self.splat)
        for axis in reversed(self.blur) if transpose else self.blur:
            values = _sum_rows(values, *axis)
        return _sum_rows(values, *self.slice)


class _Apply(torch.autograd.Function):
    """Splat and slice are each other's transpose, and so is the blur with its axes reversed."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, filter: Filter) -> Tensor:
        ctx.filter = filter
        return filter._apply(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.filter._apply(gradient.contiguous(), transpose=True), None


def corners(features: Tensor) -> tuple[Tensor, Tensor, list[int]]:
    """The lattice around each point: d + 1 x N keys of its corners (int64), d + 1 x N weights.

    Equal keys mean equal corners. The list holds, for each blur axis, what to add to a key to get
    the next corner along it. features: d x N.

    Corners have d + 1 whole coordinates that sum to 0. Those of colour r are r modulo d + 1.
    """
    d, points = features.shape
    place = (_elevation(d).to(features) @ features) / (d + 1)
    cell = place.round()  # the nearest corner of colour 0, if these sum to 0: fixed below
    rest = place - cell
    rank = cell.sum(0).to(torch.int8).repeat(d + 1, 1)  # 0 for the axis with the largest rest
    for i in range(d + 1):
        for j in range(i):
            smaller = rest[i] > rest[j]
            rank[j] += smaller
            rank[i] += ~smaller
    wrap = (rank > d).to(torch.int8) - (rank < 0).to(torch.int8)
    rank, rest, cell = rank - wrap * (d + 1), rest + wrap, cell - wrap

    axis_of_rank = rank.long()
    falling = torch.empty_like(rest).scatter_(0, axis_of_rank, rest)
    weights = torch.cat([1 + falling[-1:] - falling[:1], (falling[:-1] - falling[1:]).flip(0)])

    # A key is a mixed-radix number of the first d coordinates, with room for the blur's steps.
    low, high = cell[:d].amin(1), cell[:d].amax(1)
    spans = ((high - low + 5) * (d + 1)).long().tolist()
    if prod(spans) >= 2**62:
        raise ValueError(f"features span {' x '.join(map(str, spans))} cells: use larger sigmas")
    radix = [prod(spans[axis + 1 :]) for axis in range(d)] + [0]
    step = torch.tensor(radix, device=features.device)
    keys = torch.empty_like(axis_of_rank)
    keys[0] = (step[:, None] * (d + 1) * cell.long()).sum(0)  # whole: floats are exact to 2^53
    by_rank = torch.empty_like(keys).scatter_(0, axis_of_rank, step[:, None].expand(-1, points))
    for colour in range(1, d + 1):  # up by one on all axes, down by d + 1 on one more
        keys[colour] = keys[colour - 1] + sum(radix) - (d + 1) * by_rank[d + 1 - colour]
    return keys, weights, [(d + 1) * r - sum(radix) for r in radix]


def _elevation(d: int) -> Tensor:
    """d + 1 x d: into the plane of coordinates that sum to 0, in the scale of a blur of sigma 1."""
    elevation = torch.zeros(d + 1, d, dtype=torch.float64)
    for axis in range(d):
        elevation[: axis + 1, axis] = 1
        elevation[axis + 1, axis] = -(axis + 1)
        elevation[:, axis] *= sqrt(2 / 3) * (d + 1) / sqrt((axis + 1) * (axis + 2))
    return elevation


# ---- Sums of weighted rows: index of each term, its weight, where each sum's terms begin ---------

Bags = tuple[Tensor, Tensor, Tensor]


def _sum_rows(values: Tensor, index: Tensor, weight: Tensor, begin: Tensor) -> Tensor:
    return torch.embedding_bag(values, index, begin, False, 0, False, weight, True)[0]


def _bags(index: Tensor, weight: Tensor) -> Bags:
    """N sums of T terms each: both are N x T."""
    sums, terms = index.shape
    begin = torch.arange(0, sums * terms + 1, terms, dtype=torch.int32, device=index.device)
    return index.flatten(), weight.flatten(), begin


def _neighbours(vertices: Tensor, step: int, dtype: torch.dtype) -> Bags:
    """The blur along one axis: half the previous corner, the corner, half the next one.

    Where no pixel made that neighbour, the corner stands in for it, with weight 0.
    """
    count = len(vertices)
    own = torch.arange(count + 1, device=vertices.device)  # the last stands for "not there"
    following = torch.searchsorted(vertices, vertices + step).clamp_(max=count - 1)
    there = vertices[following] == vertices + step
    previous = own.scatter(0, torch.where(there, following, count), own[:-1])[:-1]
    own = own[:-1]
    index = torch.stack([previous, own, torch.where(there, following, own)], 1).int()
    weight = (index != index[:, 1:2]).to(dtype) / 2
    weight[:, 1] = 1
    return _bags(index, weight)
