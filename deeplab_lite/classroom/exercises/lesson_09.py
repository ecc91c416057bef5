"""Graders of lesson 09: your own data."""

import random
from collections import Counter, OrderedDict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from deeplab_lite.classroom.exercises.grading import expect, grader
from deeplab_lite.labels import IGNORE


@grader
def colours_to_classes(class_ids: Any) -> str:
    """class_ids(mask, palette): H x W x 3 colours to H x W classes, 255 where no colour matches."""
    import numpy as np

    edges = [[64, 0, 0], [127, 128, 0], [0, 0, 1], [128, 128, 128]]  # as smoothing mixes them
    shapes = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    streets = [[128, 64, 128], [244, 35, 232], [70, 130, 180], [0, 0, 142], [142, 0, 0]]
    others = [[0, 0, 0], [128, 64, 127], [99, 97, 154], [35, 17, 142]]
    draw = np.random.default_rng(0)
    masks, palettes, rights, answers = [], [], [], []
    for named, mixed in ((shapes, edges), (streets, others)):
        place = draw.permutation(np.arange(6 * 9) % len(named + mixed)).reshape(6, 9)
        palettes.append(np.array(named, np.uint8))
        masks.append(np.array(named + mixed, np.uint8)[place])
        rights.append(np.where(place < len(named), place, IGNORE))
    for mask, palette in zip(masks, palettes, strict=True):
        answer = np.asarray(class_ids(mask.copy(), palette.copy()))
        sizes = {
            (6, 9, 3): "those are three numbers for each pixel: all channels together are a class",
            (6, 9, 5): "that has one entry for each class: name the class that matches",
            (9, 6): "rows and columns are exchanged: the classes are H x W, as the mask",
        }
        hint = sizes.get(answer.shape, "expected one class for each pixel")
        expect(answer.shape == (6, 9), f"a mask of (6, 9, 3) became {answer.shape}: {hint}")
        expect(
            answer.dtype.kind in "ui",
            f"the classes are {answer.dtype}: expected whole numbers, uint8; "
            "np.full and np.zeros make floats unless told a dtype",
        )
        answers.append(answer.astype(np.int64))

    def mistaken(matches: Any) -> bool:  # judged where the palette has the colour
        for mask, palette, answer, right in zip(masks, palettes, answers, rights, strict=True):
            hits = matches(mask[right < IGNORE].astype(int)[:, None], palette.astype(int))
            first, last = hits.argmax(-1), len(palette) - 1 - hits[:, ::-1].argmax(-1)
            if not any(np.array_equal(answer[right < IGNORE], by) for by in (first, last)):
                return False
        return True

    def first_wrong() -> str:
        for mask, answer, right in zip(masks, answers, rights, strict=True):
            for y, x in np.argwhere(answer != right)[:1].tolist():
                its = "no colour" if right[y, x] == IGNORE else f"colour {right[y, x]}"
                return (
                    f"pixel ({y}, {x}) is {tuple(mask[y, x].tolist())}, {its} of the palette: "
                    f"expected {right[y, x]}, not {answer[y, x]}"
                )
        return ""

    every = "though all three have to be equal"
    mistakes: dict[str, Any] = {
        f"one channel that is equal was enough, {every}": lambda m, p: (m == p).any(-1),
        f"only red is compared, {every}": lambda m, p: (m == p)[..., 0],
        f"only green is compared, {every}": lambda m, p: (m == p)[..., 1],
        f"only blue is compared, {every}": lambda m, p: (m == p)[..., 2],
        f"the sums of the channels are compared, {every}": lambda m, p: m.sum(-1) == p.sum(-1),
    }
    for hint, matches in mistakes.items():
        expect(not mistaken(matches), f"{hint}: {first_wrong()}")
    pairs = list(zip(answers, rights, strict=True))
    known = [(answer[right < IGNORE], right[right < IGNORE]) for answer, right in pairs]
    later = all(np.array_equal(answer, right + 1) for answer, right in known)
    expect(not later, f"the classes begin at 0, not at 1: {first_wrong()}")
    expect(all(np.array_equal(*pair) for pair in known), first_wrong())

    strange = {int(value) for answer, right in pairs for value in answer[right == IGNORE]}
    zero = "that became class 0, and is trained as such: begin with 255 everywhere"
    near = "near is not equal, and smoothing mixes colours, often to almost that of a third class"
    hint = zero if strange == {0} else near if strange & set(range(5)) else "255 marks what is none"
    expect(strange == {IGNORE}, f"{first_wrong()}: {hint}")
    expect(
        answer.dtype == np.uint8,
        f"the classes are right, and {answer.dtype}: expected uint8, as PNG stores them",
    )
    lost = sum(int((right == IGNORE).sum()) for right in rights)
    return f"each colour its class, and 255 at {lost} of {12 * 9} pixels whose colour is no one's"


