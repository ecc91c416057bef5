"""Where the first weights come from: a checkpoint, or ImageNet as in the papers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deeplab_lite import checkpoints
from deeplab_lite.models.base import freeze_batch_norm
from deeplab_lite.models.efficientnet import EfficientNetLite0
from deeplab_lite.models.resnet import ResNet
from deeplab_lite.models.vgg import VGG16
from deeplab_lite.models.xception import Xception65
from deeplab_lite.photos import classifier
from deeplab_lite.tables import some

# What torchvision's networks take: RGB in [0, 1], less the mean, divided by the deviation.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Converted by timm from those of the paper's authors; they take [-1, 1], as all of this course.
XCEPTION65 = (
    "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"
    "tf_xception_65-c9ae96e8.pth"
)


def start_from(
    network: nn.Module, source: str, classes: Sequence[str] = (), head: Sequence[str] = ()
) -> str:
    """Give `network` the tensors of `source` whose names and shapes are its own; report in a line.

    source: a shipped checkpoint's name, the path of a .safetensors file or of a run's
    checkpoint.pt, or "imagenet" for the backbone's weights. All else keeps its values: so
    do the last layers where the source has another number of classes. `head` names the tensors with
    a row for each of `classes`: where the source names its own, these rows go by the names.
    Raises ValueError where nothing fits.
    """
    if source == "imagenet":
        load_imagenet(getattr(network, "backbone", network))
        return "imagenet: the backbone's weights taken over"
    own = network.state_dict()
    state = without_owner(read(source), own)
    theirs = classes_in(source) if checkpoints.have_names(classes) else ()
    by_name = bool(head) and checkpoints.have_names(theirs) and folded(theirs) != folded(classes)
    if by_name:
        state |= rows_by_name(state, own, theirs, classes, head)
    fitting = {n: t.float() for n, t in state.items() if n in own and t.shape == own[n].shape}
    if not any(tensor.ndim for tensor in fitting.values()):
        raise ValueError(
            f"{source} has no tensor of the name and shape of one in this "
            f"{type(network).__name__}: it is another network's"
        )
    network.load_state_dict(fitting, strict=False)
    report = [f"{source}: {len(fitting)} of {len(own)} tensors taken over"]
    other = last_layers(state, own)
    if other:
        there, here = (len(tensors[other[0]]) for tensors in (state, own))
        text = f"it has {there} classes and this network {here}, so {some(other)} begin anew"
        report.append(text)
    if by_name:
        anew = [name for name in classes if name.casefold() not in folded(theirs)]
        text = f"its classes are {some(theirs)}, so the last layer's go by name"
        report.append(f"{text}, and {some(anew)} begin anew" if anew else text)
    elif (
        head
        and checkpoints.have_names(classes)
        and not (other or checkpoints.have_names(theirs))
        and set(head) & set(fitting)
    ):
        report.append("it names no classes, so the last layer's are taken in their order")
    for what, names in (("new", own), ("left out", state)):
        if rest := [name for name in names if name not in fitting and name not in other]:
            report.append(f"{what}: {some(rest)}")
    return "; ".join(report)


def classes_in(source: str) -> tuple[str, ...]:
    """The classes on the source's card, or in a run's checkpoint.pt; () where it has none."""
    if Path(source).suffix in checkpoints.PICKLES:
        content = torch.load(source, map_location="cpu", weights_only=True)
        names = content.get("classes") if isinstance(content, dict) else None
        return tuple(map(str, names)) if isinstance(names, list) else ()
    try:
        return tuple(map(str, checkpoints.card(source)["classes"]))
    except (FileNotFoundError, ValueError):
        return ()


def folded(classes: Sequence[str]) -> list[str]:
    """Names without regard to case."""
    return [name.casefold() for name in classes]


def rows_by_name(
    state: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    theirs: Sequence[str],
    classes: Sequence[str],
    head: Sequence[str],
) -> dict[str, Tensor]:
    """The head's tensors: the source's row for each class that it knows, `own` row for others."""
    rows, known = {}, folded(theirs)
    for name in head:
        if name in state and state[name].shape[1:] == own[name].shape[1:]:
            rows[name] = own[name].clone()
            for index, each in enumerate(folded(classes)):
                if each in known:
                    rows[name][index] = state[name][known.index(each)]
    return rows


def last_layers(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """The tensors that differ in their number of classes, if nothing differs but that."""
    pairs = {n: (state[n].shape, own[n].shape) for n in own if n in state}
    other = {n: shapes for n, shapes in pairs.items() if shapes[0] != shapes[1]}
    classes = {(there[0], here[0]) for there, here in other.values()}
    alike = all(there[1:] == here[1:] for there, here in other.values())
    return list(other) if alike and len(classes) == 1 else []


def read(source: str) -> dict[str, Tensor]:
    """The weights in a file, or of a shipped checkpoint; names are those of the bare network.

    Raises FileNotFoundError, and ValueError for a file that cannot be read as tensors alone.
    """
    path = Path(source)
    if path.suffix not in (".safetensors", *checkpoints.PICKLES):
        state = checkpoints.load(source).state_dict()
    else:
        from safetensors.torch import load_file

        try:
            if path.suffix == ".safetensors":
                state = load_file(path)
            else:
                state = state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            raise
        except Exception as error:  # of torch.load and safetensors: many
            raise ValueError(
                f"{path} is cut short, or holds more than tensors ({type(error).__name__}): copy "
                "it again, or save model.state_dict() in place of the model"
            ) from error
    return {checkpoints.plain_name(name): tensor for name, tensor in state.items()}


def without_owner(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what stands before the network's names where it was a part: "net.", "model."."""
    before = Counter(
        name.removesuffix(known) for known in own for name in state if name.endswith(f".{known}")
    )
    owner, count = max(before.items(), key=lambda each: each[1], default=("", 0))
    if count <= len(own.keys() & state.keys()):
        return state
    return {n.removeprefix(owner): t for n, t in state.items() if n.startswith(owner)}


