"""Parameter groups and schedules: the papers' numbers at every step."""

import pytest
import torch
from torch import nn

from deeplab_lite.models import DeepLabV1, DeepLabV2
from deeplab_lite.models.v1 import SIDES
from deeplab_lite.schedules import drop, parameter_groups, poly


def on_meta(**options):
    with torch.device("meta"):
        return DeepLabV1(**options)


def test_parameter_groups_are_the_papers():
    model = on_meta(batch_norm=True, msc=True)
    groups = parameter_groups(model, lr=0.001, weight_decay=5e-4)
    settings = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert sum(len(g["params"]) for g in groups) == len(settings) == len([*model.parameters()])
    table = {
        "backbone.features.0.weight": (0.001, 5e-4),
        "backbone.features.0.bias": (0.002, 0),
        "backbone.features.1.weight": (0.001, 0),  # the scale of batch norm
        "head.fc6.weight": (0.001, 5e-4),
        "head.fc7.bias": (0.002, 0),
        "fc8.weight": (0.01, 5e-4),
        "fc8.bias": (0.02, 0),
        "msc.pool4.0.weight": (0.01, 5e-4),
    }
    assert {name: settings[id(model.get_parameter(name))] for name in table} == table


def test_the_scores_of_each_branch_are_new():
    with torch.device("meta"):
        model = DeepLabV2(3, rates=(1, 2), width=0.1)
    rates = {id(p): g["lr"] for g in parameter_groups(model, lr=1.0) for p in g["params"]}
    for branch in model.branches:
        assert (rates[id(branch.fc8.weight)], rates[id(branch.fc6.weight)]) == (10, 1)


def test_frozen_parameters_are_in_no_group():
    model = on_meta(msc=True)
    model.backbone.requires_grad_(False)
    model.head.requires_grad_(False)
    groups = parameter_groups(model)
    assert sum(len(g["params"]) for g in groups) == 2 + 2 * 2 * len(SIDES)
    assert {g["lr"] for g in groups} == {0.01, 0.02}


def rates_of_learning(schedule, steps, *marks):
    """The learning rates at steps `marks`, per parameter group, of SGD at 0.1 and 1."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 1.0)]
    optimizer = torch.optim.SGD(groups)
    scheduler, history = schedule(optimizer), {}
    for step in range(steps + 1):
        history[step] = [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        scheduler.step()
    return [history[mark] for mark in marks]


def test_poly():
    """(1 - step / steps) to the power 0.9: nearly a line, and past its end nothing."""
    rates = rates_of_learning(lambda o: poly(o, 100), 110, 0, 50, 90, 100, 110)
    factors = [1, 0.5**0.9, 0.1**0.9, 0, 0]
    assert rates == [[pytest.approx(0.1 * f), pytest.approx(f)] for f in factors]
    assert rates_of_learning(lambda o: poly(o, 4, power=2), 4, 1)[0][1] == 0.75**2


def test_step():
    rates = rates_of_learning(lambda o: drop(o, every=20), 60, 0, 19, 20, 40, 59)
    assert [lr for _, lr in rates] == [pytest.approx(f) for f in (1, 1, 0.1, 0.01, 0.01)]


def test_poly_needs_steps():
    with pytest.raises(ValueError, match="at least 1"):
        poly(torch.optim.SGD([nn.Parameter(torch.zeros(1))]), 0)
