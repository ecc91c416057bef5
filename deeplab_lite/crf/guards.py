"""What no form of the CRF can use, refused in a sentence. It stands apart from the CRF itself.

The reference code takes probabilities with height and width swapped, spreads one NaN over the whole
image, reads a vector of penalties as a wish for noise, and dies on a sigma of 0. Lesson 04.
"""

from math import inf, isfinite
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor

from deeplab_lite.crf import exact
from deeplab_lite.crf.inputs import Inputs, Parameters
from deeplab_lite.labels import Array, sizes

BACKENDS = ("auto", "exact", "lattice", "pydensecrf")
FLOOR = 1e-5  # of a probability: pydensecrf's, so that a 0 can still be voted down
# In pixels, or colour levels of 255: at half a pixel the nearest neighbour weighs only exp(-2). At
# 1e-5 the reference code crashes; long before, the lattice has too many corners to number.
SMALLEST_SIGMA = 0.5
GIB = 2**30


def parameters(iterations: int, **values: Any) -> Parameters:
    """Raises ValueError for numbers that no form of the CRF can use."""
    if not isinstance(iterations, int | np.integer) or iterations < 0:
        raise ValueError(f"iterations {iterations!r}: expected a whole number of 0 or more, as 10")
    for name, value in values.items():
        learned = isinstance(value, Tensor)
        values[name] = number = float(value.detach() if learned else value)
        if name.startswith("w_"):
            if not 0 <= number < inf:
                raise ValueError(
                    f"{name} {number:g}: expected 0 or more, since a negative weight drives "
                    "like neighbours apart and mean field need not settle"
                )
            values[name] = value.reshape(()) if learned else number
        elif learned or not SMALLEST_SIGMA <= number < inf:
            weight = "w_smooth" if name == "sigma_smooth" else "w_appearance"
            raise ValueError(
                f"{name} {number:g}: expected {SMALLEST_SIGMA} or more, and no gradient; "
                "below that a pixel has no neighbours but itself, so to switch its term off, set "
                f"{weight} to 0"
            )
    return Parameters(int(iterations), **values)


def inputs(probs: Array, image: Array, compat: str | Array) -> Inputs:
    """Raises TypeError or ValueError, naming what is wrong, for arrays that do not fit."""
    tensor = _tensor(probs, "probs")
    images = _tensor(image, "image").to(tensor.device)
    if tensor.ndim not in (3, 4) or not tensor.numel():
        raise ValueError(
            f"probs is {sizes(tensor)}: expected probabilities, K x H x W or B x K x H x W; a "
            "label map becomes that by F.one_hot(label, K).movedim(-1, 0)"
        )
    *batch, classes, height, width = tensor.shape
    expected = (*batch, height, width, 3)
    if tuple(images.shape) != expected:
        swapped = tuple(images.shape) == (*batch, width, height, 3)
        raise ValueError(
            f"image is {sizes(images)} and probs is {sizes(tensor)}, for which it must be "
            f"{' x '.join(map(str, expected))}: "
            + ("height and width are swapped" if swapped else "bring them to one size and layout")
        )
    if classes == 1:
        raise ValueError(
            "probs has one class, which leaves nothing to decide: give the background a map of its "
            "own, as torch.cat([1 - probs, probs])"
        )
    tensor = tensor if tensor.dtype == torch.float64 else tensor.float()
    if tensor.ndim == 3:
        tensor, images = tensor[None], images[None]
    _check_probabilities(tensor.detach())
    matrix = None if isinstance(compat, str) and compat == "potts" else _penalties(compat, tensor)
    return Inputs(tensor.clamp(min=FLOOR).log(), _colours(images), matrix, probs)


def _tensor(array: Any, name: str) -> Tensor:
    """NumPy's arrays are copied, since they may be read-only, or run backwards."""
    if isinstance(array, np.ndarray):
        return torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))
    if not isinstance(array, Tensor):
        raise TypeError(f"{name} is a {type(array).__name__}: expected a tensor or a NumPy array")
    return array


def _check_probabilities(probs: Tensor) -> None:
    """B x K x H x W. Raises ValueError unless they are at least 0 and sum to 1, up to rounding."""
    low, high = (float(end) for end in probs.aminmax())  # NaN if there is one
    totals = probs.sum(1)
    off = (totals - 1).abs()
    if low >= 0 and high < 2 and float(off.max()) <= 0.01:  # bfloat16 rounds by up to 0.004
        return
    if isfinite(low) and isfinite(high) and (low < 0 or high > 1.01):
        raise ValueError(
            f"probs holds values from {low:.4g} to {high:.4g}, which look like logits: expected "
            "probabilities from 0 to 1, as torch.softmax(logits, -3) makes them"
        )
    image, y, x = np.unravel_index(int(off.flatten().argmax()), off.shape)  # NaN is the largest
    raise ValueError(
        f"probs sums to {float(totals[image, y, x]):.4g} over the classes at ({y}, {x}) of image "
        f"{image}: expected 1, as torch.softmax(logits, -3) makes it; a sigmoid does not, and one "
        "NaN would spread over the whole image"
    )


