"""The family that the course trains on its scenes: one trunk, one idea more from line to line.

The trunk is VGG-16 with batch norm, a quarter wide. The papers' rates suit maps of 33 to 65 units
(crops of 513 pixels); a scene of 128 pixels gives maps of 8 to 16, so rates shrink alike.
"""

from typing import Any

from torch import nn

from deeplab_lite import models

VGG: dict[str, Any] = {
    **{"num_classes": 9, "width": 0.25, "batch_norm": True, "pools": "torchvision"},
    "dropout": 0.0,  # scenes never come twice
}
HALF = {"backbone": "vgg16", "output_stride": 16, "rates": (1, 2, 3), "channels": 64}
LITE0 = {"num_classes": 9, "backbone": "efficientnet_lite0", "dropout": 0.0}
#    name            class            options
FAMILY: dict[str, tuple[str, dict[str, Any]]] = {
    "v1-small": ("DeepLabV1", VGG | {"fc6": "3x3"}),
    "v1": ("DeepLabV1", VGG | {"fc6": "largefov", "rate": 4}),
    "v2": ("DeepLabV2", VGG | {"rates": (2, 4, 6, 8), "align_corners": False}),
    "v3": ("DeepLabV3", VGG | HALF),
    "v3plus": ("DeepLabV3Plus", VGG | HALF | {"low_channels": 16}),
    "v3plus-lite0": ("DeepLabV3Plus", LITE0 | {"rates": (1, 2, 3), "channels": 64}),
}


def build(name: str, **changes: Any) -> nn.Module:
    """A member of the family with random weights; `changes` override its options.

    Raises ValueError for a name that is not in FAMILY.
    """
    if name not in FAMILY:
        raise ValueError(f"no model is called {name!r}: there are {', '.join(FAMILY)}")
    model, options = FAMILY[name]
    return getattr(models, model)(**(options | changes))
