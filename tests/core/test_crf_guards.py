"""What a dense CRF cannot use is refused in one sentence, by all backends; what it can, works."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deeplab_lite.crf import BACKENDS, dense_crf, lattice
from deeplab_lite.crf.guards import SMALLEST_SIGMA

HEIGHT, WIDTH, CLASSES = 5, 8, 3
NAN = float("nan")


def probabilities(batch=(), classes=CLASSES, seed=0):
    logits = np.random.default_rng(seed).normal(size=(*batch, classes, HEIGHT, WIDTH))
    return torch.from_numpy(logits).float().softmax(-3).numpy()


def picture(batch=(), seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (*batch, HEIGHT, WIDTH, 3)).astype(np.uint8)


P, RGB = probabilities(), picture()
LOGITS = torch.from_numpy(P).logit().numpy()


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


WRONG_ARRAYS = {
    # probabilities
    "NaN": (changed(P, (1, 2, 3), NAN), RGB, ["sums to nan", "at (2, 3)", "whole image"]),
    "infinite": (changed(P, (0, 4, 7), np.inf), RGB, ["sums to inf", "at (4, 7)"]),
    "logits": (LOGITS, RGB, ["look like logits", "softmax"]),
    "a sigmoid": (changed(P, (0, 1, 2), 0.9), RGB, ["sums to", "(1, 2)", "sigmoid"]),
    "one class": (P[:1], RGB, ["one class", "torch.cat([1 - probs, probs])"]),
    "no pixels": (P[:, :0], RGB[:0], ["3 x 0 x 8", "expected probabilities"]),
    "labels": (P.argmax(0), RGB, ["5 x 8", "one_hot"]),
    "a list": (P.tolist(), RGB, ["probs is a list"]),
    # image
    "width and height": (P, RGB.transpose(1, 0, 2), ["height and width are swapped"]),
    "width and height of probs": (P.transpose(0, 2, 1), RGB, ["height and width are swapped"]),
    "channels first": (P, RGB.transpose(2, 0, 1), ["3 x 5 x 8", "must be 5 x 8 x 3"]),
    "grey": (P, RGB[..., 0], ["image is 5 x 8", "must be 5 x 8 x 3"]),
    "RGBA": (P, np.concatenate([RGB, RGB[..., :1]], -1), ["image is 5 x 8 x 4"]),
    "another size": (P, picture()[:4], ["4 x 8 x 3", "5 x 8 x 3", "one size"]),
    "one image for a batch": (np.stack([P, P]), RGB, ["must be 2 x 5 x 8 x 3"]),
    "image NaN": (P, changed(RGB / 255, (1, 2, 0), NAN), ["from nan to nan", "expected uint8"]),
    "0..255 in float": (P, RGB.astype(float), ["float64 from", "0 to 1"]),
    "normalised": (P, RGB / 127.5 - 1, ["normalised for a network", "0 to 1"]),
    "int64": (P, RGB.astype(int), ["int64", "expected uint8"]),
    "no array": (P, "cat.png", ["image is a str"]),
}
WRONG_SETTINGS = {
    "sigma 0": ({"sigma_xy": 0}, ["sigma_xy 0", "0.5 or more", "set w_appearance to 0"]),
    "negative": ({"sigma_smooth": -3}, ["sigma_smooth -3", "set w_smooth to 0"]),
    "tiny": ({"sigma_rgb": 1e-6}, ["sigma_rgb 1e-06", "0.5 or more"]),
    "sigma NaN": ({"sigma_rgb": NAN}, ["sigma_rgb nan"]),
    "sigma tensor": ({"sigma_xy": torch.tensor(5.0)}, ["no gradient"]),
    "weight negative": ({"w_smooth": -1}, ["w_smooth -1", "0 or more", "apart"]),
    "weight NaN": ({"w_appearance": NAN}, ["w_appearance nan"]),
    "iterations negative": ({"iterations": -1}, ["iterations -1", "0 or more"]),
    "iterations float": ({"iterations": 10.0}, ["iterations 10.0", "whole number"]),
    "compat word": ({"compat": "ising"}, ["'ising'", "'potts'", "3 x 3"]),
    "compat vector": ({"compat": np.ones(3)}, ["compat is 3:", "agreeing", "apart", "3 x 3"]),
    "compat size": ({"compat": np.ones((2, 2))}, ["compat is 2 x 2", "3 x 3"]),
    "compat NaN": ({"compat": np.full((3, 3), NAN)}, ["compat is NaN, infinite or not symmetric"]),
    "compat one-sided": ({"compat": np.triu(np.ones((3, 3)), 1)}, ["not symmetric", "3 x 3"]),
}


def refused(probs, image, words, **options):
    with pytest.raises((TypeError, ValueError)) as caught:
        dense_crf(probs, image, **options)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 330


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("probs, image, words", WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_wrong_arrays_are_refused(probs, image, words, backend):
    refused(probs, image, words, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options, words", WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_wrong_settings_are_refused(options, words, backend):
    refused(P, RGB, words, backend=backend, **options)


# ---- Backends that cannot ------------------------------------------------------------------------


def test_unknown_backend():
    refused(P, RGB, ["'fast'", "auto, exact, lattice, pydensecrf"], backend="fast")


@pytest.mark.parametrize("needs", ["probs", "w_smooth", "compat"])
def test_the_reference_code_refuses_gradients_and_says_who_has_them(needs):
    arguments = {"probs": torch.from_numpy(P), "w_smooth": torch.tensor(3.0)}
    arguments["compat"] = 1 - torch.eye(3)
    arguments[needs].requires_grad_()
    words = ["gradient", '"lattice"', "no_grad"]
    refused(arguments.pop("probs"), RGB, words, backend="pydensecrf", **arguments)


def test_no_gradient_flows_to_the_image():
    image = torch.from_numpy(RGB / 255).requires_grad_()
    refused(torch.from_numpy(P), image, ["image.detach()"])
    with torch.no_grad():
        dense_crf(torch.from_numpy(P), image)


def test_the_reference_code_shows_no_steps():
    refused(P, RGB, ["steps", '"lattice"'], backend="pydensecrf", trace=True)


def test_without_pydensecrf_the_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pydensecrf2.*C\+\+.*lattice"):
        dense_crf(P, RGB, backend="pydensecrf")
    assert np.isfinite(dense_crf(P, RGB)).all()


def test_exact_refuses_more_pixels_than_it_can_pair():
    probs, image = np.full((2, 97, 96), 0.5, np.float32), np.zeros((97, 96, 3), np.uint8)
    refused(probs, image, ["9,312 pixels", "9,216 (96 x 96)", '"lattice"'], backend="exact")


def test_exact_estimates_its_memory_before_it_takes_it(monkeypatch):
    free = SimpleNamespace(available=2**29)
    monkeypatch.setattr("deeplab_lite.crf.guards.psutil.virtual_memory", lambda: free)
    probs, image = np.full((2, 96, 96), 0.5, np.float32), np.zeros((96, 96, 3), np.uint8)
    with pytest.raises(MemoryError, match=r'0\.\d+ GiB for 9,216.* 0\.5 GiB are free.*"lattice"'):
        dense_crf(probs, image, backend="exact")
    free.available = 2**30  # enough for one, and for a batch one by one, but not with its gradients
    batch = torch.full((3, 2, 96, 96), 0.5, requires_grad=True), np.stack([image] * 3)
    with pytest.raises(MemoryError, match=r'1\.\d+ GiB for 9,216 pixels of 3 images.*"lattice"'):
        dense_crf(*batch, backend="exact")


def test_the_lattice_refuses_a_space_of_too_many_cells():
    """The corners of 2000 x 2000 pixels in pure colours, all sigmas at their smallest."""
    ends = torch.tensor([2000.0, 2000, 255, 255, 255]) / SMALLEST_SIGMA
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1])] * 5).t() * ends[:, None]
    with pytest.raises(ValueError, match="cells: use larger sigmas"):
        lattice.Filter(corners)
    lattice.Filter(corners / 6)


@pytest.mark.parametrize("backend", ["exact", "lattice", "pydensecrf"])
def test_the_smallest_sigmas_work(backend):
    if backend == "pydensecrf":
        pytest.importorskip("pydensecrf")
    size = 40 if backend == "exact" else 321
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    probs = np.random.default_rng(1).dirichlet((1, 1), (size, size)).transpose(2, 0, 1)
    sigmas = {"sigma_xy": 0.5, "sigma_rgb": 0.5, "sigma_smooth": 0.5}
    assert np.isfinite(dense_crf(probs, image, iterations=1, backend=backend, **sigmas)).all()


def test_auto_is_the_lattice_whatever_is_installed():
    assert (dense_crf(P, RGB) == dense_crf(P, RGB, backend="lattice")).all()


# ---- Why it is refused ---------------------------------------------------------------------------


def by_reference(probs, image, compat=5.0):
    """Marginals, as users of pydensecrf ask for them, right or wrong."""
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    crf = densecrf.DenseCRF2D(WIDTH, HEIGHT, len(probs))
    crf.setUnaryEnergy(-np.log(probs).reshape(len(probs), -1))
    crf.addPairwiseBilateral(sxy=9, srgb=99, rgbim=image, compat=compat)
    return np.array(crf.inference(5)).reshape(probs.shape)


def test_the_reference_code_spreads_one_nan_over_all_pixels():
    assert np.isnan(by_reference(changed(P, (1, 2, 3), NAN), RGB)).all()


def test_the_reference_code_does_not_see_that_height_and_width_are_swapped():
    """Of the probabilities, that is: it takes them flat."""
    on_its_side = np.ascontiguousarray(P.transpose(0, 2, 1))
    right, swapped = by_reference(P, RGB), by_reference(on_its_side, RGB).reshape(P.shape)
    assert np.isfinite(swapped).all() and np.abs(right - swapped).max() > 0.1


def test_a_vector_of_compatibilities_makes_the_reference_code_drive_neighbours_apart():
    leaning = np.empty_like(P)
    leaning[:] = np.array([0.5, 0.3, 0.2]).reshape(3, 1, 1)
    assert by_reference(leaning, RGB)[0].mean() > 0.9
    assert by_reference(leaning, RGB, np.full(3, 5, np.float32))[0].mean() < 0.45


# ---- Kinds of arrays -----------------------------------------------------------------------------


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAID_OUT = {
    "read-only": read_only,
    "Fortran order": np.asfortranarray,
    "backwards": lambda a: np.ascontiguousarray(a[..., ::-1, :])[..., ::-1, :],
    "every other": lambda a: np.repeat(a, 2, -2)[..., ::2, :],
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "a transposed view": lambda a: np.ascontiguousarray(np.moveaxis(a, 0, -1)).transpose(2, 0, 1),
}


@pytest.mark.parametrize("backend", ["exact", "lattice", "pydensecrf"])
@pytest.mark.parametrize("laid_out", LAID_OUT.values(), ids=LAID_OUT)
def test_memory_may_be_laid_out_in_any_way(laid_out, backend):
    if backend == "pydensecrf":
        pytest.importorskip("pydensecrf")
    probs, image = P.copy(), RGB.copy()
    found = dense_crf(laid_out(probs), laid_out(image), backend=backend)
    assert (found == dense_crf(P, RGB, backend=backend)).all()
    assert (probs == P).all() and (image == RGB).all()


@pytest.mark.parametrize("backend", ["exact", "lattice", "pydensecrf"])
def test_results_come_back_in_kind(backend):
    if backend == "pydensecrf":
        pytest.importorskip("pydensecrf")
    expected = dense_crf(P, RGB, backend=backend)
    assert isinstance(expected, np.ndarray) and expected.dtype == np.float32
    assert expected.flags.c_contiguous and expected.flags.writeable
    for dtype in (np.float16, np.float64):
        found = dense_crf(P.astype(dtype), RGB, backend=backend)
        assert isinstance(found, np.ndarray) and found.dtype == dtype
        np.testing.assert_allclose(found, expected, atol=0.01)
    for kind in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        tensor = dense_crf(torch.from_numpy(P).to(kind), torch.from_numpy(RGB), backend=backend)
        assert isinstance(tensor, torch.Tensor) and tensor.dtype == kind
        np.testing.assert_allclose(tensor.double().numpy(), expected, atol=0.05)
    mixed = dense_crf(torch.from_numpy(P), RGB, backend=backend)
    assert isinstance(mixed, torch.Tensor) and (mixed.numpy() == expected).all()


@pytest.mark.parametrize("backend", ["exact", "lattice", "pydensecrf"])
def test_a_float_image_is_the_uint8_image_and_is_not_rounded(backend):
    if backend == "pydensecrf":
        pytest.importorskip("pydensecrf")
    image = picture() // 8
    options = {"sigma_rgb": 1, "iterations": 1, "backend": backend}
    whole = dense_crf(P, image, **options)
    np.testing.assert_allclose(dense_crf(P, image / 255, **options), whole, atol=1e-4)
    between = dense_crf(P, (image + 0.49 * (image % 2)) / 255, **options)
    assert np.abs(between - whole).max() > 0.001


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_one_hot_labels_are_probabilities_too(dtype):
    hard = np.arange(CLASSES)[:, None, None] == P.argmax(0)
    found = dense_crf(hard.astype(dtype), RGB)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, dense_crf(hard.astype(np.float32), RGB))


def test_the_smallest_picture_is_a_pixel():
    for size in ((1, 1), (1, 7), (7, 1)):
        probs = np.full((2, *size), 0.5, np.float32)
        np.testing.assert_allclose(dense_crf(probs, np.zeros((*size, 3), np.uint8)), probs)
