"""The graders of lesson 02: stubs, right answers, and each misconception by its name."""

import pytest
import torch
import torch.nn.functional as F
import torchvision

from deeplab_lite.classroom import exercises as check


def said(capsys, grader, answer):
    grader(answer)
    return capsys.readouterr().out


RIGHT = [(2, 1), (1, 1), (1, 1), (1, 2), (1, 2), (1, 4)]


def with_pair(place, pair):
    return [pair if at == place else right for at, right in enumerate(RIGHT)]


@pytest.mark.parametrize(
    "answer, start",
    [
        ([(..., ...)] * 6, "· not attempted yet"),
        (with_pair(5, (1, ...)), "· not attempted yet"),
        (RIGHT, "✓ layer4 starts at dilation 2 and goes on at 4"),
        ([list(pair) for pair in RIGHT], "✓ layer4 starts at dilation 2"),
        ([(2, 1), (1, 1)] * 3, "✗ that is the network as it was"),
        ([(2, 1), *[(1, 1)] * 5], "✗ the strides are gone, but nothing is dilated"),
        ([(2, 1), (1, 1), (2, 1), (1, 1), (1, 1), (1, 2)], "✗ that is output stride 16"),
        ([(1, 1), (1, 2), (1, 2), (1, 4), (1, 4), (1, 8)], "✗ that is output stride 4"),
        ([(2, 1), (1, 1), (1, 2), (1, 2), (1, 4), (1, 4)], "✗ a layer's own stride doesn't count"),
        ([(2, 1), (1, 1), (1, 1), (1, 2), (1, 2), (1, 2)], "✗ strides multiply: behind two lost"),
        (
            [(2, 1), (1, 1), (1, 1), (1, 2), (1, 1), (1, 4)],
            "✗ the lost stride of layer3 counts for",
        ),
        ([(2, 1), (1, 1), (2, 1), (1, 2), (2, 2), (1, 4)], "✗ the dilations are right, but the"),
        (with_pair(4, (1, 3)), "✗ layer4, first block: not stride 1, dilation 3"),
        (with_pair(1, (2, 1)), "✗ layer2, later blocks: not stride 2, dilation 1"),
        (RIGHT[:5], "✗ give six pairs"),
        (with_pair(0, (2, 0)), "✗ give six pairs"),
        (with_pair(0, (2, 1, 1)), "✗ give six pairs"),
        (with_pair(0, 2), "✗ give six pairs"),
        (12, "✗ your code stopped with TypeError"),
    ],
)
def test_traded_by_hand(answer, start, capsys):
    assert said(capsys, check.traded_by_hand, answer).startswith(start)


def test_the_right_dilations_are_those_of_torchvision():
    network = torchvision.models.resnet50(
        weights=None, replace_stride_with_dilation=[False, True, True]
    )
    pairs = []
    for stage in (network.layer2, network.layer3, network.layer4):
        convs = [(block.conv2.stride[0], block.conv2.dilation[0]) for block in stage]
        assert len(set(convs[1:])) == 1
        pairs += convs[:2]
    assert pairs == RIGHT


@pytest.mark.parametrize(
    "rates, start",
    [
        (..., "· not attempted yet"),
        ((1, 3, 8), "✓ 1, 3, 8: 25 x 25 pixels, all 625 of them read, no holes"),
        ([9, 1, 3], "✓ 9, 1, 3: 27 x 27 pixels, all 729 of them read, each exactly once"),
        ((4, 4, 4), "✗ 4, 4, 4 have the common factor 4: 16 small pictures that never meet"),
        ((2, 4, 8), "✗ 2, 4, 8 have the common factor 2: 4 small pictures that never meet"),
        ((1, 2, 9), "✗ 1, 2, 9 see 25 pixels and read 70.6% of the field: rate 9 is larger"),
        ((9, 4, 1), "✗ 9, 4, 1 see 29 pixels and read 62.9% of the field: rate 4 is larger than"),
        ((2, 3, 8), "✗ 2, 3, 8 see 27 pixels and read 72.6% of the field: no rate is 1"),
        ((1, 2, 7), "✗ 1, 2, 7 have no holes, but see only 21 pixels"),
        ((1, 2, 5), "✗ 1, 2, 5 have no holes, but see only 17 pixels"),
        ((1, 1, 9), "✗ 1, 1, 9 have holes, and see only 23 pixels"),
        ((1, 2), "✗ 2 rates: this exercise has three layers"),
        ((1, 2, 4, 8), "✗ 4 rates: this exercise has three layers"),
        ((0, 3, 9), "✗ (0, 3, 9): give three whole numbers from 1"),
        ((1.0, 3.0, 9.0), "✗ (1.0, 3.0, 9.0): give three whole numbers"),
        ((1, 3, 10**9), "✗ rate 1000000000: far more than a field of 25"),
        (12, "✗ 12: give three whole numbers"),
        ("139", "✗ '139': give three whole numbers"),
    ],
)
def test_rates_without_holes(rates, start, capsys):
    assert said(capsys, check.rates_without_holes, rates).startswith(start)


