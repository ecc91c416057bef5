"""The graders of lesson 05: stubs, right answers, and each misconception by its name."""

import pytest
import torch
import torch.nn.functional as F

from deeplab_lite.classroom import exercises as check


def said(capsys, grader, answer):
    grader(answer)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "fields, start",
    [
        (..., "· not attempted yet"),
        (lambda rates, backbone, stride: ..., "· not attempted yet"),
        (lambda rates, t, s: [t + 2 * r * s for r in rates], "✓ backbone + 2 · rate · stride"),
        (lambda rates, t, s: tuple(t + 2 * r * s for r in rates), "✓ backbone + 2 · rate"),
        (lambda rates, t, s: [t + r * s for r in rates], "✗ a 3-wide kernel has two steps"),
        (lambda rates, t, s: [t + 2 * r for r in rates], "✗ rates count positions of the map"),
        (lambda rates, t, s: [t + 3 * r * s for r in rates], "✗ a kernel of three taps has two"),
        (
            lambda rates, t, s: [t + 2 * (r - 1) * s for r in rates],
            "✗ the factor is the rate itself",
        ),
        (lambda rates, t, s: [1 + 2 * r * s for r in rates], "✗ that is the width of the kernel"),
        (
            lambda rates, t, s: [t + 2 * s * sum(rates[: i + 1]) for i in range(len(rates))],
            "✗ branches lie side by side",
        ),
        (lambda rates, t, s: [t * (2 * r + 1) for r in rates], "✗ fields overlap"),
        (lambda rates, t, s: [0 for _ in rates], "✗ rates (6, 12, 18, 24) on a backbone that sees"),
        (lambda rates, t, s: t, "✗ 227: give one field for each rate"),
        (lambda rates, t, s: [t], "✗ [227]: give one field for each rate"),
        (lambda rates: rates, "✗ your code stopped with TypeError"),
    ],
)
def test_branch_fields(fields, start, capsys):
    assert said(capsys, check.branch_fields, fields).startswith(start)


def fuse(reduce=lambda maps: maps.amax(0), corners=True, mode="bilinear", at=None):
    def fused(maps, size):
        first = size if at is None else maps[at].shape[2:]
        large = [F.interpolate(m, first, mode=mode, align_corners=corners) for m in maps]
        result = reduce(torch.stack(large))
        if at is None:
            return result
        return F.interpolate(result, size, mode="bilinear", align_corners=True)

    return fused


@pytest.mark.parametrize(
    "answer, start",
    [
        (..., "· not attempted yet"),
        (lambda maps, size: ..., "· not attempted yet"),
        (fuse(), "✓ each pixel and class takes the score"),
        (fuse(lambda maps: maps.max(0).values), "✓ each pixel and class"),
        (fuse(lambda maps: maps.mean(0)), "✗ that is the mean"),
        (fuse(lambda maps: maps.sum(0)), "✗ that is the sum"),
        (fuse(lambda maps: maps.softmax(2).amax(0)), "✗ softmax before the max"),
        (fuse(lambda maps: maps.amax((0, 2))), "✗ that is the max over classes"),
        (fuse(lambda maps: maps.amax(0).argmax(1)), "✗ those are labels already"),
        (fuse(lambda maps: maps.amin(0)), "✗ that is the least of the scales"),
        (fuse(lambda maps: maps[0]), "✗ only the first scale is left"),
        (fuse(at=0), "✗ fused before they are enlarged"),
        (fuse(at=-1), "✗ fused at the size of the smallest map"),
        (fuse(corners=False), "✗ corners are not aligned"),
        (fuse(corners=None, mode="nearest"), "✗ enlarged by the nearest position"),
        (fuse(lambda maps: maps.amax(0) + 1), "✗ the shape is right, the values are not"),
        (fuse(lambda maps: maps[:3].amax(0) if len(maps) == 3 else maps[0] + 1), "✗ right for thr"),
        (lambda maps, size: maps[0], "✗ fuse gives (2, 5, 17, 21): expected (2, 5, 33, 37)"),
        (lambda maps, size: None, "✗ fuse returned NoneType, no tensor"),
        (lambda maps, size: torch.stack(maps), "✗ your code stopped with RuntimeError"),
    ],
)
def test_fused_scales(answer, start, capsys):
    assert said(capsys, check.fused_scales, answer).startswith(start)


