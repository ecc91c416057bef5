"""Many photos, one after the other: what is done is skipped, what is broken told and left out."""

import errno
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .. import intake
from . import photos, results
from .network import Segmenter, Settings, shares

WHOLE = 10**6  # a side that no picture has: nothing is shrunk
FULL = (errno.ENOSPC, errno.EROFS, errno.EDQUOT)  # of a disk: the next photo fails, too
SHOWN = 4  # classes in the line of a photo


@dataclass
class Report:
    """What became of each photo. `failed` holds what, and a sentence."""

    done: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    failed: list[photos.Problem] = field(default_factory=list)
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 if all went well, 1 if a photo failed, 130 if Ctrl+C ended it."""
        return 130 if self.interrupted else int(bool(self.failed))

    def __str__(self) -> str:
        counts = [f"{len(self.done)} segmented"]
        counts += [f"{len(self.skipped)} were there already"] if self.skipped else []
        counts += [f"{len(self.failed)} failed"] if self.failed else []
        ended = "; interrupted: the same command goes on from here" if self.interrupted else ""
        return "\n".join([*self.table(), ", ".join(counts) + ended])

    def table(self) -> list[str]:
        """Pixels, share and photos of each class that was found, over all photos."""
        records = self.done + self.skipped
        rows: dict[str, list[int]] = {}
        for one in (one for record in records for one in record["classes"] if one["pixels"]):
            row = rows.setdefault(one["name"], [0, 0])
            row[0] += one["pixels"]
            row[1] += 1
        if not rows:
            return []
        total = sum(pixels for pixels, _ in rows.values())
        wide = max(5, *map(len, rows))
        lines = [f"{'class':{wide}}{'pixels':>15}{'share':>9}{'photos':>9}"]
        for name, (pixels, count) in sorted(rows.items(), key=lambda row: -row[1][0]):
            lines.append(f"{name:{wide}}{pixels:15,}{100 * pixels / total:7.1f} %{count:9,}")
        return lines


def segment_photos(
    words: Iterable[str],
    settings: Settings,
    out: str | Path,
    device: str = "auto",
    overwrite: bool = False,
    say: Callable[[str], None] | None = None,
) -> Report:
    """Segment photos into a folder; a line for each, and out/summary.json. Lesson 09.

    words: files, folders, patterns, see `photos.find`. What is there already, made of the same
    photo by the same settings, is left as it is unless `overwrite`. A photo that cannot be read is
    told in one sentence on stderr, and the rest is done. Ctrl+C leaves whole files only.

    Raises ValueError, FileNotFoundError as `Segmenter`; OSError where nothing can be written.
    """
    out, start = Path(out), time.monotonic()
    segmenter = Segmenter(settings, device)
    out.mkdir(parents=True, exist_ok=True)
    results.sweep(out)
    found, problems = photos.find(words)
    report = Report(failed=problems)
    names = results.Names(out, [photo.path for photo in found])
    quiet = not sys.stderr.isatty()
    say = say or partial(tqdm.write, file=sys.stdout)
    for problem in problems:
        tqdm.write(problem.sentence, file=sys.stderr)
    try:
        for photo in tqdm(found, unit="photo", disable=quiet):
            try:
                _one(photo, segmenter, out, names, overwrite, quiet, report, say)
            except (ValueError, OSError, RuntimeError, MemoryError) as error:
                if getattr(error, "errno", None) in FULL:
                    raise
                sentence = _sentence(photo.path, error)
                report.failed.append(photos.Problem(str(photo.path), sentence))
                tqdm.write(sentence, file=sys.stderr)
    except KeyboardInterrupt:
        report.interrupted = True
    _summary(out, segmenter, report, time.monotonic() - start)
    return report


def _one(
    photo: photos.Found,
    segmenter: Segmenter,
    out: Path,
    names: results.Names,
    overwrite: bool,
    quiet: bool,
    report: Report,
    say: Callable[[str], None],
) -> None:
    """One photo: read, segmented, written; or skipped."""
    start = time.monotonic()
    path, settings = photo.path, segmenter.described()
    source = results.reference(path, out)
    name = names(photo.name, source)
    digest = results.sha256(path) if path.is_file() else ""
    if not overwrite and results.is_done(out, name, source, digest, settings):
        report.skipped.append(results.record_of(out, name) or {})
        return
    image = intake.read(path, WHOLE)
    track = partial(tqdm, desc=path.name, unit="tile", leave=False, disable=quiet)
    labels = segmenter.labels(image.image, track)
    record = {
        "photo": source,
        "sha256": digest,
        "read": str(image),
        "width": labels.shape[1],
        "height": labels.shape[0],
        "settings": settings,
        "classes": shares(labels, segmenter.classes),
        "files": [f"{Path(name).name}{suffix}" for suffix in results.OURS],
        "versions": results.versions(),
    }
    results.write(out, name, image, labels, segmenter.palette, record)
    report.done.append(record)
    say(f"{path}  {_size(labels)}  {time.monotonic() - start:.1f} s  {_most(record)}")


def _size(labels: np.ndarray) -> str:
    return f"{labels.shape[1]} x {labels.shape[0]}"


def _most(record: dict[str, Any]) -> str:
    """The commonest classes: background 81 %, disc 19 %."""
    there = sorted((one for one in record["classes"] if one["pixels"]), key=lambda c: -c["pixels"])
    shown = [one for one in there[:SHOWN] if one["share"] >= 0.005]
    text = ", ".join(f"{one['name']} {100 * one['share']:.0f} %" for one in shown)
    return text + (f", {len(there) - len(shown)} more" if len(there) > len(shown) else "")


def _sentence(path: Path, error: Exception) -> str:
    """What is wrong with a photo, beginning with its path."""
    if isinstance(error, OSError) and error.strerror:
        return f"{path}: {error.strerror}"
    if isinstance(error, MemoryError) or "memory" in str(error):
        return f"{path}: not enough memory; take a smaller --tile"
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    for own in (str(path), path.name):
        if text.startswith(f"{own} "):
            return f"{path}{text.removeprefix(own)}"
    return f"{path}: {text}"


def _summary(out: Path, segmenter: Segmenter, report: Report, seconds: float) -> None:
    """out/summary.json: of this run."""
    content = {
        "model": segmenter.name,
        "settings": segmenter.described(),
        "device": str(segmenter.device),
        "seconds": round(seconds, 1),
        "interrupted": report.interrupted,
        "segmented": [_short(record) for record in report.done],
        "skipped": [_short(record) for record in report.skipped],
        "failed": [problem._asdict() for problem in report.failed],
        "versions": results.versions(),
    }
    results.write_json(out / "summary.json", content)


def _short(record: dict[str, Any]) -> dict[str, Any]:
    found = {one["name"]: one["share"] for one in record["classes"] if one["pixels"]}
    return {"photo": record["photo"], "files": record["files"], "shares": found}
