"""Which test files a run reads, and in which order two workers take them: used by conftest.py."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

TESTS = Path(__file__).parent
OURS = {path.stem for folder in (TESTS, TESTS.parent) for path in folder.iterdir()}

# Seconds of the slow files. They come first, so that no worker ends with a long one.
SECONDS = {
    "notebooks/09_your_own_data.ipynb": 92,
    "tests/course/test_page_playground.py": 90,
    "notebooks/07_deeplab_v3plus.ipynb": 87,
    "tests/classroom/test_browser.py": 84,
    "tests/course/test_site.py": 80,
    "notebooks/04_dense_crf.ipynb": 72,
    "notebooks/05_deeplab_v2.ipynb": 66,
    "tests/course/test_repo.py": 57,
    "tests/workshop/test_torchrun.py": 50,
    "tests/workshop/test_export.py": 45,
    "notebooks/08_the_family.ipynb": 43,
    "tests/core/test_output_stride.py": 43,
    "notebooks/03_deeplab_v1.ipynb": 42,
    "tests/workshop/test_train.py": 35,
    "tests/core/test_scenes.py": 33,
    "notebooks/06_deeplab_v3.ipynb": 29,
    "tests/workshop/test_camvid.py": 29,
    "tests/workshop/test_shipped.py": 28,
    "tests/classroom/test_output_stride_lab.py": 26,
    "tests/classroom/test_crf_playground.py": 21,
    "tests/course/test_harness.py": 20,
    "tests/workshop/test_app.py": 17,
    "tests/core/test_receptive_field.py": 15,
    "tests/classroom/test_rates_lab.py": 15,
    "tests/classroom/test_architecture_explorer.py": 14,
}


def seconds(nodeid: str) -> float:
    """Of the file of a test; 0 for a fast one."""
    return SECONDS.get(nodeid.split("::")[0], 0)


def skipped(keyword: str, files: Iterable[Path]) -> set[Path]:
    """The files that need not be read, since -k's expression `keyword` names nothing in them.

    A notebook is read if a word of the expression is in its path, a file of tests also if one is in
    what its tests are called after. Some parameters are computed, and in no text. So all files of
    tests are read where no path and no test's name has the word, and all files where "not" is a
    word.
    """
    words = set(re.findall(r"[^\s()]+", keyword.lower())) - {"and", "or"}
    if not words or "not" in words:
        return set()
    texts, titles = {}, []  # titles: of files and tests
    for file in files:
        path = "/".join([*file.parts[-3:], "cell" * (file.suffix == ".ipynb")])
        text = file.read_text(encoding="utf-8") if file.suffix == ".py" else ""
        texts[file] = path, text
        titles.append(" ".join([path, *re.findall(r"(?:def|class) (test\w*)", text, re.I)]).lower())
    known = all(any(word in title for title in titles) for word in words)

    def named(text: str) -> bool:
        return any(word in text.lower() for word in words)

    return {
        file
        for file, (path, text) in texts.items()
        if (known or file.suffix == ".ipynb")
        and not named(path)
        and not (named(text) and named(called_after(text)))
    }


def called_after(text: str) -> str:
    """Of a file of tests: their names, and the code that their parameters and marks come from.

    The whole text if a parameter comes from a module of ours, whose lists are not known here.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError:  # pytest will say so
        return text
    homes = {name: statement for statement in tree.body for name in bound(statement)}
    tests = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    parts = [test.name for test in tests]
    todo: list[ast.AST] = [decorator for test in tests for decorator in test.decorator_list]
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            if (module or "").partition(".")[0] in OURS:
                return text
            parts.append(module or "")
        elif isinstance(node, ast.Constant):
            parts.append(str(node.value))
        elif isinstance(node, ast.Attribute):
            parts.append(node.attr)
        elif isinstance(node, ast.Name):
            parts.append(node.id)
            if node.id in homes:
                todo.append(homes.pop(node.id))
        if not isinstance(node, ast.Lambda):
            todo.extend(ast.iter_child_nodes(node))
    return " ".join(parts)


def bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module gives a value."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in statement.names)
    elif isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        yield statement.name
    else:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
