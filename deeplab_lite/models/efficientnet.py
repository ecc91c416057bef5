"""EfficientNet-Lite0 as a backbone, with ImageNet weights that need no download. Used in lesson 07.

Inverted residuals (a 1x1 that widens, a depthwise convolution, a 1x1 that narrows) without gates,
and ReLU6: EfficientNet (Tan and Le, 2019, arXiv 1905.11946) for small devices. Keys are timm's.
"""

from collections import OrderedDict

from torch import Tensor, nn

from deeplab_lite.models.base import Backbone, convolutions, set_dilation, trade_strides

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


class InvertedResidual(nn.Sequential):
    """1x1 (left out where it would not widen), depthwise, 1x1; added to its input if that fits."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, widening: int
    ):
        wide = widening * in_channels
        depthwise = nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False)
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


class EfficientNetLite0(Backbone):
    """B x 3 x H x W to {"low": B x 24 at stride 4, "out": B x 320 at output_stride}. Lesson 07.

    - `output_stride` is 8, 16 or 32, and can be set later: weights stay. The values are those of
      the strided network at its positions (lesson 02).
    - `multi_grid` multiplies the dilations of the last three blocks.
    - Both sides of a map are padded alike, so that unit i lies on pixel i * stride. That is timm's
      network at sides of 32 k + 1. At even ones its 'same' padding shifts the last map by 31
      pixels and the low-level one by 3: no matter for a class, but a decoder wants both in place.

    Normalise images as photos.preprocess does. Raises ValueError for another output_stride.
    """

    low_channels, out_channels = 24, 320

    def __init__(self, output_stride: int = 16, multi_grid: tuple[int, int, int] = (1, 1, 1)):
        super().__init__()
        self.conv_stem = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
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
        self.multi_grid = tuple(multi_grid)
        self.output_stride = output_stride

    def set_strides(self, output_stride: int) -> None:
        depthwise = convolutions(self, depthwise=True)
        strides = [stride if i == 0 else 1 for _, stride, _, _, n in STAGES for i in range(n)]
        grid = [1] * (len(strides) - len(self.multi_grid)) + list(self.multi_grid)
        table = trade_strides(strides, output_stride, stem=2)
        for conv, (stride, dilation), multiplier in zip(depthwise, table, grid, strict=True):
            conv.stride = (stride, stride)
            set_dilation(conv, multiplier * dilation)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.act1(self.bn1(self.conv_stem(x)))
        low = self.blocks[: LOW + 1](x)
        return {"low": low, "out": self.blocks[LOW + 1 :](low)}


def batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
