"""The playground: a folder that any browser opens, from a disk too, and that needs no server.

    python -m tools.playground             writes build/playground
    python -m tools.playground FOLDER

A page on a disk may run scripts and fetch nothing, so all that is large becomes scripts: gzip in
base64, in parts. What the page knows of networks, scenes and colours is in data.json, which is made
here from the package. Needs Node with npm, and the network once, for site/playground's lock file.
"""

import base64
import gzip
import hashlib
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from PIL import Image

from deeplab_lite import checkpoints, photos, scenes, textures
from deeplab_lite.classroom.draw.crf_steps import heat_table
from deeplab_lite.classroom.draw.differences import DISAGREEMENT
from deeplab_lite.classroom.own_scene import BACKGROUND, MOST, PATTERNS, RADIUS
from deeplab_lite.classroom.widgets import _subjects, _twin, shape_canvas
from deeplab_lite.files import package_folder
from deeplab_lite.image_files import shrunk
from deeplab_lite.workshop import export
from tools import npm

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "site" / "playground"
MODULES = SOURCE / "node_modules"
CACHE = ROOT / "build" / "networks"
FILE, LIGHT = ".safetensors", 2_000_000  # bytes
PART = 600_000  # bytes of an asset in one script: the bar moves, and decoding blocks no frame
PHOTO = 640  # longest side
SIDES = (129, 193, 257, 321, 481)  # to which a photograph can be shrunk

#         what a card's data are called: what a reader sees, the scenes
WORLDS = {
    "scenes": ("scenes", scenes.ORDINARY),
    "small-scenes": ("small scenes", scenes.SMALL),
}


def build(out: Path, names: Iterable[str] | None = None, home: str | None = None) -> Path:
    """Write the playground into a folder, which is made anew; returns it.

    names: of the checkpoints that can be chosen, or their paths; all that come with the package by
    default. home: where the link to the course leads, from the page; without it there is none.
    Raises FileNotFoundError without npm, and RuntimeError with what npm or esbuild says when it
    fails; ValueError as `checkpoints.load`, and for weights that half precision cannot hold.
    """
    npm.install(SOURCE)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        page = Path(folder) / "page"
        (page / "assets").mkdir(parents=True)
        write_data(page, list(checkpoints.names() if names is None else names))
        bundle(page, Path(folder))
        html = (SOURCE / "index.html").read_text("utf-8")
        link = '<a id="home" hidden>' if home is None else f'<a id="home" href="{home}">'
        (page / "index.html").write_text(html.replace('<a id="home" hidden>', link), "utf-8")
        css = (SOURCE / "page.css").read_text("utf-8") + _twin.sheet("shape_canvas")
        (page / "page.css").write_text(css, "utf-8")
        shutil.rmtree(out, ignore_errors=True)
        page.rename(out)
    return out


def bundle(page: Path, scratch: Path) -> None:
    """page.js, with the worker as a text in it: a page on a disk may start no other."""
    widget, worker = scratch / "shape_canvas.js", scratch / "worker.txt"
    widget.write_text(_twin.script("shape_canvas"), "utf-8")
    common = "--bundle", "--minify", "--format=iife", "--target=es2022", "--log-level=warning"
    npm.run(
        SOURCE, "esbuild", "src/worker.js", *common, f"--outfile={worker}",
        "--define:import.meta.url=self.location.href",  # of onnxruntime; it needs no file beside it
    )  # fmt: skip
    npm.run(
        SOURCE, "esbuild", "src/page.js", *common, f"--outfile={page / 'page.js'}",
        "--loader:.txt=text", f"--alias:data={page / 'data.json'}", f"--alias:worker={worker}",
        f"--alias:shape-canvas={widget}",
    )  # fmt: skip


# ---- What the page knows -------------------------------------------------------------------------


def write_data(page: Path, names: list[str]) -> None:
    """data.json, and the assets that it names."""
    first = first_choice(names)
    home = checkpoints.card(first[0])["data"]["name"]
    networks = [network(page, name, home) for name in names]
    skimage = Path(package_folder("skimage", "scikit-image", "the textures")) / "data"
    data = {
        "networks": networks,
        "first": [Path(name).stem for name in first],
        "runtime": store(page, "runtime", runtime()),
        "classes": scenes.CLASSES,
        "companies": scenes.COMPANIES,
        "handles": scenes.HANDLES_AT,
        "worlds": [
            {"name": name, "title": title, "size": world.side, "difficulty": vars(world)}
            for name, (title, world) in WORLDS.items()
        ],
        "textures": {
            name: store(page, name, grey(skimage / f"{name}.png")) for name in textures.TEXTURES
        },
        "photos": {name: store(page, name, jpeg(name)) for name in photos.photo_names()},
        "sides": SIDES,
        "own": {
            "kinds": scenes.CLASSES[1:],
            "patterns": PATTERNS,
            "radius": RADIUS,
            "most": MOST,
            "paths": {kind: shape_canvas.path(kind) for kind in scenes.CLASSES[1:]},
            "size": shape_canvas.ShapeCanvas.size.default_value,
            "shapes": [shape._asdict() for shape in shape_canvas.START],
            "background": BACKGROUND._asdict(),
        },
        "heat": heat_table()[:, :3].tolist(),
        "differences": {name: color.tolist() for name, (_, color) in DISAGREEMENT.items()},
        "strange": _subjects.STRANGE,
    }
    (page / "data.json").write_text(json.dumps(data, indent=1), "utf-8")


