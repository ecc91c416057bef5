"""Trunks by name: an image in, {"low": stride 4, "out": output_stride} out."""

from typing import Any

from torch import nn

NAMES = (
    *("vgg16", "resnet18", "resnet34", "resnet50", "resnet101"),
    *("xception65", "efficientnet_lite0"),
)


def trunk(
    name: str, output_stride: int, multi_grid: tuple[int, int, int] = (1, 1, 1), **options: Any
) -> nn.Module:
    """The trunk `name`, with random weights; options are its own, as VGG-16's width=0.25.

    Raises ValueError for a name that is not among NAMES.
    """
    if name == "vgg16":
        from .vgg import VGG16

        return VGG16(output_stride=output_stride, multi_grid=multi_grid, **options)
    if name.startswith("resnet") and name in NAMES:
        from .resnet import ResNet

        return ResNet(name, output_stride=output_stride, multi_grid=multi_grid, **options)
    if name == "xception65":
        from .xception import Xception65

        return Xception65(output_stride=output_stride, multi_grid=multi_grid, **options)
    if name == "efficientnet_lite0":
        from .efficientnet import EfficientNetLite0

        return EfficientNetLite0(output_stride=output_stride, multi_grid=multi_grid, **options)
    raise ValueError(f"no trunk is called {name!r}: there are {', '.join(NAMES)}")
