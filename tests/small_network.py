"""A network of a few hundred weights, and its card."""

import torch
from torch import nn

from deeplab_lite.models import DeepLabV1

OPTIONS = {"num_classes": 3, "fc6": "3x3", "width": 0.03, "batch_norm": True, "dropout": 0.0}
CARD = {
    "model": {"class": "DeepLabV1", "options": OPTIONS},
    "classes": ["background", "disc", "ring"],
    "data": {"name": "scenes", "images": 12},
    "seed": 0,
    "command": "python -m deeplab_lite train --model v1-small",
    "commit": "0123abc",
    "hardware": "1 x CPU",
    "time": "2 minutes",
    "metrics": {"test": {"miou": 0.5, "iou": {"background": 1.0, "disc": 0.5, "ring": 0.0}}},
}


def network(seed=0, **changes):
    """A network of CARD's options whose batch norm has seen something."""
    torch.manual_seed(seed)
    model = DeepLabV1(**OPTIONS | changes)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
                layer.num_batches_tracked.fill_(2**40 + 1)
    return model.eval()
