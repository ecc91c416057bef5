"""Graders of lesson 08: the family."""

from typing import Any

from deeplab_lite.classroom.exercises.grading import expect, grader


@grader
def paired_by_hand(paired: Any) -> str:
    """paired(first, second, draws): the step in mIoU, and the ends of its 95 % interval."""
    import torch

    from deeplab_lite.metrics import miou, pixel_accuracy

    random = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Any:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    hard = noise(60, 1, 1).exp()  # what makes a scene hard makes it hard for both
    shown = torch.eye(3, dtype=torch.float64) * torch.tensor([900.0, 90.0, 60.0])
    shown = shown * (0.2 + torch.rand(60, 3, 1, generator=random, dtype=torch.float64))
    first, second = (shown + step * hard * (2 + noise(60, 3, 3)).abs() for step in (2.0, 2.6))
    first, second = first.round().long(), second.round().long()
    draws = torch.randint(60, (400, 60), generator=random)
    other = torch.randint(60, (400, 60), generator=random)

    def scores(matrices: Any, of: Any = miou, which: Any = draws) -> Any:
        return of(matrices.double()[which].sum(1))

    def ends(steps: Any, tail: float = 0.025) -> tuple[float, float]:
        low, high = torch.quantile(steps, torch.tensor([tail, 1 - tail], dtype=steps.dtype))
        return float(low), float(high)

    step = float(miou(first.sum(0)) - miou(second.sum(0)))
    mine, theirs = scores(first), scores(second)
    low, high = ends(mine - theirs)
    answer = paired(first.clone(), second.clone(), draws.clone())
    expect(
        isinstance(answer, tuple | list) and len(answer) == 3,
        "return three numbers: the step, the low end and the high end of its interval",
    )
    value, *interval = (float(number) for number in answer)

    def near(number: float, wrong: float) -> bool:
        return abs(number - wrong) < 1e-7

    mistakes = {
        "the step is the wrong way round: how much better is the first?": -step,
        "the step is the mean over the draws: score all scenes once, the draws tell how sure": (
            float((mine - theirs).mean())
        ),
        "the step is a mean of each scene's own mIoU: add up the matrices first, then score": (
            float((miou(first) - miou(second)).mean())
        ),
        "the step is in pixel accuracy: use metrics.miou": (
            float(pixel_accuracy(first.sum(0)) - pixel_accuracy(second.sum(0)))
        ),
    }
    for hint, wrong in mistakes.items():
        expect(not near(value, wrong), hint)
    expect(near(value, step), f"the step is {value:.4f}: miou(first.sum(0)) - miou(second.sum(0))")

    own, others = ends(mine), ends(theirs)
    spread = 1.96 * float((mine - theirs).std())
    by_scene = miou(first) - miou(second)
    intervals: dict[str, tuple[float, float]] = {
        "that is the widest that two separate intervals allow: subtract the scores of each draw, "
        "and take the quantiles of the differences": (own[0] - others[1], own[1] - others[0]),
        "the ends of two separate intervals are subtracted: subtract the scores of each draw, then "
        "take the quantiles": (own[0] - others[0], own[1] - others[1]),
        "low and high are swapped": (high, low),
        "the differences of the draws are the wrong way round": (-high, -low),
        "that is the interval of the first score, not of the step": own,
        "these are the least and the greatest of all draws: return the ends of the middle 95 %": (
            ends(mine - theirs, 0.0)
        ),
        "that leaves out 5 % at each end: 2.5 % and 97.5 % hold the middle 95 %": (
            ends(mine - theirs, 0.05)
        ),
        "1.96 standard deviations to each side suit a normal distribution: take quantiles": (
            step - spread,
            step + spread,
        ),
        "each draw averages its scenes' own mIoU: add up its matrices first, then score": (
            ends(by_scene[draws].nanmean(1))
        ),
        "those are pixel accuracies: use metrics.miou": (
            ends(scores(first, pixel_accuracy) - scores(second, pixel_accuracy))
        ),
        "the second is scored on other draws than the first: use row r of draws for both": (
            ends(mine - scores(second, which=other))
        ),
    }
    for hint, ends_of in intervals.items():
        expect(not (near(interval[0], ends_of[0]) and near(interval[1], ends_of[1])), hint)
    wide = interval[1] - interval[0] > 1.5 * (high - low)
    expect(
        not wide,
        f"the interval [{interval[0]:.4f}, {interval[1]:.4f}] is too wide: are both scored on the "
        "same draws?",
    )
    expect(
        near(interval[0], low) and near(interval[1], high),
        f"the interval is [{interval[0]:.4f}, {interval[1]:.4f}]: expected the 2.5 % and 97.5 % "
        f"quantiles of 400 differences, [{low:.4f}, {high:.4f}]",
    )
    return (
        f"{step:.3f} [{low:.3f}, {high:.3f}], while the scores' own intervals overlap: what makes "
        "a scene hard for both has cancelled"
    )


