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

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "deeplab_lite"
README = ROOT / "README.md"
NOT_OURS = {"build", "dist", "runs", "_build", "node_modules", "__pycache__"}


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

# The longest name that a module begins with gives its level; imports go from above to below.
LEVELS = {
    "deeplab_lite.analysis": 0,
    "deeplab_lite": 1,  # the core
    "deeplab_lite.classroom": 2,
    "deeplab_lite.workshop": 2,
    "deeplab_lite.__main__": 3,
}
ROOMS = ("analysis", "classroom", "workshop")
ENTRANCES = {"deeplab_lite", "deeplab_lite._moved"}  # these name modules, and import none of them
FACES = {"matplotlib", "IPython", "ipywidgets", "anywidget"}


def module_of(path: Path) -> str:
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


def room(module: str) -> str:
    """deeplab_lite.classroom.draw -> deeplab_lite.classroom; of the core, deeplab_lite."""
    longest = [name for name in LEVELS if module == name or module.startswith(f"{name}.")]
    return max(longest, key=len)


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a file of the package imports, in functions too."""
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def module_named(imported: str) -> str:
    """Of deeplab_lite.scenes.CLASSES, the module; names that are none stop the test."""
    parts = imported.split(".")
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return ".".join(parts[:end])
    raise AssertionError(f"{imported} is in no module of this package")


def edges() -> Iterator[tuple[str, str]]:
    """(module, the module of ours that it imports), of all files."""
    for path in files(".py", under=PACKAGE):
        here = module_of(path)
        for imported in imports(path):
            if imported.split(".")[0] == "deeplab_lite":
                there = module_named(imported)
                if there != here and there not in ENTRANCES:
                    yield here, there


def test_imports_go_down():
    """classroom and workshop, never each other -> core -> analysis; every module has a level."""
    for here, there in edges():
        if room(here) != room(there):
            assert LEVELS[room(there)] < LEVELS[room(here)], f"{here} imports {there}"


def test_no_module_imports_itself_in_a_circle():
    graph: dict[str, set[str]] = {}
    for here, there in edges():
        graph.setdefault(here, set()).add(there)
    for start in graph:
        reached, todo = set(), [start]
        while todo:
            for there in graph.get(todo.pop(), ()):
                assert there != start, f"{start} imports itself by way of {sorted(reached)}"
                if there not in reached:
                    reached.add(there)
                    todo.append(there)


def test_nothing_below_the_classroom_knows_matplotlib_or_widgets():
    for path in files(".py", under=PACKAGE):
        used = {imported.split(".")[0] for imported in imports(path)} & FACES
        assert not used or room(module_of(path)) == "deeplab_lite.classroom", f"{path}: {used}"


def test_no_two_files_of_one_name():
    names = [path.name for path in files(".py", under=PACKAGE) if path.name != "__init__.py"]
    assert sorted(names) == sorted(set(names))


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
        headings = [prose(lesson) for lesson in (ROOT / "notebooks").glob(f"{number}_*.ipynb")]
        assert headings, f"{name(path)}: there is no lesson {number}"
        if section:
            assert any(re.search(rf"^## {section}\b", text, re.M) for text in headings), (
                f"{name(path)} names section {section} of lesson {number}, which has none"
            )


def test_the_readme_maps_every_lesson():
    lessons = sorted(path.name for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    rows = re.findall(r"^\| (\d\d) \| \[[^]]+\]\(notebooks/(\S+)\) \|", prose(README), re.MULTILINE)
    assert rows == [(lesson[:2], lesson) for lesson in lessons]


def test_the_examples_of_the_readme_print_what_they_say():
    found = [t for t in tokens(prose(README)) if t.type == "fence" and t.info == "python"]
    assert len(found) == 4
    names: dict[str, object] = {}  # a later example may use what an earlier one has made
    for example in found:
        test = doctest.DocTestParser().get_doctest(example.content, names, "README.md", None, 0)
        names = test.globs
        assert len(test.examples) >= 3
        assert doctest.DocTestRunner().run(test, clear_globs=False).failed == 0


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
