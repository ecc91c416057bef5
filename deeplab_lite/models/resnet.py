"""ResNet as a backbone, its late strides traded for dilation. Taught in lesson 06; DeepLab v3, 3.2.

He, Zhang, Ren, Sun (2015), arXiv 1512.03385. Keys are torchvision's, without the classifier.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from deeplab_lite.models.base import Backbone, init_weights, set_dilation

# output_stride: (stride, dilation) of layer2, layer3, layer4
STAGES = {
    32: ((2, 1), (2, 1), (2, 1)),
    16: ((2, 1), (2, 1), (1, 2)),
    8: ((2, 1), (1, 2), (1, 4)),
}


class Block(nn.Module):
    """Convolutions and, beside them, a shortcut: a 1x1 where the channels change, else nothing."""

    strided: str  # name of the convolution that takes the stride

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
            )

    def set_stride(self, stride: int) -> None:
        convs: list[Any] = [self.get_submodule(self.strided)]
        if self.downsample is not None:
            convs.append(self.downsample[0])
        for conv in convs:
            conv.stride = (stride, stride)

    def shortcut(self, x: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(x)


class BasicBlock(Block):
    """Two 3x3 convolutions: ResNet-18 and 34."""

    expansion = 1
    strided = "conv1"

    def __init__(self, in_channels: int, channels: int):
        super().__init__(in_channels, channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def dilate(self, before: int, after: int) -> None:
        """Dilations: up to and with the convolution that takes the stride, and after it."""
        set_dilation(self.conv1, before)
        set_dilation(self.conv2, after)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return self.relu(y)


class Bottleneck(Block):
    """1x1 to a quarter of the channels, 3x3, 1x1 back: ResNet-50 and 101.

    The stride stands on the 3x3, as in torchvision, or on the first 1x1, as in the original.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride_on: str = "3x3"):
        out_channels = channels * self.expansion
        super().__init__(in_channels, out_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.strided = "conv2" if stride_on == "3x3" else "conv1"

    def dilate(self, before: int, after: int) -> None:
        """Dilations: up to and with the convolution that takes the stride, and after it."""
        set_dilation(self.conv2, before if self.strided == "conv2" else after)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += self.shortcut(x)
        return self.relu(y)


BLOCKS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(Backbone):
    """B x 3 x H x W to {"low": stride 4, "aux": layer3's map, "out": at output_stride}. Lesson 06.

    - `output_stride` is 8, 16 or 32, and can be set later: weights stay. The values are then those
      of the strided network at its positions: the convolution that loses its stride reads the map
      it read before, and so keeps its dilation, as torchvision's replace_stride_with_dilation does.
    - `multi_grid` other than (1, 1, 1) multiplies the dilation of layer4's three blocks, the first
      one included (v3, section 3.2.1): at output_stride 16, (1, 2, 4) gives 2, 4, 8.
    - `stride_on="1x1"` strides where the original network and DeepLab v2 do. The parameters are the
      same ones, yet trained for one placement they are wrong for the other.

    The original's max pool rounds up; sizes of k output_stride + 1 come out the same either way.
    Raises ValueError for unknown names, strides and placements, and for a multi_grid that does not
    fit the blocks.
    """

    def __init__(
        self,
        name: str = "resnet50",
        output_stride: int = 16,
        multi_grid: tuple[int, int, int] = (1, 1, 1),
        stride_on: str = "3x3",
    ):
        super().__init__()
        if name not in BLOCKS:
            raise ValueError(f"no ResNet is called {name!r}: there are {', '.join(BLOCKS)}")
        block, depths = BLOCKS[name]
        placements = ("3x3", "1x1") if block is Bottleneck else ("3x3",)
        if stride_on not in placements:
            raise ValueError(f"stride_on {stride_on!r}: {name} knows {' and '.join(placements)}")
        self.name, self.stride_on, self.multi_grid = name, stride_on, tuple(multi_grid)
        if self.multi_grid != (1, 1, 1) and len(self.multi_grid) != depths[3]:
            raise ValueError(
                f"multi_grid {self.multi_grid}: expected one multiplier for each of the "
                f"{depths[3]} blocks in layer4 of {name}"
            )
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        options = {"stride_on": stride_on} if block is Bottleneck else {}
        stages, entering = [], 64
        for channels, depth in zip((64, 128, 256, 512), depths, strict=True):
            leaving = channels * block.expansion
            blocks = [block(n, channels, **options) for n in [entering] + [leaving] * (depth - 1)]
            stages.append(nn.Sequential(*blocks))
            entering = leaving
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.low_channels = 64 * block.expansion
        self.aux_channels = 256 * block.expansion
        self.out_channels = 512 * block.expansion
        self.output_stride = output_stride
        init_weights(self, "fan_out")  # as torchvision does

    def set_strides(self, output_stride: int) -> None:
        layers = (self.layer2, self.layer3, self.layer4)
        before = 1
        for layer, (stride, after) in zip(layers, STAGES[output_stride], strict=True):
            blocks: list[Any] = list(layer)
            blocks[0].set_stride(stride)
            blocks[0].dilate(before, after)
            for block in blocks[1:]:
                block.dilate(after, after)
            before = after
        if self.multi_grid != (1, 1, 1):
            dilate_grid(self.layer4, before, self.multi_grid)

    def load_torchvision(self, state_dict: Mapping[str, Tensor]) -> None:
        """Take the weights of a classifier, as of torchvision.models.resnet50(...).state_dict()."""
        self.load_state_dict({k: v for k, v in state_dict.items() if not k.startswith("fc.")})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        low = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        aux = self.layer3(self.layer2(low))
        return {"low": low, "aux": aux, "out": self.layer4(aux)}


def dilate_grid(blocks: nn.Sequential, dilation: int, multi_grid: tuple[int, ...]) -> None:
    """Give each block its multiple of `dilation`. DeepLab v3, section 3.2.1."""
    every: list[Any] = list(blocks)
    for block, multiplier in zip(every, multi_grid, strict=True):
        block.dilate(multiplier * dilation, multiplier * dilation)