@grader
def pareto_front(front: Any) -> str:
    """front(points): which rows of N x D are on the front; less is better in every column."""
    import numpy as np

    random = np.random.default_rng(0)
    sets = [
        np.array([[1.0, 9], [2, 5], [3, 6], [4, 4], [4, 4], [5, 4], [6, 1], [2, 7], [9, 2]]),
        random.integers(0, 6, (40, 2)).astype(float),
        random.integers(0, 8, (60, 3)).astype(float),
    ]

    def beaten(points: Any, by: Any) -> Any:
        return np.array([any(by(other, point) for other in points) for point in points])

    def right(points: Any) -> Any:
        return ~beaten(points, lambda o, p: (o <= p).all() and (o < p).any())

    def once(points: Any) -> Any:  # of equal rows the first alone
        _, kept = np.unique(points, axis=0, return_index=True)
        return right(points) & np.isin(np.arange(len(points)), kept)

    answers = []
    for points in sets:
        answer = np.asarray(front(points.copy()))
        expect(
            answer.dtype == bool or answer.ndim != 1 or len(answer) == len(points),
            "those are places: return one True or False for each row",
        )
        expect(
            answer.shape == (len(points),) and answer.dtype == bool,
            f"front returned {answer.dtype} of shape {answer.shape} for {len(points)} points: "
            "expected one True or False for each",
        )
        answers.append(answer)
    mistakes: dict[str, Any] = {
        "no point is left: each is compared with itself, too, and is as good in every column. To "
        "beat it another one must be better in one at least": lambda p: np.zeros(len(p), bool),
        "a point that equals another in one column and is worse in all others stays: better in one "
        "column, and as good in the others, is enough to beat it": (
            lambda p: ~beaten(p, lambda o, q: (o < q).all())
        ),
        "larger counts as better: here less is better in every column": (lambda p: right(-p)),
        "only points that are best in some column are kept: the front has those between, too": (
            lambda p: (p == p.min(0)).any(1)
        ),
        "only the first two columns are looked at": lambda p: right(p[:, :2]),
        "of two points that are equal both are lost: neither is better than the other": (
            lambda p: right(p) & np.array([(p == q).all(1).sum() == 1 for q in p])
        ),
        "of two points that are equal one is lost: neither is better than the other": once,
        "that is the one with the least sum: which sum is a matter of taste, the front is not": (
            lambda p: p.sum(1) == p.sum(1).min()
        ),
        "True and False are swapped: True is for those that nothing beats": lambda p: ~right(p),
        "better in one column is not enough to beat a point: it must not be worse in another": (
            lambda p: ~beaten(p, lambda o, q: (o < q).any())
        ),
    }
    for hint, wrong in mistakes.items():
        mistake = [wrong(points) for points in sets]
        if any((mine != right(points)).any() for mine, points in zip(mistake, sets, strict=True)):
            same = [np.array_equal(*pair) for pair in zip(answers, mistake, strict=True)]
            expect(not all(same), hint)
    for points, answer in zip(sets, answers, strict=True):
        off = np.flatnonzero(answer != right(points))
        expect(
            not len(off),
            f"of {len(points)} points with {points.shape[1]} columns, {len(off)} are judged wrong, "
            f"first {points[off[0]].tolist() if len(off) else ''}: a point is out if another one "
            "is nowhere worse and somewhere better",
        )
    return (
        "a point is out if another is nowhere worse and somewhere better, in any number of columns"
    )


