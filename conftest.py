"""For tests and notebooks alike: nothing leaves this machine, kernels start as in `make notebooks`,
the whole suite runs in two processes, and nbval runs lessons and compares figures too."""

import gc
import os
import runpy
import sys
import tempfile
from pathlib import Path

import pytest
import selection

from tools import notebooks

runpy.run_path(str(notebooks.ROOT / "tools" / "offline" / "sitecustomize.py"))
SCRATCH = tempfile.TemporaryDirectory(prefix="deeplab-tests-")
os.environ.update(notebooks.kernel_environment(Path(SCRATCH.name)))  # child processes inherit it

gc.disable()  # until all is imported and collected, which leaves no garbage worth the search

# A grammar of web addresses that nbformat's schemas do not need: it takes a second to import.
sys.modules.setdefault("rfc3987_syntax", None)

WORKERS = 2
# nbval's options. It is imported with the first lesson that is collected.
NBVAL = {
    "nbval_lax": False,
    "nbval_current_env": True,
    "nbval_kernel_name": None,
    "nbval_kernel_startup_timeout": 60,
    "nbval_cell_timeout": notebooks.CELL_TIMEOUT,
    "nbval_sanitize_with": None,
    "nbdime": False,
}
SKIPPED = pytest.StashKey[set[Path]]()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Two workers for the whole suite and for folders; one process for less starts sooner."""
    option = config.option
    files = [name for name in option.file_or_dir if not os.path.isdir(name)]
    part = files or option.keyword or option.markexpr or option.collectonly or option.usepdb
    free = getattr(option, "numprocesses", 0) is None  # no -n, and there is xdist
    if free and not part and not hasattr(config, "workerinput"):
        option.numprocesses = min(WORKERS, os.cpu_count() or 1)


def pytest_configure(config):
    vars(config.option).update(NBVAL)
    files = [*notebooks.ROOT.glob("tests/**/test_*.py"), *notebooks.all_notebooks()]
    config.stash[SKIPPED] = selection.skipped(config.option.keyword, files)


def pytest_report_header(config):
    count = len(config.stash[SKIPPED])
    return f"not read: {count} files that name none of -k's words" if count else None


def pytest_ignore_collect(collection_path, config):
    return True if collection_path in config.stash[SKIPPED] else None


def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".ipynb":
        import nbval_figures  # noqa: F401  makes nbval compare figures
        from nbval.plugin import IPyNbFile

        return IPyNbFile.from_parent(parent, path=file_path)
    return None


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: -selection.seconds(item.nodeid))


def pytest_collection_finish():
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if item.path.suffix == ".ipynb":
        notebooks.prepare_fonts()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file stays with one worker: cells need those above them, tests their fixture."""
    if config.getoption("dist") == "load":
        from xdist.scheduler import LoadFileScheduling

        config.option.loadscopereorder = False  # else files with many tests come first
        return LoadFileScheduling(config, log)
    return None
