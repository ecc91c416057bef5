"""DeepLab v2: the scores of four atrous rates, summed. Taught in lesson 05.

Chen, Papandreou, Kokkinos, Murphy, Yuille (2017), arXiv 1606.00915. Their dense CRF is not part of
the network.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deeplab_lite.models.aspp import check_rates, warn_of_degenerate_rates
from deeplab_lite.models.base import DeepLab, init_classifier, set_dilation
from deeplab_lite.models.v1 import FC6, Head
from deeplab_lite.models.vgg import VGG16
from deeplab_lite.models.zoo import build_backbone
from deeplab_lite.sizes import extra_of, resize

ASPP_L, ASPP_S = (6, 12, 18, 24), (2, 4, 8, 12)  # large and small rates, section 4.1.2


class VGGBranch(Head):
    """v1's fc6 at one rate, its fc7, and fc8: scores of their own. Section 4.1.2, figure 7."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        rate: int,
        width: float = 1.0,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ):
        super().__init__(in_channels, FC6(3, rate, 1024, False), width, batch_norm, dropout)
        self.fc8 = nn.Conv2d(self.out_channels, num_classes, 1)


class ScoreBranch(nn.Sequential):
    """One atrous 3x3 straight to the scores, as on ResNet-101."""

    def __init__(self, in_channels: int, num_classes: int, rate: int):
        conv = nn.Conv2d(in_channels, num_classes, 3, padding=rate, dilation=rate)
        super().__init__(OrderedDict(fc8=conv))


class DeepLabV2(DeepLab):
    """Logits B x num_classes x H x W of images B x 3 x H x W. Lesson 05; v2, sections 3.1, 3.2.

    backbone: one of zoo.BACKBONES; further options are its own. The paper's two are VGG-16,
    whose branches are VGGBranch (`width` and `batch_norm` are theirs too), and ResNet-101, with the
    strides on the 1x1 convolutions and branches that are one 3x3 each. All others have the latter,
    or with `fc` v1's fc6, fc7 and fc8: one such branch on its own is LargeFOV, on any backbone.
    rates: of the branches, at this output_stride: ASPP_L, ASPP_S or others, one branch for each.
    output_stride: 8, 16 or 32; settable afterwards, weights are kept and dilations and rates scale.
    H and W are multiples of output_stride plus 1, or with align_corners=False multiples.

    Raises ValueError for other sizes; warns of a rate as large as the map.
    """

    def __init__(
        self,
        num_classes: int = 21,
        backbone: str = "vgg16",
        rates: Iterable[int] = ASPP_L,
        output_stride: int = 8,
        align_corners: bool = True,
        dropout: float = 0.5,
        fc: bool | None = None,
        **options: Any,
    ):
        super().__init__(align_corners)
        rates = check_rates(rates)
        if backbone in ("resnet50", "resnet101"):
            options = {"stride_on": "1x1", **options}
        fc = backbone == "vgg16" if fc is None else fc
        own = {k: v for k, v in options.items() if fc and k in ("width", "batch_norm")}
        if backbone != "vgg16":
            options = {k: v for k, v in options.items() if k not in own}
        network: Any = build_backbone(backbone, output_stride, **options)
        self.backbone = network
        branches: list[Any]
        if fc:
            branches = [
                VGGBranch(network.out_channels, num_classes, rate, dropout=dropout, **own)
                for rate in rates
            ]
        else:
            branches = [ScoreBranch(network.out_channels, num_classes, rate) for rate in rates]
        for branch in branches:
            init_classifier(branch.fc8)
        self.branches: Any = nn.ModuleList(branches)

    @property
    def rates(self) -> tuple[int, ...]:
        """The rates of the branches."""
        return tuple(branch[0].dilation[0] for branch in self.branches)

    @rates.setter
    def rates(self, rates: tuple[int, ...]) -> None:
        for branch, rate in zip(self.branches, rates, strict=True):
            set_dilation(branch[0], rate)

    def scores(self, x: Tensor) -> Tensor:
        """The sum of the branches' scores, B x num_classes x h x w."""
        features = self.backbone(x)["out"]
        warn_of_degenerate_rates(self.rates, features.shape[-2:])
        return torch.stack([branch(features) for branch in self.branches]).sum(dim=0)

    def load_torchvision(self, state_dict: Mapping[str, Tensor]) -> None:
        """Take ImageNet's weights from torchvision's classifier of the backbone's name.

        On VGG-16 each branch begins with the same fc6 and fc7, decimated as in v1.
        """
        self.backbone.load_torchvision(state_dict)
        for branch in self.branches:
            if isinstance(self.backbone, VGG16) and isinstance(branch, VGGBranch):
                branch.load_torchvision(state_dict)


# ---- Several answers of one network --------------------------------------------------------------


class Wrapper(nn.Module):
    """A model that runs another one several times; it takes the same sides."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    @property
    def output_stride(self) -> int:
        return self.model.output_stride

    @property
    def extra(self) -> int:
        return extra_of(self.model)

    @property
    def align_corners(self) -> bool:
        return self.model.align_corners


class MultiScale(Wrapper):
    """A model on several sizes of the image, their answers fused at each pixel. Lesson 05.

    fuse "max": the largest logit of each class, v2, section 4.1.2, with scales 1, 0.75 and 0.5 that
    share their weights, in training and testing alike. "mean": log of the mean probability, whose
    softmax is that mean, as v3 and v3+ test. Sides are rounded to what the model takes: 513 gives
    513, 385 and 257. Raises ValueError for another fuse, and for scales that are not above 0.
    """

    def __init__(
        self,
        model: nn.Module,
        scales: Iterable[float] = (1.0, 0.75, 0.5),
        fuse: str = "max",
    ):
        super().__init__(model)
        self.scales = tuple(scales)
        if fuse not in ("max", "mean"):
            raise ValueError(f"fuse {fuse!r}: expected max or mean")
        if not self.scales or not all(0 < scale < 100 for scale in self.scales):
            raise ValueError(f"scales {self.scales}: expected numbers above 0, as 0.75, 1, 1.25")
        self.fuse = fuse

    def forward(self, x: Tensor) -> Tensor:
        stride, extra, size = self.output_stride, self.extra, x.shape[-2:]
        corners, logits = self.align_corners, []
        for scale in self.scales:
            sides = [max(1, round((n - extra) * scale / stride)) * stride + extra for n in size]
            logits.append(resize(self.model(resize(x, sides, corners)), size, corners))
        if self.fuse == "max" or len(logits) == 1:
            return torch.stack(logits).amax(dim=0)
        return torch.stack([y.softmax(dim=1) for y in logits]).mean(dim=0).log()


class Mirrored(Wrapper):
    """A model on the image and on its mirror image: log of the mean probability. v3, section 4.1.

    Wraps a MultiScale too.
    """

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.model(x), self.model(x.flip(-1)).flip(-1)
        return ((one.softmax(dim=1) + other.softmax(dim=1)) / 2).log()
