"""The graders of lesson 09: stubs, right answers, and each misconception by its name."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from deeplab_lite.classroom import exercises as check
from deeplab_lite.classroom.exercises import lesson_09
from deeplab_lite.models.base import freeze_batch_norm
from deeplab_lite.workshop.train.start_from import freeze as hold_batch_norm


def said(capsys, grader, answer):
    grader(answer)
    return capsys.readouterr().out


# ---- Colours to classes ----


def class_ids(matches=lambda m, p: (m == p).all(-1), begin=255, first=0, dtype=np.uint8):
    def answer(mask, palette):
        ids = np.full(mask.shape[:2], begin, dtype)
        for number, colour in enumerate(palette.astype(int), first):
            ids[matches(mask.astype(int), colour)] = number
        return ids

    return answer


def nearest(mask, palette, distance=lambda d: (d**2).sum(-1)):
    steps = mask[:, :, None].astype(int) - palette.astype(int)
    return distance(steps).argmin(-1).astype(np.uint8)


def equal(mask, palette):
    return (mask[:, :, None] == palette).all(-1)


def tolerant(mask, palette):
    close = (np.abs(mask[:, :, None].astype(int) - palette.astype(int)) <= 2).all(-1)
    return np.where(close.any(-1), close.argmax(-1), 255).astype(np.uint8)


def channel(number):
    return class_ids(lambda m, colour: m[..., number] == colour[number])


@pytest.mark.parametrize(
    "answer, start",
    [
        (..., "· not attempted yet"),
        (lambda mask, palette: ..., "· not attempted yet"),
        (class_ids(), "✓ each colour its class, and 255 at 48 of 108 pixels whose colour"),
        (
            lambda m, p: np.where(equal(m, p).any(-1), equal(m, p).argmax(-1), 255).astype("uint8"),
            "✓ each colour its class",
        ),
        (
            lambda m, p: torch.from_numpy(class_ids()(m, p)),
            "✓ each colour its class",
        ),
        (
            nearest,
            "✗ pixel (0, 4) is (64, 0, 0), no colour of the palette: expected 255, not 0: n",
        ),
        (lambda m, p: nearest(m, p, lambda d: abs(d).sum(-1)), "✗ pixel (0, 4) is (64, 0, 0), no "),
        (
            tolerant,
            "✗ pixel (0, 8) is (0, 0, 1), no colour of the palette: expected 255, not 0: n",
        ),
        (
            class_ids(begin=0),
            "✗ pixel (0, 4) is (64, 0, 0), no colour of the palette: expected 255",
        ),
        (lambda m, p: equal(m, p).argmax(-1), "✗ pixel (0, 4) is (64, 0, 0), no colour of the pal"),
        (
            class_ids(begin=254),
            "✗ pixel (0, 4) is (64, 0, 0), no colour of the palette: expected 2",
        ),
        (class_ids(begin=-1, dtype=np.int64), "✗ pixel (0, 4) is (64, 0, 0), no colour of the pal"),
        (class_ids(lambda m, p: (m == p).any(-1)), "✗ one channel that is equal was enough"),
        (channel(0), "✗ only red is compared, though all three have to be equal: pixel (0, "),
        (channel(1), "✗ only green is compared"),
        (channel(2), "✗ only blue is compared"),
        (class_ids(lambda m, p: m.sum(-1) == p.sum(-1)), "✗ the sums of the channels are compared"),
        (class_ids(first=1), "✗ the classes begin at 0, not at 1"),
        (lambda m, p: class_ids()(m, p[:, ::-1]), "✗ pixel (0, "),
        (class_ids(dtype=np.float32), "✗ the classes are float32: expected whole numbers"),
        (class_ids(dtype=np.int64), "✗ the classes are right, and int64: expected uint8"),
        (lambda m, p: m, "✗ a mask of (6, 9, 3) became (6, 9, 3): those are three numbers"),
        (equal, "✗ a mask of (6, 9, 3) became (6, 9, 5): that has one entry for each class"),
        (lambda m, p: class_ids()(m, p).T, "✗ a mask of (6, 9, 3) became (9, 6): rows and col"),
        (lambda m, p: 5, "✗ a mask of (6, 9, 3) became (): expected one class for each pixel"),
        (lambda mask: 5, "✗ your code stopped with TypeError"),
    ],
)
def test_colours_to_classes(answer, start, capsys):
    assert said(capsys, check.colours_to_classes, answer).startswith(start)


@pytest.mark.parametrize(
    "answer, hint",
    [
        (
            nearest,
            "near is not equal, and smoothing mixes colours, often to almost that of a third",
        ),
        (tolerant, "near is not equal"),
        (class_ids(begin=0), "that became class 0, and is trained as such"),
        (class_ids(begin=254), "255 marks what is none"),
        (class_ids(begin=-1, dtype=np.int64), "255 marks what is none"),
    ],
)
def test_what_became_of_colours_that_no_class_has(answer, hint, capsys):
    assert hint in said(capsys, check.colours_to_classes, answer)


# ---- A split that does not leak ----


def by_sequence(names, of=lambda name: name.rpartition("-")[0]):
    found = {}
    for name in names:
        found.setdefault(of(name), []).append(name)
    return found


def split(
    order=sorted, of=lambda name: name.rpartition("-")[0], more=lambda n, part, asked: n < asked
):
    """Give val whole sequences in some order while `more` says so."""

    def answer(names, share):
        train, val = [], []
        for sequence in order(sequences := by_sequence(names, of)):
            part = sequences[sequence]
            (val if more(len(val), len(part), share * len(names)) else train).extend(part)
        return train, val

    return answer


def drawn(seed):
    return lambda sequences: random.Random(seed).sample(sorted(sequences), len(sequences))


def cut(prepare=sorted):
    def answer(names, share):
        names, count = prepare(names), round(share * len(names))
        return names[count:], names[:count]

    return answer


def every_fifth(names, share):
    names = sorted(names)
    val = names[:: round(1 / share)]
    return [name for name in names if name not in val], val


def share_of_sequences(order):
    def answer(names, share):
        listed = order(sequences := by_sequence(names))
        count = round(share * len(listed))
        val = [name for sequence in listed[:count] for name in sequences[sequence]]
        return [name for name in names if name not in val], val

    return answer


def names_of_sequences(names, share):
    sequences = sorted(by_sequence(names))
    return sequences[2:], sequences[:2]


def changed(change):
    return lambda names, share: change(*split()(names, share))


@pytest.mark.parametrize(
    "answer, start",
    [
        (..., "· not attempted yet"),
        (lambda names, share: ..., "· not attempted yet"),
        (lambda names, share: (..., ...), "· not attempted yet"),
        (split(), "✓ whole sequences to one side each, whatever the order"),
        (split(drawn(0)), "✓ whole sequences"),
        (split(drawn(1)), "✓ whole sequences"),
        (split(lambda sequences: sorted(sequences)[::-1]), "✓ whole sequences"),
        (changed(lambda train, val: [set(train), set(val)]), "✓ whole sequences"),
        (cut(), "✗ a1-0006.png is in val and a1-0007.png in train, a frame later, nearly the sa"),
        (cut(list), "✗ a0-"),
        (cut(lambda names: random.sample(names, len(names))), "✗ a0-"),
        (cut(lambda names: random.Random(0).sample(sorted(names), len(names))), "✗ a0-"),
        (every_fifth, "✗ a0-0001.png is in val and a0-0002.png in train, a frame later, nearly"),
        (split(of=lambda name: name.partition("-")[0]), "✗ all of ['walk-east', 'walk-gate', "),
        (
            split(of=lambda name: name[0]),
            "✗ val holds 50 of 80 names at share 0.2: expected 16 or m",
        ),
        (
            split(more=lambda n, part, asked: n + part < asked),
            "✗ val holds 14 of 80 names at share 0.2: expected 16 or more, but less than 26",
        ),
        (
            split(more=lambda n, part, asked: n + part <= asked),
            "✗ val holds 6 of 36 names at share 0.3: expected 10.8 or more, but less than 22.8",
        ),
        (share_of_sequences(sorted), "✗ share counts names, not sequences, which differ in len"),
        (share_of_sequences(lambda s: sorted(s)[::-1]), "✗ share counts names, not sequences"),
        (split(list), "✗ the same names in another order give another split"),
        (split(lambda s: random.Random(0).sample(list(s), len(s))), "✗ the same names in another"),
        (split(lambda s: random.sample(sorted(s), len(s))), "✗ two calls with the same names give"),
        (changed(lambda train, val: (val, train)), "✗ train and val are exchanged. val holds 60"),
        (changed(lambda train, val: (train, train)), "✗ a2-0001.png is in train and in val"),
        (changed(lambda train, val: (train + val, val)), "✗ a0-0001.png is in train and in val"),
        (changed(lambda train, val: (train[1:], val)), "✗ 1 of 80 names are lost, as a2-00"),
        (changed(lambda train, val: (train + train[:1], val)), "✗ a name stands twice"),
        (changed(lambda train, val: (train, [v[:-4] for v in val])), "✗ 'a0-0001' is none of the"),
        (names_of_sequences, "✗ 'a0' is none of the names, but a sequence: return all names of it"),
        (changed(lambda train, val: train), "✗ return two lists of names"),
        (lambda names, share: 5, "✗ return two lists of names"),
        (lambda names: 5, "✗ your code stopped with TypeError"),
    ],
)
def test_honest_split(answer, start, capsys):
    random.seed(0)
    assert said(capsys, check.honest_split, answer).startswith(start)


@pytest.mark.parametrize(
    "answer, way",
    [
        (cut(), "a cut through the list goes through a sequence"),
        (cut(list), "a cut through the list goes through a sequence"),
        (every_fifth, "names are drawn singly"),
        (
            cut(lambda names: random.Random(0).sample(sorted(names), len(names))),
            "names are drawn singly",
        ),
    ],
)
def test_how_a_split_leaks(answer, way, capsys):
    assert f"nearly the same picture: {way}; give whole sequences" in said(
        capsys, check.honest_split, answer
    )


# ---- Frozen stays frozen ----


def freeze(*steps):
    """Each step is called with the part."""

    def answer(model, part):
        for step in steps:
            step(model.get_submodule(part))
        return model

    return answer


def hold_weights(part):
    part.requires_grad_(False)


def stay(part):
    part.eval()
    part.train = lambda mode=True: part


def stay_without_return(part):
    part.eval()
    part.train = lambda mode=True: None


def no_momentum(part):
    for layer in norms(part):
        layer.momentum = 0.0


def norms(part):
    return [layer for layer in part.modules() if isinstance(layer, nn.BatchNorm2d)]


def no_gradient(part):
    for parameter in part.parameters():
        parameter.register_hook(torch.zeros_like)


def hold_convolutions(part):
    for parameter in part.parameters():
        parameter.requires_grad_(parameter.ndim == 1)


def hold_scales(part):
    for layer in norms(part):
        layer.requires_grad_(False)


def detached(part):
    part.register_forward_pre_hook(lambda layer, inputs: (inputs[0].detach(),))


def outermost(part):
    for layer in part.children():
        if isinstance(layer, nn.BatchNorm2d):
            stay(layer)


def reset(part):
    for layer in norms(part):
        layer.reset_running_stats()


def untracked(part):
    for layer in norms(part):
        layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None


def by_package(model, part):
    hold_batch_norm(model, "backbone") if part == "backbone" else freeze_batch_norm(model.head)
    model.get_submodule(part).requires_grad_(False)


def whole_model(model, part):
    model.requires_grad_(False)


def whole_in_eval(model, part):
    hold_weights(model.get_submodule(part))
    stay(model)


@pytest.mark.parametrize(
    "answer, start",
    [
        (..., "· not attempted yet"),
        (lambda model, part: ..., "· not attempted yet"),
        (freeze(hold_weights, stay), "✓ through .eval() and .train() all 374 numbers of the back"),
        (freeze(stay, hold_weights), "✓ through .eval()"),
        (freeze(stay_without_return, hold_weights), "✓ through .eval()"),
        (freeze(freeze_batch_norm, hold_weights), "✓ through .eval()"),
        (by_package, "✓ through .eval()"),
        (freeze(), "✗ backbone.0.0.bias moved: 'backbone' is not frozen, or not all of it"),
        (freeze(hold_weights), "✗ backbone.0.1.running_mean moved: requires_grad_(False) holds th"),
        (freeze(hold_weights, nn.Module.eval), "✗ backbone.0.1.running_mean moved: .eval() is un"),
        (freeze(nn.Module.eval), "✗ backbone.0.0.bias moved: .eval() is undone by the next"),
        (lambda model, part: model.eval(), "✗ backbone.0.0.bias moved: .eval() is undone by the"),
        (freeze(stay), "✗ backbone.0.0.bias moved: the statistics are held, the weights still"),
        (freeze(freeze_batch_norm), "✗ backbone.0.0.bias moved: the statistics are held, the wei"),
        (freeze(freeze_batch_norm, hold_scales), "✗ backbone.0.0.bias moved: the statistics are"),
        (
            lambda model, part: hold_batch_norm(model, "backbone"),
            "✗ backbone.0.0.bias moved: the statistics are held, the weights still learn",
        ),
        (freeze(stay, hold_convolutions), "✗ backbone.0.0.bias moved: the statistics are held"),
        (
            freeze(stay, no_gradient),
            "✗ backbone.0.0.bias moved: its gradient is 0, but weight decay",
        ),
        (freeze(hold_weights, outermost), "✗ backbone.0.1.running_mean moved: requires_grad_(F"),
        (freeze(hold_weights, no_momentum), "✗ no number moves, but in train mode the batch norm"),
        (freeze(hold_weights, stay, detached), "✗ no gradient passes 'head'"),
        (whole_model, "✗ more than 'backbone' is frozen: the rest of the model should learn"),
        (whole_in_eval, "✗ more than 'backbone' is held in eval mode: dropout"),
        (
            lambda model, part: freeze(hold_weights, stay)(model, "backbone"),
            "✗ more than 'head' is frozen: the rest of the model should learn, and 'head' should",
        ),
        (freeze(hold_weights, stay, reset), "✗ weights or statistics changed in freezing"),
        (freeze(hold_weights, stay, untracked), "✗ weights or statistics changed in freezing"),
        (lambda model, part: model.backbone, "✗ freeze should change the model that it is given"),
        (lambda model, part: 5, "✗ freeze should change the model that it is given"),
        (lambda model: 5, "✗ your code stopped with TypeError"),
    ],
)
def test_frozen_part(answer, start, capsys):
    assert said(capsys, check.frozen_part, answer).startswith(start)


@pytest.mark.parametrize("also, told", [([], True), ([hold_weights], False)])
def test_eval_alone_holds_no_weights_either(also, told, capsys):
    found = said(capsys, check.frozen_part, freeze(nn.Module.eval, *also))
    assert (".train(); the weights learn, too" in found) == told


def test_scale_and_shift_are_named_where_they_alone_learn(capsys):
    def answer(part):
        hold_weights(part)
        for layer in norms(part):
            layer.requires_grad_(True)

    found = said(capsys, check.frozen_part, freeze(stay, answer))
    assert found.startswith("✗ backbone.0.1.bias moved: scale and shift of batch norm are param")


def test_grading_leaves_the_readers_random_numbers_alone(capsys):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    check.frozen_part(freeze(hold_weights, stay))
    assert torch.equal(torch.rand(2), expected)


def test_every_grader_is_exported():
    assert {"colours_to_classes", "honest_split", "frozen_part"} <= set(check.__all__)
    assert check.frozen_part is lesson_09.frozen_part
