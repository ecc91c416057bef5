"""Fills of a scene: photographs of textures, or colour noise, around a mean colour. Lesson 00."""

import functools
import math
from pathlib import Path

import numpy as np
from PIL import Image

from deeplab_lite.files import package_folder

TEXTURES = ("brick", "grass", "gravel")  # photographs in skimage/data, 512 x 512, grey


@functools.cache
def texture(name: str) -> np.ndarray:
    """A texture photograph of scikit-image, float32 (512, 512), with mean 0 and deviation 1."""
    path = Path(package_folder("skimage", "scikit-image", "the textures")) / "data" / f"{name}.png"
    pixels = np.array(Image.open(path).convert("L"))
    mean = int(pixels.sum(dtype=np.int64)) / pixels.size
    variance = int(np.square(pixels.astype(np.int64)).sum()) / pixels.size - mean * mean
    return ((pixels - mean) / math.sqrt(variance)).astype(np.float32)


def far_from(random: np.random.RandomState, color: np.ndarray, contrast: float) -> np.ndarray:
    """A colour at least contrast x 255 away from `color`; the farthest of 64 if none is."""
    draws = 255 * random.random_sample((64, 3))
    away = np.square(draws - color)
    distance = away[:, 0] + away[:, 1] + away[:, 2]
    far = distance >= (255 * contrast) * (255 * contrast)
    return draws[int(far.argmax()) if far.any() else int(distance.argmax())]


def fill(
    random: np.random.RandomState, size: tuple[int, ...], color: np.ndarray, strength: float
) -> np.ndarray:
    """A pattern around a mean colour, float32 (height, width, 3) in [0, 255]."""
    height, width = size
    kind, turn = int(random.random_sample() * 5), random.random_sample(8)
    tint = (90 * strength * (turn[:3] - 0.5) + 30 * strength * (turn[3] - 0.5)).astype(np.float32)
    if kind < len(TEXTURES):
        photo, step = texture(TEXTURES[kind]), 1 + int(turn[4] * min(3, 512 // max(height, width)))
        if max(size) > 512:  # mirrored at its edges
            photo = np.pad(photo, [(0, max(0, n - 512)) for n in size], mode="symmetric")
        room = (side - step * n for side, n in zip(photo.shape, size, strict=True))
        y, x = (int(t * r) for t, r in zip(turn[5:7], room, strict=True))
        crop = photo[y : y + step * height : step, x : x + step * width : step]
        pattern = crop[::-1, :, None] * tint if turn[7] < 0.5 else crop[..., None] * tint
    else:
        pattern = noise(random, height, width, 2 << int(turn[4] * 5))
        pattern = pattern * np.float32(150 * strength * (0.3 + turn[5]))
    return np.clip(color.astype(np.float32) + pattern, 0, 255)


def noise(random: np.random.RandomState, height: int, width: int, cell: int) -> np.ndarray:
    """Colour noise in [-0.5, 0.5], bilinear between random colours `cell` (a power of 2) apart."""
    grid = random.random_sample((height // cell + 2, width // cell + 2, 3)).astype(np.float32) - 0.5
    for axis, length in ((0, height), (1, width)):
        at = np.arange(length)
        share = ((at % cell) / cell).astype(np.float32)
        share = share[:, None, None] if axis == 0 else share[:, None]
        before, after = grid.take(at // cell, axis), grid.take(at // cell + 1, axis)
        grid = before + share * (after - before)
    return grid
