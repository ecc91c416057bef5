"""Runs notebooks in clean, offline kernels and saves them so that a second run changes no byte.

    python tools/notebooks.py                      all lessons and solutions (`make notebooks`)
    python tools/notebooks.py notebooks/01*.ipynb  only these
    python tools/notebooks.py --check ...          writes nothing; fails if a file would change

A notebook that fails is left as it was. The table at the end shows time and peak memory.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:  # imported where they are used: every run of pytest reads this file
    import nbformat
    from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
LARGE_FIGURE = 30_000  # characters of base64
CELL_TIMEOUT = 300  # seconds, as in the tests
MAX_SECONDS, MAX_BYTES = 90, 2 * 1024**3  # a lesson's budget on two cores

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {  # no version: another Python must give no diff
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"

# What differs from run to run, and what stands in its place. The tests apply the same list.
SCRUBS = [
    (re.compile(r"\bat 0x[0-9a-fA-F]{6,}"), "at 0x0"),
    (re.compile(r"[^\s'\"]*ipykernel_\d+[/\\]\d+\.py"), "<cell>"),
]
CAPTION = re.compile(r"\*\*(Figure|Widget)(?: \d+)?\.\*\*\s+(.*)", re.DOTALL)
ANSI = re.compile(r"\x1b\[[0-9;]*m")
# A path is preceded by no letter, slash or plus: base64 has those.
MACHINE_PATH = re.compile(r"(?<![\w/+.])(?:/(?:home|Users|root|tmp|var/folders)/|[A-Z]:\\Users\\)")


def all_notebooks() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("*.ipynb")) + sorted(
        (ROOT / "notebooks" / "solutions").glob("*.ipynb")
    )


def kernel_environment(scratch: Path) -> dict[str, str]:
    """What a kernel gets on top of the caller's environment: offline, same threads, no profile."""
    paths = [str(ROOT / "tools" / "offline"), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, paths))),
        "OMP_WAIT_POLICY": "passive",  # threads that spin while they wait crawl on a busy machine
        "OMP_NUM_THREADS": "1",  # two kernels run at once; sums of more threads round differently
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": str(scratch / "ipython"),
        "TORCH_HOME": str(scratch / "torch"),  # weights that some machines have change no output
        "MATPLOTLIBRC": str(ROOT / "tools" / "matplotlibrc"),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }


def prepare_fonts() -> None:
    """Build matplotlib's font cache here: a kernel that has to would say so on stderr."""
    import matplotlib.font_manager  # noqa: F401


def read(path: Path) -> dict[str, Any]:
    """The raw JSON. nbformat's reader adds what is missing without a word."""
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def fill_ids(notebook: dict[str, Any]) -> None:
    """Give each cell a unique id; those that are there stay."""
    seen: set[str] = set()
    for cell in notebook["cells"]:
        name, tries = cell.get("id", ""), 0
        while not name or name in seen:
            name = hashlib.sha1(f"{source(cell)}{tries or ''}".encode()).hexdigest()[:8]
            tries += 1
        cell["id"] = name
        seen.add(name)


def blank(notebook: dict[str, Any]) -> nbformat.NotebookNode:
    """The notebook without outputs, counts and whatever an editor left in the metadata."""
    import nbformat

    fill_ids(notebook)
    for cell in notebook["cells"]:
        cell["metadata"] = {k: v for k, v in cell["metadata"].items() if k in ("tags", "jupyter")}
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    notebook["metadata"] = json.loads(json.dumps(METADATA))
    notebook.update(nbformat=4, nbformat_minor=5)
    return nbformat.reads(json.dumps(notebook), as_version=4)


class CellFailed(Exception):
    """Says which cell failed and how."""


