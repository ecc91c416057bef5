"""Training images as they might have been: other sizes, places, sides and light. Lesson 09.

DeepLab's recipe (v2, section 4.1; v3+, section 4): scales from 0.5 to 2, a crop, a flip. Colours
are jittered as well, for data sets of a few hundred images.
"""

import math

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from deeplab_lite.labels import IGNORE
from deeplab_lite.workshop.datasets.pairs import Item

COLOUR = v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.02)
FLIP = v2.RandomHorizontalFlip()


def augment(
    image: Tensor,
    label: Tensor,
    generator: torch.Generator,
    size: int = 257,
    scale: tuple[float, float] = (0.5, 2.0),
    colour: bool = True,
    mirror: bool = True,
    rotation: float = 0.0,
) -> Item:
    """A random crop of size x size pixels, changed by draws of `generator`.

    Its scale is in the range `scale`; half of the crops are mirrored; brightness, contrast,
    saturation and hue change; it is turned by up to `rotation` degrees either way.

    image: float32 (3, H, W) in [-1, 1]; label: int64 (H, W). What the crop has beyond the image is
    mid-grey, and 255 in the label. Labels take the class of the nearest pixel and are never mixed.
    torch's own generators are left as they were. Raises ValueError for a size below 1.
    """
    if size < 1:
        raise ValueError(f"size {size}: expected the side of the crop in pixels, at least 1")
    with torch.random.fork_rng(devices=[]):  # transforms draw from torch's CPU generator
        torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        if rotation:
            image, label = turned_crop(image, label, size, scale, rotation)
        else:
            image, label = scaled_crop(image, label, size, scale)
        pixels, mask = tv_tensors.Image(image), tv_tensors.Mask(label)
        if mirror:
            pixels, mask = FLIP(pixels, mask)
        if colour:
            pixels = COLOUR(pixels.mul(0.5).add_(0.5)).sub_(0.5).mul_(2)
    return pixels.as_subclass(Tensor), mask.as_subclass(Tensor)


def turned_crop(
    image: Tensor, label: Tensor, size: int, scale: tuple[float, float], rotation: float
) -> Item:
    """`scaled_crop`, turned: cut from a larger one, so that its corners are not empty."""
    degrees = rotation * (2 * float(torch.rand(())) - 1)
    angle = math.radians(degrees)
    side = size + 2 * math.ceil(size * (abs(math.sin(angle)) + abs(math.cos(angle)) - 1) / 2)
    image, label = scaled_crop(image, label, side, scale)
    image = F.rotate(image, degrees, v2.InterpolationMode.BILINEAR)
    label = F.rotate(label[None], degrees, v2.InterpolationMode.NEAREST, fill=IGNORE)[0]
    return F.center_crop(image, [size, size]), F.center_crop(label, [size, size])


def scaled_crop(image: Tensor, label: Tensor, size: int, scale: tuple[float, float]) -> Item:
    """A window of the image anywhere in it, or around it, brought to size x size.

    Cutting before scaling gives what cutting after it would, for a part of the work. Labels are
    taken from the pixel that is nearest to the centre: torchvision's own way with masks looks at
    corners, and would move labels by half a pixel against the image.
    """
    low, high = scale
    window = round(size / (low + (high - low) * float(torch.rand(()))))
    height, width = label.shape
    top, left = (_place(side, window) for side in (height, width))
    beyond = [max(0, -left), max(0, -top)]
    beyond += [max(0, left + window - width), max(0, top + window - height)]
    inside = (max(0, top), max(0, left))
    rows = slice(inside[0], top + window)
    columns = slice(inside[1], left + window)
    pixels = F.pad(image[:, rows, columns], beyond)
    mask = F.pad(label[None, rows, columns], beyond, fill=IGNORE)
    pixels = F.resize(pixels, [size, size], antialias=True)
    mask = F.resize(mask, [size, size], interpolation=v2.InterpolationMode.NEAREST_EXACT)
    return pixels, mask[0]


def _place(side: int, window: int) -> int:
    """Where a window begins: in the image, or, where it is larger, so that it holds all of it."""
    low, high = sorted((0, side - window))
    return int(torch.randint(low, high + 1, ()))
