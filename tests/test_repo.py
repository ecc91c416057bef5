"""The repository as a whole: imports point one way, links arrive, spelling, lint and types."""

import ast
import doctest
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "deeplab_lite"
README = ROOT / "README.md"
NOT_OURS = {"build", "dist", "runs", "node_modules", "__pycache__"}


def files(*suffixes: str, under: Path = ROOT) -> list[Path]:
    """Files of the repository with these suffixes, without the environment and caches."""
    found = []
    for folder, folders, names in os.walk(under):
        folders[:] = [f for f in folders if f not in NOT_OURS and not f.startswith((".", "_site"))]
        found += [Path(folder) / name for name in names if name.endswith(suffixes)]
    return sorted(found)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# --- imports point one way --------------------------------------------------------------------

# all else is 0
ABOVE = {"draw": 1, "widgets": 2, "exercises": 2, "segment": 2}
ABOVE |= {"evaluate": 3, "export": 3, "__main__": 4}
FACES = {"matplotlib", "IPython", "ipywidgets", "anywidget"}
MAY_IMPORT = {"draw": {"matplotlib"}, "widgets": FACES}


def room(module: str) -> str:
    """deeplab_lite.draw.axes -> draw."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a file of the package imports, in functions too."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    package = module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def edges() -> Iterator[tuple[str, str, str]]:
    """(file, its room, what it imports): a room of ours as deeplab_lite.x, else a library."""
    for path in files(".py", under=PACKAGE):
        here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for imported in imports(path):
            yield name(path), here, imported


def test_imports_go_down():
    for path, here, imported in edges():
        there = room(imported)
        if imported.startswith("deeplab_lite.") and there != here:
            assert ABOVE.get(there, 0) < ABOVE.get(here, 0) or ABOVE.get(there, 0) == 0, (
                f"{path} imports {imported}, which is above it"
            )


def test_rooms_do_not_import_each_other_in_a_circle():
    graph: dict[str, set[str]] = {}
    for _, here, imported in edges():
        if imported.startswith("deeplab_lite.") and room(imported) != here:
            graph.setdefault(here, set()).add(room(imported))
    for start in graph:
        reached, todo = set(), [start]
        while todo:
            for there in graph.get(todo.pop(), ()):
                assert there != start, f"{start} imports itself by way of {sorted(reached)}"
                if there not in reached:
                    reached.add(there)
                    todo.append(there)


def test_only_draw_knows_matplotlib_and_only_widgets_know_widgets():
    for path, here, imported in edges():
        library = imported.split(".")[0]
        if library in FACES:
            assert library in MAY_IMPORT.get(here, set()), f"{path} imports {imported}"


def test_each_module_opens_with_a_line_that_says_what_it_is():
    for path in files(".py"):
        text = path.read_text(encoding="utf-8")
        summary = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
        assert len(summary) > 15, f"{name(path)} has no opening line"


# --- links ------------------------------------------------------------------------------------


@cache
def prose(path: Path) -> str:
    """The markdown of a .md file or of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    return "\n\n".join("".join(cell["source"]) for cell in cells)


def tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield token
        yield from token.children or ()


def targets(text: str) -> Iterator[str]:
    """Where the links and pictures of a markdown text lead, those written in HTML included."""
    for token in tokens(text):
        if token.type in ("link_open", "image"):
            yield str(token.attrs.get("href", token.attrs.get("src")))
        elif token.type in ("html_inline", "html_block"):
            yield from re.findall(r"""\b(?:href|src)\s*=\s*["']([^"']+)["']""", token.content)


def anchors(path: Path) -> set[str]:
    """What #fragments a page has: GitHub's for .md, and for notebooks Jupyter's."""
    found: set[str] = set()
    previous = None
    for token in tokens(prose(path)):
        if previous is not None and previous.type == "heading_open":
            parts = token.children or []
            heading = "".join(t.content for t in parts if t.type in ("text", "code_inline"))
            slug = heading.replace(" ", "-")
            if path.suffix == ".md":
                slug = re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))
            copies = sum(re.fullmatch(re.escape(slug) + r"(-\d+)?", a) is not None for a in found)
            found.add(f"{slug}-{copies}" if copies else slug)
        if token.type in ("html_inline", "html_block"):
            found |= set(re.findall(r"""\b(?:id|name)\s*=\s*["']([^"']+)["']""", token.content))
        previous = token
    return found


