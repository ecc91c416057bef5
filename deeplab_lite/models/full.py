"""Networks for photographs: trunks trained on ImageNet, at full width. Taught in lesson 09.

The lite ones learn on a CPU, from crops of 257 pixels. Their trunk's last map is then 17 wide, half
of the papers' 33 (crops of 513), and so are the rates: those of v3+ reach 48, 96 and 144 pixels,
LargeFOV's 96, as theirs do at output stride 8. The others are the papers', for GPUs. Corners are
aligned, as in the papers: sides of 16 k + 1 fit all of them.
"""

from typing import Any

SAME: dict[str, Any] = {"num_classes": 21, "align_corners": True}
LITE0 = SAME | {"backbone": "efficientnet_lite0", "output_stride": 16, "dropout": 0.1}
LARGE_FOV = {"fc": True, "rates": (6,), "batch_norm": True}  # v1's head, on a modern trunk
# torchvision trained ResNet-101 with its strides on the 3x3; the papers' own had them on the 1x1.
V2 = SAME | {"backbone": "resnet101", "output_stride": 8, "stride_on": "3x3"}
V3 = SAME | {"output_stride": 16, "dropout": 0.1}
#    name                  class            options
FULL: dict[str, tuple[str, dict[str, Any]]] = {
    "v1-lite0": ("DeepLabV2", LITE0 | LARGE_FOV),
    "v3plus-lite0-street": ("DeepLabV3Plus", LITE0 | {"rates": (3, 6, 9)}),
    "v2-resnet101": ("DeepLabV2", V2),
    "v3-resnet101": ("DeepLabV3", V3 | {"backbone": "resnet101"}),
    "v3plus-resnet101": ("DeepLabV3Plus", V3 | {"backbone": "resnet101"}),
    "v3plus-xception65": ("DeepLabV3Plus", V3 | {"backbone": "xception65"}),
}