class PeakMemory(threading.Thread):
    """Watches the kernel's process and its children; `peak` is in bytes."""

    def __init__(self, client: NotebookClient):
        super().__init__(daemon=True)
        self.client, self.peak, self.done = client, 0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.05):
            pid = getattr(getattr(self.client.km, "provisioner", None), "pid", None)
            if pid is not None:
                self.peak = max(self.peak, self.memory(pid))

    @staticmethod
    def memory(pid: int) -> int:
        try:
            status = Path(f"/proc/{pid}/status")  # Linux keeps the high-water mark itself
            if status.exists():
                mark = re.search(r"VmHWM:\s+(\d+)", status.read_text())
                own = int(mark.group(1)) * 1024 if mark else 0
            else:
                own = psutil.Process(pid).memory_info().rss
            children = psutil.Process(pid).children(recursive=True)
            return own + sum(child.memory_info().rss for child in children)
        except (OSError, psutil.Error):  # the process has just ended
            return 0


def execute(notebook: nbformat.NotebookNode, folder: Path) -> int:
    """Run all cells in place, the kernel in `folder`; returns its peak memory in bytes.

    Raises CellFailed if a cell raises, takes longer than CELL_TIMEOUT or ends the kernel.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    begun = ["before its first cell"]
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=True,
        extra_arguments=["--log-level=40"],  # errors only: kernels warn of TCP on each start
        on_cell_execute=lambda cell, cell_index: begun.append(f"in cell {cell_index} ({cell.id})"),
    )
    watch = PeakMemory(client)
    watch.start()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            client.execute(env={**os.environ, **kernel_environment(Path(scratch))})
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise CellFailed(f"failed {begun[-1]}: {ANSI.sub('', str(error)).strip()}") from error
    finally:
        watch.done.set()
    return watch.peak


def scrub(text: str) -> str:
    for pattern, stand_in in SCRUBS:
        text = pattern.sub(stand_in, text)
    return text


def scrub_output(output: dict[str, Any]) -> None:
    if "text" in output:
        output["text"] = scrub("".join(output["text"]))
    for kind, value in output.get("data", {}).items():
        if kind.startswith("text/"):
            output["data"][kind] = scrub("".join(value))


def light(code: str) -> str:
    """A large base64 PNG in 192 colours: a figure with a photograph gets three times smaller."""
    if len(code) < LARGE_FIGURE:
        return code
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(code))) as image:
        picture = image.convert("RGB")
    few = picture.quantize(192, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)
    out = io.BytesIO()
    few.save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def plain(markdown: str) -> str:
    """Markdown without its marks, on one line: fit for an alt attribute."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    text = re.sub(r"[*`$]|\\(?=[a-z])", "", text)
    return " ".join(text.split())


def caption(cell: dict[str, Any] | None) -> tuple[str, str] | None:
    """("Figure" or "Widget", alt text) of a Markdown cell that is a caption, else None."""
    if cell is None or cell["cell_type"] != "markdown":
        return None
    found = CAPTION.match(source(cell))
    return (found[1], plain(re.split(r"\n\s*\n", found[2])[0])) if found else None


def renumber_widgets(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """Replace the random model ids, in the order in which the kernel opened the models."""
    import nbformat

    text = json.dumps(notebook)
    state = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for number, old in enumerate(state):
        text = text.replace(old, hashlib.sha1(f"{name}:{number}".encode()).hexdigest()[:32])
    return nbformat.from_dict(json.loads(text))


def normalise(notebook: nbformat.NotebookNode, name: str) -> str:
    """The text of the file: the same for two runs of the same notebook."""
    import nbformat

    from tools import stand_ins

    stand_ins.replace(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, 1):
        cell.execution_count = count
        for output in cell.outputs:
            scrub_output(output)
            data = output.get("data", {})
            if "image/png" in data and WIDGET_VIEW not in data:  # a widget's twin is light
                data["image/png"] = light(data["image/png"])
            if output.output_type == "execute_result":
                output.execution_count = count
    for cell, below in zip(notebook.cells, notebook.cells[1:], strict=False):
        found = caption(below)
        for output in cell.get("outputs", []):
            if found and "image/png" in output.get("data", {}):
                # a widget's twin brings its own
                output.metadata.setdefault("image/png", {}).setdefault("alt", found[1])
    widgets = notebook.metadata.get("widgets")
    notebook.metadata = nbformat.from_dict(METADATA | ({"widgets": widgets} if widgets else {}))
    nbformat.validate(notebook)
    return nbformat.writes(renumber_widgets(notebook, name)).rstrip("\n") + "\n"


def strings(node: Any) -> Iterator[str]:
    """All text in outputs and widget states; pictures and buffers (base64) left out."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, list):
        if all(isinstance(line, str) for line in node):
            yield "".join(node)
        else:
            for child in node:
                yield from strings(child)
    elif isinstance(node, dict):
        for key, child in node.items():
            if not key.startswith("image/") and not (key == "data" and isinstance(child, str)):
                yield from strings(child)


def machine_paths(notebook: dict[str, Any]) -> list[str]:
    """Sentences, one for each place where an output shows a path of this machine."""
    places = [
        (f"cell {number}", cell.get("outputs", [])) for number, cell in enumerate(notebook["cells"])
    ]
    places.append(("the widget state", notebook["metadata"].get("widgets", {})))
    own = [str(path) for path in (ROOT, Path.home()) if len(path.parts) > 1]
    found = []
    for place, node in places:
        for text in strings(node):
            at = [text.find(path) for path in own] + [
                m.start() for m in MACHINE_PATH.finditer(text)
            ]
            for start in sorted(position for position in at if position >= 0)[:1]:
                found.append(
                    f"{place} shows the path {text[start : start + 60].split()[0]!r} "
                    "of the machine it ran on: print a name or a relative path"
                )
    return found


def differences(old: str, new: str) -> str:
    """Where two texts of a notebook differ, in words."""
    try:
        before, after = json.loads(old), json.loads(new)
    except ValueError:
        return "the file is no JSON"
    if len(before["cells"]) != len(after["cells"]):
        return "the number of cells"
    pairs = zip(before["cells"], after["cells"], strict=True)
    cells = [str(number) for number, (a, b) in enumerate(pairs) if a != b]
    parts = [f"cells {', '.join(cells)}"] if cells else []
    if before["metadata"] != after["metadata"]:
        parts.append("the metadata")
    return " and ".join(parts) or "the layout of the JSON"


def rerun(path: Path, check: bool) -> tuple[bool, str, float, int]:
    """Run one notebook and save it: (all well, what happened, seconds, bytes)."""
    old = path.read_text(encoding="utf-8")
    notebook = blank(read(path))
    name = path.stem if path.parent.name != "solutions" else f"solutions/{path.stem}"
    start = time.perf_counter()
    try:
        peak = execute(notebook, path.parent)
    except CellFailed as error:
        return False, str(error), time.perf_counter() - start, 0
    seconds = time.perf_counter() - start
    new = normalise(notebook, name)
    paths = machine_paths(json.loads(new))
    if paths:
        return False, "not saved: " + "; ".join(paths), seconds, peak
    if new == old:
        return True, "unchanged", seconds, peak
    if check:
        return False, f"would change: {differences(old, new)}", seconds, peak
    path.write_text(new, encoding="utf-8", newline="\n")
    return True, f"saved: {differences(old, new)}", seconds, peak


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing, say what would change")
    options = parser.parse_args(arguments)
    paths = [path.resolve() for path in options.paths] or all_notebooks()
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        parser.error(f"no such notebook: {', '.join(missing)}")
    prepare_fonts()
    rows, well = [], True
    for path in paths:
        name = os.path.relpath(path, ROOT)
        print(f"{name} ...", end=" ", flush=True)
        good, message, seconds, peak = rerun(path, options.check)
        print(message, flush=True)
        well &= good
        over = " over budget" if seconds > MAX_SECONDS or peak > MAX_BYTES else ""
        rows.append(f"{name:50} {seconds:7.1f} s {peak / 1024**2:7.0f} MB{over}")
    print("", f"{'notebook':50} {'time':>9} {'peak memory':>10}", *rows, sep="\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
