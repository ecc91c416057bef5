"""One dense CRF in three forms: exact is the formula, the others are exact up to a lattice.

How near they come on scenes and photographs is in test_crf_agreement.py.
"""

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_lite.crf import dense_crf

NAMES = ("w_appearance", "sigma_xy", "sigma_rgb", "w_smooth", "sigma_smooth")
HERE = importlib.util.find_spec("pydensecrf") is not None
needs_pydensecrf = pytest.mark.skipif(not HERE, reason="pydensecrf is not installed")
FAST = ["lattice", "pydensecrf"] if HERE else ["lattice"]
BACKENDS = ["exact", "lattice", pytest.param("pydensecrf", marks=needs_pydensecrf)]
examples = settings(deadline=None, max_examples=30, derandomize=True)


def named(values):
    return dict(zip(NAMES, values, strict=True))


def random_problem(seed, classes=3, size=(6, 7), batch=()):
    """Probabilities in float64, and an image of few colours, so that pixels are alike."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (*batch, classes, *size))
    probs = np.exp(logits) / np.exp(logits).sum(-3, keepdims=True)
    return probs, random.integers(0, 30, (*batch, *size, 3)).astype(np.uint8)


@st.composite
def problems(draw):
    """(probs, image, settings): small, with sigmas and weights of all sizes."""
    classes, height, width = draw(
        st.tuples(*[st.integers(a, b) for a, b in ((2, 4), (1, 5))], st.integers(1, 5))
    )
    probs, image = random_problem(draw(st.integers(0, 2**32 - 1)), classes, (height, width))
    weight, sigma = st.floats(0, 20), st.floats(0.5, 60)
    values = draw(st.tuples(weight, sigma, sigma, weight, sigma))
    return probs, image, named(values)


# ---- The formula, pixel by pixel -----------------------------------------------------------------


def kernel_by_hand(features):
    """D^-1/2 K D^-1/2 of N x d, one pair at a time."""
    count = len(features)
    kernel = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            kernel[i, j] = np.exp(-sum((features[i] - features[j]) ** 2) / 2)
    degree = kernel.sum(1)
    for i in range(count):
        for j in range(count):
            kernel[i, j] /= np.sqrt(degree[i] * degree[j])
    return kernel


def by_hand(
    probs, image, penalties, iterations, w_appearance, sigma_xy, sigma_rgb, w_smooth, sigma_smooth
):
    """Marginals and free energies of every step, the start included."""
    classes, height, width = probs.shape
    pixels = [(y, x) for y in range(height) for x in range(width)]
    place = np.array([(x, y) for y, x in pixels], float)
    colour = np.array([image[y, x] for y, x in pixels], float)
    kernels = [
        (w_appearance, kernel_by_hand(np.hstack([place / sigma_xy, colour / sigma_rgb]))),
        (w_smooth, kernel_by_hand(place / sigma_smooth)),
    ]
    log_p = np.log(np.maximum([[probs[k, y, x] for k in range(classes)] for y, x in pixels], 1e-5))
    logits, marginals, energies = log_p, [], []
    while True:
        q = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        penalty = sum(weight * kernel @ q @ penalties for weight, kernel in kernels)
        marginals.append(q.T.reshape(probs.shape))
        energies.append((q * (-log_p + penalty / 2 + np.log(np.maximum(q, 1e-300)))).sum())
        if len(marginals) > iterations:
            return np.array(marginals), np.array(energies)
        logits = log_p - penalty


@examples
@given(problems(), st.integers(0, 4))
def test_exact_is_the_formula_for_potts(problem, iterations):
    probs, image, values = problem
    potts = 1 - np.eye(len(probs))
    expected, _ = by_hand(probs, image, potts, iterations, **values)
    found = dense_crf(probs, image, iterations=iterations, backend="exact", **values)
    np.testing.assert_allclose(found, expected[-1], atol=1e-9)


@examples
@given(problems(), st.integers(0, 2**32 - 1))
def test_exact_is_the_formula_for_a_matrix_and_its_trace_shows_each_step(problem, seed):
    probs, image, values = problem
    random = np.random.default_rng(seed).uniform(0, 1, (len(probs),) * 2)
    penalties = (random + random.T) * (1 - np.eye(len(probs)))
    expected, energies = by_hand(probs, image, penalties, 4, **values)
    found = dense_crf(
        probs, image, iterations=4, backend="exact", compat=penalties, trace=True, **values
    )
    np.testing.assert_allclose(found.marginals, expected, atol=1e-9)
    np.testing.assert_allclose(found.energies["free"], energies, rtol=1e-9, atol=1e-9)
    parts = found.energies
    total = parts["unary"] + parts["appearance"] + parts["smoothness"] - parts["entropy"]
    torch.testing.assert_close(parts["free"], total)


def test_messages_are_the_filtered_marginals():
    probs, image = random_problem(0)
    trace = dense_crf(probs, image, iterations=3, backend="exact", trace=True, sigma_smooth=2)
    y, x = np.mgrid[:6, :7].reshape(2, -1)
    kernel = kernel_by_hand(np.stack([x, y], 1) / 2)
    assert trace.messages["smoothness"].shape == (3, *probs.shape)
    for marginals, message in zip(trace.marginals, trace.messages["smoothness"], strict=False):
        np.testing.assert_allclose(
            message.flatten(1), marginals.flatten(1).numpy() @ kernel, atol=1e-12
        )


@examples
@given(problems(), st.sampled_from(["potts", "distance"]))
def test_the_free_energy_of_the_exact_form_never_rises(problem, compat):
    probs, image, values = problem
    classes = np.arange(len(probs))
    if compat == "distance":  # between classes in a row: -|k - l| is positive definite enough
        compat = np.abs(classes[:, None] - classes).astype(float)
    trace = dense_crf(probs, image, backend="exact", compat=compat, trace=True, **values)
    free = trace.energies["free"]
    assert (free.diff() <= 1e-9 * free.abs().max()).all()


# ---- What holds for all forms --------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pixel_is_its_own_neighbour(backend):
    """The kernels keep their diagonals: the logit of a lone pixel grows by (w1 + w2) (p - q)."""
    probs = np.array([0.7, 0.3]).reshape(2, 1, 1)
    image = np.full((1, 1, 3), 9, np.uint8)
    found = dense_crf(probs, image, iterations=1, w_appearance=2, w_smooth=1, backend=backend)
    logit = np.log(0.7 / 0.3) + 3 * (0.7 - 0.3)
    np.testing.assert_allclose(found[0, 0, 0], 1 / (1 + np.exp(-logit)), rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_with_sigmas_beyond_the_picture_each_pixel_hears_the_mean(backend):
    """All pairs weigh 1, so that D^-1/2 K D^-1/2 is 1 / N everywhere."""
    probs, _ = random_problem(0, classes=2)
    image, far = np.zeros((6, 7, 3), np.uint8), 1e6
    options = {"w_appearance": 2, "sigma_xy": far, "w_smooth": 1, "sigma_smooth": far}
    found = dense_crf(probs, image, iterations=1, backend=backend, **options)
    logits = np.log(probs[0] / probs[1]) + 3 * (probs[0] - probs[1]).mean()
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp(-logits)), atol=1e-4)


@examples
@given(problems(), st.sampled_from(["exact", *FAST]))
def test_marginals_are_probabilities(problem, backend):
    probs, image, values = problem
    found = dense_crf(probs, image, backend=backend, **values)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_steps_and_no_weights_give_back_the_probabilities(backend):
    probs, image = random_problem(1)
    still = dense_crf(probs, image, iterations=0, backend=backend)
    np.testing.assert_allclose(still, probs, atol=1e-6)
    unheard = dense_crf(probs, image, w_appearance=0, w_smooth=0, backend=backend)
    np.testing.assert_allclose(unheard, probs, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_probability_of_0_counts_as_1e_5(backend):
    probs, image = np.zeros((2, 4, 4)), np.zeros((4, 4, 3), np.uint8)
    probs[0] = 1
    found = dense_crf(probs, image, iterations=0, backend=backend)
    np.testing.assert_allclose(found[1], 1e-5, rtol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_chances_stay_equal(backend):
    _, image = random_problem(2)
    found = dense_crf(np.full((4, 6, 7), 0.25), image, backend=backend)
    np.testing.assert_allclose(found, 0.25, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_potts_as_a_matrix_and_as_a_reward_is_potts(backend):
    probs, image = random_problem(3, classes=4)
    options = {"sigma_rgb": 20, "backend": backend, "iterations": 5}
    expected = dense_crf(probs, image, **options)
    for compat in (1 - np.eye(4), -np.eye(4), torch.ones(4, 4) - torch.eye(4)):
        found = dense_crf(probs, image, compat=compat, **options)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_classes_have_no_order(backend):
    probs, image = random_problem(4, classes=4)
    order = [2, 0, 3, 1]
    found = dense_crf(probs[order], image, sigma_rgb=20, backend=backend)
    np.testing.assert_allclose(
        found, dense_crf(probs, image, sigma_rgb=20, backend=backend)[order], atol=1e-5
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("compat", ["potts", "matrix"])
def test_a_batch_is_its_images_one_by_one(backend, compat):
    probs, images = random_problem(5, batch=(3,))
    compat = 1.5 - 1.5 * np.eye(3) if compat == "matrix" else compat
    found = dense_crf(probs, images, compat=compat, backend=backend)
    for i in range(3):
        alone = dense_crf(probs[i], images[i], compat=compat, backend=backend)
        np.testing.assert_allclose(found[i], alone, atol=1e-6)


@pytest.mark.parametrize("backend", ["exact", "lattice"])
def test_a_trace_ends_in_the_marginals_and_has_the_batch_after_the_steps(backend):
    probs, images = random_problem(6, batch=(2,))
    trace = dense_crf(probs, images, iterations=3, backend=backend, trace=True)
    assert trace.marginals.shape == (4, *probs.shape)
    assert {m.shape for m in trace.messages.values()} == {(3, *probs.shape)}
    assert {e.shape for e in trace.energies.values()} == {(4, 2)}
    np.testing.assert_allclose(trace.marginals[0], probs, atol=1e-6)
    found = dense_crf(probs, images, iterations=3, backend=backend)
    np.testing.assert_allclose(trace.marginals[-1], found, atol=1e-6)
    alone = dense_crf(probs[1], images[1], iterations=3, backend=backend, trace=True)
    torch.testing.assert_close(alone.marginals, trace.marginals[:, 1])
    torch.testing.assert_close(alone.energies["free"], trace.energies["free"][:, 1])


TURNED = {
    "left to right": lambda array, axis: np.flip(array, axis + 1),
    "upside down": lambda array, axis: np.flip(array, axis),
    "on its side": lambda array, axis: np.swapaxes(array, axis, axis + 1),
}


@pytest.mark.parametrize("turn", TURNED.values(), ids=TURNED)
def test_exact_does_not_care_how_the_picture_lies(turn):
    probs, image = random_problem(7)
    expected = turn(dense_crf(probs, image, sigma_rgb=20, backend="exact"), 1)
    found = dense_crf(turn(probs, 1), turn(image, 0), sigma_rgb=20, backend="exact")
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_exact_does_not_care_in_which_order_colours_come():
    probs, image = random_problem(8)
    expected = dense_crf(probs, image, sigma_rgb=20, backend="exact")
    found = dense_crf(probs, image[..., [2, 0, 1]], sigma_rgb=20, backend="exact")
    np.testing.assert_allclose(found, expected, atol=1e-9)
