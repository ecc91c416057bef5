"""DeepLab v1: VGG-16 turned fully convolutional, at output stride 8. Taught in lesson 03.

Chen, Papandreou, Kokkinos, Murphy and Yuille, 2014 (arXiv 1412.7062). Their dense CRF is not part
of the network.
"""

from collections import OrderedDict
from typing import NamedTuple

from torch import Tensor, nn

from .common import check_images, check_size, out_channels_of, resize
from .vgg import VGG16, init_weights, set_dilation


class FC6(NamedTuple):
    """A form of VGG-16's first fully connected layer; rate: its dilation at output stride 8."""

    kernel: int
    rate: int
    channels: int
    pool5a: bool  # an average over 3 x 3 units before it


FORMS = {
    "7x7": FC6(7, 4, 4096, False),
    "base": FC6(4, 4, 4096, False),
    "4x4": FC6(4, 8, 4096, False),
    "3x3": FC6(3, 1, 1024, True),
    "largefov": FC6(3, 12, 1024, True),
}
ALIGN_CORNERS = {"caffe": True, "base": True, "notes": False, "torchvision": False}


def init_classifier(classifier: nn.Conv2d) -> None:
    """Weights from N(0, 0.01), biases 0: all classes are about as probable at first."""
    nn.init.normal_(classifier.weight, std=0.01)
    if classifier.bias is not None:
        nn.init.zeros_(classifier.bias)


class Head(nn.Sequential):
    """pool5a, fc6 and fc7: out_channels features at each position of pool5's map."""

    def __init__(self, in_channels: int, form: FC6, width: float, batch_norm: bool, dropout: float):
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if form.pool5a:
            layers["pool5a"] = nn.AvgPool2d(3, stride=1, padding=1)
        channels = out_channels_of(width, form.channels)
        for number, kernel, dilation in ((6, form.kernel, form.rate), (7, 1, 1)):
            layers[f"fc{number}"] = nn.Conv2d(in_channels, channels, kernel)
            set_dilation(layers[f"fc{number}"], dilation)
            if batch_norm:
                layers[f"bn{number}"] = nn.BatchNorm2d(channels)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            if dropout:
                layers[f"drop{number}"] = nn.Dropout(dropout)
            in_channels = channels
        super().__init__(layers)
        self.out_channels = channels


class DeepLabV1(nn.Module):
    """Logits B x num_classes x H x W of images B x 3 x H x W. Lesson 03; v1, sections 3 and 4.3."""

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
        pool5a: bool | None = None,
    ):
        super().__init__()
        if fc6 not in FORMS:
            raise ValueError(f"fc6 {fc6!r}: expected one of {', '.join(FORMS)}")
        if fc6 == "base" and pools == "caffe":
            pools = "base"
        self.backbone = VGG16(width, batch_norm, pools, output_stride)
        form = FORMS[fc6]
        form = form._replace(
            rate=max(1, form.rate * 8 // output_stride) if rate is None else rate,
            pool5a=form.pool5a if pool5a is None else pool5a,
        )
        self.align_corners = ALIGN_CORNERS[pools] if align_corners is None else align_corners
        self.head = Head(self.backbone.out_channels, form, width, batch_norm, dropout)
        self.fc8 = nn.Conv2d(self.head.out_channels, num_classes, 1)
        init_weights(self.head)
        init_classifier(self.fc8)

    @property
    def output_stride(self) -> int:
        return self.backbone.output_stride

    def scores(self, x: Tensor) -> Tensor:
        """fc8 before it is resized: B x num_classes x h x w at output_stride, for any size."""
        check_images(x)
        return self.fc8(self.head(self.backbone(x)["out"]))

    def forward(self, x: Tensor) -> Tensor:
        check_images(x)
        size = (x.shape[2], x.shape[3])
        check_size(size, self.output_stride, self.align_corners)
        return resize(self.scores(x), size, self.align_corners)
