"""For tests and notebooks alike: nothing leaves this machine, kernels start as in `make notebooks`,
and nbval compares figures too (tests/nbval_figures.py)."""

import os
import runpy
import tempfile
from pathlib import Path

import pytest

from tools import notebooks

pytest_plugins = ["nbval_figures"]

runpy.run_path(str(notebooks.ROOT / "tools" / "offline" / "sitecustomize.py"))
SCRATCH = tempfile.TemporaryDirectory(prefix="deeplab-tests-")
os.environ.update(notebooks.kernel_environment(Path(SCRATCH.name)))  # child processes inherit it


def pytest_collection_finish(session):
    if any(item.path.suffix == ".ipynb" for item in session.items):
        notebooks.prepare_fonts()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With -n 2 a file stays with one worker: cells need those above them, tests their fixture."""
    if config.getoption("dist") == "load":
        from xdist.scheduler import LoadFileScheduling

        return LoadFileScheduling(config, log)
    return None
