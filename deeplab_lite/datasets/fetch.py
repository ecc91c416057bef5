"""Files of a public GitHub repository, each checked against git's own checksum. Lesson 09.

GitHub lists a repository's files with the SHA-1 and size that git has for each, so a file on the
disk is right or wrong by itself: what is right is not fetched again, wherever a fetch was stopped.
"""

import hashlib
import http.client
import json
import time
from collections.abc import Callable
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
    wanted: Callable[[str], bool],
    folder: Path,
    ref: str = "master",
    server: Server | None = None,
    progress: bool = True,
) -> list[Path]:
    """Bring the files that are `wanted`, by path, into `folder`, under their paths; return these.

    What is there and right stays, what is damaged is replaced; a file is whole or not there,
    whenever this is stopped. Raises ConnectionError, with what to do, where the server cannot be
    reached, has no such repository, or gives wrong bytes; files that came before it are kept.
    """
    server = server or Server()
    blobs = [blob for blob in listing(repository, ref, server) if wanted(blob.path)]
    missing = [blob for blob in blobs if not blob.is_at(folder / blob.path)]
    bar = tqdm(
        total=sum(blob.size for blob in blobs),
        initial=sum(blob.size for blob in blobs) - sum(blob.size for blob in missing),
        desc=repository,
        unit="B",
        unit_scale=True,
        disable=not (progress and missing),
    )
    base = f"{server.files}/{repository}/{ref}"
    with bar, ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(bring, blob, base, folder): blob for blob in missing}
        try:
            for done in as_completed(running):
                done.result()
                bar.update(running[done].size)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [folder / blob.path for blob in blobs]


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


def bring(blob: Blob, base: str, folder: Path) -> None:
    """One file, checked before it has its name."""
    url, place = f"{base}/{quote(blob.path)}", inside(folder, blob.path)
    place.parent.mkdir(parents=True, exist_ok=True)

    def attempt() -> None:
        with replacing(place) as temporary:
            temporary.write_bytes(download(url))
            if not blob.fits(temporary):
                raise Failed(
                    f"{url} gave {temporary.stat().st_size} bytes that are not the file that "
                    f"GitHub lists, with {blob.size}",
                    again=True,
                )

    patiently(attempt)


def inside(folder: Path, path: str) -> Path:
    """The place of a listed path, which may not lead out of the folder."""
    parts = PurePosixPath(path).parts
    if PurePosixPath(path).is_absolute() or ".." in parts:
        raise Failed(f"{path!r} in the list of files leads out of the folder")
    return folder.joinpath(*parts)


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
