"""The graders of lesson 02: stubs, right answers, and each misconception by its name."""

import pytest
import torch
import torch.nn.functional as F

from deeplab_lite.classroom import exercises as check


def said(capsys, grader, answer):
    grader(answer)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "width, start",
    [
        (..., "· not attempted yet"),
        (lambda k, d: ..., "· not attempted yet"),
        (lambda k, d: k + (k - 1) * (d - 1), "✓ k + (k − 1)(d − 1)"),
        (lambda k, d: (k - 1) * d + 1, "✓ k + (k − 1)(d − 1)"),
        (lambda k, d: k * d, "✗ k·d counts a gap behind the last tap"),
        (lambda k, d: k + k * (d - 1), "✗ k·d counts a gap behind the last tap"),
        (lambda k, d: (k - 1) * d, "✗ (k − 1)·d is the way from the first tap to the last"),
        (lambda k, d: k + (k - 1) * d, "✗ each gap has d − 1 pixels in it"),
        (lambda k, d: k + d - 1, "✗ d − 1 pixels are added once"),
        (lambda k, d: k, "✗ that is the number of taps"),
        (lambda k, d: 0, "✗ width(3, 1) is 0: draw 3 taps"),
        (lambda k, d: None, "✗ width(3, 1) is None"),
        (lambda k, d: "five", "✗ width(3, 1) is 'five'"),
        (lambda k: k, "✗ your code stopped with TypeError"),
        (lambda k, d: 1 / 0, "✗ your code stopped with ZeroDivisionError"),
        (5, "✗ your code stopped with TypeError"),
    ],
)
def test_effective_kernel(width, start, capsys):
    assert said(capsys, check.effective_kernel, width).startswith(start)


def recurrence(factor=lambda d: d, strides=True, own_stride_first=False, dilates=False, start=1):
    def field(layers):
        size, jump = start, 1
        for kernel, stride, dilation in layers:
            before = jump
            jump *= (stride if strides else 1) * (dilation if dilates else 1)
            size += (kernel - 1) * factor(dilation) * (jump if own_stride_first else before)
        return size

    return field


@pytest.mark.parametrize(
    "field, start",
    [
        (..., "· not attempted yet"),
        (lambda layers: ..., "· not attempted yet"),
        (recurrence(), "✓ 1 + Σ (k − 1)·d·S"),
        (recurrence(factor=lambda d: d - 1), "✗ that is the notes' formula: with (dilation − 1)"),
        (recurrence(factor=lambda d: 1), "✗ dilation is left out"),
        (recurrence(strides=False), "✗ strides are left out"),
        (recurrence(own_stride_first=True), "✗ a layer's own stride counts only for those behind"),
        (recurrence(dilates=True), "✗ dilation does not accumulate"),
        (recurrence(start=0), "✗ one pixel short"),
        (lambda layers: 7, "✗ [(3, 1, 1), (3, 1, 2), (3, 1, 4)] (kernel, stride, dilation) has a"),
        (lambda layers: None, "✗ [(3, 1, 1), (3, 1, 1), (3, 1, 1)] (kernel, stride, dilation) has"),
        (lambda layers: layers["kernel"], "✗ your code stopped with TypeError"),
        ("15", "✗ your code stopped with TypeError"),
    ],
)
def test_dilated_field(field, start, capsys):
    assert said(capsys, check.dilated_field, field).startswith(start)