def network(page: Path, name: str, home: str) -> dict[str, Any]:
    """What the page must know of a network, whichever it is; its file goes to the assets.

    home: the data of the first choice; the titles of others say what they have learnt from.
    """
    path, card, name = exported(name), checkpoints.card(name), Path(name).stem
    about = export.read_card(path)
    graph, weights = halved(path)
    data = card["data"]["name"]
    side = WORLDS[data][1].side if data in WORLDS else max(card["data"].get("sides", [PHOTO]))
    return {
        "name": name,
        "title": title(name, data) + ("" if data == home else f" · {data}"),
        "group": WORLDS[data][0] if data in WORLDS else data,
        "classes": about["classes"],
        "palette": about["palette"],
        "sides": about["sides"],
        "size": side,  # of the images that it was trained for
        "world": data if data in WORLDS else None,
        "file": store(page, name, graph + weights),
        "graph": len(graph),  # bytes, of the file's; the rest is its weights
    }


def title(name: str, data: str) -> str:
    """`v3plus-lite0-scenes`, of scenes, is called v3+ lite0."""
    words = [word for word in name.split("-") if word != data]
    return " ".join(word.replace("plus", "+") for word in words)


def first_choice(names: Iterable[str]) -> list[str]:
    """The network with the highest mIoU on scenes, and the one with the lowest on the same scenes.

    These differ most. Of those that load in a moment, LIGHT, if there are any. Where there is none
    for scenes, the first; where there is one, that one.
    """
    cards = {name: checkpoints.card(name) for name in names}
    drawn = [name for name in cards if cards[name]["data"]["name"] in WORLDS]
    light = [n for n in drawn if checkpoints._locate(n).with_suffix(FILE).stat().st_size < LIGHT]
    ranked = sorted(
        light or drawn,
        key=lambda name: cards[name]["metrics"].get("val", {}).get("miou", 0),
    )
    best = ranked[-1] if ranked else next(iter(cards))
    same = [name for name in ranked if cards[name]["data"]["name"] == cards[best]["data"]["name"]]
    return [best, *same[:1]] if len(same) > 1 else [best, "none"]


# ---- Files ---------------------------------------------------------------------------------------


def exported(name: str) -> Path:
    """A network in the ONNX format, as `deeplab_lite export` writes it; kept for the next build."""
    digest = hashlib.sha256(f"{checkpoints.card(name)['sha256']} {torch.__version__}".encode())
    for module in sorted(Path(export.__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    path = CACHE / f"{Path(name).stem}-{digest.hexdigest()[:12]}.onnx"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        export.onnx(name, path)
    return path


def halved(path: Path) -> tuple[bytes, bytes]:
    """A file in the ONNX format as its graph, and its large tensors in half precision.

    The graph says where in a file "weights" they are once they are in 32 bits again, which the page
    sees to: it costs a moment, where a runtime that widens them in each pass takes twice the time.
    """
    model = onnx.load(path)
    weights = bytearray()
    for tensor in model.graph.initializer:
        values = np.frombuffer(tensor.raw_data, np.uint8)
        if tensor.data_type != onnx.TensorProto.FLOAT or values.size < 1024:
            continue
        with np.errstate(over="ignore"):
            half = values.view(np.float32).astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError(f"{path.stem}: {tensor.name} is too large for half precision")
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        place = {"location": "weights", "offset": 2 * len(weights), "length": values.size}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        weights += half.tobytes()
    del model.metadata_props[:], model.graph.value_info[:]
    for node in model.graph.node:  # where in Python each comes from
        del node.metadata_props[:]
        node.doc_string = ""
    return model.SerializeToString(deterministic=True), bytes(weights)


def store(page: Path, name: str, data: bytes) -> dict[str, Any]:
    """Write an asset as scripts; returns what the page needs to load it."""
    packed = gzip.compress(data, mtime=0)
    parts = []
    for number, start in enumerate(range(0, len(packed), PART)):
        parts.append(f"assets/{name}.{number}.js")
        text = base64.b64encode(packed[start : start + PART]).decode()
        (page / parts[-1]).write_text(f'part("{parts[-1]}", "{text}");\n', "ascii")
    return {"parts": parts, "bytes": len(packed)}


def runtime() -> bytes:
    """onnxruntime-web for one thread of any processor."""
    return (MODULES / "onnxruntime-web" / "dist" / "ort-wasm-simd-threaded.wasm").read_bytes()


def grey(path: Path) -> bytes:
    return np.array(Image.open(path).convert("L")).tobytes()


def jpeg(name: str) -> bytes:
    """A photograph, smaller: the page shrinks it further."""
    out = io.BytesIO()
    Image.fromarray(shrunk(photos.photo(name), PHOTO)).save(out, "JPEG", quality=90)
    return out.getvalue()


if __name__ == "__main__":
    folder = build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "playground")
    size = sum(file.stat().st_size for file in folder.rglob("*.*"))
    print(f"{folder}: {size / 1e6:.1f} MB; open {folder / 'index.html'}")
