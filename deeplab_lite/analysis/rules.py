"""One rule for each family of operations: what do its results see, given what its operands see?"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from deeplab_lite.analysis import reductions as reductions  # its rules count, too
from deeplab_lite.analysis.bounds import (
    Axis,
    Field,
    carries,
    everything,
    pool_all,
    slide,
    squash,
    stride_seen,
    union,
)
from deeplab_lite.analysis.call import RULES, Call, Unknown, rule
from deeplab_lite.analysis.windows import max_unpool, windows


@rule("view_as_real")
def _parts(call: Call) -> Field:
    return tuple(replace(a, bounds=a.bounds[..., None]) for a in call.field)


@rule("view_as_complex")
def _complex(call: Call) -> Field:
    return tuple(replace(a, bounds=a.bounds.amax(-1)) for a in call.field)


@rule("mm", "bmm", "matmul", "addmm", "baddbmm", "_addmm_activation")
def _matmul(call: Call) -> Field:
    """Entry (i, j) reads row i of one factor and column j of the other."""
    bias, pair = call.args[:-2], call.args[-2:]
    if call.name in ("addmm", "baddbmm", "_addmm_activation"):
        bias, pair = call.args[:1], call.args[1:3]
    fields = [f for t in bias if (f := call.field_of(t))]
    for factor, dim in zip(pair, (-1, -2), strict=True):
        if (field := call.field_of(factor)) is not None:
            if factor.ndim < 2:
                raise Unknown
            fields.append(pool_all(field, factor.shape, [dim]))
    return union(fields, call.result.ndim)


@rule("linear")
def _linear(call: Call) -> Field:
    return pool_all(call.field, call.x.shape, [-1])


def _attention(call: Call) -> Field:
    """scaled_dot_product_attention: unit i reads query i, every key and every value."""
    reads = zip(call.args[:3], ([-1], [-1, -2], [-2]), strict=True)
    fields = [pool_all(f, t.shape, dims) for t, dims in reads if (f := call.field_of(t))]
    return union(fields, call.result.ndim)


@rule("cat", "stack")
def _cat(call: Call) -> Field:
    parts = [t for t in call.args[0] if t.numel()]
    dim = (call["dim"] or 0) % call.result.ndim
    fields = [call.field_of(t) for t in parts]
    known = [f for f in fields if f is not None]
    result = []
    for index in range(len(known[0])):
        pieces = []
        for t, field in zip(parts, fields, strict=True):
            if field is None:  # a constant sees nothing
                bounds = torch.full((4, *[1] * t.ndim), -inf, dtype=torch.float64)
            else:
                bounds = field[index].bounds
            if call.name == "stack":
                bounds = bounds.unsqueeze(dim + 1)
            else:
                bounds = bounds.expand(
                    *bounds.shape[: dim + 1], t.shape[dim], *bounds.shape[dim + 2 :]
                )
            pieces.append(bounds)
        common = [max(p.shape[d] for p in pieces) for d in range(pieces[0].ndim)]
        pieces = [
            p.expand(*common[: dim + 1], p.shape[dim + 1], *common[dim + 2 :]) for p in pieces
        ]
        stride = union(known, max(t.ndim for t in parts))[index].stride
        result.append(Axis(squash(torch.cat(pieces, dim + 1)), stride))
    return tuple(result)


@rule("im2col")
def _unfold(call: Call) -> Field:
    """F.unfold: pad as a convolution does, then move."""
    x, padding = call.x, call.sizes("padding", 2, 0)
    reads = {2 + k: windows(x.shape[2 + k] + 2 * p, 1, 1, p, 1) for k, p in enumerate(padding)}
    padded = slide(call.field, x.shape, reads)
    shape = [*x.shape[:2], *(x.shape[2 + k] + 2 * p for k, p in enumerate(padding))]
    args = (x, call["kernel_size"], call["dilation"], [0, 0], call["stride"])
    return move(call, padded, shape, args)[0]


@rule("col2im")
def _fold(call: Call) -> Field:
    """F.fold: each position reads all columns that land on it."""
    x, height_width = call.x, call.result.shape[-2:]
    if x.ndim != 3:
        raise Unknown  # without a batch
    options = (call[name] for name in ("kernel_size", "dilation", "padding", "stride"))
    places = torch.arange(1.0, 1 + height_width.numel(), dtype=torch.float64)  # 0 is padding
    landing = F.unfold(places.view(1, 1, *height_width), *options).long()  # 1, taps, columns
    result = []
    for index, axis in enumerate(call.field):
        columns = axis.bounds.expand(4, *x.shape).unflatten(2, (-1, landing.shape[1]))
        planes = columns.new_full((*columns.shape[:3], 1 + len(places)), -inf)
        planes.scatter_reduce_(3, landing.expand_as(columns).flatten(3), columns.flatten(3), "amax")
        bounds = squash(planes[..., 1:].unflatten(3, height_width))
        result.append(Axis(bounds, stride_seen(bounds, index, len(call.field), axis.stride)))
    return tuple(result)


@rule("glu")
def _glu(call: Call) -> Field:
    (dim,) = call.dims()
    half = call.x.shape[dim] // 2
    parts = [
        tuple(
            replace(a, bounds=a.bounds.narrow(dim + 1, s, half) if a.varies(dim) else a.bounds)
            for a in call.field
        )
        for s in (0, half)
    ]
    return union(parts, call.x.ndim)


@rule("copy_", "copy")
def _copy(call: Call) -> Field | None:
    source = call.field_of(call["src"])
    return source and union([source], call.result.ndim)


FRESH = (
    "fill_", "zero_", "bernoulli_", "uniform_", "normal_", "empty_like", "zeros_like",
    "ones_like", "full_like", "rand_like", "randn_like", "new_empty", "new_empty_strided",
    "new_zeros", "new_ones", "new_full",
)  # fmt: skip


@rule(*FRESH)
def _fresh(call: Call) -> Field | None:
    """Takes the shape of its first operand, not its values; what it is filled with may count."""
    filling = call.operands(start=1)
    return union(filling, call.result.ndim) if filling else None


@rule("as_strided_", "resize_", "resize_as_")
def _resize(call: Call) -> Field:
    if call.result.shape != call.x.shape:
        raise Unknown
    return call.field


def _pointwise(call: Call) -> Field:
    """A map of one unit that meets a larger one has one for images of any size: where it sees all
    that the larger one does, as in squeeze and excitation, it sees everything."""
    ndim, fields = call.result.ndim, call.operands()
    leaves = tree_leaves((call.args, call.kwargs))
    shapes = [t.shape for t in leaves if call.field_of(t) is not None]
    for k, shape in enumerate(shapes if len(fields) > 1 and ndim == len(fields[0]) + 2 else ()):
        if len(shape) == ndim and shape[2:].numel() == 1 < call.result.shape[2:].numel():
            whole = everything(fields, ndim)
            pairs = zip(fields[k], whole, strict=True)
            if all(bool((own.bounds[2:] >= most.bounds[2:]).all()) for own, most in pairs):
                fields[k] = whole
    return union(fields, ndim)


# Operations that only move values about: the bounds are moved by the operation itself.
MOVES = (
    "flip", "roll", "rot90", "repeat", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
    "native_channel_shuffle", "index", "index_select", "gather", "take_along_dim",
    "_unsafe_view", "_reshape_copy", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk",
)  # fmt: skip


@rule(*MOVES)
def _move(call: Call) -> list[Field]:
    others = [t for t in tree_leaves((call.args[1:], call.kwargs)) if isinstance(t, Tensor)]
    known = {id(t): call.constant(t, "its indices") for t in others}
    args = tree_map(lambda a: known.get(id(a), a), call.args)
    return move(call, call.field, call.x.shape, args)


def move(call: Call, field: Field, shape: Sequence[int], args: tuple) -> list[Field]:
    """Run the operation itself on the bounds; one field for each of its results."""

    def run(plane: Tensor) -> list[Tensor]:
        if call.name in ("view", "_unsafe_view", "_reshape_alias"):
            # Not a view here: bounds are laid out otherwise than the tensor.
            moved = plane.reshape(call.result.shape)
        else:
            moved = call.func(plane, *args[1:], **call.kwargs)
        return [squash(m[None])[0] for m in tree_leaves(moved)]

    results: list[list[Axis]] = [[] for _ in tree_leaves(call.out)]
    for index, axis in enumerate(field):
        planes = [run(plane.expand(shape)) for plane in axis.bounds]
        for k, same in enumerate(zip(*planes, strict=True)):
            bounds = squash(torch.stack(torch.broadcast_tensors(*same)))
            stride = axis.stride * _step_of_move(call, field, index)
            results[k].append(Axis(bounds, stride_seen(bounds, index, len(field), stride)))
    return [tuple(axes) for axes in results]


def _step_of_move(call: Call, field: Field, index: int) -> Fraction:
    name, shape = call.name, call.x.shape
    if name == "slice" and carries(field, index, call.dims()[0], shape):
        return Fraction(call["step"] or 1)
    if name == "flip" and any(carries(field, index, d, shape) for d in call.dims("dims")):
        return Fraction(-1)
    if name == "pixel_shuffle":
        return Fraction(1, call["upscale_factor"])
    if name == "pixel_unshuffle":
        return Fraction(call["downscale_factor"])
    return Fraction(1)


def field_after(call: Call) -> list[Field | None]:
    """The field of each tensor that the operation returned. Raises Unknown if it cannot be told."""
    name, outs = call.name, tree_leaves(call.out)
    result_field = RULES.get(name) or RULES.get(name.removesuffix("_"))
    if result_field is None and "scaled_dot_product" in name:
        result_field = _attention
    if result_field is None and call.is_pointwise:
        result_field = _pointwise
    if result_field is None and (call.func.is_view or name.endswith("_copy")):
        result_field = _move
    if result_field is None:
        raise Unknown
    result = result_field(call)
    results = result if isinstance(result, list) else [result] * len(outs)
    # Weights, gates or indices made from the input too: all that they see counts for every unit.
    others = [] if result_field in READ_ALL_OPERANDS else call.operands(start=1)

    def complete(field: Field, tensor: Tensor) -> Field:
        known = field if _fits(field, tensor) else everything([field], tensor.ndim)
        return union([known, everything(others, tensor.ndim)], tensor.ndim) if others else known

    return [f and complete(f, t) for f, t in zip(results, outs, strict=True)]


READ_ALL_OPERANDS = (_pointwise, _cat, _matmul, _attention, _copy, _fresh, max_unpool)


def _fits(field: Field, tensor: Tensor) -> bool:
    return all(
        a.bounds.ndim == tensor.ndim + 1
        and all(b in (1, n) for b, n in zip(a.bounds.shape[1:], tensor.shape, strict=True))
        for a in field
    )
