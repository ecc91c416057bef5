"""Make .venv and install the course into it. `make lab`, `make test` and `make site` call this.

    python3 tools/install.py lab      what the lessons need, and a try at the compiled CRF
    python3 tools/install.py test     on top of that, what the tests need
    python3 tools/install.py site     on top of the lessons', what builds the pages

Each step prints a line that says what it does; what pip writes goes to .venv/install.log.

Standard library only, and no syntax newer than Python 3.6, so that an old Python gets as far as
the sentence that says which one is wanted. A step that succeeds leaves .venv/.lab, .venv/.test
or .venv/.site behind, which is all that make looks at.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 10)
ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
# Exists while a step runs. If it exists at the start, the step before was killed half-way: pip may
# have left half a package, which it would not notice, so we make the environment afresh.
UNFINISHED = VENV / ".unfinished"
LOG = VENV / "install.log"
INSTALL = ["-m", "pip", "install", "--disable-pip-version-check", "-c", "constraints.txt", "-e"]
#        lines "1/3 ..." that a call prints, for what, its size
KINDS = {
    "lab": (3, "lessons", "up to 6.5 GB, some five minutes"),
    "test": (2, "tests", "some 100 MB, a minute"),
    "site": (2, "pages", "some 50 MB, a minute"),
}
PAUSE = 20.0  # seconds between two lines of progress
TAIL = 15  # lines of the log that are printed after a failure


def main() -> None:
    kind = sys.argv[1] if len(sys.argv) == 2 else ""
    if kind not in KINDS:
        sys.exit("usage: python3 tools/install.py lab|test|site")
    os.chdir(str(ROOT))
    steps, what, size = KINDS[kind]
    check_python()
    make_venv(steps)
    UNFINISHED.touch()
    LOG.write_text("")
    log = LOG.relative_to(ROOT)
    say(f"2/{steps} Installing what the {what} need: {size}; details in {log}")
    installed = pip_install(f".[{kind}]")
    if installed and kind == "lab":
        try_crf(steps)
    UNFINISHED.unlink()
    if not installed:
        say("".join(LOG.read_text(errors="replace").splitlines(True)[-TAIL:]).rstrip())
        sys.exit(
            f"The installation failed, for the reason above; all that pip wrote is in {log}. Disk "
            "space, proxies and versions are in README.md's troubleshooting table; then run the "
            "same command again."
        )
    (VENV / f".{kind}").touch()


def say(line: str) -> None:
    print(line, flush=True)


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


def make_venv(steps: int) -> None:
    """Make .venv, or make it afresh if a step was killed in it or its Python no longer runs."""
    if not UNFINISHED.exists() and venv_python(["-m", "pip", "--version"], subprocess.DEVNULL):
        say(f"1/{steps} The environment .venv is here")
        return
    state = "incomplete or broken: making it afresh" if VENV.exists() else "new: making it"
    say(f"1/{steps} The environment .venv is {state}, a few seconds")
    VENV.mkdir(exist_ok=True)
    if subprocess.call([sys.executable, "-m", "venv", "--clear", str(VENV)]) != 0:
        sys.exit("Python could not make .venv, for the reason above.")


def venv_python(arguments: list, output=None) -> bool:
    """Run .venv's Python, its output going to `output` as in subprocess; whether it succeeded."""
    try:
        return subprocess.call([str(PYTHON), *arguments], stdout=output, stderr=output) == 0
    except OSError:  # there is none, or the one that it was made from has gone
        return False


def pip_install(requirement: str) -> bool:
    """Append pip's output to LOG and print a line of progress every PAUSE seconds."""
    with LOG.open("a") as log:
        start = log.tell()
        pip = subprocess.Popen([str(PYTHON), *INSTALL, requirement], stdout=log, stderr=log)
        while True:
            try:
                return pip.wait(timeout=PAUSE) == 0
            except subprocess.TimeoutExpired:
                with LOG.open(errors="replace") as text:
                    text.seek(start)
                    say("  ... " + progress(text.read()))


def progress(text: str) -> str:
    """How far pip is, from what it has written."""
    if "Installing collected packages" in text:
        return "all downloaded; pip is installing them"
    packages = set(re.findall(r"^ *Collecting ([\w.-]+)", text, re.M))
    files = re.findall(r"^ *(?:Downloading|Using cached) .*\.(?:whl|tar\.gz) ", text, re.M)
    return f"{len(packages)} packages found, {len(files)} downloaded"


def try_crf(steps: int) -> None:
    """Install pydensecrf2, which has to be compiled; say in one line if that is not possible."""
    step = f"3/{steps}"
    if venv_python(["-c", "import pydensecrf.densecrf"], subprocess.DEVNULL):
        say(f"{step} pydensecrf2, the optional C++ dense CRF, is here")
        return
    if sys.version_info >= (3, 13):
        reason = "does not build on Python 3.13"
    else:
        say(f"{step} Compiling pydensecrf2, the optional C++ dense CRF: about a minute")
        if pip_install(".[crf]"):
            return
        compilers = [os.environ.get("CXX", "c++"), "g++", "clang++", "cl"]
        if any(shutil.which(name) for name in compilers):
            reason = f"did not build ({LOG.relative_to(ROOT)} says why)"
        else:
            reason = "needs a C++ compiler and there is none"
    say(
        f"{step} Without pydensecrf2, which {reason}: "
        "the lessons on the dense CRF use a lattice written in torch, and lose nothing else."
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nInterrupted: run the same command to start again.")
