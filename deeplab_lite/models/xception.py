"""Aligned Xception-65, the backbone of DeepLab v3+ (section 3.2, figure 4). Taught in lesson 07.

Xception made deeper, its max pools replaced by separable convolutions with a stride, so that all
strides can be traded for dilation, and BN after each depthwise 3x3. The paper adds a ReLU there
too; its code, whose weights are the published ones, does so in the last block only, and so does
this. Keys are timm's.
"""

from collections import OrderedDict
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from deeplab_lite.models.base import Backbone, convolutions, set_dilation, trade_strides

#             channels of the three convolutions, stride
ENTRY = (
    ((128, 128, 128), 2),
    ((256, 256, 256), 2),
    ((728, 728, 728), 2),
)
MIDDLE = (((728, 728, 728), 1),) * 16
EXIT = (
    ((728, 1024, 1024), 2),
    ((1536, 1536, 2048), 1),  # ReLU after every convolution, no shortcut
)
TABLE = (*ENTRY, *MIDDLE, *EXIT)
LOW = 1  # the block whose second convolution gives the low-level features, at stride 4


class ConvBN(nn.Sequential):
    """Convolution, BN, and ReLU unless relu=False."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, relu: bool = True
    ):
        super().__init__(
            OrderedDict(
                conv=nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
                bn=nn.BatchNorm2d(out_channels, eps=1e-3),
                act=nn.ReLU() if relu else nn.Identity(),
            )
        )


class SeparableConv(nn.Sequential):
    """Depthwise 3x3, BN, pointwise 1x1, BN; with ReLU after both in the last block."""

    def __init__(self, in_channels: int, out_channels: int, relu: bool):
        super().__init__(
            OrderedDict(
                conv_dw=nn.Conv2d(
                    in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False
                ),
                bn_dw=nn.BatchNorm2d(in_channels, eps=1e-3),
                act_dw=nn.ReLU() if relu else nn.Identity(),
                conv_pw=nn.Conv2d(in_channels, out_channels, 1, bias=False),
                bn_pw=nn.BatchNorm2d(out_channels, eps=1e-3),
                act_pw=nn.ReLU() if relu else nn.Identity(),
            )
        )


class Block(nn.Module):
    """Three separable convolutions, the third with the stride, beside a shortcut."""

    def __init__(self, in_channels: int, widths: tuple[int, ...], stride: int, last: bool):
        super().__init__()
        self.stack = nn.Sequential()
        for i, (wide, wider) in enumerate(pairwise((in_channels, *widths)), start=1):
            self.stack.add_module(f"act{i}", nn.Identity() if last else nn.ReLU())
            self.stack.add_module(f"conv{i}", SeparableConv(wide, wider, relu=last))
        project = ConvBN(in_channels, widths[-1], 1, relu=False) if stride > 1 else None
        self.shortcut = project
        self.last = last

    def lay_out(self, stride: int, dilations: tuple[int, int, int]) -> None:
        """Set the stride, and the dilation of each 3x3; weights are kept."""
        depthwise = convolutions(self, depthwise=True)
        for conv, dilation in zip(depthwise, dilations, strict=True):
            set_dilation(conv, dilation)
        depthwise[-1].stride = (stride, stride)
        if self.shortcut is not None:
            convolutions(self.shortcut)[0].stride = (stride, stride)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and its second convolution's."""
        second = self.stack[:4](x)
        y = self.stack[4:](second)
        if self.last:
            return y, second
        return y + (x if self.shortcut is None else self.shortcut(x)), second


class Xception65(Backbone):
    """B x 3 x H x W to {"low": B x 256 at stride 4, "out": B x 2048 at output_stride}. Lesson 07.

    - `output_stride` is 8, 16 or 32, and can be set later: weights stay. The values are those of
      the strided network at its positions (lesson 02).
    - `multi_grid` multiplies the dilations of the last block's three 3x3.
    - "low" is taken after BN and before ReLU, as in the paper's own code.

    Raises ValueError for another output_stride.
    """

    low_channels, out_channels = 256, 2048

    def __init__(self, output_stride: int = 16, multi_grid: tuple[int, int, int] = (1, 1, 1)):
        super().__init__()
        self.stem = nn.Sequential(ConvBN(3, 32, 3, stride=2), ConvBN(32, 64, 3))
        channels = [64, *(widths[-1] for widths, _ in TABLE)]
        self.blocks: Any = nn.ModuleList(
            Block(channels[i], widths, stride, last=i == len(TABLE) - 1)
            for i, (widths, stride) in enumerate(TABLE)
        )
        self.multi_grid = tuple(multi_grid)
        self.output_stride = output_stride

    def set_strides(self, output_stride: int) -> None:
        table = trade_strides((stride for _, stride in TABLE), output_stride, stem=2)
        for block, (stride, dilation) in zip(self.blocks, table, strict=True):
            grid = self.multi_grid if block.last else (1, 1, 1)
            block.lay_out(stride, tuple(dilation * multiplier for multiplier in grid))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            x, second = block(x)
            if i == LOW:
                low = second
        return {"low": low, "out": x}
