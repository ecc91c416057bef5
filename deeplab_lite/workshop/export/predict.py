"""Photographs to coloured label maps: python predict.py PHOTO-OR-FOLDER ... --out FOLDER

--longest N shrinks photographs first, as `import --longest N` did before the training; masks have
their full size.

Needs onnxruntime, NumPy and Pillow, and MODEL beside it; neither torch nor deeplab_lite. For each
photograph it writes a palette PNG: a pixel's value is its class, its colour that of PALETTE. What
is there already stays. In a program: `from predict import predict, read`.

A video is a folder of frames, here at 25 a second:
    mkdir frames
    ffmpeg -i drive.mp4 frames/%06d.png
    python predict.py frames --out masks
    ffmpeg -framerate 25 -i masks/%06d.png -pix_fmt yuv420p masks.mp4
"""

import argparse
import contextlib
import functools
import glob
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageCms, ImageOps

# ---- The network's card --------------------------------------------------------------------------

MODEL = "model.onnx"
CLASSES = ["background", "object"]
PALETTE = [[0, 0, 0], [128, 0, 0]]
STRIDE, EXTRA = 16, 1  # sides that fit the network: 2 or more times STRIDE, plus EXTRA
SIZE: tuple[int, int] | None = None  # or the one (height, width) that it takes
TILE, OVERLAP, MARGIN = 1025, 256, 64  # pixels: larger photographs are cut into tiles

# ---- From a photograph to labels -----------------------------------------------------------------


def read(path: Path) -> np.ndarray:
    """A photograph as uint8 (H, W, 3): upright, in sRGB, what is transparent laid on grey."""
    with Image.open(path) as file:
        deep = ";16" in str(getattr(file, "tile", "")) or file.mode[0] in "IF"
        kind, image = file.format, ImageOps.exif_transpose(file)
    if deep:
        raise ValueError("it has more than 8 bits a channel: save it with 8 bits")
    if kind == "TIFF" and image.mode in ("LA", "RGBA"):  # a last band, often near infrared
        image = image.convert(image.mode[:-1])
    profile, alpha = image.info.get("icc_profile"), image.has_transparency_data
    if alpha or image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGBA" if alpha else "RGB")
    if alpha and not np.asarray(image)[..., 3].any():  # clear all over, and not meant to be
        image, alpha = image.convert("RGB"), False
    if profile:
        srgb, mode = ImageCms.createProfile("sRGB"), "RGBA" if alpha else "RGB"
        with contextlib.suppress(ImageCms.PyCMSError, OSError):  # one that does not fit the image
            source = io.BytesIO(profile)
            image = ImageCms.profileToProfile(image, source, srgb, outputMode=mode) or image
    if alpha:
        image = Image.alpha_composite(Image.new("RGBA", image.size, (128, 128, 128, 255)), image)
    return np.asarray(image.convert("RGB"))


def predict(image: np.ndarray, longest: int = 0) -> np.ndarray:
    """The class of each pixel, uint8 (H, W), of an image, uint8 (H, W, 3).

    A longer side above `longest`, unless 0, is shrunk to it, and the labels are enlarged again.
    """
    if 0 < longest < max(image.shape[:2]):
        small = Image.fromarray(image)
        small.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3)
        labels = Image.fromarray(predict(np.asarray(small)))
        return np.asarray(labels.resize(image.shape[1::-1], Image.Resampling.NEAREST))
    if SIZE or max(image.shape[:2]) <= TILE:
        return probabilities(image).argmax(0).astype("uint8")
    votes = np.zeros((len(CLASSES), *image.shape[:2]), "uint16")  # in units of 1 / 65,000
    for top, bottom, down in spans(image.shape[0]):
        for left, right, across in spans(image.shape[1]):
            tile = image[top:bottom, left:right]
            beyond = [(0, fitting(side) - side) for side in tile.shape[:2]]
            answer = probabilities(np.pad(tile, [*beyond, (0, 0)], "edge"))
            answer = answer[:, : bottom - top, : right - left] * down[:, None] * (across * 65_000)
            votes[:, top:bottom, left:right] += np.rint(answer).astype("uint16")
    return votes.argmax(0).astype("uint8")


def probabilities(image: np.ndarray) -> np.ndarray:
    """float32 (K, H, W) of an image: resized to sides that fit, and its answer resized back."""
    size = image.shape[:2]
    if SIZE:
        image = np.asarray(Image.fromarray(image).resize(SIZE[::-1]))
    pixels = image.transpose(2, 0, 1) / np.float32(255)  # the file itself normalises further
    pixels = resize(pixels, SIZE or [fitting(side) for side in size])
    (logits,) = session().run(["logits"], {"image": pixels[None]})
    scores = np.exp(logits[0] - logits[0].max(0))
    return resize(scores / scores.sum(0), size)


