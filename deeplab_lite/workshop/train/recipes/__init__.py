"""Recipes: the choices of a training run as data, one JSON file each. Taught in lesson 09.

    python -m deeplab_lite recipes                                the list
    python -m deeplab_lite train --recipe camvid-v3plus           flags beside it override it

A recipe says what it trains (`about`), on what kind of machine (`device`), with which `choices` of
`Config`, what was `published` for it, which is not what this course measured, and in its `notes`
how it differs from that.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeplab_lite.workshop.train.config import Config

# Floating-point operations per second in training, for estimates: a tenth of the 312e12 that
# NVIDIA's data sheet of the A100 has for bf16, and what two cores of a server did with
# EfficientNet-Lite0, some 4 crops of 257 pixels per second.
SPEED = {"gpu": (31e12, "one A100 at a tenth of its bf16 peak"), "cpu": (45e9, "two CPU cores")}


@dataclass(frozen=True)
class Recipe:
    """One recipe. published: {"miou", "what", "source"} of each score, best known first."""

    name: str
    about: str
    device: str
    choices: dict[str, Any]
    published: list[dict[str, str]]
    notes: str

    def config(self, **changes: Any) -> Config:
        """The run it describes; `changes` override its choices. JSON's lists are tuples again."""
        chosen: dict[str, Any] = self.choices | changes
        chosen |= {name: tuple(v) for name, v in chosen.items() if isinstance(v, list)}
        return Config(**chosen)

    @property
    def command(self) -> str:
        """What starts it, and goes on with it after it was stopped."""
        start = "python" if self.device == "cpu" else "torchrun --standalone --nproc-per-node gpu"
        return f"{start} -m deeplab_lite train --recipe {self.name} --resume"


def names() -> list[str]:
    """The names of all recipes."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.json"))


def read(name: str) -> Recipe:
    """The recipe `name`. Raises ValueError for an unknown one."""
    if name not in names():
        raise ValueError(f"no recipe is called {name!r}: there are {', '.join(names())}")
    content = json.loads((Path(__file__).parent / f"{name}.json").read_text("utf-8"))
    return Recipe(name, **content)


@functools.cache
def multiply_adds(config: Config) -> int:
    """Multiply-adds of the network on one training crop, forward."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from deeplab_lite.checkpoints import Undrawn
    from deeplab_lite.models import zoo

    with torch.device("meta"), Undrawn(), FlopCounterMode(display=False) as counter:
        network = zoo.build(config.model, **config.changes()).eval()
        network(torch.empty(1, 3, config.size, config.size))
    return counter.get_total_flops() // 2


def hours(recipe: Recipe) -> float:
    """An estimate of its training time on the device of SPEED: nobody measured it.

    A step of training takes three times the operations of a forward pass, each multiply-add being
    two; reading and validating images are left out.
    """
    config = recipe.config()
    operations = 6 * multiply_adds(config) * config.steps * config.batch
    return operations / SPEED[recipe.device][0] / 3600


def describe(recipe: Recipe) -> str:
    """All that is known of it, in lines."""
    config = recipe.config()
    scores = [f"  {each['miou']} {each['what']} ({each['source']})" for each in recipe.published]
    return "\n".join(
        [
            f"{recipe.name}: {recipe.about}",
            f"  {recipe.command}",
            f"  as flags: {config.command()}",
            "published mIoU, not measured here:",
            *scores,
            f"estimated time: {hours(recipe):.1f} hours on {SPEED[recipe.device][1]}: "
            f"{config.steps:,} steps of {config.batch} crops, "
            f"{multiply_adds(config) / 1e9:.1f} G multiply-adds each, times 6 operations",
            f"notes: {recipe.notes}",
        ]
    )


def table() -> str:
    """The list of recipes."""
    from deeplab_lite.tables import text_table  # and torch with it

    rows: list[tuple[str, ...]] = [
        ("recipe", "network", "data", "steps x batch", "crop", "published", "hours")
    ]
    for recipe in map(read, names()):
        c = recipe.config()
        rows.append(
            (
                *(recipe.name, c.model, c.data, f"{c.steps:,} x {c.batch}", str(c.size)),
                *(recipe.published[0]["miou"], f"{hours(recipe):.1f} {recipe.device}"),
            )
        )
    return "\n".join(
        [
            text_table(rows),
            "",
            "published: the best comparable mIoU in per cent of the literature, not ours. hours: "
            "estimates, from",
            "multiply-adds and a speed: "
            + "; ".join(f"{kind}, {what}" for kind, (_, what) in SPEED.items())
            + ".",
            "python -m deeplab_lite recipes NAME tells more of one.",
        ]
    )
