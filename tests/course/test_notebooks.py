"""Each committed notebook keeps to the rules of hygiene.py; running them is nbval's part."""

import hygiene
import pytest

from tools import notebooks

PATHS = notebooks.all_notebooks()
CASES = [
    pytest.param(path, rule, id=f"{path.relative_to(notebooks.ROOT / 'notebooks')}-{rule.__name__}")
    for path in PATHS
    for rule in hygiene.rules(path)
]


@pytest.mark.parametrize("path, rule", CASES)
def test_hygiene(path, rule):
    problems = list(rule(hygiene.Notebook.open(path)))
    assert not problems, "\n".join(problems)


def test_lessons_are_numbered_without_a_gap():
    lessons = [p for p in PATHS if p.parent.name == "notebooks"]
    numbers = [path.name[:2] for path in lessons if path.stem not in ("glossary", "appendix")]
    assert numbers == [f"{n:02d}" for n in range(max(len(numbers), 3))]


def test_solutions_belong_to_a_lesson():
    for path in PATHS:
        if path.parent.name == "solutions":
            assert (path.parents[1] / path.name).is_file(), f"{path.name} has no lesson"
