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
        17: "17 uses each layer's own stride: a kernel steps by the stride of the map below it",
        16: "16 counts k taps per layer: from the first tap to the last there are k - 1 steps",
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
        42.5: "42.5 adds size / 2: from the first of 11 pixels to the middle one there are 5 steps",
        32: "a centre of 32 subtracts half of the size: the centre is after the first pixel",
    }
    wrong = f"the centre is not {centre}: u S - P is the first pixel, add (size - 1) / 2"
    expect(centre == 42, centres.get(centre, wrong))
    return "11 pixels in steps of 4; unit 10 looks at 37 to 47, and its centre is pixel 42"


def _recurrence(
    layers: Any,
    grow: Callable[..., int] = lambda k, s, p, d, S: d * (k - 1) * S,
    step: Callable[..., int] = lambda k, s, p, d, S: S * s,
    shift: Callable[..., int] = lambda k, s, p, d, S: p * S,
    start: int = 1,
) -> tuple[int, int, int]:
    """The recurrence of lesson 01; each argument is a place for a slip."""
    r, S, P = start, 1, 0
    for layer in layers:
        r, P, S = r + grow(*layer, S), P + shift(*layer, S), step(*layer, S)
    return r, S, P


# (which of the three results is wrong, the slip, the hint that fits it)
RECURRENCE_SLIPS: list[tuple[int, dict[str, Any], str]] = [
    (1, {"step": lambda k, s, p, d, S: s}, "your stride is the last layer's: strides multiply"),
    (1, {"step": lambda k, s, p, d, S: S + s - 1}, "your strides add up: they multiply"),
    (1, {"step": lambda k, s, p, d, S: S + s}, "your strides add up: they multiply"),
    (0, {"start": 0}, "your size starts from 0: a pixel sees itself, so start from 1"),
    (
        0,
        {"grow": lambda k, s, p, d, S: d * (k - 1) * S * s},
        "your size grows by the layer's own stride: update the stride last",
    ),
    (
        0,
        {"grow": lambda k, s, p, d, S: d * (k - 1)},
        "your size treats all strides as 1: a step on a coarse map is S pixels long",
    ),
    (
        0,
        {"grow": lambda k, s, p, d, S: d * (k - 1) * s},
        "your size uses one layer's stride: a step is as long as all strides below multiplied",
    ),
    (
        0,
        {"grow": lambda k, s, p, d, S: (k - 1) * S},
        "your size ignores dilation: it makes each of the k - 1 steps d times as long",
    ),
    (
        0,
        {"grow": lambda k, s, p, d, S: (d * k - 1) * S},
        "your kernel is d k wide: it has k - 1 gaps, so count d (k - 1) steps",
    ),
    (
        0,
        {"grow": lambda k, s, p, d, S: (d - 1) * (k - 1) * S},
        "your size grows by d - 1: at dilation 1 it would not grow at all",
    ),
    (
        0,
        {"grow": lambda k, s, p, d, S: d * k * S},
        "your size grows by k taps: from the first tap to the last there are k - 1 steps",
    ),
    (
        2,
        {"shift": lambda k, s, p, d, S: p},
        "you add paddings as they are: a unit of the map below is S pixels of the image",
    ),
    (
        2,
        {"shift": lambda k, s, p, d, S: p * S * s},
        "your padding uses the layer's own stride: update the stride last",
    ),
    (
        2,
        {"shift": lambda k, s, p, d, S: p * d * S},
        "your padding grows with dilation: dilation stretches the kernel, not the border of zeros",
    ),
    (
        2,
        {"shift": lambda k, s, p, d, S: 2 * p * S},
        "your padding counts both sides: P is where unit 0 starts, on the left",
    ),
]


@grader
def recurrence(field: Any) -> str:
    """field(layers) -> (size, stride, padding); layers are (kernel, stride, padding, dilation)."""
    expect(callable(field), f"{field!r} is not a function: pass its name, without brackets")
    stacks = [
        [(3, 1, 0, 1)] * 3,
        [(7, 2, 3, 1), (3, 2, 1, 1), (3, 1, 1, 1)],
        [(3, 2, 1, 1), (3, 1, 2, 2), (5, 3, 1, 1), (3, 1, 4, 4)],
        [(4, 3, 2, 2), (1, 2, 0, 1), (2, 2, 1, 3), (3, 3, 1, 2)],
    ]
    answers = []
    for stack in stacks:
        result = field(list(stack))
        expect(result is not None, "your function returns nothing: end it with a return")
        expect(
            isinstance(result, tuple | list) and len(result) == 3,
            f"your function returned {result!r}: expected a tuple of size, stride and padding",
        )
        answers.append(tuple(result))
    expected = [_recurrence(stack) for stack in stacks]
    for part, slip, misconception in RECURRENCE_SLIPS:
        slipped = [_recurrence(stack, **slip)[part] for stack in stacks]
        if [a[part] for a in answers] == slipped:
            raise Wrong(misconception)
    for stack, answer, right in zip(stacks, answers, expected, strict=True):
        expect(answer == right, f"for {stack} your function returns {answer}: expected {right}")
    return f"right for all {len(stacks)} stacks: every step has the stride below its layer"


@grader
def thrifty_stack(stack: Any) -> str:
    """A stack with a field of 212 pixels, stride 8, no holes and at most 54 weights."""
    from deeplab_lite.receptive_field import chain

    rows = isinstance(stack, tuple | list) and all(isinstance(x, tuple | list) for x in stack)
    expect(rows and len(stack) > 0, "give a list of layers: (kernel, stride, padding, dilation)")
    layers = [tuple(layer) + (1, 0, 1)[len(layer) - 1 :] for layer in stack if 0 < len(layer) < 5]
    expect(len(layers) == len(stack), "each layer has one to four numbers: see exercise 2")
    try:
        size, stride, _ = chain(layers)[-1]
    except ValueError as error:
        raise Wrong(str(error)) from error
    weights = sum(kernel**2 for kernel, *_ in layers)
    swapped = [(k, s, 0, max(p, 1)) for k, s, p, _ in layers]
    if size < 212 <= chain(swapped)[-1].size:
        raise Wrong(f"{size} pixels: the third number is padding, the fourth is dilation")
    expect(stride == 8, f"the total stride is {stride}, not 8: strides multiply")
    expect(size >= 212, f"{size} pixels, not yet 212: the later a layer, the longer its steps")
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
