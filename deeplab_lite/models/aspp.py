"""Atrous spatial pyramid pooling with batch norm. Taught in lesson 06; DeepLab v3, section 3.3.

The same map is looked at with several rates at once, and as a whole; v2's older form, where each
branch gives scores that are summed, is in v2.py. Keys are torchvision's.
"""

import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from deeplab_lite.models.base import set_dilation
from deeplab_lite.sizes import resize

# The paper's rates at each output_stride: the same 96, 192 and 288 pixels.
PAPER_RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}


class AtrousSeparableConv(nn.Sequential):
    """A 3x3 of its own for each channel, atrous, then a 1x1 that mixes channels; no bias.

    DeepLab v3+, section 3.1. Taught in lesson 07.
    """

    def __init__(self, in_channels: int, out_channels: int, rate: int = 1):
        super().__init__(
            nn.Conv2d(
                in_channels,
                in_channels,
                3,
                padding=rate,
                dilation=rate,
                groups=in_channels,
                bias=False,
            ),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
        )


class ASPPConv(nn.Sequential):
    """3x3 atrous convolution, BN, ReLU: one branch of the pyramid."""

    def __init__(self, in_channels: int, out_channels: int, rate: int, separable: bool = False):
        super().__init__(
            AtrousSeparableConv(in_channels, out_channels, rate)
            if separable
            else nn.Conv2d(in_channels, out_channels, 3, padding=rate, dilation=rate, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )

    @property
    def atrous(self) -> nn.Conv2d:
        """The 3x3 with the rate; of a separable branch, its depthwise part."""
        return next(layer for layer in self[0].modules() if isinstance(layer, nn.Conv2d))


class ASPPPooling(nn.Sequential):
    """The mean of the whole map, 1x1 convolution, BN, ReLU, spread over the map again."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Raises ValueError in train mode with a batch of 1: BN would see one value a channel."""
        pool, conv, norm, relu = self
        alone = type(norm) is nn.BatchNorm2d  # else it sees the images of other processes too
        if norm.training and alone and len(x) == 1:
            raise ValueError(
                "batch norm after image pooling sees one value per channel in a batch of 1: train "
                "with two images or more (drop_last=True for the last batch), or call model.eval()"
            )
        return resize(relu(norm(conv(pool(x)))), x.shape[-2:], align_corners=False)


class ASPP(nn.Module):
    """A 1x1 branch, a 3x3 branch for each rate and image pooling, concatenated and projected.

    Takes B x in_channels x h x w, gives B x out_channels x h x w. Rates are in positions of the
    map; one as large as the map warns, since only the centre tap of its 3x3 then meets the map
    (DeepLab v3, figure 4).
    """

    def __init__(
        self,
        in_channels: int,
        rates: Iterable[int],
        out_channels: int = 256,
        separable: bool = False,
        dropout: float = 0.5,
        image_pooling: bool = True,
    ):
        super().__init__()
        rates = check_rates(rates)
        one = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )
        branches = [ASPPConv(in_channels, out_channels, rate, separable) for rate in rates]
        whole = [ASPPPooling(in_channels, out_channels)] if image_pooling else []
        self.convs = nn.ModuleList([one, *branches, *whole])
        self.project = nn.Sequential(
            nn.Conv2d(len(self.convs) * out_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Dropout(dropout),
        )

    @property
    def rates(self) -> tuple[int, ...]:
        """The rates of the 3x3 branches; settable, weights are kept."""
        return tuple(conv.dilation[0] for conv in self._atrous())

    @rates.setter
    def rates(self, rates: Iterable[int]) -> None:
        for conv, rate in zip(self._atrous(), rates, strict=True):
            set_dilation(conv, rate)

    def _atrous(self) -> list[nn.Conv2d]:
        return [branch.atrous for branch in self.convs if isinstance(branch, ASPPConv)]

    def forward(self, x: Tensor) -> Tensor:
        warn_of_degenerate_rates(self.rates, x.shape[-2:])
        return self.project(torch.cat([branch(x) for branch in self.convs], dim=1))


def warn_of_degenerate_rates(rates: Iterable[int], size: Sequence[int]) -> None:
    """Warns of rates as large as both sides of a map: there a 3x3 is a 1x1."""
    if torch.compiler.is_compiling():  # an exported network takes any size
        return
    if too_large := [rate for rate in rates if rate >= max(size)]:
        warnings.warn(
            f"rates {too_large} on a map of {size[0]} x {size[1]}: all taps but the centre meet "
            "padding only, so these 3x3 are 1x1. Take smaller rates, or larger images",
            stacklevel=3,
        )


def check_rates(rates: Iterable[int]) -> tuple[int, ...]:
    """`rates` as a tuple; raises ValueError unless they are whole numbers of at least 1."""
    rates = tuple(rates)
    if any(type(rate) is not int or rate < 1 for rate in rates):
        raise ValueError(f"rates {rates}: expected whole numbers of at least 1")
    return rates


def fitting_rates(rates: Iterable[int] | None, output_stride: int) -> tuple[int, ...]:
    """`rates` as a tuple, the paper's if None; warns of the paper's for another output_stride."""
    if rates is None:
        return PAPER_RATES[output_stride]
    rates = tuple(rates)
    for other in (8, 16):  # the papers'; halved as for 32, rates suit small crops at 16
        if rates == PAPER_RATES[other] and other != output_stride:
            warnings.warn(
                f"rates {rates} are the paper's for output_stride {other}: at {output_stride} the "
                f"same pixels are reached with {PAPER_RATES[output_stride]}",
                stacklevel=3,
            )
    return rates
