"""Which image comes when: arithmetic on (seed, step, rank), so that resuming needs no state."""

import functools
import itertools
import multiprocessing
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from deeplab_lite.workshop.train.config import Config

AUGMENTATION = ("mirror", "scale", "colour", "rotation")  # fields of Config
DRAWN = ("scenes", "small-scenes")
LONG = 2**24  # a data set longer than this is not shuffled: its items are taken in their own order
Item = tuple[Tensor, Tensor]  # image 3 x H x W, label H x W
Augment = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


class Stream(Dataset[tuple[Tensor, Tensor]]):
    """A data set without end: item i is the i-th image of the run, a function of (seed, i) alone.

    Each pass through a set of ordinary length is shuffled anew. augment(image, label, generator)
    draws from a generator that is seeded by (seed, i).
    """

    def __init__(self, dataset: Any, seed: int, augment: Augment | None = None):
        self.dataset, self.seed, self.augment = dataset, seed, augment

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = self.dataset[self.place(index)]
        if self.augment is not None:
            image, label = self.augment(image, label, generator(self.seed, index, 1))
        return image, label

    def place(self, index: int) -> int:
        """Where in the data set the run's image `index` is."""
        length = len(self.dataset)
        if length > LONG:
            return (self.seed * LONG + index) % length
        epoch, position = divmod(index, length)
        return int(_permutation(length, self.seed, epoch)[position])


@functools.lru_cache(maxsize=2)
def _permutation(length: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(length, generator=generator(seed, epoch, 0))


def generator(*numbers: int) -> torch.Generator:
    """A CPU generator whose draws depend on all of `numbers`."""
    return torch.Generator().manual_seed(mix(*numbers))


def mix(*numbers: int) -> int:
    """One seed of 63 bits out of several numbers (SplitMix64), so that none is the other's next."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state >> 1


def order(config: Config, rank: int, world: int, first: int) -> Iterator[list[int]]:
    """Indices of the batches of process `rank` out of `world`, from step `first` on.

    Step s has the images s batch ... (s + 1) batch - 1, whatever the number of processes and
    accumulated passes. Raises ValueError where they do not divide the batch.
    """
    parts = world * config.accumulate
    if config.batch % parts:
        raise ValueError(
            f"batch {config.batch} is not a multiple of devices x accumulate, "
            f"{world} x {config.accumulate}: take {config.batch + -config.batch % parts}"
        )
    share = config.batch // parts
    for step in range(first, config.steps):
        for turn in range(config.accumulate):
            start = step * config.batch + (turn * world + rank) * share
            yield list(range(start, start + share))


def batches(
    stream: Stream, config: Config, rank: int, world: int, first: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of `order`, prepared ahead by `config.workers` processes."""
    return iter(
        DataLoader(
            stream,
            batch_sampler=list(order(config, rank, world, first)),
            num_workers=config.workers,
            prefetch_factor=4 if config.workers else None,
            pin_memory=torch.cuda.is_available() and config.accelerator != "cpu",
        )
    )


def validation(
    dataset: Any, config: Config, rank: int, world: int
) -> tuple[DataLoader[Any], list[int], int]:
    """The validation images of process `rank`, which ones these are, and of how many.

    The loader gives lists of batches, each of images of one size, in order.
    """
    count = min(config.val_images or len(dataset), len(dataset))
    mine = list(range(rank, count, world))
    size = max(1, config.batch // (world * config.accumulate))
    if mine:  # no more pixels at once than in training: a photograph has some hundred crops' worth
        pixels = dataset[mine[0]][1].numel()
        size = min(size, max(1, size * config.size**2 // pixels))
    loader = DataLoader(
        dataset,
        batch_sampler=[mine[i : i + size] for i in range(0, len(mine), size)],
        num_workers=config.workers,
        collate_fn=of_one_size,
    )
    return loader, mine, count


def of_one_size(items: list[Item]) -> list[Item]:
    """Batches of neighbours whose images have one size: (N, 3, H, W) and (N, H, W) each.

    One alone is not copied: a photograph may have a gigabyte.
    """
    if len(items) == 1:
        image, label = items[0]
        return [(torch.as_tensor(image)[None], torch.as_tensor(label)[None])]
    groups = itertools.groupby(items, key=lambda item: item[0].shape)
    return [default_collate(list(group)) for _, group in groups]


def open_data(config: Config) -> tuple[Any, Any, Augment | None]:
    """Training set, validation set, and what changes images of the former, by name or folder.

    Validation images are whole. Raises ValueError for an unknown name, and for a folder with
    problems, all of which it lists; FileNotFoundError where the data is not.
    """
    for name in AUGMENTATION if config.data in DRAWN else ():
        if getattr(config, name) != getattr(Config, name):
            raise ValueError(f"{name} is for photographs, and {config.data} is drawn: leave it out")
    from deeplab_lite.workshop import datasets
    from deeplab_lite.workshop.datasets.folder import in_two_lists

    flags = {name: getattr(config, name) for name in AUGMENTATION}
    crop = functools.partial(datasets.augment, size=config.size, **flags)
    if config.data in DRAWN:
        train, val = drawn(config, "train"), drawn(config, "val")
        side = train.size or train.difficulty.side
        part = functools.partial(crop, scale=(1.0, 1.0), colour=False)
        return train, val, None if config.size == side else part
    where: dict[str, Any] = {"root": config.root or None, "download": config.download}
    if config.data in ("camvid", "voc", "voc-aug"):
        kind: Any = datasets.CamVid if config.data == "camvid" else datasets.VOC
        first = "train_aug" if config.data == "voc-aug" else "train"
        train, val = kind(first, **where), kind("val", **where)
        if problem := in_two_lists({first: train.names, "val": val.names}):
            warnings.warn(problem, stacklevel=2)
        return train, val, crop
    if Path(config.data).is_dir():
        report = datasets.check_folder(config.data)
        if report.problems:
            raise ValueError(str(report))
        if os.environ.get("RANK", "0") == "0":
            print(report)
        train, val = (datasets.Folder(config.data, s, report.classes) for s in ("train", "val"))
        return train, val, crop
    raise ValueError(
        f"no data set is called {config.data!r}: there are scenes, small-scenes, camvid, voc "
        "and voc-aug, and no folder is there"
    )


def drawn(config: Config, split: str) -> Any:
    """A split of the scenes: whole ones, or small ones of config.size."""
    from deeplab_lite.scenes import SMALL, Scenes

    if config.data == "scenes":
        return Scenes(split)
    return Scenes(split, config.size, difficulty=SMALL)


def open_test(config: Config, classes: Sequence[str]) -> Any:
    """The test split of config.data, whose classes are known. Raises ValueError without one."""
    from deeplab_lite.workshop import datasets

    if config.data in DRAWN:
        return drawn(config, "test")
    if config.data == "camvid":
        return datasets.CamVid("test", config.root or None, config.download)
    if config.data in ("voc", "voc-aug"):
        raise ValueError("VOC's server keeps the labels of its test split: leave --test out")
    return datasets.Folder(config.data, "test", classes)


def unguarded() -> str:
    """A sentence where each worker process would run the caller's script from its top, else ""."""
    main: Any = sys.modules["__main__"]
    path, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    if multiprocessing.get_start_method() == "fork" or not path or spec is not None:
        return ""
    if re.search(r"__name__\s*==", Path(path).read_text("utf-8", "replace")):
        return ""
    return (
        f'{path} has no `if __name__ == "__main__":`, so each worker process would run it from its '
        "top: images are prepared without workers. Put the call of train into such a block"
    )
