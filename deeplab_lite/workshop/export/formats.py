"""Exported files, written and read: ONNX and .pt2. Taught in lesson 09."""

import json
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from deeplab_lite import checkpoints
from deeplab_lite.checkpoints import Card
from deeplab_lite.files import replacing
from deeplab_lite.workshop.export.program import (
    Deployed,
    Model,
    Size,
    batches,
    deployed,
    program,
    quiet,
    sides,
)
from deeplab_lite.workshop.segment.segmenter import palette

OPSET = 18  # of ONNX: since 2022, so that older runtimes read it too
CARD = "card.json"  # the metadata's name in a .pt2 archive
SUFFIXES = (".onnx", ".pt2")
Run = Callable[[Tensor], Tensor]


class Agreement(NamedTuple):
    """A file beside its network on some images."""

    images: int
    pixels: int
    equal: float  # share of the pixels with the same label
    difference: float  # the largest, of two logits

    def __str__(self) -> str:
        return (
            f"{self.equal:.4%} of {self.pixels:,} pixels on {self.images} images have the "
            f"network's label; the largest difference of logits is {self.difference:.2g}"
        )


# ---- Writing -------------------------------------------------------------------------------------


def onnx(
    model: Model,
    path: str | Path,
    *,
    size: Size | None = None,
    int8: Iterable[np.ndarray] | None = None,
    card: Card | None = None,
) -> Path:
    """Write `path` in the ONNX format, for onnxruntime and many others; return it. Lesson 09.

    - `model`: a checkpoint's name or path, or a network. A network's card is `card`; without
      one its classes are numbers.
    - `size`: (H, W) fixes the sides; without it they are free, among those that fit the network.
    - `int8`: images, uint8 (H, W, 3), some fifty of the kind that will be seen. The convolutions
      then compute in 8-bit integers, on scales that are measured on these images.

    The file is complete or not there. Its input is "image", its output "logits"; `read_card` gives
    its metadata. ONNX runtimes do not refuse sides that do not fit: "sides" says which do.

    Raises ModuleNotFoundError where the extra `export` is missing; ValueError for a size that does
    not fit, another suffix, and no images; FileNotFoundError for a folder that is not there; and
    what `checkpoints.load` raises.
    """
    _need("onnx", "onnxscript", *(["torchao"] if int8 is not None else []))
    from onnxscript import ir

    path, whole = _target(path, ".onnx"), deployed(model)
    graph = program(whole, size, int8)
    with quiet():
        written: Any = torch.onnx.export(
            graph, dynamo=True, opset_version=OPSET, output_names=["logits"], verbose=False
        )
    metadata = _metadata(model, whole, size, card) | {"opset": OPSET}
    metadata["precision"] = "float32" if int8 is None else "int8"
    shape = ("height", "width") if size is None else size
    written.model.graph.inputs[0].shape = ir.Shape(["batch", 3, *shape])
    written.model.graph.outputs[0].shape = ir.Shape(["batch", len(metadata["classes"]), *shape])
    for key, value in metadata.items():
        written.model.metadata_props[key] = value if isinstance(value, str) else json.dumps(value)
    with replacing(path) as temporary:
        written.save(temporary)
    return path


def pt2(
    model: Model, path: str | Path, *, size: Size | None = None, card: Card | None = None
) -> Path:
    """Write `path` by torch.export: a program that torch runs without this package; return it.

    `torch.export.load(path).module()` is called with images; it refuses sides that do not fit. The
    arguments, and what is raised, are those of `onnx`. Lesson 09.
    """
    path, whole = _target(path, ".pt2"), deployed(model)
    graph = program(whole, size)
    metadata = json.dumps(_metadata(model, whole, size, card), indent=1, ensure_ascii=False)
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.export.save(graph, file, extra_files={CARD: metadata})
    return path


# ---- Reading -------------------------------------------------------------------------------------


def load(path: str | Path) -> Run:
    """What runs an exported file on the CPU: images B x 3 x H x W in [0, 1] to logits.

    Raises FileNotFoundError where there is no such file, ValueError for another suffix than .onnx
    and .pt2, ModuleNotFoundError where onnxruntime is missing.
    """
    path = _existing(path)
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()
        return lambda image: module(image)
    _need("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run(["logits"], {"image": image.numpy()})[0])


def read_card(path: str | Path) -> Card:
    """The metadata of an exported file: classes, palette, input, output, sides, licence and so on.

    Raises what `load` raises.
    """
    path = _existing(path)
    if path.suffix == ".pt2":
        files = {CARD: ""}
        torch.export.load(path, extra_files=files)
        return json.loads(files[CARD])
    _need("onnx")
    import onnx

    model = onnx.load(path, load_external_data=False)
    return {prop.key: _value(prop.value) for prop in model.metadata_props}


@torch.no_grad()
def compare(path: str | Path, model: Model, images: Iterable[np.ndarray]) -> Agreement:
    """How far a file says what its network says; images: uint8 (H, W, 3), of sides that fit.

    Labels can differ only where the two highest logits are closer than twice the difference.
    Raises what `load` raises, and ValueError for no images.
    """
    run, network = load(path), deployed(model)
    count = pixels = same = 0
    difference = 0.0
    for image in batches(images):
        with quiet():
            logits, expected = run(image), network(image)
        count, pixels = count + 1, pixels + expected[:, 0].numel()
        same += int((logits.argmax(1) == expected.argmax(1)).sum())
        difference = max(difference, float((logits - expected).abs().max()))
    return Agreement(count, pixels, same / pixels, difference)


# ---- Parts ---------------------------------------------------------------------------------------


def _metadata(model: Model, whole: Deployed, size: Size | None, card: Card | None) -> Card:
    """What travels with the file."""
    network: Any = whole.network
    step, extra = sides(network)
    shipped = isinstance(model, str) and model in checkpoints.names()
    if isinstance(model, nn.Module):
        name = type(model).__name__
        side = 2 * step + extra
        with quiet(), torch.no_grad():
            count = whole(torch.zeros(1, 3, side, side)).shape[1]
        card = card or {"classes": [str(k) for k in range(count)]}
    else:
        name = Path(model).stem
        card = card or checkpoints.card(model)
    return {
        "name": name,
        "classes": [str(each) for each in card["classes"]],
        "palette": palette(card).tolist(),
        "input": "image: float32, batch x 3 x height x width, RGB from 0 to 1",
        "output": "logits: float32, batch x classes x height x width; the label is the largest",
        "normalization": {"mean": [0.5] * 3, "std": [0.5] * 3, "inside": True},
        "sides": size or {"multiple_of": step, "plus": extra, "least": 2 * step + extra},
        "output_stride": network.output_stride,
        "precision": "float32",
        "licence": card.get("licence", "MIT" if shipped else "not stated"),
        "data": card.get("data", "not stated"),
        "weights_sha256": card.get("sha256", "not stated"),
        "producer": f"deeplab_lite {version('deeplab-lite')}, torch {torch.__version__}",
    }


def _target(path: str | Path, suffix: str) -> Path:
    path = Path(path)
    if path.suffix != suffix:
        other = "; --format pt2 writes the other kind" if path.suffix == ".pt2" else ""
        raise ValueError(f"{path}: expected a name that ends in {suffix}{other}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}: make it first")
    return path


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    return path


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _need(*modules: str) -> None:
    """Raises ModuleNotFoundError, with the line that helps, where one is missing."""
    for module in modules:
        try:
            with quiet():
                import_module(module)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"this export needs {error.name}, which is not installed: "
                "`pip install 'deeplab-lite[export]'` brings all that exports use",
                name=error.name,
            ) from error
