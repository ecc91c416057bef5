"""Layers that had a stride and now read a denser map. Taught in lesson 02, section 4.

Neighbours on the original's map lie `spacing` apart on the dense one, so taps and padding are
spread by it, and what the original computes at u comes out at spacing * u. At the border too: the
original's n rows have become n', with spacing * (n - 1) < n' <= spacing * n, so its row m is off
its map (m < 0 or m >= n) exactly where row spacing * m is off the dense one (< 0 or >= n').
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Window(NamedTuple):
    """One axis of a convolution or pool: as it was, and the two numbers that make it dense."""

    kernel: int
    stride: int
    dilation: int
    padding: int | str  # "same" is TensorFlow's: it depends on the size of the map
    ceil: bool
    spacing: int
    step: int  # the stride that is left

    @property
    def reach(self) -> int:
        return self.dilation * (self.kernel - 1)

    @property
    def rate(self) -> int:
        return self.spacing * self.dilation if self.kernel > 1 else 1

    @property
    def centred(self) -> bool:
        """Whether both sides are padded alike and the size kept, so that spreading is enough."""
        return self.padding != "same" and 2 * int(self.padding) == self.reach

    def border(self, size: int) -> tuple[int, int]:
        """Padding before and after a dense map of `size` pixels; negative crops.

        Before: the original's, spread. After: what the number of outputs needs. A layer that keeps
        the size has ceil(n / stride) outputs, and `size` positions to compute them at. One output
        more or fewer is spacing * stride positions more or fewer.
        """
        n = _ceil(size, self.spacing)
        kept = _ceil(n, self.stride)
        if self.padding == "same":
            outputs, left = kept, max((kept - 1) * self.stride + self.reach + 1 - n, 0) // 2
        else:
            left = int(self.padding)
            room = n + 2 * left - self.reach - 1
            outputs = (_ceil(room, self.stride) if self.ceil else room // self.stride) + 1
            if self.ceil and (outputs - 1) * self.stride >= n + left:
                outputs -= 1  # PyTorch leaves out a window that starts in the padding
        positions = size + self.spacing * self.stride * (outputs - kept)
        last = (_ceil(positions, self.step) - 1) * self.step  # where the last window starts
        left *= self.spacing
        return left, last + self.spacing * self.reach + 1 - size - left

    def own_padding(self, size: int) -> tuple[int, int]:
        """The part of the border that an average may count: all but what ceil_mode adds."""
        if self.padding == "same":
            return self.border(size)
        return (self.spacing * int(self.padding),) * 2


class PaddedConv2d(nn.Conv2d):
    """A convolution whose two sides are padded differently."""

    windows: tuple[Window, Window]

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, _borders(input, *self.windows)))


class AtrousMaxPool2d(nn.MaxPool2d):
    """Max pooling over a window with holes."""

    def __init__(self, y: Window, x: Window):
        super().__init__((y.kernel, x.kernel), (y.step, x.step), dilation=(y.rate, x.rate))
        self.windows = (y, x)

    def forward(self, input: Tensor) -> Tensor:
        pooled = super().forward(F.pad(input, _borders(input, *self.windows), value=-torch.inf))
        # A new position past the original's last can have nothing but padding in its window: 0.
        return pooled.masked_fill(pooled.isneginf(), 0)


class AtrousAvgPool2d(nn.Module):
    """Average pooling over a window with holes: a dilated sum over a dilated count."""

    def __init__(self, pool: nn.AvgPool2d, y: Window, x: Window):
        super().__init__()
        self.windows, self.divisor = (y, x), pool.divisor_override
        self.count_padding = pool.count_include_pad or y.padding == "same"

    def forward(self, x: Tensor) -> Tensor:
        border = _borders(x, *self.windows)
        total = self._sum(F.pad(x, border))
        if self.divisor is not None:
            return total / self.divisor
        y_axis, x_axis = self.windows
        own = [*x_axis.own_padding(x.shape[-1]), *y_axis.own_padding(x.shape[-2])]
        counted = F.pad(torch.ones_like(x[:1, :1]), own, value=float(self.count_padding))
        beyond = [both - inner for both, inner in zip(border, own, strict=True)]
        return total / self._sum(F.pad(counted, beyond)).clamp(min=1)

    def _sum(self, x: Tensor) -> Tensor:
        (ky, sy, dy), (kx, sx, dx) = ((w.kernel, w.step, w.rate) for w in self.windows)
        ones = x.new_ones(1, 1, ky, kx)
        sums = F.conv2d(x.flatten(0, 1)[:, None], ones, stride=(sy, sx), dilation=(dy, dx))
        return sums.unflatten(0, x.shape[:2])[:, :, 0]


WINDOWED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.ConstantPad2d)
DENSE = (PaddedConv2d, AtrousMaxPool2d, AtrousAvgPool2d)


def densify(layer: Any, spacing: tuple[int, int], step: tuple[int, int]) -> nn.Module:
    """One of WINDOWED for a map spaced (y, x): changed in place, or another in place of a pool.

    step is the stride that it keeps. timm's Conv2dSame and pools of that name are included.
    """
    if isinstance(layer, nn.ConstantPad2d):
        (y, x), (left, right, top, bottom) = spacing, layer.padding
        layer.padding = (x * left, x * right, y * top, y * bottom)
        return layer
    same = layer.padding == "same" or "Same" in type(layer).__name__
    padding = "same" if same else 0 if layer.padding == "valid" else layer.padding
    dilation, ceil = getattr(layer, "dilation", 1), getattr(layer, "ceil_mode", False)
    settings = (layer.kernel_size, layer.stride, dilation, padding, ceil, spacing, step)
    rows, columns = windows = [Window(*(pair(s)[axis] for s in settings)) for axis in (0, 1)]
    if isinstance(layer, nn.MaxPool2d):
        return AtrousMaxPool2d(rows, columns)
    if isinstance(layer, nn.AvgPool2d):
        return AtrousAvgPool2d(layer, rows, columns)
    layer.stride, layer.dilation = step, (rows.rate, columns.rate)
    if rows.centred and columns.centred:
        layer.padding = tuple(window.spacing * window.padding for window in windows)
    else:  # a change of class, so that the parameters keep their names
        layer.__class__, layer.windows, layer.padding = PaddedConv2d, (rows, columns), (0, 0)
    return layer


def every(x: Tensor, spacing: Sequence[int]) -> Tensor:
    """x at every spacing-th position of each axis, from the first."""
    return x[tuple(slice(None, None, step) for step in spacing)]


def pair(value: Any) -> tuple[Any, Any]:
    """(y, x) of a setting that may be one for both."""
    return tuple(value) if isinstance(value, list | tuple) else (value, value)


def _borders(x: Tensor, y_axis: Window, x_axis: Window) -> list[int]:
    """Padding as F.pad wants it: left, right, top, bottom."""
    return [*x_axis.border(x.shape[-1]), *y_axis.border(x.shape[-2])]


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
