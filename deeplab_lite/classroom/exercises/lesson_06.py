"""Graders of lesson 06: DeepLab v3."""

import warnings
from typing import Any

from deeplab_lite.classroom.exercises.grading import expect, grader, is_whole

MULTI_GRID, AT_16 = (1, 2, 4), (6, 12, 18)


@grader
def dilations_and_rates(settings: Any) -> str:
    """settings(output_stride): dilations of the last stage (multi-grid 1, 2, 4), rates of ASPP."""
    answers = {stride: _pair(settings(stride), stride) for stride in (32, 16, 8)}
    for part, (what, hints) in enumerate((_DILATIONS, _RATES)):
        by_stride = {stride: pair[part] for stride, pair in answers.items()}
        for hint, rule in hints.items():
            expect(by_stride != {stride: rule(32 // stride) for stride in by_stride}, hint)
        right = _dilations if part == 0 else _rates
        for stride, values in by_stride.items():
            expect(
                values == right(32 // stride),
                f"{what} at output stride {stride} are {', '.join(map(str, values))}: strides of "
                f"{32 // stride} are lost there",
            )
    return (
        "the last stage has 1-2-4, 2-4-8, 4-8-16 at 32, 16, 8, and rates reach 96, 192, 288 pixels"
    )


def _pair(answer: Any, stride: int) -> list[tuple[int, ...]]:
    """(dilations, rates) as tuples of three whole numbers."""
    ask = f"settings({stride}) should be two lists of three whole numbers: dilations, then rates"
    expect(isinstance(answer, tuple | list) and len(answer) == 2, ask)
    for part in answer:
        expect(isinstance(part, tuple | list) and len(part) == 3, ask)
        whole = all(
            is_whole(value) or (isinstance(value, float) and value.is_integer()) for value in part
        )
        expect(whole and min(part) >= 1, f"{part!r} at output stride {stride}: dilations and rates "
               "are whole numbers from 1")  # fmt: skip
    return [tuple(int(value) for value in part) for part in answer]


def _dilations(lost: int) -> tuple[int, ...]:
    return tuple(lost * multiplier for multiplier in MULTI_GRID)


def _rates(lost: int) -> tuple[int, ...]:
    return tuple(rate * lost // 2 for rate in AT_16)


_DILATIONS: tuple[str, dict[str, Any]] = (
    "the dilations of the last stage",
    {
        "multi-grid 1, 2, 4 multiplies the dilation that the lost strides ask for, 2 at output "
        "stride 16 and 4 at 8: it does not replace it": lambda lost: MULTI_GRID,
        "multi-grid is left out: the three blocks get 1, 2 and 4 times the stage's dilation": (
            lambda lost: (lost,) * 3
        ),
        "the dilations do not grow from 16 to 8: another stride is lost there, so they double": (
            lambda lost: _dilations(min(lost, 2))
        ),
        "multiplied, not added: multi-grid 1, 2, 4 at dilation 2 is 2, 4, 8": (
            lambda lost: tuple(lost - 1 + multiplier for multiplier in MULTI_GRID)
        ),
        "too large by 2: at output stride 32 no stride is lost, and the dilations are 1, 2, 4": (
            lambda lost: _dilations(2 * lost)
        ),
        "the wrong way round: the smaller the output stride, the larger the dilation": (
            lambda lost: _dilations(4 // lost)
        ),
    },
)
_RATES: tuple[str, dict[str, Any]] = (
    "the rates",
    {
        "the rates stay 6, 12, 18: they count positions, so at output stride 8 the same pixels are "
        "reached with twice the rates": lambda lost: AT_16,
        "the wrong way round: positions are closer at a smaller output stride, so rates grow": (
            lambda lost: tuple(rate * 2 // lost for rate in AT_16)
        ),
        "at output stride 32 the rates are half of those at 16: 3, 6, 9": (
            lambda lost: _rates(max(lost, 2))
        ),
        "12, 24, 36 are the rates of output stride 8: at 16 they are 6, 12, 18": (
            lambda lost: _rates(2 * lost)
        ),
    },
)


@grader
def lasting_freeze(freeze: Any) -> str:
    """freeze(model): batch norm keeps its running statistics through .train(), all else trains."""
    import torch
    from torch import nn

    draw = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 9, 9, generator=draw)
    model: Any = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)),
        nn.Dropout(0.5),
    )
    norms: list[Any] = [model[1], model[2][1]]
    for norm in norms:
        norm.running_mean.normal_(generator=draw)
        norm.running_var.uniform_(0.5, 2, generator=draw)
    given_state = [value.clone() for value in model.state_dict().values()]
    with torch.no_grad():
        right = model.eval()(x)
    model.train()

    answer = freeze(model)
    expect(
        answer is model or answer is None,
        "freeze should change the model that it is given, and return it",
    )
    tracked = all(norm.running_mean is not None for norm in norms)
    expect(tracked, "without running statistics batch norm uses each batch's own, in eval mode too")
    now = model.state_dict().values()
    same = len(now) == len(given_state) and all(map(torch.equal, given_state, now))
    expect(same, "weights or statistics changed in freezing: they are to stay as they are")
    model.eval()  # as a loop does to validate
    model.train()
    expect(all(p.requires_grad for p in model[0].parameters()), "the convolutions no longer train")
    expect(
        model[3].training,
        "the whole model is held in eval mode: dropout has to come back with .train(), only batch "
        "norm stays",
    )
    live = [norm.training for norm in norms]
    expect(
        len(set(live)) == 1,
        "one of the two batch norm layers is not frozen: look through model.modules(), which goes "
        "into nested ones, not model.children()",
    )
    expect(
        not (live[0] and norms[0].momentum == 0),
        "momentum 0 holds the running statistics, but in train mode a batch is still normalised "
        "with its own",
    )
    expect(
        not (live[0] and not any(p.requires_grad for p in norms[0].parameters())),
        "requires_grad_(False) holds scale and shift; the running statistics are no parameters, "
        "and still move",
    )
    expect(
        not live[0],
        "undone: .train() of the model switched batch norm back to the statistics of the batch. "
        "The layer's own train has to change",
    )
    with torch.no_grad():
        y = model[2](model[1](model[0](x)))
    held = all(map(torch.equal, given_state, model.state_dict().values()))
    expect(held, "the running statistics moved in train mode")
    expect(
        bool(torch.allclose(y, right, atol=1e-5)),
        "in train mode batch norm should use the running statistics, and it does not",
    )
    return "held through .eval() and .train(): the statistics stay, and dropout and weights train"


@grader
def pyramid_by_hand(pyramid: Any) -> str:
    """pyramid(x, one, threes, rates, whole): the branches of v3's ASPP without BN, concatenated."""
    import torch
    import torch.nn.functional as F

    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 9, 11, generator=draw, dtype=torch.float64) + 1
    one = torch.randn(2, 3, 1, 1, generator=draw, dtype=torch.float64)
    whole = torch.rand(2, 3, 1, 1, generator=draw, dtype=torch.float64)  # a positive pooled branch
    threes = [torch.randn(2, 3, 3, 3, generator=draw, dtype=torch.float64) for _ in range(3)]
    rates = (1, 2, 4)

    def convs(rates: Any = rates, paddings: Any = None) -> list[Any]:
        pairs = zip(threes, rates, paddings or rates, strict=True)
        return [F.conv2d(x, w, padding=p, dilation=r) for w, r, p in pairs]

    def spread(mean: Any, weight: Any = whole) -> Any:
        return F.conv2d(mean, weight).expand(2, -1, 9, 11)

    def cat(*branches: Any) -> Any:
        return torch.cat(branches, 1).relu()

    first, mean = F.conv2d(x, one), x.mean((2, 3), keepdim=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output = pyramid(x.clone(), one.clone(), [w.clone() for w in threes], rates, whole.clone())
    expect(isinstance(output, torch.Tensor), f"pyramid returned {type(output).__name__}, no tensor")
    right = cat(first, *convs(), spread(mean))
    mistakes = {
        "the ReLU is missing": torch.cat([first, *convs(), spread(mean)], 1),
        "the branches are summed, as in v2: v3 concatenates them": (
            sum((b.relu() for b in [*convs(), spread(mean)]), first.relu())
        ),
        "summed first, ReLU last: v3 concatenates the branches": (
            (first + sum(convs()) + spread(mean)).relu()
        ),
        "image pooling is missing": cat(first, *convs()),
        "the 1x1 branch is missing: it comes first": cat(*convs(), spread(mean)),
        "the rates are not used: each 3x3 has its own dilation and padding": cat(
            first, *convs((1, 1, 1)), spread(mean)
        ),
        "image pooling takes the mean, not the maximum": cat(
            first, *convs(), spread(x.amax((2, 3), keepdim=True))
        ),
        "the mean runs over the batch too: each image has its own": cat(
            first, *convs(), spread(x.mean((0, 2, 3), keepdim=True).expand(2, -1, 1, 1))
        ),
        "the sum over the map is not the mean: divide by h·w": cat(
            first, *convs(), spread(x.sum((2, 3), keepdim=True))
        ),
        "image pooling lacks its 1x1 convolution, `whole`": cat(
            first, *convs(), mean.expand(-1, -1, 9, 11)
        ),
        "image pooling uses the weights of the 1x1 branch: its own are `whole`": cat(
            first, *convs(), spread(mean, one)
        ),
        "a 1x1 convolution of every position is not pooling: take the mean over the map first": cat(
            first, *convs(), F.conv2d(x, whole)
        ),
        "the ReLU came before the mean: pool what the branch is given": cat(
            first, *convs(), spread(x.relu().mean((2, 3), keepdim=True))
        ),
        "the order is off: first the 1x1, then the 3x3, image pooling last": cat(
            spread(mean), first, *convs()
        ),
    }
    for hint, wrong in mistakes.items():
        if output.shape == wrong.shape:
            expect(not torch.allclose(output, wrong.to(output)), hint)
    shape = tuple(output.shape)
    expect(
        shape == tuple(right.shape),
        f"pyramid gives {shape} for a map of {tuple(x.shape)} and 5 branches of 2 channels: "
        f"expected {tuple(right.shape)}",
    )
    for name, at in (("the 1x1 branch", 0), *((f"rate {r}", i) for i, r in enumerate(rates, 1))):
        same = torch.allclose(
            output[:, 2 * at : 2 * at + 2], right[:, 2 * at : 2 * at + 2].to(output)
        )
        expect(same, f"the shape is right, but {name} is not")
    expect(bool(torch.allclose(output, right.to(output))), "all is right but the image pooling")
    return "1x1, three rates and the mean of the map: 5 branches side by side, as in v3's ASPP"
