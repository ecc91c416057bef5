"""The fully connected CRF that sharpens DeepLab v1 and v2's label maps. Taught in lesson 04.

Krähenbühl and Koltun 2011 (arXiv:1210.5644); DeepLab v1 section 4.2, v2 section 3.3. One model in
three forms: `exact` looks at all pairs of pixels, `lattice` filters on a permutohedral lattice in
torch, `pydensecrf` calls the reference C++ code. They give the same answer, up to the lattice.
"""

from typing import Any

import torch
from torch import Tensor

from deeplab_lite.crf import checks, exact, inputs, lattice, reference
from deeplab_lite.crf.checks import BACKENDS
from deeplab_lite.crf.mean_field import Kernels, Trace, mean_field, traced
from deeplab_lite.crf.search import search
from deeplab_lite.labels import Array

__all__ = ["BACKENDS", "Trace", "dense_crf", "search"]


def dense_crf(
    probs: Array,
    image: Array,
    *,
    iterations: int = 10,
    w_appearance: float | Tensor = 5.0,
    sigma_xy: float = 50.0,
    sigma_rgb: float = 3.0,
    w_smooth: float | Tensor = 3.0,
    sigma_smooth: float = 3.0,
    compat: str | Array = "potts",
    backend: str = "auto",
    trace: bool = False,
) -> Any:
    """Marginals of a dense CRF after mean-field steps: of probs' shape and kind (NumPy or torch).

    probs: (B x) K x H x W, probabilities of K classes, as softmax gives them.
    image: (B x) H x W x 3, uint8, or float from 0 to 1.
    w_appearance, sigma_xy (pixels), sigma_rgb (of 255): pixels that are near and of like colour
    pull each other to one class; w_smooth, sigma_smooth (pixels): so do near ones of any colour.
    The defaults are DeepLab v1's.
    compat: "potts", or a symmetric K x K matrix of penalties for neighbours of classes k and l.
    backend: "exact" (up to 9,216 pixels), "lattice", "pydensecrf" (CPU, no gradient), or "auto",
    which is the lattice: about as fast as pydensecrf, and there wherever torch is. Gradients flow
    through the first two, to probs, weights and compat.
    trace: return a `Trace` of every step instead ("exact" and "lattice").

    Raises ValueError or TypeError, with what to do, for what is not as above. Lesson 04.
    """
    settings = checks.settings(
        iterations=iterations,
        w_appearance=w_appearance,
        sigma_xy=sigma_xy,
        sigma_rgb=sigma_rgb,
        w_smooth=w_smooth,
        sigma_smooth=sigma_smooth,
    )
    problem = inputs.problem(probs, image, compat)
    backend = checks.backend(backend, problem, settings, trace)
    if backend == "pydensecrf":
        return problem.like_given(reference.infer(problem, settings))
    build = exact.Filter if backend == "exact" else lattice.Filter
    run = traced if trace else mean_field
    log_probs = problem.log_probs.flatten(2).transpose(1, 2).contiguous()
    weights = [
        torch.as_tensor(weight, dtype=log_probs.dtype, device=log_probs.device)
        for weight in (settings.w_appearance, settings.w_smooth)
    ]
    images = problem.images.double() if backend == "exact" else problem.images
    smoothness = build(places(images[0]) / settings.sigma_smooth, log_probs.dtype)
    results: list[Any] = []
    for rows, colours in zip(log_probs, images, strict=True):
        near_and_alike = torch.cat(
            [places(colours) / settings.sigma_xy, colours.flatten(0, 1).t() / settings.sigma_rgb]
        )
        appearance = build(near_and_alike, log_probs.dtype)
        kernels: Kernels = {
            "appearance": (appearance, weights[0]),
            "smoothness": (smoothness, weights[1]),
        }
        results.append(run(rows, kernels, problem.compat, settings.iterations))
        del appearance, kernels  # before the next image builds its own
    if trace:
        return problem.trace(results)
    return problem.like_given(problem.maps(torch.stack(results)))


def places(image: Tensor) -> Tensor:
    """Where the pixels of H x W x 3 are: 2 x N, x above y, in pixels."""
    height, width, _ = image.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y]).flatten(1).to(image)
