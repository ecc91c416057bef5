"""The arguments of `dense_crf` in one form, and results in the form of the arguments. Lesson 04."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deeplab_lite.crf.mean_field import Trace
from deeplab_lite.labels import Array


class Parameters(NamedTuple):
    """The numbers of the energy, and how many steps of mean field."""

    iterations: int
    w_appearance: float | Tensor
    sigma_xy: float
    sigma_rgb: float
    w_smooth: float | Tensor
    sigma_smooth: float


class Inputs(NamedTuple):
    """Arguments in one form. log_probs: B x K x H x W; images: B x H x W x 3 float, 0 to 255."""

    log_probs: Tensor
    images: Tensor
    compat: Tensor | None
    probs: Array  # as the caller passed them

    def maps(self, rows: Tensor) -> Tensor:
        """... x N x K back to ... x K x H x W."""
        return rows.transpose(-1, -2).unflatten(-1, self.log_probs.shape[-2:])

    def like_probs(self, marginals: Tensor) -> Array:
        """Of the shape, kind and dtype of the probabilities; float32 if those were whole."""
        marginals = marginals.reshape(self.probs.shape).contiguous()  # nll_loss's gradient needs it
        if isinstance(self.probs, np.ndarray):
            dtype = self.probs.dtype if self.probs.dtype.kind == "f" else np.float32
            return marginals.numpy().astype(dtype, copy=False)
        return marginals.to(self.probs.dtype) if self.probs.is_floating_point() else marginals

    def trace(self, traces: list[Trace]) -> Trace:
        """One trace of the batch; without a batch axis if probs had none."""

        def joined(parts: list[Tensor]) -> Tensor:
            return torch.stack(parts, 1) if self.probs.ndim == 4 else parts[0]

        energies, messages = traces[0].energies, traces[0].messages
        return Trace(
            self.maps(joined([t.marginals for t in traces])),
            {name: joined([t.energies[name] for t in traces]) for name in energies},
            {name: self.maps(joined([t.messages[name] for t in traces])) for name in messages},
        )
