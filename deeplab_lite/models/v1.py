"""DeepLab v1: VGG-16 turned fully convolutional, at output stride 8. Taught in lesson 03.

Chen, Papandreou, Kokkinos, Murphy, Yuille (2014), arXiv 1412.7062. The dense CRF that refines the
scores is no part of the network.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deeplab_lite.models.aspp import check_rates, warn_of_degenerate_rates
from deeplab_lite.models.base import (
    DeepLab,
    check_images,
    check_output_stride,
    init_classifier,
    init_weights,
    scaled,
    set_dilation,
)
from deeplab_lite.models.vgg import VGG16, decimate
from deeplab_lite.sizes import resize


class FC6(NamedTuple):
    """VGG-16's first fully connected layer as a convolution."""

    kernel: int
    rate: int  # its dilation at output stride 8
    channels: int  # of fc7, too
    pool5a: bool  # whether an average over 3 x 3 positions comes before it


#                    kernel rate channels pool5a    field of view in the paper, 32 + 8 r (k - 1)
FORMS = {
    "7x7": FC6(7, 4, 4096, False),  # 224
    "base": FC6(4, 4, 4096, False),  # 128
    "4x4": FC6(4, 8, 4096, False),  # 224
    "largefov": FC6(3, 12, 1024, True),  # 224
    "3x3": FC6(3, 1, 1024, True),  # LargeFOV without its idea
}
# Sides that fit: multiples of output_stride plus this. With 1 or 2 the units of the map stand on
# the image's corners (within half a pixel), with 0 each stands amid output_stride pixels.
EXTRA = {"caffe": 1, "base": 2, "notes": 0, "torchvision": 0}
# What MSc adds to the last map, and its stride where pool4 keeps its own.
SIDES = {"image": 1, "pool1": 2, "pool2": 4, "pool3": 8, "pool4": 16}


