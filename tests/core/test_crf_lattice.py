"""The lattice is the permutohedral one, corner by corner; gradients flow through it; GPUs agree."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from deeplab_lite import scenes
from deeplab_lite.crf import dense_crf, exact, lattice

examples = settings(deadline=None, max_examples=40, derandomize=True)


@st.composite
def clouds(draw, most=30):
    """d x N points in float64, near each other or not, some of them twice."""
    d, count = draw(st.integers(1, 6)), draw(st.integers(1, most))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    points = random.normal(size=(d, count)) * draw(st.floats(0, 5))
    return torch.from_numpy(points[:, random.integers(0, count, count)])


def values_for(points, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(points.shape[1], classes, generator=generator, dtype=torch.float64)


# ---- The lattice, one point at a time ------------------------------------------------------------


def elevated(point):
    """d coordinates to d + 1 that sum to 0, in units of which a corner's are whole."""
    d = len(point)
    basis = np.zeros((d + 1, d))
    for axis in range(d):  # orthogonal columns: 1, ..., 1, -(axis + 1), 0, ...
        basis[: axis + 1, axis], basis[axis + 1, axis] = 1, -(axis + 1)
    basis /= np.linalg.norm(basis, axis=0)
    return basis @ point * (d + 1) * np.sqrt(2 / 3)


def corners_by_hand(point):
    """{corner: weight} of the simplex around a point: Adams et al. 2010, sections 3.1 and 3.2."""
    position = elevated(point)
    d = len(point)
    origin = np.round(position / (d + 1)) * (d + 1)
    excess = round(origin.sum()) // (d + 1)
    order = np.argsort(-(position - origin), kind="stable")
    for _ in range(abs(excess)):  # the sum must be 0: move the coordinate that was rounded worst
        axis = np.argmax(np.sign(excess) * (origin - position))
        origin[axis] -= np.sign(excess) * (d + 1)
    rest = position - origin
    order = np.argsort(-rest, kind="stable")
    corner, found = origin.copy(), {}
    falling = rest[order]
    found[tuple(corner.astype(int))] = 1 - (falling[0] - falling[-1]) / (d + 1)
    for colour in range(1, d + 1):  # +1 everywhere, - (d + 1) where the rest is least
        corner = corner + 1
        corner[order[d + 1 - colour]] -= d + 1
        found[tuple(corner.astype(int))] = (falling[d - colour] - falling[d - colour + 1]) / (d + 1)
    return found


def filter_by_hand(points, values):
    """D^-1/2 K D^-1/2 on a lattice held in a dictionary."""
    simplices = [corners_by_hand(point) for point in points.T.numpy()]
    d = len(points)

    def blurred(values):
        at = {}
        for simplex, value in zip(simplices, values, strict=True):
            for corner, weight in simplex.items():
                at[corner] = at.get(corner, 0) + weight * value
        for axis in range(d + 1):
            step = np.ones(d + 1, int)
            step[axis] -= d + 1
            nothing = np.zeros_like(values[0])
            at = {
                corner: value
                + at.get(tuple(corner + step), nothing) / 2
                + at.get(tuple(corner - step), nothing) / 2
                for corner, value in ((np.array(c), v) for c, v in at.items())
                for corner in [tuple(corner)]
            }
        return np.stack([sum(w * at[c] for c, w in simplex.items()) for simplex in simplices])

    root = np.sqrt(blurred(np.ones((len(simplices), 1))))
    return blurred(values.numpy() / root) / root


@examples
@given(clouds())
def test_the_filter_is_that_of_a_lattice_in_a_dictionary(points):
    values = values_for(points)
    found = lattice.Filter(points, torch.float64)(values)
    np.testing.assert_allclose(found, filter_by_hand(points, values), atol=1e-9)


