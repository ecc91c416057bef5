"""Trained weights as files that cannot run code: NAME.safetensors and its card NAME.json.

Weights are stored in half precision, and read back as float32. The card says what the network is,
how it was made and what it scored, and holds their sha256. Lessons 03 on; fine-tuning: lesson 09.
"""

import hashlib
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from deeplab_lite import models
from deeplab_lite.files import replacing
from deeplab_lite.files import shipped_checkpoints as _folder
from deeplab_lite.labels import sizes

Card = dict[str, Any]

# What a card must say; `save` adds the sha256, further fields are the owner's.
FIELDS = {
    "model": '{"class": "DeepLabV3Plus", "options": {"num_classes": 9, ...}}',
    "classes": "the names of the classes, background first",
    "data": "what it was trained on",
    "seed": "of the training run",
    "command": "the line that trains it anew",
    "commit": "of this repository",
    "hardware": "what it was trained on, in words",
    "time": "how long training took",
    "metrics": "what it scores, in all and per class",
}
PREFIXES = ("module.", "_orig_mod.")  # what DataParallel, DDP and torch.compile put before names
OTHER = "these weights are another network's, or it was built with other options"
PICKLES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".tar"}


def names(classes: Sequence[str] | None = None) -> list[str]:
    """The names of the checkpoints that come with the package, or of those with these classes."""
    digest = sorted(path.stem for path in _folder().glob("*.json"))
    return digest if classes is None else [n for n in digest if card(n)["classes"] == [*classes]]


def card(name_or_path: str | Path) -> Card:
    """The model card of a checkpoint: what it is, how it was made, what it scored.

    Raises ValueError for an unknown name and for a card that lacks a field, FileNotFoundError where
    there is no card.
    """
    path = _locate(name_or_path).with_suffix(".json")
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}: a checkpoint is NAME.safetensors with its card NAME.json beside "
            "it, so copy both; weights alone are read by load_weights(model, state)"
        )
    try:
        description = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): copy it anew") from error
    check_card(description, str(path))
    if not isinstance(description.get("sha256"), str):
        raise ValueError(f"{path} lacks 'sha256', that of the weights: copy it anew")
    return description


def load(
    name_or_path: str | Path,
    num_classes: int | None = None,
    device: str | torch.device = "cpu",
    strict: bool = True,
) -> nn.Module:
    """A trained network in eval mode, float32: `load("v3plus-scenes")`, `load("runs/mine")`.

    A bare name is one of `names()`; anything with a folder or .safetensors in it is a path. The
    file names no device, so what was trained on a GPU loads on a CPU.

    To fine-tune on other classes, `load(name, num_classes=4, strict=False)` builds the network for
    4 classes and keeps all weights but those whose shape depends on it: these, the last layers,
    are drawn anew from torch's global generator. Raises ValueError for an unknown name, weights
    that are not those of the card (sha256) or of its network (naming the key and both shapes), and
    a num_classes other than the checkpoint's unless strict is False; FileNotFoundError for a
    missing file.
    """
    description = card(name_or_path)
    state = _read(_locate(name_or_path), description["sha256"])
    model = load_weights(_build(description, "meta"), state)
    trained = len(description["classes"])
    if num_classes not in (None, trained) and strict:
        classes = ", ".join(map(str, description["classes"]))
        raise ValueError(
            f"{name_or_path} knows {trained} classes ({classes}), not {num_classes}: leave "
            f"num_classes out to use it, or fine-tune it with load({str(name_or_path)!r}, "
            f"num_classes={num_classes}, strict=False), which keeps all weights but those of the "
            "last layers"
        )
    if num_classes not in (None, trained):
        model = _build(description, "cpu", num_classes=num_classes)
        fresh = model.state_dict()
        fitting = {k: v if v.shape == fresh[k].shape else fresh[k] for k, v in state.items()}
        load_weights(model, fitting)
    return model.to(device).eval()


