"""Links that open a lesson elsewhere, and the cell that installs the course there."""

import re
import sys
from pathlib import Path
from typing import Any

from tools.notebooks import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it there
    import tomli as tomllib

BRANCH = "gh-pages"  # .github/workflows/pages.yml puts the pages there, and these notebooks
# A notebook on Colab has Jupyter's side already, and another version of it would break its kernel.
FRONT_ENDS = {"ipykernel", "jupyterlab", "tensorboard", "voila", "deeplab-lite"}

CELL = """\
# Installs the course where it is missing, for instance on Colab. Elsewhere this cell does nothing.
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("deeplab_lite") is None:
    if not os.path.isdir("course"):
        course = "https://github.com/{repository}"
        subprocess.run(["git", "clone", "--quiet", "--depth=1", course, "course"], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "./course"]
    subprocess.run([*pip, {packages}], check=True)
    importlib.invalidate_caches()
if os.path.isdir("course/notebooks"):  # lesson 09 writes there
    os.chdir("course/notebooks")
"""


def packages() -> list[str]:
    """What the lessons use beyond the core, without front ends: from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = extras["lab"] + extras["export"]
    return [text for text in needed if re.split(r"[^\w-]", text)[0] not in FRONT_ENDS]


def cell(repository: str) -> dict[str, Any]:
    """The cell as a notebook stores it."""
    named = ", ".join(f'"{package}"' for package in packages())
    code = CELL.format(repository=repository, packages=named)
    return {
        "cell_type": "code",
        "id": "install",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": code,
    }


def links(path: Path, repository: str) -> str:
    """Markdown: open this lesson in Colab or Binder."""
    name = path.name
    colab = f"https://colab.research.google.com/github/{repository}/blob/{BRANCH}/notebooks/{name}"
    binder = f"https://mybinder.org/v2/gh/{repository}/HEAD?urlpath=lab/tree/notebooks/{name}"
    return f"**Run it** [Open in Colab]({colab}) · [Open in Binder]({binder})"
