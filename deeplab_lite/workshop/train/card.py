"""The model card of a run: what was trained, by which command, on what, and how well."""

import platform
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from deeplab_lite.workshop.train.config import Config


def model_card(
    config: Config,
    metrics: dict[str, Any],
    seconds: float,
    device: torch.device,
    world: int,
    steps: int | None = None,
    earlier: Sequence[int] = (),
    test: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The card of a member of the family.

    metrics, test: `intervals.report` of the validation and of the test images. steps: those taken,
    if patience stopped it; earlier: those after which it had ended before it went on to more.
    """
    from deeplab_lite.models import zoo

    kind, options = zoo.find(config.model)
    classes = list(metrics["iou"])
    first, *more = [*earlier, config.steps]
    images = (steps or config.steps) * config.batch
    options = options | config.changes() | {"num_classes": len(classes)}
    return {
        "model": {"class": kind, "options": options},
        "classes": classes,
        "data": {"name": config.data, "size": config.size, "images": images},
        "seed": config.seed,
        "command": "; then with --resume --steps ".join(
            [replace(config, steps=first).command(), *map(str, more)]
        ),
        "commit": commit(),
        "hardware": hardware(device, world),
        "time": f"{seconds / 60:.1f} minutes",
        "metrics": {"val": metrics} | ({"test": test} if test else {}),
    }


def classes_of(dataset: Any) -> list[str]:
    """The names of a data set's classes: its `classes`, if it has them, or none."""
    from deeplab_lite.scenes import CLASSES, Scenes

    names = CLASSES if isinstance(dataset, Scenes) else getattr(dataset, "classes", ())
    return [str(name) for name in names]


def class_names(dataset: Any, count: int) -> list[str]:
    """`classes_of`, or `count` numbers."""
    return classes_of(dataset) or [str(number) for number in range(count)]


def commit() -> str:
    """The commit of the repository that this code is in, "unknown" outside of one."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def hardware(device: torch.device, world: int) -> str:
    """What it was trained on, in words."""
    if device.type == "cuda":
        return f"{world} x {torch.cuda.get_device_name(device)}"
    if device.type != "cpu":
        return f"{world} x {device.type}"
    return f"{world} x CPU ({platform.machine()}), {torch.get_num_threads()} threads"