def load_weights(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Give `model` the weights of a state dict, as float32, and return it.

    Prefixes of DDP and torch.compile ("module.", "_orig_mod.") are removed; tensors may be of half
    precision and on another device. A model on the meta device takes copies of them as they are.

    Raises ValueError where names or shapes differ, naming the first key and both shapes.
    """
    own = model.state_dict()
    ours = {plain_name(name): name for name in own}
    state = {
        ours.get(plain_name(name), name): _copy(tensor, tensor.device, torch.float32)
        for name, tensor in state.items()
    }
    kind = type(model).__name__
    for owner, there, other in (kind, own, state), ("the checkpoint", state, own):
        if only := [name for name in there if name not in other]:
            more = f" and {len(only) - 1} more" if len(only) > 1 else ""
            raise ValueError(f"only {owner} has {only[0]}{more}: {OTHER}")
    for name, tensor in own.items():
        if (loaded := state[name]).shape != tensor.shape:
            raise ValueError(
                f"{name} is {sizes(loaded)} in the weights and {sizes(tensor)} in this {kind}: "
                "build it with the options that it was trained with; to change the number of "
                "classes, load it as trained and replace the head"
            )
    model.load_state_dict(state, assign=any(tensor.is_meta for tensor in own.values()))
    return model


def save(model_or_state: nn.Module | Mapping[str, Tensor], path: str | Path, card: Card) -> Path:
    """Write NAME.safetensors in half precision and the card NAME.json beside it; return the former.

    `card` holds at least FIELDS; the sha256 is added. Each file is complete or not there, whenever
    the process is killed; equal weights give equal bytes. NaN in the card (the IoU of an absent
    class) becomes null.

    Raises ValueError for a card that lacks a field or whose model these weights do not fit, and for
    weights that are NaN, infinite or too large for half precision, naming the key.
    """
    card = plain(card)
    check_card(card, "this card")
    state = model_or_state.state_dict() if isinstance(model_or_state, nn.Module) else model_or_state
    halves = {plain_name(name): _as_half(name, tensor) for name, tensor in state.items()}
    load_weights(_build(card, "meta"), halves)
    data = write_tensors(halves)
    card["sha256"] = hashlib.sha256(data).hexdigest()
    text = json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    path = _weights_file(Path(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as weights, replacing(path.with_suffix(".json")) as description:
        weights.write_bytes(data)
        description.write_bytes(text.encode())
    return path


def check_card(card: Card, what: str = "the card") -> None:
    """Raises ValueError unless a card has all FIELDS, filled in, and they agree."""
    if not isinstance(card, dict):
        raise ValueError(f"{what} is a {type(card).__name__}: expected a dict of {list(FIELDS)}")
    for field, meaning in FIELDS.items():
        if card.get(field) in (None, "", [], (), {}):
            raise ValueError(f"{what} lacks {field!r}: {meaning}")
    model, classes = card["model"], card["classes"]
    if not isinstance(classes, list | tuple) or len(set(classes)) < len(classes):
        raise ValueError(f"{what} has the classes {classes}: expected a list of different names")
    if not (isinstance(model, dict) and isinstance(model.get("options"), dict)):
        raise ValueError(f"{what} describes the model as {model!r}: expected {FIELDS['model']}")
    if model.get("class") not in models.__all__:
        raise ValueError(
            f"{what} names the model {model.get('class')!r}: there are {', '.join(models.__all__)}"
        )
    if model["options"].get("num_classes") != len(classes):
        raise ValueError(
            f"{what} names {len(classes)} classes, and its model's options have num_classes="
            f"{model['options'].get('num_classes')}: the two must agree"
        )


def _locate(name_or_path: str | Path) -> Path:
    """The .safetensors file of a shipped name or of a path; whether it exists is not asked."""
    if isinstance(name_or_path, str) and not {"/", os.sep} & set(name_or_path):
        if name_or_path in (known := names()):
            return _folder() / f"{name_or_path}.safetensors"
        if not Path(name_or_path).suffix:
            raise ValueError(
                f"no checkpoint is called {name_or_path!r}: there are {', '.join(known) or 'none'};"
                f" a file of your own needs its folder, as ./{name_or_path}"
            )
    if (path := Path(name_or_path)).suffix in PICKLES and not path.exists():
        raise FileNotFoundError(f"there is no {path}: expected the path of a .safetensors file")
    return _weights_file(path)


def _weights_file(path: Path) -> Path:
    """path with the suffix .safetensors, which may be left out; .json means the card beside it."""
    if path.suffix in PICKLES:
        raise ValueError(
            f"{path} is a pickle by its name, and those can run code when opened: read it with "
            "torch.load(path, weights_only=True), then load_weights(model, state), "
            "or save(state, 'NAME.safetensors', card)"
        )
    if inside := sorted(path.glob("*.safetensors")):
        raise ValueError(f"{path} is a folder: name the file in it, as {inside[0]}")
    if path.suffix in {".safetensors", ".json"}:
        return path.with_suffix(".safetensors")
    return path.with_name(f"{path.name}.safetensors")


def _read(path: Path, sha256: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}, only its card: copy the weights too")
    data = path.read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) != sha256:
        raise ValueError(
            f"{path} ({len(data)} bytes) is not the file that its card describes: its sha256 is "
            f"{digest[:12]}..., expected {sha256[:12]}...; it was changed or cut: copy it anew"
        )
    return read_tensors(data)


class Undrawn(TorchFunctionMode):
    """Leaves out normal_: on the meta device it would draw nothing, but load torch's compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__ == "normal_":  # of tensors, and of nn.init
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _build(card: Card, device: str, **overrides: Any) -> nn.Module:
    """The network that a card describes; JSON's lists are tuples again, as rates."""
    kind, options = card["model"]["class"], card["model"]["options"] | overrides
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    try:
        undrawn = Undrawn() if device == "meta" else nullcontext()
        with torch.device(device), undrawn, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its rates are those that it was trained with
            return getattr(models, kind)(**options)
    except TypeError as error:
        raise ValueError(
            f"{kind} does not take the options of this card ({error}): "
            "it was written by another version of this package"
        ) from error


def _as_half(name: str, tensor: Tensor) -> Tensor:
    """A copy on the CPU in half precision."""
    half = _copy(tensor, "cpu", torch.float16)
    if not half.isfinite().all():
        worst = float(tensor.detach().abs().max())
        raise ValueError(
            f"{name} cannot be stored in half precision, its largest value is {worst:.6g}: expected"
            f" finite values up to {torch.finfo(torch.float16).max:.0f}; training has diverged"
        )
    return half


def _copy(tensor: Tensor, device: str | torch.device, floating: torch.dtype) -> Tensor:
    """Contiguous, sharing memory with nothing; whole numbers keep their type."""
    kind = floating if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to(device, kind, copy=True).contiguous()


def have_names(classes: Sequence[str]) -> bool:
    """Whether classes have names, and not numbers alone."""
    return not all(name.isdigit() for name in classes)


def plain_name(name: str) -> str:
    """A tensor's name without the prefixes of DDP and torch.compile."""
    while name.startswith(PREFIXES):
        name = name.split(".", 1)[1]
    return name


def plain(value: Any) -> Any:
    """What JSON can hold: NaN is null, tensors and NumPy's scalars are numbers."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value) if isinstance(value, Path) else value
