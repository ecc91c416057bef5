"""Each rule of hygiene.py lets a good notebook pass and catches the fault it is there for."""

import json

import hygiene
import made_up
import pytest

from tools.notebooks import WIDGET_STATE


@pytest.fixture
def lesson(tmp_path):
    return made_up.save(tmp_path)[0]


@pytest.fixture
def solutions(tmp_path):
    return made_up.save(tmp_path)[1]


def problems(notebook):
    found = [problem for rule in hygiene.rules(notebook.path) for problem in rule(notebook)]
    return "\n".join(found)


def test_a_good_lesson_has_no_problems(tmp_path):
    for notebook in made_up.save(tmp_path):
        assert problems(notebook) == ""


def cell(notebook, place):
    return notebook.cells[place]


def replace(place, old, new):
    """A fault: `old` becomes `new` in the source of the cell at `place`."""

    def fault(notebook):
        changed = cell(notebook, place)["source"].replace(old, new)
        assert changed != cell(notebook, place)["source"]
        cell(notebook, place)["source"] = changed

    return fault


def update(place, **values):
    return lambda notebook: cell(notebook, place).update(values)


def output(place, **values):
    return lambda notebook: cell(notebook, place)["outputs"][0].update(values)


def drop(*places):
    def fault(notebook):
        kept = [c for n, c in enumerate(notebook.cells) if n not in places]
        notebook.raw["cells"] = kept

    return fault


def no_state(notebook):
    notebook.raw["metadata"]["widgets"] = {}


def dead(notebook):
    notebook.raw["metadata"]["widgets"][WIDGET_STATE]["state"]["m1"]["model_name"] = "VBoxModel"


def old_python(notebook):
    notebook.raw["metadata"]["language_info"]["version"] = "3.8.1"


def no_solutions(notebook):
    (notebook.path.parent / "solutions" / notebook.path.name).unlink()


ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []}
STDERR = {"output_type": "stream", "name": "stderr", "text": "UserWarning"}
BAR = made_up.printed("50%|###   | 5/10 [00:01<00:01, 5.00it/s]")
PATH = made_up.printed("saved to /home/ann/course/x.png")


