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
        points = features.t().double()
        self.kernel = torch.cat(
            [
                torch.cdist(rows, points, compute_mode="donot_use_mm_for_euclid_dist")
                .square_()
                .mul_(-0.5)
                .exp_()
                .to(dtype)
                for rows in points.split(ROWS)
            ]
        )
        norm = self.kernel.sum(1).rsqrt()
        self.kernel *= norm
        self.kernel *= norm[:, None]

    def __call__(self, values: Tensor) -> Tensor:
        return self.kernel @ values


def bytes_needed(pixels: int, dtype: torch.dtype) -> int:
    """Of memory, for the two kernels of one image."""
    return 2 * pixels**2 * dtype.itemsize + 2 * ROWS * pixels * 8