def merge(add=True, corner=False, scale=1.0, centre=1.0, bias=lambda b: b.sum(0), side=None):
    def merged(weights, biases, rates):
        widest = max(rates)
        n = 2 * widest + 1
        kernel = torch.zeros(*weights[0].shape[:2], n, n)
        for w, r in zip(weights, rates, strict=True):
            first = 0 if corner else widest - r
            at = (..., slice(first, first + 2 * r + 1, r), slice(first, first + 2 * r + 1, r))
            kernel[at] = w + (kernel[at] if add else 0)
        kernel[..., widest, widest] *= centre
        kernel = kernel * scale
        return (kernel if side is None else side(kernel)), bias(torch.stack(biases))

    return merged


@pytest.mark.parametrize(
    "answer, start",
    [
        (..., "· not attempted yet"),
        (lambda weights, biases, rates: ..., "· not attempted yet"),
        (lambda weights, biases, rates: (..., biases[0]), "· not attempted yet"),
        (merge(), "✓ the pyramid, with no ReLU inside, is one sparse kernel"),
        (merge(add=False), "✗ rates (1, 2, 4): the branches meet in the centre"),
        (merge(corner=True), "✗ rates (1, 2, 4): the smaller branches stand in the upper"),
        (merge(scale=1 / 3), "✗ rates (1, 2, 4): that is the mean of the branches"),
        (merge(centre=0), "✗ rates (1, 2, 4): the centre is empty"),
        (merge(scale=2), "✗ rates (1, 2, 4): the size is right, the values are"),
        (merge(bias=lambda b: b[0]), "✗ the kernel is right, the bias is not"),
        (merge(bias=lambda b: b.mean(0)), "✗ the kernel is right, the bias is not"),
        (merge(bias=lambda b: b), "✗ the bias is (3, 4): expected a number per class"),
        (
            merge(side=lambda k: torch.cat([k] * 3)),
            "✗ rates (1, 2, 4): the kernel is (12, 3, 9, 9)",
        ),
        (merge(side=lambda k: k[..., 4:, 4:]), "✗ rates (1, 2, 4): the kernel is (4, 3, 5, 5)"),
        (merge(side=lambda k: k[..., 1:, 1:]), "✗ rates (1, 2, 4): the kernel is (4, 3, 8, 8)"),
        (lambda w, b, rates: (sum(w), sum(b)), "✗ rates (1, 2, 4): the kernel is (4, 3, 3, 3)"),
        (merge(side=lambda k: F.pad(k, (1, 1, 1, 1))), "✗ rates (1, 2, 4): the kernel is (4, 3, 1"),
        (lambda w, b, rates: w[0], "✗ merge returned Tensor: expected (kernel, bias)"),
        (lambda w, b, rates: None, "✗ merge returned NoneType"),
        (lambda w: w, "✗ your code stopped with TypeError"),
    ],
)
def test_one_kernel(answer, start, capsys):
    assert said(capsys, check.one_kernel, answer).startswith(start)


def test_branches_of_one_rate_add_up(capsys):
    right = merge()

    def last_of_a_rate_wins(weights, biases, rates):
        kept = {r: w for w, r in zip(weights, rates, strict=True)}
        kernel, _ = right(list(kept.values()), biases[: len(kept)], tuple(kept))
        return kernel, torch.stack(biases).sum(0)

    text = said(capsys, check.one_kernel, last_of_a_rate_wins)
    assert text.startswith("✗ rates (3, 3): the branches meet in the centre")
