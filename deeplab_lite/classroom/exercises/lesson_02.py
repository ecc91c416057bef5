"""Graders of lesson 02: atrous convolution."""

from collections.abc import Callable
from typing import Any

from deeplab_lite.classroom.exercises.grading import expect, grader, is_whole


@grader
def effective_kernel(width: Any) -> str:
    """width(kernel, dilation): pixels from the first tap to the last, both included."""
    cases = [(3, 1), (3, 2), (3, 4), (5, 2), (7, 3), (2, 5), (1, 6)]
    widths = [width(*case) for case in cases]
    mistakes = {
        "k·d counts a gap behind the last tap, too: k taps have k − 1 gaps": lambda k, d: k * d,
        "(k − 1)·d is the way from the first tap to the last: both ends count, so add 1": (
            lambda k, d: (k - 1) * d
        ),
        "each gap has d − 1 pixels in it, not d: neighbouring taps are d apart": (
            lambda k, d: k + (k - 1) * d
        ),
        "d − 1 pixels are added once: each of the k − 1 gaps has that many": lambda k, d: k + d - 1,
        "that is the number of taps: dilation moves them apart": lambda k, d: k,
    }
    for hint, mistake in mistakes.items():
        expect(widths != [mistake(*case) for case in cases], hint)
    for (k, d), value in zip(cases, widths, strict=True):
        right = k + (k - 1) * (d - 1)
        expect(
            value == right,
            f"width({k}, {d}) is {value!r}: draw {k} taps, each {d} after the last, and count",
        )
    return "k + (k − 1)(d − 1): 3 taps at dilation 2, 4 and 12 are 5, 9 and 25 pixels wide"


@grader
def dilated_field(field: Any) -> str:
    """field(layers): receptive field of a list of (kernel, stride, dilation)."""
    cases = [
        [(3, 1, 1)] * 3,
        [(3, 1, 1), (3, 1, 2), (3, 1, 4)],
        [(3, 2, 1), (3, 1, 2), (5, 1, 1)],
        [(7, 2, 1), (3, 2, 1), (3, 1, 2), (1, 2, 1), (3, 1, 4)],
    ]
    sizes = [field(list(case)) for case in cases]
    mistakes: dict[str, dict[str, Any]] = {
        "that is the notes' formula: with (dilation − 1) an ordinary 3-wide kernel would see one "
        "pixel. The factor is the dilation": {"factor": lambda d: d - 1},
        "dilation is left out: each of the k − 1 steps of a layer is d neighbours long": {
            "factor": lambda d: 1
        },
        "strides are left out: neighbours are S pixels apart, the product of the strides below": {
            "strides": False
        },
        "a layer's own stride counts only for those behind it: add first, then multiply": {
            "early": True
        },
        "dilation does not accumulate: only strides multiply into S, since only they move "
        "neighbours apart": {"accumulates": True},
        "one pixel short: before the first layer a unit sees itself, so r starts at 1": {
            "start": 0
        },
    }
    for hint, change in mistakes.items():
        expect(sizes != [_field(case, **change) for case in cases], hint)
    for case, value in zip(cases, sizes, strict=True):
        expect(
            value == _field(case),
            f"{case} (kernel, stride, dilation) has a field of {_field(case)}, not {value!r}: "
            "add (k − 1)·d·S layer by layer",
        )
    return "1 + Σ (k − 1)·d·S: rates 1, 2, 4 give 15 pixels with the weights that gave 7"


def _field(
    layers: Any,
    factor: Callable[[int], int] = lambda d: d,
    strides: bool = True,
    early: bool = False,
    accumulates: bool = False,
    start: int = 1,
) -> int:
    """The recurrence, or one of the ways to get it wrong."""
    size, jump = start, 1
    for kernel, stride, dilation in layers:
        after = jump * (stride if strides else 1) * (dilation if accumulates else 1)
        size += (kernel - 1) * factor(dilation) * (after if early else jump)
        jump = after
    return size


