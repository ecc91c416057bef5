"""A tensor operation as the rules see it: arguments by name, with what its operands see."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from deeplab_lite.analysis.bounds import Field

# Element-wise operations that torch does not tag as such.
POINTWISE = (
    "_to_copy", "native_dropout", "_fused_dropout", "dropout", "bernoulli", "_prelu_kernel",
    "prelu", "rrelu", "rrelu_with_noise", "celu", "selu", "softplus", "mish", "hardswish",
    "log_sigmoid_forward", "rsub", "clamp", "masked_fill", "nan_to_num", "tril", "triu",
    "lift_fresh", "detach_", "contiguous", "complex", "polar",
)  # fmt: skip


class Unknown(Exception):
    """A rule cannot say what its operation reads, for the reason given, if there is one.

    The tracker warns and assumes everything.
    """


class Call:
    """One operation as its rule sees it: arguments by name, the operands' fields, the result."""

    def __init__(
        self,
        func: Any,
        args: tuple,
        kwargs: dict,
        out: Any,
        field_of: Callable,
        value_of: Callable = lambda tensor: tensor,
    ):
        arguments = func._schema.arguments
        self.func, self.args, self.kwargs = func, args, kwargs
        self.out, self.field_of, self.value_of = out, field_of, value_of
        self.name = func._schema.name.removeprefix("aten::")
        self.named = {a.name: a.default_value for a in arguments if a.has_default_value()}
        self.named |= {a.name: value for a, value in zip(arguments, args, strict=False)} | kwargs

    def __getitem__(self, name: str) -> Any:
        return self.named.get(name)

    @property
    def x(self) -> Tensor:
        return self.args[0]

    @property
    def result(self) -> Tensor:
        return tree_leaves(self.out)[0]

    @property
    def field(self) -> Field:
        """The field of the first operand."""
        field = self.field_of(self.x)
        if field is None:
            raise Unknown
        return field

    def constant(self, tensor: Tensor, name: str) -> Tensor:
        """Its value on the CPU; Unknown, in the words of `name`, if it is made from the image."""
        if self.field_of(tensor) is None:
            return self.value_of(tensor).cpu()
        raise Unknown(f"it reads where {name} say, and they are made from the image")

    @property
    def learns(self) -> bool:
        """A batch norm that uses statistics of the batch, though it has its own for evaluation."""
        training = self["training"] or self.name == "_batch_norm_with_update"
        return "batch_norm" in self.name and bool(training) and self["running_mean"] is not None

    @property
    def is_pointwise(self) -> bool:
        plain = self.name.removesuffix("_")
        in_place_of = getattr(torch.ops.aten, plain, self.func)  # x.abs_() lacks the tag of abs
        overload = getattr(in_place_of, self.func._overloadname, self.func)
        return plain in POINTWISE or torch.Tag.pointwise in (*self.func.tags, *overload.tags)

    @property
    def written(self) -> Tensor | None:
        """The tensor that an in-place operation (or one with out=) writes into and returns."""
        returns = self.func._schema.returns
        if len(returns) != 1 or returns[0].alias_info is None:
            return None
        for argument in self.func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                return self[argument.name]
        return None

    def operands(self, start: int = 0) -> list[Field]:
        """The fields of all operands that have one, from argument `start` on."""
        fields = (self.field_of(t) for t in tree_leaves((self.args[start:], self.kwargs)))
        return [f for f in fields if f is not None]

    def sizes(self, name: str, count: int, default: int = 1) -> list[int]:
        """A size argument, one number per dimension (ATen lets a single number stand for all)."""
        value = self[name]
        values = list(value) if isinstance(value, list | tuple) else [value]
        values = [default] if values in ([], [None]) else values
        return values * count if len(values) == 1 else values

    def dims(self, name: str = "dim") -> list[int]:
        value = self[name]
        if value is None or value == []:
            return list(range(self.x.ndim))
        dims = list(value) if isinstance(value, list | tuple) else [value]
        return [d % self.x.ndim for d in dims]


Rule = Callable[[Call], Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def per_rank(*patterns: str) -> list[str]:
    return [p.format(n) for p in patterns for n in (1, 2, 3)]