@pytest.mark.parametrize(
    "fault, sentence",
    [
        (update(3, id="c1"), "2 cells share the id 'c1'"),
        (lambda n: cell(n, 3).pop("id"), "1 cells have no id"),
        (update(1, execution_count=None), "cell 1 has the count None, not 1"),
        (update(1, execution_count=7), "cell 1 has the count 7, not 1"),
        (update(1, source="\n"), "cell 1 is empty"),
        (update(9, outputs=[ERROR]), "cell 9 ends in ValueError"),
        (update(9, outputs=[STDERR]), "cell 9 writes to stderr: 'UserWarning'"),
        (update(9, outputs=[BAR]), "cell 9 prints a progress bar"),
        (update(9, outputs=[PATH]), "cell 9 shows the path '/home/ann/course/x.png'"),
        (replace(1, "picture", "!picture"), "cell 1 uses a shell command or a magic"),
        (replace(1, "picture", "%%bash\npicture"), "cell 1 uses a shell command or a magic"),
        (replace(1, "picture", "files = !ls\n"), "cell 1 uses a shell command or a magic"),
        (replace(1, "picture", "from tqdm import tqdm\n"), "cell 1 uses tqdm"),
        (replace(1, "picture", "interact"), "cell 1 uses interact"),
        (replace(1, "picture", "# NBVAL_SKIP\npicture"), "cell 1 asks nbval to look away"),
        (update(1, metadata={"tags": ["raises-exception"]}), "cell 1 asks nbval to look away"),
        (update(1, metadata={"execution": {}}), "cell 1 has metadata ['execution']"),
        (old_python, "the notebook's metadata is not what `make notebooks` writes"),
        (replace(1, "picture", "x = 1\n" * 20), "cell 1 has 22 lines of code, at most 20"),
        (replace(1, "picture", "# why\n" * 24), "cell 1 has 26 lines, at most 25"),
        (replace(1, "(404)", "(404);"), "cell 1 ends a line with a semicolon"),
        (replace(1, "\nplt.show()", ""), "cell 1 draws, and its last line is not plt.show()"),
        (drop(2), "cell 1 has no caption below: a Markdown cell that opens with **Figure.**"),
        (replace(5, "Widget", "Figure"), "cell 4 has no caption below: a Markdown cell that opens"),
        (replace(2, made_up.SEEN, "A plot."), "the caption below cell 1 is too short"),
        (output(1, metadata={}), "cell 1 has not its caption as alt text"),
        (output(4, metadata={"image/png": {"alt": "old"}}), "cell 4 has an alt text too short"),
        (lambda n: cell(n, 1)["outputs"].append(made_up.widget()), "cell 1 shows 2 pictures"),
        (lambda n: cell(n, 4)["outputs"][0]["data"].pop("image/png"), "without a PNG twin"),
        (no_state, "cell 4 shows a widget whose state is not saved"),
        (dead, "cell 4 saves a widget that is dead without its kernel"),
        (replace(0, "# 01 ·", "# 02 ·"), "the first cell is not a title '# 01 · ...'"),
        (replace(3, "## 1.", "# 1."), "there is more than one first-level heading"),
        (replace(0, "- measure\n", ""), "'You will be able to' has 2 points, not 3 to 5"),
        (replace(0, "You need", "Needs"), "'You need' is missing"),
        (replace(0, "3 minutes to read", "short"), "minutes to run' is missing"),
        (replace(0, "3 minutes to read", "9 minutes to read"), "says 9 minutes, but"),
        (replace(0, "section 3.2", ""), "'**Paper**' does not name"),
        (replace(0, "arXiv:1412", "arXiv 1412"), "'**Paper**' does not name"),
        (drop(4, 5), "there is no widget"),
        (drop(6), "the sections ['Break it', 'Your turn', 'Recap'] should close the lesson"),
        (drop(12, 13), "'Your turn' has 2 exercises"),
        (drop(13), "only 2 cells call a check for 3 exercises"),
        (output(9, text="✓ right"), "the stub in cell c9 does not print 'not attempted yet'"),
        (replace(14, "|---|---|---|", ""), "the recap has no table"),
        (replace(14, "arXiv:", ""), "the recap has no references"),
        (replace(14, " (coming)", ""), "the last line is not '**Next:**"),
        (replace(14, "02 · Atrous convolution (coming)", "[02](02.ipynb)"), "02.ipynb does not"),
        (replace(8, "Count 1", "Sum"), "the solutions have ['Exercise 1. Count 1'"),
        (no_solutions, "01_made_up.ipynb is missing"),
    ],
)  # fmt: skip
def test_a_fault_in_a_lesson_is_told(lesson, fault, sentence):
    fault(lesson)
    assert sentence in problems(lesson)


@pytest.mark.parametrize(
    "fault, sentence",
    [
        (output(2, text="✗ you forgot the centre tap"), "cell 2 does not pass its check: '✗ you"),
        (output(2, text="not attempted yet"), "cell 2 does not pass its check"),
        (update(2, source="width = 3"), "an exercise has no check"),
        (replace(0, "../", ""), "does not link back to ../01_made_up.ipynb"),
        (replace(0, ": solutions", ""), "the first cell is not a title '# 01 · ...: solutions'"),
    ],
)
def test_a_fault_in_the_solutions_is_told(solutions, fault, sentence):
    fault(solutions)
    assert sentence in problems(solutions)


def test_a_picture_must_come_before_the_second_section(lesson):
    lesson.cells[1:3] = []
    lesson.cells[1]["source"] = "## 1. A\n"
    lesson.cells.insert(2, made_up.prose("## 2. B"))
    assert "no picture raises the question" in problems(lesson)


def test_a_large_file_is_told(lesson):
    lesson.path.write_text(json.dumps(lesson.raw) + " " * hygiene.MAX_FILE)
    assert "a notebook may have 1,000,000" in problems(lesson)


def test_lesson_00_may_come_without_exercises(lesson):
    lesson.path = lesson.path.rename(lesson.path.with_name("00_made_up.ipynb"))
    (lesson.path.parent / "solutions" / "01_made_up.ipynb").unlink()
    lesson.cells[0]["source"] = lesson.cells[0]["source"].replace("# 01", "# 00")
    lesson.cells[3:14] = []
    lesson.cells[2]["execution_count"] = 1
    assert problems(lesson) == ""
