"""Fetching a repository's files: complete, checked, resumed, and errors that say what to do."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lite.workshop.datasets import CamVid, fetch
from deeplab_lite.workshop.datasets.camvid import COMMIT, REPOSITORY

NAMES = [f"CamVid/{folder}/{i}.png" for folder in ("val", "valannot") for i in range(6)]


def git_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Fake:
    """GitHub, as far as it is needed: a list of files, the files, and what goes wrong with them.

    wrong: path to a function (handler, content) that answers in place of the content.
    """

    def __init__(self, contents):
        self.contents, self.wrong, self.asked = contents, {}, []
        self.listed = {
            "truncated": False,
            "tree": [{"type": "tree", "path": "CamVid", "sha": "0" * 40}]
            + [
                {"type": "blob", "path": path, "size": len(data), "sha": git_sha1(data)}
                for path, data in contents.items()
            ],
        }
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                base = f"/files/{REPOSITORY}/{COMMIT}/"
                if self.path == f"/api/repos/{REPOSITORY}/git/trees/{COMMIT}?recursive=1":
                    fake.answer(self, "", json.dumps(fake.listed).encode())
                elif self.path.startswith(base) and self.path[len(base) :] in fake.contents:
                    path = self.path[len(base) :]
                    fake.answer(self, path, fake.contents[path])
                else:
                    self.send_error(404)

            def log_message(self, *words):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        address = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.server = fetch.Server(f"{address}/api", f"{address}/files")
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler, path, content):
        self.asked.append(path)
        if path in self.wrong:
            self.wrong[path](handler, content)
        else:
            reply(handler, content)

    def fetched(self):
        """The files that were asked for since the last time."""
        asked, self.asked = [path for path in self.asked if path], []
        return sorted(asked)


def reply(handler, content, length=None):
    handler.send_response(200)
    handler.send_header("Content-Length", str(length or len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def status(code):
    return lambda handler, content: handler.send_error(code)


def first_time(wrong):
    """Goes wrong once."""
    tried = []

    def answer(handler, content):
        tried.append(None)
        (wrong if len(tried) == 1 else reply)(handler, content)

    return answer


def cut_short(handler, content):
    reply(handler, content[: len(content) // 2], len(content))
    handler.close_connection = True


def changed(handler, content):
    reply(handler, content[:-1] + b"?")


@pytest.fixture
def github(monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    random = np.random.default_rng(0)
    contents = {name: random.bytes(2000 + 10 * i) for i, name in enumerate(NAMES)}
    contents |= {"README.md": b"read me", "CamVid/train/0.png": b"not of this split"}
    fake = Fake(contents)
    yield fake
    fake.http.shutdown()
    fake.http.server_close()


def get(github, folder, progress=False):
    folders = ("CamVid/val", "CamVid/valannot")
    place = folder / "CamVid"
    return fetch.fetch(REPOSITORY, COMMIT, folders, place, github.server, progress)


def there(folder):
    """All files below a folder, hidden ones too."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_what_is_wanted_arrives_and_nothing_else(github, tmp_path):
    places = get(github, tmp_path)
    assert there(tmp_path) == {name: github.contents[name] for name in NAMES}
    assert places == [tmp_path / name for name in NAMES] and github.fetched() == sorted(NAMES)


def test_what_is_there_and_right_is_not_fetched_again(github, tmp_path):
    get(github, tmp_path)
    github.fetched()
    get(github, tmp_path)
    assert github.fetched() == []
    cut, other = tmp_path / NAMES[0], tmp_path / NAMES[7]
    cut.write_bytes(cut.read_bytes()[:-1])
    other.write_bytes(bytes(len(other.read_bytes())))  # as long, and all zeros
    get(github, tmp_path)
    assert github.fetched() == sorted([NAMES[0], NAMES[7]])
    assert there(tmp_path) == {name: github.contents[name] for name in NAMES}


@pytest.mark.parametrize("wrong", [cut_short, changed, status(500), status(503)])
def test_what_went_wrong_once_is_tried_again(github, tmp_path, wrong):
    github.wrong[NAMES[4]] = first_time(wrong)
    get(github, tmp_path)
    assert there(tmp_path) == {name: github.contents[name] for name in NAMES}
    assert github.fetched().count(NAMES[4]) == 2


@pytest.mark.parametrize(
    "wrong, words",
    [
        (changed, r"valannot/4.png came with 2100 bytes that aren't the 2100 of it"),
        (cut_short, r"cannot be reached \(ChunkedEncodingError\)"),
        (status(404), r"valannot/4.png answers 404 \(Not Found\)"),
        (status(429), r"answers 429 \(.*too many requests from here: wait an hour\)"),
    ],
)
def test_a_fetch_that_breaks_off_keeps_what_came_and_goes_on_from_there(
    github, tmp_path, wrong, words
):
    github.wrong[NAMES[10]] = wrong
    with pytest.raises(ConnectionError, match=words):
        get(github, tmp_path)
    assert github.fetched().count(NAMES[10]) == fetch.TRIES
    kept = there(tmp_path)  # and no part of a file, under any name
    assert NAMES[10] not in kept and len(kept) >= 10 - fetch.AT_ONCE
    assert all(github.contents[name] == content for name, content in kept.items())
    github.wrong.clear()
    get(github, tmp_path)
    assert github.fetched() == sorted(set(NAMES) - set(kept))
    assert there(tmp_path) == {name: github.contents[name] for name in NAMES}


