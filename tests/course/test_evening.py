"""The core stays small enough for one evening, and deeplab_lite/README.md says how small."""

import ast
import json
import re

import pytest

from tools import evening

LONGEST, EVENING = 300, 3500  # lines: of a file, of all files of the evening
VAGUE = {"found", "given", "told", "said", "made", "asked", "wanted", "taken"}
MODULES = sorted(evening.PACKAGE.rglob("*.py"))


@pytest.fixture
def text():
    return evening.README.read_text(encoding="utf-8")


# ---- The README's tables ----


def test_each_file_of_the_core_is_in_one_table(text):
    tables = evening.tables(text)
    assert len(tables) == 2, f"expected two tables with the header {evening.HEADER}"
    assert sorted(file for table in tables for file in table) == sorted(evening.core())


def test_counts_and_sums_are_true(text):
    assert evening.rewritten(text) == text, "run `python -m tools.evening`"
    assert len([line for line in text.splitlines() if evening.SUM.match(line)]) == 2


@pytest.mark.parametrize("file", evening.core())
def test_a_file_of_the_core_is_short(file):
    assert evening.lines(file) < LONGEST


def test_the_evening_is_short(text):
    files, _apart = evening.tables(text)
    assert 0 < sum(map(evening.lines, files)) < EVENING


def test_counts_are_rewritten_and_the_rest_stays(tmp_path):
    (tmp_path / "one.py").write_text("a = 1\n" * 1200)
    (tmp_path / "crf").mkdir()
    (tmp_path / "crf" / "two.py").write_text("b = 2\n")
    head = f"{evening.HEADER}\n|---|---|---|\n"
    text = f"Text.\n\n{head}| [`one.py`](one.py) | 03 | 7 |\n| `crf/two.py`, dense | | |\n"
    text += f"| **sum** | | 0 |\n\n{head}| `crf/two.py` | 04 | 9 |\n| **sum** | | |\n"
    after = text.replace("| 7 |", "| 1,200 |").replace("dense | | |", "dense | | 1 |")
    after = after.replace("| 0 |", "| **1,201** |").replace("| 9 |", "| 1 |")
    after = after.removesuffix("| |\n") + "| **1** |\n"
    assert evening.rewritten(text, tmp_path) == after
    assert evening.rewritten(after, tmp_path) == after
    assert evening.tables(text) == [["one.py", "crf/two.py"], ["crf/two.py"]]


# ---- Names ----


def places(name):
    return [
        (node, f"{path.relative_to(evening.PACKAGE.parent)}:{node.lineno}")
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, name)
    ]


@pytest.mark.parametrize("name", ["Inference", "Problem", "Recipe", "Settings", "Parameters"])
def test_one_name_means_one_class(name):
    assert len([place for node, place in places(ast.ClassDef) if node.name == name]) == 1


def names_of(node):
    """The names that a node binds."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return [node.attr]
    return []


@pytest.mark.parametrize(
    "code", ["found = 1", "def f(found): pass", "def found(): pass", "for found in x: pass",
             "self.found = 1", "lambda found: 1", "(found := 1)", "def f(*, found=1): pass"],
)  # fmt: skip
def test_names_that_a_node_binds_are_seen(code):
    assert "found" in [name for node in ast.walk(ast.parse(code)) for name in names_of(node)]


def test_names_are_nouns():
    kinds = (ast.Name, ast.arg, ast.FunctionDef, ast.AsyncFunctionDef, ast.Attribute)
    vague = [f"{where} {n}" for node, where in places(kinds) for n in names_of(node) if n in VAGUE]
    assert vague == [], f"{len(vague)} names that say nothing:\n" + "\n".join(vague)


LESSON = re.compile(r"^\| \[`([\w/]+\.py)`\]\([^)]*\) \| (.*?) \| [\d,]+ \|$", re.MULTILINE)


@pytest.mark.parametrize("path", sorted((evening.PACKAGE.parent / "notebooks").glob("0*.ipynb")))
def test_a_lesson_s_recap_links_to_the_files_that_it_taught(path, text):
    listed = LESSON.findall(text.partition("# Apart")[0])
    taught = {file for file, lessons in listed if f"[{path.name[:2]}]" in lessons}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    (recap,) = [source for source in sources if source.startswith("## Recap")]
    assert taught and set(re.findall(r"\]\(\.\./deeplab_lite/([\w/]+\.py)\)", recap)) == taught
