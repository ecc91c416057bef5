"""Graders of lesson 07: DeepLab v3+."""

from typing import Any

from deeplab_lite.classroom.exercises.grading import expect, grader, is_whole

MAPS = {
    "low": (256, 129),
    "deep": (256, 33),
    "enlarged": (256, 129),
    "reduced": (48, 129),
    "joined": (304, 129),
    "refined": (256, 129),
    "scores": (21, 129),
    "logits": (21, 513),
}


@grader
def decoder_shapes(shapes: Any) -> str:
    """(channels, side) of each of MAPS, in order, for an image of 513 pixels."""
    expect(
        isinstance(shapes, list) and len(shapes) == len(MAPS),
        f"expected a list of {len(MAPS)} pairs: {', '.join(MAPS)}",
    )
    shapes = dict(zip(MAPS, shapes, strict=True))
    for name, pair in shapes.items():
        expect(
            isinstance(pair, tuple | list) and len(pair) == 2 and all(map(is_whole, pair)),
            f"{name} is {pair!r}: expected two whole numbers, channels and side",
        )
    hints = {
        ("low", 1, 128): "513 is 4 · 128 + 1: positions lie on both ends, so there are 129",
        ("low", 1, 33): "low is taken early, at stride 4",
        ("low", 1, 65): "low is taken at stride 4, not 8",
        ("deep", 1, 32): "513 is 16 · 32 + 1: positions lie on both ends, so there are 33",
        ("deep", 1, 65): "that is output stride 8: here it is 16",
        ("deep", 0, 1280): "five branches of 256 are 1280 channels, but a 1x1 projects them to 256",
        ("enlarged", 1, 132): "enlarged gets low's size, not four times its own: 33 positions, "
        "corners aligned, become 129",
        ("enlarged", 1, 513): "enlarged goes to low's size only: the second enlargement comes last",
        ("enlarged", 0, 64): "bilinear interpolation leaves the channels as they are",
        ("reduced", 0, 256): "the 1x1 reduces low's 256 channels, to 48 in the paper",
        ("joined", 0, 256): "joined is a concatenation: its channels are those of both maps",
        ("joined", 0, 512): "low is reduced before it is joined",
        ("joined", 0, 48): "joined holds enlarged as well",
        ("refined", 0, 304): "each 3x3 has 256 outputs",
        ("refined", 1, 125): "the 3x3 have padding 1, so the map keeps its size",
        ("scores", 0, 256): "there is one score for each of the 21 classes",
        ("scores", 1, 513): "scores are computed at stride 4, and enlarged afterwards",
        ("logits", 1, 516): "logits have the image's size",
    }
    for (name, place, value), hint in hints.items():
        expect(shapes[name][place] != value, f"{name}: {hint}")
    for name, right in MAPS.items():
        for place, what in enumerate(("channels", "the side")):
            expect(
                shapes[name][place] == right[place],
                f"{name}: {what} cannot be {shapes[name][place]}. Look at figure 2, and put in the "
                "paper's sizes",
            )
    return "304 channels go into the first 3x3 at stride 4: that is where the decoder's cost is"


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
def decoder_with_skips(decoder: Any) -> str:
    """decoder(deep, skips, reduces, refines): one step for each skip, the coarsest first."""
    import torch
    import torch.nn.functional as F

    draw = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Any:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    deep = noise(2, 3, 4, 5)
    skips = [noise(2, 6, 7, 9), noise(2, 5, 13, 17)]
    reduces = [noise(3, 6, 1, 1), noise(2, 5, 1, 1)]
    refines = [noise(4, 6, 3, 3), noise(5, 6, 3, 3)]

    def right(
        order: int = 1, corners: bool | None = True, mode: str = "bilinear", padding: int = 1,
        small: bool = True, last: bool = True, steps: Any = slice(None),
    ) -> Any:  # fmt: skip
        x = deep
        for skip, reduce, refine in list(zip(skips, reduces, refines, strict=True))[steps]:
            x = F.interpolate(x, skip.shape[-2:], mode=mode, align_corners=corners)
            reduced = F.conv2d(skip, reduce)
            x = torch.cat([x, reduced.relu() if small else reduced][::order], 1)
            x = F.conv2d(x, refine, padding=padding)
            x = x.relu() if last else x
        return x

    arguments = [deep.clone(), *([part.clone() for part in s] for s in (skips, reduces, refines))]
    x = decoder(*arguments)
    expect(isinstance(x, torch.Tensor), f"decoder returned {type(x).__name__}, expected a tensor")
    mistakes = {
        "only the first skip is used: repeat the step for each one": right(steps=slice(1)),
        "the order is wrong: the enlarged map comes first, the reduced one after it": right(-1),
        "the corners are not aligned: pass align_corners=True": right(corners=False),
        "that is nearest interpolation: use bilinear": right(corners=None, mode="nearest"),
        "that is bicubic interpolation: use bilinear": right(mode="bicubic"),
        "a ReLU follows the 1x1, too": right(small=False),
        "a ReLU follows the 3x3, too": right(last=False),
        "no ReLU is there: one follows the 1x1, one the 3x3": right(small=False, last=False),
        "the 3x3 shrink the map: padding=1 keeps its size": right(padding=0),
    }
    for hint, wrong in mistakes.items():
        if x.shape == wrong.shape:
            expect(not torch.allclose(x, wrong.to(x)), hint)
    expected = right()
    expect(
        x.shape == expected.shape,
        f"the result is {tuple(x.shape)}: expected {tuple(expected.shape)}, the size of the last "
        "skip",
    )
    expect(
        bool(torch.allclose(x, expected.to(x))),
        "the shape is right, the values are not: does each step begin with the result of the last?",
    )
    return "one skip is v3+'s decoder, a skip at every stride is the second half of a U-Net"
