"""Optimizer, schedule and averaged weights of a run, from its config."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ChainedScheduler, LinearLR, LRScheduler
from torch.optim.swa_utils import AveragedModel

from deeplab_lite.schedules import drop, parameter_groups, poly
from deeplab_lite.workshop.train.config import Config

BACKBONES = ("backbone", "features")  # parts that don't learn at head_lr


def make_optimizer(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """AdamW or SGD; biases and batch norm do not decay, all but the backbone learns at head_lr."""
    head = {name.split(".")[0] for name, _ in model.named_parameters()} - {*BACKBONES}
    groups = parameter_groups(model, config.lr, config.weight_decay, head, config.head_lr, 1.0)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups)
    return torch.optim.SGD(groups, momentum=config.momentum)


def make_schedule(optimizer: torch.optim.Optimizer, config: Config, step: int = 0) -> LRScheduler:
    """poly or step, times a linear warmup: (step + 1) / (warmup + 1) in its `warmup` steps.

    It stands where it is after `step` steps, wherever the optimizer's own rates stood: a run that
    ended and goes on to more steps has the rates of a run of so many.
    """
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"])
    schedule = _from_start(optimizer, config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimizer has not moved yet
        for _ in range(step):
            schedule.step()
    return schedule


def _from_start(optimizer: torch.optim.Optimizer, config: Config) -> LRScheduler:
    if config.schedule == "poly":
        schedule: LRScheduler = poly(optimizer, config.steps, config.power)
    else:
        schedule = drop(optimizer, config.drop_every)
    if not config.warmup:
        return schedule
    warmup = LinearLR(optimizer, 1 / (config.warmup + 1), 1.0, config.warmup)
    return ChainedScheduler([schedule, warmup], optimizer)


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """Weights averaged over the steps: a <- d a + (1 - d) w, d smaller in the first steps.

    The average changes less from step to step than the weights, and is usually the better network.
    Batch norm's running statistics are averaged too. With decay 0 it is the weights themselves.
    """

    def follow(averages: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        d = min(decay, (1 + int(count)) / (10 + int(count)))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - d)
            else:  # how many batches batch norm has met
                average.copy_(value)

    average = AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
    return average.requires_grad_(False).eval()
