"""What no form of the CRF can use, refused in a sentence. It stands apart from the CRF itself.

The reference code takes probabilities with height and width swapped, spreads one NaN over the whole
image, reads a vector of penalties as a wish for noise, and dies on a sigma of 0. Lesson 04.
"""

from math import isfinite
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor

from deeplab_lite.crf import exact
from deeplab_lite.crf.mean_field import Trace
from deeplab_lite.labels import Array, sizes

BACKENDS = ("auto", "exact", "lattice", "pydensecrf")
FLOOR = 1e-5  # of a probability: pydensecrf's, so that a 0 can still be voted down
# In pixels, or colour levels of 255. At half a pixel the nearest neighbour already weighs only
# exp(-2). From 1e-5 down the reference code crashes, and long before that the lattice has more
# corners than can be numbered.
SMALLEST_SIGMA = 0.5
GIB = 2**30


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


# ---- Numbers -------------------------------------------------------------------------------------


def parameters(*, iterations: int, **values: Any) -> Parameters:
    """Raises TypeError or ValueError for numbers that no form of the CRF can use."""
    if isinstance(iterations, bool) or not isinstance(iterations, Integral) or iterations < 0:
        raise ValueError(f"iterations {iterations!r}: expected a whole number of 0 or more, as 10")
    checked = {
        name: (_weight if name.startswith("w_") else _sigma)(name, value)
        for name, value in values.items()
    }
    return Parameters(int(iterations), **checked)


def _sigma(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(
            f"{name} is a {type(value).__name__}: expected a number, and no gradient flows to it"
        )
    sigma = float(value)
    if not (isfinite(sigma) and sigma >= SMALLEST_SIGMA):
        weight = "w_smooth" if name == "sigma_smooth" else "w_appearance"
        raise ValueError(
            f"{name} {sigma:g}: expected {SMALLEST_SIGMA} or more, since below that a pixel has no "
            f"neighbours but itself; to switch its term off, set {weight} to 0"
        )
    return sigma


def _weight(name: str, value: Any) -> float | Tensor:
    single = isinstance(value, Tensor) and value.numel() == 1 and value.is_floating_point()
    if not single and (isinstance(value, bool) or not isinstance(value, Real)):
        raise TypeError(f"{name} is a {type(value).__name__}: expected a number or a tensor of one")
    number = float(value.detach()) if isinstance(value, Tensor) else float(value)
    if not (isfinite(number) and number >= 0):
        raise ValueError(
            f"{name} {number:g}: expected 0 or more, since a negative weight drives like "
            "neighbours apart and mean field need not settle"
        )
    return value.reshape(()) if isinstance(value, Tensor) else number


# ---- Arrays --------------------------------------------------------------------------------------


def inputs(probs: Array, image: Array, compat: str | Array) -> Inputs:
    """Raises TypeError or ValueError, naming what is wrong, for arrays that do not fit."""
    device = probs.device if isinstance(probs, Tensor) else torch.device("cpu")
    tensor, images = _tensor(probs, "probs"), _tensor(image, "image").to(device)
    if tensor.ndim not in (3, 4) or not tensor.numel() or tensor.is_complex():
        raise ValueError(
            f"probs is {tensor.dtype} of {sizes(tensor)}: expected probabilities, K x H x W or "
            "B x K x H x W; a label map becomes that by F.one_hot(label, K).movedim(-1, 0)"
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
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    if tensor.ndim == 3:
        tensor, images = tensor[None], images[None]
    _check_probabilities(tensor.detach())
    matrix = None if isinstance(compat, str) and compat == "potts" else _penalties(compat, tensor)
    return Inputs(tensor.clamp(min=FLOOR).log(), _colours(images), matrix, probs)


def _tensor(array: Any, what: str) -> Tensor:
    """NumPy's arrays are copied, since they may be read-only, or run backwards."""
    if isinstance(array, Tensor):
        return array
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufc":
        kind = f"array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{what} is a {kind}: expected a tensor or a NumPy array of numbers")
    return torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))


def _check_probabilities(probs: Tensor) -> None:
    """B x K x H x W. Raises ValueError unless they are at least 0 and sum to 1, up to rounding."""
    low, high = (float(end) for end in probs.aminmax())  # NaN if there is one
    total = probs.sum(1)
    off = (total - 1).abs()
    if low >= 0 and high < 2 and float(off.max()) <= 0.01:  # bfloat16 rounds by up to 0.004
        return
    if not (isfinite(low) and isfinite(high)):
        image, k, y, x = _first((~probs.isfinite()).byte())
        raise ValueError(
            f"probs is {float(probs[image, k, y, x])} for class {k} at ({y}, {x}) of image {image}:"
            " expected probabilities; one such value would spread over the whole image"
        )
    if low < 0 or high > 1.01:
        raise ValueError(
            f"probs holds values from {low:.4g} to {high:.4g}, which look like logits: expected "
            "probabilities from 0 to 1, as torch.softmax(logits, -3) makes them"
        )
    image, y, x = _first(off)
    raise ValueError(
        f"probs sums to {float(total[image, y, x]):.4g} over the classes at ({y}, {x}) of image "
        f"{image}: expected 1, as torch.softmax(logits, -3) makes it (a sigmoid does not)"
    )


def _first(wrong: Tensor) -> tuple[int, ...]:
    """Where a mask first holds, or where numbers are largest."""
    return tuple(int(i) for i in np.unravel_index(int(wrong.flatten().argmax()), wrong.shape))


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
    want = f"expected 'potts' or a symmetric {classes} x {classes} matrix of penalties"
    if isinstance(compat, str):
        raise ValueError(f"compat {compat!r}: {want}")
    matrix = _tensor(compat, "compat").to(probs)
    if matrix.shape != (classes, classes):
        raise ValueError(
            f"compat is {sizes(matrix)}: {want}. The reference code reads a vector as penalties "
            "for agreeing, so that it drives like neighbours apart"
        )
    values = matrix.detach()
    gap = (values - values.t()).abs().max()
    if not values.isfinite().all() or float(gap) > 1e-4 * float(values.abs().max()):
        raise ValueError(f"compat is NaN, infinite or not symmetric somewhere: {want}")
    agree = float(values.diagonal().mean())
    differ = float((values.sum() - values.trace()) / (classes * (classes - 1)))
    if agree > differ:
        raise ValueError(
            f"compat charges {agree:g} for agreeing and {differ:g} for differing, on average, so it"
            " makes noise: expected penalties, 1 - I for Potts; if these are rewards, pass -compat"
        )
    return matrix


# ---- Backends ------------------------------------------------------------------------------------


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
    if gradient and isinstance(inputs.probs, np.ndarray):
        raise TypeError(
            "probs is a NumPy array, so the result cannot carry the gradient that another argument "
            "requires: pass torch.from_numpy(probs)"
        )
    if name == "pydensecrf":
        _able(inputs.log_probs.device, gradient, trace)
    if name == "exact":
        _fits(inputs.log_probs, gradient)
    return "lattice" if name == "auto" else name


def _able(device: torch.device, gradient: bool, trace: bool) -> None:
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


def _fits(log_probs: Tensor, gradient: bool) -> None:
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