# Frames of each sequence. Some names hold a '-', some begin alike, and some sort by their length.
TOWN = {"north": 12, "south": 7, "harbour": 20, "old-town": 5, "old-mill": 9, "station": 17}
WALK = {f"walk-{place}": 6 + 2 * n for n, place in enumerate(("east", "gate", "park", "quay"))}
LONG_FIRST = {f"a{n}": 10 for n in range(5)} | {f"b{n:02d}": 2 for n in range(15)}
CLIPS = {f"clip{n}": 1 for n in range(300)}  # many, so that the order of a set is seen to change


def _sequence(name: str) -> str:
    return name.rpartition("-")[0]


@grader
def honest_split(split: Any) -> str:
    """split(names, share): (train, val) of whole sequences, the same for any order of names."""
    for sizes, share in ((LONG_FIRST, 0.2), (WALK, 0.3), (TOWN, 0.2), (TOWN, 0.45), (CLIPS, 0.4)):
        names = [f"{s}-{n:04d}.png" for s, frames in sizes.items() for n in range(1, frames + 1)]
        draw = random.Random(1402)  # no seed that a reader takes
        mixed, *others = (draw.sample(names, len(names)) for _ in range(9))
        answer = _halves(split, mixed, share)
        _judge_split(mixed, share, *answer)
        expect(
            _halves(split, mixed, share) == answer,
            "two calls with the same names give two splits: scores of different days could not be "
            "compared. Draw with random.Random(0), or do not draw",
        )
        for other in (sorted(mixed), *others):
            expect(
                _halves(split, other, share) == answer,
                "the same names in another order give another split, and folders are listed in "
                "another order on another machine: sort the sequences first",
            )
    return "whole sequences to one side each, whatever the order: val shows places never trained on"


def _halves(split: Any, names: list[str], share: float) -> tuple[list[str], list[str]]:
    answer = split(list(names), share)
    two = isinstance(answer, tuple | list) and len(answer) == 2
    expect(two, "return two lists of names: train, val")
    train, val = (sorted(map(str, part)) for part in answer)
    strange = _first(set(train + val) - set(names))
    hint = ", but a sequence: return all names of it" if strange in map(_sequence, names) else ""
    expect(not strange, f"{strange!r} is none of the names{hint}")
    return train, val


def _first(names: Iterable[str]) -> str:
    return min(names, default="")


def _judge_split(names: list[str], share: float, train: list[str], val: list[str]) -> None:
    sizes = Counter(map(_sequence, names))
    both, lost = set(train) & set(val), set(names) - {*train, *val}
    expect(not both, f"{_first(both)} is in train and in val")
    expect(not lost, f"{len(lost)} of {len(names)} names are lost, as {_first(lost)}")
    expect(len(train) + len(val) == len(names), "a name stands twice in one of the two")

    shared = sorted({_sequence(name) for name in train} & {_sequence(name) for name in val})
    if shared:
        frames = sorted(name for name in names if _sequence(name) == shared[0])
        one, after = next(p for p in pairwise(frames) if (p[0] in val) != (p[1] in val))
        cut = any(
            set(val) in (set(order[: len(val)]), set(order[-len(val) :]))
            for order in (names, sorted(names))
        )
        way = "a cut through the list goes through a sequence" if cut else "names are drawn singly"
        halves = ("val", "train") if one in val else ("train", "val")
        expect(
            False,
            f"{one} is in {halves[0]} and {after} in {halves[1]}, a frame later, nearly the "
            f"same picture: {way}; give whole sequences to one side or the other",
        )
    firsts = {name.partition("-")[0] for name in names}
    expect(
        bool(train and val) or len(firsts) > 1,
        f"all of {sorted(sizes)} went to one side: a sequence is what stands before the last '-', "
        "not before the first",
    )
    least, longest = share * len(names), max(sizes.values())

    def fits(part: list[str]) -> bool:
        return least - 1e-9 <= len(part) < least + longest - 1e-9

    numbers = (
        f"val holds {len(val)} of {len(names)} names at share {share}: expected {least:.4g} or "
        f"more, but less than {least + longest:.4g}, as the longest sequence has {longest}"
    )
    expect(fits(val) or not fits(train), f"train and val are exchanged. {numbers}")
    by_sequences = len({_sequence(name) for name in val}) == share * len(sizes)
    hint = "share counts names, not sequences, which differ in length. " if by_sequences else ""
    expect(fits(val), hint + numbers)


