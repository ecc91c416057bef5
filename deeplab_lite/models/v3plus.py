"""DeepLab v3+: v3's pyramid, then a decoder that looks at stride 4 again. Taught in lesson 07.

Chen, Zhu, Papandreou, Schroff and Adam (2018), arXiv 1802.02611.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from deeplab_lite.models.aspp import ASPP, AtrousSeparableConv, fitting_rates
from deeplab_lite.models.base import DeepLab, check_output_stride
from deeplab_lite.models.zoo import build_backbone
from deeplab_lite.sizes import resize


class ConvBNReLU(nn.Sequential):
    """A convolution that keeps the size, BN, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, separable: bool = False):
        super().__init__(
            AtrousSeparableConv(in_channels, out_channels)
            if separable
            else nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class Decoder(nn.Module):
    """The pyramid's map enlarged to stride 4, low-level features beside it, 3x3 convolutions.

    Low-level maps have many channels, which would outweigh the pyramid's: a 1x1 reduces them to 48
    first. Section 3.1; tables 1 and 2 try other numbers of channels and of convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        low_level_channels: int,
        channels: int = 256,
        low_channels: int = 48,
        convs: int = 2,
        separable: bool = True,
        align_corners: bool = False,
    ):
        super().__init__()
        self.align_corners = align_corners
        self.reduce = ConvBNReLU(low_level_channels, low_channels, 1)
        widths = [in_channels + low_channels] + [channels] * convs
        self.refine = nn.Sequential(*(ConvBNReLU(a, b, 3, separable) for a, b in pairwise(widths)))

    def forward(self, x: Tensor, low: Tensor) -> Tensor:
        """x: B x in_channels x h x w, low: the backbone's map at stride 4, whose size comes out."""
        enlarged = resize(x, low.shape[-2:], self.align_corners)
        return self.refine(torch.cat([enlarged, self.reduce(low)], dim=1))


class DeepLabV3Plus(DeepLab):
    """Backbone, pyramid, decoder, 1x1 scores: B x 3 x H x W to logits B x num_classes x H x W.

    - `backbone` is one of zoo.BACKBONES; further options are its own, as VGG-16's width=0.25.
    - `output_stride` is 8, 16 or 32, and can be set later: weights stay, dilations and rates scale.
    - `separable` puts a depthwise 3x3 and a 1x1 in place of each 3x3 of pyramid and decoder.
    - `rates` of the pyramid are those at the given output_stride; None is 6, 12, 18 at 16, and
      twice that at 8. `multi_grid` multiplies dilations at the end of the backbone.
    - `channels` of pyramid and decoder, `low_channels` that the low-level map is reduced to,
      `convs` 3x3 in the decoder; `aspp_convs` 3x3 between pyramid and decoder: the paper has none.

    H and W are multiples of output_stride; with align_corners, multiples plus 1. Then the units of
    ResNet, Xception and EfficientNet lie on their pixels at every stride, and so do VGG-16's with
    pools="caffe"; those with pools="torchvision" do without align_corners.

    Raises ValueError for other sizes, and for an output_stride where a rate would be no whole
    number; warns of rates that belong to another output_stride, or reach over the whole map.
    """

    def __init__(
        self,
        num_classes: int = 21,
        backbone: str = "resnet50",
        output_stride: int = 16,
        separable: bool = True,
        multi_grid: tuple[int, int, int] = (1, 1, 1),
        rates: Iterable[int] | None = None,
        channels: int = 256,
        low_channels: int = 48,
        convs: int = 2,
        aspp_convs: int = 0,
        image_pooling: bool = True,
        align_corners: bool = False,
        dropout: float = 0.5,
        **options: Any,
    ):
        super().__init__(align_corners)
        check_output_stride(output_stride)
        network: Any = build_backbone(backbone, output_stride, multi_grid=multi_grid, **options)
        rates = fitting_rates(rates, output_stride)
        self.backbone = network
        self.aspp = ASPP(network.out_channels, rates, channels, separable, dropout, image_pooling)
        self.after_aspp = nn.Sequential(
            *(ConvBNReLU(channels, channels, 3, separable) for _ in range(aspp_convs))
        )
        self.decoder = Decoder(
            channels, network.low_channels, channels, low_channels, convs, separable, align_corners
        )
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    @property
    def rates(self) -> tuple[int, ...]:
        """Of the pyramid."""
        return self.aspp.rates

    @rates.setter
    def rates(self, rates: tuple[int, ...]) -> None:
        self.aspp.rates = rates

    def scores(self, x: Tensor) -> Tensor:
        """Logits at stride 4."""
        maps = self.backbone(x)
        wide = self.decoder(self.after_aspp(self.aspp(maps["out"])), maps["low"])
        return self.classifier(wide)
