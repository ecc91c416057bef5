"""Graders of lesson 01: receptive fields."""

from collections.abc import Callable
from numbers import Real
from typing import Any

from deeplab_lite.classroom.exercises.grading import Wrong, expect, grader


@grader
def field_by_hand(answer: Any) -> str:
    """(size, stride, centre of unit 10) of conv 5 stride 2 padding 1, conv 3 padding 1, pool 2."""
    numbers = isinstance(answer, tuple | list) and all(
        isinstance(n, Real) and not isinstance(n, bool) for n in answer
    )
    expect(numbers and len(answer) == 3, f"{answer!r}: give three numbers, size, stride and centre")
    size, stride, centre = answer
    sizes = {
        8: "8 treats all strides as 1: the last two layers read a map of stride 2",
        17: "17 uses each layer's own stride: the gap is the stride of the map below",
        16: "16 counts k taps per layer: from the first tap to the last there are k - 1 gaps",
        10: "10 starts from 0: a pixel sees itself, so start from 1",
        30: "30 multiplies the kernels: neighbours' fields overlap, so a layer adds only (k - 1) S",
    }
    expect(size == 11, sizes.get(size, f"the size is not {size}: add (k - 1) S for each layer"))
    strides = {
        2: "the stride is not 2: the pool has one too, and strides multiply",
        5: "the stride is not 5: strides multiply, they do not add",
    }
    expect(stride == 4, strides.get(stride, f"the stride is not {stride}: multiply all three"))
    centres = {
        45: "a centre of 45 leaves out the padding: unit 0 starts before the image",
        43: "a centre of 43 counts every padding once: one unit of the second layer is 2 pixels",
        40: "40 is u S: padding and size move the centre, and here they don't cancel",
        37: "37 is the first pixel of the field: the centre is (size - 1) / 2 further",
        47: "47 is the last pixel of the field: the centre is (size - 1) / 2 before it",
        42.5: "42.5 adds size / 2: from the first of 11 pixels to the middle one it is 5 pixels",
        32: "a centre of 32 subtracts half of the size: the centre is after the first pixel",
    }
    wrong = f"the centre is not {centre}: u S - P is the first pixel, add (size - 1) / 2"
    expect(centre == 42, centres.get(centre, wrong))
    return "11 pixels at stride 4; unit 10 looks at 37 to 47, and its centre is pixel 42"


def _energy(
    network: Any,
    images: Any,
    unit: tuple[int, int],
    ask: Callable[..., Any] = lambda output, i, j: output[:, :, i, j],
    add: Callable[..., Any] = lambda gradient: gradient.square().sum((0, 1)),
    scale: Callable[..., Any] = lambda energy: energy / energy.sum(),
) -> Any:
    """The effective field of lesson 01; each argument is a place for a slip."""
    from torch import autograd

    pixels = images.detach().clone().requires_grad_()
    (gradient,) = autograd.grad(ask(network(pixels), *unit).sum(), pixels)
    return scale(add(gradient))


# (the slip, the hint that fits it)
ENERGY_SLIPS: list[tuple[dict[str, Any], str]] = [
    ({"scale": lambda energy: energy}, "your energy doesn't sum to 1: divide it by its sum"),
    (
        {"add": lambda gradient: gradient.abs().sum((0, 1))},
        "you add absolute gradients: the energy is made of squares",
    ),
    (
        {"add": lambda gradient: gradient.sum((0, 1)).square()},
        "you add before you square: gradients of opposite signs cancel",
    ),
    (
        {"add": lambda gradient: gradient.sum((0, 1))},
        "you don't square: gradients of opposite signs cancel",
    ),
    (
        {"add": lambda gradient: gradient[0].square().sum(0)},
        "you use the first image only: add up all images",
    ),
    (
        {"add": lambda gradient: gradient.square().sum(0)[0]},
        "you use one colour only: add up all three",
    ),
    (
        {"ask": lambda output, i, j: output[:, 0, i, j]},
        "you ask one channel of the map only: add up all of them",
    ),
    (
        {"ask": lambda output, i, j: output[:, :, j, i]},
        "you ask another unit: the first number is its row, the second its column",
    ),
    ({"ask": lambda output, i, j: output}, "you ask the whole map: pick the position `unit`"),
]


@grader
def energy_of_pixels(energy: Any) -> str:
    """energy(network, images, unit) -> (H, W), each pixel's share of the squared gradients."""
    import torch
    from torch import nn

    expect(callable(energy), f"{energy!r} is not a function: pass its name, without brackets")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images, unit = torch.randn(2, 3, 9, 11), (1, 3)
        convolutions = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3, stride=2, padding=2)
    network = nn.Sequential(convolutions[0], nn.Tanh(), convolutions[1]).eval()
    result = energy(network, images.clone(), unit)
    expect(result is not None, "your function returns nothing: end it with a return")
    answer = torch.as_tensor(result).detach()
    expect(
        answer.shape == images.shape[2:],
        f"your energy has the shape {tuple(answer.shape)}: for images of {tuple(images.shape)} "
        f"it is {tuple(images.shape[2:])}, one number for each pixel",
    )

    def same(other: Any) -> bool:
        return torch.allclose(answer.double(), other.double(), rtol=1e-3, atol=1e-6)

    for slip, misconception in ENERGY_SLIPS:
        expect(not same(_energy(network, images, unit, **slip)), misconception)
    right = _energy(network, images, unit)
    expect(same(right), "these are not the shares of the squared gradients: compare section 6")
    seen = int((right > 0).sum())
    return f"{seen} of {right.numel()} pixels share the energy, as the package says"


@grader
def thrifty_stack(stack: Any) -> str:
    """A stack with a field of 212 pixels, stride 8, no holes and at most 54 weights."""
    from deeplab_lite.receptive_field import chain

    rows = isinstance(stack, tuple | list) and all(isinstance(x, tuple | list) for x in stack)
    expect(rows and len(stack) > 0, "give a list of layers: (kernel, stride, padding, dilation)")
    layers = [tuple(layer) + (1, 0, 1)[len(layer) - 1 :] for layer in stack if 0 < len(layer) < 5]
    expect(len(layers) == len(stack), "each layer has one to four numbers: see section 2")
    try:
        size, stride, _ = chain(layers)[-1]
    except ValueError as error:
        raise Wrong(str(error)) from error
    weights = sum(kernel**2 for kernel, *_ in layers)
    swapped = [(k, s, 0, max(p, 1)) for k, s, p, _ in layers]
    if size < 212 <= chain(swapped)[-1].size:
        raise Wrong(f"{size} pixels: the third number is padding, the fourth is dilation")
    expect(stride == 8, f"the total stride is {stride}, not 8: strides multiply")
    expect(size >= 212, f"{size} pixels, not yet 212: the later a layer, the wider its gaps")
    expect(size <= 4096, f"{size} pixels are more than a photograph has: aim closer to 212")
    read = {0}
    for kernel, step, _, dilation in reversed(layers):
        read = {u * step + dilation * tap for u in read for tap in range(kernel)}
    expect(
        len(read) == size,
        f"{size - len(read)} of the {size} pixels are holes, which no tap reads: "
        "taps are d S pixels apart, and must not be further apart than one unit below sees",
    )
    expect(weights <= 54, f"{weights} weights, 54 are allowed: dilation widens a kernel at no cost")
    fewest = "no stack has fewer" if weights == 32 else "it can be done with 32"
    return f"{size} pixels at stride 8, every one read, with {weights} weights: {fewest}"
