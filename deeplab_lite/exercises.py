"""Graders of the exercises: `from deeplab_lite import exercises as check`, `check.<name>(answer)`.

A grader says one of three things and never raises: not attempted yet (the stub still returns
`...`), a tick with what the answer shows, or a cross that names the misconception behind it.
"""

from collections.abc import Callable
from functools import wraps
from numbers import Integral
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
