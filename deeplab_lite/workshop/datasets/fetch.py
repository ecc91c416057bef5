"""Files of a public GitHub repository, each checked against git's own checksum. Lesson 09.

GitHub lists a repository's files with the SHA-1 and size that git has for each, so a file on the
disk is right or wrong by itself: what is right is not fetched again, wherever a fetch was stopped.
"""

import hashlib
import http.client
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from tqdm import tqdm

from deeplab_lite.files import replacing

AT_ONCE = 4  # connections: polite, and enough for files of some 200 KB
TRIES, PAUSE, TIMEOUT = 3, 1.0, 30  # times, seconds before the second try, seconds without a byte


class Server(NamedTuple):
    """Where listings and files come from; tests have their own."""

    listing: str = "https://api.github.com"
    files: str = "https://raw.githubusercontent.com"


class Blob(NamedTuple):
    """A file of the repository: its path there, its size in bytes, git's SHA-1."""

    path: str
    size: int
    sha1: str

    def is_at(self, place: Path) -> bool:
        """Whether the file at `place` is this one."""
        return place.is_file() and place.stat().st_size == self.size and self.fits(place)

    def fits(self, place: Path) -> bool:
        content = place.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == self.sha1


class Failed(ConnectionError):
    """A sentence that is complete but for what to do. `again`: another try may help."""

    def __init__(self, text: str, again: bool = False):
        super().__init__(text)
        self.again = again


def fetch(
    repository: str,
    folders: Sequence[str],
    place: Path,
    ref: str = "master",
    server: Server | None = None,
    progress: bool = True,
) -> list[Path]:
    """Bring some folders of a repository into `place`, under their last names; return the files.

    What is there and right stays, what is damaged is replaced; a file is whole or not there,
    whenever this is stopped. Raises ConnectionError, with what to do, where the server cannot be
    reached, has no such repository, or gives wrong bytes; files that came before it are kept.
    """
    server = server or Server()
    blobs = {
        place / PurePosixPath(folder).name / path: blob
        for blob in listing(repository, ref, server)
        for folder in folders
        if (path := below(folder, blob.path))
    }
    if not blobs:
        raise Failed(f"{repository} has no files in {' and '.join(folders)}: it was rearranged")
    missing = {file: blob for file, blob in blobs.items() if not blob.is_at(file)}
    sizes = {file: blob.size for file, blob in blobs.items()}
    bar = tqdm(
        total=sum(sizes.values()),
        initial=sum(size for file, size in sizes.items() if file not in missing),
        desc=repository,
        unit="B",
        unit_scale=True,
        disable=not (progress and missing),
    )
    base = f"{server.files}/{repository}/{ref}"
    with bar, ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(bring, b, base, file): b for file, b in missing.items()}
        try:
            for done in as_completed(running):
                done.result()
                bar.update(running[done].size)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return list(blobs)


def listing(repository: str, ref: str, server: Server) -> list[Blob]:
    """All files of a repository. Raises Failed where there is no list of them."""
    url = f"{server.listing}/repos/{repository}/git/trees/{quote(ref)}?recursive=1"
    try:
        found = json.loads(patiently(lambda: download(url)))
        if found["truncated"]:
            raise Failed(f"{url} lists only a part of the files")
        blobs = [each for each in found["tree"] if each["type"] == "blob"]
        return [Blob(each["path"], each["size"], each["sha"]) for each in blobs]
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"{url} gives no list of files ({type(error).__name__})") from error


def bring(blob: Blob, base: str, file: Path) -> None:
    """One file, checked before it has its name."""
    url = f"{base}/{quote(blob.path)}"
    file.parent.mkdir(parents=True, exist_ok=True)

    def attempt() -> None:
        with replacing(file) as temporary:
            temporary.write_bytes(download(url))
            if not blob.fits(temporary):
                raise Failed(
                    f"{url} gave {temporary.stat().st_size} bytes that are not the file that "
                    f"GitHub lists, with {blob.size}",
                    again=True,
                )

    patiently(attempt)


def below(folder: str, path: str) -> PurePosixPath | None:
    """Where in a folder of the repository a listed file is; None if it is not in it.

    Raises Failed for a path that would lead out of it.
    """
    if not path.startswith(f"{folder}/"):
        return None
    if ".." in PurePosixPath(path).parts:
        raise Failed(f"{path!r} in the list of files leads out of its folder")
    return PurePosixPath(path).relative_to(folder)


def patiently(attempt: Callable[[], bytes | None]) -> bytes:
    """attempt(), up to TRIES times where another try may help."""
    for tried in range(1, TRIES + 1):
        try:
            return attempt() or b""
        except Failed as error:
            if not error.again or tried == TRIES:
                raise
            time.sleep(PAUSE * 2 ** (tried - 1))
    raise AssertionError("not reached")


def download(url: str) -> bytes:
    """The bytes behind a URL. Raises Failed."""
    request = Request(url, headers={"User-Agent": "deeplab-lite"})
    try:
        with urlopen(request, timeout=TIMEOUT) as response:
            content: bytes = response.read()
            return content
    except HTTPError as error:
        busy = error.code in (403, 429)
        why = "too many requests from here, wait an hour" if busy else error.reason
        raise Failed(f"{url} answers {error.code} ({why})", again=error.code >= 500) from error
    except http.client.IncompleteRead as error:
        raise Failed(f"{url} broke off after {len(error.partial)} bytes", again=True) from error
    except (URLError, OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise Failed(f"{url} cannot be reached ({reason})", again=True) from error
