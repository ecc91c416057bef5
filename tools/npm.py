"""What the pages take from npm: each folder's lock file says it, and node_modules holds it."""

import shutil
import subprocess
from pathlib import Path


def install(folder: Path) -> None:
    """Fetch what the lock file names, unless it is there. Raises as `run`."""
    there = folder / "node_modules" / ".package-lock.json"  # npm writes it last
    lock = folder / "package-lock.json"
    if not there.exists() or there.stat().st_mtime < lock.stat().st_mtime:
        run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        there.touch()


def run(folder: Path, command: str, *arguments: str) -> None:
    """Run a program of Node, or of the folder's packages, in that folder.

    Raises FileNotFoundError where it is missing, and RuntimeError with its words when it fails.
    """
    packages = folder / "node_modules" / ".bin"
    program = shutil.which(command) or shutil.which(command, path=str(packages))
    if program is None:
        raise FileNotFoundError(f"There is no {command}: install Node.js 20 or newer.")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{done.stdout}{done.stderr}\n{command} failed in {folder}.")
