"""The graders of lesson 07: stubs, right answers, and each misconception by its name."""

import pytest
import torch
import torch.nn.functional as F

from deeplab_lite.classroom import exercises as check
from deeplab_lite.classroom.exercises import lesson_07


def said(capsys, grader, answer):
    grader(answer)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "share, start",
    [
        (..., "· not attempted yet"),
        (lambda k, i, o: ..., "· not attempted yet"),
        (lambda k, i, o: 1 / o + 1 / k**2, "✓ 1/leaving + 1/k²: a 3x3 with 256 outputs costs 11.5"),
        (lambda k, i, o: (k * k * i + i * o) / (k * k * i * o), "✓ 1/leaving + 1/k²"),
        (lambda k, i, o: 1 - 1 / o - 1 / k**2, "✗ that is what is saved"),
        (lambda k, i, o: 1 / (1 / o + 1 / k**2), "✗ the other way round"),
        (lambda k, i, o: 1 / k**2, "✗ only the pointwise half is counted"),
        (lambda k, i, o: 1 / o, "✗ only the depthwise half is counted"),
        (lambda k, i, o: 1 / i + 1 / k**2, "✗ 1/entering in place of 1/leaving"),
        (lambda k, i, o: 1 / o + 1 / k, "✗ k in place of k²"),
        (lambda k, i, o: k * k * i * i * o / (k * k * i * o), "✗ the two halves come one after"),
        (lambda k, i, o: k * k * i + i * o, "✗ those are multiply-adds of a position"),
        (lambda k, i, o: 1 / o + 1 / 9, "✗ 9 taps are those of a 3x3"),
        (lambda k, i, o: 0.5, "✗ share(3, 304, 256) is 0.5: count"),
        (lambda k, i, o: None, "✗ share(3, 304, 256) is None"),
        (lambda k, i, o: True, "✗ share(3, 304, 256) is True"),
        (lambda k: 1, "✗ your code stopped with TypeError"),
        (0.115, "✗ your code stopped with TypeError"),
    ],
)
def test_separable_share(share, start, capsys):
    assert said(capsys, check.separable_share, share).startswith(start)


def merged(
    weight=lambda d, s, p: p * (d * s[:, None, None, None])[:, 0],
    bias=lambda d, s, t, p: p[:, :, 0, 0] @ t,
):
    return lambda d, s, t, p: (weight(d, s, p), bias(d, s, t, p))


@pytest.mark.parametrize(
    "answer, start",
    [
        (..., "· not attempted yet"),
        (lambda *given: (..., ...), "· not attempted yet"),
        (merged(), "✓ one plain 3x3 gives the same map"),
        (
            merged(lambda d, s, p: torch.einsum("oc,c,cij->ocij", p[..., 0, 0], s, d[:, 0])),
            "✓ one plain 3x3 gives the same map",
        ),
        (merged(lambda d, s, p: p * d[:, 0]), "✗ the scale is left out"),
        (merged(lambda d, s, p: p * (d / s[:, None, None, None])[:, 0]), "✗ divided by the scale"),
        (merged(lambda d, s, p: p * d[:, 0] * s[:, None, None] ** 2), "✗ the scale is squared"),
        (
            merged(lambda d, s, p: (p * d[:, 0] * s[:, None, None]).flip(2, 3)),
            "✗ the taps are turned round",
        ),
        (
            merged(lambda d, s, p: (p * d[:, 0] * s[:, None, None]).transpose(2, 3)),
            "✗ rows and columns of the taps",
        ),
        (merged(lambda d, s, p: p + d[:, 0] * s[:, None, None]), "✗ depthwise and pointwise are"),
        (
            merged(lambda d, s, p: (p * d[:, 0] * s[:, None, None]).transpose(0, 1)),
            "✗ the weight is C x O x 3 x 3",
        ),
        (merged(lambda d, s, p: d), "✗ the weight is (6, 1, 3, 3)"),
        (merged(lambda d, s, p: p * d[:, 0] + 1), "✗ the shape is right, the weight is not"),
        (merged(bias=lambda d, s, t, p: t), "✗ the bias has one number for each channel in"),
        (merged(bias=lambda d, s, t, p: t[:2]), "✗ the bias is (2,)"),
        (merged(bias=lambda d, s, t, p: torch.zeros(4)), "✗ the bias is zero"),
        (merged(bias=lambda d, s, t, p: p[..., 0, 0] @ (s * t)), "✗ the scale multiplies what"),
        (merged(bias=lambda d, s, t, p: t.sum().expand(4)), "✗ the sum of the shifts"),
        (
            merged(bias=lambda d, s, t, p: (p * d[:, 0]).sum((2, 3)) @ t),
            "✗ the shift is added behind the depthwise",
        ),
        (merged(bias=lambda d, s, t, p: -p[..., 0, 0] @ t), "✗ the sign of the bias"),
        (merged(bias=lambda d, s, t, p: p[..., 0, 0] @ t + 1), "✗ the weight is right, the bias"),
        (lambda d, s, t, p: p * d[:, 0], "✗ return two tensors"),
        (lambda d, s, t, p: (1, 2), "✗ return two tensors"),
        (lambda d: d, "✗ your code stopped with TypeError"),
    ],
)
def test_merged_separable(answer, start, capsys):
    assert said(capsys, check.merged_separable, answer).startswith(start)


