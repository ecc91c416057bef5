"""A quiz at the end of a lesson: a wrong answer says which misconception it comes from."""

import json
from pathlib import Path
from textwrap import fill
from typing import Any

import anywidget
import numpy as np
import traitlets

from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets._twin import Twin, figure, one_of, script, sheet

QUIZZES = Path(__file__).parents[1] / "quizzes"  # a file for each lesson; CONTRIBUTING.md
OPEN = -1  # in place of an answer
WIDTH = 88  # characters of a line of the picture


def lessons() -> list[str]:
    """The lessons that have a quiz, by number."""
    return sorted(path.stem for path in QUIZZES.glob("*.json"))


def questions(lesson: str) -> list[dict[str, Any]]:
    """`question`, `options` as pairs of text and reply, and `right`, the place of the right one.

    Raises ValueError for a lesson without a quiz.
    """
    one_of("lesson", lesson, lessons())
    return json.loads((QUIZZES / f"{lesson}.json").read_text("utf-8"))


class Quiz(Twin, anywidget.AnyWidget):
    """The questions of a lesson. `answers` has the option chosen for each, or -1.

    The browser remembers the answers. Raises ValueError for a lesson without a quiz.
    """

    _esm = script("quiz")
    _css = sheet("quiz")
    colors = 8
    lesson = traitlets.Unicode().tag(sync=True)
    questions = traitlets.List(traitlets.Dict()).tag(sync=True)
    answers = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(self, lesson: str = "00", **options: Any):
        items = questions(lesson)
        options = {"answers": [OPEN] * len(items), **options}
        super().__init__(lesson=lesson, questions=items, **options)

    def picture(self) -> np.ndarray:
        """The questions, each with a mark: open, right or wrong."""
        lines = []
        for number, (question, answer) in enumerate(zip(self.questions, self.answers, strict=True)):
            mark = "○" if answer == OPEN else "✓" if answer == question["right"] else "✗"
            text = f"{mark} {number + 1}. {question['question']}".replace("`", "")
            lines.append(fill(text, WIDTH, subsequent_indent=" " * 6))
        text = "\n\n".join(lines)
        fig = figure(7.2, 0.17 * (text.count("\n") + 3))
        fig.suptitle(text, x=0.01, ha="left", fontsize=9.5, linespacing=1.25)
        return draw.pixels(fig)

    def alt(self) -> str:
        texts = (f"{n}. {question['question']}" for n, question in enumerate(self.questions, 1))
        return f"Quiz of lesson {self.lesson}, {len(self.questions)} questions: {' '.join(texts)}"
