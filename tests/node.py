"""Runs exported functions of a widget's JavaScript under Node, to compare them with Python's."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

CALL = """
import * as module from "./module.mjs";
const {name, calls} = JSON.parse(await new Response(process.stdin).text());
const results = calls.map((args) => module[name](...args));
const plain = (_, v) => ArrayBuffer.isView(v) ? Array.from(v)
  : typeof v === "number" && !Number.isFinite(v) ? {not_finite: String(v)} : v;
console.log(JSON.stringify(results, plain));
"""


def call(module: str | Path, name: str, *args: object) -> object:
    """`name(...args)` of an ES module: a file, or its text, such as a widget's `_esm`.

    Arguments and result travel as JSON.
    """
    return call_many(module, name, [list(args)])[0]


def call_many(module: str | Path, name: str, calls: list[list[object]]) -> list:
    """One result for each list of arguments, all in one Node process (0.1 s to start)."""
    text = module.read_text(encoding="utf-8") if isinstance(module, Path) else str(module)
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed: JavaScript was not compared with Python")
    with tempfile.TemporaryDirectory() as folder:  # .mjs, so that Node takes it for a module
        (Path(folder) / "module.mjs").write_text(text, encoding="utf-8")
        (Path(folder) / "call.mjs").write_text(CALL)
        done = subprocess.run(
            [node, str(Path(folder) / "call.mjs")],
            input=json.dumps({"name": name, "calls": calls}),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, f"{name} failed under Node:\n{done.stderr}"
    return json.loads(done.stdout)
