"""ResNet as a trunk, its late strides traded for dilation. Taught in lesson 06; DeepLab v3, 3.2.

Keys are torchvision's, without the classifier. He et al. (2015), arXiv 1512.03385.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from .common import check_output_stride, set_dilation

#     output_stride: (stride, dilation) of layer2, layer3, layer4
STAGES = {
    32: ((2, 1), (2, 1), (2, 1)),
    16: ((2, 1), (2, 1), (1, 2)),
    8: ((2, 1), (1, 2), (1, 4)),
}


def _shortcut(in_channels: int, out_channels: int) -> nn.Sequential | None:
    """What x goes through beside the convolutions: nothing, if its shape stays."""
    if in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: ResNet-18 and 34."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, channels)

    def set_stride(self, stride: int, before: int, after: int) -> None:
        """Stride of the block; dilation up to its strided convolution, and from there on."""
        self.conv1.stride = (stride, stride)
        set_dilation(self.conv1, before)
        set_dilation(self.conv2, after)
        if self.downsample is not None:
            self.downsample[0].stride = (stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class Bottleneck(nn.Module):
    """1x1 to a quarter of the channels, 3x3, 1x1 back, and a shortcut: ResNet-50 and 101.

    The stride stands on the 3x3, as in torchvision, or on the first 1x1, as in the original.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride_on: str = "3x3"):
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels)
        self.stride_on = stride_on

    def set_stride(self, stride: int, before: int, after: int) -> None:
        """Stride of the block; dilation up to its strided convolution, and from there on."""
        late = self.stride_on == "3x3"
        strided = self.conv2 if late else self.conv1
        strided.stride = (stride, stride)
        set_dilation(self.conv2, before if late else after)
        if self.downsample is not None:
            self.downsample[0].stride = (stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


BLOCKS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(nn.Module):
    """B x 3 x H x W to {"low": stride 4, "aux": layer3's map, "out": at output_stride}.

    With multi_grid (1, 1, 1), where a stage loses its stride, the values stay those of the strided
    network at its positions: the first block's 3x3 reads what it read before, so it keeps the
    dilation of the stage before, as with torchvision's replace_stride_with_dilation. Any other
    multi_grid multiplies the dilation of all three blocks of layer4 (DeepLab v3, section 3.2.1).

    stride_on="1x1" puts the strides where the original network and DeepLab v2 have them; the
    parameters are the same ones.
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
        if stride_on not in ("3x3", "1x1") or (stride_on == "1x1" and block is BasicBlock):
            raise ValueError(
                f"stride_on {stride_on!r} in {name}: expected '3x3', or '1x1' from 50 on"
            )
        if tuple(multi_grid) != (1, 1, 1) and depths[3] != len(multi_grid):
            raise ValueError(
                f"multi_grid {tuple(multi_grid)}: layer4 of {name} has {depths[3]} blocks, "
                "each wants one multiplier"
            )
        options = {"stride_on": stride_on} if block is Bottleneck else {}
        self.multi_grid = tuple(multi_grid)
        self.low_channels, self.aux_channels, self.out_channels = (
            channels * block.expansion for channels in (64, 256, 512)
        )
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        entering = 64
        for number, (channels, depth) in enumerate(
            zip((64, 128, 256, 512), depths, strict=True), start=1
        ):
            leaving = channels * block.expansion
            stage = [block(entering, channels, **options)]
            stage += [block(leaving, channels, **options) for _ in range(depth - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*stage))
            entering = leaving
        self.output_stride = output_stride
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    @property
    def output_stride(self) -> int:
        """8, 16 or 32; settable, weights are kept."""
        return self._output_stride

    @output_stride.setter
    def output_stride(self, output_stride: int) -> None:
        self._output_stride = check_output_stride(output_stride)
        dilation = 1
        for number, (stride, after) in enumerate(STAGES[output_stride], start=2):
            before, dilation = dilation, after
            grid = self.multi_grid if number == 4 else (1, 1, 1)
            for i, block in enumerate(self.get_submodule(f"layer{number}")):
                if grid != (1, 1, 1):
                    before = after = grid[i] * dilation
                block.set_stride(stride if i == 0 else 1, before if i == 0 else after, after)

    def load_torchvision(self, state: Mapping[str, Tensor]) -> None:
        """Load a classifier's weights, as torchvision.models.resnet50(...).state_dict()."""
        self.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        low = self.layer1(x)
        aux = self.layer3(self.layer2(low))
        return {"low": low, "aux": aux, "out": self.layer4(aux)}
