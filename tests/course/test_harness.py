"""The harness itself: what must be refused is refused."""

import asyncio
import base64
import copy
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request

import nbformat
import node
import numpy as np
import pytest
import selection
from browser import out_of_reach
from nbval_figures import TOLERANCE, distance, figure_problem
from PIL import Image

from deeplab_lite.classroom import draw
from tools import notebooks, stand_ins

OFFLINE = "lessons and tests must work offline"


def write(path, *cells):
    """A notebook of code cells; returns its path."""
    made = [nbformat.v4.new_code_cell(code, id=f"c{n}") for n, code in enumerate(cells)]
    nbformat.write(nbformat.v4.new_notebook(cells=made), path)
    return path


@pytest.mark.parametrize(
    "ci, outcome", [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_what_is_out_of_reach_skips_here_and_fails_in_ci(monkeypatch, ci, outcome):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no Chromium"):
        out_of_reach("no Chromium")


# ---- the tests' own names ----


def test_each_process_collects_the_same_names(request):
    """What pytest -n needs. An address, as in the repr of a lambda, is another in each process."""
    names = [item.nodeid for item in request.session.items]
    assert [name for name in names if " at 0x" in name] == []


# ---- which files a run reads, and when ----


@pytest.fixture
def files(tmp_path):
    given = "@pytest.mark.parametrize('step', STEPS)\ndef test_steps(step): "
    texts = {
        "test_one.py": "def test_rates(): ...",
        "test_two.py": "def test_strides(kind): 'rates'",
        "test_three.py": "from lists import KINDS\ndef test_kinds(kind): ...",
        "test_four.py": f"STEPS = [lambda: 'kinds', 'Rates']\n{given}...",
        "test_five.py": f"from deeplab_lite import STEPS\n{given}'rates'",
        "01_rates.ipynb": "strides",
        "02_strides.ipynb": "rates",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in texts]


TESTS = ["one", "two", "three", "four", "five"]


@pytest.mark.parametrize(
    "keyword, read",
    [
        ("", [*TESTS, "01_rates", "02_strides"]),
        ("rates", ["one", "four", "five", "01_rates"]),  # five: perhaps one of STEPS
        ("Strides and (kind or rates)", [*TESTS, "01_rates", "02_strides"]),
        ("test_kinds", ["three"]),
        ("not rates", [*TESTS, "01_rates", "02_strides"]),
        ("resnet50", TESTS),  # perhaps one of KINDS
        ("rates and resnet50", [*TESTS, "01_rates"]),
        ("cell", ["01_rates", "02_strides"]),
    ],
)
def test_files_that_name_no_word_of_k_are_not_read(files, keyword, read):
    left = selection.skipped(keyword, files)
    assert [f.stem.removeprefix("test_") for f in files if f not in left] == read


def test_slow_files_exist():
    assert [name for name in selection.SECONDS if not (notebooks.ROOT / name).is_file()] == []


# ---- the network ----


def udp():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@pytest.mark.parametrize(
    "attempt, host",
    [
        (lambda: socket.create_connection(("example.org", 80), 1), "example.org"),
        (lambda: socket.socket().connect(("192.0.2.1", 80)), "192.0.2.1"),
        (lambda: socket.socket().connect_ex(("192.0.2.1", 80)), "192.0.2.1"),
        (lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)), "2001:db8::1"),
        (lambda: udp().sendto(b"", ("192.0.2.1", 53)), "192.0.2.1"),
        (lambda: udp().sendmsg([b""], [], 0, ("192.0.2.1", 53)), "192.0.2.1"),
        (lambda: socket.getaddrinfo("example.org", 80), "example.org"),
        (lambda: socket.gethostbyname("example.org"), "example.org"),
        (lambda: socket.gethostbyaddr("192.0.2.1"), "192.0.2.1"),
        (lambda: socket.getnameinfo(("192.0.2.1", 80), 0), "192.0.2.1"),
        (lambda: asyncio.run(asyncio.open_connection("192.0.2.1", 80)), "192.0.2.1"),
        (lambda: asyncio.run(asyncio.open_connection("example.org", 80)), "example.org"),
        (lambda: urllib.request.urlopen("http://example.org"), "example.org"),
    ],
)
def test_nothing_leaves_this_machine(attempt, host):
    with pytest.raises(RuntimeError, match=f"{re.escape(host)} blocked: {OFFLINE}"):
        attempt()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost"])
