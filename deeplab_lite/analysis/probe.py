"""What goes in and out of every layer on a probe image: its strides, and whether a copy agrees."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deeplab_lite.analysis.dense_layers import every
from deeplab_lite.analysis.input_shape import hint
from deeplab_lite.analysis.twins import eagerly, sharing

PROBE, GROWTH = 128, 64  # side of the probe image, and how much larger the second one is
Strides = tuple[Fraction, ...]


class Event(NamedTuple):
    """What goes "in" or "out" of a module; strides: per axis, 0 where the size is fixed."""

    name: str
    when: str
    value: Tensor
    strides: Strides = ()


def trace(module: nn.Module, channels: int) -> list[Event]:
    """All events on the probe image; strides are told from how a larger image's maps grow."""
    runs: list[list[Event]] = [[], []]
    for events, size in zip(runs, (PROBE, PROBE + GROWTH), strict=True):
        try:
            events += _watch(module, (channels, size, size))
        except Exception as error:
            raise ValueError(
                f"{type(module).__name__} does not run on a {size} x {size} image, so its strides "
                f"cannot be measured: {hint(error, 'pass its convolutional backbone')}"
            ) from error
    return [
        event._replace(
            strides=tuple(
                Fraction(GROWTH, big - small) if big > small else Fraction(0)
                for small, big in zip(event.value.shape, larger.value.shape, strict=True)
            )
        )
        for event, larger in zip(*runs, strict=True)
    ]


def strides_of(name: str, events: Sequence[Event]) -> set[tuple[Strides, Strides]]:
    """Strides of the maps that a layer takes and gives, for each of its calls."""
    ins, outs = ([e.strides for e in events if e[:2] == (name, when)] for when in ("in", "out"))
    return set(zip(ins, outs, strict=False))


def spacing(strides: Strides, output_stride: int) -> tuple[int, ...]:
    """How much denser a map becomes along each axis."""
    return tuple(max(1, int(stride / output_stride)) for stride in strides)


class Wrong(NamedTuple):
    """The first map of a copy that is not the original's, and the layer whose code made it."""

    owner: str
    before: str  # the layer that takes the map; "" if it is the owner's result
    error: Exception | None  # where the copy stopped


def first_wrong(
    events: Sequence[Event], dense: nn.Module, output_stride: int, channels: int
) -> Wrong | None:
    """Hold a copy to its promise, map by map, at the layers that the events name."""
    names = {event.name for event in events}
    after: list[Event] = []
    failure = None
    try:
        after = _watch(dense, (channels, PROBE, PROBE), names, after)
    except Exception as error:  # the first missing map tells where
        failure = error
    agreed: set[tuple[int, int]] = set()  # ids of values that went out of one layer, into the next
    for i, old in enumerate(events):
        if i < len(after):
            new = after[i].value
            at = spacing(old.strides, output_stride)
            if (id(old.value), id(new)) in agreed or _same(old.value, new, at):
                agreed.add((id(old.value), id(new)))
                continue
        owner, _, child = old.name.rpartition(".") if old.when == "in" else (old.name, "", "")
        return Wrong(owner, child, failure)
    return None


def _watch(
    module: nn.Module,
    shape: tuple[int, int, int],
    names: set[str] | None = None,
    events: list[Event] | None = None,
) -> list[Event]:
    """Run a twin of `module` that shares its parameters, in eval mode, and append its events."""
    twin = sharing(module).eval()
    events = [] if events is None else events
    last = None

    def note(name: str, when: str, value: object) -> None:
        nonlocal last
        if (tensor := next(_tensors(value), None)) is None:
            return
        # What goes out of a layer and into the next is kept once, if nothing changed it in place.
        again = tensor is last and not tensor.is_meta and torch.equal(tensor, events[-1].value)
        events.append(Event(name, when, events[-1].value if again else tensor.detach().clone()))
        last = tensor

    for name, layer in twin.named_modules():
        if names is None or name in names:
            layer.register_forward_pre_hook(
                lambda _, args, kwargs, name=name: note(name, "in", (args, kwargs)),
                with_kwargs=True,
            )
            layer.register_forward_hook(lambda _, args, out, name=name: note(name, "out", out))
    noise = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    like = next(p for p in module.state_dict().values() if p.is_floating_point())
    with torch.no_grad(), eagerly(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        twin(noise.to(like))
    return events


def _same(old: Tensor, new: Tensor, spacing: tuple[int, ...]) -> bool:
    """Whether `new`, read every `spacing`, is `old`: to half of the digits that its type holds."""
    if new.ndim != old.ndim or (new := every(new, spacing)).shape != old.shape:
        return False
    if old.is_meta or not old.numel() or not old.is_floating_point() or torch.equal(new, old):
        return True
    largest = float(old.nan_to_num(0, 0, 0).abs().max())
    bound = largest * torch.finfo(old.dtype).eps ** 0.5
    return torch.allclose(new, old, rtol=0, atol=bound, equal_nan=True)


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
