"""The graders of lesson 01: the stubs, right answers, and each misconception by its name."""

import pytest
import torch

from deeplab_lite.classroom import exercises as check
from deeplab_lite.classroom.exercises import lesson_01
from deeplab_lite.receptive_field import chain, effective_receptive_field


def effective_field(network, images, unit):
    pixels = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(pixels)[(..., *unit)].sum(), pixels)
    energy = gradient.square().sum((0, 1))
    return energy / energy.sum()


def said(grader, answer, capsys):
    grader(answer)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "answer, expected",
    [
        (..., "· not attempted yet"),
        ((..., ..., ...), "· not attempted yet"),
        ((11, 4, ...), "· not attempted yet"),
        ((11, 4, 42), "✓ 11 pixels at stride 4"),
        ([11, 4, 42.0], "✓ 11 pixels at stride 4"),
        ((8, 4, 42), "✗ 8 treats all strides as 1"),
        ((17, 4, 42), "✗ 17 uses each layer's own stride"),
        ((16, 4, 42), "✗ 16 counts k taps per layer"),
        ((10, 4, 42), "✗ 10 starts from 0"),
        ((30, 4, 42), "✗ 30 multiplies the kernels"),
        ((12, 4, 42), "✗ the size is not 12"),
        ((11, 2, 42), "✗ the stride is not 2: the pool has one too"),
        ((11, 5, 42), "✗ the stride is not 5: strides multiply"),
        ((11, 8, 42), "✗ the stride is not 8"),
        ((11, 4, 45), "✗ a centre of 45 leaves out the padding"),
        ((11, 4, 43), "✗ a centre of 43 counts every padding once"),
        ((11, 4, 40), "✗ 40 is u S"),
        ((11, 4, 37), "✗ 37 is the first pixel"),
        ((11, 4, 47), "✗ 47 is the last pixel"),
        ((11, 4, 42.5), "✗ 42.5 adds size / 2"),
        ((11, 4, 32), "✗ a centre of 32 subtracts half of the size"),
        ((11, 4, 0), "✗ the centre is not 0"),
        ((11, 4), "✗ (11, 4): give three numbers"),
        ("11, 4, 42", "✗ '11, 4, 42': give three numbers"),
        (None, "✗ None: give three numbers"),
    ],
)
def test_field_by_hand(answer, expected, capsys):
    assert said(check.field_by_hand, answer, capsys).startswith(expected)


def test_the_answer_by_hand_is_what_the_recurrence_says():
    size, stride, padding = chain([(5, 2, 1), (3, 1, 1), (2, 2)])[-1]
    assert (size, stride, 10 * stride - padding + (size - 1) / 2) == (11, 4, 42)


@pytest.mark.parametrize(
    "answer",
    [
        effective_field,
        lambda *asked: effective_field(*asked).numpy(),
        lambda network, images, unit: effective_receptive_field(network, images, "", unit),
    ],
    ids=["by hand", "numpy", "package"],
)
def test_energy_right(answer, capsys):
    assert said(check.energy_of_pixels, answer, capsys).startswith("✓ 25 of 99 pixels")


@pytest.mark.parametrize("answer", [..., lambda network, images, unit: ...])
def test_energy_stub(answer, capsys):
    assert said(check.energy_of_pixels, answer, capsys).startswith("· not attempted yet")


@pytest.mark.parametrize(
    "answer, expected",
    [
        (lambda *asked: None, "✗ your function returns nothing"),
        (lambda *asked: effective_field(*asked)[None], "✗ your energy has the shape (1, 9, 11)"),
        (lambda *asked: effective_field(*asked).sqrt(), "✗ these are not the shares"),
        (lambda network, images, unit: 1 / 0, "✗ your code stopped with ZeroDivisionError"),
        (7, "✗ 7 is not a function"),
    ],
)
def test_energy_wrong(answer, expected, capsys):
    assert said(check.energy_of_pixels, answer, capsys).startswith(expected)


@pytest.mark.parametrize(
    "slip, hint", lesson_01.ENERGY_SLIPS, ids=[hint for _, hint in lesson_01.ENERGY_SLIPS]
)
def test_every_slip_of_the_energy_gets_its_own_hint(slip, hint, capsys):
    def answer(network, images, unit):
        return lesson_01._energy(network, images, unit, **slip)

    assert said(check.energy_of_pixels, answer, capsys) == f"✗ {hint}\n"


THREES = [(3, 2, 1, 1)] * 3 + [(3, 1, 1, 1), (3, 1, 3, 3), (3, 1, 9, 9)]
TWOS = [(2, 2)] * 3 + [(2, 1, 0, d) for d in (1, 2, 4, 8, 16)]
VGG = [layer for convs in (2, 2, 3, 3, 3) for layer in [(3, 1, 1)] * convs + [(2, 2)]]


@pytest.mark.parametrize(
    "answer, expected",
    [
        (..., "· not attempted yet"),
        ([(3, ...)], "· not attempted yet"),
        (THREES, "✓ 223 pixels at stride 8, every one read, with 54 weights: it can be done"),
        (tuple(map(list, THREES)), "✓ 223 pixels"),
        (TWOS, "✓ 256 pixels at stride 8, every one read, with 32 weights: no stack has fewer"),
        (VGG, "✗ the total stride is 32, not 8"),
        ([(3, 2)] * 3 + [(3,)] * 3, "✗ 63 pixels, not yet 212"),
        (
            [(3, 2)] * 3 + [(3, 1, 1), (3, 1, 3), (3, 1, 9)],
            "✗ 63 pixels: the third number is padding",
        ),
        ([(3, 2)] * 3 + [(3, 1, 0, 16)], "✗ 226 of the 271 pixels are holes"),
        (
            [(3, 2)] * 3 + [(3, 1, 0, 2), (3, 1, 0, 6), (3, 1, 0, 18)],
            "✗ 26 of the 431 pixels are holes",
        ),
        ([(3, 2)] * 3 + [(3,)] * 13, "✗ 144 weights, 54 are allowed"),
        ([(3, 2)] * 3 + [(3, 1, 0, 900)], "✗ 14415 pixels are more than a photograph has"),
        ([(3, 0)], "✗ stride 0 in layer 1"),
        ([(3.5,)], "✗ kernel 3.5 in layer 1"),
        ([("3", "1")], "✗ kernel '3' in layer 1"),
        ([], "✗ give a list of layers"),
        ([()], "✗ each layer has one to four numbers"),
        ([(3, 1, 1, 1, 1)], "✗ each layer has one to four numbers"),
        ([3, 3, 3], "✗ give a list of layers"),
        ("3333", "✗ give a list of layers"),
        (7, "✗ give a list of layers"),
    ],
)
def test_thrifty_stack(answer, expected, capsys):
    assert said(check.thrifty_stack, answer, capsys).startswith(expected)
