"""The workflows for GitHub run what exists, on the systems and Pythons that README promises."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tools.site import colab

ROOT = Path(__file__).resolve().parents[2]
FLOWS = {
    path.stem: yaml.safe_load(path.read_text("utf-8"))
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def steps(flow: str) -> list[dict]:
    (job,) = FLOWS[flow]["jobs"].values()
    return job["steps"]


def commands(flow: str) -> list[list[str]]:
    """What its steps run, as words; an expression ${{ ... }} is one word."""
    lines = "\n".join(step["run"] for step in steps(flow) if "run" in step).splitlines()
    words = [re.sub(r"\$\{\{.*?\}\}", "EXPRESSION", line).replace("\\", "/") for line in lines]
    return [shlex.split(line) for line in words if line]


def test_there_are_two():
    assert set(FLOWS) == {"pages", "test"}


@pytest.mark.parametrize("flow", FLOWS)
def test_the_commands_that_it_runs_exist(flow):
    known = []
    for words in commands(flow):
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", MAKEFILE, re.MULTILINE), words
        elif words[0].endswith(("python", "EXPRESSION")) and words[1] != "-m":
            assert (ROOT / words[1]).is_file(), words
            assert f'"{words[2]}": (' in (ROOT / words[1]).read_text("utf-8"), words
        elif words[0].endswith(("python", "EXPRESSION")):
            assert words[2] in ("venv", "pip", "playwright", "pytest"), words
        elif words[0] == "npm":
            assert (ROOT / words[-1] / "package-lock.json").is_file(), words
        else:
            assert words[0] in ("git", "touch"), words
        known.append(words[:2])
    assert ["make", {"pages": "site", "test": "test"}[flow]] in known


def test_the_tests_run_on_each_system_with_the_oldest_and_the_newest_python():
    (job,) = FLOWS["test"]["jobs"].values()
    systems = {name.split("-")[0] for name in job["strategy"]["matrix"]["os"]}
    assert systems == {"ubuntu", "macos", "windows"}
    oldest, newest = re.search(r"install Python (3\.\d+) to (3\.\d+)", MAKEFILE).groups()
    assert job["strategy"]["matrix"]["python"] == [oldest, newest]
    shells = [step.get("if") for step in steps("test")][-2:]
    assert shells == ["runner.os != 'Windows'", "runner.os == 'Windows'"]


def test_pages_name_the_repository_and_go_to_the_branch_that_colab_reads():
    (build,) = [words for words in commands("pages") if words[0] == "make"]
    assert build == ["make", "site", "ARGS=--repository EXPRESSION"]
    (push,) = [words for words in commands("pages") if words[:2] == ["git", "push"]]
    assert push[-1] == colab.BRANCH
    assert FLOWS["pages"]["permissions"] == {"contents": "write"}


def test_each_installs_node_which_the_pages_need():
    for flow in FLOWS:
        assert any(step.get("uses", "").startswith("actions/setup-node") for step in steps(flow))
