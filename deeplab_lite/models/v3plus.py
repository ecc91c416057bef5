"""DeepLab v3+: v3's pyramid, then a decoder that looks at stride 4 again. Taught in lesson 07.

Chen, Zhu, Papandreou, Schroff and Adam, 2018, arXiv 1802.02611.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from .aspp import ASPP, AtrousSeparableConv
from .common import check_images, check_size, resize
from .trunks import trunk

RATES = (6, 12, 18)  # at output_stride 16; they scale with the map (section 4.1)


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
    """Low-level features reduced, the pyramid's enlarged and put beside them, 3x3 convolutions.

    Section 3.1 and figure 2. The pyramid's `channels` must outweigh the low-level ones, which are
    many and hard to learn from: so these are reduced to 48 (table 1).
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
        """x: B x in_channels x h x w, low: the trunk's map at stride 4; gives stride 4."""
        wide = resize(x, low.shape[-2:], self.align_corners)
        return self.refine(torch.cat([wide, self.reduce(low)], dim=1))


class DeepLabV3Plus(nn.Module):
    """Trunk, ASPP, decoder, 1x1 classifier: B x 3 x H x W to logits B x num_classes x H x W.

    backbone: a name of `trunks.NAMES`; further options are the trunk's (width=0.25 of VGG-16).
    output_stride: 8, 16 or 32; settable afterwards, weights are kept and dilations and rates scale.
    separable: depthwise and pointwise convolutions in place of the 3x3 in ASPP and decoder (3.1).
    rates: of ASPP at this output_stride; by default 6, 12, 18 at 16, twice that at 8.
    channels, low_channels, convs: of ASPP and decoder, of the reduced features, 3x3 in the decoder.
    H and W are multiples of output_stride, or with align_corners multiples plus 1.

    Raises ValueError for other sizes, and for an output_stride where a rate would be no whole
    number; warns of rates that reach over the whole map.
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
        image_pooling: bool = True,
        align_corners: bool = False,
        dropout: float = 0.5,
        **options: Any,
    ):
        super().__init__()
        self.align_corners = align_corners
        network: Any = trunk(backbone, output_stride, multi_grid, **options)
        self.backbone = network
        if rates is None:
            rates = scaled(RATES, 16, output_stride)
        self.aspp = ASPP(network.out_channels, rates, channels, separable, dropout, image_pooling)
        self.decoder = Decoder(
            channels, network.low_channels, channels, low_channels, convs, separable, align_corners
        )
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    @property
    def output_stride(self) -> int:
        """Pixels between neighbours on the trunk's last map."""
        return self.backbone.output_stride

    @output_stride.setter
    def output_stride(self, output_stride: int) -> None:
        rates = scaled(self.aspp.rates, self.output_stride, output_stride)
        self.backbone.output_stride = output_stride
        self.aspp.rates = rates

    def forward(self, x: Tensor) -> Tensor:
        check_images(x)
        check_size(x.shape[-2:], self.output_stride, self.align_corners)
        maps = self.backbone(x)
        x_4 = self.decoder(self.aspp(maps["out"]), maps["low"])
        return resize(self.classifier(x_4), x.shape[-2:], self.align_corners)


def scaled(rates: Iterable[int], old: int, new: int) -> tuple[int, ...]:
    """Rates of output stride `old` on the map of output stride `new`: the same pixels apart."""
    rates = tuple(rates)
    if any(rate * old % new for rate in rates):
        raise ValueError(
            f"rates {rates} at output_stride {old} have no whole counterparts at {new}: "
            "build the model with `rates` for that output_stride"
        )
    return tuple(rate * old // new for rate in rates)