def test_loopback_is_open(host):
    with socket.create_server((host, 0)) as server:
        with socket.create_connection((host, server.getsockname()[1]), 5) as client:
            assert client.getpeername()[1] == server.getsockname()[1]
        assert udp().sendto(b"x", server.getsockname()) == 1


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets on this system")
def test_unix_sockets_are_open(tmp_path):
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.connect(str(tmp_path / "s"))


def test_child_processes_are_offline_too():
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and OFFLINE in done.stderr


# ---- strict comparison of a notebook with a fresh run ----

PLOT = """import matplotlib.pyplot as plt, numpy as np
picture = np.zeros((256, 512, 3), np.uint8)
picture[64:192, {left}:400] = {colour}
plt.imsave("picture.png", picture)
from IPython.display import Image, display
display(Image("picture.png"))"""
ORANGE, BLUE = (230, 159, 0), (86, 180, 233)


def png(left=200, colour=ORANGE):
    """What the cell PLOT shows, in base64."""
    picture = np.zeros((256, 512, 3), np.uint8)
    picture[64:192, left:400] = colour
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def display(data):
    found = {"text/plain": ["<IPython.core.display.Image object>"]}
    if data is not None:
        found["image/png"] = data
    return [nbformat.v4.new_output("display_data", found)]


def printed(text):
    return [nbformat.v4.new_output("stream", name="stdout", text=text)]


def test_nbval_tells_right_cells_from_wrong_ones(tmp_path):
    plot = PLOT.format(left=200, colour=ORANGE)
    cases = {  # what the saved notebook holds: does a fresh run agree?
        "same text": ("print(404)", printed("404\n"), True),
        "same address": ("print(object())", printed("<object object at 0x0>\n"), True),
        "another number": ("print(404)", printed("308\n"), False),
        "nothing printed": ("print(404)", [], False),
        "same picture": (plot, display(png()), True),
        "a broken picture": (plot, display(png()[:400]), False),
        "no picture file": (plot, display("AAAA"), False),
        "an edge 2 pixels off": (plot, display(png(left=202)), False),
        "another colour": (plot, display(png(colour=BLUE)), False),
        "no picture": (plot, display(None), False),
        "one picture too many": (plot, display(png()) + display(png()), False),
        "an error": ("1 / 0", [], False),
        "the network": ("import socket; socket.gethostbyname('example.org')", [], False),
    }
    cells = []
    for count, (code, outputs, _) in enumerate(cases.values(), 1):
        cell = nbformat.v4.new_code_cell(code, outputs=outputs, execution_count=count)
        cells.append(cell)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "made_up.ipynb")
    report = run_nbval(tmp_path)
    verdicts = re.findall(r"::Cell \d+ (PASSED|FAILED)", report)
    assert dict(zip(cases, verdicts, strict=True)) == {
        name: "PASSED" if good else "FAILED" for name, (_, _, good) in cases.items()
    }
    assert f"look-up of example.org blocked: {OFFLINE}" in report
    folder = re.search(r"now\.png in (\S+);", report)[1]
    with Image.open(f"{folder}/saved.png") as saved, Image.open(f"{folder}/now.png") as now:
        assert saved.size == now.size == (512, 256)


def run_nbval(folder):
    """The report of a strict run over the notebooks in `folder`, with the course's plugin."""
    tests = str(notebooks.ROOT / "tests")
    path = os.pathsep.join([os.environ["PYTHONPATH"], tests, str(notebooks.ROOT)])
    options = ["-p", "nbval_figures", "-p", "no:cacheprovider", "--color=no", "-v"]
    options += ["--nbval", "--nbval-current-env", "--rootdir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
    )
    return done.stdout + done.stderr


