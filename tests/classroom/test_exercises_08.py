"""The graders of lesson 08: stubs, right answers, and each misconception by its name."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deeplab_lite.classroom import exercises as check
from deeplab_lite.classroom.exercises import lesson_08
from deeplab_lite.metrics import miou, pixel_accuracy


def said(capsys, grader, answer):
    grader(answer)
    return capsys.readouterr().out


# ---- The paired interval ----


def quantiles(values, low=0.025, high=0.975):
    return torch.quantile(values, torch.tensor([low, high], dtype=values.dtype)).tolist()


def paired(
    step=lambda a, b: miou(a.sum(0)) - miou(b.sum(0)),
    drawn=lambda a, d: miou(a[d].sum(1)),
    ends=lambda one, other: quantiles(one - other),
):
    return lambda a, b, d: (step(a, b), *ends(drawn(a, d), drawn(b, d)))


def separately(a, b, d):
    """The widest that two intervals allow."""
    (low, high), (least, most) = quantiles(miou(a[d].sum(1))), quantiles(miou(b[d].sum(1)))
    return miou(a.sum(0)) - miou(b.sum(0)), low - most, high - least


def shuffled(a, b, d):
    """The draws of the second are other ones."""
    steps = miou(a[d].sum(1)) - miou(b[d].sum(1)).flip(0)
    return miou(a.sum(0)) - miou(b.sum(0)), *quantiles(steps)


def about(one, other):
    middle, spread = (one - other).mean(), 1.5 * (one - other).std()
    return middle - spread, middle + spread


@pytest.mark.parametrize(
    "answer, start",
    [
        (..., "· not attempted yet"),
        (lambda a, b, d: ..., "· not attempted yet"),
        (lambda a, b, d: (..., 0, 1), "· not attempted yet"),
        (paired(), "✓ 0.031 [0.015, 0.046], while the scores' own intervals overlap"),
        (paired(ends=lambda x, y: np.quantile((x - y).numpy(), [0.025, 0.975])), "✓ 0.031"),
        (paired(lambda a, b: miou(b.sum(0)) - miou(a.sum(0))), "✗ the step is the wrong way"),
        (paired(lambda a, b: (miou(a) - miou(b)).mean()), "✗ the step is a mean of each scene's"),
        (
            paired(lambda a, b: pixel_accuracy(a.sum(0)) - pixel_accuracy(b.sum(0))),
            "✗ the step is in pixel accuracy",
        ),
        (
            lambda a, b, d: ((miou(a[d].sum(1)) - miou(b[d].sum(1))).mean(), 0, 0),
            "✗ the step is the mean over the draws",
        ),
        (paired(lambda a, b: 0.5), "✗ the step is 0.5000: miou(first.sum(0))"),
        (separately, "✗ that is the widest that two separate intervals allow"),
        (
            paired(
                ends=lambda x, y: np.subtract(quantiles(x), quantiles(y)),
            ),
            "✗ the ends of two separate intervals are subtracted",
        ),
        (paired(ends=lambda x, y: quantiles(x - y)[::-1]), "✗ low and high are swapped"),
        (paired(ends=lambda x, y: quantiles(y - x)), "✗ the differences of the draws are the"),
        (paired(ends=lambda x, y: quantiles(x)), "✗ that is the interval of the first score"),
        (paired(ends=lambda x, y: quantiles(x - y, 0, 1)), "✗ these are the least and the great"),
        (paired(ends=lambda x, y: quantiles(x - y, 0.05, 0.95)), "✗ that leaves out 5 % at each"),
        (
            lambda a, b, d: (
                (step := miou(a.sum(0)) - miou(b.sum(0))),
                step - (wide := 1.96 * (miou(a[d].sum(1)) - miou(b[d].sum(1))).std()),
                step + wide,
            ),
            "✗ 1.96 standard deviations to each side",
        ),
        (paired(drawn=lambda a, d: miou(a)[d].nanmean(1)), "✗ each draw averages its scenes' own"),
        (paired(drawn=lambda a, d: pixel_accuracy(a[d].sum(1))), "✗ those are pixel accuracies"),
        (shuffled, "✗ the interval ["),
        (paired(ends=about), "✗ the interval is ["),
        (lambda a, b, d: 0.3, "✗ return three numbers"),
        (lambda a, b: 0.3, "✗ your code stopped with TypeError"),
        (0.3, "✗ your code stopped with TypeError"),
    ],
)
def test_paired_by_hand(answer, start, capsys):
    assert said(capsys, check.paired_by_hand, answer).startswith(start)


def test_other_draws_give_too_wide_an_interval(capsys):
    assert "is too wide: are both scored on the same draws" in said(
        capsys, check.paired_by_hand, shuffled
    )


# ---- The front ----


def front(beats=lambda o, p: (o <= p).all() and (o < p).any()):
    return lambda points: np.array([not any(beats(o, p) for o in points) for p in points])


def by_columns(points, columns):
    return front()(points[:, columns])


def one_of_equals(points):
    kept, seen = front()(points), set()
    for place, point in enumerate(map(tuple, points)):
        kept[place] &= point not in seen
        seen.add(point)
    return kept


@pytest.mark.parametrize(
    "answer, start",
    [
        (..., "· not attempted yet"),
        (lambda points: ..., "· not attempted yet"),
        (front(), "✓ a point is out if another is nowhere worse and somewhere better"),
        (lambda points: front()(points).tolist(), "✓ a point is out"),
        (front(lambda o, p: (o <= p).all()), "✗ no point is left"),
        (front(lambda o, p: (o < p).all()), "✗ a point that equals another in one column"),
        (front(lambda o, p: (o >= p).all() and (o > p).any()), "✗ larger counts as better"),
        (front(lambda o, p: (o < p).any()), "✗ better in one column is not enough"),
        (lambda points: (points == points.min(0)).any(1), "✗ only points that are best in some"),
        (lambda points: by_columns(points, [0, 1]), "✗ only the first two columns"),
        (one_of_equals, "✗ of two points that are equal one is lost"),
        (
            lambda points: (
                front()(points) & np.array([(points == p).all(1).sum() == 1 for p in points])
            ),
            "✗ of two points that are equal both are lost",
        ),
        (lambda points: points.sum(1) == points.sum(1).min(), "✗ that is the one with the least"),
        (lambda points: ~front()(points), "✗ True and False are swapped"),
        (lambda points: np.flatnonzero(front()(points)), "✗ those are places: return one True"),
        (lambda points: points, "✗ front returned float64 of shape (9, 2)"),
        (lambda points: np.ones(len(points), bool), "✗ of 9 points with 2 columns, "),
        (lambda: 1, "✗ your code stopped with TypeError"),
    ],
)
def test_pareto_front(answer, start, capsys):
    assert said(capsys, check.pareto_front, answer).startswith(start)


# ---- Asking again ----


def resize(x, side, corners=True):
    return F.interpolate(x, (side, side), mode="bilinear", align_corners=corners)


def ask(
    flip=-1, back=-1, corners=True, early=False, each=lambda y: y.softmax(1),
    last=lambda answers: answers.mean(0),
):  # fmt: skip
    def answer(network, x, sides):
        answers = []
        for side in sides:
            seen = resize(x, side, corners)
            for mirrored in (False, True)[: 1 + bool(flip)]:
                y = network(seen.flip(flip) if mirrored else seen)
                y = each(y) if early else y
                y = resize(y, x.shape[-1], corners)
                y = y if early else each(y)
                answers.append(y.flip(back) if mirrored and back else y)
        return last(torch.stack(answers))

    return answer


def vote(y):
    return F.one_hot(y.argmax(1), y.shape[1]).permute(0, 3, 1, 2).to(y)


@pytest.mark.parametrize(
    "answer, start",
    [
        (..., "· not attempted yet"),
        (lambda network, x, sides: ..., "· not attempted yet"),
        (ask(), "✓ six answers, each turned back and enlarged"),
        (lambda network, x, sides: ask()(network, x, sides[::-1]), "✓ six answers"),
        (ask(back=0), "✗ the answers for mirror images are not turned back"),
        (ask(flip=-2, back=-2), "✗ the images are turned upside down"),
        (ask(back=-2), "✗ the images are mirrored, their answers are turned upside down"),
        (ask(flip=0), "✗ the mirror images are missing"),
        (ask(each=lambda y: y), "✗ those are logits"),
        (ask(each=lambda y: y, last=lambda a: a.mean(0).softmax(1)), "✗ the logits are averaged"),
        (ask(each=lambda y: y, last=lambda a: a.amax(0).softmax(1)), "✗ the largest logit of each"),
        (ask(last=lambda a: a.amax(0)), "✗ the largest probability of each class"),
        (ask(last=lambda a: a.sum(0)), "✗ the sum of the probabilities"),
        (ask(last=lambda a: a.mean(0).softmax(1)), "✗ the softmax is taken twice"),
        (ask(each=vote), "✗ the votes are counted"),
        (ask(corners=False), "✗ the corners are not aligned"),
        (ask(early=True), "✗ the softmax is taken at the small size"),
        (ask(last=lambda a: a.mean(0).argmax(1)), "✗ ask gives (2, 33, 33): expected prob"),
        (ask(last=lambda a: a.median(0).values), "✗ the shape is right, the values are not"),
        (lambda n, x, sides: ask()(n, x, sides[:1]), "✗ the network was asked at sides [17]"),
        (lambda n, x, sides: 1, "✗ ask returned int, no tensor"),
        (lambda x: x, "✗ your code stopped with TypeError"),
    ],
)
def test_asked_again(answer, start, capsys):
    assert said(capsys, check.asked_again, answer).startswith(start)


def test_every_grader_is_exported():
    assert {"paired_by_hand", "pareto_front", "asked_again"} <= set(check.__all__)
    assert check.asked_again is lesson_08.asked_again
