"""The reference C++ code of Krähenbühl and Koltun, through pydensecrf2. Taught in lesson 04."""

import numpy as np
import torch
from torch import Tensor

from deeplab_lite.crf.checks import Settings
from deeplab_lite.crf.inputs import Problem


def infer(problem: Problem, settings: Settings) -> Tensor:
    """Marginals B x K x N, in the dtype of the problem; the reference code is float32.

    The two kernels are handed over as features. DenseCRF2D.addPairwiseBilateral would build the
    same ones, from uint8 images only: float images would have to be rounded to 255 levels.
    """
    import pydensecrf.densecrf as densecrf

    _, classes, height, width = problem.log_probs.shape
    y, x = np.mgrid[:height, :width].reshape(2, -1).astype(np.float32)
    smooth = np.stack([x, y]) / np.float32(settings.sigma_smooth)
    place = np.stack([x, y]) / np.float32(settings.sigma_xy)
    results = []
    for log_probs, image in zip(problem.log_probs, problem.images, strict=True):
        colours = image.reshape(-1, 3).t().numpy() / np.float32(settings.sigma_rgb)
        crf = densecrf.DenseCRF(height * width, classes)
        crf.setUnaryEnergy(-log_probs.float().flatten(1).contiguous().numpy())
        crf.addPairwiseEnergy(smooth, _compat(settings.w_smooth, problem.compat))
        alike = np.concatenate([place, colours])
        crf.addPairwiseEnergy(alike, _compat(settings.w_appearance, problem.compat))
        results.append(torch.from_numpy(np.array(crf.inference(settings.iterations))))
    return torch.stack(results).to(problem.log_probs)


def _compat(weight: float | Tensor, matrix: Tensor | None) -> float | np.ndarray:
    weight = float(weight)
    return weight if matrix is None else (weight * matrix.detach()).float().numpy()
