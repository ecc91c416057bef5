"""What a network wants to be given: rank, channels, batch, and why it does not run."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral

import torch
from torch import nn

from deeplab_lite.analysis.tracker import Tracker
from deeplab_lite.analysis.twins import eagerly, float_type, on_meta

InputSize = int | Sequence[int]

HINTS = {  # what torch or the network says: what to do
    r"specialized|symbolically traced|\bProxy\b": "torch.fx cannot trace its code: pass its "
    "convolutional backbone",
    r"fake impl|[qQ]uantize": "it is quantized, or has an operation of its own: pass the network "
    "that it was made from",
    r"missing .*argument": "its forward takes more than one input: wrap it in a module that takes "
    "the image alone",
    r"'Tensor' object|only integers, slices|too many indices": "its forward wants something else "
    "than one tensor: wrap it in a module that takes one",
    r"\bitem|\bmeta\b|nonzero\(\)": "it reads tensor values in forward, and this analysis has "
    "none: take asserts and branches on values out of it",
    r"AssertionError": "an assert in it wants another size or other channels: give those, or pass "
    "the part without it",
    r"mat1|reduction dim": "a linear layer in it fits one size of image: give that, or pass its "
    "convolutional backbone",
    r"can't be greater|too small|non-zero": "the image is too small for it",
    r"must match": "maps of two sizes meet in it: try sides that are multiples of 32",
}


def hint(error: BaseException, otherwise: str) -> str:
    """What to do about an error of a network's forward, and the error's first line."""
    text = f"{type(error).__name__}: {first_line(error)}"
    advice = next((h for pattern, h in HINTS.items() if re.search(pattern, text)), otherwise)
    return f"{advice} ({first_line(error)})"


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def explained(shape: Sequence[int]) -> Iterator[None]:
    """Whatever a forward raises becomes a ValueError with a hint that fits."""
    try:
        with torch.no_grad(), eagerly():
            yield
    except Exception as error:
        size = " x ".join(map(str, shape))
        advice = hint(error, "try another input_size, with channels as (C, H, W)")
        raise ValueError(f"the model does not run on an input of {size}: {advice}") from error


def input_shape(model: nn.Module, input_size: InputSize) -> list[int]:
    """(B, C, *spatial) from what the caller gave: the first that the model runs on, if any."""
    shapes = input_shapes(model, input_size)
    return shapes[0] if len(shapes) == 1 else next(_that_run(model, shapes), shapes[0])


def input_shapes(model: nn.Module, input_size: InputSize) -> list[list[int]]:
    """What the caller may mean by input_size, the most likely first.

    Layers stand in the order of registration, and a head, or a 1-D gate over channels, may come
    before the backbone. So the ranks and channels of all layers are worth a try.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}: give a torch.nn.Module")
    if isinstance(model, nn.Sequential) and len(model) == 0:
        raise ValueError("the model has no layers: add one before asking for its receptive fields")
    layers = list(_layers(model))
    ranks = sorted({rank for rank, _ in layers}, reverse=True) or [2]
    sizes = list(input_size) if isinstance(input_size, Sequence) else [input_size]
    fits = isinstance(input_size, Integral) or ranks[-1] <= len(sizes) <= ranks[0] + 2
    if not fits or any(isinstance(n, bool) or not isinstance(n, Integral) or n < 1 for n in sizes):
        rank = ranks[0]
        form = "(C, H, W)" if rank == 2 else f"{rank} sizes, channels before them"
        raise ValueError(
            f"input_size {input_size!r}: give one positive whole number, (H, W) or {form}"
        )
    # Batch norm in training refuses a map of one unit from one image.
    learning = any(m.training and hasattr(m, "running_mean") for m in model.modules())
    shapes = []
    for rank in ranks:
        counts = [count for of, count in layers if of == rank]
        full = [int(n) for n in sizes] * (rank if isinstance(input_size, Integral) else 1)
        channels = [[c] for c in _candidates(counts)] if len(full) == rank else [[]]
        batch = [] if len(full) == rank + 2 else [2 if learning else 1]
        if rank <= len(full) <= rank + 2:
            shapes += [batch + c + full for c in channels]
    return shapes


def _layers(model: nn.Module) -> Iterator[tuple[int, int | None]]:
    """(rank, channels) of each layer that has a rank, by its name or by its weight."""
    for module in model.modules():
        if any(module.children()):
            continue  # a whole network may count other channels
        name = getattr(module, "original_name", type(module).__name__)  # scripted ones have one
        count = getattr(module, "in_channels", None) or getattr(module, "num_features", None)
        weight = next((p for p in module.parameters(False) if 3 <= p.ndim <= 5), None)
        if count is None and weight is not None:
            count = weight.shape[1]
        if re.search(r"[123]d$", name):
            yield int(name[-2]), count
        elif weight is not None:
            yield weight.ndim - 2, count


def _candidates(counts: Sequence[int | None]) -> list[int]:
    """Channels that the image may have, the most likely first."""
    known = [c for c in counts if isinstance(c, int) and c > 0]
    # A stem that unshuffles pixels or slices them apart multiplies the channels by 4, 16 or 64.
    parts = [known[0] // n for n in (4, 16, 64) if known and known[0] % n == 0]
    return list(dict.fromkeys([*known[:1], 3, 1, *known[1:], *parts]))


def _that_run(model: nn.Module, shapes: list[list[int]]) -> Iterator[list[int]]:
    """Those that the model runs on, by shapes alone."""
    network, _ = on_meta(model)
    for shape in shapes:
        # Two images: a 3-D layer would take one of C channels for a volume of depth C.
        image = torch.empty(2, *shape[1:], device="meta", dtype=float_type(model))
        try:
            with torch.no_grad(), eagerly(), Tracker():
                network(image)
        except Exception:  # whatever its code raises
            continue
        yield shape
