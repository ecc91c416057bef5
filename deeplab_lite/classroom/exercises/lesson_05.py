"""Graders of lesson 05: atrous spatial pyramid pooling, scales fused by max."""

from collections.abc import Callable, Sequence
from typing import Any

from deeplab_lite.classroom.exercises.grading import expect, grader


@grader
def branch_fields(fields: Any) -> str:
    """fields(rates, backbone, stride): what the 3x3 branches of a pyramid see, in pixels."""
    cases = [((6, 12, 18, 24), 227, 8), ((2, 4, 8, 12), 227, 8), ((1, 2, 3), 100, 16), ((5,), 1, 1)]
    answers = [_numbers(fields(*case), len(case[0])) for case in cases]
    mistakes: dict[str, Callable[[Sequence[int], int, int], list[int]]] = {
        "a 3-wide kernel has two steps, one to each side of its centre: k − 1 is 2, not 1": (
            lambda rates, backbone, stride: [backbone + r * stride for r in rates]
        ),
        "rates count positions of the map: each is `stride` pixels from the next": (
            lambda rates, backbone, stride: [backbone + 2 * r for r in rates]
        ),
        "a kernel of three taps has two steps between them, not three": (
            lambda rates, backbone, stride: [backbone + 3 * r * stride for r in rates]
        ),
        "the factor is the rate itself, not the rate − 1: lesson 02 measured it": (
            lambda rates, backbone, stride: [backbone + 2 * (r - 1) * stride for r in rates]
        ),
        "that is the width of the kernel alone: each tap already sees the backbone's field": (
            lambda rates, backbone, stride: [1 + 2 * r * stride for r in rates]
        ),
        "branches lie side by side, not on top of each other: a branch adds its own rate only": (
            lambda rates, backbone, stride: [
                backbone + 2 * stride * sum(rates[: i + 1]) for i in range(len(rates))
            ]
        ),
        "fields overlap: two steps of r positions add to the backbone's field, they don't multiply "
        "it": lambda rates, backbone, stride: [backbone * (2 * r + 1) for r in rates],
    }
    for hint, mistake in mistakes.items():
        expect(answers != [mistake(*case) for case in cases], hint)
    for (rates, backbone, stride), values in zip(cases, answers, strict=True):
        right = [backbone + 2 * r * stride for r in rates]
        expect(
            values == right,
            f"rates {rates} on a backbone that sees {backbone} pixels at stride {stride}: {right}, "
            f"not {values}",
        )
    return (
        "backbone + 2 · rate · stride: 323, 419, 515, 611 for ASPP-L on VGG-16, 259 to 419 for -S"
    )


def _numbers(values: Any, count: int) -> list[Any]:
    """A list of `count` values, of whatever was returned."""
    expect(
        hasattr(values, "__iter__") and len(values := list(values)) == count,
        f"{values!r}: give one field for each rate, as a list",
    )
    return list(values)


@grader
def fused_scales(fuse: Any) -> str:
    """fuse(maps, size): logits at several sizes, enlarged to `size` and fused by max."""
    import torch
    from torch import Tensor
    from torch.nn.functional import interpolate

    draw = torch.Generator().manual_seed(0)
    maps = [3 * torch.randn(2, 5, side, side + 4, generator=draw) for side in (17, 13, 9)]
    size = (33, 37)

    def enlarged(x: Tensor, corners: bool | None = True, mode: str = "bilinear") -> Tensor:
        return interpolate(x, size, mode=mode, align_corners=corners)

    logits = fuse([m.clone() for m in maps], size)
    expect(isinstance(logits, Tensor), f"fuse returned {type(logits).__name__}, no tensor")
    large = torch.stack([enlarged(m) for m in maps])
    right = large.amax(0)
    mistakes: dict[str, Tensor] = {
        "that is the mean: where one scale is sure and two are not, it is outvoted": large.mean(0),
        "that is the sum, which has the same labels as the mean: a sure scale is outvoted": (
            large.sum(0)
        ),
        "softmax before the max: the results are no probabilities, and no logits either. Fuse the "
        "logits": large.softmax(2).amax(0),
        "that is the max over classes: which class won is lost. Max over scales, class by class": (
            large.amax((0, 2))
        ),
        "those are labels already: fuse the logits, the argmax comes later": right.argmax(1),
        "that is the least of the scales: it takes all of them to agree. Take the largest": (
            large.amin(0)
        ),
        "only the first scale is left": large[0],
        "fused before they are enlarged, at the size of the first map: between positions that "
        "gives other values": enlarged(_at(maps, maps[0].shape[2:]).amax(0)),
        "fused at the size of the smallest map: the other two have lost their detail": enlarged(
            _at(maps, maps[-1].shape[2:]).amax(0)
        ),
        "corners are not aligned: the first and last position stand on the first and last pixel "
        "(align_corners=True)": torch.stack([enlarged(m, False) for m in maps]).amax(0),
        "enlarged by the nearest position: bilinear is what the network does": (
            torch.stack([enlarged(m, None, "nearest") for m in maps]).amax(0)
        ),
    }
    for hint, wrong in mistakes.items():
        expect(
            logits.shape != wrong.shape or not torch.allclose(logits.to(wrong), wrong, atol=1e-4),
            hint,
        )
    shape = tuple(logits.shape)
    expect(
        shape == tuple(right.shape),
        f"fuse gives {shape}: expected {tuple(right.shape)}, a logit for each class and pixel",
    )
    expect(
        torch.allclose(logits, right, atol=1e-4),
        "the shape is right, the values are not: enlarge each map to `size`, then the largest of "
        "the scales, class by class",
    )
    alone = fuse([maps[0].clone()], size)
    expect(
        isinstance(alone, Tensor) and torch.allclose(alone, large[0], atol=1e-4),
        "right for three scales, not for one: let the number of maps be free",
    )
    return "each pixel and class takes the score of the scale that is surest of it"


