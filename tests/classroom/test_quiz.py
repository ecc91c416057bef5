"""Quizzes: their files are whole, a wrong answer gets its reply, and their lessons show them."""

import re

import pytest

from deeplab_lite.classroom.widgets import Quiz, quiz
from tools import notebooks


@pytest.mark.parametrize("lesson", quiz.lessons())
def test_a_quiz_has_five_questions_and_a_reply_to_each_answer(lesson):
    asked = quiz.questions(lesson)
    assert len(asked) == 5
    for question in asked:
        assert set(question) == {"question", "options", "right"}
        texts, replies = zip(*question["options"], strict=True)
        assert len(texts) >= 3 and len({*texts}) == len({*replies}) == len(texts)
        praised = [place for place, reply in enumerate(replies) if re.match(r"Yes\b", reply)]
        assert praised == [question["right"]], question["question"]


@pytest.mark.parametrize("lesson", quiz.lessons())
def test_a_lesson_shows_its_quiz(lesson):
    (path,) = (notebooks.ROOT / "notebooks").glob(f"{lesson}_*.ipynb")
    cells = notebooks.read(path)["cells"]
    code = "\n".join(notebooks.source(cell) for cell in cells if cell["cell_type"] == "code")
    assert re.findall(r'\bQuiz\("(\d\d)"\)', code) == [lesson]


def test_the_right_answers_are_not_all_in_one_place():
    for lesson in quiz.lessons():
        assert len({question["right"] for question in quiz.questions(lesson)}) > 1


def test_a_lesson_without_a_quiz_is_named():
    with pytest.raises(ValueError, match="lesson '77': expected one of 00, "):
        Quiz("77")


def test_the_twin_marks_what_was_chosen(twin_figure):
    right, wrong = (quiz.questions("00")[n]["right"] for n in (0, 1))
    answers = [right, (wrong + 1) % 3, -1, -1, -1]
    text = twin_figure(Quiz("00", answers=answers)).get_suptitle()
    assert (text.count("✓"), text.count("✗"), text.count("\n\n")) == (1, 1, 4)


def test_an_answer_gets_its_reply_and_can_be_changed(widget_page):
    asked = quiz.questions("01")
    mounted = widget_page(Quiz("01"))
    page, right = mounted.page, asked[0]["right"]
    wrong = (right + 1) % 3
    for option, mark, score in ((wrong, "✗", 0), (right, "✓", 1)):
        text, reply = asked[0]["options"][option]
        page.get_by_role("button", name=text, exact=True).press("Enter")
        mounted.drawn()
        assert page.locator(".dl-qz-reply").first.inner_text() == f"{mark} {reply}"
        assert page.locator(".dl-say").inner_text() == f"1 of 5 answered, {score} right."
        assert mounted.get("answers") == [option, -1, -1, -1, -1]
    page.get_by_role("button", name="Start over").click()
    mounted.drawn()
    assert page.locator(".dl-say").inner_text() == "5 questions, none answered yet."
    assert mounted.get("answers") == [-1] * 5 and mounted.errors == []
