"""All choices of a training run in one dataclass, whose fields are the flags of `train`."""

import json
import math
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import PurePath
from typing import Any

CHOICES = {
    "optimizer": ("adamw", "sgd"),
    "schedule": ("poly", "step"),
    "loss": ("cross-entropy", "dice", "both"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
    "freeze_bn": ("none", "backbone", "all"),
}
#   what a number may be: in words, as a rule, and for which fields
RANGES: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    ("1 or more", lambda x: x >= 1, "steps batch accumulate size devices drop_every"),
    ("1 or more", lambda x: x >= 1, "val_every log_every save_every"),
    ("0 or more", lambda x: x >= 0, "head_lr weight_decay clip warmup workers threads"),
    ("0 or more", lambda x: x >= 0, "aux_weight patience power"),
    ("0 to 2^32 - 1", lambda x: 0 <= x < 2**32, "seed"),
    ("0 to 180", lambda x: 0 <= x <= 180, "rotation"),
    ("0 for all, or 2 or more", lambda x: x == 0 or x >= 2, "val_images"),
    ("more than 0", lambda x: x > 0, "lr"),
    ("0 or more, but less than 1", lambda x: 0 <= x < 1, "ema momentum"),
    ("more than 0, and 1 at most", lambda x: 0 < x <= 1, "ohem"),
)
# Fields that decide what a run shows, or how fast it goes, but not its weights: see `Config.free`.
FREE = (
    *("out", "root", "download", "resume", "workers", "threads"),
    *("log_every", "val_every", "val_images"),
    *("save_every", "progress", "tensorboard", "devices", "accelerator", "test"),
)
STOPPING = ("val_every", "val_images")  # with patience, they decide the weights as well


