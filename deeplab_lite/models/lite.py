"""The family that the course trains on its scenes: one trunk, one idea more from line to line.

The trunk is VGG-16 with batch norm, a quarter wide. The papers' rates suit maps of 33 to 65 units
(crops of 513 pixels); a scene of 129 pixels gives maps of 9 to 17, so rates shrink alike. Corners
are aligned, as in the papers: sides of 16 k + 1 fit, and then a trunk set from output stride 16 to
8 gives the same values, with others between them.
"""

from typing import Any

from torch import nn

from deeplab_lite import models

from .full import FULL

SAME: dict[str, Any] = {"num_classes": 9, "align_corners": True, "dropout": 0.0}
VGG = SAME | {"width": 0.25, "batch_norm": True, "pools": "caffe"}
AT_16 = {"output_stride": 16, "rates": (1, 2, 3), "channels": 64}
#    name            class            options
FAMILY: dict[str, tuple[str, dict[str, Any]]] = {
    "v1-small": ("DeepLabV1", VGG | {"fc6": "3x3"}),
    "v1": ("DeepLabV1", VGG | {"fc6": "largefov", "rate": 4}),
    "v2": ("DeepLabV2", VGG | {"rates": (2, 4, 6, 8)}),
    "v3": ("DeepLabV3", VGG | AT_16 | {"backbone": "vgg16"}),
    "v3plus": ("DeepLabV3Plus", VGG | AT_16 | {"backbone": "vgg16", "low_channels": 16}),
    "v3plus-lite0": ("DeepLabV3Plus", SAME | AT_16 | {"backbone": "efficientnet_lite0"}),
}


def find(name: str) -> tuple[str, dict[str, Any]]:
    """The class and the options of a network by name, of FAMILY or of full.FULL.

    Raises ValueError for a name that is in neither.
    """
    known = FAMILY | FULL
    if name not in known:
        raise ValueError(f"no model is called {name!r}: there are {', '.join(known)}")
    return known[name]


def build(name: str, **changes: Any) -> nn.Module:
    """The network `name` with random weights; `changes` override its options.

    Raises ValueError for a name that `find` does not know.
    """
    model, options = find(name)
    return getattr(models, model)(**(options | changes))
