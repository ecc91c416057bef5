"""Graders of lesson 07: DeepLab v3+."""

from numbers import Real
from typing import Any

from deeplab_lite.classroom.exercises.grading import expect, grader


@grader
def separable_share(share: Any) -> str:
    """share(kernel, entering, leaving): multiply-adds of separable over those of plain."""
    cases = [(3, 304, 256), (3, 64, 8), (5, 16, 32), (7, 24, 12)]
    shares = [share(*case) for case in cases]
    for case, value in zip(cases, shares, strict=True):
        expect(
            isinstance(value, Real) and not isinstance(value, bool),
            f"share{case} is {value!r}: expected one number",
        )

    def rule(of: Any) -> bool:
        pairs = zip(shares, cases, strict=True)
        return all(abs(v - of(*case)) < 1e-9 * abs(of(*case)) for v, case in pairs)

    mistakes = {
        "that is what is saved: the share that remains is 1 minus it": (
            lambda k, i, o: 1 - (1 / o + 1 / k**2)
        ),
        "the other way round: how many times more the plain one costs": (
            lambda k, i, o: 1 / (1 / o + 1 / k**2)
        ),
        "only the pointwise half is counted: the depthwise half costs k² for each channel in": (
            lambda k, i, o: 1 / k**2
        ),
        "only the depthwise half is counted: the 1x1 costs a multiply-add for each pair of "
        "channels": lambda k, i, o: 1 / o,
        "1/entering in place of 1/leaving: the depthwise half costs k²·entering, a plain one "
        "leaving times as much": lambda k, i, o: 1 / i + 1 / k**2,
        "the depthwise half has one k x k for each channel that enters, not for each that leaves": (
            lambda k, i, o: (k**2 * o + i * o) / (k**2 * i * o)
        ),
        "k in place of k²: a kernel has k² taps": lambda k, i, o: 1 / o + 1 / k,
        "the two halves come one after the other: their costs add, they do not multiply": (
            lambda k, i, o: i
        ),
        "those are multiply-adds of a position: divide them by k²·entering·leaving": (
            lambda k, i, o: k**2 * i + i * o
        ),
        "9 taps are those of a 3x3: the kernel is given": lambda k, i, o: 1 / o + 1 / 9,
    }
    for hint, wrong in mistakes.items():
        expect(not rule(wrong), hint)
    for case, value in zip(cases, shares, strict=True):
        kernel, _, leaving = case
        expect(
            abs(value - 1 / leaving - 1 / kernel**2) < 1e-9,
            f"share{case} is {value:.6g}: count k²·entering for the depthwise half, "
            "entering·leaving for the pointwise one, k²·entering·leaving for the plain one",
        )
    return "1/leaving + 1/k²: a 3x3 with 256 outputs costs 11.5 per cent, whatever enters"


@grader
def merged_separable(merged: Any) -> str:
    """merged(depthwise, scale, shift, pointwise): weight and bias of one plain convolution."""
    import torch
    import torch.nn.functional as F

    draw = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Any:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    depthwise, pointwise = noise(6, 1, 3, 3), noise(4, 6, 1, 1)
    scale, shift, x = noise(6).abs() + 0.5, noise(6), noise(2, 6, 9, 9)
    middle = F.conv2d(x, depthwise, padding=1, groups=6)
    y = F.conv2d(middle * scale[:, None, None] + shift[:, None, None], pointwise)

    answer = merged(depthwise.clone(), scale.clone(), shift.clone(), pointwise.clone())
    pair = isinstance(answer, tuple | list) and len(answer) == 2
    expect(
        pair and all(isinstance(part, torch.Tensor) for part in answer),
        "return two tensors: the weight, O x C x 3 x 3, and the bias, O",
    )
    weight, bias = answer
    expect(
        weight.shape != (6, 4, 3, 3),
        "the weight is C x O x 3 x 3: channels out come first",
    )
    expect(
        weight.shape == (4, 6, 3, 3),
        f"the weight is {tuple(weight.shape)}: expected O x C x 3 x 3, here (4, 6, 3, 3)",
    )
    expect(
        bias.shape != (6,),
        "the bias has one number for each channel in: the shifts still have to go through the "
        "pointwise half, which mixes them into the outputs",
    )
    expect(
        bias.shape == (4,), f"the bias is {tuple(bias.shape)}: expected one number for each output"
    )
    plain, scales = pointwise * depthwise[:, 0], scale[:, None, None]
    weights = {
        "the scale is left out of the weight: it multiplies the taps of its channel": plain,
        "the scale is squared: it multiplies once": plain * scales**2,
        "divided by the scale: it multiplies": plain / scales,
        "the taps are turned round: PyTorch's convolutions do not flip": (
            (plain * scales).flip(2, 3)
        ),
        "rows and columns of the taps are swapped": (plain * scales).transpose(2, 3),
        "depthwise and pointwise are added: one after the other, they multiply": (
            pointwise + depthwise[:, 0] * scales
        ),
    }
    for hint, wrong in weights.items():
        expect(not torch.allclose(weight, wrong.to(weight)), hint)
    expect(
        bool(torch.allclose(weight, (plain * scales).to(weight))),
        "the shape is right, the weight is not: W[o, c] is pointwise[o, c] times scale[c] times "
        "the nine taps of channel c",
    )
    mix = pointwise[:, :, 0, 0]
    biases = {
        "the bias is zero: the shifts go through the pointwise half": torch.zeros(4),
        "the scale multiplies what comes before the shift, not the shift": mix @ (shift * scale),
        "the sum of the shifts reaches no output unweighted: pointwise mixes them": (
            shift.sum().expand(4)
        ),
        "the shift is added behind the depthwise half, so its taps do not touch it": (
            (plain.sum((2, 3))) @ shift
        ),
        "the sign of the bias is off: the shift is added": -(mix @ shift),
    }
    for hint, wrong in biases.items():
        expect(not torch.allclose(bias, wrong.to(bias)), hint)
    output = F.conv2d(x, weight.to(x), bias.to(x), padding=1)
    expect(
        bool(torch.allclose(output, y, atol=1e-5)),
        "the weight is right, the bias is not: for output o it is the sum of pointwise[o, c] times "
        "shift[c]",
    )
    return "one plain 3x3 gives the same map, borders too: a separable one is a plain one, factored"


