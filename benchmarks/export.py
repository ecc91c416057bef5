"""The shipped family in every form that it can be deployed in: size, time, mIoU.

    python -m benchmarks.export            5 minutes on two quiet cores

Writes assets/export.csv. Of one network all forms take turns in one process, on one image at a time
and as many threads as torch takes, so that times compare within a line's neighbours. Forms that a
compiler makes (torch.compile, AOTInductor) take a C++ compiler and some time; COMPILED has them.
"""

import csv
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._inductor.config as inductor
from torch import Tensor

from benchmarks.ladder import ASSETS
from benchmarks.peers import turns
from deeplab_lite import checkpoints, metrics
from deeplab_lite.scenes import CLASSES, SPLITS, scene
from deeplab_lite.workshop import export
from deeplab_lite.workshop.export.program import batches, deployed, program, quantised, quiet

MODELS = ("v1", "v2", "v3", "v3plus", "v3plus-lite0")
COMPILED = ("v3plus",)
SIZES = {321: 5, 513: 3}  # side in pixels: rounds
SCENES, CALIBRATION = 40, 64
Run = Callable[[Tensor], Tensor]


def images(split: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first scenes of a split, with their labels."""
    return [scene(SPLITS[split][0] + index) for index in range(count)]


def forms(name: str, folder: Path) -> Iterator[tuple[str, Run, int]]:
    """The forms of a network: what it is called, what runs it, bytes on the disk."""
    whole, last = deployed(name), deployed(name).to(memory_format=torch.channels_last)
    stored = (ASSETS / "checkpoints" / f"{name}.safetensors").stat().st_size
    calibration = [image for image, _ in images("train", CALIBRATION)]

    def half(image: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return last(image.contiguous(memory_format=torch.channels_last)).float()

    yield "eager", whole, stored
    yield "eager, channels last", lambda x: last(_last(x)), stored
    yield "eager, bfloat16, channels last", half, stored
    file = export.pt2(name, folder / "float.pt2")
    yield "torch.export (.pt2)", export.load(file), file.stat().st_size
    file = export.onnx(name, folder / "float.onnx")
    yield "onnxruntime", export.load(file), file.stat().st_size
    file = export.onnx(name, folder / "int8.onnx", int8=calibration)
    yield "onnxruntime, int8", export.load(file), file.stat().st_size
    if name.removesuffix("-scenes") in COMPILED:
        compiled = torch.compile(last, dynamic=False)
        yield "torch.compile, channels last", lambda x: compiled(_last(x)), stored
        with quiet():
            packed = torch._inductor.aoti_compile_and_package(
                program(whole), package_path=str(folder / "inductor.pt2")
            )
            runner = torch._inductor.aoti_load_package(packed)
        yield "AOTInductor (.pt2)", runner, Path(packed).stat().st_size
        integers = quantised(program(whole).module(), batches(calibration))
        file = folder / "int8.pt2"
        torch.export.save(torch.export.export(integers, (torch.zeros(1, 3, 321, 321),)), file)
        fused = torch.compile(integers, dynamic=False)
        yield "torch.compile, int8", partial(_frozen, fused), file.stat().st_size


def _last(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)


def _frozen(run: Run, image: Tensor) -> Tensor:
    """Weights as constants, without which inductor does not see integers."""
    with inductor.patch(freezing=True):
        return run(image)


def miou(run: Run, test: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """On test scenes, one at a time."""
    predicted = torch.cat([run(x).argmax(1) for x in batches(image for image, _ in test)])
    labels = torch.from_numpy(np.stack([label for _, label in test]))
    return float(metrics.miou(metrics.confusion_matrices(predicted, labels, len(CLASSES)).sum(0)))


@torch.no_grad()
def table(name: str) -> list[dict[str, Any]]:
    """The lines of one network."""
    test = images("test", SCENES)
    with tempfile.TemporaryDirectory() as folder:
        found = list(forms(name, Path(folder)))
        rows = [
            {"model": name.removesuffix("-scenes"), "form": form, "megabytes": f"{size / 1e6:.2f}"}
            | {"miou": f"{miou(run, test):.4f}", "scenes": SCENES}
            for form, run, size in found
        ]
        for side, rounds in SIZES.items():
            image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
            spent = turns({form: partial(run, image) for form, run, _ in found}, rounds)
            for row in rows:
                seconds = spent[row["form"]]
                row[f"ms_{side}"] = f"{1000 * seconds:.1f}"
                row[f"to_eager_{side}"] = f"{seconds / spent['eager']:.2f}"
    for row in rows:
        row["threads"] = torch.get_num_threads()
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return rows


def main() -> None:
    """Print and write the table of all that is shipped."""
    shipped = set(checkpoints.names())
    rows = [
        row for name in MODELS if f"{name}-scenes" in shipped for row in table(f"{name}-scenes")
    ]
    with (ASSETS / "export.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