def state_dict(content: Any) -> dict[str, Tensor]:
    """The weights in what torch.save wrote: the average, the model, or the first tensors."""
    parts = content if isinstance(content, dict) else {}
    known = [parts[name] for name in ("average", "model", "state_dict") if name in parts]
    for part in (*known, parts, *parts.values()):
        if isinstance(part, dict):
            state = {str(n): value for n, value in part.items() if isinstance(value, Tensor)}
            state.pop("n_averaged", None)  # of torch's AveragedModel
            if state:
                return state
    return {}


# ---- ImageNet ------------------------------------------------------------------------------------


def load_imagenet(backbone: nn.Module) -> None:
    """ImageNet's weights for a backbone, for images in [-1, 1].

    EfficientNet-Lite0's come with a package; VGG-16's and ResNet's, as torchvision has them, and
    Xception-65's are downloaded once. Raises ValueError for a backbone that nobody trained on
    ImageNet, as one of another width; ConnectionError, with where to put the file, offline.
    """
    if isinstance(backbone, EfficientNetLite0):
        state = classifier().state_dict()
        backbone.load_state_dict({key: state[key] for key in backbone.state_dict()})
    elif isinstance(backbone, Xception65):
        state = fetch(XCEPTION65)
        backbone.load_state_dict({k: v for k, v in state.items() if not k.startswith("head.")})
    elif isinstance(backbone, VGG16 | ResNet):
        backbone.load_torchvision(fetch(torchvision_url(backbone)))
        take_plain_images(backbone)
    else:
        raise ValueError(
            f"there are no ImageNet weights for this {type(backbone).__name__}: leave --init out"
        )


def torchvision_url(backbone: VGG16 | ResNet) -> str:
    """Where torchvision has first weights of this backbone. ValueError if it has none."""
    from torchvision.models import get_model_weights

    if isinstance(backbone, ResNet):
        if backbone.stride_on == "1x1":
            raise ValueError(
                "torchvision trained its ResNets with strides on the 3x3 convolutions, and this "
                'one has them on the 1x1: take the option {"stride_on": "3x3"}'
            )
        name = backbone.name
    else:
        if backbone.out_channels != 512:
            raise ValueError(
                "there are no ImageNet weights for this VGG16, which is not of width 1: "
                "leave --init out"
            )
        name = "vgg16_bn" if backbone.batch_norm else "vgg16"
    return get_model_weights(name)["IMAGENET1K_V1"].url


def fetch(url: str) -> dict[str, Tensor]:
    """The state dict at `url`, from torch's folder of downloads if it is there.

    Raises ConnectionError where it cannot be fetched, ValueError where the file is damaged.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except Exception as error:  # of the network, of the hash, of torch.load: many
        if file.exists():
            raise ValueError(
                f"{file} is damaged ({type(error).__name__}): move it away, and it is fetched anew"
            ) from error
        raise ConnectionError(
            f"{url} cannot be fetched ({error}): get the file elsewhere and put it into "
            f"{file.parent}"
        ) from error


@torch.no_grad()
def take_plain_images(backbone: VGG16 | ResNet) -> None:
    """Change the first layer of torchvision's network, so that it takes RGB in [-1, 1].

    Its values stay as they were, except at the image's border, where padding is mid-grey now.
    """
    first: Any = backbone.features[0] if isinstance(backbone, VGG16) else backbone.conv1
    mean, deviation = (torch.tensor(each)[:, None, None] for each in (MEAN, DEVIATION))
    grey = (first.weight * (0.5 - mean) / deviation).sum((1, 2, 3))  # what 0 becomes
    first.weight *= 0.5 / deviation
    if isinstance(backbone, ResNet):
        backbone.bn1.running_mean -= grey
    else:
        first.bias += grey


# ---- Batch norm ----------------------------------------------------------------------------------


def freeze(network: nn.Module, which: str) -> None:
    """Hold the statistics of batch norm: of "none", of the "backbone", or of "all" layers.

    Scale and shift are still learnt. Raises ValueError for the backbone of a network without one.
    """
    if which == "backbone" and not hasattr(network, "backbone"):
        raise ValueError(
            f"freeze_bn 'backbone': this {type(network).__name__} has no part called backbone; "
            "take all or none"
        )
    if which != "none":
        freeze_batch_norm(network if which == "all" else network.get_submodule("backbone"))
