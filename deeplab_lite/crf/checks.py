"""Settings that no form of the CRF can use, and backends that cannot do what is asked.

The reference code dies on a sigma of 0, and on a GPU's tensors. Taught in lesson 04.
"""

from math import isfinite
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor

from deeplab_lite.crf import exact
from deeplab_lite.crf.inputs import Problem
from deeplab_lite.labels import sizes

BACKENDS = ("auto", "exact", "lattice", "pydensecrf")
# In pixels, or colour levels of 255. At half a pixel the nearest neighbour already weighs only
# exp(-2). From 1e-5 down the reference code crashes, and long before that the lattice has more
# cells than can be numbered.
SMALLEST_SIGMA = 0.5
GIB = 2**30


class Settings(NamedTuple):
    iterations: int
    w_appearance: float | Tensor
    sigma_xy: float
    sigma_rgb: float
    w_smooth: float | Tensor
    sigma_smooth: float


# ---- Numbers -------------------------------------------------------------------------------------


def settings(*, iterations: int, **values: Any) -> Settings:
    """Raises TypeError or ValueError for numbers that no form of the CRF can use."""
    if isinstance(iterations, bool) or not isinstance(iterations, Integral):
        raise TypeError(f"iterations {iterations!r}: expected a whole number, as 10")
    if iterations < 0:
        raise ValueError(f"iterations {iterations}: expected 0 or more mean-field steps")
    checked = {
        name: (_weight if name.startswith("w_") else _sigma)(name, value)
        for name, value in values.items()
    }
    return Settings(int(iterations), **checked)


def _sigma(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(
            f"{name} is a {type(value).__name__}: expected a number, and no gradient flows to it"
        )
    sigma = float(value)
    if not (isfinite(sigma) and sigma >= SMALLEST_SIGMA):
        weight = "w_smooth" if name == "sigma_smooth" else "w_appearance"
        unit = "levels of 255" if name == "sigma_rgb" else "pixels"
        raise ValueError(
            f"{name} {sigma:g}: expected {SMALLEST_SIGMA} {unit} or more, since below that a pixel "
            f"has no neighbours but itself; to switch its term off, set {weight} to 0"
        )
    return sigma


def _weight(name: str, value: Any) -> float | Tensor:
    if isinstance(value, Tensor):
        if value.numel() != 1 or not value.is_floating_point():
            raise TypeError(f"{name} is {value.dtype} of {sizes(value)}: expected one float")
        number = float(value.detach())
    elif isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is a {type(value).__name__}: expected a number or a tensor of one")
    else:
        number = float(value)
    if not (isfinite(number) and number >= 0):
        raise ValueError(
            f"{name} {number:g}: expected 0 or more, since a negative weight drives like "
            "neighbours apart and mean field need not settle; single pairs of classes are set "
            "apart by compat"
        )
    return value.reshape(()) if isinstance(value, Tensor) else number


# ---- Backends ------------------------------------------------------------------------------------


def backend(name: str, problem: Problem, settings: Settings, trace: bool) -> str:
    """The form to use, which is able to do it. Raises ValueError or ModuleNotFoundError.

    "auto" is always the lattice: about as fast as pydensecrf, with all that the others can do, and
    the same numbers whether or not pydensecrf is installed.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r}: expected one of {', '.join(BACKENDS)}")
    learned = (problem.log_probs, settings.w_appearance, settings.w_smooth, problem.compat)
    gradient = torch.is_grad_enabled() and any(
        isinstance(value, Tensor) and value.requires_grad for value in learned
    )
    if gradient and isinstance(problem.given, np.ndarray):
        raise TypeError(
            "probs is a NumPy array, so the result cannot carry the gradient that another argument "
            "requires: pass torch.from_numpy(probs)"
        )
    if name == "pydensecrf":
        _able(problem.log_probs.device, gradient, trace)
    if name == "exact":
        _fits(problem.log_probs, gradient)
    return "lattice" if name == "auto" else name


def _able(device: torch.device, gradient: bool, trace: bool) -> None:
    for asked, what in (
        (gradient, "carries no gradient (torch.no_grad() says that none is needed)"),
        (trace, "does not show its steps"),
        (device.type != "cpu", f"cannot use tensors on {device}"),
    ):
        if asked:
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
            f'backend "exact" was asked for {pixels:,} pixels, and compares all pairs of up to '
            f'{exact.MAX_PIXELS:,} (96 x 96): use "lattice", or a crop'
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
