"""Graders of lesson 02: atrous convolution."""

from typing import Any

from deeplab_lite.classroom.exercises.grading import expect, grader, is_whole

PLACES = [
    f"layer{stage}, {block}" for stage in (2, 3, 4) for block in ("first block", "later blocks")
]


@grader
def traded_by_hand(answer: Any) -> str:
    """(stride, dilation) of a ResNet's 3x3 convolutions at output stride 8, in the order of PLACES.

    Stem 4; the first blocks of layer2, layer3 and layer4 have stride 2.
    """
    ask = "give six pairs (stride, dilation) of whole numbers, in the order of the stub"
    pairs = [tuple(pair) if isinstance(pair, tuple | list) else () for pair in answer]
    expect(len(pairs) == 6 and all(len(pair) == 2 for pair in pairs), ask)
    expect(all(is_whole(value) and value >= 1 for pair in pairs for value in pair), ask)
    mistakes = {
        "that is the network as it was, at output stride 32: two strides have to go": "21 11 21 11 "
        "21 11",
        "the strides are gone, but nothing is dilated: later kernels would read neighbours closer "
        "together than in training": "21 11 11 11 11 11",
        "that is output stride 16: the stem and layer2 make 8, so layer3 loses its stride, too": (
            "21 11 21 11 11 12"
        ),
        "that is output stride 4: layer2 may keep its stride, since 4 x 2 is 8": (
            "11 12 12 14 14 18"
        ),
        "a layer's own stride doesn't count for itself: a first block reads the map as before, and "
        "only the blocks after it are dilated by its stride": "21 11 12 12 14 14",
        "strides multiply: behind two lost strides the dilation is 4": "21 11 11 12 12 12",
        "the lost stride of layer3 counts for all of layer4, its first block included": (
            "21 11 11 12 11 14"
        ),
        "the dilations are right, but the strides are still there": "21 11 21 12 22 14",
    }
    for hint, digits in mistakes.items():
        expect(pairs != [tuple(map(int, pair)) for pair in digits.split()], hint)
    for place, pair, right in zip(
        PLACES, pairs, [(2, 1), (1, 1), (1, 1), (1, 2), (1, 2), (1, 4)], strict=True
    ):
        expect(
            pair == right,
            f"{place}: not stride {pair[0]}, dilation {pair[1]}. The stride goes if it would take "
            "the output stride beyond 8; the dilation is the product of the strides lost before it",
        )
    return "layer4 starts at dilation 2 and goes on at 4: torchvision's ResNets do the same"


@grader
def rates_without_holes(rates: Any) -> str:
    """Rates of three 3x3 layers with a field of at least 25 pixels and no holes."""
    from math import gcd

    from deeplab_lite.atrous import tap_counts

    expect(
        isinstance(rates, list | tuple) and all(is_whole(rate) and rate >= 1 for rate in rates),
        f"{rates!r}: give three whole numbers from 1, such as (4, 4, 4)",
    )
    expect(len(rates) == 3, f"{len(rates)} rates: this exercise has three layers")
    expect(max(rates) <= 99, f"rate {max(rates)}: far more than a field of 25 pixels needs")
    counts = tap_counts(rates)
    size, read = len(counts), (counts > 0).mean()
    common, shown = gcd(*rates), ", ".join(map(str, rates))
    expect(
        common == 1,
        f"{shown} have the common factor {common}: {common * common} small pictures that never "
        f"meet, and {read:.1%} of the field is read",
    )
    row = 1  # how many pixels in a row the smaller rates read
    for rate in sorted(rates):
        why = f"rate {rate} is larger than the row of {row} pixels that the smaller rates read"
        if row == 1:
            why = "no rate is 1, so no path ends just inside the outermost pixel"
        expect(
            rate <= row or size < 25,
            f"{shown} see {size} pixels and read {read:.1%} of the field: {why}",
        )
        row += 2 * rate
    expect(read == 1, f"{shown} have holes, and see only {size} pixels: you need at least 25")
    expect(size >= 25, f"{shown} have no holes, but see only {size} pixels: you need at least 25")
    end = "each exactly once: no stack of three can do better" if counts.max() == 1 else "no holes"
    return f"{shown}: {size} x {size} pixels, all {size * size} of them read, {end}"


@grader
def dense_by_hand(dense: Any) -> str:
    """dense(x, a, b): a convolution and a pool of stride 2, a convolution, at output stride 1."""
    import torch

    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 40, 48, generator=draw, dtype=torch.float64)
    a, b = (torch.randn(2, 2, 3, 3, generator=draw, dtype=torch.float64) for _ in range(2))

    def stack(strides: Any, rates: Any, paddings: Any = None) -> torch.Tensor:
        paddings = paddings or (rates[0], 0, rates[2])
        y = torch.conv2d(x, a, None, strides[0], paddings[0], rates[0]).relu()
        y = torch.max_pool2d(y, 2, strides[1], paddings[1], rates[1])
        return torch.conv2d(y, b, None, strides[2], paddings[2], rates[2])

    output, once = dense(x.clone(), a.clone(), b.clone()), (1, 1, 1)
    expect(
        isinstance(output, torch.Tensor), f"dense returned a {type(output).__name__}, not a tensor"
    )
    right = stack(once, (1, 2, 4))
    mistakes = {
        "the strides are still there": stack((2, 2, 1), once),
        "the first stride is still there: output stride 1 needs both gone": stack((2, 1, 1), once),
        "the second stride is still there: output stride 1 needs both gone": stack((1, 2, 1), once),
        "one stride is still there, though what follows is dilated: both must go": (
            stack((2, 1, 1), (1, 1, 2))
        ),
        "strides removed, nothing dilated: pool and second convolution read neighbours closer "
        "together than before": stack(once, once),
        "dilated, but the last padding stayed at 1: the map shrinks and shifts. It needs 4": (
            stack(once, (1, 2, 4), (1, 0, 1))
        ),
        "the pool had no padding, and needs none: with it the map shifts": (
            stack(once, (1, 2, 4), (1, 1, 4))
        ),
        "a layer's own stride doesn't count for itself: the first convolution reads the image as "
        "before, so the dilations aren't 2, 4, 4": stack(once, (2, 4, 4)),
        "strides multiply: behind two lost strides, old neighbours are 4 apart, not 2": stack(
            once, (1, 2, 2)
        ),
        "the pool isn't dilated, but one stride is lost before it: it needs dilation 2": stack(
            once, (1, 1, 4)
        ),
        "only one stride is lost before the pool: its dilation is 2, not 4": stack(once, (1, 4, 4)),
        "all layers have dilation 4: each gets only the strides lost before it": stack(
            once, (4, 4, 4)
        ),
    }
    for hint, wrong in mistakes.items():
        expect(output.shape != wrong.shape or not torch.allclose(output, wrong.to(output)), hint)
    shape = tuple(output.shape)
    expect(
        output.shape == right.shape,
        f"dense gives {shape} for an input of {tuple(x.shape)}: a 2x2 pool at dilation 2 takes two "
        "rows and two columns, and the convolutions keep the size",
    )
    apart = (output - right.to(output)).abs()
    expect(
        float(apart[..., ::4, ::4].max()) < 1e-4,
        "the shape is right but the values aren't: dense(...)[..., ::4, ::4] isn't strided(...)",
    )
    expect(
        float(apart[..., 8:-8, 8:-8].max()) < 1e-4,
        "the old positions are right, but the new ones were not computed: enlarging the strided "
        "map adds no detail. Take the strides out of the layers",
    )
    return "dilations 1, 2, 4: 16 times as many positions, and at every fourth the strided values"