def _colours(images: Tensor) -> Tensor:
    """B x H x W x 3, uint8 or 0..1, as float32 in 0..255."""
    if images.requires_grad and torch.is_grad_enabled():
        raise ValueError("image requires a gradient, and none flows to it: pass image.detach()")
    if images.dtype == torch.uint8:
        return images.float()
    low, high = (float(end) for end in images.detach().double().aminmax())
    if not images.is_floating_point() or not (low >= -1e-3 and high <= 1.001):  # nor is NaN
        raise ValueError(
            f"image is {images.dtype} from {low:.4g} to {high:.4g}: expected uint8, or float from "
            "0 to 1; pass the picture itself, not what was normalised for a network"
        )
    return images.detach().float() * 255


def _penalties(compat: str | Array, probs: Tensor) -> Tensor:
    """K x K, on the device of probs. Raises ValueError for what is no matrix of penalties."""
    classes = probs.shape[1]
    expected = f"expected 'potts' or a symmetric {classes} x {classes} matrix of penalties"
    if isinstance(compat, str):
        raise ValueError(f"compat {compat!r}: {expected}")
    matrix = _tensor(compat, "compat").to(probs)
    if matrix.shape != (classes, classes):
        raise ValueError(
            f"compat is {sizes(matrix)}: {expected}. The reference code reads a vector as "
            "penalties for agreeing, so that it drives like neighbours apart"
        )
    if not (matrix.isfinite().all() and torch.allclose(matrix, matrix.t(), rtol=1e-4)):
        raise ValueError(f"compat is NaN, infinite or not symmetric somewhere: {expected}")
    return matrix


def backend(name: str, inputs: Inputs, parameters: Parameters, trace: bool) -> str:
    """The form to use, which is able to do it. Raises ValueError or ModuleNotFoundError.

    "auto" is always the lattice: about as fast as pydensecrf, with all that the others can do, and
    the same numbers whether or not pydensecrf is installed.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r}: expected one of {', '.join(BACKENDS)}")
    learned = (inputs.log_probs, parameters.w_appearance, parameters.w_smooth, inputs.compat)
    gradient = torch.is_grad_enabled() and any(
        isinstance(value, Tensor) and value.requires_grad for value in learned
    )
    if name == "pydensecrf":
        _check_reference(inputs.log_probs.device, gradient, trace)
    if name == "exact":
        _check_memory(inputs.log_probs, gradient)
    return "lattice" if name == "auto" else name


def _check_reference(device: torch.device, gradient: bool, trace: bool) -> None:
    for unable, what in (
        (gradient, "carries no gradient (torch.no_grad() says that none is needed)"),
        (trace, "does not show its steps"),
        (device.type != "cpu", f"cannot use tensors on {device}"),
    ):
        if unable:
            raise ValueError(f'backend "pydensecrf" {what}: use "lattice", or "exact"')
    try:
        import pydensecrf.densecrf  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            f"pydensecrf is not here ({error}): `pip install 'pydensecrf2>=1.1'`, which needs a C++"
            ' compiler and Python 3.12 or older; backend="lattice" gives the same answer without it'
        ) from error


def _check_memory(log_probs: Tensor, gradient: bool) -> None:
    pixels = log_probs.shape[-2] * log_probs.shape[-1]
    if pixels > exact.MAX_PIXELS:
        raise ValueError(
            f'backend "exact" compares all pairs of up to {exact.MAX_PIXELS:,} (96 x 96) pixels, '
            f'and these are {pixels:,} pixels: use "lattice", or a crop'
        )
    needed = exact.bytes_needed(pixels, log_probs.dtype)
    if gradient:  # every image's kernel is kept, and the one of places that they share
        needed = needed * (1 + len(log_probs)) // 2
    if log_probs.is_cuda:
        free = torch.cuda.mem_get_info(log_probs.device)[0]
    else:
        free = psutil.virtual_memory().available
    if needed > free:
        raise MemoryError(
            f'backend "exact" needs {needed / GIB:.2g} GiB for {pixels:,} pixels'
            + (f" of {len(log_probs)} images" if gradient else "")
            + f', and {free / GIB:.2g} GiB are free: use "lattice", or a smaller crop'
        )