def _at(maps: Any, size: Any) -> Any:
    from torch import stack
    from torch.nn.functional import interpolate

    return stack([interpolate(m, size, mode="bilinear", align_corners=True) for m in maps])


@grader
def one_kernel(merge: Any) -> str:
    """merge(weights, biases, rates): branches of 3x3 as one convolution: (kernel, bias)."""
    import torch
    from torch import Tensor

    draw = torch.Generator().manual_seed(0)
    for rates in ((1, 2, 4), (2, 4, 6, 8), (3, 3)):
        weights = [torch.randn(4, 3, 3, 3, generator=draw) for _ in rates]
        biases = [torch.randn(4, generator=draw) for _ in rates]
        answer = merge([w.clone() for w in weights], [b.clone() for b in biases], rates)
        expect(
            isinstance(answer, tuple | list)
            and len(answer) == 2
            and all(isinstance(part, Tensor) for part in answer),
            f"merge returned {type(answer).__name__}: expected (kernel, bias), two tensors",
        )
        kernel, bias = answer
        side = 2 * max(rates) + 1
        sentence = (
            f"rates {rates}: the kernel is {tuple(kernel.shape)}, expected {(4, 3, side, side)}"
        )
        sizes = {
            "that is concatenated, with the classes of each branch apart. Scores are summed, so "
            "kernels are added": (4 * len(rates), 3, side, side),
            "taps stand at −rate, 0 and +rate, which makes 2 · rate + 1 positions": (
                *(4, 3, side - 1, side - 1),
            ),
            "the taps of different rates do not coincide": (4, 3, 3, 3),
        }
        for hint, size in sizes.items():
            expect(kernel.shape != size, f"{sentence}: {hint}")
        expect(kernel.shape == (4, 3, side, side), f"{sentence}: as wide as the widest branch")
        expect(bias.shape == (4,), f"the bias is {tuple(bias.shape)}: expected a number per class")
        right = _merged(weights, rates)
        mistakes = {
            "the branches meet in the centre: there their taps add up, and the last one wrote over "
            "the others": _merged(weights, rates, add=False),
            "the smaller branches stand in the upper left corner: all share one centre": (
                _merged(weights, rates, corner=True)
            ),
            "that is the mean of the branches: their scores are summed": right / len(rates),
            "the centre is empty: each branch has a tap there, whatever its rate": (
                _without_centre(right)
            ),
        }
        for hint, wrong in mistakes.items():
            expect(
                torch.allclose(wrong, right) or not torch.allclose(kernel, wrong.to(kernel)),
                f"rates {rates}: {hint}",
            )
        expect(
            torch.allclose(kernel, right.to(kernel), atol=1e-5),
            f"rates {rates}: the size is right, the values are not. Row 0 of a 3x3 of rate r "
            f"belongs {max(rates)} − r rows down",
        )
        expect(
            torch.allclose(bias, torch.stack(biases).sum(0).to(bias), atol=1e-5),
            "the kernel is right, the bias is not: each branch adds its own, so they are summed",
        )
    return "the pyramid, with no ReLU inside, is one sparse kernel: four rates make 33 taps, not 36"


def _merged(weights: Any, rates: Any, add: bool = True, corner: bool = False) -> Any:
    """Dilated 3x3 kernels in one, or one of the ways to get it wrong."""
    widest = max(rates)
    kernel = weights[0].new_zeros(*weights[0].shape[:2], 2 * widest + 1, 2 * widest + 1)
    for weight, rate in zip(weights, rates, strict=True):
        first = 0 if corner else widest - rate
        taps = slice(first, first + 2 * rate + 1, rate)
        kernel[..., taps, taps] = weight + (kernel[..., taps, taps] if add else 0)
    return kernel


def _without_centre(kernel: Any) -> Any:
    kernel, middle = kernel.clone(), kernel.shape[-1] // 2
    kernel[..., middle, middle] = 0
    return kernel
