"""A JupyterLab of its own for the browser tests, with private settings."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat

from tools import notebooks

LAB, NOTEBOOK = "lab/tree", "notebooks"  # JupyterLab and Notebook 7 show the same server
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight exist too
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@contextmanager
def running(scratch: Path) -> Iterator[str]:
    """Serve the folder `scratch / "notebooks"` on the loopback; yields the address for `show`.

    The server runs in a process group of its own, which ends with the block, kernels included.
    """
    for name, values in SETTINGS.items():
        file = scratch / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    home = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={scratch / 'notebooks'}"]
    command += [f"--{app}.expose_app_in_browser=True" for app in ("LabApp", "JupyterNotebookApp")]
    log = scratch / "lab.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **{key: str(scratch / value) for key, value in home.items()}},
            start_new_session=True,
        )
    try:
        wait_for(server, f"http://127.0.0.1:{port}/api?token={token}", log)
        yield f"http://127.0.0.1:{port}/{{front}}/{{name}}?token={token}"
    finally:
        server.send_signal(signal.SIGTERM)  # lets it stop its kernels
        with suppress(subprocess.TimeoutExpired):
            server.wait(10)
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
        else:
            server.kill()


def write(path: Path, sources: Iterable[str]) -> None:
    """A notebook with a cell for each of these sources."""
    made = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"kernelspec": notebooks.METADATA["kernelspec"]}  # without it Lab asks which one
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=kernel), path)


def trust(scratch: Path, path: Path) -> None:
    """Trust a notebook below `scratch`, as `make lab` does; before the server starts."""
    environment = {**os.environ, "JUPYTER_DATA_DIR": str(scratch / "data")}
    command = [sys.executable, "-m", "jupyter", "trust", str(path)]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def show(page: Any, address: str, name: str, front: str = LAB) -> None:
    """Open a notebook in LAB or NOTEBOOK. `reset` forgets what other pages have opened."""
    page.set_default_timeout(300_000)
    page.goto(address.format(front=front, name=name) + "&reset")
    page.wait_for_function(READY)


def run_all(page: Any) -> None:
    """Run all cells, without a fault."""
    page.evaluate(RUN_ALL)
    assert page.evaluate(FAULTS) == []


def wait_for(server: subprocess.Popen, address: str, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert server.poll() is None, f"JupyterLab ended:\n{log.read_text()}"
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not answer in {seconds:.0f} s:\n{log.read_text()}")


READY = "window.jupyterapp?.shell?.currentWidget?.context?.isReady"
RUN_ALL = """async () => {
  const app = window.jupyterapp, panel = app.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await app.commands.execute("notebook:run-all-cells");
}"""
# A sentence for each code cell that did not run or went wrong.
FAULTS = """() => {
  const cells = [...window.jupyterapp.shell.currentWidget.content.widgets];
  return cells.flatMap((cell, number) => {
    if (cell.model.type !== "code" || !cell.model.sharedModel.source.trim()) return [];
    const found = [];
    if (cell.model.executionCount === null) found.push(`cell ${number} did not run`);
    for (const output of cell.model.outputs.toJSON()) {
      if (output.output_type === "error") found.push(`cell ${number}: ${output.evalue}`);
      if (output.name === "stderr") found.push(`cell ${number}: ${output.text}`);
    }
    return found;
  });
}"""
THEME = """async (theme) => {
  await window.jupyterapp.commands.execute("apputils:change-theme", { theme });
}"""
