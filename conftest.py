"""For tests and notebooks alike: nothing leaves this machine, kernels start as in `make notebooks`,
and nbval compares figures too (tests/nbval_figures.py)."""

import os
import runpy
import tempfile
from pathlib import Path

from tools import notebooks

pytest_plugins = ["nbval_figures"]

runpy.run_path(str(notebooks.ROOT / "tools" / "offline" / "sitecustomize.py"))
SCRATCH = tempfile.TemporaryDirectory(prefix="deeplab-tests-")
os.environ.update(notebooks.kernel_environment(Path(SCRATCH.name)))  # child processes inherit it


def pytest_collection_finish(session):
    if any(item.path.suffix == ".ipynb" for item in session.items):
        notebooks.prepare_fonts()
