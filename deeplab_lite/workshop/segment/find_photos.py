"""Which photographs a command line means: files, folders, patterns."""

import glob
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from deeplab_lite.image_files import FORMATS
from deeplab_lite.workshop.segment.results import is_result

# Of phones and cameras: skipped in a folder, nobody would miss them.
UNREADABLE = frozenset((".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw"))


class PhotoFile(NamedTuple):
    """A file, and what its results are called: its path in that folder, without suffix."""

    path: Path
    name: str


class Failure(NamedTuple):
    """A word of the command line, or a file, and what is wrong with it."""

    what: str
    sentence: str


def find(words: Iterable[str]) -> tuple[list[PhotoFile], list[Failure]]:
    """The photos that are meant, each once, in order; and words that mean none.

    A word is a file, a folder (all pictures in it and below, by suffix), or a pattern with *, ?, []
    or **, in case the shell has not resolved it. In folders and patterns, results of earlier runs
    are left out.
    """
    unique: dict[Path, PhotoFile] = {}
    failures: list[Failure] = []
    for word in words:
        path = Path(os.path.expanduser(word))  # Path's own stops at ~draft.jpg: no such user
        try:
            if not word:
                photos, why = [], "an empty word"
            elif path.is_dir():
                photos = list(_below(path, path, failures))
                why = "a folder without pictures"
            elif path.exists() or not glob.has_magic(word):
                photos, why = [PhotoFile(path, path.stem)], ""
            else:
                photos = list(_matching(str(path), failures))
                why = "a pattern that no picture matches"
        except OSError as error:
            photos, why = [], f"not to be read ({error.strerror})"
        if not photos:
            failures.append(Failure(word, f"{word or repr(word)} is {why}: expected photos"))
        for photo in photos:
            unique.setdefault(Path(os.path.abspath(photo.path)), photo)
    return list(unique.values()), failures


def _below(folder: Path, root: Path, failures: list[Failure]) -> Iterator[PhotoFile]:
    """Pictures of a folder and those in it, hidden ones left out; links to folders not followed."""

    def unreadable(error: OSError) -> None:
        failures.append(Failure(str(error.filename), f"{error.filename}: {error.strerror}"))

    for here, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(here) / name
            if path.suffix.lower() in suffixes() and not name.startswith("."):
                yield from _named(path, root)


def _matching(pattern: str, failures: list[Failure]) -> Iterator[PhotoFile]:
    """What a pattern matches: files of any suffix if it names one, else pictures; folders whole."""
    fixed = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    root = Path(*fixed)
    for match in sorted(glob.glob(pattern, recursive=True)):
        path = Path(match)
        if path.is_dir():
            yield from _below(path, root, failures)
        elif Path(pattern).suffix or path.suffix.lower() in suffixes():
            yield from _named(path, root)


def _named(path: Path, root: Path) -> Iterator[PhotoFile]:
    if not is_result(path):
        yield PhotoFile(path, path.relative_to(root).with_suffix("").as_posix())


@cache
def suffixes() -> frozenset[str]:
    """Of pictures: of the kinds that can be read, and of those that are to be told."""
    return UNREADABLE | {s for s, kind in Image.registered_extensions().items() if kind in FORMATS}
