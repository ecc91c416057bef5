"""Files that are whole or not there, and where those of the package are. Loads nothing heavy."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of `path` once it is complete and on the disk.

    Whenever the process is killed, `path` is the old file or the new one.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def assets() -> Path:
    """The folder assets/ of the wheel, or of a clone."""
    package = Path(__file__).parent
    return package / "assets" if (package / "assets").is_dir() else package.parent / "assets"


def shipped_checkpoints() -> Path:
    """Where the networks that come with the course are."""
    return assets() / "checkpoints"


def package_folder(module: str, package: str, role: str) -> str:
    """The folder of an installed package; ModuleNotFoundError, with the command, without it."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"{package} holds {role}, and it is not installed: `pip install {package}`",
            name=module,
        )
    return next(iter(spec.submodule_search_locations))