@functools.cache
def session() -> onnxruntime.InferenceSession:
    """The network. On a GPU: onnxruntime-gpu, and "CUDAExecutionProvider" as the first provider."""
    model = Path(__file__).with_name(MODEL)
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


# ---- Sizes and tiles -----------------------------------------------------------------------------


def fitting(side: int) -> int:
    """The smallest side that fits the network and is no smaller."""
    return STRIDE * max(2, -(-(side - EXTRA) // STRIDE)) + EXTRA


def resize(maps: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Maps (K, h, w) at another size, bilinear."""
    if maps.shape[1:] == tuple(size):
        return maps
    down, across = map(bilinear, maps.shape[1:], size)
    return down @ maps @ across.T


def bilinear(old: int, new: int) -> np.ndarray:
    """float32 (new, old): what each old pixel counts for in each new one."""
    at = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
    return np.maximum(0, 1 - abs(at[:, None] - np.arange(old))).astype("float32")


def spans(side: int) -> list[tuple[int, int, np.ndarray]]:
    """(first, end, weights) of each tile along a side, as deeplab_lite.tiles cuts and blends it."""
    most, whole, shared = (TILE - EXTRA) // STRIDE, fitting(side) // STRIDE, -(-OVERLAP // STRIDE)
    if whole <= most:
        return [(0, side, np.ones(side, "float32"))]
    count = -(-(whole - shared) // (most - shared))
    units = shared - -(whole - shared) // count
    firsts = [STRIDE * ((whole - units) * i // (count - 1)) for i in range(count)]
    tile = units * STRIDE + EXTRA
    windows, total = [], np.zeros(fitting(side), "float32")
    for first in firsts:
        inside = np.arange(tile, dtype="float32")  # pixels from the cut before it, and behind it
        before = inside if first else np.full_like(inside, tile)
        behind = inside[::-1] if first < firsts[-1] else np.full_like(inside, tile)
        nearest = np.minimum(before, behind)
        windows.append(np.clip(nearest - MARGIN + 1, 0, max(1, OVERLAP - 2 * MARGIN)))
        total[first : first + tile] += windows[-1]
    ends = [min(first + tile, side) for first in firsts]
    return [
        (first, end, window[: end - first] / total[first:end])
        for first, end, window in zip(firsts, ends, windows, strict=True)
    ]


# ---- Files ---------------------------------------------------------------------------------------


def main() -> int:
    """Predict each photograph; returns 1 if one of them could not be read."""
    parser = argparse.ArgumentParser(description="Photographs to coloured label maps.")
    parser.add_argument("photos", nargs="+", type=Path, help="images, folders of them, patterns")
    parser.add_argument("--out", type=Path, default=Path("predicted"), help="a folder for PNGs")
    longest = "shrink photographs to a longer side of this; 0: as they are"
    parser.add_argument("--longest", type=int, default=0, help=longest)
    options = parser.parse_args()
    model = Path(__file__).with_name(MODEL)
    if not model.is_file():
        parser.error(f"{model} is not there: keep it beside this file, under this name")
    if options.out.is_file():
        parser.error(f"--out {options.out} is a file: name a folder")
    if options.longest < 0:
        parser.error(
            f"--longest {options.longest}: give a number of pixels, or 0 to shrink nothing"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    known, out, failed = Image.registered_extensions(), options.out.resolve(), 0
    for word in options.photos:
        inside = [word]
        if word.is_dir():  # pictures in it and below, but for the masks
            below = (path for path in sorted(word.rglob("*")) if path.suffix.lower() in known)
            inside = [path for path in below if out not in path.resolve().parents]
        elif not word.exists():  # a pattern that no shell has resolved, perhaps
            inside = [Path(path) for path in sorted(glob.glob(str(word)))] or [word]
        for photo in inside:
            name = photo.relative_to(word) if word.is_dir() else Path(photo.name)
            mask = options.out / name.with_suffix(".png")
            mask.parent.mkdir(parents=True, exist_ok=True)
            if mask.exists():
                print(f"{mask} is there already: {photo} left out")
                continue
            try:
                labels = predict(read(photo), options.longest)
            except (OSError, ValueError) as error:
                print(f"{photo}: {error}", file=sys.stderr)
                failed = 1
                continue
            save(labels, mask)
            shares = np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size
            most = [f"{CLASSES[k]} {shares[k]:.0%}" for k in shares.argsort()[::-1][:3]]
            print(f"{mask}: {', '.join(most)}")
    return failed


def save(labels: np.ndarray, path: Path) -> None:
    """A palette PNG that is whole or not there."""
    image = Image.fromarray(labels)
    image.putpalette([value for color in PALETTE for value in color])
    part = path.with_suffix(".part")
    try:
        image.save(part, "PNG")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
