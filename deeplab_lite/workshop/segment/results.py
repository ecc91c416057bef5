"""What is written for each photo, when it is there already, and where it can go.

NAME.labels.png: the class of each pixel as a palette PNG. NAME.overlay.jpg: the photo with classes
tinted, for the eye, shrunk where it is large. NAME.classes.csv: pixels and share of each class.
NAME.result.json: all of it with the settings; it is written last, so where it is, all is.
"""

import csv
import hashlib
import json
import os
import platform
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image

from deeplab_lite import __version__, colors
from deeplab_lite.files import replacing
from deeplab_lite.image_files import Photo, shrunk

LABELS, OVERLAY, TABLE, RECORD = ".labels.png", ".overlay.jpg", ".classes.csv", ".result.json"
OURS = (LABELS, OVERLAY, TABLE, RECORD)
LARGEST = 1600  # pixels, of the longer side of an overlay
ENDS = "|".join(map(re.escape, OURS))
LEFT_BEHIND = re.compile(rf"\..+(?:{ENDS})\.(\d+)")  # by `replacing`, where it was killed


def sha256(path: Path) -> str:
    """Of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def reference(photo: Path, out: Path) -> str:
    """A photo's path relative to the folder of results: both can be moved together."""
    try:
        return Path(os.path.relpath(photo, out)).as_posix()
    except ValueError:  # on another drive of Windows
        return Path(os.path.abspath(photo)).as_posix()


def record_of(out: Path, name: str) -> dict[str, Any] | None:
    """What NAME.result.json says; None where there is none, or it is no record."""
    try:
        record = json.loads((out / f"{name}{RECORD}").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def is_result(path: Path) -> bool:
    """Whether a file is of an earlier run: by its name, and a record beside it."""
    for suffix in OURS:
        if path.name.endswith(suffix):
            return path.with_name(f"{path.name.removesuffix(suffix)}{RECORD}").is_file()
    return False


def is_done(out: Path, name: str, photo: str, digest: str, settings: dict[str, Any]) -> bool:
    """Whether all files of this photo are there, from the same content with the same settings."""
    record = record_of(out, name) or {}
    expected = {"photo": photo, "sha256": digest, "settings": json.loads(json.dumps(settings))}
    return expected == {key: record.get(key) for key in expected} and all(
        (out / f"{name}{suffix}").is_file() for suffix in OURS
    )


class Names:
    """What results are called: the photo's name, with a mark where another photo has that name.

    Neither results of another photo, of this run or an earlier one, nor photos are overwritten.
    """

    def __init__(self, out: Path, photos: list[Path]):
        self.out = out
        self.photos = {os.path.abspath(photo) for photo in photos}
        self.names: set[str] = set()

    def __call__(self, name: str, photo: str) -> str:
        """`photo` as `reference` makes it."""
        if not self._free(name, photo):
            name = f"{name}-{hashlib.sha256(photo.encode()).hexdigest()[:8]}"
        self.names.add(name.casefold())
        return name

    def _free(self, name: str, photo: str) -> bool:
        record = record_of(self.out, name)
        ours = record.get("photo") == photo if record else name.casefold() not in self.names
        paths = (os.path.abspath(self.out / f"{name}{suffix}") for suffix in OURS)
        return ours and self.photos.isdisjoint(paths)


def write(
    out: Path,
    name: str,
    photo: Photo,
    labels: np.ndarray,
    palette: np.ndarray,
    record: dict[str, Any],
) -> None:
    """All files of a photo, at once. A kill meanwhile leaves whole files, and no record of them."""
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:  # closed from its end: the record takes its name last
        files = {
            suffix: stack.enter_context(replacing(out / f"{name}{suffix}"))
            for suffix in reversed(OURS)
        }
        picture = Image.fromarray(labels)
        picture.putpalette(palette.ravel().tolist())
        picture.save(files[LABELS], "PNG")
        tinted = Image.fromarray(overlay(photo.image, labels, palette, record))
        tinted.save(files[OVERLAY], "JPEG", quality=90)
        with files[TABLE].open("w", newline="") as table:
            writer = csv.DictWriter(table, list(record["classes"][0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(record["classes"])
        files[RECORD].write_bytes(_json(record))
        (out / f"{name}{RECORD}").unlink(missing_ok=True)  # an old one knows nothing of these files


def overlay(
    image: np.ndarray, labels: np.ndarray, palette: np.ndarray, record: dict[str, Any]
) -> np.ndarray:
    """The photo with its classes tinted; a background, if class 0 is one, keeps its colours."""
    small = shrunk(image, LARGEST)
    size = small.shape[1::-1]
    fitting = np.array(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
    if record["classes"][0]["name"].lower() not in ("background", "void"):
        fitting, palette = fitting + 1, np.vstack([palette[:1], palette])
    return colors.overlay(small, fitting, 0.5, palette)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """A JSON file that is whole or not there."""
    with replacing(path) as file:
        file.write_bytes(_json(content))


def _json(content: dict[str, Any]) -> bytes:
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # names need not be text


def versions() -> dict[str, str]:
    """Versions of the software that writes the results."""
    return {
        "deeplab_lite": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def sweep(out: Path) -> None:
    """Remove the unfinished files of runs that were killed, not those of one that goes on."""
    for path in out.rglob(".*"):
        match = LEFT_BEHIND.fullmatch(path.name)
        if match and not psutil.pid_exists(int(match[1])):
            path.unlink(missing_ok=True)
