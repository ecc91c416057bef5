"""Watches a forward pass on the meta device and keeps the field of every tensor, views included."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from deeplab_lite.analysis.bounds import (
    Axis,
    Field,
    everything,
    input_field,
    squash,
    stride_seen,
)
from deeplab_lite.analysis.call import Call, Unknown
from deeplab_lite.analysis.rules import field_after

# What a rule raises where a known operation is used in a way that it did not foresee.
ODD_USE = (RuntimeError, ValueError, TypeError, IndexError)


class Tracker(TorchDispatchMode):
    """Watches every tensor operation of a forward pass and keeps the field of every tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[int, Field] = {}
        self.root: dict[int, Tensor] = {}  # a view's base
        self.views: dict[int, list[Tensor]] = {}
        self.keep: list[Any] = []  # ids stay unique while tensors live
        self.unknown: dict[str, None] = {}  # operations without a rule, in order

    def field_of(self, tensor: Any) -> Field | None:
        return self.fields.get(id(tensor)) if isinstance(tensor, Tensor) else None

    def run(self, model: nn.Module, shape: Sequence[int]) -> None:
        meta, image = on_meta(model, shape)
        self.fields[id(image)] = input_field(shape)
        try:
            with torch.no_grad(), self:
                functional_call(model, meta, (image,))
        except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError) as error:
            size = " x ".join(map(str, shape))
            hint = "try another input_size, with channels as (C, H, W)"
            if "item" in str(error) or "meta" in str(error).lower():
                hint = "it reads tensor values in forward, and this analysis has none"
            raise ValueError(
                f"the model does not run on an input of {size}: {hint} ({_first_line(error)})"
            ) from error

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        tracked = [t for t in tensors if id(t) in self.fields]
        if tracked or any(t.is_meta for t in tensors):
            meta_args, meta_kwargs = tree_map(_to_meta, (args, kwargs))
            out = func(*meta_args, **meta_kwargs)
        else:
            out = func(*args, **kwargs)
        call = Call(func, args, kwargs, out, self.field_of)
        if call.written is not None:
            out = call.out = call.written
        self.keep.append((tensors, out))
        if tracked:
            for tensor, field in zip(tree_leaves(out), self._fields_after(call), strict=True):
                self._store(tensor, field)
        if func.is_view and tensors:
            base = self.root.get(id(tensors[0]), tensors[0])
            for view in tree_leaves(out):
                self.root[id(view)] = base
                self.views.setdefault(id(base), []).append(view)
        return out

    def _fields_after(self, call: Call) -> list[Field | None]:
        try:
            return field_after(call)
        except (Unknown, *ODD_USE):
            self.unknown[call.func._schema.name] = None
            known = call.operands()
            return [everything(known, t.ndim) for t in tree_leaves(call.out)]

    def _store(self, tensor: Tensor, field: Field | None) -> None:
        """Writing into a view writes into its base, and so into every other view of it."""
        base = self.root.get(id(tensor), tensor)
        family = [base, *self.views.get(id(base), [])]
        fields = {id(tensor): field}
        if len(family) > 1:
            fields = _write_through(base, tensor, field, family, self.field_of)
        for key, value in fields.items():
            if value is None:
                self.fields.pop(key, None)
            else:
                self.fields[key] = value


def model_state(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Every parameter and buffer with its name. Raises ValueError if some have no shape yet."""
    state = [*model.named_parameters(), *model.named_buffers()]
    if any(isinstance(t, (UninitializedParameter, UninitializedBuffer)) for _, t in state):
        raise ValueError(
            "the model has lazy layers without weights yet: run it once on an image first"
        )
    return state


def on_meta(model: nn.Module, shape: Sequence[int]) -> tuple[dict[str, Tensor], Tensor]:
    """The model's state and an image of this shape on the meta device, for `functional_call`."""
    meta = {name: torch.empty_like(t, device="meta") for name, t in model_state(model)}
    dtype = next((t.dtype for t in meta.values() if t.is_floating_point()), torch.float32)
    return meta, torch.empty(tuple(shape), device="meta", dtype=dtype)


def runs(model: nn.Module, shape: Sequence[int]) -> bool:
    """Whether the model takes an image of this shape. Only shapes are computed."""
    meta, image = on_meta(model, shape)
    try:
        with torch.no_grad():
            functional_call(model, meta, (image,))
    except Exception:  # whatever its code raises
        return False
    return True


def _write_through(
    base: Tensor, tensor: Tensor, field: Field | None, family: list[Tensor], field_of: Any
) -> dict[int, Field | None]:
    """Lay the bounds out as `base` is in memory, write the part `tensor` shows, read all views."""
    template = field or field_of(base)
    if template is None:
        return {}
    memory = base.untyped_storage().nbytes() // base.element_size()
    result: dict[int, list[Axis]] = {id(member): [] for member in family}
    for index, axis in enumerate(template):
        planes = torch.full((4, memory), -torch.inf, dtype=torch.float64)

        def part(t: Tensor, planes: Tensor = planes) -> Tensor:
            return planes.as_strided((4, *t.shape), (memory, *t.stride()), t.storage_offset())

        stride = axis.stride
        if (before := field_of(base)) is not None:
            part(base).copy_(before[index].bounds.expand(4, *base.shape))
            stride = before[index].stride
        if field is None:
            part(tensor).fill_(-torch.inf)
        else:
            part(tensor).copy_(field[index].bounds.expand(4, *tensor.shape))
        for member in family:
            bounds = squash(part(member).clone())
            seen = stride_seen(bounds, index, len(template), stride)
            result[id(member)].append(Axis(bounds, seen))
    return {key: tuple(axes) for key, axes in result.items()}


def _to_meta(value: Any) -> Any:
    is_real = isinstance(value, Tensor) and not value.is_meta
    return torch.empty_like(value, device="meta") if is_real else value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
