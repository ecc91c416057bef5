"""What every committed notebook must keep to: a rule takes a notebook and yields what is wrong.

test_notebooks.py holds the real notebooks to the rules, test_hygiene.py tests the rules themselves.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import notebooks
from tools.notebooks import WIDGET_STATE, WIDGET_VIEW, caption, source

MAX_FILE = 1_000_000  # bytes
MAX_CODE, MAX_LINES = 20, 25  # lines of code in a cell, imports apart; with all others
MIN_ALT = 30  # characters
CHECK = re.compile(r"\bcheck\.\w+\(")
EXERCISE = re.compile(r"^#+ (Exercise \d+\. .+)$", re.MULTILINE)


@dataclass
class Notebook:
    path: Path
    raw: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Notebook":
        return cls(path, notebooks.read(path))

    @property
    def is_solution(self) -> bool:
        return self.path.parent.name == "solutions"

    @property
    def number(self) -> str:
        return self.path.name[:2]

    @property
    def cells(self) -> list[dict[str, Any]]:
        return self.raw["cells"]

    def code(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(what to call it in a sentence, cell) for each code cell."""
        for number, cell in enumerate(self.cells):
            if cell["cell_type"] == "code":
                yield f"cell {number}", cell

    def outputs(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        for name, cell in self.code():
            for output in cell["outputs"]:
                yield name, cell, output

    def section(self, heading: str) -> list[dict[str, Any]]:
        """The cells from the one that opens with `## heading` up to the next `## `."""
        found: list[dict[str, Any]] = []
        for cell in self.cells:
            if cell["cell_type"] == "markdown" and source(cell).startswith("## "):
                if found:
                    break
                if source(cell).startswith(f"## {heading}"):
                    found.append(cell)
            elif found:
                found.append(cell)
        return found


def markdown(cells: list[dict[str, Any]]) -> str:
    return "\n\n".join(source(cell) for cell in cells if cell["cell_type"] == "markdown")


def printed(cell: dict[str, Any]) -> str:
    return "".join("".join(output.get("text", [])) for output in cell["outputs"])


def is_picture(output: dict[str, Any]) -> bool:
    return any(kind.startswith("image/") for kind in output.get("data", {}))


def is_widget(output: dict[str, Any]) -> bool:
    return WIDGET_VIEW in output.get("data", {})


# ---- every notebook ----


def cells_have_unique_ids(notebook: Notebook) -> Iterator[str]:
    count = Counter(cell.get("id") for cell in notebook.cells)
    for name, times in count.items():
        if name is None:
            yield f"{times} cells have no id: run `make notebooks`"
        elif times > 1:
            yield f"{times} cells share the id {name!r}"


def ran_in_order(notebook: Notebook) -> Iterator[str]:
    for expected, (name, cell) in enumerate(notebook.code(), 1):
        if not source(cell).strip():
            yield f"{name} is empty"
        elif cell["execution_count"] != expected:
            count = cell["execution_count"]
            yield f"{name} has the count {count}, not {expected}: it was not run in order"


def is_small(notebook: Notebook) -> Iterator[str]:
    size = notebook.path.stat().st_size
    if size >= MAX_FILE:
        yield f"the file has {size:,} bytes, a notebook may have {MAX_FILE:,}"


def outputs_are_clean(notebook: Notebook) -> Iterator[str]:
    for name, _, output in notebook.outputs():
        if output["output_type"] == "error":
            yield f"{name} ends in {output['ename']}: catch it and print it"
        elif output.get("name") == "stderr":
            yield f"{name} writes to stderr: {''.join(output['text'])[:60]!r}"
        elif re.search(r"it/s[,\]]", "".join(output.get("text", []))):
            yield f"{name} prints a progress bar"


def code_is_plain_python(notebook: Notebook) -> Iterator[str]:
    for name, cell in notebook.code():
        code = source(cell)
        if re.search(r"^\s*(!|%)|^\s*\w+\s*=\s*(!|%)|\bget_ipython\b", code, re.MULTILINE):
            yield f"{name} uses a shell command or a magic: nbval passes these when they fail"
        if "tqdm" in code:
            yield f"{name} uses tqdm: its bar holds times"
        if re.search(r"\b(interact|interactive|interactive_output|Output)\(", code):
            yield f"{name} uses interact or Output: nbval cannot compare what it shows"
        tags = " ".join(cell["metadata"].get("tags", []))
        if re.search(r"(?i)#\s*NBVAL_|#\s*PYTEST_VALIDATE", code) or re.search(
            "nbval|raises", tags
        ):
            yield f"{name} asks nbval to look away"


def metadata_is_plain(notebook: Notebook) -> Iterator[str]:
    for number, cell in enumerate(notebook.cells):
        extra = set(cell["metadata"]) - {"tags", "jupyter"}
        if extra:
            yield f"cell {number} has metadata {sorted(extra)}: run `make notebooks`"
    plain = {key: value for key, value in notebook.raw["metadata"].items() if key != "widgets"}
    if plain != notebooks.METADATA:
        yield "the notebook's metadata is not what `make notebooks` writes"


def shows_no_machine_paths(notebook: Notebook) -> Iterator[str]:
    yield from notebooks.machine_paths(notebook.raw)


def code_is_short(notebook: Notebook) -> Iterator[str]:
    for name, cell in notebook.code():
        lines = source(cell).splitlines()
        apart = ("#", "import ", "from ")
        code = [line for line in lines if line.strip() and not line.strip().startswith(apart)]
        if len(code) > MAX_CODE:
            yield f"{name} has {len(code)} lines of code, at most {MAX_CODE}"
        if len(lines) > MAX_LINES:
            yield f"{name} has {len(lines)} lines, at most {MAX_LINES}"
        for line in lines:
            if line.rstrip().endswith(";"):
                yield f"{name} ends a line with a semicolon"


def plots_end_in_show(notebook: Notebook) -> Iterator[str]:
    for name, cell, output in notebook.outputs():
        shows = re.search(r"^plt\.show\(\)\s*\Z", source(cell), re.MULTILINE)
        if is_picture(output) and not is_widget(output) and not shows:
            yield f"{name} draws, and its last line is not plt.show()"


def pictures_have_captions_and_alt_text(notebook: Notebook) -> Iterator[str]:
    for number, cell in enumerate(notebook.cells):
        shown = [out for out in cell.get("outputs", []) if is_picture(out) or is_widget(out)]
        if not shown:
            continue
        if len(shown) > 1:
            yield f"cell {number} shows {len(shown)} pictures: one a cell"
        below = notebook.cells[number + 1] if number + 1 < len(notebook.cells) else None
        found = caption(below)
        kind = "Widget" if is_widget(shown[0]) else "Figure"
        if found is None or found[0] != kind:
            yield f"cell {number} has no caption below: a Markdown cell that opens with **{kind}.**"
            continue
        if len(found[1]) < MIN_ALT:
            yield f"the caption below cell {number} is too short to say what one sees"
        for output in shown:
            alt = output["metadata"].get("image/png", {}).get("alt", "")
            if kind == "Figure" and alt != found[1]:
                yield f"cell {number} has not its caption as alt text: run `make notebooks`"
            elif len(alt) < MIN_ALT:
                yield f"cell {number} has an alt text too short to say what one sees: {alt!r}"


def widgets_have_twin_and_state(notebook: Notebook) -> Iterator[str]:
    saved = notebook.raw["metadata"].get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for name, _, output in notebook.outputs():
        if not is_widget(output):
            continue
        if "image/png" not in output["data"]:
            yield f"{name} shows a widget without a PNG twin"
        model = saved.get(output["data"][WIDGET_VIEW]["model_id"], {})
        if not model.get("state"):
            yield f"{name} shows a widget whose state is not saved: run `make notebooks`"
        elif model["model_name"] not in ("AnyModel", "HTMLModel"):
            yield f"{name} saves a widget that is dead without its kernel: run `make notebooks`"


# ---- lessons ----


def opens_as_a_lesson(notebook: Notebook) -> Iterator[str]:
    first = source(notebook.cells[0]) if notebook.cells else ""
    if not re.match(rf"# {notebook.number} · \S", first):
        yield f"the first cell is not a title '# {notebook.number} · ...'"
    if len(re.findall(r"^# ", re.sub(r"```.*?```", "", text(notebook), flags=re.S), re.M)) > 1:
        yield "there is more than one first-level heading"
    goals = re.search(r"\*\*You will be able to\*\*\s*\n((?:[-*] .*\n?|  .*\n?|\n)+)", first)
    count = len(re.findall(r"^[-*] ", goals[1], re.M)) if goals else 0
    if not 3 <= count <= 5:
        yield f"'You will be able to' has {count} points, not 3 to 5"
    if "**You need**" not in first:
        yield "'You need' is missing"
    if not re.search(r"\*\*Time\*\* \d+ minutes? to read, \d+ minutes? to run", first):
        yield "'**Time** N minutes to read, N minutes to run' is missing"
    if not re.search(r"\*\*Paper\*\*(.|\n)*arXiv:\d{4}\.\d{4,5}(.|\n)*section", first):
        yield "'**Paper**' does not name an arXiv id and a section"


def says_how_long_it_takes(notebook: Notebook) -> Iterator[str]:
    """200 words or 20 lines of code a minute; at most three minutes off, and never above 45."""
    words = len(
        re.findall(r"\b[\w'’.,-]*\w", re.sub(r"\]\([^)]*\)", "]", markdown(notebook.cells)))
    )
    code = "\n".join(source(cell) for _, cell in notebook.code())
    lines = len([line for line in code.splitlines() if re.match(r"(?!import |from )\s*\S", line)])
    stated = re.search(r"\*\*Time\*\* (\d+) minutes", markdown(notebook.cells))
    minutes = words / 200 + lines / 20
    if stated and (abs(int(stated[1]) - minutes) > 3 or int(stated[1]) > 45):
        yield f"says {stated[1]} minutes, but {words} words and {lines} lines take {minutes:.0f}"


def text(notebook: Notebook) -> str:
    return markdown(notebook.cells)


def begins_with_a_picture(notebook: Notebook) -> Iterator[str]:
    sections = 0
    for cell in notebook.cells:
        sections += cell["cell_type"] == "markdown" and source(cell).startswith("## ")
        if any(is_picture(output) for output in cell.get("outputs", [])):
            if sections > 1:
                yield "no picture raises the question before the second section"
            return
    yield "there is no picture"


def has_its_sections(notebook: Notebook) -> Iterator[str]:
    wanted = ["Break it", "Your turn", "Recap"]
    headings = re.findall(r"^## (Break it|Your turn|Recap)", text(notebook), re.MULTILINE)
    if notebook.number == "00":  # nothing is taught yet that could break
        wanted = [heading for heading in wanted if heading in headings or heading == "Recap"]
    if headings != wanted:
        yield f"the sections {wanted} should close the lesson; found {headings}"
    if notebook.number != "00" and not any(
        is_widget(output) for _, _, output in notebook.outputs()
    ):
        yield "there is no widget"


def has_three_exercises(notebook: Notebook) -> Iterator[str]:
    section = notebook.section("Your turn")
    if not section:
        return
    exercises = EXERCISE.findall(markdown(section))
    if len(exercises) != 3:
        yield f"'Your turn' has {len(exercises)} exercises ('### Exercise N. Title'), not 3"
    checks = [
        cell for cell in section if cell["cell_type"] == "code" and CHECK.search(source(cell))
    ]
    if len(checks) < len(exercises):
        yield f"only {len(checks)} cells call a check for {len(exercises)} exercises"
    for cell in checks:
        calls = len(CHECK.findall(source(cell)))
        if printed(cell).count("not attempted yet") != calls or re.search("[✓✗]", printed(cell)):
            yield f"the stub in cell {cell.get('id')} does not print 'not attempted yet'"


def closes_with_a_recap(notebook: Notebook) -> Iterator[str]:
    recap = markdown(notebook.section("Recap")).strip()
    if not recap:
        return  # has_its_sections tells
    if not re.search(r"^\|[ :|-]*-[ :|-]*\|$", recap, re.MULTILINE):
        yield "the recap has no table of what the paper measured and we measured"
    if not re.search(r"arXiv:\d{4}\.\d{4,5}", recap):
        yield "the recap has no references with arXiv ids"
    last = recap.splitlines()[-1]
    link = re.match(r"\*\*Next:\*\* \[[^\]]+\]\(([^)]+)\)", last)
    if link and not (notebook.path.parent / link[1]).is_file():
        yield f"the next lesson {link[1]} does not exist: write '(coming)' without a link"
    elif not link and not re.match(r"\*\*Next:\*\* [^\[]+ \(coming\)", last):
        yield "the last line is not '**Next:** [the next lesson](file.ipynb)'"


def has_its_solutions(notebook: Notebook) -> Iterator[str]:
    exercises = EXERCISE.findall(text(notebook))
    path = notebook.path.parent / "solutions" / notebook.path.name
    if not path.is_file():
        if exercises:
            yield f"solutions/{path.name} is missing"
        return
    solved = EXERCISE.findall(text(Notebook.open(path)))
    if solved != exercises:
        yield f"the solutions have {solved}, the lesson has {exercises}"


# ---- solutions ----


def opens_as_solutions(notebook: Notebook) -> Iterator[str]:
    first = source(notebook.cells[0]) if notebook.cells else ""
    if not re.match(rf"# {notebook.number} · .+: solutions", first):
        yield f"the first cell is not a title '# {notebook.number} · ...: solutions'"
    if f"(../{notebook.path.name})" not in first:
        yield f"the first cell does not link back to ../{notebook.path.name}"


def every_answer_is_right(notebook: Notebook) -> Iterator[str]:
    checks = [(name, cell) for name, cell in notebook.code() if CHECK.search(source(cell))]
    if len(checks) < len(EXERCISE.findall(text(notebook))):
        yield "an exercise has no check"
    for name, cell in checks:
        ticks = len(re.findall("^✓", printed(cell), re.MULTILINE))
        if ticks != len(CHECK.findall(source(cell))) or re.search("✗|not attempted", printed(cell)):
            yield f"{name} does not pass its check: {printed(cell)[:80]!r}"


EVERY = [
    cells_have_unique_ids,
    ran_in_order,
    is_small,
    outputs_are_clean,
    code_is_plain_python,
    metadata_is_plain,
    shows_no_machine_paths,
    code_is_short,
    plots_end_in_show,
    pictures_have_captions_and_alt_text,
    widgets_have_twin_and_state,
]
LESSON = [
    *EVERY,
    opens_as_a_lesson,
    says_how_long_it_takes,
    begins_with_a_picture,
    has_its_sections,
    has_three_exercises,
    closes_with_a_recap,
    has_its_solutions,
]
SOLUTION = [*EVERY, opens_as_solutions, every_answer_is_right]


def rules(path: Path) -> list:
    if path.stem in ("glossary", "appendix"):
        return EVERY
    return SOLUTION if path.parent.name == "solutions" else LESSON
