"""What every grader shares: three verdicts, and no exception ever."""

from collections.abc import Callable
from functools import wraps
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
