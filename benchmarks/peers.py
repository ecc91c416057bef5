"""Our networks beside the libraries they equal, in one run: `python -m benchmarks.peers`.

Same weights, same input, turns taken; a ratio below 1 means that ours is faster. Writes nothing.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from deeplab_lite import checkpoints, scenes
from deeplab_lite.models import DeepLabV3, DeepLabV3Plus

# Prefixes of the keys in segmentation_models_pytorch's DeepLabV3Plus, and ours.
SMP_KEYS = {
    "encoder.": "backbone.",
    "decoder.aspp.0.": "aspp.",
    "decoder.aspp.1.": "after_aspp.0.0.",
    "decoder.aspp.2.": "after_aspp.0.1.",
    "decoder.block1.": "decoder.reduce.",
    "decoder.block2.": "decoder.refine.0.",
    "segmentation_head.0.": "classifier.",
}


def load_smp(model, state_dict):
    """Take the weights of smp's DeepLabV3Plus on a ResNet.

    Its form is convs=1, aspp_convs=1, align_corners=True, and rates=(12, 24, 36) at any output
    stride. Where layer3 or layer4 lost its stride, it dilates the first block as all others.
    """
    renamed = {}
    for key, value in state_dict.items():
        theirs = next((prefix for prefix in SMP_KEYS if key.startswith(prefix)), "")
        renamed[SMP_KEYS.get(theirs, "") + key.removeprefix(theirs)] = value
    model.load_state_dict(renamed)
    for stage in (model.backbone.layer3, model.backbone.layer4):
        dilation = stage[-1].conv2.dilation[0]
        stage[0].dilate(dilation, dilation)


def turns(calls: dict[Any, Callable[[], Any]], rounds: int = 9) -> dict[Any, float]:
    """Median seconds of each call; all take turns, and the first two rounds do not count."""
    spent: dict[Any, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 2):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            spent[name].append(time.perf_counter() - began)
    return {name: float(np.median(times[2:])) for name, times in spent.items()}


def pairs() -> dict[str, tuple[nn.Module, nn.Module]]:
    """Ours and theirs, with the same weights."""
    import segmentation_models_pytorch as smp
    from torchvision.models.segmentation import deeplabv3_resnet50

    found: dict[str, tuple[nn.Module, nn.Module]] = {}
    theirs: nn.Module = deeplabv3_resnet50(weights=None, weights_backbone=None, aux_loss=False)
    ours: Any = DeepLabV3(output_stride=8, multi_grid=(1, 1, 1))
    ours.load_state_dict(theirs.state_dict())
    found["DeepLabV3 on ResNet-50 at OS8, torchvision"] = ours, theirs
    theirs = smp.DeepLabV3Plus("resnet50", encoder_weights=None, classes=21)
    ours = DeepLabV3Plus(convs=1, aspp_convs=1, align_corners=True, rates=(12, 24, 36))
    load_smp(ours, theirs.state_dict())
    found["DeepLabV3+ on ResNet-50 at OS16, segmentation_models_pytorch"] = ours, theirs
    return found


@torch.inference_mode()
def main() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 3, 256, 256)
    for name, (ours, theirs) in pairs().items():
        ours.eval(), theirs.eval()
        if name.endswith("pytorch"):  # its upsampling aligns corners: 257 fits ours, 256 theirs
            ours.align_corners = False
        seconds = turns({"ours": lambda m=ours: m(image), "theirs": lambda m=theirs: m(image)})
        print(f"{name}: ours / theirs {seconds['ours'] / seconds['theirs']:.2f}")
    seconds = turns({"scene": lambda: [scenes.scene(seed) for seed in range(20)]})
    print(f"a scene of 129 pixels: {1000 * seconds['scene'] / 20:.1f} ms on one core")
    for name in checkpoints.names():
        seconds = turns({"load": lambda n=name: checkpoints.load(n)})
        print(f"load({name!r}): {1000 * seconds['load']:.0f} ms")


if __name__ == "__main__":
    main()
