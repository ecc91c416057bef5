"""DeepLab v3: a pyramid with BN and image pooling, or a deeper cascade. Taught in lesson 06.

Chen, Papandreou, Schroff and Adam (2017), arXiv 1706.05587. Keys are torchvision's.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from deeplab_lite.models.aspp import ASPP, fitting_rates
from deeplab_lite.models.base import DeepLab, check_output_stride, init_weights, set_dilation
from deeplab_lite.models.resnet import Bottleneck, dilate_grid
from deeplab_lite.models.zoo import build_backbone
from deeplab_lite.sizes import resize


class DeepLabHead(nn.Sequential):
    """The pyramid, a 3x3 convolution, and a 1x1 that gives the scores. Section 3.3."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        rates: Iterable[int],
        channels: int = 256,
        dropout: float = 0.5,
        image_pooling: bool = True,
    ):
        super().__init__(
            ASPP(in_channels, rates, channels, dropout=dropout, image_pooling=image_pooling),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, num_classes, 1),
        )

    @property
    def aspp(self) -> Any:
        return self[0]

    @property
    def conv(self) -> nn.Conv2d:
        """The 3x3 after the pyramid: torchvision's, the paper has none."""
        return self.get_submodule("1")  # type: ignore[return-value]

    @property
    def rates(self) -> tuple[int, ...]:
        return self.aspp.rates

    @rates.setter
    def rates(self, rates: Iterable[int]) -> None:
        self.aspp.rates = rates


class CascadeHead(nn.Sequential):
    """Blocks like ResNet's last one, a rate for each, and a 1x1 that gives the scores. Section 3.2.

    The three 3x3 of a block multiply its rate by multi_grid.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        rates: Iterable[int],
        multi_grid: tuple[int, ...],
    ):
        super().__init__()
        self.multi_grid = tuple(multi_grid)
        rates = tuple(rates)
        leaving = in_channels // Bottleneck.expansion * Bottleneck.expansion
        for number in range(5, 5 + len(rates)):
            widths = [in_channels] + [leaving] * (len(multi_grid) - 1)
            blocks = [Bottleneck(width, leaving // Bottleneck.expansion) for width in widths]
            self.add_module(f"block{number}", nn.Sequential(*blocks))
            in_channels = leaving
        init_weights(self, "fan_out")
        self.add_module("scores", nn.Conv2d(in_channels, num_classes, 1))
        self.rates = rates

    @property
    def rates(self) -> tuple[int, ...]:
        return self._rates

    @rates.setter
    def rates(self, rates: tuple[int, ...]) -> None:
        blocks: list[Any] = list(self)[:-1]
        for block, rate in zip(blocks, rates, strict=True):
            dilate_grid(block, rate, self.multi_grid)
        self._rates = rates


class FCNHead(nn.Sequential):
    """Scores from an earlier map, for torchvision's second loss in training; not in the paper."""

    def __init__(self, in_channels: int, num_classes: int):
        channels = in_channels // 4
        super().__init__(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(channels, num_classes, 1),
        )


class DeepLabV3(DeepLab):
    """Logits B x num_classes x H x W of images B x 3 x H x W. Lesson 06; v3, section 3.

    backbone: a name of `zoo.BACKBONES`; further options are the backbone's (width=0.25 of VGG-16).
    output_stride: 8, 16 or 32; settable afterwards, weights are kept and dilations and rates scale.
    multi_grid: multipliers of the dilations in the last stage, and in the cascade's blocks.
    rates: of the pyramid at this output_stride; by default 6, 12, 18 at 16, twice that at 8.
    cascade: None for the pyramid; for the cascaded variant the number of its last block, 4 to 7.
    aux: also score layer3's map; forward then returns {"out": logits, "aux": logits}.
    channels: of the pyramid; image_pooling: whether the mean of the map is one of its branches.
    H and W are multiples of output_stride, or with align_corners multiples plus 1.

    torchvision's deeplabv3_resnet50 and 101 are output_stride=8, multi_grid=(1, 1, 1), aux=True:
    their state dicts load, and the logits are the same.

    Raises ValueError for other sizes, for rates beside a cascade, for aux on a backbone without
    layer3, and in train mode for a batch of 1 (image pooling leaves BN one value per channel).
    Warns of the paper's rates at another output_stride, and of a rate as large as the map.
    """

    def __init__(
        self,
        num_classes: int = 21,
        backbone: str = "resnet50",
        output_stride: int = 16,
        multi_grid: tuple[int, int, int] = (1, 2, 4),
        rates: Iterable[int] | None = None,
        aux: bool = False,
        channels: int = 256,
        image_pooling: bool = True,
        cascade: int | None = None,
        align_corners: bool = False,
        dropout: float = 0.5,
        **options: Any,
    ):
        super().__init__(align_corners)
        self.built_at = check_output_stride(output_stride)
        network: Any = build_backbone(backbone, output_stride, multi_grid=multi_grid, **options)
        self.backbone = network
        self.classifier: DeepLabHead | CascadeHead
        if cascade is None:
            rates = fitting_rates(rates, output_stride)
            self.classifier = DeepLabHead(
                network.out_channels, num_classes, rates, channels, dropout, image_pooling
            )
        else:
            if rates is not None or cascade not in (4, 5, 6, 7):
                raise ValueError(
                    f"cascade {cascade!r} with rates {rates}: expected its last block, 4 to 7, and "
                    "no rates, which follow from output_stride"
                )
            # Each block past the fourth would stride once more: its rate doubles instead.
            rates = [32 // output_stride * 2**n for n in range(1, cascade - 3)]
            self.classifier = CascadeHead(network.out_channels, num_classes, rates, multi_grid)
        self.aux_classifier: FCNHead | None = None
        if aux:
            if not hasattr(network, "aux_channels"):
                raise ValueError(
                    f"{backbone} has no layer3 to score: aux=True is for the ResNets, "
                    "all other backbones take aux=False"
                )
            self.aux_classifier = FCNHead(network.aux_channels, num_classes)

    @property
    def rates(self) -> tuple[int, ...]:
        """Of the pyramid, or of the cascade's blocks."""
        return self.classifier.rates

    @rates.setter
    def rates(self, rates: tuple[int, ...]) -> None:
        self.classifier.rates = rates
        if isinstance(self.classifier, DeepLabHead):  # its 3x3 keeps its field in pixels as well
            set_dilation(self.classifier.conv, max(1, self.built_at // self.output_stride))

    def scores(self, x: Tensor) -> Tensor:
        return self.classifier(self.backbone(x)["out"])

    def forward(self, x: Tensor) -> Any:
        """Logits, or with `aux` {"out": logits, "aux": logits}."""
        if self.aux_classifier is None:
            return super().forward(x)
        self.check_images(x)
        maps = self.backbone(x)
        both = {"out": self.classifier(maps["out"]), "aux": self.aux_classifier(maps["aux"])}
        return {name: resize(y, x.shape[-2:], self.align_corners) for name, y in both.items()}
