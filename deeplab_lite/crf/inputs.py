"""Probabilities, image and penalties in the form that all backends take, or a clear refusal.

The reference code takes probabilities with height and width swapped, spreads one NaN over the whole
image, and reads a vector of penalties as a wish for noise. Taught in lesson 04.
"""

from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from deeplab_lite.crf.mean_field import Trace
from deeplab_lite.labels import Array, sizes

FLOOR = 1e-5  # of a probability: pydensecrf's, so that a 0 can still be voted down


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
        """Of the shape, kind and dtype of the probabilities; float32 if those were whole.

        Contiguous, which torch's nll_loss needs for its gradient.
        """
        marginals = marginals.reshape(self.given.shape).contiguous()
        if isinstance(self.given, np.ndarray):
            dtype = self.given.dtype if self.given.dtype.kind == "f" else np.float32
            return marginals.numpy().astype(dtype, copy=False)
        return marginals.to(self.given.dtype) if self.given.is_floating_point() else marginals

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


# ---- Checks --------------------------------------------------------------------------------------


def problem(probs: Array, image: Array, compat: str | Array) -> Problem:
    """Raises TypeError or ValueError, naming what is wrong, for arrays that are no such problem."""
    tensor, images = _tensor(probs, "probs"), _tensor(image, "image").to(_device(probs))
    if tensor.ndim not in (3, 4) or not tensor.numel():
        raise ValueError(
            f"probs is {sizes(tensor)}: expected K x H x W, or B x K x H x W, with a pixel at least"
            "; a label map becomes that by F.one_hot(label, K).movedim(-1, 0)"
        )
    if tensor.is_complex():
        raise TypeError(f"probs is {tensor.dtype}: expected probabilities, as float32")
    _check_sizes(tuple(tensor.shape), tuple(images.shape))
    if tensor.shape[-3] == 1:
        raise ValueError(
            "probs has one class, which leaves nothing to decide: give the ground a map of its own,"
            " as torch.cat([1 - probs, probs])"
        )
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    if tensor.ndim == 3:
        tensor, images = tensor[None], images[None]
    _check_probabilities(tensor.detach())
    matrix = None if isinstance(compat, str) and compat == "potts" else _penalties(compat, tensor)
    return Problem(tensor.clamp(min=FLOOR).log(), _colours(images), matrix, probs)


def _device(probs: Any) -> torch.device:
    return probs.device if isinstance(probs, Tensor) else torch.device("cpu")


def _tensor(array: Any, what: str) -> Tensor:
    """NumPy's arrays are copied, since they may be read-only, or run backwards."""
    if isinstance(array, Tensor):
        return array
    if isinstance(array, dict):
        raise TypeError(f"{what} is a dict, as torchvision's models return: use its 'out'")
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{what} is a {type(array).__name__}: expected a tensor or a NumPy array")
    try:
        return torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))
    except TypeError:
        raise TypeError(
            f"{what} is an array of {array.dtype}, which torch does not know: expected floats, as "
            "array.astype(np.float32)" + (", or uint8" if what == "image" else "")
        ) from None


def _check_sizes(probs: tuple[int, ...], image: tuple[int, ...]) -> None:
    """Raises ValueError, with the mistake it looks like, unless each pixel has a colour."""
    *batch, classes, height, width = probs
    expected = (*batch, height, width, 3)
    if image == expected:
        return
    plane = (height, width)
    if len(probs) == 4 and image == expected[1:]:
        looks = "probs is a batch and image is not: pass image[None], or probs[0]"
    elif len(probs) == 3 and image[1:] == expected:
        looks = "image is a batch and probs is not: pass image[0], or all of its probs"
    elif len(image) == len(probs) and image[:-1] == expected[:-1] and image[-1] == 4:
        looks = "it has an alpha channel: pass image[..., :3]"
    elif image in (expected[:-1], (*expected[:-1], 1)):
        looks = "it is grey: repeat it, as np.stack([grey, grey, grey], -1)"
    elif image == (*batch, 3, *plane):
        looks = "its channels come first: pass image.transpose(1, 2, 0), or movedim(-3, -1)"
    elif image == (*batch, width, height, 3):
        looks = "height and width are swapped: transpose the one that lies on its side"
    elif image == (*batch, classes, height, 3):
        looks = "the classes of probs come last: pass probs.transpose(2, 0, 1), or movedim(-1, -3)"
    elif len(image) == len(probs) == 4 and image[1:] == expected[1:]:
        looks = "these are batches of different images: pass one image for each probs"
    else:
        looks = "bring probs to the size of the image, as F.interpolate does"
    raise ValueError(
        f"image is {' x '.join(map(str, image)) or 'one number'} and probs is "
        f"{' x '.join(map(str, probs))}, for which it must be "
        f"{' x '.join(map(str, expected))}: {looks}"
    )


