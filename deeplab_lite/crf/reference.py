"""The reference C++ code of Krähenbühl and Koltun, through pydensecrf2. Taught in lesson 04."""

import numpy as np
import torch
from torch import Tensor

from deeplab_lite.crf.inputs import Inputs, Parameters


def infer(inputs: Inputs, parameters: Parameters) -> Tensor:
    """Marginals B x K x N, in the dtype of the inputs; the reference code is float32.

    The two kernels are handed over as features. DenseCRF2D.addPairwiseBilateral would build the
    same ones, from uint8 images only: float images would have to be rounded to 255 levels.
    """
    import pydensecrf.densecrf as densecrf

    _, classes, height, width = inputs.log_probs.shape
    y, x = np.mgrid[:height, :width].reshape(2, -1).astype(np.float32)
    smooth = np.stack([x, y]) / np.float32(parameters.sigma_smooth)
    place = np.stack([x, y]) / np.float32(parameters.sigma_xy)
    results = []
    for log_probs, image in zip(inputs.log_probs, inputs.images, strict=True):
        colours = image.reshape(-1, 3).t().numpy() / np.float32(parameters.sigma_rgb)
        crf = densecrf.DenseCRF(height * width, classes)
        crf.setUnaryEnergy(-log_probs.float().flatten(1).contiguous().numpy())
        crf.addPairwiseEnergy(smooth, _compat(parameters.w_smooth, inputs.compat))
        alike = np.concatenate([place, colours])
        crf.addPairwiseEnergy(alike, _compat(parameters.w_appearance, inputs.compat))
        results.append(torch.from_numpy(np.array(crf.inference(parameters.iterations))))
    return torch.stack(results).to(inputs.log_probs)


def _compat(weight: float | Tensor, matrix: Tensor | None) -> float | np.ndarray:
    weight = float(weight)
    return weight if matrix is None else (weight * matrix.detach()).float().numpy()
