"""How fast which weights learn: parameter groups and learning-rate schedules. Lessons 03 and 05.

DeepLab v1, section 5: new layers learn 10 times as fast, a step every 2,000 steps. v2, section
4.1: poly, which scores better.
"""

from collections.abc import Collection, Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import PolynomialLR, StepLR

Named = Iterable[tuple[str, nn.Parameter]]


def parameter_groups(
    model: nn.Module,
    lr: float = 1e-3,
    weight_decay: float = 5e-4,
    new: Collection[str] = ("fc8", "msc"),
    faster: float = 10.0,
    biases: float = 2.0,
) -> list[dict[str, Any]]:
    """Groups for torch.optim: learning rates and decay. Lesson 03; v1, section 5.

    Modules called one of `new` learn `faster` times as fast as those that come from ImageNet, and
    biases, as in the released models, `biases` times as fast as weights. Neither biases nor the
    scale and shift of batch norm decay. Frozen parameters are left out.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            *path, kind = name.split(".")
            factor = (faster if set(path) & set(new) else 1) * (biases if kind == "bias" else 1)
            decay = weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((lr * factor, decay), []).append(parameter)
    return [{"params": p, "lr": rate, "weight_decay": d} for (rate, d), p in groups.items()]


def poly(optimizer: Optimizer, steps: int, power: float = 0.9) -> PolynomialLR:
    """lr x (1 - step / steps) ** power, then 0: torch's own. Lesson 05; v2, section 4.1.2.

    Raises ValueError for less than one step in all.
    """
    if steps < 1:
        raise ValueError(f"steps {steps}: expected the number of training steps, at least 1")
    return PolynomialLR(optimizer, steps, power)


def drop(optimizer: Optimizer, every: int = 2000, factor: float = 0.1) -> StepLR:
    """lr x `factor`, once more after each `every` steps: torch's own. Lesson 03; v1, section 5."""
    return StepLR(optimizer, every, factor)