@grader
def frozen_part(freeze: Any) -> str:
    """freeze(model, part): no number of that part moves in training, all else still learns."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        counts = [_judge_freeze(freeze, part) for part in ("backbone", "head")]
    return (
        f"through .eval() and .train() all {counts[0]} numbers of the backbone stood still, and "
        "the head learnt; then the other way round"
    )


def _small_network() -> Any:
    from torch import nn

    def block(entering: int, leaving: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(entering, leaving, 3, padding=1), nn.BatchNorm2d(leaving), nn.ReLU()
        )

    backbone = nn.Sequential(block(3, 4), block(4, 6))
    head = nn.Sequential(block(6, 5), nn.Conv2d(5, 3, 1))
    return nn.Sequential(OrderedDict(backbone=backbone, dropout=nn.Dropout(0.5), head=head))


def _judge_freeze(freeze: Any, part: str) -> int:
    """Freeze one part, train as a loop does, and see what moved. How many numbers the part has."""
    import torch
    from torch import nn

    model = _small_network()
    images, labels = torch.randn(6, 3, 9, 9), torch.randint(3, (6, 9, 9))
    for _ in range(3):  # running statistics of their own
        model(2 * images + 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    answer = freeze(model, part)
    expect(
        answer is model or answer is None,
        "freeze should change the model that it is given, and return it",
    )
    now = model.state_dict()
    same = now.keys() == before.keys() and all(map(torch.equal, now.values(), before.values()))
    expect(same, "weights or statistics changed in freezing: they are to stay as they are")
    frozen = model.get_submodule(part)
    norms = [m for m in frozen.modules() if isinstance(m, nn.BatchNorm2d)]
    once = not any(norm.training for norm in norms)

    model.eval()  # as a loop does to validate
    model.train()
    rest = [p for n, p in model.named_parameters() if not n.startswith(part)]
    inside = [p for n, p in model.named_parameters() if n.startswith(part)]
    held = not any(p.requires_grad for p in inside)
    expect(
        all(p.requires_grad for p in rest),
        f"more than {part!r} is frozen: the rest of the model should learn"
        + ("" if held else f", and {part!r} should not: use the name that is given"),
    )
    live = [m for n, m in model.named_modules() if n and not n.startswith(part)]
    expect(
        all(m.training for m in live),
        f"more than {part!r} is held in eval mode: dropout and the other batch norm layers have to "
        "come back with .train()",
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        expect(
            loss.requires_grad,
            f"no gradient passes {part!r}, so nothing before it learns: leave its forward as it "
            "is, without no_grad or detach; requires_grad_(False) of its parameters is enough",
        )
        loss.backward()
        optimizer.step()
    within = {n: v for n, v in model.state_dict().items() if n.startswith(part) and v.ndim}
    moved = {n for n, v in within.items() if not torch.equal(v, before[n])}  # a count may
    _name_what_moved(moved, part, model, once, held)
    with torch.no_grad():
        x = torch.randn(2, inside[0].shape[1], 9, 9)
        training = frozen(x)
        frozen.eval()
        same = torch.allclose(training, frozen(x), atol=1e-6)
    expect(
        same,
        f"no number moves, but in train mode the batch norm of {part!r} still normalises with each "
        "batch's own statistics, momentum 0 or not: it has to stay in eval mode",
    )
    return sum(v.numel() for n, v in before.items() if n.startswith(part) and v.ndim)


def _name_what_moved(moved: set[str], part: str, model: Any, once: bool, held: bool) -> None:
    """Raise Wrong for a part of which anything moved, by the kind of what did."""
    from torch import nn

    parameters = dict(model.named_parameters())
    norms = {n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    weights, statistics = moved & parameters.keys(), moved - parameters.keys()
    gradients = [parameters[name].grad for name in weights]
    learns = "" if held else "; the weights learn, too: requires_grad_(False) holds these"
    causes = {
        f".eval() is undone by the next model.train(){learns}": statistics and once,
        "requires_grad_(False) holds the weights, but running statistics are no parameters: every "
        "batch moves them, unless batch norm is in eval mode": statistics and held,
        f"{part!r} is not frozen, or not all of it": statistics,
        "its gradient is 0, but weight decay and momentum move it: with requires_grad False the "
        "optimizer leaves it out": not any(g is None or g.any() for g in gradients),
        "scale and shift of batch norm are parameters, and still learn": (
            all(name.rpartition(".")[0] in norms for name in weights)
        ),
        "the statistics are held, the weights still learn: requires_grad_(False) holds them": True,
    }
    for cause, so in causes.items():
        expect(not (moved and so), f"{min(moved, default='')} moved: {cause}")
