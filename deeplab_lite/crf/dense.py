"""The dense CRF in one call: its energy, and the form that computes it. Taught in lesson 04.

Krähenbühl and Koltun 2011 (arXiv:1210.5644); DeepLab v1 section 4.2, v2 section 3.3. Two Gaussian
kernels reward equal classes: `appearance` for pixels that are near and of like colour, `smoothness`
for near ones of any colour.
"""

from typing import Any

import torch
from torch import Tensor

from deeplab_lite.crf import exact, guards, lattice, reference
from deeplab_lite.crf.mean_field import Kernels, mean_field, traced
from deeplab_lite.labels import Array


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
    parameters = guards.parameters(
        iterations=iterations,
        w_appearance=w_appearance,
        sigma_xy=sigma_xy,
        sigma_rgb=sigma_rgb,
        w_smooth=w_smooth,
        sigma_smooth=sigma_smooth,
    )
    inputs = guards.inputs(probs, image, compat)
    backend = guards.backend(backend, inputs, parameters, trace)
    if backend == "pydensecrf":
        return inputs.like_probs(reference.infer(inputs, parameters))
    build = exact.Filter if backend == "exact" else lattice.Filter
    run = traced if trace else mean_field
    log_probs = inputs.log_probs.flatten(2).transpose(1, 2).contiguous()
    w_appearance, w_smooth = (
        torch.as_tensor(weight, dtype=log_probs.dtype, device=log_probs.device)
        for weight in (parameters.w_appearance, parameters.w_smooth)
    )
    images = inputs.images.double() if backend == "exact" else inputs.images
    smoothness = build(places(images[0]) / parameters.sigma_smooth, log_probs.dtype)
    results: list[Any] = []
    for rows, colours in zip(log_probs, images, strict=True):
        place = places(colours) / parameters.sigma_xy
        colour = colours.flatten(0, 1).t() / parameters.sigma_rgb
        appearance = build(torch.cat([place, colour]), log_probs.dtype)
        kernels: Kernels = {
            "appearance": (appearance, w_appearance),
            "smoothness": (smoothness, w_smooth),
        }
        results.append(run(rows, kernels, inputs.compat, parameters.iterations))
        del appearance, kernels  # before the next image builds its own
    if trace:
        return inputs.trace(results)
    return inputs.like_probs(inputs.maps(torch.stack(results)))


def places(image: Tensor) -> Tensor:
    """Where the pixels of H x W x 3 are: 2 x N, x above y, in pixels."""
    height, width, _ = image.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y]).flatten(1).to(image)