def picture(width=512, left=200, colour=ORANGE):
    grid = np.zeros((width // 2, width, 3), np.uint8)
    grid[width // 8 : -width // 8, left:-64] = colour
    return Image.fromarray(grid)


@pytest.mark.parametrize("width", [320, 512, 640, 900])
def test_a_two_pixel_shift_is_seen_and_noise_is_not(width):
    noise = np.random.default_rng(0).integers(-6, 7, (width // 2, width, 3))
    noisy = np.clip(np.asarray(picture(width), int) + noise, 0, 255).astype(np.uint8)
    assert distance(picture(width), Image.fromarray(noisy)) < TOLERANCE / 2
    assert distance(picture(width), picture(width, left=202, colour=ORANGE)) > TOLERANCE


def test_pictures_of_other_sizes_are_never_equal():
    assert distance(picture(512), picture(640)) == float("inf")


def test_a_missing_picture_is_told_in_a_sentence():
    assert figure_problem([], [png()]) == ("the cell draws 0 pictures, the saved notebook has 1")


# ---- make notebooks ----

LESSON = [
    "import matplotlib.pyplot as plt, ipywidgets as widgets, sys\nprint(object())",
    "figure, axes = plt.subplots(figsize=(2, 1))\naxes.plot([1, 2])\nplt.show()",
    "widgets.VBox([widgets.IntSlider(value=3), widgets.Image(value=b'png')])",
    "print('a')\nprint('b', file=sys.stderr)\nprint('c')\nprint(__file__) if 0 else None",
]


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """A made-up lesson, run and saved once: (path, its JSON)."""
    path = write(tmp_path_factory.mktemp("run") / "01_made_up.ipynb", *LESSON)
    raw = notebooks.read(path)
    text = "**Figure 2.** A *line* that rises from `1` to [two](https://example.org).\n\nMore."
    raw["cells"].insert(2, {"cell_type": "markdown", "metadata": {}, "source": text})
    raw["cells"][0]["metadata"] = {"execution": {"iopub.status.busy": "2020-01-01"}, "tags": ["x"]}
    raw["cells"][1].pop("id")
    raw["cells"][3]["id"] = raw["cells"][0]["id"]
    path.write_text(json.dumps(raw))
    assert notebooks.main([str(path)]) == 0
    return path, notebooks.read(path)


def test_a_second_run_changes_no_byte(lesson, capsys):
    path, _ = lesson
    before = path.read_bytes()
    assert notebooks.main([str(path)]) == 0
    assert "unchanged" in capsys.readouterr().out and path.read_bytes() == before
    assert notebooks.main(["--check", str(path)]) == 0


def test_the_saved_notebook_is_normalised(lesson):
    path, raw = lesson
    code = [cell for cell in raw["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [1, 2, 3, 4]
    assert len({cell["id"] for cell in raw["cells"]}) == 5 and raw["cells"][0]["id"] == "c0"
    assert raw["cells"][0]["metadata"] == {"tags": ["x"]}
    assert code[0]["outputs"][0]["text"] == ["<object object at 0x0>\n"]
    assert [out["text"] for out in code[3]["outputs"]] == [["a\n", "c\n"], ["b\n"]]
    assert code[1]["outputs"][0]["metadata"] == {
        "image/png": {"alt": "A line that rises from 1 to two."}
    }
    assert "version" not in raw["metadata"]["language_info"]
    assert path.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("kind", ["text/plain", "text/html", "text/markdown"])
def test_no_form_of_an_output_keeps_an_address(kind):
    output = {"data": {kind: ["<b>Net</b>\n", "&lt;Net at 0x7f3a52c0&gt;"]}}
    notebooks.scrub_output(output)
    assert output == {"data": {kind: "<b>Net</b>\n&lt;Net at 0x0&gt;"}}


def test_widget_state_is_saved_under_steady_ids(lesson):
    _, raw = lesson
    state = raw["metadata"]["widgets"][notebooks.WIDGET_STATE]["state"]
    view = raw["cells"][3]["outputs"][0]["data"][notebooks.WIDGET_VIEW]
    children = state[view["model_id"]]["state"]["children"]
    models = [state[child.removeprefix("IPY_MODEL_")] for child in children]
    assert [model["model_name"] for model in models] == ["IntSliderModel", "ImageModel"]
    assert models[0]["state"]["value"] == 3
    assert base64.b64decode(models[1]["buffers"][0]["data"]) == b"png"


def test_a_picture_is_saved_in_place_of_a_widget_that_needs_the_kernel(lesson):
    raw = copy.deepcopy(lesson[1])
    data = raw["cells"][3]["outputs"][0]["data"]
    data |= {"image/png": png(), "text/plain": ['a "slider" ', "at 3"]}
    stand_ins.replace(raw)
    state = raw["metadata"]["widgets"][notebooks.WIDGET_STATE]["state"]
    value = state[data[notebooks.WIDGET_VIEW]["model_id"]]["state"]["value"]
    assert data["image/png"] in value and 'alt="a &quot;slider&quot; at 3"' in value
    kinds = {model["model_name"] for model in state.values()}
    assert kinds == {"HTMLModel", "HTMLStyleModel", "LayoutModel"}


def test_check_tells_which_cell_would_change_and_writes_nothing(lesson, tmp_path, capsys):
    path = shutil.copy(lesson[0], tmp_path / "01_made_up.ipynb")  # same name, same model ids
    text = path.read_text().replace('"a\\n"', '"z\\n"')
    path.write_text(text)
    assert notebooks.main(["--check", str(path)]) == 1
    assert "would change: cells 4\n" in capsys.readouterr().out and path.read_text() == text


@pytest.mark.parametrize(
    "code, message",
    [
        ("print(1 / 0)", r"failed in cell 1 \(c1\)(.|\n)*ZeroDivisionError"),
        ("import os; os._exit(3)", r"failed in cell 1 \(c1\): Kernel died"),
        ("import socket; socket.gethostbyname('example.org')", f"example.org blocked: {OFFLINE}"),
        ("import os; print(os.getcwd())", "not saved: cell 1 shows the path"),
        ("import os; print(os.path.expanduser('~'))", "not saved: cell 1 shows the path"),
    ],
)
def test_a_notebook_that_fails_is_left_as_it_was(code, message, tmp_path, capsys):
    path = write(tmp_path / "fails.ipynb", "1 + 1", code)
    before = path.read_bytes()
    assert notebooks.main([str(path)]) == 1
    assert re.search(message, capsys.readouterr().out) and path.read_bytes() == before


def test_base64_is_not_taken_for_a_path():
    output = {"data": {"image/png": " /home/ann", "text/plain": "ab/tmp/cd"}}
    cell = {"outputs": [output]}
    assert notebooks.machine_paths({"cells": [cell], "metadata": {}}) == []
    output["data"]["text/plain"] = "saved to /home/ann/x.png"
    assert (
        "cell 0 shows the path '/home/ann/x.png'"
        in (notebooks.machine_paths({"cells": [cell], "metadata": {}})[0])
    )


# ---- JavaScript ----


def test_node_runs_an_exported_function(tmp_path):
    module = tmp_path / "sum.js"
    module.write_text(
        "export const sum = (...a) => a.reduce((x, y) => x + y);\n"
        "export const row = (n) => new Int32Array(n);\n"
        "export const bad = () => { throw new Error('no such rate'); };\n"
    )
    assert node.call(module, "sum", 1, 2, 3.5) == 6.5
    assert node.call_many(module, "row", [[2], [3]]) == [[0, 0], [0, 0, 0]]
    with pytest.raises(AssertionError, match="no such rate"):
        node.call(module, "bad")


def test_node_missing_is_a_skip_with_a_reason(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.skip.Exception, match="Node is not installed"):
        node.call("any.js", "sum")


def test_a_figure_with_a_photograph_is_saved_light_and_looks_the_same():
    rough = np.random.default_rng(0).integers(0, 9, (300, 400, 3))
    picture = (np.linspace(20, 220, 400)[None, :, None] + rough).astype(np.uint8)
    code = base64.b64encode(draw.png(picture, level=9)).decode()
    saved = notebooks.light(code)
    assert len(saved) < len(code) / 2
    with Image.open(io.BytesIO(base64.b64decode(saved))) as image:
        shown = np.asarray(image.convert("RGB"), dtype=int)
    assert np.abs(shown - picture).mean() < 4
    assert notebooks.light("iVBORw0KGgo=") == "iVBORw0KGgo="
