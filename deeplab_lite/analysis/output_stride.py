"""Late strides of a trained network traded for dilation. Taught in lesson 02; DeepLab v1, 3.1."""

import warnings
from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from deeplab_lite.analysis.dense_layers import DENSE, WINDOWED, densify, pair
from deeplab_lite.analysis.input_shape import first_line, input_shape
from deeplab_lite.analysis.phases import ByPhases, Step, is_rewritten, recode
from deeplab_lite.analysis.probe import (
    GROWTH,
    PROBE,
    Event,
    Strides,
    Wrong,
    first_wrong,
    spacing,
    strides_of,
    trace,
)
from deeplab_lite.analysis.twins import copied, model_state

Calls = set[tuple[Strides, Strides]]


def with_output_stride(module: nn.Module, output_stride: int) -> nn.Module:
    """A deep copy of a strided 2-D network, dense at `output_stride`, with the same weights.

    In eval mode every map of the copy, read at each f-th row and column from the first, is the
    original's map up to rounding, at the border too; f is the original's stride over the copy's.
    This is checked on a probe image before the copy is returned. n rows become f n, or up to f - 1
    fewer: ceil(H / output_stride) where layers pad to keep the size (513 gives 65 at stride 8).

    - Convolutions, max pools and average pools are dilated. TensorFlow's 'same' padding (timm's
      tf_ models) and ceil_mode keep the sampling grid of the original.
    - Global and adaptive pools read only the original's positions, also as x.mean((2, 3)): the
      gates of squeeze-and-excitation blocks stay what they were, and so do the scores of a
      classifier passed with its head. For a dense map pass the backbone: `vgg.features`, a ResNet
      without avgpool and fc.
    - What else mixes positions (blur pools, group norm, F.max_pool2d in a forward, attention over a
      map) runs on each phase of the dense map by itself: see `phases`.
    - torchvision's ResNets with `replace_stride_with_dilation` come out the same. Its MobileNetV3
      with `dilated=True` does not: there the convolution that loses its stride is dilated itself,
      though its input is no denser than before, so values change and want fine-tuning.
    - Parameter names, devices, requires_grad and train mode are copied; `module` is untouched. In
      train mode batch statistics come from the denser maps.

    Warns where upsampling from beyond output_stride makes a map that is no denser than before.
    Raises TypeError if `module` is no nn.Module; ValueError for an output_stride that is no power
    of two or above the network's, for lazy layers that have not run yet, and for a network without
    an exact copy, naming the place: strides that are no powers of two or above 64, a layer used at
    two strides, or code that mixes positions and cannot be traced by torch.fx.
    """
    _refuse(module, output_stride)
    while isinstance(module, DistributedDataParallel):
        module = module.module
    try:
        return _dense_copy(module, output_stride)
    except Unequal as error:
        floats = {tensor.dtype for _, tensor in model_state(module) if tensor.is_floating_point()}
        if floats != {torch.float32}:
            raise
        with suppress(Exception):  # rounding may have grown on the way: float64 tells
            return _dense_copy(copied(module).double(), output_stride).float()
        raise error


class Unequal(ValueError):
    """A copy that does not repeat the original's maps."""


def _dense_copy(module: nn.Module, output_stride: int) -> nn.Module:
    """`with_output_stride` at the precision of the network."""
    channels = input_shape(module, (PROBE, PROBE))[1]
    events = trace(module, channels)
    _check_stride(module, events, output_stride)
    whole: set[type] = set()  # layers that run by phases as a whole
    while True:
        dense = copied(module)
        own = [layer for layer in _with_code(dense, events, output_stride, whole) if recode(layer)]
        layers = dict(dense.named_modules())
        calls = trace(dense, channels) if own else events
        seen, no_denser = _convert(dense, calls, output_stride, whole)
        wrong = first_wrong(seen, dense, output_stride, channels)
        if wrong is None:
            break
        if isinstance(layers[wrong.owner], Step):
            wrong = wrong._replace(owner=wrong.owner.rpartition(".")[0])
        code = type(layers[wrong.owner])
        kept = wrong.owner and code not in whole and _keeps(strides_of(wrong.owner, events))
        if not kept or (any(layers[wrong.owner].children()) and _is_torchs(code)):
            raise _refusal(wrong, code) from wrong.error
        whole.add(code)
    if no_denser:
        warnings.warn(
            f"{no_denser[0]} upsamples from beyond output_stride {output_stride}: its map is no "
            "denser than before. Convert the part of the network before it for a denser one",
            stacklevel=3,
        )
    return dense


def _refuse(module: nn.Module, output_stride: int) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(f"module is a {type(module).__name__}: expected an nn.Module")
    if type(output_stride) is not int or output_stride < 1 or output_stride & (output_stride - 1):
        raise ValueError(f"output_stride {output_stride!r}: expected a power of two, as 8 or 16")
    if any(isinstance(layer, torch.jit.ScriptModule) for layer in module.modules()):
        raise ValueError("a scripted network cannot change: convert it before you script it")
    if any(isinstance(layer, DENSE) or is_rewritten(layer) for layer in module.modules()):
        raise ValueError("this network was converted before: convert the original one")
    if not any(tensor.ndim == 4 for _, tensor in model_state(module)):
        raise ValueError(f"{type(module).__name__} has no strides: there is no nn.Conv2d in it")


