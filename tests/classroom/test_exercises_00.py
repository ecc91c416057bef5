"""The grader of lesson 00: the stub, the right answer, and each misconception by its name."""

import pytest

from deeplab_lite.classroom import exercises as check


@pytest.mark.parametrize(
    "answer, said",
    [
        (..., "· not attempted yet"),
        (7, "✓ 3, 5, 7"),
        (5, "✗ 5 is what two layers see, and the slip of the notes"),
        (3, "✗ 3 is what one layer sees"),
        (9, "✗ kernels do not multiply"),
        (27, "✗ kernels do not multiply"),
        (6, "✗ not 6: count the pixels below the cone, first and last included"),
        ("7", "✗ '7' is no whole number"),
        (True, "✗ True is no whole number"),
        ([7], "✗ [7] is no whole number"),
    ],
)
def test_three_layers(answer, said, capsys):
    check.three_layers(answer)
    assert capsys.readouterr().out.startswith(said)
