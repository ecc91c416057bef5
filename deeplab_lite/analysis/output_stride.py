"""Late strides of a trained network traded for dilation. Taught in lesson 02; DeepLab v1, 3.1."""

import copy
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deeplab_lite.analysis.dense_layers import DENSE, WINDOWED, OnSamples, densify, every, pair
from deeplab_lite.analysis.fields import input_channels
from deeplab_lite.analysis.tracker import model_state

PROBE, GROWTH = 128, 64  # side of the probe image, and how much larger the second one is
Strides = tuple[Fraction, ...]


def with_output_stride(module: nn.Module, output_stride: int) -> nn.Module:
    """A deep copy of a strided 2-D network, dense at `output_stride`, with the same weights.

    In eval mode every map of the copy, read at each f-th row and column from the first, is the
    original's map up to rounding, at the border too; f is the original's stride over the copy's.
    This is checked on a probe image before the copy is returned. n rows become f n, or up to f - 1
    fewer: ceil(H / output_stride) where layers pad to keep the size (513 gives 65 at stride 8).

    - Convolutions, max pools and average pools are dilated. TensorFlow's 'same' padding (timm's
      tf_ models) and ceil_mode keep the sampling grid of the original.
    - Global and adaptive pools read only the original's positions: the gates of squeeze-and-
      excitation blocks stay what they were, and so do the scores of a classifier passed with its
      head. For a dense map pass the backbone: `vgg.features`, a ResNet without avgpool and fc.
    - torchvision's ResNets with `replace_stride_with_dilation` come out the same. Its MobileNetV3
      with `dilated=True` does not: there the convolution that loses its stride is dilated itself,
      though its input is no denser than before, so values change and want fine-tuning.
    - Parameter names, devices, requires_grad and train mode are copied; `module` is untouched. In
      train mode batch norm counts the new positions too, and values change.

    Raises TypeError if `module` is no nn.Module; ValueError for an output_stride that is no power
    of two or above the network's, for lazy layers that have not run yet, and for a network without
    an exact copy, naming the place: strides that are no powers of two or above 64, a layer used at
    two strides, upsampling from beyond output_stride, or code outside convolution and pool modules
    that mixes positions (F.max_pool2d in a forward, slicing, a mean over the map, interpolation,
    group norm, attention).
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module is a {type(module).__name__}: expected an nn.Module")
    if type(output_stride) is not int or output_stride < 1 or output_stride & (output_stride - 1):
        raise ValueError(f"output_stride {output_stride!r}: expected a power of two, as 8 or 16")
    if any(isinstance(layer, DENSE) for layer in module.modules()):
        raise ValueError("this network was converted before: convert the original one")
    model_state(module)  # refuses lazy layers, before a probe image would give them a shape
    channels = input_channels(module, (PROBE, PROBE))
    events = _trace(module, channels)
    layers = dict(module.named_modules())
    strided = [e for e in events if isinstance(layers[e.name], WINDOWED)]
    total = max((max(e.strides[-2:]) for e in strided), default=Fraction(1))
    if total == 1:
        raise ValueError(f"{type(module).__name__} has no strides: there is nothing to trade")
    if output_stride > total:
        raise ValueError(
            f"output_stride {output_stride}: the convolutions and pools of this "
            f"{type(module).__name__} stride by {total} in all, so ask for {total} or less"
        )
    dense = copy.deepcopy(module)
    for name, layer in list(dense.named_modules()):
        ins = [e.strides for e in events if (e.name, e.when) == (name, "in")]
        outs = [e.strides for e in events if (e.name, e.when) == (name, "out")]
        convert = _convert_windowed if isinstance(layer, WINDOWED) else _convert_other
        label = f"{name!r} ({type(layer).__name__})"
        new = convert(layer, label, set(zip(ins, outs, strict=False)), output_stride)
        if new is not layer:
            parent, _, child = name.rpartition(".")
            setattr(dense.get_submodule(parent), child, new.train(layer.training))
    _verify(layers, events, dense, output_stride, channels)
    return dense


def _convert_windowed(
    layer: Any, label: str, calls: set[tuple[Strides, Strides]], output_stride: int
) -> nn.Module:
    """The dense form of a convolution or pool; calls: strides of the maps it takes and gives."""
    own = pair(getattr(layer, "stride", 1))
    plans = set()
    for before, after in calls:
        if after[-2:] != (before[-2] * own[0], before[-1] * own[1]):
            raise ValueError(
                f"{label} has stride {own}: only powers of two, up to {GROWTH} in all, "
                "can be traded for dilation"
            )
        (y, x), (wider_y, wider_x) = (_spacing(s[-2:], output_stride) for s in (before, after))
        plans.add(((y, x), (own[0] * y // wider_y, own[1] * x // wider_x)))
    if len(plans) > 1:
        raise ValueError(f"{label} is used at two strides: give each use a layer of its own")
    return layer if plans <= {((1, 1), own)} else densify(layer, *plans.pop())


def _convert_other(
    layer: nn.Module, label: str, calls: set[tuple[Strides, Strides]], output_stride: int
) -> nn.Module:
    """Any other layer: as it is where the stride stays, on the old positions where the map ends."""
    if any(layer.children()):
        return layer
    for before, after in calls:
        spacing = _spacing(before, output_stride)
        if sorted(filter(None, before)) == sorted(filter(None, after)):
            continue  # the same stride; its axes may be permuted
        if not any(after) and max(spacing) > 1:
            return OnSamples(layer, spacing)
        if max(*spacing, *_spacing(after, output_stride)) > 1:
            raise ValueError(
                f"{label} resizes the map, and has no dense form: "
                "convert the part of the network before it"
            )
    return layer


# ---- Looking at a network ------------------------------------------------------------------------


class Event(NamedTuple):
    """What goes "in" or "out" of a module; strides: per axis, 0 where the size is fixed."""

    name: str
    when: str
    value: Tensor
    strides: Strides = ()


def _trace(module: nn.Module, channels: int) -> list[Event]:
    """All events on the probe image; strides are told from how a larger image's maps grow."""
    runs: list[list[Event]] = [[], []]
    for events, size in zip(runs, (PROBE, PROBE + GROWTH), strict=True):
        try:
            _watch(module, (channels, size, size), events)
        except Exception as error:
            raise ValueError(
                f"{type(module).__name__} does not run on a {size} x {size} image ({error}), so "
                "its strides cannot be measured: pass its convolutional backbone"
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


def _watch(module: nn.Module, shape: tuple[int, int, int], events: list[Event]) -> None:
    """Run a twin of `module` that shares its parameters, in eval mode, and append its events."""
    twin = copy.deepcopy(module, {id(p): p for p in module.parameters()}).eval()
    first = next((layer for layer in twin.modules() if isinstance(layer, nn.Conv2d)), None)
    if first is None:
        raise ValueError("there is no nn.Conv2d in it")

    last = None

    def note(name: str, when: str, value: object) -> None:
        nonlocal last
        if (tensor := _first_tensor(value)) is None:
            return
        # What goes out of a layer and into the next is kept once, if nothing changed it in place.
        again = tensor is last and not tensor.is_meta and torch.equal(tensor, events[-1].value)
        events.append(Event(name, when, events[-1].value if again else tensor.detach().clone()))
        last = tensor

    for name, layer in twin.named_modules():
        layer.register_forward_pre_hook(
            lambda _, args, kwargs, name=name: note(name, "in", (args, kwargs)), with_kwargs=True
        )
        layer.register_forward_hook(lambda _, args, out, name=name: note(name, "out", out))
    noise = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        twin(noise.to(first.weight))


def _verify(
    layers: dict[str, nn.Module],
    before: list[Event],
    dense: nn.Module,
    output_stride: int,
    channels: int,
) -> None:
    """Hold the copy to its promise, map by map; name the code that made the first wrong one."""
    after: list[Event] = []
    failure = None
    try:
        _watch(dense, (channels, PROBE, PROBE), after)
    except Exception as error:  # the first missing map tells where
        failure = error
    after = [event for event in after if event.name in layers]
    agreed: set[tuple[int, int]] = set()  # ids of values that went out of one layer, into the next
    for i, old in enumerate(before):
        if i < len(after):
            new, spacing = after[i].value, _spacing(old.strides, output_stride)
            if (id(old.value), id(new)) in agreed or _same(old.value, new, spacing):
                agreed.add((id(old.value), id(new)))
                continue
        owner, _, child = old.name.rpartition(".") if old.when == "in" else (old.name, "", "")
        kind = type(layers[owner]).__name__
        raise ValueError(
            (f"{kind} {owner!r}" if owner else kind)
            + (f", before {child!r}," if child else "")
            + " mixes or drops positions of the map in a way that dilation cannot follow: use "
            "nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d or nn.AdaptiveAvgPool2d modules for it, or "
            "convert the part of the network before it" + (f" ({failure})" if failure else "")
        ) from failure


def _same(old: Tensor, new: Tensor, spacing: tuple[int, ...]) -> bool:
    """Whether `new`, read every `spacing`, is `old`: to half of the digits that its type holds."""
    if new.ndim != old.ndim or (new := every(new, spacing)).shape != old.shape:
        return False
    if old.is_meta or not old.numel() or not old.is_floating_point() or torch.equal(new, old):
        return True
    largest = float(old.nan_to_num(0, 0, 0).abs().max())
    bound = largest * torch.finfo(old.dtype).eps ** 0.5
    return torch.allclose(new, old, rtol=0, atol=bound, equal_nan=True)


def _spacing(strides: Strides, output_stride: int) -> tuple[int, ...]:
    return tuple(max(1, int(stride / output_stride)) for stride in strides)


def _first_tensor(value: object) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, dict):
        value = [*value.values()]
    items = value if isinstance(value, list | tuple) else ()
    return next((t for item in items if (t := _first_tensor(item)) is not None), None)