def stack(strides=(1, 1, 1), rates=(1, 2, 4), paddings=None):
    def dense(x, a, b):
        sides = paddings or (rates[0], 0, rates[2])
        first, pool, last = zip(strides, sides, rates, strict=True)
        x = F.conv2d(x, a, None, *first).relu()
        return F.conv2d(F.max_pool2d(x, 2, *pool), b, None, *last)

    return dense


def enlarged(x, *weights):
    sparse = stack((2, 2, 1), (1, 1, 1))(x, *weights)
    return sparse.repeat_interleave(4, 2).repeat_interleave(4, 3)[..., :38, :46]


def shifted_and_stitched(x, *weights):
    """v1's baseline: the strided network on shifted images; right but for the borders."""
    out = torch.zeros_like(x)
    for i in range(4):
        for j in range(4):
            moved = F.pad(x[..., i:, j:], (0, j, 0, i))
            out[..., i::4, j::4] = stack((2, 2, 1), (1, 1, 1))(moved, *weights)
    return out[..., :38, :46]


ONCE = (1, 1, 1)


@pytest.mark.parametrize(
    "dense, start",
    [
        (..., "· not attempted yet"),
        (lambda x, a, b: ..., "· not attempted yet"),
        (stack(), "✓ dilations 1, 2, 4"),
        (shifted_and_stitched, "✓ dilations 1, 2, 4"),
        (stack((2, 2, 1), ONCE), "✗ the strides are still there"),
        (stack((2, 1, 1), ONCE), "✗ the first stride is still there"),
        (stack((1, 2, 1), ONCE), "✗ the second stride is still there"),
        (stack((2, 1, 1), (1, 1, 2)), "✗ one stride is still there, though"),
        (stack((1, 2, 1), (1, 2, 2)), "✗ one stride is still there, though"),
        (stack(ONCE, ONCE), "✗ strides removed, nothing dilated"),
        (stack(ONCE, (1, 2, 4), (1, 0, 1)), "✗ dilated, but the last padding stayed at 1"),
        (stack(ONCE, (1, 2, 4), (1, 1, 4)), "✗ the pool had no padding, and needs none"),
        (stack(ONCE, (2, 4, 4)), "✗ a layer's own stride doesn't count for itself"),
        (stack(ONCE, (1, 2, 2)), "✗ strides multiply"),
        (stack(ONCE, (1, 1, 4)), "✗ the pool isn't dilated, but one stride is lost"),
        (stack(ONCE, (1, 4, 4)), "✗ only one stride is lost before the pool"),
        (stack(ONCE, (4, 4, 4)), "✗ all layers have dilation 4"),
        (stack(ONCE, (1, 2, 4), (0, 0, 0)), "✗ dense gives (1, 2, 28, 36) for an input of"),
        (stack(ONCE, (4, 2, 1)), "✗ the shape is right but the values aren't"),
        (enlarged, "✗ the old positions are right, but the new ones were not computed"),
        (
            lambda x, a, b: x[..., :38, :46] * float("nan"),
            "✗ the shape is right but the values aren't",
        ),
        (lambda x, a, b: None, "✗ dense returned a NoneType, not a tensor"),
        (lambda x, a, b: x[0], "✗ dense gives (2, 40, 48)"),
        (lambda x: x, "✗ your code stopped with TypeError"),
        (lambda x, a, b: x @ a, "✗ your code stopped with RuntimeError"),
    ],
)
def test_dense_by_hand(dense, start, capsys):
    assert said(capsys, check.dense_by_hand, dense).startswith(start)
