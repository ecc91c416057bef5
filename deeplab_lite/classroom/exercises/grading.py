"""What every grader shares: three verdicts, and no exception ever."""

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
    """The answer, if it is finished; a function is wrapped so that its results have to be too."""
    if not callable(answer):
        return _finished(answer)

    @wraps(answer)
    def call(*args: Any, **kwargs: Any) -> Any:
        return _finished(answer(*args, **kwargs))

    return call


def _finished(answer: Any) -> Any:
    """The answer; raises NotAttempted if a `...` is left in it, in a tuple or list too."""
    if answer is ...:
        raise NotAttempted
    if isinstance(answer, tuple | list):
        for item in answer:
            _finished(item)
    return answer


def is_whole(value: Any) -> bool:
    """A whole number, and not True or False."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def expect(right: bool, otherwise: str) -> None:
    """Raise Wrong(otherwise) unless `right`."""
    if not right:
        raise Wrong(otherwise)