@grader
def asked_again(ask: Any) -> str:
    """ask(network, x, sides): mean probabilities over sides and their mirror images."""
    import torch
    import torch.nn.functional as F

    random = torch.Generator().manual_seed(0)
    kernel = torch.randn(4, 3, 3, 3, generator=random, dtype=torch.float64)
    x = torch.randn(2, 3, 33, 33, generator=random, dtype=torch.float64)
    sides = (17, 33, 49)
    seen: list[tuple[int, ...]] = []

    def network(images: Any) -> Any:
        seen.append(tuple(images.shape))
        side = images.shape[-1]
        ramp = torch.linspace(0, 1, side, dtype=images.dtype)  # left and right differ
        return 2 * F.conv2d(images, kernel.to(images), padding=1) + ramp + 2 * ramp[:, None]

    def resize(y: Any, side: int, corners: bool = True) -> Any:
        return F.interpolate(y, (side, side), mode="bilinear", align_corners=corners)

    def parts(flip: int = -1, back: int = -1, corners: bool = True, sides: Any = sides) -> Any:
        for side in sides:
            small = resize(x, side, corners)
            yield resize(network(small), 33, corners)
            if flip:
                y = resize(network(small.flip(flip)), 33, corners)
                yield y.flip(back) if back else y

    def mean(answers: Any) -> Any:
        return torch.stack([y.softmax(1) for y in answers]).mean(0)

    def votes(answers: Any) -> Any:
        return mean(F.one_hot(y.argmax(1), 4).permute(0, 3, 1, 2) * 1e9 for y in answers)

    right, wholly = mean(parts()), list(parts())
    early = [
        answer
        for side in sides
        for answer in (
            resize(network(resize(x, side)).softmax(1), 33),
            resize(network(resize(x, side).flip(-1)).softmax(1), 33).flip(-1),
        )
    ]
    seen.clear()
    output = ask(network, x.clone(), sides)
    expect(isinstance(output, torch.Tensor), f"ask returned {type(output).__name__}, no tensor")
    widths = {shape[-1] for shape in seen}
    expect(
        widths >= set(sides),
        f"the network was asked at sides {sorted(widths)}: expected all of {list(sides)}",
    )
    mistakes = {
        "the answers for mirror images are not turned back before the mean": mean(parts(back=0)),
        "the images are turned upside down: a mirror image exchanges left and right": (
            mean(parts(flip=-2, back=-2))
        ),
        "the images are mirrored, their answers are turned upside down": mean(parts(back=-2)),
        "the mirror images are missing": mean(parts(flip=0)),
        "those are logits: return probabilities": torch.stack(wholly).mean(0),
        "the logits are averaged, and the softmax taken last: take it of each answer first": (
            torch.stack(wholly).mean(0).softmax(1)
        ),
        "the largest logit of each class, as in v2: here, take the mean of probabilities": (
            torch.stack(wholly).amax(0).softmax(1)
        ),
        "the largest probability of each class: take the mean": (
            torch.stack([y.softmax(1) for y in wholly]).amax(0)
        ),
        "the sum of the probabilities: divide by the number of answers": 6 * right,
        "the softmax is taken twice": right.softmax(1),
        "the votes are counted: a vote forgets how sure it was, average probabilities": (
            votes(wholly)
        ),
        "the corners are not aligned in resizing: align_corners=True": mean(parts(corners=False)),
        "the softmax is taken at the small size: enlarge the logits first": (
            torch.stack(early).mean(0)
        ),
    }
    for hint, wrong in mistakes.items():
        if output.shape == wrong.shape:
            expect(not torch.allclose(output, wrong.to(output)), hint)
    expect(
        output.shape == right.shape,
        f"ask gives {tuple(output.shape)}: expected probabilities {tuple(right.shape)}, of the "
        "image's size",
    )
    expect(bool(torch.allclose(output, right.to(output))), "the shape is right, the values are not")
    return "six answers, each turned back and enlarged, one mean: v3's way of asking again"
