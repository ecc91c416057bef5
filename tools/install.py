"""Make .venv and install the course into it. `make lab` and `make test` call this.

    python3 tools/install.py lab      what the lessons need, and a try at the compiled CRF
    python3 tools/install.py test     on top of that, what the tests need

Standard library only, and no syntax newer than Python 3.6, so that an old Python gets as far as
the sentence that says which one is wanted. A step that succeeds leaves .venv/.lab or .venv/.test
behind, which is all that make looks at.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 10)
ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
# Stands while a step runs. Found at the start of another, it says that the step before was killed
# half-way: pip may have left half a package, which it would not notice, so we begin afresh.
UNFINISHED = VENV / ".unfinished"
CRF_LOG = VENV / "pydensecrf2.log"
INSTALL = ["-m", "pip", "install", "--disable-pip-version-check", "-c", "constraints.txt", "-e"]


def main() -> None:
    step = sys.argv[1] if len(sys.argv) == 2 else ""
    if step not in ("lab", "test"):
        sys.exit("usage: python3 tools/install.py lab|test")
    os.chdir(str(ROOT))
    check_python()
    make_venv()
    UNFINISHED.touch()
    installed = venv_python([*INSTALL, f".[{step}]"])
    if installed and step == "lab":
        try_crf()
    UNFINISHED.unlink()
    if not installed:
        sys.exit(
            "The installation failed, for the reason that pip gives above. Disk space, proxies and "
            "versions are in README.md's troubleshooting table; then run the same command again."
        )
    (VENV / f".{step}").touch()


def check_python() -> None:
    """Exit with one sentence if this Python cannot make the environment."""
    wanted = ".".join(map(str, OLDEST))
    have = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST:
        sys.exit(
            f"Python {have} is too old, the course needs {wanted} or newer: name one, "
            "for instance `make lab PYTHON=python3.12`."
        )
    try:
        import ensurepip  # noqa: F401 - Debian ships venv without it, and then venv fails late
        import venv  # noqa: F401
    except ImportError:
        sys.exit(
            f"Python {have} has no venv module: install it (Debian, Ubuntu: "
            f"`sudo apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv`) "
            "and run the same command again."
        )


def make_venv() -> None:
    """Make .venv, or make it afresh if a step was killed in it or its Python no longer runs."""
    if not UNFINISHED.exists() and venv_python(["-m", "pip", "--version"], subprocess.DEVNULL):
        return
    if VENV.exists():
        print("The environment .venv is incomplete or broken: making it afresh.", flush=True)
    print("Making .venv; the installation takes a few minutes and up to 7 GB of disk.", flush=True)
    VENV.mkdir(exist_ok=True)
    if subprocess.call([sys.executable, "-m", "venv", "--clear", str(VENV)]) != 0:
        sys.exit("Python could not make .venv, for the reason above.")


def venv_python(arguments: list, output=None) -> bool:
    """Run .venv's Python, its output going to `output` as in subprocess; whether it succeeded."""
    try:
        return subprocess.call([str(PYTHON), *arguments], stdout=output, stderr=output) == 0
    except OSError:  # there is none, or the one that it was made from has gone
        return False


def try_crf() -> None:
    """Install pydensecrf2, which has to be compiled; say in one line if it cannot be had."""
    if venv_python(["-c", "import pydensecrf.densecrf"], subprocess.DEVNULL):
        return
    if sys.version_info >= (3, 13):
        reason = "does not build on Python 3.13"
    else:
        print("Compiling pydensecrf2, the optional C++ dense CRF: about a minute.", flush=True)
        with CRF_LOG.open("w") as log:
            if venv_python([*INSTALL, ".[crf]"], log):
                return
        compilers = [os.environ.get("CXX", "c++"), "g++", "clang++", "cl"]
        if any(shutil.which(name) for name in compilers):
            reason = f"did not build ({CRF_LOG.relative_to(ROOT)} says why)"
        else:
            reason = "needs a C++ compiler and there is none"
    print(
        f"Without pydensecrf2, which {reason}: "
        "the lessons on the dense CRF will use a lattice written in torch, and lose nothing else."
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nInterrupted: run the same command to start again.")
