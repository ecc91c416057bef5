"""Networks by name: backbones, the family of the lessons, the papers' own. Lessons 05, 08 and 09.

`FAMILY` learns from the course's scenes: one backbone, VGG-16 with batch norm at an eighth of its
width, and one idea more from line to line; v3plus is v3 and a decoder. Scenes have the 321 pixels
of v1's and v2's crops, so their rates are the papers'; v3's are half of those for crops of 513.

`FULL` is for photographs: backbones at full width, which start from ImageNet. The lite ones learn
on a CPU from crops of 257 pixels: maps of 17, half of the papers' 33, and so half their rates.
"""

from functools import partial
from typing import Any

from torch import nn

from deeplab_lite import models

from .base import Backbone
from .efficientnet import EfficientNetLite0
from .resnet import BLOCKS, ResNet
from .vgg import VGG16
from .xception import Xception65

BACKBONES: dict[str, Any] = {
    "vgg16": VGG16,
    **{name: partial(ResNet, name) for name in BLOCKS},
    "xception65": Xception65,
    "efficientnet_lite0": EfficientNetLite0,
}

Entry = tuple[str, dict[str, Any]]  # a class of deeplab_lite.models and its options

SCENES: dict[str, Any] = {"num_classes": 9, "align_corners": True, "dropout": 0.0}
VGG = SCENES | {"width": 0.125, "batch_norm": True, "pools": "caffe"}
V1 = VGG | {"fc6": "largefov", "pool5a": False}  # without pool5a, v1 is v2 with one branch
AT_16 = {"output_stride": 16, "rates": (3, 6, 9), "channels": 64}
GRID = VGG | AT_16 | {"backbone": "vgg16", "multi_grid": (1, 1, 1)}
FAMILY: dict[str, Entry] = {
    "v1-small": ("DeepLabV1", V1 | {"rate": 1}),
    "v1": ("DeepLabV1", V1 | {"rate": 12}),
    "v2": ("DeepLabV2", VGG | {"rates": (6, 12, 18, 24)}),
    "v3": ("DeepLabV3", GRID),
    "v3plus": ("DeepLabV3Plus", GRID | {"low_channels": 16, "aspp_convs": 1, "separable": False}),
    "v3plus-lite0": ("DeepLabV3Plus", SCENES | AT_16 | {"backbone": "efficientnet_lite0"}),
}

PHOTOS: dict[str, Any] = {"num_classes": 21, "align_corners": True}
LITE0 = PHOTOS | {"backbone": "efficientnet_lite0", "output_stride": 16, "dropout": 0.1}
LARGE_FOV = {"fc": True, "rates": (6,), "batch_norm": True}  # v1's head on a modern backbone
# torchvision trained ResNet-101 with its strides on the 3x3; the papers' own had them on the 1x1.
V2 = PHOTOS | {"backbone": "resnet101", "output_stride": 8, "stride_on": "3x3"}
V3 = PHOTOS | {"output_stride": 16, "dropout": 0.1}
FULL: dict[str, Entry] = {
    "v1-lite0": ("DeepLabV2", LITE0 | LARGE_FOV),
    "v3plus-lite0-street": ("DeepLabV3Plus", LITE0 | {"rates": (3, 6, 9)}),
    "v2-resnet101": ("DeepLabV2", V2),
    "v3-resnet101": ("DeepLabV3", V3 | {"backbone": "resnet101"}),
    "v3plus-resnet101": ("DeepLabV3Plus", V3 | {"backbone": "resnet101"}),
    "v3plus-xception65": ("DeepLabV3Plus", V3 | {"backbone": "xception65"}),
}


def build_backbone(name: str, output_stride: int, **options: Any) -> Backbone:
    """The backbone `name` with random weights: an image to {"low": at stride 4, "out": ...}.

    options: multi_grid, and the backbone's own, as VGG-16's width=0.25. Raises ValueError for a
    name that is not among BACKBONES.
    """
    if name not in BACKBONES:
        raise ValueError(f"no backbone is called {name!r}: there are {', '.join(BACKBONES)}")
    return BACKBONES[name](output_stride=output_stride, **options)


def find(name: str) -> Entry:
    """The class and the options of a network of FAMILY or FULL; ValueError for another name."""
    known = FAMILY | FULL
    if name not in known:
        raise ValueError(f"no model is called {name!r}: there are {', '.join(known)}")
    return known[name]


def build(name: str, **changes: Any) -> nn.Module:
    """The network `name` with random weights; `changes` override its options. Raises as `find`."""
    kind, options = find(name)
    return getattr(models, kind)(**(options | changes))
