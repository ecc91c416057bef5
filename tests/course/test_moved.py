"""Import paths of version 0.1 still work: they warn once and give the new module itself."""

import re
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import pytest

from deeplab_lite._moved import MOVED

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fresh_import(monkeypatch):
    """Forgets the old names, also where a test has imported them before."""
    for old in MOVED:
        monkeypatch.delitem(sys.modules, f"deeplab_lite.{old}", raising=False)


def import_by(file: str, old: str) -> list[warnings.WarningMessage]:
    """The warnings when a file, which need not exist, imports an old name in its third line."""
    code = compile(f"\n\nimport deeplab_lite.{old}", file, "exec")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(code, {"__name__": "importer"})
    return [w for w in caught if "has moved" in str(w.message)]


@pytest.mark.parametrize("old, new", MOVED.items())
def test_an_old_name_gives_the_new_module(fresh_import, old, new):
    import_by("mine.py", old)
    assert sys.modules[f"deeplab_lite.{old}"] is import_module(f"deeplab_lite.{new}")


@pytest.mark.parametrize("old, new", MOVED.items())
def test_an_old_name_warns_once_in_the_file_that_imports_it(fresh_import, old, new):
    *parents, warning = import_by("mine.py", old)  # `train` warns before `train.loss`
    assert len(parents) == old.count(".") - old.startswith("models.")
    assert warning.category is DeprecationWarning
    assert f"deeplab_lite.{old} has moved: import deeplab_lite.{new};" in str(warning.message)
    assert (warning.filename, warning.lineno) == ("mine.py", 3)
    assert import_by("mine.py", old) == []


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_no_file_any_more(old):
    path = ROOT / "deeplab_lite" / old.replace(".", "/")
    assert not path.with_suffix(".py").exists()
    assert not (path / "__init__.py").exists()


def test_a_new_name_keeps_its_own_spec(fresh_import):
    import_by("mine.py", "intake")
    assert import_module("deeplab_lite.image_files").__spec__.name == "deeplab_lite.image_files"


def test_from_deeplab_lite_import_an_old_name(fresh_import):
    code = "from deeplab_lite import intake; print(intake.__name__)"
    run = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:deeplab_lite", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.stdout == "deeplab_lite.image_files\n", run.stderr
    assert run.stderr.count("DeprecationWarning") == 1


def test_the_changelog_lists_the_moved_names():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", changelog, re.MULTILINE)
    assert dict(rows) == MOVED and len(rows) == len(MOVED)


def test_the_changelog_begins_with_this_version():
    import deeplab_lite

    versions = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == deeplab_lite.__version__


def test_the_command_line_runs():
    command = [sys.executable, "-W", "error", "-m", "deeplab_lite", "--help"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "DeepLab, one idea at a time" in run.stdout and run.stderr == ""