@grader
def decoder_by_hand(decoder: Any) -> str:
    """decoder(deep, low, reduce, first, second): v3+'s decoder without batch norm."""
    import torch
    import torch.nn.functional as F

    draw = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Any:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    deep, low = noise(2, 3, 4, 5), noise(2, 6, 13, 17)
    reduce, first, second = noise(3, 6, 1, 1), noise(4, 6, 3, 3), noise(4, 4, 3, 3)

    def up(mode: str = "bilinear", corners: bool | None = True) -> Any:
        return F.interpolate(deep, (13, 17), mode=mode, align_corners=corners)

    small = F.conv2d(low, reduce)

    def refine(x: Any, padding: int = 1, last: bool = True, between: bool = True) -> Any:
        x = F.conv2d(x, first, padding=padding)
        x = F.conv2d(x.relu() if between else x, second, padding=padding)
        return x.relu() if last else x

    def both(enlarged: Any = None, reduced: Any = None) -> Any:
        enlarged = up() if enlarged is None else enlarged
        return torch.cat([enlarged, small.relu() if reduced is None else reduced], 1)

    logits = decoder(*(part.clone() for part in (deep, low, reduce, first, second)))
    expect(isinstance(logits, torch.Tensor), f"decoder returned {type(logits).__name__}, no tensor")
    right = refine(both())
    shrunk = F.interpolate(low, (4, 5), mode="bilinear", align_corners=True)
    shrunk_then = torch.cat([deep, F.conv2d(shrunk, reduce).relu()], 1)
    mistakes = {
        "low is shrunk to deep's size: enlarge deep, or the detail is gone": refine(shrunk_then),
        "the order is off: deep comes first, low after it": (
            refine(torch.cat([small.relu(), up()], 1))
        ),
        "the ReLU of the reduced map is missing": refine(both(reduced=small)),
        "the corners are not aligned in enlarging: align_corners=True": (
            refine(both(up(corners=False)))
        ),
        "nearest in place of bilinear": refine(both(up("nearest", None))),
        "bicubic in place of bilinear": refine(both(up("bicubic", True))),
        "the last ReLU is missing": refine(both(), last=False),
        "the ReLU between the two 3x3 is missing": refine(both(), between=False),
        "only one 3x3: there are two": F.conv2d(both(), first, padding=1).relu(),
        "the ReLU of the 3x3 are missing": refine(both(), last=False, between=False),
        "the 3x3 shrink the map by 4: padding=1 keeps its size": refine(both(), padding=0),
        "a ReLU on deep, too: the pyramid had its own, and here it may be negative": (
            refine(both(up().relu()))
        ),
    }
    for hint, wrong in mistakes.items():
        if logits.shape == wrong.shape:
            expect(not torch.allclose(logits, wrong.to(logits)), hint)
    expect(
        logits.shape == right.shape,
        f"decoder gives {tuple(logits.shape)} for low of {tuple(low.shape)} and 4 channels: "
        f"expected {tuple(right.shape)}",
    )
    expect(bool(torch.allclose(logits, right.to(logits))), "the shape is right, the values are not")
    return "what from deep, where from low: v3+'s decoder, at the size of the low-level map"
