"""Copies of a network to look at: the caller's own is never run, so it cannot change."""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter


def model_state(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Every parameter and buffer with its name. Raises ValueError if some have no shape yet, and
    for a network of whole numbers."""
    if any(type(m).__module__ == "torch.ao.nn.quantized.modules" for m in model.modules()):
        raise ValueError("the model is quantized: pass the network that it was made from")
    state = [*model.named_parameters(), *model.named_buffers()]
    if any(isinstance(t, (UninitializedParameter, UninitializedBuffer)) for _, t in state):
        raise ValueError(
            "the model has lazy layers without weights yet: run it once on an image first"
        )
    return state


def copied(model: nn.Module, memo: dict[int, Any] | None = None) -> Any:
    """copy.deepcopy, also of a network whose weights are computed.

    deepcopy refuses the results of operations: the weights that weight_norm, spectral_norm and
    pruning leave in a layer. The copy computes its own. Raises ValueError for lazy layers without
    weights and for what cannot be copied.
    """
    model_state(model)
    memo = dict(memo or {})
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:  # whatever an attribute of the model raises
        raise ValueError(
            f"{type(model).__name__} cannot be copied ({error}): pass the network inside it"
        ) from error


def separate(model: nn.Module) -> nn.Module:
    """A copy to run and to hook, with weights of its own."""
    return _runnable(copied(_unwrapped(model)))


def sharing(model: nn.Module) -> nn.Module:
    """A copy to run and to hook, with the model's parameters, and buffers of its own."""
    return _runnable(copied(_unwrapped(model), {id(p): p for p in model.parameters()}))


def on_meta(model: nn.Module) -> tuple[nn.Module, dict[int, Tensor]]:
    """A copy to run and to hook, whose parameters and buffers have shapes only; their values by id.

    Where it meets other tensors, a `Tracker` takes their shapes only, too.
    """
    values: dict[int, Tensor] = {}
    memo: dict[int, Tensor] = {}
    for _, tensor in model_state(model):
        shape = torch.empty_like(tensor, device="meta")
        if isinstance(tensor, nn.Parameter):
            shape = nn.Parameter(shape, tensor.requires_grad)
        memo[id(tensor)], values[id(shape)] = shape, tensor.detach()
    return _runnable(copied(_unwrapped(model), memo)), values


def float_type(model: nn.Module) -> torch.dtype:
    """What its images are made of."""
    state = [t for _, t in model_state(model)]
    return next((t.dtype for t in state if t.is_floating_point()), torch.float32)


@contextmanager
def eagerly() -> Iterator[None]:
    """Compiled and scripted networks run as they are written, operation by operation.

    What they draw at random leaves the generators of torch, NumPy and Python as they were.
    """
    python, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with (
            torch.random.fork_rng(range(torch.cuda.device_count())),
            torch.compiler.set_stance("force_eager"),
            torch.jit.optimized_execution(False),
        ):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)  # noqa: NPY002


class Shell(nn.Module):
    """Calls a module that takes no hooks."""

    def __init__(self, module: nn.Module):
        super().__init__()
        vars(self)["shelled"] = module  # not a submodule: its own layers take no hooks either

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return vars(self)["shelled"](*args, **kwargs)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        vars(self)["shelled"]._apply(fn)
        return super()._apply(fn, recurse)


def _runnable(model: nn.Module) -> nn.Module:
    """In place: scripted modules in shells, DataParallel where its module lies, no borrowed hooks.

    A copy shares functions with the original, and with them whatever the caller's hooks write to.
    """
    if isinstance(model, torch.jit.ScriptModule):
        return Shell(model)
    if isinstance(model, DataParallel):
        model.device_ids = []
    for hooks in (model._forward_hooks, model._forward_pre_hooks):
        for key in [key for key, hook in hooks.items() if isinstance(hook, FunctionType | partial)]:
            del hooks[key]
    for name, child in model._modules.items():
        if child is not None:
            model._modules[name] = _runnable(child)
    return model


def _unwrapped(model: nn.Module) -> nn.Module:
    """A copy of DistributedDataParallel would want a process group."""
    if not isinstance(model, DistributedDataParallel):
        return model
    shell = Shell(model.module)
    shell.module = model.module  # names begin with "module."
    return shell
