"""Where the first weights come from: a checkpoint, or ImageNet as in the papers."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def start_from(network: nn.Module, source: str) -> str:
    """Give `network` the tensors of `source` whose names and shapes are its own; report in a line.

    source: a shipped checkpoint's name, the path of a .safetensors file or of a run's
    checkpoint.pt, or "imagenet" for the trunk's weights from there. The rest keeps its values.
    Raises ValueError where nothing fits.
    """
    if source == "imagenet":
        load_imagenet(getattr(network, "backbone", network))
        return "imagenet: the trunk's weights taken over"
    state, own = read(source), network.state_dict()
    fitting = {n: t.float() for n, t in state.items() if n in own and t.shape == own[n].shape}
    if not fitting:
        raise ValueError(
            f"{source} has no tensor of the name and shape of one in this "
            f"{type(network).__name__}: it is another network's"
        )
    network.load_state_dict(fitting, strict=False)
    new, unused = ([n for n in names if n not in fitting] for names in (own, state))
    return (
        f"{source}: {len(fitting)} of {len(own)} tensors taken over"
        + (f"; new: {some(new)}" if new else "")
        + (f"; left out: {some(unused)}" if unused else "")
    )


def some(names: list[str], shown: int = 4) -> str:
    """The first of many names, and how many more there are."""
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest


def read(source: str) -> dict[str, Tensor]:
    """The weights in a file, or of a shipped checkpoint."""
    path = Path(source)
    if path.suffix == ".pt":
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state.get("average", state)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    from deeplab_lite import checkpoints

    return checkpoints.load(source).state_dict()


def load_imagenet(trunk: nn.Module) -> None:
    """ImageNet's weights for a trunk: EfficientNet-Lite0's offline, others as torchvision has them.

    Raises ValueError for a trunk that nobody trained on ImageNet, as one of another width.
    """
    from deeplab_lite.models.efficientnet import EfficientNetLite0, load_imagenet
    from deeplab_lite.models.vgg import VGG16, imagenet_weights

    if isinstance(trunk, EfficientNetLite0):
        load_imagenet(trunk)
    elif isinstance(trunk, VGG16) and trunk.out_channels == 512:
        trunk.load_torchvision(imagenet_weights(trunk.batch_norm))
    else:
        raise ValueError(
            f"there are no ImageNet weights for this {type(trunk).__name__}: leave --init out"
        )