def broken_links(path: Path, root: Path = ROOT) -> Iterator[str]:
    for target in targets(prose(path)):
        url = urlsplit(target)
        if url.scheme in ("https", "mailto", "attachment"):
            continue
        if url.scheme or url.netloc:
            yield f"{target}: links outward use https"
            continue
        page = path if not url.path else (path.parent / unquote(url.path)).resolve()
        if not page.exists():
            yield f"{target}: there is no {unquote(url.path)}"
        elif not page.is_relative_to(root):
            yield f"{target}: outside the repository"
        elif page.suffix not in (".md", ".ipynb") or not url.fragment:
            continue
        elif unquote(url.fragment) not in anchors(page):
            yield f"{target}: {page.name} has no heading for #{url.fragment}"


PAGES = files(".md", ".ipynb")


@pytest.mark.parametrize("path", PAGES, ids=map(name, PAGES))
def test_links_arrive(path):
    assert list(broken_links(path)) == []


def test_broken_links_are_found(tmp_path):
    (tmp_path / "b.md").write_text("# Atrous: k + (k - 1)(d - 1)\n# Two\n# Two\n")
    page = tmp_path / "a.md"
    good = "[x](b.md#atrous-k--k---1d---1) [x](b.md#two-1) [x](#here) <a href='b.md'>x</a>"
    page.write_text(f"# Here\n{good} `[code](nowhere.md)`\n")
    assert list(broken_links(page, tmp_path)) == []
    bad = "[x](c.md) [x](b.md#two-2) [x](#there) <img src='d.png'> [x](http://x.org) ![x](e.png)"
    page = tmp_path / "bad.md"
    page.write_text(f"# Here\n{bad}\n")
    assert [problem.split(":")[0] for problem in broken_links(page, tmp_path)] == [
        "c.md",
        "b.md#two-2",
        "#there",
        "d.png",
        "http",
        "e.png",
    ]


# --- cross-references in words ----------------------------------------------------------------

LESSON = re.compile(r"\b[Ll]esson (\d+)(?:,? section (\d+))?")
OUR_FILE = re.compile(r"\b(?:deeplab_lite|notebooks|tests|tools)/[\w/]+\.(?:[a-z]+)\b")
SPEAKING = [*PAGES, *files(".py", ".js", under=PACKAGE), ROOT / "Makefile", ROOT / "pyproject.toml"]


@pytest.mark.parametrize("path", SPEAKING, ids=map(name, SPEAKING))
def test_lessons_and_files_that_are_named_exist(path):
    text = prose(path)
    for file in OUR_FILE.findall(text):
        in_wheel = file.replace("deeplab_lite/assets/", "assets/")  # where pyproject puts them
        assert (ROOT / in_wheel).exists(), f"{name(path)} names {file}"
    for number, section in LESSON.findall(text):
        assert re.fullmatch("0[0-9]", number), f"{name(path)}: lessons are 00 to 09, not {number}"
        if section:
            headings = [prose(lesson) for lesson in (ROOT / "notebooks").glob(f"{number}_*.ipynb")]
            assert any(re.search(rf"^## {section}\b", text, re.M) for text in headings), (
                f"{name(path)} names section {section} of lesson {number}, which has none"
            )


def test_the_readme_maps_every_lesson_that_is_there_and_promises_the_others():
    text = prose(README)
    lessons = {path.name for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    assert {Path(target).name for target in targets(text)} >= lessons
    promised = re.findall(r"^\| (\d\d) .*; coming \|$", text, re.MULTILINE)
    assert sorted([*promised, *(lesson[:2] for lesson in lessons)]) == [f"0{i}" for i in range(10)]


def test_the_examples_of_the_readme_print_what_they_say():
    found = [t for t in tokens(prose(README)) if t.type == "fence" and t.info == "python"]
    assert len(found) == 3
    for example in found:
        test = doctest.DocTestParser().get_doctest(example.content, {}, "README.md", None, 0)
        assert len(test.examples) >= 4
        assert doctest.DocTestRunner().run(test).failed == 0


def test_the_readme_names_only_targets_that_make_knows():
    named = set(re.findall(r"\bmake ([a-z]+)\b", "".join(re.findall(r"`[^`]+`", prose(README)))))
    (known,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"lab", "test"} <= named <= set(known.split())


# --- spelling, lint, types --------------------------------------------------------------------


def run(*command: str) -> str:
    """The output of a module's command line, empty when it is content."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_spelling(tmp_path):
    """Files as they are; of notebooks what was written, not their pictures."""
    for path in files(".ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
        (tmp_path / name(path).replace("/", "__")).with_suffix(".txt").write_text(text)
    others = files(".md", ".py", ".js", ".css", ".toml", ".yml", ".cff")
    lists = ROOT / "Makefile", ROOT / ".ci" / "run", tmp_path
    assert run("codespell_lib", *map(str, (*others, *lists))) == ""


def test_ruff_lint():
    assert run("ruff", "check", "--quiet", ".") == ""


def test_ruff_format():
    assert run("ruff", "format", "--check", "--quiet", ".") == ""


def test_types():
    assert run("mypy") == ""