class Head(nn.Sequential):
    """pool5a, fc6 and fc7: B x in_channels x h x w to B x out_channels x h x w."""

    fc6: nn.Conv2d
    fc7: nn.Conv2d

    def __init__(self, in_channels: int, form: FC6, width: float, batch_norm: bool, dropout: float):
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if form.pool5a:
            layers["pool5a"] = nn.AvgPool2d(3, stride=1, padding=1)
        channels = scaled(width, form.channels)
        for number, kernel, rate in ((6, form.kernel, form.rate), (7, 1, 1)):
            layers[f"fc{number}"] = conv = nn.Conv2d(in_channels, channels, kernel)
            set_dilation(conv, rate)
            if batch_norm:
                layers[f"bn{number}"] = nn.BatchNorm2d(channels)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            if dropout:
                layers[f"drop{number}"] = nn.Dropout(dropout)
            in_channels = channels
        super().__init__(layers)
        self.out_channels = channels
        init_weights(self)

    def load_torchvision(self, state_dict: Mapping[str, Tensor]) -> None:
        """Take fc6 and fc7 from classifier.0 and classifier.3 of torchvision's vgg16, decimated.

        Raises ValueError for a state dict without them.
        """
        if "classifier.0.weight" not in state_dict:
            raise ValueError(
                "there is no classifier.0 in the state dict: pass that of torchvision's whole vgg16"
            )
        for conv, name, kernel in ((self.fc6, "0", 7), (self.fc7, "3", 1)):
            weight = state_dict[f"classifier.{name}.weight"].unflatten(1, (-1, kernel, kernel))
            bias = state_dict[f"classifier.{name}.bias"]
            weight = decimate(weight, conv.weight.shape)
            bias = bias[:: len(bias) // conv.out_channels]
            conv.load_state_dict({"weight": weight, "bias": bias})


class SideBranch(nn.Sequential):
    """A 3x3 and a 1x1 convolution that bring an early map to the size of the last. MSc."""

    def __init__(self, in_channels: int, channels: int, batch_norm: bool):
        layers: list[nn.Module] = []
        for entering, kernel in ((in_channels, 3), (channels, 1)):
            layers.append(nn.Conv2d(entering, channels, kernel, padding=kernel // 2))
            if batch_norm:
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)
        init_weights(self)


class DeepLabV1(DeepLab):
    """Images B x 3 x H x W to logits B x num_classes x H x W. Lesson 03; v1, sections 3 and 4.3.

    - `fc6` is one of FORMS: the kernels 7x7 and 4x4 of the paper, its first model "base", and
      "largefov"; "3x3" is LargeFOV undilated. `rate` is fc6's dilation at `output_stride`; None
      takes the paper's, 4 to 12 at output stride 8, made for maps of 39 to 65 positions.
    - `pools` is one of vgg.POOLS; "caffe" are those of the released models, so "base" has its own.
    - `width`, `batch_norm`: as in VGG16, for fc6 and fc7 too. `pool5a` overrides the form's.
    - `align_corners` None: with the pools "caffe", H and W are multiples of output_stride plus 1,
      with "base" plus 2, with the others plus 0. Then each score stands where its unit looks.
    - `msc` adds side branches from the image and pool1 .. pool4 to what fc8 sees. With the pools
      "torchvision" these look at the upper left of their unit's pixels, at most 3.5 off the middle.

    `output_stride` can be set later: the weights stay and fc6 keeps its field in pixels, but the
    windows of pools are 3 x 3 positions at any stride, so values change. Raises ValueError for
    options that are not known and, in forward, for sizes that do not fit.
    """

    def __init__(
        self,
        num_classes: int = 21,
        fc6: str = "largefov",
        pools: str = "caffe",
        width: float = 1.0,
        batch_norm: bool = False,
        output_stride: int = 8,
        rate: int | None = None,
        align_corners: bool | None = None,
        dropout: float = 0.5,
        msc: bool = False,
        pool5a: bool | None = None,
    ):
        if fc6 not in FORMS:
            raise ValueError(f"fc6 {fc6!r}: expected one of {', '.join(FORMS)}")
        form = FORMS[fc6]
        if rate is None:
            rate = max(1, form.rate * 8 // check_output_stride(output_stride))
        check_rates([rate])
        form = form._replace(rate=rate, pool5a=form.pool5a if pool5a is None else pool5a)
        pools = "base" if (fc6, pools) == ("base", "caffe") else pools
        backbone = VGG16(width, batch_norm, pools, output_stride)
        super().__init__(bool(EXTRA[pools]) if align_corners is None else align_corners)
        self.backbone = backbone
        self.head = Head(self.backbone.out_channels, form, width, batch_norm, dropout)
        channels = self.head.out_channels
        self.msc = nn.ModuleDict()
        if msc:
            if pools not in ("caffe", "torchvision"):
                raise ValueError(
                    f"msc with pools {pools!r}: their maps have no common grid, so take "
                    "pools='caffe' or 'torchvision'"
                )
            side = scaled(width, 128)
            for name, entering in zip(SIDES, (3, *self.backbone.channels), strict=False):
                self.msc[name] = SideBranch(entering, side, batch_norm)
            channels += side * len(SIDES)
        self.fc8 = nn.Conv2d(channels, num_classes, 1)
        init_classifier(self.fc8)
        self.rates = (rate,)

    @property
    def extra(self) -> int:
        """Of the pools, where corners are aligned as they want it."""
        extra = EXTRA[self.backbone.pools]
        return extra if bool(extra) == self.align_corners else int(self.align_corners)

    @property
    def rate(self) -> int:
        """The dilation of fc6."""
        return self.head.fc6.dilation[0]

    @property
    def rates(self) -> tuple[int, ...]:
        """(rate,), as the other models have several."""
        return (self.rate,)

    @rates.setter
    def rates(self, rates: tuple[int, ...]) -> None:
        set_dilation(self.head.fc6, rates[0])
        for name, branch in self.msc.items():  # their maps shall be as large as fc6's
            stride = max(1, self.output_stride // SIDES[name])
            branch.get_submodule("0").stride = (stride, stride)  # type: ignore[assignment]

    def scores(self, x: Tensor) -> Tensor:
        """The logits at the output stride, B x num_classes x h x w, of images of any size."""
        check_images(x)
        names = [name for name in self.msc if name != "image"]
        maps = {"image": x} | self.backbone.maps(x, *names, "pool5")
        if self.head.fc6.kernel_size == (3, 3):
            warn_of_degenerate_rates([self.rate], maps["pool5"].shape[-2:])
        features = self.head(maps["pool5"])
        if self.backbone.pools == "notes":
            features = self._without_margin(features, x.shape[-2:])
        sides = [branch(maps[name]) for name, branch in self.msc.items()]
        sides = [resize(side, features.shape[-2:], self.align_corners) for side in sides]
        return self.fc8(torch.cat([features, *sides], dim=1) if sides else features)

    def _without_margin(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        """Without the positions beyond the image that the notes' padding of pool4, pool5 adds."""
        h, w = (-(-side // self.output_stride) for side in size)
        top, left = (maps.shape[2] - h) // 2, (maps.shape[3] - w) // 2
        return maps[:, :, top : top + h, left : left + w]

    def load_torchvision(self, state_dict: Mapping[str, Tensor]) -> None:
        """Take all but fc8 from a state dict of torchvision's vgg16, or vgg16_bn; section 3.1.

        fc6 and fc7 are its classifier.0 and classifier.3, decimated. Raises ValueError if it is
        another network's, or width is not 1.
        """
        self.backbone.load_torchvision(state_dict)
        self.head.load_torchvision(state_dict)
