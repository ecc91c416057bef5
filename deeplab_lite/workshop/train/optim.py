"""Who is moved and how fast: parameter groups, schedules, averaged weights."""

import copy
from typing import Any

import torch
from torch import nn

from deeplab_lite.models.v2 import drop, poly
from deeplab_lite.workshop.train.config import Config


def make_optimizer(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """AdamW or SGD; biases and batch norm do not decay, the backbone learns without head_lr."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            backbone = name.split(".")[0] in ("backbone", "backbone", "features")
            groups.setdefault((backbone, parameter.ndim > 1), []).append(parameter)
    listed: list[dict[str, Any]] = [
        {
            "params": parameters,
            "lr": config.lr * (1 if backbone else config.head_lr),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (backbone, decays), parameters in groups.items()
    ]
    for group in listed:
        group["initial_lr"] = group["lr"]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(listed)
    return torch.optim.SGD(listed, momentum=config.momentum)


def factor(step: int, config: Config) -> float:
    """What the learning rate of step 0, 1, 2, ... is multiplied by (v2, section 4.1)."""
    if config.schedule == "poly":
        value = poly(step, config.steps, config.power)
    else:
        value = drop(step, config.drop_every)
    return value * min(1.0, (step + 1) / (config.warmup + 1))


class Average:
    """Weights averaged over the steps: a <- d a + (1 - d) w, d smaller in the first steps.

    The average changes less from step to step than the weights, and is usually the better network.
    Batch norm's running statistics are averaged too. With decay 0 it is the weights themselves.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.model = model if decay == 0 else copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after step 0, 1, 2, ..."""
        if self.decay == 0:
            return
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        mine, theirs = self.model.state_dict(), model.state_dict()
        real = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_([mine[n] for n in real], [theirs[n] for n in real], weight)
        for name in mine.keys() - set(real):
            mine[name].copy_(theirs[name])
