"""Watches a forward pass on the meta device and keeps the field of every tensor, views included."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
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

    def __init__(self, values: dict[int, Tensor] | None = None) -> None:
        super().__init__()
        self.fields: dict[int, Field] = {}
        self.values = values or {}  # of parameters, buffers and constants without values
        self.origins: dict[int, tuple] = {}  # how such constants are made
        self.overwritten: set[int] = set()  # constants whose value is no longer theirs
        self.root: dict[int, Tensor] = {}  # a view's base
        self.views: dict[int, list[Tensor]] = {}
        self.keep: list[Any] = []  # ids stay unique while tensors live
        self.unknown: dict[str, str] = {}  # operations without a rule, in order, and why
        self.learning = False  # whether a batch norm took statistics of the batch that it need not

    def image(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """What the network is to run on: shapes only, each pixel sees itself."""
        image = torch.empty(tuple(shape), device="meta", dtype=dtype)
        self.fields[id(image)] = input_field(shape)
        self.keep.append(image)
        return image

    def field_of(self, tensor: Any) -> Field | None:
        return self.fields.get(id(tensor)) if isinstance(tensor, Tensor) else None

    def value_of(self, tensor: Tensor) -> Tensor:
        """A constant's value, computed now; Unknown if it was made from the image or at random."""
        if id(self.root.get(id(tensor), tensor)) in self.overwritten:
            raise Unknown
        if not tensor.is_meta:
            return tensor
        if id(tensor) not in self.values:
            if id(tensor) not in self.origins:
                raise Unknown
            func, args, kwargs, position = self.origins[id(tensor)]
            args, kwargs = tree_map(self._value, (args, kwargs))
            self.values[id(tensor)] = tree_leaves(func(*args, **kwargs))[position]
        return self.values[id(tensor)]

    def _value(self, argument: Any) -> Any:
        if isinstance(argument, Tensor):
            return self.value_of(argument).cpu()
        return torch.device("cpu") if argument == torch.device("meta") else argument

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        tracked = [t for t in tensors if id(t) in self.fields]
        if abstract := tracked or any(t.is_meta for t in tensors):
            meta_args, meta_kwargs = tree_map(_to_meta, (args, kwargs))
            out = func(*meta_args, **meta_kwargs)
        else:
            out = func(*args, **kwargs)
        call = Call(func, args, kwargs, out, self.field_of, self.value_of)
        if (target := call.written) is not None:
            out = call.out = target
            if abstract:
                self.overwritten.add(id(self.root.get(id(target), target)))
        elif not tracked and torch.Tag.nondeterministic_seeded not in func.tags:
            for position, tensor in enumerate(tree_leaves(out)):
                self.origins[id(tensor)] = (func, args, kwargs, position)
        self.keep.append((tensors, out))
        if tracked:
            self.learning |= call.learns
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
        except (Unknown, *ODD_USE) as error:
            reason = str(error) if isinstance(error, Unknown) else ""
            self.unknown[call.func._schema.name] = reason
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
