"""Files of a public GitHub repository at one commit, fetched by pooch. Lesson 09.

GitHub lists a commit's files with the SHA-1 that git has for each, so a file on the disk is right
or wrong by itself: what is right is not fetched again, wherever a fetch was stopped. git hashes
"blob <size>" and a zero byte before the content, which pooch doesn't know: `Blob.is_at` checks it.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote

import pooch
import requests
from tqdm import tqdm

AT_ONCE = 4  # connections: polite, and enough for files of some 200 KB
TRIES, TIMEOUT = 3, 30  # times, seconds without a byte


class Server(NamedTuple):
    """Where lists and files come from; tests have their own."""

    listing: str = "https://api.github.com"
    files: str = "https://raw.githubusercontent.com"


class Blob(NamedTuple):
    """A file of the repository: its path there, its size in bytes, git's SHA-1."""

    path: str
    size: int
    sha1: str

    def is_at(self, file: Path) -> bool:
        """Whether `file` is this one."""
        if not file.is_file() or file.stat().st_size != self.size:
            return False
        return hashlib.sha1(b"blob %d\0" % self.size + file.read_bytes()).hexdigest() == self.sha1


def fetch(
    repository: str,
    commit: str,
    folders: Sequence[str],
    place: Path,
    server: Server | None = None,
    progress: bool = True,
) -> list[Path]:
    """Copy folders of a repository into `place`, under their last names; return the files.

    Right files stay, damaged ones are replaced, and a file is whole or not there, whenever this is
    stopped. Raises ConnectionError, with the reason, if the server can't be reached, doesn't have
    the files or sends wrong bytes; files that came before stay.
    """
    server = server or Server()
    url = f"{server.listing}/repos/{repository}/git/trees/{commit}?recursive=1"
    try:
        blobs = listing(url, folders, place)
        missing = {file: blob for file, blob in blobs.items() if not blob.is_at(file)}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            url = f"{server.files}/{repository}/{commit}"
            running = pool.map(lambda file: bring(missing[file], url, file), missing)
            off = not (progress and missing)
            list(tqdm(running, repository, len(missing), unit="file", disable=off))
    except requests.RequestException as error:
        raise ConnectionError(reason(error, url)) from error
    except ValueError as error:  # wrong bytes, or a list that is none
        raise ConnectionError(f"{url}: {error}") from error
    return list(blobs)


def listing(url: str, folders: Sequence[str], place: Path) -> dict[Path, Blob]:
    """The files of some folders, by where they belong on this disk.

    Raises ValueError if they aren't all listed, requests.RequestException without a connection.
    """
    response = requests.get(url, timeout=TIMEOUT)
    response.raise_for_status()
    tree: Any = response.json()
    if not isinstance(tree, dict) or tree.get("truncated", True):
        raise ValueError("this is no complete list of the repository's files")
    blobs = [Blob(e["path"], e["size"], e["sha"]) for e in tree["tree"] if e["type"] == "blob"]
    files = {}
    for folder in map(PurePosixPath, folders):
        for blob in blobs:
            path = PurePosixPath(blob.path)
            if path.is_relative_to(folder) and ".." not in path.parts:
                files[place / folder.name / path.relative_to(folder)] = blob
    if not files:
        raise ValueError(f"there are no files in {' and '.join(folders)}")
    return files


def bring(blob: Blob, base: str, file: Path) -> None:
    """Fetch one file. It is checked before it gets its name."""

    def download(url: str, output_file: str, store: pooch.Pooch | None) -> None:
        pooch.HTTPDownloader(timeout=TIMEOUT)(url, output_file, store)
        if not blob.is_at(Path(output_file)):
            size = Path(output_file).stat().st_size
            raise ValueError(
                f"{blob.path} came with {size} bytes that aren't the {blob.size} of it"
            )

    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    pooch.get_logger().setLevel("WARNING")
    store = pooch.create(
        file.parent,
        base_url="",
        registry={file.name: None},
        urls={file.name: f"{base}/{quote(blob.path)}"},
        retry_if_failed=TRIES - 1,
    )
    store.fetch(file.name, downloader=download)


def reason(error: requests.RequestException, url: str) -> str:
    """A sentence for a failed request, without the stack of libraries that it went through."""
    if error.request is not None and error.request.url:
        url = str(error.request.url)
    if error.response is None:
        return f"{url} cannot be reached ({type(error).__name__})"
    status = error.response.status_code
    wait = ", too many requests from here: wait an hour" if status in (403, 429) else ""
    return f"{url} answers {status} ({error.response.reason}{wait})"
