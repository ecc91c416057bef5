"""Stored notebooks and files of the package as sources for Sphinx: what a page shows otherwise.

A page has no kernel. So a widget that computes in the browser becomes an element that
site/_static/widgets.js brings to life, one that needs Python becomes its picture, and worked
solutions are folded away. A link to a file of the core leads to a page about that file.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import notebooks
from tools.notebooks import plain, source
from tools.site import colab, tries, widgets

ROOT = notebooks.ROOT
PACKAGE = ROOT / "deeplab_lite"
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{2,3} (?:Exercise (\d+)\. )?.*$", re.MULTILINE)
#                      file                       lesson
CORE_ROW = re.compile(r"^\| \[`([\w/]+\.py)`\]\S* \| (.*?) \| [\d,]+ \|$", re.MULTILINE)
FOLD = "<details class='answer'><summary>Show the answer</summary>"
CODE_PAGE = """\
# {name}

{lesson}

{reference}## Source

~~~~~~{{code-block}} python
:linenos:

{source}
~~~~~~
"""
REFERENCE = """\
## Reference

```{{eval-rst}}
.. automodule:: {module}
   :members:
```

"""


@dataclass(frozen=True)
class Lesson:
    """What the front page says of a lesson, read from its first cell."""

    path: Path
    number: str
    title: str
    promise: str
    minutes: int

    @classmethod
    def read(cls, path: Path) -> "Lesson":
        """Raises ValueError where the first cell has no title, promise or time."""
        text = source(notebooks.read(path)["cells"][0])
        title = re.match(r"# (\d\d) · (.+)", text)
        promise = re.search(r"^\*([^*].+?)\*$", text, re.MULTILINE | re.DOTALL)
        minutes = re.search(r"\*\*Time\*\* (\d+) minutes?", text)
        if not (title and promise and minutes):
            raise ValueError(f"{path.name}: the first cell lacks a title, a promise or a time")
        return cls(path, title[1], title[2], plain(promise[1]), int(minutes[1]))


def lessons() -> list[Lesson]:
    return [Lesson.read(path) for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]


def stage(folder: Path, repository: str) -> None:
    """Write the sources of all pages but the front page to `folder`."""
    for path in notebooks.all_notebooks():
        write(folder / path.relative_to(ROOT), json.dumps(page(path, repository)))
    titles = "\n".join(lesson.path.stem for lesson in lessons())
    text = "# Solutions\n\nTry first; each answer is folded away.\n\n" + toctree(titles)
    write(folder / "notebooks" / "solutions" / "index.md", text)

    readme = (PACKAGE / "README.md").read_text("utf-8")
    rows = CORE_ROW.findall(readme)
    text = re.sub(r"(?<=\n)# ", "## ", with_links(readme, PACKAGE, repository))
    write(folder / "deeplab_lite" / "README.md", f"{text}\n{toctree(*(f[:-3] for f, _ in rows))}")
    for file, lesson in rows:
        lesson = re.sub(r"\]\(\.\./", "](" + "../" * (file.count("/") + 1), lesson)
        path = folder / "deeplab_lite" / file
        write(path.with_suffix(".md"), code_page(file, lesson))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def toctree(*names: str, options: str = ":hidden:") -> str:
    return "\n".join(["```{toctree}", options, "", *names, "```", ""])


# ---- notebooks ----


def page(path: Path, repository: str = "") -> dict[str, Any]:
    """A notebook as its page shows it; `repository` is OWNER/NAME, or "" for no links to it."""
    notebook = notebooks.read(path)
    cells = notebook["cells"]
    models = widgets.models(notebook)
    for cell in cells:
        if cell["cell_type"] == "markdown":
            cell["source"] = with_links(source(cell), path.parent, repository)
        else:
            cell["metadata"] |= alt_text(cell)
            cell["outputs"] = [
                shown for output in cell["outputs"] for shown in widgets.shown(output, models)
            ]
    if path.parent.name == "solutions":
        fold_answers(cells, path.stem)
    elif path.stem[:2].isdigit():
        link_answers(cells, path.stem)
        for cell in cells:
            tries.add_links(cell)
        if repository:
            cells[0]["source"] += "\n\n" + colab.links(path, repository)
    notebook["metadata"].pop("widgets", None)
    return notebook


def alt_text(cell: dict[str, Any]) -> dict[str, Any]:
    """The alt text of a cell's picture where MyST-NB looks for it: in the cell's metadata."""
    for output in cell["outputs"]:
        if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
            return {"mystnb": {"image": {"alt": alt}}}
    return {}


def with_links(text: str, folder: Path, repository: str) -> str:
    """Links to files of the core lead to their pages; to other files, to GitHub or nowhere.

    A link to a heading of a notebook is written as Jupyter writes it, and here as MyST does.
    """

    def replace(found: re.Match[str]) -> str:
        name, target = found.groups()
        if re.match(r"[a-z]+:", target):
            return found[0]
        address, mark, heading = target.partition("#")
        if address == "" or address.endswith(".ipynb"):
            heading = re.sub(r"[^\w-]", "", heading.lower())
            return f"[{name}]({address}{mark}{heading})"
        file = (folder / target).resolve().relative_to(ROOT).as_posix()
        if file == "deeplab_lite/README.md":
            return found[0]
        if file.removeprefix("deeplab_lite/") in core():
            return f"[{name}]({target.removesuffix('.py')}.md)"
        return f"[{name}](https://github.com/{repository}/blob/main/{file})" if repository else name

    return LINK.sub(replace, text)


def core() -> dict[str, str]:
    """File -> what it teaches, of all files that deeplab_lite/README.md lists."""
    return dict(CORE_ROW.findall((PACKAGE / "README.md").read_text("utf-8")))


def rewrite_headings(cells: list[dict[str, Any]], rewrite: Any) -> None:
    """Put rewrite(heading, exercise that it ends, exercise that it opens) in place of each heading.

    Exercises are numbers as text, or None. At the end of the page the heading is "".
    """
    exercise: str | None = None

    def replace(heading: re.Match[str]) -> str:
        nonlocal exercise
        ended, exercise = exercise, heading[1]
        return rewrite(heading[0], ended, exercise)

    for cell in cells:
        if cell["cell_type"] == "markdown":
            cell["source"] = HEADING.sub(replace, source(cell))
    text = rewrite("", exercise, None)
    cells.append({"cell_type": "markdown", "id": "end", "metadata": {}, "source": text})


def fold_answers(cells: list[dict[str, Any]], lesson: str) -> None:
    """All below the heading of an exercise is behind "Show the answer"."""

    def fold(heading: str, ended: str | None, opened: str | None) -> str:
        text = f"</details>\n\n{heading}" if ended else heading
        if opened:
            text = text.replace(heading, f"({lesson}-answer-{opened})=\n{heading}\n\n{FOLD}\n")
        return text

    rewrite_headings(cells, fold)


def link_answers(cells: list[dict[str, Any]], lesson: str) -> None:
    """Below each exercise of a lesson, a link to its answer."""

    def link(heading: str, ended: str | None, opened: str | None) -> str:
        return f"[Answer](#{lesson}-answer-{ended})\n\n{heading}" if ended else heading

    rewrite_headings(cells, link)


def write_notebooks(folder: Path, repository: str) -> None:
    """Where there is a repository: lessons with the cell that installs the course on Colab."""
    if repository:
        for lesson in lessons():
            notebook = notebooks.read(lesson.path)
            notebook["cells"].insert(1, colab.cell(repository))
            write(folder / lesson.path.name, json.dumps(notebook, ensure_ascii=False))


# ---- code ----


def code_page(file: str, lesson: str) -> str:
    """A file of the core: which lesson teaches it, its docstrings, its source."""
    module = ".".join(["deeplab_lite", *Path(file).with_suffix("").parts])
    private = Path(file).name.startswith("_")
    return CODE_PAGE.format(
        name=file.replace("_", r"\_"),
        lesson=f"Lesson {lesson}." if lesson[:1] in "[0" else f"{lesson[:1].upper()}{lesson[1:]}.",
        reference="" if private else REFERENCE.format(module=module),
        source=(PACKAGE / file).read_text("utf-8").rstrip("\n"),
    )