def option(default: Any, text: str) -> Any:
    """A field of Config, with its line in --help."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Config:
    """A training run. Raises ValueError for choices that contradict themselves."""

    model: str = option("v3plus", "A network: v1, v2, v3, v3plus, v3plus-lite0-street, ...")
    options: str = option("", 'Changes of its options as JSON: {"output_stride": 8}.')
    data: str = option("scenes", "scenes, small-scenes, camvid, voc, voc-aug, or your folder.")
    root: str = option("", "Where camvid or voc is; $DEEPLAB_LITE_DATA or a cache if empty.")
    download: bool = option(False, "Fetch camvid or voc, if it is not there.")
    out: str = option("", "The folder of the run; runs/MODEL-DATA-SEED if empty.")
    resume: bool = option(False, "Go on from the folder's last checkpoint, if it has one.")
    init: str = option("", "Start from a checkpoint, its name or path, or from imagenet.")
    seed: int = option(0, "Of the first weights, the order of the data, and dropout.")

    steps: int = option(12_500, "Steps of the optimizer.")
    batch: int = option(16, "Images per step, over all devices and accumulated passes.")
    accumulate: int = option(1, "Passes per step: less memory for the same gradient.")
    size: int = option(321, "Side of the training images, or of crops of them, in pixels.")

    mirror: bool = option(True, "Mirror half of the crops of photographs.")
    scale: tuple[float, ...] = option((0.5, 2.0), "Smallest and largest scale of crops, as 0.5,2.")
    colour: bool = option(True, "Change brightness, contrast, saturation and hue of crops.")
    rotation: float = option(0.0, "Turn crops by up to so many degrees, either way.")

    optimizer: str = option("adamw", "adamw, or sgd as in the papers.")
    lr: float = option(2e-3, "Learning rate; some 1e-2 for sgd.")
    head_lr: float = option(1.0, "Multiplies lr outside of the backbone; 10 after --init, say.")
    weight_decay: float = option(1e-2, "Of weights; biases and batch norm have none. 5e-4 for sgd.")
    momentum: float = option(0.9, "Of sgd.")
    clip: float = option(0.0, "Largest norm of the gradient; 0 for any.")
    schedule: str = option("poly", "poly: (1 - step/steps)^power; step: / 10 every drop_every.")
    power: float = option(0.9, "Of poly.")
    drop_every: int = option(2_000, "Steps between the drops of the step schedule.")
    warmup: int = option(200, "Steps in which the learning rate rises from 0.")

    loss: str = option("cross-entropy", "cross-entropy, dice, or both: their sum.")
    class_weights: tuple[float, ...] = option((), "A weight for each class, as 0.5,1,1.")
    ohem: float = option(1.0, "Share of each image's pixels, the hardest, that count.")
    aux_weight: float = option(0.4, "Weight of the auxiliary head's loss, if there is one.")
    ema: float = option(
        0.999, "Decay of the averaged weights that are validated and kept; 0: none."
    )

    precision: str = option("32-true", "32-true, bf16-mixed, or 16-mixed (GPUs only).")
    channels_last: bool = option(True, "Pixels before channels in memory: faster convolutions.")
    freeze_bn: str = option("none", "Whose batch norm keeps its statistics: none, backbone or all.")
    sync_batch_norm: bool = option(True, "Batch norm sees the images of all devices.")
    accelerator: str = option("auto", "auto, cpu, cuda or mps.")
    devices: int = option(1, "Devices on this machine; under torchrun, its own count holds.")
    workers: int = option(1, "Processes that prepare images beside each device's own.")
    threads: int = option(0, "Threads per process; 0 leaves the choice to torch.")

    val_every: int = option(500, "Steps between validations.")
    val_images: int = option(0, "Images of a validation; 0 for all there are.")
    patience: int = option(
        0, "Stop after so many validations without a better one, and keep the best; 0: never."
    )
    test: bool = option(False, "Score the test split too, once, when training has ended.")
    log_every: int = option(50, "Steps between lines of log.csv.")
    save_every: int = option(250, "Steps between checkpoints.")
    progress: bool = option(True, "Show a progress bar.")
    tensorboard: bool = option(True, "Write curves for TensorBoard.")

    def __post_init__(self) -> None:
        if self.freeze_bn == "trunk":  # what the backbone was called
            object.__setattr__(self, "freeze_bn", "backbone")
        for name, choices in CHOICES.items():
            expected = f"{', '.join(choices[:-1])} or {choices[-1]}"
            self._check(name, getattr(self, name) in choices, expected)
        for expected, rule, names in RANGES:
            for name in names.split():
                self._check(name, rule(getattr(self, name)), expected)
        if self.class_weights:
            fine = min(self.class_weights) >= 0 < sum(self.class_weights) < math.inf
            self._check("class_weights", fine, "0 or more, not all 0")
        fine = len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[-1]
        self._check("scale", fine, "two sizes, the smaller first, as 0.5,2")
        fine = self.ohem == 1 or self.loss != "dice"
        self._check("ohem", fine, "1 with loss dice, which has no hard pixels")

    def _check(self, name: str, fine: bool, expected: str) -> None:
        if not fine:
            raise ValueError(f"{name} {getattr(self, name)!r}: expected {expected}")

    @property
    def name(self) -> str:
        """What the trained network is called: v3plus-scenes, or v3plus-FOLDER; a file's name."""
        words = re.sub(r"[^\w.]+", "-", PurePath(os.path.abspath(self.data)).name).strip("-.")
        return f"{self.model}-{words or 'data'}"

    @property
    def folder(self) -> str:
        """`out`, or runs/MODEL-DATA-SEED."""
        return self.out or f"runs/{self.name}-{self.seed}"

    def changes(self) -> dict[str, Any]:
        """`options` as keyword arguments: lists are tuples.

        Raises ValueError if it is no JSON object, and for a num_classes, which the data has.
        """
        try:
            options = json.loads(self.options or "{}")
        except json.JSONDecodeError as error:
            raise ValueError(f"options {self.options!r} is not JSON: {error}") from error
        fine = isinstance(options, dict) and "num_classes" not in options
        self._check("options", fine, 'as {"output_stride": 8}; the data says num_classes')
        return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}

    @property
    def free(self) -> set[str]:
        """The fields that do not decide the weights."""
        return {*FREE} - ({*STOPPING} if self.patience else set())

    def command(self) -> str:
        """The command line that trains the same weights again."""
        words = ["python -m deeplab_lite train"]
        for f in fields(self):
            value, flag = getattr(self, f.name), f.name.replace("_", "-")
            if f.name in self.free or (value == f.default and f.name not in ("model", "data")):
                continue
            if isinstance(value, bool):
                words.append(f"--{flag}" if value else f"--no-{flag}")
            elif isinstance(value, tuple):
                words.append(f"--{flag} {','.join(map(str, value))}")
            else:
                words.append(f"--{flag} {shlex.quote(str(value))}")
        return " ".join(words)

    def exact(self) -> dict[str, Any]:
        """The fields that decide the weights, as a checkpoint stores them."""
        chosen = {k: v for k, v in asdict(self).items() if k not in self.free}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in chosen.items()}
