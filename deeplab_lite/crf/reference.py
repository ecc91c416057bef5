"""The reference C++ code of Krähenbühl and Koltun, through pydensecrf2. Taught in lesson 04."""

import numpy as np
import torch
from torch import Tensor

from .checks import Problem, Settings


def infer(problem: Problem, settings: Settings) -> Tensor:
    """Marginals B x K x H x W. Raises ModuleNotFoundError where pydensecrf is not installed."""
    import pydensecrf.densecrf as densecrf

    results = []
    for log_probs, image in zip(problem.log_probs, problem.images, strict=True):
        classes, height, width = log_probs.shape
        crf = densecrf.DenseCRF2D(width, height, classes)
        unary = -log_probs.float().flatten(1).contiguous().numpy()
        crf.setUnaryEnergy(unary)
        crf.addPairwiseGaussian(
            sxy=settings.sigma_smooth, compat=_compat(settings.w_smooth, problem.compat)
        )
        crf.addPairwiseBilateral(
            sxy=settings.sigma_xy,
            srgb=settings.sigma_rgb,
            rgbim=image.round().byte().contiguous().numpy(),
            compat=_compat(settings.w_appearance, problem.compat),
        )
        marginals = np.array(crf.inference(settings.iterations), dtype=np.float32)
        results.append(torch.from_numpy(marginals).view(classes, height, width))
    return torch.stack(results)


def _compat(weight: float | Tensor, matrix: Tensor | None) -> float | np.ndarray:
    weight = float(weight)
    return weight if matrix is None else (weight * matrix).float().numpy()
