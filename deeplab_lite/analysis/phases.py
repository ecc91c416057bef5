"""Whatever else mixes the positions of a map: run on each phase of the dense one. Lesson 02.

Every f-th row and column of a dense map, from one of the first f, is a phase: a map as sparse as
the original's. From the first row and column it is the original's own. So any operation on each
phase by itself gives the original's result at the original's positions, and its results in turn
make a dense map. For convolutions and pools dilation computes the same, without moving the phases.
"""

import copy
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from deeplab_lite.analysis.twins import eagerly


def by_phases(function: Callable, x: Tensor, before: Sequence[int], after: Sequence[int]) -> Any:
    """function(x), where x is `before` times denser along each dimension, and the result `after`.

    Where the result ends or is no denser (after = 1), only the first phase is read.
    """
    same = len(after) == x.ndim or max(after, default=1) == 1
    places = {d: d for d in range(x.ndim)} if same else _places(function, x, before)
    counts = {d: after[k] if k < len(after) else 1 for d, k in places.items()}
    dims = [d for d in range(x.ndim) if max(before[d], counts.get(d, 1)) > 1]
    sizes = x.shape
    for d in dims:
        x = _split(x, d, before[d], counts.get(d, 1))

    def laced(y: Tensor) -> Tensor:
        for d in reversed(dims):
            if counts.get(d, 1) > 1:
                y = _lace(y, places[d], counts[d], sizes[d])
        return y

    return tree_map_only(Tensor, laced, function(x))


def _places(function: Callable, x: Tensor, before: Sequence[int]) -> dict[int, int]:
    """Which dimension of a result of another rank grows with each dense one of x, if any does."""
    places = {}
    whole = tree_leaves(function(x))[0].shape
    for d in range(x.ndim):
        if before[d] > 1:
            part = tree_leaves(function(x.narrow(d, 0, x.shape[d] - before[d])))[0].shape
            if grown := [k for k, side in enumerate(part) if side != whole[k]]:
                places[d] = grown[0]
    return places


def _split(x: Tensor, d: int, before: int, after: int) -> Tensor:
    """`after` phases along dimension d, in the batch; the last row repeats to make them even."""
    rows = -(-x.shape[d] // before)
    last = before * (rows - 1)
    missing = last + after - x.shape[d]
    if missing > 0:
        edge = x.narrow(d, x.shape[d] - 1, 1)
        x = torch.cat([x, edge.expand(*[missing if k == d else -1 for k in range(x.ndim)])], d)
    along = (slice(None),) * d
    phases = [x[(*along, slice(r, r + last + 1, before))] for r in range(after)]
    return torch.cat(phases) if after > 1 else phases[0]


def _lace(y: Tensor, d: int, after: int, size: int) -> Tensor:
    """The phases along dimension d in turns, from the batch: one map, as long as its size asks."""
    rows = y.shape[d]
    laced = y.unflatten(0, (after, -1)).movedim(0, d + 1).flatten(d, d + 1)
    return laced.narrow(d, 0, size + after * (rows - -(-size // after)))


class ByPhases:
    """In place of a layer's forward, so that the layer's class and names stay."""

    def __init__(self, layer: nn.Module, before: Sequence[int], after: Sequence[int]):
        self.layer, self.before, self.after = layer, tuple(before), tuple(after)

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        forward = type(self.layer).forward

        def original(x: Tensor) -> Any:
            return forward(self.layer, x, *args, **kwargs)

        return by_phases(original, x, self.before, self.after)


# ---- A layer's own code --------------------------------------------------------------------------

MIXERS = {
    "conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "lp_pool2d", "adaptive_avg_pool2d",
    "adaptive_max_pool2d", "unfold", "fold", "pad", "interpolate", "upsample", "pixel_shuffle",
    "pixel_unshuffle", "grid_sample", "group_norm", "instance_norm", "softmax", "roll", "flip",
    "cumsum", "mean", "sum", "amax", "amin", "max", "min", "std", "var", "norm", "logsumexp",
}  # fmt: skip


class Step(nn.Module):
    """A call in the code of a layer, made a layer itself: F.max_pool2d(x, 2) or x.mean((2, 3))."""

    def __init__(self, name: str, is_method: bool):
        super().__init__()
        self.name, self.is_method = name, is_method

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        if self.is_method:
            return getattr(x, self.name)(*args, **kwargs)
        home = next(m for m in (F, torch, operator) if hasattr(m, self.name))
        return getattr(home, self.name)(x, *args, **kwargs)


class Coded:
    """In place of a layer's forward: its graphs, in which calls that mix positions are layers."""

    def __init__(self, layer: nn.Module, graphs: dict[bool, fx.Graph]):
        self.layer, self.graphs = layer, graphs  # in training, and not

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(type(self.layer).forward).bind(self.layer, *args, **kwargs)
        bound.apply_defaults()
        graph = self.graphs[self.layer.training]
        return fx.Interpreter(self.layer, graph=graph).run(*bound.args[1:])


class _OwnCode(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def recode(layer: nn.Module) -> bool:
    """Make layers of the calls in its code that mix positions; False if that finds none."""
    graphs, mode = {}, layer.training
    try:
        for layer.training in (False, True):
            with eagerly():
                graphs[layer.training] = _graph(layer)
    except Exception:  # code that branches on sizes or values has no graph
        return False
    finally:
        layer.training = mode
    nodes = [(graph, node) for graph in graphs.values() for node in graph.nodes if _mixes(node)]
    for graph, node in nodes:
        name = f"{node.name}_call"
        layer.add_module(name, Step(_name(node), node.op == "call_method"))
        with graph.inserting_after(node):
            call = graph.create_node("call_module", name, node.args, dict(node.kwargs))
        node.replace_all_uses_with(call)
        graph.erase_node(node)
    if nodes:
        layer.forward = Coded(layer, copy.deepcopy(graphs))  # without the calls: pickles
    return bool(nodes)


def _graph(layer: nn.Module) -> fx.Graph:
    parameters = inspect.signature(type(layer).forward).parameters.values()
    fixed = {p.name: None for p in parameters if p.default is None}
    return _OwnCode().trace(layer, fixed or None)


def _name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else node.target.__name__


def _mixes(node: fx.Node) -> bool:
    if node.op not in ("call_function", "call_method") or not node.args:
        return False
    if _name(node) == "getitem":
        return isinstance(node.args[1], slice | tuple)
    return _name(node) in MIXERS and isinstance(node.args[0], fx.Node)


def is_rewritten(layer: nn.Module) -> bool:
    return isinstance(vars(layer).get("forward"), ByPhases | Coded)