@pytest.mark.parametrize(
    "rates, start",
    [
        (..., "· not attempted yet"),
        ((1, 3, 8), "✓ 1, 3, 8: 25 x 25 pixels, all 625 of them read, no holes"),
        ([9, 1, 3], "✓ 9, 1, 3: 27 x 27 pixels, all 729 of them read, each exactly once"),
        ((4, 4, 4), "✗ 4, 4, 4 have the common factor 4: 16 small pictures that never meet"),
        ((2, 4, 8), "✗ 2, 4, 8 have the common factor 2: 4 small pictures that never meet"),
        ((1, 2, 9), "✗ 1, 2, 9 see 25 pixels and read 70.6% of them: the largest rate leaps over"),
        ((1, 2, 7), "✗ 1, 2, 7 leave no holes, but see 21 pixels"),
        ((1, 2, 5), "✗ 1, 2, 5 leave no holes, but see 17 pixels"),
        ((1, 1, 9), "✗ 1, 1, 9 have holes, and see 23 pixels only"),
        ((1, 2), "✗ 2 rates: this exercise has three layers"),
        ((1, 2, 4, 8), "✗ 4 rates: this exercise has three layers"),
        ((0, 3, 9), "✗ (0, 3, 9): give three whole numbers from 1"),
        ((1.0, 3.0, 9.0), "✗ (1.0, 3.0, 9.0): give three whole numbers"),
        ((1, 3, 10**9), "✗ rate 1000000000: a field of 25 needs no such step"),
        (12, "✗ 12: give three whole numbers"),
        ("139", "✗ '139': give three whole numbers"),
    ],
)
def test_rates_without_holes(rates, start, capsys):
    assert said(capsys, check.rates_without_holes, rates).startswith(start)


def stack(strides=(1, 1, 1), rates=(1, 2, 4), paddings=None):
    def dense(x, *weights):
        layers = zip(weights, strides, rates, paddings or rates, strict=True)
        for number, (w, stride, rate, padding) in enumerate(layers):
            x = F.conv2d(x.relu() if number else x, w, None, stride, padding, rate)
        return x

    return dense


def enlarged(x, *weights):
    sparse = stack((2, 2, 1), (1, 1, 1))(x, *weights)
    return sparse.repeat_interleave(4, 2).repeat_interleave(4, 3)


def shifted_and_stitched(x, *weights):
    """v1's baseline: the strided network on shifted images; right but for the borders."""
    out = torch.zeros_like(x)
    for i in range(4):
        for j in range(4):
            moved = F.pad(x[..., i:, j:], (0, j, 0, i))
            out[..., i::4, j::4] = stack((2, 2, 1), (1, 1, 1))(moved, *weights)
    return out


ONCE = (1, 1, 1)


@pytest.mark.parametrize(
    "dense, start",
    [
        (..., "· not attempted yet"),
        (lambda x, a, b, c: ..., "· not attempted yet"),
        (stack(), "✓ dilations 1, 2, 4"),
        (shifted_and_stitched, "✓ dilations 1, 2, 4"),
        (stack((2, 2, 1), ONCE), "✗ the strides are still there"),
        (stack((2, 1, 1), ONCE), "✗ the first stride is still there"),
        (stack((1, 2, 1), ONCE), "✗ the second stride is still there"),
        (stack((2, 1, 1), (1, 1, 2)), "✗ one stride is still there, though"),
        (stack((1, 2, 1), (1, 2, 2)), "✗ one stride is still there, though"),
        (stack(ONCE, ONCE), "✗ strides removed, nothing dilated"),
        (stack(ONCE, (1, 2, 4), ONCE), "✗ dilated, but the padding stayed at 1"),
        (stack(ONCE, (2, 4, 4)), "✗ a layer's own stride does not count for itself"),
        (stack(ONCE, (1, 2, 2)), "✗ strides multiply"),
        (stack(ONCE, (1, 1, 4)), "✗ the second layer too lies behind a lost stride"),
        (stack(ONCE, (1, 4, 4)), "✗ only one stride lies before the second layer"),
        (stack(ONCE, (4, 4, 4)), "✗ all layers are spread by 4"),
        (stack(ONCE, (1, 2, 4), (0, 0, 0)), "✗ dense gives (1, 2, 26, 34) for an input of"),
        (stack(ONCE, (4, 2, 1)), "✗ the shape is right, the values are not"),
        (enlarged, "✗ equal at the shared positions, but those between were not computed"),
        (lambda x, a, b, c: x * float("nan"), "✗ the shape is right, the values are not"),
        (lambda x, a, b, c: None, "✗ dense returned NoneType, no tensor"),
        (lambda x, a, b, c: x[0], "✗ dense gives (2, 40, 48)"),
        (lambda x: x, "✗ your code stopped with TypeError"),
        (lambda x, a, b, c: x @ a, "✗ your code stopped with RuntimeError"),
    ],
)
def test_dense_by_hand(dense, start, capsys):
    assert said(capsys, check.dense_by_hand, dense).startswith(start)
