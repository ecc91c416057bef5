"""The app: on this machine only, nothing but the playground, no kernel left behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil
import pytest
from browser import DRAWN

from deeplab_lite.workshop import app

ROOT = Path(__file__).resolve().parents[2]
LOCAL = r"\w+://127\.0\.0\.1:|blob:|data:"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(process, address with its token) of an app on a free port; it is stopped as by Ctrl+C."""
    folder = tmp_path_factory.mktemp("app")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = folder / "log.txt"
    command = [sys.executable, "-m", "deeplab_lite", "app", "--no-browser", "--port", str(port)]
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    with log.open("w") as out:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **{name: str(folder / name) for name in names}},
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 90
        while not (found := re.search(r"http://\S+", log.read_text())):
            assert server.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        assert f"127.0.0.1:{port}/?token=" in found.group()
        yield server, found.group()
        kernels = psutil.Process(server.pid).children(recursive=True)
        server.send_signal(signal.SIGINT)
        server.wait(30)
        _, alive = psutil.wait_procs(kernels, timeout=10)
        assert alive == [], "the app has ended and left kernels behind"
    finally:
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
        else:
            server.kill()


def kernels(server):
    """Processes of kernels that the app runs."""
    found = []
    for process in psutil.Process(server.pid).children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if "ipykernel" in " ".join(process.cmdline()):
                found.append(process)
    return found


def status(address, headers=None):
    try:
        request = urllib.request.Request(address, headers=headers or {})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.geturl()
    except urllib.error.HTTPError as error:
        return error.code, address


def test_it_listens_on_this_machine_only(served):
    server, _ = served
    listening = [c for c in psutil.Process(server.pid).net_connections() if c.status == "LISTEN"]
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}


@pytest.mark.parametrize(
    "path",
    [
        "voila/files/playground.ipynb", "voila/files/__init__.py", "playground.ipynb",
        "voila/render/playground.ipynb", "voila/tree", "voila/api/contents/", "api/kernels",
        "api/contents", "api/terminals", "lab", "tree",
    ],
)  # fmt: skip
def test_it_serves_nothing_else(served, path):
    server, address = served
    base, token = address.split("?")
    code, _ = status(f"{base}{path}?{token}")
    assert code in (403, 404) and kernels(server) == []


def test_without_its_token_there_is_no_playground(served):
    server, address = served
    _, reached = status(address.split("?")[0])
    assert "login" in reached and kernels(server) == []


@pytest.mark.parametrize("path", ["", "voila/static/voila.js", "alive/0", "api/kernels/0/channels"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://example.org"}, {"Origin": "null"}, {"Host": "example.org"},
        {"Host": "example.org", "Origin": "http://example.org"},
    ],
)  # fmt: skip
def test_foreign_pages_and_names_are_refused_even_with_the_token(served, path, headers):
    server, address = served
    base, token = address.split("?")
    code, _ = status(f"{base}{path}?{token}", headers)
    assert code == 403 and kernels(server) == []


def test_a_request_of_its_own_page_is_answered(served):
    _, address = served
    base, token = address.split("?")
    for host in (base[7:-1], base[7:-1].replace("127.0.0.1", "localhost")):
        own = {"Host": host, "Origin": f"http://{host}"}
        assert status(f"{base}alive/0?{token}", own)[0] == 200
    assert "login" in status(f"{base}alive/0")[1]


def wait_until(true, seconds, what):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def settled(page, drawn):
    """What is drawn, once it stays for half a second."""
    before = None
    while (now := page.evaluate(drawn)) != before:
        before = now
        page.wait_for_timeout(500)
    return now


def test_it_opens_and_moves_alone_and_gets_over_a_dead_kernel(served, chromium):
    server, address = served
    page = chromium.new_page(viewport={"width": 1100, "height": 1000})
    page.set_default_timeout(120_000)
    asked, faults = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda m: m.type == "error" and faults.append(m.text))
    page.route(re.compile(f"^(?!{LOCAL})"), lambda route: route.abort())
    page.goto(address)
    page.locator("img[src^='blob:']").first.wait_for()
    drawn = f"() => ({DRAWN})(document.body)"
    before = settled(page, drawn)
    slider = page.locator("[role=slider]").first
    slider.focus()
    slider.press("ArrowLeft")
    wait_until(lambda: page.evaluate(drawn) != before, 20, "the picture stayed")
    page.locator("select").first.select_option("drawing")  # an anywidget in the app
    page.locator(".dl-sc-board path").nth(3).wait_for()
    before = settled(page, drawn)
    page.locator(".dl-sc-board path").first.focus()
    page.keyboard.press("Shift+ArrowRight")
    wait_until(lambda: page.evaluate(drawn) != before, 20, "the drawn scene stayed")
    assert page.locator("[role=alert]").count() == 0
    assert [url for url in asked if not re.match(LOCAL, url)] == [] and faults == []
    [kernel] = kernels(server)
    assert page.get_by_role("status").count() == 0
    kernel.kill()
    page.get_by_role("status").get_by_text("The kernel has died").wait_for()
    page.get_by_role("button", name="Start again").click()
    page.get_by_role("status").wait_for(state="hidden")
    page.locator("img[src^='blob:']").first.wait_for()
    assert len(kernels(server)) == 1
    page.goto("about:blank")
    wait_until(lambda: kernels(server) == [], 20, "the page was left and its kernel lives on")
    page.close()


def test_the_notebook_is_the_playground_alone():
    notebook = nbformat.read(app.NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert code == ["from deeplab_lite.classroom.widgets import Playground\n\nPlayground()"]
    assert not any(cell.get("outputs") for cell in notebook.cells)


def test_kernels_of_lost_pages_end_after_a_while():
    assert 60 <= app.SETTINGS["MappingKernelManager"]["cull_idle_timeout"] <= 3600
    assert not app.SETTINGS["MappingKernelManager"].get("cull_connected", False)


@pytest.mark.parametrize("port", ["0", "65536"])
def test_a_port_that_cannot_be_is_refused(port):
    words = [sys.executable, "-m", "deeplab_lite", "app", "--no-browser", "--port", port]
    run = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert run.returncode == 2 and "Invalid value for '--port'" in run.stderr
