"""The graders of lesson 07: stubs, right answers, and each misconception by its name."""

import pytest
import torch
import torch.nn.functional as F

from deeplab_lite.classroom import exercises as check
from deeplab_lite.classroom.exercises import lesson_07


def said(capsys, grader, answer):
    grader(answer)
    return capsys.readouterr().out


RIGHT = [(256, 129), (256, 33), (256, 129), (48, 129), (304, 129), (256, 129), (21, 129), (21, 513)]


def shapes(**changes):
    """The right shapes, but for those of some maps."""
    return [changes.get(name, pair) for name, pair in zip(lesson_07.MAPS, RIGHT, strict=True)]


@pytest.mark.parametrize(
    "answer, start",
    [
        ([(..., ...)] * 8, "· not attempted yet"),
        (RIGHT, "✓ 304 channels go into the first 3x3"),
        (shapes(low=(256, 128)), "✗ low: 513 is 4 · 128 + 1"),
        (shapes(low=(256, 33)), "✗ low: low is taken early"),
        (shapes(low=(256, 65)), "✗ low: low is taken at stride 4, not 8"),
        (shapes(deep=(256, 32)), "✗ deep: 513 is 16 · 32 + 1"),
        (shapes(deep=(256, 65)), "✗ deep: that is output stride 8"),
        (shapes(deep=(1280, 33)), "✗ deep: five branches of 256"),
        (shapes(enlarged=(256, 132)), "✗ enlarged: enlarged gets low's size"),
        (shapes(enlarged=(256, 513)), "✗ enlarged: enlarged goes to low's size only"),
        (shapes(enlarged=(64, 129)), "✗ enlarged: bilinear interpolation leaves"),
        (shapes(reduced=(256, 129)), "✗ reduced: the 1x1 reduces"),
        (shapes(joined=(256, 129)), "✗ joined: joined is a concatenation"),
        (shapes(joined=(512, 129)), "✗ joined: low is reduced before"),
        (shapes(joined=(48, 129)), "✗ joined: joined holds enlarged"),
        (shapes(refined=(304, 129)), "✗ refined: each 3x3 has 256"),
        (shapes(refined=(256, 125)), "✗ refined: the 3x3 have padding 1"),
        (shapes(scores=(256, 129)), "✗ scores: there is one score"),
        (shapes(scores=(21, 513)), "✗ scores: scores are computed at stride 4"),
        (shapes(logits=(21, 516)), "✗ logits: logits have the image's size"),
        (shapes(logits=(9, 513)), "✗ logits: channels cannot be 9."),
        (shapes(logits=(21, 9)), "✗ logits: the side cannot be 9."),
        (shapes(low=256), "✗ low is 256: expected two whole numbers"),
        (shapes()[1:], "✗ expected a list of 8 pairs: low, deep"),
    ],
)
def test_decoder_shapes(answer, start, capsys):
    assert said(capsys, check.decoder_shapes, answer).startswith(start)


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


def decoder(
    join=lambda x, reduced: torch.cat([x, reduced], 1),
    mode="bilinear",
    corners=True,
    padding=1,
    small=torch.relu,
    last=torch.relu,
    steps=2,
):
    def run(deep, skips, reduces, refines):
        x = deep
        for skip, reduce, refine in list(zip(skips, reduces, refines, strict=True))[:steps]:
            x = F.interpolate(x, skip.shape[-2:], mode=mode, align_corners=corners)
            x = join(x, small(F.conv2d(skip, reduce)))
            x = last(F.conv2d(x, refine, padding=padding))
        return x

    return run


def nothing(x):
    return x


@pytest.mark.parametrize(
    "answer, start",
    [
        (lambda *arguments: ..., "· not attempted yet"),
        (decoder(), "✓ one skip is v3+'s decoder"),
        (decoder(steps=1), "✗ only the first skip is used"),
        (decoder(lambda x, low: torch.cat([low, x], 1)), "✗ the order is wrong"),
        (decoder(corners=False), "✗ the corners are not aligned"),
        (decoder(mode="nearest", corners=None), "✗ that is nearest"),
        (decoder(mode="bicubic"), "✗ that is bicubic"),
        (decoder(small=nothing), "✗ a ReLU follows the 1x1"),
        (decoder(last=nothing), "✗ a ReLU follows the 3x3"),
        (decoder(small=nothing, last=nothing), "✗ no ReLU is there"),
        (decoder(padding=0), "✗ the 3x3 shrink the map"),
        (decoder(padding=2), "✗ the result is (2, 5, 15, 19): expected (2, 5, 13, 17)"),
        (decoder(last=lambda x: x.relu() + 1), "✗ the shape is right, the values are not"),
        (lambda *arguments: None, "✗ decoder returned NoneType"),
        (lambda deep, *rest: torch.cat([deep, rest[0][0]], 1), "✗ your code stopped with Runtime"),
    ],
)
def test_decoder_with_skips(answer, start, capsys):
    assert said(capsys, check.decoder_with_skips, answer).startswith(start)


def test_every_grader_is_exported():
    assert {"decoder_shapes", "merged_separable", "decoder_with_skips"} <= set(check.__all__)
    assert check.decoder_with_skips is lesson_07.decoder_with_skips
