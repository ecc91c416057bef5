"""Graders of the exercises: `from deeplab_lite import exercises as check`, `check.<name>(answer)`.

A grader says one of three things and never raises: not attempted yet (the stub still returns
`...`), a tick with what the answer shows, or a cross that names the misconception behind it.
"""

from collections.abc import Callable
from functools import wraps
from numbers import Integral, Real
from typing import Any


class Wrong(Exception):
    """An answer that is not right; the message names the misconception."""


class NotAttempted(Exception):
    """The answer, or something it returned, is still `...`."""


def grader(judge: Callable[[Any], str]) -> Callable[[Any], None]:
    """A judge returns what a right answer shows and raises Wrong for others; a grader prints it."""

    @wraps(judge)
    def check(answer: Any) -> None:
        try:
            print("✓", judge(_watched(answer)))
        except NotAttempted:
            print("· not attempted yet: replace the ... and run the cell again")
        except Wrong as reason:
            print("✗", reason)
        except Exception as error:  # the reader's own code failed
            print(f"✗ your code stopped with {type(error).__name__}: {error}")

    return check


def _watched(answer: Any) -> Any:
    """The answer; a function is wrapped so that a returned `...` means not attempted."""
    if answer is ...:
        raise NotAttempted
    if not callable(answer):
        return answer

    @wraps(answer)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = answer(*args, **kwargs)
        if result is ... or (isinstance(result, tuple | list) and any(r is ... for r in result)):
            raise NotAttempted
        return result

    return call


def expect(right: bool, otherwise: str) -> None:
    """Raise Wrong(otherwise) unless `right`."""
    if not right:
        raise Wrong(otherwise)


# ---- lesson 00 ----


@grader
def three_layers(answer: Any) -> str:
    """How many pixels a unit sees through three layers of 3-wide kernels, stride 1."""
    expect(
        isinstance(answer, Integral) and not isinstance(answer, bool),
        f"{answer!r} is no whole number: how many pixels are lit in the bottom row?",
    )
    expect(answer != 5, "5 is what two layers see, and the slip of the notes: work their sum out")
    expect(answer != 3, "3 is what one layer sees: follow the cone down to the input")
    expect(
        answer not in (9, 27),
        "kernels do not multiply: the fields of neighbours overlap, a layer adds only its two ends",
    )
    expect(answer == 7, f"not {answer}: count the pixels below the cone, first and last included")
    return "3, 5, 7: each 3-wide layer adds a pixel at either end. The notes' sum comes to 7, too"


# ---- lesson 02 ----


