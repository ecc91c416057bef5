"""Mean field: the ten lines that all forms of the CRF share. Taught in lesson 04."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Kernels = dict[str, tuple[Callable[[Tensor], Tensor], Tensor]]  # filters of N x K, weights
Messages = dict[str, Tensor]


class Trace(NamedTuple):
    """Every step of an inference of T steps, the start included.

    marginals: T + 1 x (B x) K x H x W. messages: "appearance", "smoothness", each T x (B x) K x H
    x W, the filtered marginals before weights. energies, in nats, each T + 1 (x B): "unary",
    "appearance", "smoothness", "entropy" and "free", the sum of the first three minus the entropy.
    """

    marginals: Tensor
    energies: dict[str, Tensor]
    messages: Messages


def mean_field(
    log_probs: Tensor,
    kernels: Kernels,
    compat: Tensor | None,
    iterations: int,
    watch: Callable[[Tensor, Messages], None] | None = None,
) -> Tensor:
    """Q <- softmax(log p + sum of w K Q), `iterations` times, from Q = softmax(log p).

    log_probs: N x K; a kernel is a filter N x K -> N x K, and its weight. compat: K x K penalties,
    or None for Potts, written as a reward for agreement: they differ by a constant per pixel, which
    softmax drops. `watch` is shown the marginals and messages of each step, the last included.
    Krähenbühl and Koltun 2011, algorithm 1, with all pixels updated at once.
    """
    marginals = softmax(log_probs)
    for _ in range(iterations):
        messages = _messages(marginals, kernels)
        if watch:
            watch(marginals, messages)
        logits = log_probs
        for name, (_, weight) in kernels.items():
            logits = torch.addcmul(logits, _reward(messages[name], compat), weight)
        marginals = softmax(logits)
    if watch:
        watch(marginals, _messages(marginals, kernels))
    return marginals


def traced(log_probs: Tensor, kernels: Kernels, compat: Tensor | None, iterations: int) -> Trace:
    """`mean_field`, with all that happened on the way; maps are N x K."""
    steps: list[tuple[Tensor, Messages]] = []
    mean_field(log_probs, kernels, compat, iterations, lambda q, m: steps.append((q, m)))
    energies = [_energies(log_probs, q, m, kernels, compat) for q, m in steps]
    maps = torch.stack([marginals for marginals, _ in steps])
    return Trace(
        maps,
        {name: torch.stack([parts[name] for parts in energies]) for name in energies[0]},
        {name: torch.stack([m[name] for _, m in steps])[:-1] for name in kernels},
    )


def softmax(logits: Tensor) -> Tensor:
    """Over the last axis. torch's own is ten times slower on rows that fill no vector register."""
    if logits.shape[-1] >= 16:
        return torch.softmax(logits, -1)
    raised = (logits - logits.amax(-1, keepdim=True)).exp()
    return raised / raised.sum(-1, keepdim=True)


def _messages(marginals: Tensor, kernels: Kernels) -> Messages:
    return {name: apply(marginals) for name, (apply, _) in kernels.items()}


def _reward(message: Tensor, compat: Tensor | None) -> Tensor:
    return message if compat is None else message @ -compat


def _energies(
    log_probs: Tensor,
    marginals: Tensor,
    messages: Messages,
    kernels: Kernels,
    compat: Tensor | None,
) -> dict[str, Tensor]:
    """The free energy that the steps bring down, and its parts. A pair counts once, hence / 2."""
    parts = {"unary": -(marginals * log_probs).sum()}
    for name, (_, weight) in kernels.items():
        parts[name] = -weight * (marginals * _reward(messages[name], compat)).sum() / 2
    entropy = torch.special.entr(marginals).sum()
    return {**parts, "entropy": entropy, "free": torch.stack([*parts.values()]).sum() - entropy}