@grader
def rates_without_holes(rates: Any) -> str:
    """Rates of three 3x3 layers with a field of at least 25 pixels and no holes."""
    from math import gcd

    from deeplab_lite.atrous import tap_counts

    expect(
        isinstance(rates, list | tuple) and all(is_whole(rate) and rate >= 1 for rate in rates),
        f"{rates!r}: give three whole numbers from 1, as (4, 4, 4)",
    )
    expect(len(rates) == 3, f"{len(rates)} rates: this exercise has three layers")
    expect(max(rates) <= 99, f"rate {max(rates)}: a field of 25 needs no such step")
    counts = tap_counts(rates)
    size, read = len(counts), (counts > 0).mean()
    common, shown = gcd(*rates), ", ".join(map(str, rates))
    expect(
        common == 1,
        f"{shown} have the common factor {common}: {common * common} small pictures that never "
        f"meet, and {read:.1%} of the field is read",
    )
    expect(
        read == 1 or size < 25,
        f"{shown} see {size} pixels and read {read:.1%} of them: the largest rate leaps over what "
        f"the other two together reach, {1 + 2 * sum(sorted(rates)[:2])} pixels at most",
    )
    expect(read == 1, f"{shown} have holes, and see {size} pixels only: at least 25 are wanted")
    expect(size >= 25, f"{shown} leave no holes, but see {size} pixels: at least 25 are wanted")
    end = "each exactly once: no stack of three can do better" if counts.max() == 1 else "no holes"
    return f"{shown}: {size} x {size} pixels, all {size * size} of them read, {end}"


@grader
def dense_by_hand(dense: Any) -> str:
    """dense(x, a, b, c): 3x3 layers of stride 2, 2, 1 and padding 1, at output stride 1."""
    import torch

    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 40, 48, generator=draw, dtype=torch.float64)
    weights = [torch.randn(2, 2, 3, 3, generator=draw, dtype=torch.float64) for _ in range(3)]

    def stack(strides: Any, rates: Any, paddings: Any = None) -> torch.Tensor:
        paddings, y = paddings or rates, x
        for layer in range(3):
            y = y.relu() if layer else y
            y = torch.conv2d(y, weights[layer], None, strides[layer], paddings[layer], rates[layer])
        return y

    output, once = dense(x.clone(), *(w.clone() for w in weights)), (1, 1, 1)
    expect(isinstance(output, torch.Tensor), f"dense returned {type(output).__name__}, no tensor")
    right = stack(once, (1, 2, 4))
    mistakes = {
        "the strides are still there": stack((2, 2, 1), once),
        "the first stride is still there: output stride 1 needs both gone": stack((2, 1, 1), once),
        "the second stride is still there: output stride 1 needs both gone": stack((1, 2, 1), once),
        "one stride is still there, though what follows is dilated: both must go": (
            stack((2, 1, 1), (1, 1, 2))
        ),
        "strides removed, nothing dilated: the later kernels see neighbours closer together than "
        "before": stack(once, once),
        "dilated, but the padding stayed at 1: the map shrinks and shifts. Padding = dilation": (
            stack(once, (1, 2, 4), once)
        ),
        "a layer's own stride does not count for itself: the first reads the image as before, "
        "so rates are not 2, 4, 4": stack(once, (2, 4, 4)),
        "strides multiply: two strides lost put what were neighbours 4 apart, not 2": stack(
            once, (1, 2, 2)
        ),
        "the second layer too lies behind a lost stride: spread it by 2": stack(once, (1, 1, 4)),
        "only one stride lies before the second layer: its rate is 2, not 4": stack(
            once, (1, 4, 4)
        ),
        "all layers are spread by 4: each only by the strides lost before it": stack(
            once, (4, 4, 4)
        ),
    }
    for hint, wrong in mistakes.items():
        expect(output.shape != wrong.shape or not torch.allclose(output, wrong.to(output)), hint)
    shape = tuple(output.shape)
    expect(
        output.shape == right.shape,
        f"dense gives {shape} for an input of {tuple(x.shape)}: at output stride 1 the map has the "
        "input's height and width",
    )
    apart = (output - right.to(output)).abs()
    expect(
        float(apart[..., ::4, ::4].max()) < 1e-4,
        "the shape is right, the values are not: dense(...)[..., ::4, ::4] should be strided(...)",
    )
    expect(
        float(apart[..., 8:-8, 8:-8].max()) < 1e-4,
        "equal at the shared positions, but those between were not computed: enlarging the strided "
        "map adds no detail. Take the strides out of the layers",
    )
    return "dilations 1, 2, 4: 16 times as many positions, and at every fourth the strided values"
