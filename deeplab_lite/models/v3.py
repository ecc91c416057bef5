"""DeepLab v3: a pyramid with batch norm and image pooling, or a deeper cascade. Taught in lesson 06.

Chen, Papandreou, Schroff, Adam (2017), arXiv 1706.05587. Keys are torchvision's.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from .aspp import ASPP, fitting_rates, scaled_rates
from .common import check_images, check_output_stride, check_size, resize
from .trunks import trunk


class DeepLabHead(nn.Sequential):
    """The pyramid, a 3x3 convolution, and a 1x1 that gives the scores."""

    def __init__(
        self, in_channels: int, num_classes: int, rates: Iterable[int], channels: int = 256
    ):
        super().__init__(
            ASPP(in_channels, rates, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, num_classes, 1),
        )


class FCNHead(nn.Sequential):
    """Scores from an earlier map, for a second loss that helps training: not in the paper."""

    def __init__(self, in_channels: int, num_classes: int):
        channels = in_channels // 4
        super().__init__(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(channels, num_classes, 1),
        )


class DeepLabV3(nn.Module):
    """B x 3 x H x W to logits B x num_classes x H x W; {"out", "aux"} of them with aux=True."""

    def __init__(
        self,
        num_classes: int = 21,
        backbone: str = "resnet50",
        output_stride: int = 16,
        multi_grid: tuple[int, int, int] = (1, 2, 4),
        rates: Iterable[int] | None = None,
        aux: bool = False,
        channels: int = 256,
        align_corners: bool = False,
        **options: Any,
    ):
        super().__init__()
        check_output_stride(output_stride)
        self.align_corners = align_corners
        self.backbone = trunk(backbone, output_stride, multi_grid, **options)
        rates = fitting_rates(rates, output_stride)
        self.classifier = DeepLabHead(self.backbone.out_channels, num_classes, rates, channels)
        self.aux_classifier = FCNHead(self.backbone.aux_channels, num_classes) if aux else None

    @property
    def output_stride(self) -> int:
        """Image pixels per position of the map; settable, weights are kept and rates scaled."""
        return self.backbone.output_stride

    @output_stride.setter
    def output_stride(self, output_stride: int) -> None:
        check_output_stride(output_stride)
        aspp = self.classifier[0]
        aspp.rates = scaled_rates(aspp.rates, self.output_stride, output_stride)
        self.backbone.output_stride = output_stride

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        check_images(x)
        size = x.shape[-2:]
        check_size(size, self.output_stride, self.align_corners)
        maps = self.backbone(x)
        logits = resize(self.classifier(maps["out"]), size, self.align_corners)
        if self.aux_classifier is None:
            return logits
        return {
            "out": logits,
            "aux": resize(self.aux_classifier(maps["aux"]), size, self.align_corners),
        }