def _check_probabilities(probs: Tensor) -> None:
    """B x K x H x W. Raises ValueError unless they are at least 0 and sum to 1, up to rounding."""
    low, high = (float(end) for end in probs.aminmax())  # NaN if there is one
    total = probs.sum(1)
    off = (total - 1).abs()
    if low >= 0 and high < 2 and float(off.max()) <= 0.01:  # bfloat16 rounds by up to 0.004
        return
    if not (isfinite(low) and isfinite(high)):
        place = image, k, y, x = _first((~probs.isfinite()).byte())
        raise ValueError(
            f"probs is {float(probs[place])} for class {k} at {_at((image, y, x), len(probs))}: "
            "expected probabilities; one such value would spread over the whole image"
        )
    found = f"probs holds values from {low:.4g} to {high:.4g}"
    if high <= 0:
        raise ValueError(f"{found}, which look like log-probabilities: pass probs.exp()")
    if low < 0 or high > 1.01:
        raise ValueError(
            f"{found}, which look like logits: expected probabilities from 0 to 1, as "
            f"torch.softmax(logits, -3) makes them"
        )
    place = _first(off)
    raise ValueError(
        f"probs sums to {float(total[place]):.4g} over the classes at {_at(place, len(probs))}: "
        "expected 1, as torch.softmax(logits, -3) makes it (a sigmoid does not)"
    )


def _first(wrong: Tensor) -> tuple[int, ...]:
    """Where a mask first holds, or where numbers are largest."""
    return tuple(int(i) for i in np.unravel_index(int(wrong.flatten().argmax()), wrong.shape))


def _at(place: tuple[int, ...], images: int) -> str:
    image, y, x = place
    return f"({y}, {x})" + (f" of image {image}" if images > 1 else "")


def _colours(images: Tensor) -> Tensor:
    """B x H x W x 3, uint8 or 0..1, as float32 in 0..255."""
    if images.requires_grad and torch.is_grad_enabled():
        raise ValueError("image requires a gradient, and none flows to it: pass image.detach()")
    if images.dtype == torch.uint8:
        return images.float()
    if not images.is_floating_point():
        raise TypeError(
            f"image is {images.dtype}: expected uint8 from 0 to 255, or float from 0 to 1; whole "
            "numbers up to 255 become that by image.astype(np.uint8)"
        )
    images = images.detach().float()
    low, high = (float(end) for end in images.aminmax())
    if not (isfinite(low) and isfinite(high)):
        place = _first((~images.isfinite()).any(-1).byte())
        raise ValueError(
            f"image is NaN or infinite at {_at(place, len(images))}: expected floats from 0 to 1"
        )
    if low < -1e-3 or high > 1.001:
        if low < -0.1:
            looks = "this looks like the input of a network: pass the picture it was made from"
        elif high > 2:
            looks = "this looks like 0 to 255: divide by 255, or pass uint8"
        else:
            looks = "resizing can overshoot like this: clip it"
        raise ValueError(
            f"image is float from {low:.4g} to {high:.4g}: expected 0 to 1, or uint8; {looks}"
        )
    return images * 255


def _penalties(given: str | Array, probs: Tensor) -> Tensor:
    """K x K, on the device of probs. Raises ValueError for what is no matrix of penalties."""
    classes = probs.shape[1]
    if isinstance(given, str):
        raise ValueError(
            f"compat {given!r}: expected 'potts' or a {classes} x {classes} matrix of penalties"
        )
    compat = _tensor(given, "compat")
    if compat.ndim == 1:
        raise ValueError(
            f"compat is a vector of {len(compat)}, which the reference code reads as penalties for "
            "agreeing, so that it drives like neighbours apart: expected 'potts' or a "
            f"{classes} x {classes} matrix of penalties"
        )
    if compat.shape != (classes, classes):
        raise ValueError(f"compat is {sizes(compat)}: expected {classes} x {classes}, as probs has")
    matrix = compat.to(probs)
    values = matrix.detach()
    if not values.isfinite().all():
        raise ValueError("compat is NaN or infinite somewhere: expected finite penalties")
    gap = (values - values.t()).abs()
    if float(gap.max()) > 1e-4 * float(values.abs().max()):
        k, other = _first(gap)
        raise ValueError(
            f"compat is {float(values[k, other]):g} at ({k}, {other}) and "
            f"{float(values[other, k]):g} at ({other}, {k}): expected a symmetric matrix, since a "
            "pair of pixels has no order; (compat + compat.T) / 2 is one"
        )
    agree = float(values.diagonal().mean())
    differ = float((values.sum() - values.trace()) / (classes * (classes - 1)))
    if agree > differ:
        raise ValueError(
            f"compat charges {agree:g} for agreeing and {differ:g} for differing, on average, so it"
            " makes noise: expected penalties, 1 - I for Potts; if these are rewards, pass -compat"
        )
    return matrix
