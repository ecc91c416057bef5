"""What the reference code takes silently, or crashes on, is refused here in one sentence."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..labels import Array, sizes
from .mean_field import Trace

FLOOR = 1e-5  # of a probability: pydensecrf's, so that a 0 can still be voted down


class Settings(NamedTuple):
    iterations: int
    w_appearance: float | Tensor
    sigma_xy: float
    sigma_rgb: float
    w_smooth: float | Tensor
    sigma_smooth: float


class Problem(NamedTuple):
    """Arguments in one form. log_probs: B x K x H x W; images: B x H x W x 3 float, 0 to 255."""

    log_probs: Tensor
    images: Tensor
    compat: Tensor | None
    given: Array

    def maps(self, rows: Tensor) -> Tensor:
        """... x N x K back to ... x K x H x W."""
        return rows.transpose(-1, -2).unflatten(-1, self.log_probs.shape[-2:])

    def like_given(self, marginals: Tensor) -> Array:
        marginals = marginals.reshape(self.given.shape)
        if isinstance(self.given, np.ndarray):
            return marginals.numpy().astype(self.given.dtype, copy=False)
        return marginals.to(self.given.dtype)

    def trace(self, traces: list[Trace]) -> Trace:
        """One trace of the batch; without a batch axis if none was given."""

        def joined(parts: list[Tensor]) -> Tensor:
            return torch.stack(parts, 1) if self.given.ndim == 4 else parts[0]

        return Trace(
            self.maps(joined([t.marginals for t in traces])),
            {name: joined([t.energies[name] for t in traces]) for name in traces[0].energies},
            {
                name: self.maps(joined([t.messages[name] for t in traces]))
                for name in traces[0].messages
            },
        )


def settings(**values: float | Tensor) -> Settings:
    return Settings(**values)  # type: ignore[arg-type]


def problem(probs: Array, image: Array, compat: str | Array) -> Problem:
    tensor = torch.as_tensor(probs)
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    images = torch.as_tensor(image, device=tensor.device)
    if tensor.ndim == 3:
        tensor, images = tensor[None], images[None]
    if images.shape[1:] != (*tensor.shape[2:], 3):
        raise ValueError(f"image is {sizes(images)} and probs {sizes(tensor)}")
    images = images.float() * (255 if images.is_floating_point() else 1)
    matrix = None if isinstance(compat, str) else torch.as_tensor(compat).to(tensor)
    return Problem(tensor.clamp(min=FLOOR).log(), images, matrix, probs)


def backend(name: str, problem: Problem, settings: Settings, trace: bool) -> str:
    return "lattice" if name == "auto" else name
