"""The field by experiment: which rows and columns of pixels reach a unit. Lesson 01, section 5."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from deeplab_lite.analysis.call import Call
from deeplab_lite.analysis.fields import Region, Unit, known_layer, unit_index, watch
from deeplab_lite.analysis.input_shape import InputSize, explained, input_shape
from deeplab_lite.analysis.rules import FRESH
from deeplab_lite.analysis.twins import separate
from deeplab_lite.analysis.windows import base, pooled, transposed_windows, unpooled

VISIBLE = 1e-6  # float64 interpolation leaves weights of 1e-16 where the exact weight is 0


def brute_force(
    model: nn.Module, input_size: InputSize, unit: Unit, layer: str = ""
) -> Region | None:
    """First and last pixel that reach `unit` of `layer`, per axis, by lighting every row and
    column.

    Raw gradients lie here: a max pool passes one winner on, ReLU6 saturates, a hundred layers
    underflow. So the network is linearised: all weights are 1, a nonlinearity lets everything
    through, and each result is cut to 0 or 1. One pass per axis, with a batch of one image per row
    (or a pass for each, where a network takes one alone): meant for small inputs. Arguments as in
    `receptive_fields`. None if no pixel reaches the unit.
    """
    reach = reached(model, input_size, layer)
    at = unit_index(unit, reach[0].shape[1:])
    region = []
    for rows in reach:
        for i in at:
            rows = rows.select(1, i)
        pixels = rows.nonzero().flatten()
        if len(pixels) == 0:
            return None
        region.append((int(pixels[0]), int(pixels[-1])))
    return tuple(region)


def reached(model: nn.Module, input_size: InputSize, layer: str = "") -> list[Tensor]:
    """Per axis a bool tensor (pixels, *map): does row (column) p of the input reach the unit?"""
    shape = input_shape(model, input_size)
    network = separate(model).double()
    result = []
    for axis, n in enumerate(shape[2:]):
        images = torch.zeros(n, *shape[1:], dtype=torch.float64)
        for p in range(n):
            images[p].select(axis + 1, p).fill_(1)
        try:
            output = _output(network, images, layer)
        except ValueError:
            output = images[:0]
        if output.shape[:1] != (n,):  # a batch of one is written into the network
            output = torch.cat([_output(network, image[None], layer) for image in images])
        if output.ndim == len(shape):
            rows = output.amax(1)
        else:
            rows = output.reshape(n, -1).amax(1).reshape(n, *[1] * (len(shape) - 2))
        result.append(rows > 0)
    return result


def _output(network: nn.Module, images: Tensor, layer: str) -> Tensor:
    """What a layer gives for images of 0 and 1."""
    outputs: dict[str, Tensor] = {}
    with explained(images.shape), watch(network, outputs.__setitem__), _Reach() as mode:
        mode.mark(images)
        network(images)
    return outputs[known_layer(layer, outputs)]


class _Reach(TorchDispatchMode):
    """Lets tensors that came from the input carry 0 (not reached) or 1 through every operation."""

    def __init__(self) -> None:
        super().__init__()
        self.keep: dict[int, Tensor] = {}
        self.pools: dict[int, Tensor] = {}  # what a max pool saw, by the id of its indices

    def mark(self, tensor: Any) -> None:
        if isinstance(tensor, Tensor):
            self.keep[id(tensor)] = tensor

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        call = Call(func, args, kwargs or {}, None, lambda t: self.keep.get(id(t)))
        marked: list[Any] = call.operands()
        if not marked or call.name in FRESH:
            return func(*args, **call.kwargs)
        out = self._pass_on(call, marked)
        if call.written is not None:
            target = call.written
            canvas = target if target._base is None else target._base
            if id(canvas) not in self.keep:
                canvas.zero_()  # what stood on it did not come from the input
                self.mark(canvas)
            self.mark(target)
            return target.copy_(tree_leaves(out)[0])
        for tensor in tree_leaves(out):
            self.mark(tensor)
        return out

    def _pass_on(self, call: Call, marked: list[Tensor]) -> Any:
        name, x = call.name, marked[0]
        if name in ("convolution", "_convolution"):
            weight = torch.ones_like(call["weight"], dtype=x.dtype)
            return _cut(call.func(x, weight, None, *call.args[3:]))
        if name.startswith("max_unpool"):
            return self._unpool(call)
        if "batch_norm" in name:
            return (_spread(x, range(2, x.ndim)) if call["training"] else x.clone()), x, x
        if name == "native_layer_norm":
            return _spread(x, range(x.ndim - len(call["normalized_shape"]), x.ndim)), x, x
        if name == "native_group_norm":
            grouped = x.unflatten(1, (call["group"], -1))
            return _spread(grouped, range(2, grouped.ndim)).flatten(1, 2), x, x
        if "softmax" in name:
            return _spread(x, [call["dim"]])
        if name in ("mm", "bmm", "addmm", "baddbmm"):
            rows, columns = call.args[-2:] if name in ("mm", "bmm") else call.args[1:3]
            known = [float(id(t) in self.keep) for t in (rows, columns)]
            reach = rows.abs().sum(-1, keepdim=True) * known[0]
            return _cut(reach + columns.abs().sum(-2, keepdim=True) * known[1])
        if call.is_pointwise:
            tensors = [t for t in tree_leaves((call.args, call.kwargs)) if isinstance(t, Tensor)]
            shape = torch.broadcast_shapes(*(t.shape for t in tensors))
            reach = torch.stack([t.to(x.dtype).expand(shape) for t in marked]).amax(0)
            return (reach, reach) if name == "native_dropout" else reach
        if name == "constant_pad_nd":
            return call.func(x, call["pad"])  # a constant border shows nothing
        if name == "copy_":
            return call["src"]
        out = call.func(*call.args, **call.kwargs)
        if name.startswith("max_pool") and name.endswith("with_indices"):
            call.out = out
            pooled(call)  # the indices keep a note of it
            self.pools[id(out[1])] = _cut(out[0])
        return out if call.func.is_view else tree_map(_cut, out)

    def _unpool(self, call: Call) -> Tensor:
        """The largest of a window may be at any of its pixels: what is known lands on them all."""
        indices, out = call["indices"], call.func(*call.args, **call.kwargs)
        reach = torch.maximum(call.x, self.pools[id(base(indices))].view(indices.shape))
        for dim, window in unpooled(indices, out).items():
            taps = transposed_windows(out.shape[dim], *window)
            n, shape = reach.shape[dim], tuple(taps.seen.shape)
            landed = (taps.seen >= 0) & (taps.seen < n) & torch.as_tensor(taps.exists)
            reach = reach.index_select(dim, taps.seen.clamp(0, n - 1).flatten())
            landed = landed.view(*shape, *[1] * (out.ndim - dim - 1))
            reach = (reach.unflatten(dim, shape) * landed).amax(dim + 1)
        return reach


def _cut(tensor: Any) -> Any:
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        return tensor
    reached = (tensor.abs() > VISIBLE) & tensor.isfinite()  # a max pool over padding is -inf
    return reached.to(tensor.dtype)


def _spread(x: Tensor, dims: Iterable[int]) -> Tensor:
    return x.amax(list(dims), keepdim=True).expand_as(x).clone()