def test_a_file_is_not_seen_before_it_is_whole(github, tmp_path):
    seen = []

    def looked_at(handler, content):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:100])
        handler.wfile.flush()
        seen.append((tmp_path / NAMES[3]).exists())
        handler.wfile.write(content[100:])

    github.wrong[NAMES[3]] = looked_at
    get(github, tmp_path)
    assert seen == [False] and (tmp_path / NAMES[3]).exists()


def test_several_come_at_once_and_not_too_many(github, tmp_path):
    now, most, lock = [0], [0], threading.Lock()
    meet = threading.Event()

    def slow(handler, content):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            if now[0] == fetch.AT_ONCE:
                meet.set()
        meet.wait(5)
        with lock:
            now[0] -= 1
        reply(handler, content)

    github.wrong = dict.fromkeys(NAMES, slow)
    get(github, tmp_path)
    assert most[0] == fetch.AT_ONCE == 4


def test_the_bar_counts_files_and_is_not_shown_when_all_is_there(github, tmp_path, capsys):
    get(github, tmp_path, progress=True)
    assert "12/12" in capsys.readouterr().err.split("\r")[-1]
    get(github, tmp_path, progress=True)
    assert capsys.readouterr().err == ""


def test_a_list_of_files_must_be_complete_and_stay_in_its_folder(github, tmp_path):
    github.listed["tree"].append(
        {"type": "blob", "path": "CamVid/val/../../../out.png", "size": 1, "sha": git_sha1(b"x")}
    )
    assert len(get(github, tmp_path / "in")) == 12 and not list(tmp_path.rglob("out.png"))
    github.listed["tree"] = github.listed["tree"][:1]
    with pytest.raises(ConnectionError, match="there are no files in CamVid/val and CamVid/valan"):
        get(github, tmp_path)
    github.listed["truncated"] = True
    with pytest.raises(ConnectionError, match="no complete list of the repository's files"):
        get(github, tmp_path)
    github.listed = ["no tree"]
    with pytest.raises(ConnectionError, match="no complete list of the repository's files"):
        get(github, tmp_path)


# ---- CamVid ----


@pytest.fixture
def camvid(github, tmp_path):
    """Six frames of a made-up split on the server."""
    random = np.random.default_rng(1)
    for name in NAMES:
        file = tmp_path / "made.png"
        shape = (8, 10) if "annot" in name else (8, 10, 3)
        Image.fromarray(random.integers(0, 12, shape, dtype=np.uint8)).save(file)
        data = github.contents[name] = file.read_bytes()
        entry = next(each for each in github.listed["tree"] if each["path"] == name)
        entry.update(size=len(data), sha=git_sha1(data))
    return github


@pytest.mark.parametrize("below", ["CamVid", "", "my-camvid"])
def test_camvid_comes_to_its_folder(camvid, tmp_path, below):
    root = tmp_path / "data" / below
    if below:
        (root / "val").mkdir(parents=True)  # the folder of CamVid itself, whatever its name
    data = CamVid("val", root, download=True, server=camvid.server)
    assert len(data) == 6 and camvid.fetched() == sorted(NAMES)
    assert data.root == (root if below else root / "CamVid")
    again = CamVid("val", root)
    assert all(torch.equal(a, b) for a, b in zip(data[3], again[3], strict=True))


def test_camvid_offline_says_what_to_do(camvid, tmp_path):
    camvid.http.shutdown()
    camvid.http.server_close()
    with pytest.raises(ConnectionError) as caught:
        CamVid("val", tmp_path, download=True, server=camvid.server)
    text = str(caught.value)
    assert f"git/trees/{COMMIT}?recursive=1 cannot be reached (ConnectionError)" in text
    assert f"copy the folder CamVid of https://github.com/{REPOSITORY} to {tmp_path}" in text
    assert "leave download out" in text and "\n" not in text and len(text) < 400


def test_camvid_that_broke_off_half_way_goes_on(camvid, tmp_path):
    camvid.wrong[NAMES[6]] = status(404)
    with pytest.raises(ConnectionError, match=r"answers 404 .*Run the same command again"):
        CamVid("val", tmp_path, download=True, server=camvid.server)
    camvid.fetched()
    camvid.wrong.clear()
    assert len(CamVid("val", tmp_path, download=True, server=camvid.server)) == 6
    assert NAMES[6] in camvid.fetched()