@grader
def effective_kernel(width: Any) -> str:
    """width(kernel, dilation): pixels from the first tap to the last, both included."""
    cases = [(3, 1), (3, 2), (3, 4), (5, 2), (7, 3), (2, 5), (1, 6)]
    given = [width(*case) for case in cases]
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
        expect(given != [mistake(*case) for case in cases], hint)
    for (k, d), value in zip(cases, given, strict=True):
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
    given = [field(list(case)) for case in cases]
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
        expect(given != [_field(case, **change) for case in cases], hint)
    for case, value in zip(cases, given, strict=True):
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

    from .atrous import tap_counts

    expect(
        isinstance(rates, list | tuple) and all(_is_whole(rate) and rate >= 1 for rate in rates),
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


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


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

    given, once = dense(x.clone(), *(w.clone() for w in weights)), (1, 1, 1)
    expect(isinstance(given, torch.Tensor), f"dense returned {type(given).__name__}, no tensor")
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
        expect(given.shape != wrong.shape or not torch.allclose(given, wrong.to(given)), hint)
    shape = tuple(given.shape)
    expect(
        given.shape == right.shape,
        f"dense gives {shape} for an input of {tuple(x.shape)}: at output stride 1 the map has the "
        "input's height and width",
    )
    apart = (given - right.to(given)).abs()
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


# ---- lesson 01 ----


def _finished(answer: Any) -> None:
    """NotAttempted if a `...` is left anywhere in a tuple or list."""
    if answer is ...:
        raise NotAttempted
    if isinstance(answer, tuple | list):
        for item in answer:
            _finished(item)


@grader
def field_by_hand(answer: Any) -> str:
    """(size, stride, centre of unit 10) of conv 5 stride 2 padding 1, conv 3 padding 1, pool 2."""
    _finished(answer)
    numbers = isinstance(answer, tuple | list) and all(
        isinstance(n, Real) and not isinstance(n, bool) for n in answer
    )
    expect(numbers and len(answer) == 3, f"{answer!r}: give three numbers, size, stride and centre")
    size, stride, centre = answer
    sizes = {
        8: "8 adds up the kernels as if all strides were 1: two layers stand on a map of stride 2",
        17: "17 steps by each layer's own stride: a kernel steps by the stride of the map below it",
        16: "16 counts k taps per layer: from the first tap to the last there are k - 1 steps",
        10: "10 starts from 0: a pixel sees itself, so the count starts from 1",
        30: "30 multiplies the kernels: fields of neighbours overlap, each layer adds (k - 1) S",
    }
    expect(size == 11, sizes.get(size, f"the size is not {size}: add (k - 1) S for each layer"))
    strides = {
        2: "the stride is not 2: the pool has one too, and strides multiply",
        5: "the stride is not 5: strides multiply, they do not add",
    }
    expect(stride == 4, strides.get(stride, f"the stride is not {stride}: multiply all three"))
    centres = {
        45: "a centre of 45 leaves out the padding: unit 0 starts before the picture",
        43: "a centre of 43 adds the paddings as they are: the second one counts in steps of 2",
        40: "40 is u S: padding and width shift the centre, and here they do not cancel",
        37: "37 is the first pixel of the field: the centre lies (size - 1) / 2 further",
        47: "47 is the last pixel of the field: the centre lies (size - 1) / 2 before it",
        42.5: "42.5 adds size / 2: from the first of 11 pixels to the middle one there are 5 steps",
        32: "a centre of 32 takes half of the size away: it lies after the first pixel, not before",
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
    """The recurrence of lesson 01, with places to put a slip."""
    r, S, P = start, 1, 0
    for layer in layers:
        r, P, S = r + grow(*layer, S), P + shift(*layer, S), step(*layer, S)
    return r, S, P


#                       what is slipped, the misconception behind it
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
        "your size grows as if all strides were 1: a step on a coarse map is S pixels long",
    ),
    (
        0,
        {"grow": lambda k, s, p, d, S: d * (k - 1) * s},
        "your size grows by one layer's stride: a step is as long as all strides below together",
    ),
    (
        0,
        {"grow": lambda k, s, p, d, S: (k - 1) * S},
        "your size ignores dilation: it makes each of the k - 1 steps d times as long",
    ),
    (
        0,
        {"grow": lambda k, s, p, d, S: (d * k - 1) * S},
        "your kernel is d k wide: it has k - 1 gaps, so that d (k - 1) steps are right",
    ),
    (
        0,
        {"grow": lambda k, s, p, d, S: (d - 1) * (k - 1) * S},
        "your size grows by d - 1, as in the notes: at dilation 1 nothing would grow at all",
    ),
    (
        0,
        {"grow": lambda k, s, p, d, S: d * k * S},
        "your size grows by k taps: from the first tap to the last there are k - 1 steps",
    ),
    (
        2,
        {"shift": lambda k, s, p, d, S: p},
        "your paddings add up as they are: one of layer l is S pixels of the picture",
    ),
    (
        2,
        {"shift": lambda k, s, p, d, S: p * S * s},
        "your padding uses the layer's own stride: update the stride last",
    ),
    (
        2,
        {"shift": lambda k, s, p, d, S: p * d * S},
        "your padding grows with dilation: that stretches the kernel, not the border of zeros",
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
    expect(callable(field), f"{field!r} is no function: hand over its name, without brackets")
    stacks = [
        [(3, 1, 0, 1)] * 3,
        [(7, 2, 3, 1), (3, 2, 1, 1), (3, 1, 1, 1)],
        [(3, 2, 1, 1), (3, 1, 2, 2), (5, 3, 1, 1), (3, 1, 4, 4)],
        [(4, 3, 2, 2), (1, 2, 0, 1), (2, 2, 1, 3), (3, 3, 1, 2)],
    ]
    answers = []
    for stack in stacks:
        given = field(list(stack))
        expect(given is not None, "your function returns nothing: end it with a return")
        expect(
            isinstance(given, tuple | list) and len(given) == 3,
            f"your function returned {given!r}: expected a tuple of size, stride and padding",
        )
        answers.append(tuple(given))
    truth = [_recurrence(stack) for stack in stacks]
    for part, slip, misconception in RECURRENCE_SLIPS:
        slipped = [_recurrence(stack, **slip)[part] for stack in stacks]
        if [a[part] for a in answers] == slipped:
            raise Wrong(misconception)
    for stack, given, right in zip(stacks, answers, truth, strict=True):
        expect(given == right, f"for {stack} you say {given}: expected {right}")
    return "stride below, then above: the same line gives 7, 212 and 427"


@grader
def thrifty_stack(stack: Any) -> str:
    """A stack with a field of 212 pixels, stride 8, no holes and at most 54 weights."""
    from deeplab_lite.receptive_field import chain

    _finished(stack)
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
    expect(size >= 212, f"{size} pixels, not yet 212: later layers take longer steps")
    expect(size <= 4096, f"{size} pixels are more than any photograph has: aim nearer to 212")
    read = {0}
    for kernel, step, _, dilation in reversed(layers):
        read = {u * step + dilation * tap for u in read for tap in range(kernel)}
    expect(
        len(read) == size,
        f"{size - len(read)} of the {size} pixels are holes, which no tap reads: "
        "a gap of d S pixels must not be wider than what one unit below sees",
    )
    expect(weights <= 54, f"{weights} weights, 54 are allowed: dilation widens, and costs nothing")
    fewest = "no stack has fewer" if weights == 32 else "it can be done with 32"
    return f"{size} pixels at stride 8, every one read, with {weights} weights: {fewest}"
