"""predict.py beside an exported file: photographs in, masks out, without torch and this package."""

import re
from pathlib import Path
from pprint import pformat
from typing import Any

from deeplab_lite.ask import Inference, overlap_of
from deeplab_lite.checkpoints import Card
from deeplab_lite.files import replacing
from deeplab_lite.workshop.export.program import Model, deployed

SOURCE = Path(__file__).with_name("predict.py")


def script(onnx: Path, model: Model, card: Card) -> Path:
    """Write a program that asks an exported file as `segment` asks its network; return its path.

    card: that of `read_card`. The program is predict.py, or predict_NAME.py where the folder has a
    predict.py that is not NAME.onnx's. It is complete or not there.
    """
    text = SOURCE.read_text("utf-8")
    for name, value in constants(onnx.name, model, card).items():
        line = re.compile(rf"^({name}(?:: [^=]+)? = ).*?(?=  #|$)", re.MULTILINE)
        written = pformat(value, width=99 - len(name), compact=True).replace("\\", "\\\\")
        text = line.sub(rf"\g<1>{written}", text, count=1)
    path = onnx.with_name("predict.py")
    if path.exists() and f"\nMODEL = {onnx.name!r}\n" not in path.read_text("utf-8", "replace"):
        path = onnx.with_name(f"predict_{onnx.stem}.py")
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")
    return path


def constants(file: str, model: Model, card: Card) -> dict[str, Any]:
    """What differs in predict.py from network to network."""
    sides, inference = card["sides"], Inference()
    if isinstance(sides, dict):
        size, fit = None, (sides["multiple_of"], sides["plus"])
        shared = overlap_of(deployed(model).network, inference)
    else:  # one size: no photograph is cut into tiles
        size, fit, shared = tuple(sides), (1, 0), (0, 0)
    return {
        "MODEL": file,
        "CLASSES": card["classes"],
        "PALETTE": card["palette"],
        "STRIDE, EXTRA": fit,
        "SIZE": size,
        "TILE, OVERLAP, MARGIN": (inference.tile, *shared),
    }