def _check_stride(module: nn.Module, events: list[Event], output_stride: int) -> None:
    total = max(max(e.strides[-2:]) for e in events if e.value.ndim == 4)
    kind = type(module).__name__
    if total == 1:
        raise ValueError(f"{kind} has no strides: there is nothing to trade")
    if output_stride > total:
        raise ValueError(
            f"output_stride {output_stride}: the convolutions and pools of this {kind} stride by "
            f"{total} in all, so ask for {total} or less"
        )


def _with_code(
    dense: nn.Module, events: list[Event], output_stride: int, whole: set[type]
) -> list[nn.Module]:
    """Layers whose code may mix the positions of a denser map: their own, or of one inside."""
    denser = [e.name for e in events if max(spacing(e.strides, output_stride), default=1) > 1]
    layers = []
    for name, layer in dense.named_modules():
        above = any(other == name or not name or other.startswith(name + ".") for other in denser)
        as_it_is = not any(layer.children()) and _resizes(strides_of(name, events))
        fixed = isinstance(layer, WINDOWED) or _is_torchs(type(layer)) or type(layer) in whole
        layers += [layer] if above and not as_it_is and not fixed else []
    return layers


def _is_torchs(code: type) -> bool:
    return code.__module__.startswith("torch.nn")


def _refusal(wrong: Wrong, code: type) -> Unequal:
    place = f"{code.__name__} {wrong.owner!r}" if wrong.owner else code.__name__
    return Unequal(
        place
        + (f", before {wrong.before!r}," if wrong.before else "")
        + " mixes or drops positions of the map in a way that dilation cannot follow: use "
        "nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d or nn.AdaptiveAvgPool2d modules for it, or "
        "convert the part of the network before it"
        + (f" ({first_line(wrong.error)})" if wrong.error else "")
    )


def _convert(
    dense: nn.Module, events: list[Event], output_stride: int, whole: set[type]
) -> tuple[list[Event], list[str]]:
    """In place. Returns the events that the copy must repeat, and layers that gain nothing."""
    inside: tuple[str, ...] = ()  # prefixes of layers within those that run by phases as a whole
    no_denser = []
    for name, layer in list(dense.named_modules()):
        if name.startswith(inside):
            continue
        calls = strides_of(name, events)
        label = f"{name!r} ({type(layer).__name__})"
        if type(layer) in whole and _keeps(calls):
            _run_by_phases(layer, label, calls, output_stride)
            inside += (name + ".",)
        elif isinstance(layer, WINDOWED) and getattr(layer, "padding_mode", "zeros") == "zeros":
            new = _dilate(layer, label, calls, output_stride)
            if new is not layer:
                parent, _, child = name.rpartition(".")
                setattr(dense.get_submodule(parent), child, new.train(layer.training))
        elif any(layer.children()):
            continue
        elif isinstance(layer, (*WINDOWED, Step)) or _resizes(calls):
            gains = _run_by_phases(layer, label, calls, output_stride)
            no_denser += [] if gains else [label]
    return [e for e in events if not e.name.startswith(inside)], no_denser


def _dilate(layer: Any, label: str, calls: Calls, output_stride: int) -> nn.Module:
    """The dense form of a convolution or pool."""
    own = pair(getattr(layer, "stride", 1))
    plans = set()
    for before, after in calls:
        if after[-2:] != (before[-2] * own[0], before[-1] * own[1]):
            raise ValueError(
                f"{label} has stride {own}: only powers of two, up to {GROWTH} in all, "
                "can be traded for dilation"
            )
        (y, x), (wider_y, wider_x) = (spacing(s[-2:], output_stride) for s in (before, after))
        plans.add(((y, x), (own[0] * y // wider_y, own[1] * x // wider_x)))
    if len(plans) > 1:
        raise ValueError(f"{label} is used at two strides: give each use a layer of its own")
    return layer if plans <= {((1, 1), own)} else densify(layer, *plans.pop())


def _run_by_phases(layer: nn.Module, label: str, calls: Calls, output_stride: int) -> bool:
    """In place; False if a denser map goes in, and one that is no denser comes out."""
    plans = {tuple(spacing(strides, output_stride) for strides in call) for call in calls}
    if max((n for plan in plans for part in plan for n in part), default=1) == 1:
        return True
    if len(plans) > 1:
        raise ValueError(f"{label} is used at two strides: give each use a layer of its own")
    before, after = plans.pop()
    layer.forward = ByPhases(layer, before, after)
    ends = not any(max(strides) for _, strides in calls)
    return ends or max(after) > 1


def _keeps(calls: Calls) -> bool:
    """Whether every map that goes in comes out at the same stride, or ends."""
    return bool(calls) and all(after == before or not any(after) for before, after in calls)


def _resizes(calls: Calls) -> bool:
    """Permuted axes keep their strides."""
    return any(sorted(filter(None, a)) != sorted(filter(None, b)) for a, b in calls)
