"""Grader of lesson 00."""

from typing import Any

from deeplab_lite.classroom.exercises.grading import expect, grader, is_whole


@grader
def three_layers(answer: Any) -> str:
    """How many pixels a unit sees through three layers of 3-wide kernels, stride 1."""
    expect(
        is_whole(answer),
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
