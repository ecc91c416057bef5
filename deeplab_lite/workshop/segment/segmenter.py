"""A checkpoint, and how it is asked: scales, mirror, CRF, tiles. Taught in lesson 09."""

import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from deeplab_lite import checkpoints, colors
from deeplab_lite.crf import dense_crf
from deeplab_lite.image_files import padded
from deeplab_lite.models.v2 import Mirrored, MultiScale
from deeplab_lite.receptive_field import receptive_fields
from deeplab_lite.scenes import CLASSES, normalize
from deeplab_lite.tiles import Track, blend, spans
from deeplab_lite.workshop.datasets import camvid


@dataclass(frozen=True)
class Settings:
    """How pictures are segmented.

    - `model`: a name of `checkpoints.names()` or the path of a .safetensors with its card.
    - `scales`: sizes that the network sees a picture in; `fuse` "mean" averages probabilities, as
      in v3 and v3+, "max" takes the largest logit, as in v2. `flip`: the mirror image, too.
    - `crf`: refine by the dense CRF, with the card's parameters ("crf"), or DeepLab v1's.
    - `tile`: longest side, in pixels, of one pass at scale 1; larger pictures are cut into tiles,
      which share `overlap` pixels or more. None is what the receptive field asks for.
    - `output_stride`: another than the one of training, with the same weights.
    """

    model: str
    scales: tuple[float, ...] = (1.0,)
    fuse: str = "mean"
    flip: bool = False
    crf: bool = False
    tile: int = 1025
    overlap: int | None = None
    output_stride: int | None = None

    def __post_init__(self) -> None:
        if not self.scales or not all(0.1 <= scale <= 10 for scale in self.scales):
            shown = ",".join(f"{scale:g}" for scale in self.scales) or "none"
            raise ValueError(f"scales {shown}: expected numbers from 0.1 to 10, as 0.75,1,1.25")
        if self.fuse not in ("mean", "max"):
            raise ValueError(f"fuse {self.fuse!r}: expected mean or max")
        if self.tile < 65:
            raise ValueError(f"tile {self.tile}: expected 65 pixels or more")
        if self.overlap is not None and not 0 <= self.overlap <= self.tile // 2:
            raise ValueError(
                f"overlap {self.overlap}: expected 0 to {self.tile // 2} pixels, half of the tile"
            )


