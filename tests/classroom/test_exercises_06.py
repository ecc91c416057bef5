"""The graders of lesson 06: stubs, right answers, and each misconception by its name."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deeplab_lite.classroom import exercises as check
from deeplab_lite.models.base import freeze_batch_norm


def said(capsys, grader, answer):
    grader(answer)
    return capsys.readouterr().out


# ---- dilations and rates ----


def settings(dilations=None, rates=None):
    """A right answer, but for the tables given: output stride to three numbers."""
    right = {32: (1, 2, 4), 16: (2, 4, 8), 8: (4, 8, 16)}
    asked = {32: (3, 6, 9), 16: (6, 12, 18), 8: (12, 24, 36)}
    return lambda stride: ((dilations or right)[stride], (rates or asked)[stride])


def table(at_32, at_16, at_8):
    return {32: at_32, 16: at_16, 8: at_8}


@pytest.mark.parametrize(
    "answer, start",
    [
        (..., "· not attempted yet"),
        (lambda stride: (..., ...), "· not attempted yet"),
        (lambda stride: ([1, 2, 4], ...), "· not attempted yet"),
        (settings(), "✓ the last stage has 1-2-4, 2-4-8, 4-8-16"),
        (
            lambda s: ([32 / s, 64 / s, 128 / s], [96 / s, 192 / s, 288 / s]),
            "✓ the last stage has 1-2-4",
        ),
        (settings(table((1, 2, 4), (1, 2, 4), (1, 2, 4))), "✗ multi-grid 1, 2, 4 multiplies the"),
        (settings(table((1, 1, 1), (2, 2, 2), (4, 4, 4))), "✗ multi-grid is left out"),
        (settings(table((1, 2, 4), (2, 4, 8), (2, 4, 8))), "✗ the dilations do not grow from 16"),
        (settings(table((1, 2, 4), (2, 3, 5), (4, 5, 7))), "✗ multiplied, not added"),
        (settings(table((2, 4, 8), (4, 8, 16), (8, 16, 32))), "✗ too large by 2"),
        (settings(table((4, 8, 16), (2, 4, 8), (1, 2, 4))), "✗ the wrong way round: the smaller"),
        (
            settings(table((1, 2, 4), (2, 4, 6), (4, 8, 16))),
            "✗ the dilations of the last stage at output stride 16 are 2, 4, 6: strides of 2",
        ),
        (settings(None, table(*[(6, 12, 18)] * 3)), "✗ the rates stay 6, 12, 18"),
        (
            settings(None, table((12, 24, 36), (6, 12, 18), (3, 6, 9))),
            "✗ the wrong way round: positions are closer",
        ),
        (
            settings(None, table((6, 12, 18), (6, 12, 18), (12, 24, 36))),
            "✗ at output stride 32 the rates are half",
        ),
        (
            settings(None, table((6, 12, 18), (12, 24, 36), (24, 48, 72))),
            "✗ 12, 24, 36 are the rates of output stride 8",
        ),
        (
            settings(None, table((3, 6, 9), (6, 12, 18), (12, 24, 34))),
            "✗ the rates at output stride 8 are 12, 24, 34: strides of 4",
        ),
        (lambda stride: ((1, 2), (6, 12, 18)), "✗ settings(32) should be two lists of three"),
        (lambda stride: None, "✗ settings(32) should be two lists of three"),
        (lambda stride: (1, 2, 4), "✗ settings(32) should be two lists of three"),
        (
            lambda s: ([32 / s, 64 / s, 128 / s], [1.5, 3, 6]),
            "✗ [1.5, 3, 6] at output stride 32: dilations and rates are whole numbers",
        ),
        (lambda stride: ((0, 2, 4), (3, 6, 9)), "✗ (0, 2, 4) at output stride 32"),
        (lambda: 1, "✗ your code stopped with TypeError"),
        (lambda stride: 1 / 0, "✗ your code stopped with ZeroDivisionError"),
        ((1, 2, 4), "✗ your code stopped with TypeError"),
    ],
)
def test_dilations_and_rates(answer, start, capsys):
    assert said(capsys, check.dilations_and_rates, answer).startswith(start)


# ---- a freeze that lasts ----


def norms(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]


def each(change):
    """A freeze that does `change` to each batch norm layer."""

    def freeze(model):
        for layer in norms(model):
            change(layer)
        return model

    return freeze


def hold(layer):
    layer.eval()
    layer.train = lambda mode=True: layer


def in_place(model):
    each(hold)(model)


def by_class(model):
    class Held(nn.BatchNorm2d):
        def train(self, mode=True):
            return super().train(False)

    for layer in norms(model):
        layer.__class__ = Held
    return model.train()


def outermost_only(model):
    for layer in model.children():
        if isinstance(layer, nn.BatchNorm2d):
            hold(layer)
    return model


def whole(model):
    model.eval()
    model.train = lambda mode=True: model
    return model


def no_statistics(layer):
    hold(layer)
    layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None


def no_convolutions(model):
    each(hold)(model)
    for p in model.parameters():
        p.requires_grad_(False)


def anew(model):
    each(hold)(model)
    for layer in norms(model):
        layer.reset_running_stats()


@pytest.mark.parametrize(
    "freeze, start",
    [
        (..., "· not attempted yet"),
        (lambda model: ..., "· not attempted yet"),
        (each(hold), "✓ held through .eval() and .train()"),
        (in_place, "✓ held through .eval() and .train()"),
        (by_class, "✓ held through .eval() and .train()"),
        (freeze_batch_norm, "✓ held through .eval() and .train()"),
        (each(lambda layer: layer.eval()), "✗ undone: .train() of the model switched batch norm"),
        (lambda model: model, "✗ undone: .train() of the model switched batch norm"),
        (lambda model: model.eval(), "✗ undone: .train() of the model switched batch norm"),
        (each(lambda layer: layer.requires_grad_(False)), "✗ requires_grad_(False) holds scale"),
        (each(lambda layer: setattr(layer, "momentum", 0)), "✗ momentum 0 holds the running"),
        (each(no_statistics), "✗ without running statistics batch norm uses"),
        (outermost_only, "✗ one of the two batch norm layers is not frozen"),
        (whole, "✗ the whole model is held in eval mode"),
        (no_convolutions, "✗ the convolutions no longer train"),
        (anew, "✗ weights or statistics changed in freezing"),
        (lambda model: nn.Identity(), "✗ freeze should change the model that it is given"),
        (lambda model: 5, "✗ freeze should change the model that it is given"),
        (lambda: 5, "✗ your code stopped with TypeError"),
        (lambda model: 1 / 0, "✗ your code stopped with ZeroDivisionError"),
    ],
)
def test_lasting_freeze(freeze, start, capsys):
    assert said(capsys, check.lasting_freeze, freeze).startswith(start)


# ---- the pyramid by hand ----


def pyramid(
    pool=lambda x: x.mean((2, 3), keepdim=True),
    whole=lambda mean, one, w: F.conv2d(mean, w),
    dilated=True,
    padded=True,
    join=lambda branches: torch.cat(branches, 1).relu(),
):
    def build(x, one, threes, rates, last):
        branches = [F.conv2d(x, one)]
        for weight, rate in zip(threes, rates, strict=True):
            d = rate if dilated else 1
            branches.append(F.conv2d(x, weight, padding=d if padded else 0, dilation=d))
        pooled = whole(pool(x), one, last)
        branches.append(pooled.expand(x.shape[0], -1, *x.shape[2:]))
        return join(branches)

    return build


def rolled(branches):
    return torch.cat([branches[-1], *branches[:-1]], 1).relu()


def first_swapped(branches):
    return torch.cat([branches[0] + 1, *branches[1:]], 1).relu()


def last_changed(branches):
    return torch.cat([*branches[:-1], branches[-1] + 1], 1).relu()


@pytest.mark.parametrize(
    "build, start",
    [
        (..., "· not attempted yet"),
        (lambda *args: ..., "· not attempted yet"),
        (pyramid(), "✓ 1x1, three rates and the mean of the map"),
        (
            pyramid(pool=lambda x: F.adaptive_avg_pool2d(x, 1)),
            "✓ 1x1, three rates and the mean of the map",
        ),
        (pyramid(join=lambda b: torch.cat(b, 1)), "✗ the ReLU is missing"),
        (pyramid(join=lambda b: sum(x.relu() for x in b)), "✗ the branches are summed, as in v2"),
        (pyramid(join=lambda b: sum(b).relu()), "✗ summed first, ReLU last"),
        (pyramid(join=lambda b: torch.cat(b[:-1], 1).relu()), "✗ image pooling is missing"),
        (pyramid(join=lambda b: torch.cat(b[1:], 1).relu()), "✗ the 1x1 branch is missing"),
        (pyramid(dilated=False), "✗ the rates are not used"),
        (pyramid(pool=lambda x: x.amax((2, 3), keepdim=True)), "✗ image pooling takes the mean"),
        (pyramid(pool=lambda x: x.mean((0, 2, 3), keepdim=True)), "✗ the mean runs over the batch"),
        (pyramid(pool=lambda x: x.sum((2, 3), keepdim=True)), "✗ the sum over the map is not"),
        (pyramid(whole=lambda mean, one, w: mean), "✗ image pooling lacks its 1x1 convolution"),
        (pyramid(whole=lambda mean, one, w: F.conv2d(mean, one)), "✗ image pooling uses the weigh"),
        (pyramid(pool=lambda x: x), "✗ a 1x1 convolution of every position is not pooling"),
        (pyramid(pool=lambda x: x.relu().mean((2, 3), keepdim=True)), "✗ the ReLU came before"),
        (pyramid(join=rolled), "✗ the order is off"),
        (pyramid(join=first_swapped), "✗ the shape is right, but the 1x1 branch is not"),
        (pyramid(join=last_changed), "✗ all is right but the image pooling"),
        (pyramid(join=lambda b: torch.cat(b, 0).relu()), "✗ pyramid gives (10, 2, 9, 11)"),
        (pyramid(padded=False), "✗ your code stopped with RuntimeError"),
        (lambda *args: None, "✗ pyramid returned NoneType, no tensor"),
        (lambda x: x, "✗ your code stopped with TypeError"),
    ],
)
def test_pyramid_by_hand(build, start, capsys):
    assert said(capsys, check.pyramid_by_hand, build).startswith(start)
