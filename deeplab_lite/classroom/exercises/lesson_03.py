"""Graders of lesson 03: from VGG-16 to DeepLab v1."""

from collections.abc import Callable
from typing import Any

from deeplab_lite.classroom.exercises.grading import expect, grader, is_whole

Side = Callable[[int], int]


@grader
def map_sides(sides: Any) -> str:
    """sides(side): sides of the maps after pools 1, 2, 3 and 5 of LargeFOV."""
    cases = (321, 513, 320, 306, 500)
    answers = [sides(side) for side in cases]
    for side, answer in zip(cases, answers, strict=True):
        expect(
            isinstance(answer, list | tuple) and len(answer) == 4 and all(map(is_whole, answer)),
            f"sides({side}) is {answer!r}: give four whole numbers, after pools 1, 2, 3 and 5",
        )
    answers = [tuple(map(int, answer)) for answer in answers]
    dense: Side = int  # pool4 and pool5 keep the side
    mistakes: dict[str, tuple[Side, Side]] = {
        "rounded down, as PyTorch's pools do unless told ceil_mode=True: Caffe rounds up": (
            lambda n: (n - 1) // 2 + 1,
            dense,
        ),
        "the padding is left out: a row on either side makes it n + 2 - 3": (
            lambda n: -(-(n - 3) // 2) + 1,
            lambda n: n - 2,
        ),
        "the padding counts on both sides: n + 2 - 3, not n + 1 - 3": (
            lambda n: -(-(n - 2) // 2) + 1,
            lambda n: n - 1,
        ),
        "the + 1 is missing: after the first window, count how often it can move": (
            lambda n: -(-(n - 1) // 2),
            lambda n: n - 1,
        ),
        "each pool just halves the side: a window of 3 with padding 1 can begin once more, at 0 "
        "and at the last pixel": (lambda n: n // 2, dense),
        "pool4 and pool5 still stride: in v1 both have stride 1": (
            lambda n: -(-(n - 1) // 2) + 1,
            lambda n: -(-(n - 1) // 2) + 1,
        ),
        "padding 1 makes no map larger here: with a kernel of 3 and stride 1, n + 2 - 3 + 1 is n. "
        "The notes' 2x2 pools grow": (lambda n: -(-(n - 1) // 2) + 1, lambda n: n + 1),
    }
    for hint, (stride_2, stride_1) in mistakes.items():
        expect(answers != [_sides(side, stride_2, stride_1) for side in cases], hint)
    for side, answer in zip(cases, answers, strict=True):
        right = _sides(side, lambda n: -(-(n - 1) // 2) + 1, dense)
        expect(
            answer == right,
            f"sides({side}) is {answer}: take ceil((n + 2 - 3) / stride) + 1 pool by pool",
        )
    return "321 gives 161, 81, 41, 41; at 8k + 1 rounding has no say, at 320 it has: 41, not 40"


def _sides(side: int, stride_2: Side, stride_1: Side) -> tuple[int, ...]:
    """After pools 1, 2, 3 and 5, with what one pool of stride 2, or of stride 1, does."""
    one = stride_2(side)
    two = stride_2(one)
    three = stride_2(two)
    return one, two, three, stride_1(stride_1(three))


@grader
def decimated_fc6(decimated: Any) -> str:
    """decimated(weight, channels): O x (C 7 7) to O/4 x C x 3 x 3."""
    import torch

    outputs, channels = 8, 5
    weight = torch.arange(outputs * channels * 49, dtype=torch.float64).view(outputs, -1)
    kernel = decimated(weight.clone(), channels)
    expect(
        isinstance(kernel, torch.Tensor), f"decimated returned {type(kernel).__name__}, no tensor"
    )
    kernels = weight.view(outputs, channels, 7, 7)
    right = kernels[::4, :, ::3, ::3]
    shuffled = weight.view(outputs, 7, 7, channels).movedim(-1, 1)
    mean = kernels.view(2, 4, channels, 7, 7).mean(1)[..., ::3, ::3]
    mistakes = {
        "the weight is reshaped, not decimated: keep rows and columns 0, 3, 6, and every fourth "
        "output": kernels,
        "all outputs are there still: LargeFOV keeps every fourth": kernels[..., ::3, ::3],
        "all of 7 x 7 is there still: keep rows and columns 0, 3 and 6": kernels[::4],
        "those are the first quarter of the outputs: take every fourth": (
            kernels[: outputs // 4, :, ::3, ::3]
        ),
        "those are the outputs 3, 7, ...: every fourth, from the first": kernels[3::4, :, ::3, ::3],
        "rows and columns 0, 1, 2 are a corner of the kernel: 0, 3 and 6 span what it spanned": (
            kernels[::4, :, :3, :3]
        ),
        "rows and columns 2, 3, 4 are its middle: 0, 3 and 6 span what it spanned": (
            kernels[::4, :, 2:5, 2:5]
        ),
        "rows and columns 0, 2, 4: the last of three is 6, so the step is 3": (
            kernels[::4, :, :6:2, :6:2]
        ),
        "rows and columns are swapped: flattening put the row before the column": right.mT,
        "read as rows, columns, channels: flattening put the channel first, so it is O x C x 7 x "
        "7": shuffled[::4, :, ::3, ::3],
        "outputs are averaged: fc6 is followed by a ReLU, and a mean of four detectors detects "
        "nothing. Keep one of four": mean,
    }
    for hint, wrong in mistakes.items():
        expect(kernel.shape != wrong.shape or not torch.equal(kernel.double(), wrong), hint)
    expect(
        kernel.shape == right.shape,
        f"decimated gives {tuple(kernel.shape)} for {outputs} outputs and {channels} channels: "
        f"expected {tuple(right.shape)}",
    )
    expect(
        torch.equal(kernel.double(), right),
        "the shape is right, the values are not: reshape to O x C x 7 x 7, then take slices",
    )
    return "rows and columns 0, 3, 6 of every fourth kernel: 22 times fewer weights, all trained"


@grader
def loss_on_map(loss: Any) -> str:
    """loss(scores, labels): the mean cross entropy over a map with aligned corners."""
    import torch
    import torch.nn.functional as F

    draw = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn(2, 4, 6, 5, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, 41, 17), generator=draw)  # strides 8 and 4
    labels[torch.rand(labels.shape, generator=draw) < 0.3] = 255
    labels[1, 12:] = 255  # so that the second image has fewer that count
    value = loss(scores.clone(), labels.clone())
    if isinstance(value, float):
        value = torch.tensor(value)
    expect(isinstance(value, torch.Tensor), f"loss returned {type(value).__name__}, no tensor")
    expect(value.numel() == 1, f"loss has {value.numel()} values: one number is wanted, their mean")

    small = labels[:, ::8, ::4]
    summed = F.cross_entropy(scores, small, ignore_index=255, reduction="sum")
    right, counted = summed / (small != 255).sum(), small != 255
    nearest = F.interpolate(labels[:, None].double(), small.shape[1:])[:, 0].long()
    large = F.interpolate(scores, labels.shape[1:], mode="bilinear", align_corners=True)
    per_image = [
        F.cross_entropy(s[None], t[None], ignore_index=255)
        for s, t in zip(scores, small, strict=True)
    ]
    log_p = scores.log_softmax(1)
    ignored: dict[str, Any] = {"ignore_index": 255}
    mistakes = {
        "that is the sum: divide by the number of positions that count": summed,
        "the sum is divided by all positions, those of 255 too: only those that count": (
            summed / small.numel()
        ),
        "255 is taken for class 0: those positions have no right answer": F.cross_entropy(
            scores, small.where(counted, 0)
        ),
        "F.interpolate with nearest reads pixels beside those that the positions stand on: take "
        "every n-th": F.cross_entropy(scores, nearest, **ignored),
        "the scores are enlarged, as from v3 on: v1 shrinks the labels": F.cross_entropy(
            large, labels, **ignored
        ),
        "softmax twice: F.cross_entropy takes scores, not probabilities": F.cross_entropy(
            scores.softmax(1), small, **ignored
        ),
        "the sign: log p is below 0, the loss above": -right,
        "a mean of the images' means: images with fewer positions that count would weigh more": (
            torch.stack(per_image).mean()
        ),
        "that is the mean probability of the right class: the loss is its logarithm's": (
            1 - log_p.exp().gather(1, small.where(counted, 0)[:, None])[:, 0][counted].mean()
        ),
    }
    for hint, wrong in mistakes.items():
        expect(not torch.isclose(value.double(), wrong, rtol=1e-5), hint)
    expect(
        bool(torch.isclose(value.double(), right, rtol=1e-5)),
        f"{float(value):.4f} instead of {float(right):.4f}: labels at every n-th pixel, cross "
        "entropy, mean over what is not 255",
    )
    empty = torch.as_tensor(loss(scores.clone(), torch.full_like(labels, 255)))
    expect(
        not bool(empty.isnan().any()),
        "NaN if all labels are 255, for that is 0 / 0: divide by a count of at least 1",
    )
    expect(float(empty) == 0, f"{float(empty):.4f} if all labels are 255: nothing counts, so 0")
    return "labels where the positions stand, the mean over those that count: v1's loss"