class Segmenter:
    """A trained network that takes pictures of any size: uint8 (H, W, 3).

    Raises ValueError or FileNotFoundError as `checkpoints.load`; ValueError for an output stride
    that the network cannot have, and for a device that is not there.
    """

    def __init__(self, settings: Settings, device: str = "auto"):
        self.settings = settings
        self.card = checkpoints.card(settings.model)
        self.device = find_device(device)
        self.classes = tuple(map(str, self.card["classes"]))
        self.palette = palette(self.card)
        network: Any = checkpoints.load(settings.model, device=self.device)
        network.to(memory_format=torch.channels_last)
        if settings.output_stride is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network.output_stride = settings.output_stride
        self.network, self.extra = network, int(network.align_corners)
        asked = MultiScale(network, settings.scales, settings.fuse)
        self.asked: nn.Module = Mirrored(asked) if settings.flip else asked
        self.crf: dict[str, Any] | None = self.card.get("crf", {}) if settings.crf else None

    @property
    def name(self) -> str:
        """The model as it was given."""
        return self.settings.model

    def described(self) -> dict[str, Any]:
        """All that decides what comes out, as JSON: the settings, the weights' sha256, the CRF."""
        found = asdict(self.settings) | {"sha256": self.card["sha256"], "crf": self.crf}
        return found | {"scales": list(self.settings.scales)}

    # ---- One pass

    @torch.inference_mode()
    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """float32 (K, H, W) of a picture in one pass, after the CRF if there is one.

        What the network wants beyond the picture's sides is grey, and cut off again. Raises
        ValueError for logits that are NaN.
        """
        height, width = image.shape[:2]
        fitting = padded(image, self.network.output_stride, self.extra)
        batch = normalize(fitting)[None].to(self.device, memory_format=torch.channels_last)
        with warnings.catch_warnings():  # of rates larger than the map of a small picture
            warnings.simplefilter("ignore")
            logits = self.asked(batch)[0, :, :height, :width]
        probs = logits.float().softmax(0).cpu().numpy()
        if np.isnan(probs).any():
            raise ValueError(f"{self.name} answers NaN: its weights are damaged, or have diverged")
        return probs if self.crf is None else dense_crf(probs, image, **self.crf)

    # ---- Any size

    @cached_property
    def reach(self) -> int | None:
        """How many pixels to any side of a pixel can change its class; None: all of the picture."""
        stride = self.network.output_stride
        middle = 16 * stride
        network = MultiScale(self.network, self.settings.scales, self.settings.fuse)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            field = receptive_fields(network, 2 * middle + self.extra, [""])[""]
        if field.is_global:
            return None
        found = 0
        for pixel in range(middle, middle + stride):
            region = field.region(pixel, clip=False)
            assert region is not None
            found = max(found, *(max(pixel - first, last - pixel) for first, last in region))
        return found

    def overlap(self) -> tuple[int, int]:
        """Pixels that neighbouring tiles share, and those next to a cut that count nothing.

        Twice the reach, where half a tile has room for it: then tiles answer as the whole picture
        would. Otherwise, and with image pooling, whose mean is then the tile's, a quarter of it.
        """
        tile, given = self.settings.tile, self.settings.overlap
        reach = self.reach
        if given is None:
            wanted = 2 * reach if reach is not None else tile
            given = wanted if wanted <= tile // 2 else tile // 4
        return given, reach if reach is not None and 2 * reach <= given else given // 4

    def labels(self, image: np.ndarray, track: Track = iter) -> np.ndarray:
        """The class of each pixel, uint8 (H, W). `track` is given the list of tiles, as tqdm is.

        A picture with sides of up to `tile` is one pass. Others are cut into tiles, see `tiles`.
        Where the receptive field is finite and half a tile has room for twice its reach, that is
        the answer of one pass, but for rounding. It is only close to it where image pooling (v3,
        v3+) takes the mean of a tile for that of the picture, where several scales round their
        sides, or where the CRF sees one tile at a time. One pass is not the truth, either: a mean
        over far more pixels than in training can mislead v3 more than tiles do.
        """
        tile = self.settings.tile
        if max(image.shape[:2]) <= tile:
            return self.probabilities(image).argmax(0).astype(np.uint8)
        overlap, margin = self.overlap()
        grid = (overlap, margin, self.network.output_stride, self.extra)
        rows, columns = (spans(side, tile, *grid) for side in image.shape[:2])
        found = np.empty(image.shape[:2], np.uint8)
        for top, probs in blend(image, self.probabilities, rows, columns, track):
            found[top : top + probs.shape[1]] = probs.argmax(0)
        return found


def find_device(name: str) -> torch.device:
    """auto (a GPU where there is one), cpu, cuda, cuda:1 or mps; ValueError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(
            f"device {name!r} is not there: expected auto, cpu, cuda, cuda:1 or mps"
        ) from None
    return device


def palette(card: checkpoints.Card) -> np.ndarray:
    """A colour for each class, uint8 (K, 3).

    The card's "palette", that of the scenes or of CamVid by the classes' names, or Pascal VOC's.
    """
    classes = tuple(card["classes"])
    if "palette" in card:
        return np.array(card["palette"], np.uint8)
    if classes == CLASSES:
        return colors.SCENE_PALETTE
    return (
        np.array(camvid.PALETTE, np.uint8)
        if classes == camvid.CLASSES
        else voc_palette(len(classes))
    )


def voc_palette(count: int) -> np.ndarray:
    """Pascal VOC's colours: bits 0, 1, 2 of the class, then 3, 4, 5, are R, G, B from the top."""
    numbers = np.arange(count)[:, None]
    bits = [((numbers >> (3 * i + np.arange(3))) & 1) << (7 - i) for i in range(3)]
    return np.sum(bits, axis=0).astype(np.uint8)


def shares(labels: np.ndarray, classes: Iterable[str]) -> list[dict[str, Any]]:
    """A dict for each class: class (its number), name, pixels, share (of all, to 6 digits)."""
    names = tuple(classes)
    counts = np.zeros(len(names), int)
    for row in labels:  # of all at once, bincount would make a copy 8 times as large
        counts += np.bincount(row, minlength=len(names))
    return [
        {"class": k, "name": name, "pixels": n, "share": round(n / labels.size, 6)}
        for k, (name, n) in enumerate(zip(names, counts.tolist(), strict=True))
    ]