def enlarge(deep, low, mode="bilinear", corners=True):
    return F.interpolate(deep, low.shape[-2:], mode=mode, align_corners=corners)


def decoder(
    join=lambda deep, low, reduce: torch.cat([enlarge(deep, low), F.conv2d(low, reduce).relu()], 1),
    padding=1,
    between=torch.relu,
    last=torch.relu,
    both=True,
):
    def run(deep, low, reduce, first, second):
        x = between(F.conv2d(join(deep, low, reduce), first, padding=padding))
        return last(F.conv2d(x, second, padding=padding)) if both else x

    return run


def with_deep(make):
    """A decoder whose deep map is made in another way."""
    return decoder(lambda d, w, r: torch.cat([make(d, w), F.conv2d(w, r).relu()], 1))


def nothing(x):
    return x


@pytest.mark.parametrize(
    "answer, start",
    [
        (..., "· not attempted yet"),
        (lambda *given: ..., "· not attempted yet"),
        (decoder(), "✓ what from deep, where from low"),
        (
            decoder(lambda d, w, r: torch.cat([enlarge(d, w), F.conv2d(w, r).clamp(min=0)], 1)),
            "✓ what from deep, where from low",
        ),
        (
            decoder(
                lambda d, w, r: torch.cat([d, F.conv2d(enlarge(w, d), r).relu()], 1),
            ),
            "✗ low is shrunk to deep's size: enlarge deep",
        ),
        (
            decoder(lambda d, w, r: torch.cat([d, enlarge(F.conv2d(w, r).relu(), d)], 1)),
            "✗ low is shrunk to deep's size: enlarge deep",
        ),
        (
            decoder(lambda d, w, r: torch.cat([F.conv2d(w, r).relu(), enlarge(d, w)], 1)),
            "✗ the order is off",
        ),
        (
            decoder(lambda d, w, r: torch.cat([enlarge(d, w), F.conv2d(w, r)], 1)),
            "✗ the ReLU of the reduced map",
        ),
        (with_deep(lambda d, w: enlarge(d, w, corners=False)), "✗ the corners are not aligned"),
        (with_deep(lambda d, w: enlarge(d, w, "nearest", None)), "✗ nearest in place of bilinear"),
        (with_deep(lambda d, w: enlarge(d, w, "bicubic")), "✗ bicubic in place of bilinear"),
        (with_deep(lambda d, w: enlarge(d, w).relu()), "✗ a ReLU on deep, too"),
        (decoder(last=nothing), "✗ the last ReLU is missing"),
        (decoder(between=nothing), "✗ the ReLU between the two 3x3"),
        (decoder(between=nothing, last=nothing), "✗ the ReLU of the 3x3 are missing"),
        (decoder(both=False), "✗ only one 3x3"),
        (decoder(padding=0), "✗ the 3x3 shrink the map by 4"),
        (decoder(padding=2), "✗ decoder gives (2, 4, 17, 21)"),
        (decoder(last=lambda x: x.relu() + 1), "✗ the shape is right, the values are not"),
        (lambda d, w, r, a, b: enlarge(d, w) + F.conv2d(w, r), "✗ decoder gives (2, 3, 13, 17)"),
        (lambda *given: None, "✗ decoder returned NoneType, no tensor"),
        (lambda deep, low, *rest: torch.cat([deep, low], 1), "✗ your code stopped with Runtime"),
        (lambda x: x, "✗ your code stopped with TypeError"),
    ],
)
def test_decoder_by_hand(answer, start, capsys):
    assert said(capsys, check.decoder_by_hand, answer).startswith(start)


def test_every_grader_is_exported():
    assert {"separable_share", "merged_separable", "decoder_by_hand"} <= set(check.__all__)
    assert check.decoder_by_hand is lesson_07.decoder_by_hand
