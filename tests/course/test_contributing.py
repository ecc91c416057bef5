"""CONTRIBUTING.md and the pre-commit hooks name files, commands and tools that exist."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings tomli
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
CODE = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", TEXT)]
FILES = [code for code in CODE if re.fullmatch(r"[\w./]+", code) and "/" in code]
COMMANDS = [code for code in CODE if code.startswith(("pytest ", "python ", "make "))]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("kind", ["model", "widget", "exercise", "lesson"])
def test_adding_takes_at_most_ten_steps(kind):
    steps = re.findall(r"^(\d+)\. ", SECTIONS[f"Add a {kind}".replace("a e", "an e")], re.MULTILINE)
    assert steps == [str(n + 1) for n in range(len(steps))]
    assert 5 <= len(steps) <= 10


def test_the_files_that_it_names_exist():
    assert len(FILES) > 20
    to_write = {"deeplab_lite/classroom/widgets/NAME.py", "./common.js", ".venv/bin", "site/_build"}
    missing = [file for file in FILES if not (ROOT / file).exists() and file not in to_write]
    assert missing == []


def test_the_commands_that_it_names_exist():
    assert len(COMMANDS) > 7
    targets = (ROOT / "Makefile").read_text()
    for program, *arguments in map(shlex.split, COMMANDS):
        if program == "make":
            assert re.search(rf"^{arguments[0]}:", targets, re.MULTILINE), arguments
        elif arguments[0] == "-m":
            assert (ROOT / arguments[1].replace(".", "/")).with_suffix(".py").is_file(), arguments
        else:
            names = [name for name in arguments if not name.startswith("-")]
            assert names and all((ROOT / name).exists() for name in names), arguments


def test_the_files_that_it_names_in_python_have_those_names():
    for file, name in [
        ("models/zoo.py", "FULL"),
        ("models/base.py", "DeepLab"),
        ("models/__init__.py", "HOMES"),
        ("classroom/widgets/_twin.py", "Twin"),
        ("classroom/widgets/__init__.py", "_HOME"),
        ("classroom/exercises/grading.py", "expect"),
    ]:
        assert name in TEXT
        pattern = rf"^(class |def )?{name}\b"
        assert re.search(pattern, (ROOT / "deeplab_lite" / file).read_text(), re.MULTILINE), file


def test_hooks_run_tools_of_the_extra_test():
    hooks = [hook for repo in HOOKS for hook in repo["hooks"]]
    assert {repo["repo"] for repo in HOOKS} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    assert [" ".join(hook["entry"].split()[:2]) for hook in hooks] == [
        "ruff check",
        "ruff format",
        "codespell",
        "pytest -q",
    ]
    extra = {Requirement(text).name for text in PROJECT["optional-dependencies"]["test"]}
    assert {hook["entry"].split()[0] for hook in hooks} <= extra
    assert (ROOT / hooks[-1]["entry"].split()[-1]).is_file()
