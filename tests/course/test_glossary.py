"""The glossary: each term is in both languages, and is used by the lesson that it names."""

import re

import pytest

from tools import notebooks

GLOSSARY = notebooks.ROOT / "notebooks" / "glossary.ipynb"
ROW = re.compile(
    r"^\| (?!English|-)(.+?) \| (.+?) \| (.+?) \| \[(\d\d)\]\((.+?)\) \|$", re.MULTILINE
)


def text(path) -> str:
    cells = notebooks.read(path)["cells"]
    return "\n\n".join(notebooks.source(c) for c in cells if c["cell_type"] == "markdown")


ROWS = ROW.findall(text(GLOSSARY))


@pytest.mark.parametrize("english, chinese, meaning, number, link", ROWS, ids=[r[0] for r in ROWS])
def test_a_term_is_explained_in_the_lesson_that_it_names(english, chinese, meaning, number, link):
    assert re.search("[\u4e00-\u9fff]", chinese) and len(meaning) > 10
    assert link.startswith(number)
    lesson = re.sub(r"\s+", " ", text(GLOSSARY.parent / link)).lower()
    assert re.search(rf"\b{re.escape(english.lower())}", lesson.replace("*", "").replace("`", ""))


def test_terms_are_listed_once_and_no_row_is_malformed():
    terms = [row[0] for row in ROWS]
    assert len(terms) == len(set(terms)) >= 40
    lines = [line for line in text(GLOSSARY).splitlines() if line.startswith("| ")]
    headers = [line for line in lines if line.startswith("| English")]
    assert len(lines) == len(ROWS) + len(headers)


def test_every_lesson_that_is_there_has_its_terms():
    lessons = {path.name[:2] for path in GLOSSARY.parent.glob("[0-9][0-9]_*.ipynb")}
    assert {row[3] for row in ROWS} >= lessons