@examples
@given(clouds())
def test_corners_surround_their_point(points):
    """Weights are shares, and the corners' mean under them is the point."""
    keys, weights, steps = lattice.corners(points)
    d, count = points.shape
    assert keys.shape == weights.shape == (d + 1, count) and len(steps) == d + 1
    assert (weights >= -1e-12).all() and (weights <= 1 + 1e-12).all()
    torch.testing.assert_close(weights.sum(0), torch.ones(count, dtype=weights.dtype))
    # Keys are linear in a corner's coordinates; what an axis counts follows from the blur's steps.
    radix = torch.tensor([(step - steps[-1]) // (d + 1) for step in steps], dtype=weights.dtype)
    expected = torch.tensor([radix.numpy() @ elevated(point) for point in points.T.numpy()])
    torch.testing.assert_close((weights * keys).sum(0), expected, rtol=1e-9, atol=1e-6)


@examples
@given(clouds())
def test_equal_points_have_equal_corners_and_each_simplex_is_of_distinct_ones(points):
    keys, _, _ = lattice.corners(points)
    assert all(len(set(simplex)) == len(simplex) for simplex in keys.t().tolist())
    twice, _, _ = lattice.corners(points.repeat(1, 2))
    assert torch.equal(*twice.chunk(2, 1))


def test_the_filter_is_near_a_gaussian():
    """What it is an approximation of: correlation with the exact filter over random maps."""
    generator = torch.Generator().manual_seed(0)
    for d in (1, 2, 3, 5):
        points = 2 * torch.randn(d, 400, generator=generator, dtype=torch.float64)
        values = torch.randn(400, 8, generator=generator, dtype=torch.float64)
        pair = [f.Filter(points, torch.float64)(values).flatten() for f in (exact, lattice)]
        assert torch.corrcoef(torch.stack(pair))[0, 1] > 0.97, d


@pytest.mark.parametrize("form", [exact, lattice])
def test_a_filter_never_amplifies(form):
    """D^-1/2 K D^-1/2 is similar to the mean D^-1 K: its largest eigenvalue is 1."""
    y, x = np.mgrid[:12, :12].reshape(2, -1) / 3
    filtered = form.Filter(torch.from_numpy(np.stack([x, y])), torch.float64)
    values = torch.ones(144, 1, dtype=torch.float64)
    for _ in range(200):
        values = filtered(values) / values.norm()
    assert abs(float(values.norm()) - 1) < 1e-9
    alone = form.Filter(torch.zeros(2, 9, dtype=torch.float64), torch.float64)  # one place: a mean
    values = torch.rand(9, 4, dtype=torch.float64)
    torch.testing.assert_close(alone(values), values.mean(0).expand(9, 4))


# ---- Gradients -----------------------------------------------------------------------------------


@examples
@given(clouds())
def test_the_gradient_is_the_adjoint(points):
    """<A x, y> = <x, A' y>."""
    apply = lattice.Filter(points, torch.float64)
    x, y = values_for(points).requires_grad_(), values_for(points, seed=1)
    filtered = apply(x)
    (adjoint,) = torch.autograd.grad(filtered, x, y)
    torch.testing.assert_close((filtered * y).sum(), (x * adjoint).sum())


def test_gradcheck_of_the_filter():
    points = torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    apply = lattice.Filter(points, torch.float64)
    assert gradcheck(apply, values_for(points).requires_grad_())


@pytest.mark.parametrize("backend", ["exact", "lattice"])
@pytest.mark.parametrize("compat", ["potts", "matrix"])
def test_gradcheck_of_the_crf_as_a_layer(backend, compat):
    """To logits (through softmax), to both weights and to the penalties; of a batch of two."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 3, generator=generator, dtype=torch.float64)
    image = torch.randint(0, 30, (2, 4, 3, 3), generator=generator, dtype=torch.uint8)
    penalties = torch.tensor([[0, 1, 2], [1, 0, 1.5], [2, 1.5, 0]], dtype=torch.float64)
    weights = [torch.tensor(w, dtype=torch.float64, requires_grad=True) for w in (2.0, 1.0)]

    def layer(logits, w_appearance, w_smooth, *matrix):
        options = {"sigma_rgb": 20, "iterations": 3, "backend": backend}
        return dense_crf(
            logits.softmax(1),
            image,
            w_appearance=w_appearance,
            w_smooth=w_smooth,
            compat=matrix[0] if matrix else "potts",
            **options,
        )

    matrix = [penalties.requires_grad_()] if compat == "matrix" else []
    assert gradcheck(layer, (logits.requires_grad_(), *weights, *matrix))


def test_weights_can_be_learned():
    """Three steps of gradient descent on both weights bring the loss of a noisy scene down."""
    image, label = scenes.scene(3, 48, scenes.SMALL, outline=0)
    logits = torch.randn(9, 48, 48, generator=torch.Generator().manual_seed(0))
    truth = torch.from_numpy(label).long()[None]
    probs = logits.scatter_add_(0, truth, torch.full_like(logits[:1], 1.0)).softmax(0)
    weights = [torch.tensor(0.5, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.SGD(weights, 0.5)
    losses = []
    for _ in range(4):
        found = dense_crf(probs, image, w_appearance=weights[0], w_smooth=weights[1], iterations=3)
        loss = torch.nn.functional.nll_loss(found[None].log(), truth)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(after < before - 0.01 for before, after in pairwise(losses))


def test_no_gradient_is_kept_where_none_is_asked_for():
    image, _ = scenes.scene(3, 48, scenes.SMALL)
    probs = torch.full((2, 48, 48), 0.5, requires_grad=True)
    assert dense_crf(probs, image).requires_grad
    with torch.no_grad():
        assert not dense_crf(probs, image).requires_grad
    assert not dense_crf(probs.detach(), image).requires_grad


# ---- Elsewhere -----------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("backend", ["exact", "lattice"])
def test_a_gpu_gives_what_the_cpu_gives(backend):
    images, labels = zip(
        *(scenes.scene(seed, 64, scenes.SMALL, outline=0) for seed in (3, 4)), strict=True
    )
    logits = torch.randn(2, 9, 64, 64, generator=torch.Generator().manual_seed(0))
    truth = torch.from_numpy(np.stack(labels)).long()[:, None]
    probs = logits.scatter_add_(1, truth, torch.full_like(logits[:, :1], 1.5)).softmax(1)
    image = torch.from_numpy(np.stack(images))
    expected = dense_crf(probs, image, backend=backend)
    for place in (image, image.cuda()):
        found = dense_crf(probs.cuda(), place, backend=backend)
        assert found.is_cuda
        same = (found.cpu().argmax(1) == expected.argmax(1)).float().mean()
        assert same >= 0.999 and (found.cpu() - expected).abs().mean() <= 1e-4
    weight = torch.tensor(5.0, device="cuda", requires_grad=True)
    dense_crf(probs.cuda(), image, w_appearance=weight, backend=backend)[:, 0].sum().backward()
    assert weight.grad is not None and weight.grad.isfinite()
    with pytest.raises(ValueError, match=r'cuda.*use "lattice"'):
        dense_crf(probs.cuda(), image, backend="pydensecrf")


def test_the_result_does_not_depend_on_threads():
    image, _ = scenes.scene(3, 96, scenes.SMALL)
    probs = torch.randn(4, 96, 96, generator=torch.Generator().manual_seed(0)).softmax(0)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(dense_crf(probs, image))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*found, atol=1e-3, rtol=0)


def test_keys_stay_whole_where_floats_no_longer_are():
    features = 600 * torch.rand(5, 2000, generator=torch.Generator().manual_seed(0))
    keys, _, _ = lattice.corners(features)
    assert int(keys.max() - keys.min()) > 2**54
    assert (keys[0] % 6 == 0).all()  # coordinates of colour 0 are whole multiples of d + 1
