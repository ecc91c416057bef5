"""All pairs of pixels: the oracle that the faster forms are tested against. Taught in lesson 04."""

import torch
from torch import Tensor

MAX_PIXELS = 9_216  # 96 x 96: a kernel of 340 MB in float32
ROWS = 512  # of the kernel at a time, so that float64 distances stay small


class Filter:
    """D^-1/2 K D^-1/2 with K_ij = exp(-|f_i - f_j|² / 2), its diagonal included.

    features: d x N. Calling it filters a map N x K.
    """

    def __init__(self, features: Tensor, dtype: torch.dtype = torch.float32):
        features = features.double()
        halves = features.square().sum(0) / 2
        points = features.shape[1]
        self.kernel = torch.empty(points, points, dtype=dtype, device=features.device)
        for some in torch.arange(points, device=features.device).split(ROWS):
            exponents = features[:, some].t() @ features - halves[some, None] - halves
            self.kernel[some] = exponents.clamp_(max=0).to(dtype).exp_()
        norm = self.kernel.sum(1).rsqrt()
        self.kernel *= norm
        self.kernel *= norm[:, None]

    def __call__(self, values: Tensor) -> Tensor:
        return self.kernel @ values


def bytes_needed(pixels: int, dtype: torch.dtype) -> int:
    """Of memory, for the two kernels of one image."""
    return 2 * pixels**2 * dtype.itemsize + 3 * ROWS * pixels * 8
