"""Many photos, one after the other: what is done is skipped, a broken file gets one sentence."""

import errno
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from deeplab_lite import image_files
from deeplab_lite.tables import text_table
from deeplab_lite.workshop.segment import results
from deeplab_lite.workshop.segment.find_photos import Failure, PhotoFile, find
from deeplab_lite.workshop.segment.segmenter import Segmenter, Settings, shares

ENDING = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EPIPE)  # the next photo would fail, too
SHOWN = 4  # classes in the line of a photo


@dataclass
class Report:
    """What became of each photo: records of those done and skipped, a sentence for each failed."""

    done: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
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
        """Lines: pixels, share and number of photos of each class, over all photos."""
        rows: dict[str, list[int]] = {}
        for record in self.done + self.skipped:
            for one in _there(record):
                row = rows.setdefault(one["name"], [0, 0])
                row[0] += one["pixels"]
                row[1] += 1
        if not rows:
            return []
        total = sum(pixels for pixels, _ in rows.values())
        lines = [["class", "pixels", "share", "photos"]]
        for name, (pixels, count) in sorted(rows.items(), key=lambda row: -row[1][0]):
            lines.append([name, f"{pixels:,}", f"{100 * pixels / total:.1f} %", f"{count:,}"])
        return text_table(lines).splitlines()


def segment_photos(
    words: Iterable[str],
    settings: Settings,
    out: str | Path,
    device: str = "auto",
    overwrite: bool = False,
) -> Report:
    """Segment photos into a folder; prints a line for each, and writes summary.json. Lesson 09.

    words: files, folders, patterns, see `find_photos.find`. A photo that has results with the same
    settings is skipped unless `overwrite`. A photo that cannot be read gets one sentence on stderr,
    and the rest is done. Ctrl+C leaves whole files only.

    Raises ValueError, FileNotFoundError as `Segmenter`; OSError where nothing can be written.
    """
    out, start = Path(out), time.monotonic()
    segmenter = Segmenter(settings, device)
    out.mkdir(parents=True, exist_ok=True)
    results.sweep(out)
    photos, failures = find(words)
    work = Work(segmenter, out, results.Names(out, [photo.path for photo in photos]), overwrite)
    for failure in failures:
        work.fail(failure)
    try:
        for photo in tqdm(photos, unit="photo", disable=not sys.stderr.isatty()):
            try:
                work.do(photo)
            except (ValueError, OSError, RuntimeError, MemoryError) as error:
                if getattr(error, "errno", None) in ENDING:
                    raise
                work.fail(Failure(str(photo.path), _sentence(photo.path, error)))
    except KeyboardInterrupt:
        work.report.interrupted = True
    _summary(out, segmenter, work.report, time.monotonic() - start)
    return work.report


@dataclass
class Work:
    """One photo after the other, and what became of them."""

    segmenter: Segmenter
    out: Path
    names: results.Names
    overwrite: bool
    report: Report = field(default_factory=Report)

    def do(self, photo: PhotoFile) -> None:
        """Read, segment, write; or skip what is there already."""
        start = time.monotonic()
        path, out, settings = photo.path, self.out, self.segmenter.described()
        source = results.reference(path, out)
        name = self.names(photo.name, source)
        digest = results.sha256(path) if path.is_file() else ""
        if not self.overwrite and results.is_done(out, name, source, digest, settings):
            self.report.skipped.append(results.record_of(out, name) or {})
            return
        image = image_files.read(path, None, image_files.room())
        quiet = not sys.stderr.isatty()
        track = partial(tqdm, desc=path.name, unit="tile", leave=False, disable=quiet)
        labels = self.segmenter.labels(image.image, track)
        height, width = labels.shape
        record = {
            "photo": source,
            "sha256": digest,
            "read": str(image),
            "width": width,
            "height": height,
            "settings": settings,
            "classes": shares(labels, self.segmenter.classes),
            "files": [f"{name}{suffix}" for suffix in results.OURS],
            "versions": results.versions(),
        }
        results.write(out, name, image, labels, self.segmenter.palette, record)
        self.report.done.append(record)
        seconds = time.monotonic() - start
        size = ", ".join((f"{width} x {height}", *image.changes))
        _print(f"{path}  {size}  {seconds:.1f} s  {_most(record)}", sys.stdout)

    def fail(self, failure: Failure) -> None:
        """Tell it at once; the rest is done."""
        self.report.failed.append(failure)
        _print(failure.sentence, sys.stderr)


def _print(line: str, to: TextIO) -> None:
    """Beside a progress bar; what the terminal's encoding lacks, in names of files, is escaped."""
    encoding = to.encoding or "utf-8"
    tqdm.write(line.encode(encoding, "backslashreplace").decode(encoding), file=to)


def _there(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The classes that a photo has, the commonest first."""
    return sorted((one for one in record["classes"] if one["pixels"]), key=lambda c: -c["pixels"])


def _most(record: dict[str, Any]) -> str:
    """background 81 %, disc 19 %, 2 more."""
    there = _there(record)
    named = [one for one in there[:SHOWN] if one["share"] >= 0.005]
    text = ", ".join(f"{one['name']} {100 * one['share']:.0f} %" for one in named)
    return text + (f", {len(there) - len(named)} more" if len(there) > len(named) else "")


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
        "failed": [failure._asdict() for failure in report.failed],
        "versions": results.versions(),
    }
    results.write_json(out / "summary.json", content)


def _short(record: dict[str, Any]) -> dict[str, Any]:
    shares_of = {one["name"]: one["share"] for one in _there(record)}
    return {"photo": record["photo"], "files": record["files"], "shares": shares_of}
