"""On scenes and photographs the lattice is the reference code's; both are near the exact form."""

import importlib.util
from functools import cache

import numpy as np
import pytest
import torch

from benchmarks import crf as benchmark
from deeplab_lite import checkpoints, photos, scenes
from deeplab_lite.crf import dense_crf

NAMES = ("w_appearance", "sigma_xy", "sigma_rgb", "w_smooth", "sigma_smooth")
DEEPLAB = {
    "v1": (5, 50, 3, 3, 3),
    "COCO": (5, 67, 3, 3, 3),
    "search": (4, 80, 13, 3, 3),
    "end of the range": (10, 100, 10, 3, 3),
}
HERE = importlib.util.find_spec("pydensecrf") is not None
needs_pydensecrf = pytest.mark.skipif(not HERE, reason="pydensecrf is not installed")
FAST = ["lattice", "pydensecrf"] if HERE else ["lattice"]


def named(values):
    return dict(zip(NAMES, values, strict=True))


def doubtful(image, label, strength, seed):
    """Probabilities that lean to a label by `strength` nats, under noise of 2 nats per class."""
    random = np.random.default_rng(seed)
    classes = int(label.max()) + 1
    logits = torch.from_numpy(random.normal(0, 2, (classes, *label.shape))).float()
    truth = torch.from_numpy(np.ascontiguousarray(label)).long()
    logits.scatter_add_(0, truth[None], torch.full((1, *label.shape), float(strength)))
    return logits.softmax(0), np.ascontiguousarray(image)


@cache
def real_problem(name):
    """(probs, image): a scene or a photograph, and what a network or noise says of it."""
    kind, _, what = name.partition(" ")
    if kind == "v1":  # the network's own probabilities of a test scene
        image, _ = scenes.scene(int(what))
        with torch.no_grad():
            logits = checkpoints.load("v1-scenes")(scenes.normalize(image)[None])
        return logits[0].softmax(0), image
    if kind == "noisy":
        image, label = scenes.scene(int(what), difficulty=scenes.SMALL, outline=0)
        return doubtful(image, label, 1.5, seed=0)
    if kind == "classifier":
        image = photos.photo("chelsea")[:257, :321]
        cat = photos.upsample(photos.dense_class_map(image, "cat", 8), image.shape[:2], 8)
        return torch.cat([1 - cat, cat]), image
    mask = photos.reference_mask(kind, band=0)
    mask[mask == 255] = 0
    return doubtful(photos.photo(kind)[::3, ::3], mask[::3, ::3], 1, seed=1)


REAL = ["v1 2000003", "v1 2000008", "noisy 2000011", "classifier", *photos.photo_names()]


def agreement(found, expected):
    """The share of equal labels, and the mean difference of the marginals."""
    same = (found.argmax(0) == expected.argmax(0)).float().mean()
    return float(same), float((found - expected).abs().mean())


@needs_pydensecrf
@pytest.mark.parametrize("values", DEEPLAB.values(), ids=DEEPLAB)
@pytest.mark.parametrize("name", REAL)
def test_the_lattice_is_that_of_the_reference_code(name, values):
    """Measured: 99.998 % of labels and 1e-5 at worst, all labels and 1e-7 as a rule."""
    probs, image = real_problem(name)
    expected = dense_crf(probs, image, backend="pydensecrf", **named(values))
    changed = (expected.argmax(0) != probs.argmax(0)).float().mean()
    assert changed > (0.01 if name.startswith("v1") else 0.05)
    same, difference = agreement(
        dense_crf(probs, image, backend="lattice", **named(values)), expected
    )
    assert same >= 0.999 and difference <= 1e-4


@pytest.mark.parametrize("name", REAL)
def test_the_lattice_is_near_the_exact_form(name):
    """Measured: 97.6 to 100 % of labels; single marginals differ by up to 0.99."""
    probs, image = real_problem(name)
    top, left = (40, 90) if name == "classifier" else (0, 0)  # the cat's ear
    probs = probs[:, top : top + 48, left : left + 48]
    image = image[top : top + 48, left : left + 48]
    for values in list(DEEPLAB.values())[:3]:
        expected = dense_crf(probs, image, backend="exact", **named(values))
        for backend in FAST:
            found = dense_crf(probs, image, backend=backend, **named(values))
            same, difference = agreement(found, expected)
            assert same >= 0.97 and difference <= 0.02, backend


@needs_pydensecrf
@pytest.mark.parametrize("compat", ["potts", "matrix"])
def test_the_reference_is_called_as_its_users_call_it(compat):
    """Bit for bit what DenseCRF2D's two methods give; its matrices are penalties, too."""
    import pydensecrf.densecrf as densecrf

    probs, image = real_problem("noisy 2000011")
    classes, height, width = probs.shape
    penalties = np.abs(np.subtract.outer(*[np.arange(classes, dtype=np.float32)] * 2)) / 4
    crf = densecrf.DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(-probs.clamp(min=1e-5).log().flatten(1).contiguous().numpy())
    matrix = penalties if compat == "matrix" else 1
    crf.addPairwiseGaussian(sxy=3, compat=3 * matrix)
    crf.addPairwiseBilateral(sxy=67, srgb=3, rgbim=image, compat=5 * matrix)
    expected = np.array(crf.inference(5)).reshape(probs.shape)
    options = {"compat": penalties if compat == "matrix" else compat, "iterations": 5}
    found = dense_crf(probs, image, sigma_xy=67, backend="pydensecrf", **options)
    assert (found.numpy() == expected).all()
    same, difference = agreement(
        dense_crf(probs, image, sigma_xy=67, backend="lattice", **options), found
    )
    assert same >= 0.999 and difference <= 1e-4


@needs_pydensecrf
def test_a_row_of_the_benchmark():
    problem = benchmark.Problem("scene", *benchmark.scene_problem())
    row = benchmark.measure(problem._replace(threads=torch.get_num_threads()), rounds=1)
    assert row["problem"] == "scene, 9 x 321 x 321" and row["backend"] == "lattice"
    assert row["ratio"] == pytest.approx(row["ms"] / row["pydensecrf_ms"], rel=0.05)
    assert row["same_labels"] >= 0.999 and row["mean_difference"] <= 1e-4


def test_the_photograph_of_the_benchmark_is_changed_by_its_crf():
    probs, image = benchmark.photograph(96)
    assert probs.shape == (benchmark.CLASSES, 96, 96) and image.shape == (96, 96, 3)
    changed = (dense_crf(probs, image).argmax(0) != probs.argmax(0)).float().mean()
    assert 0.1 < changed < 0.9
    batch = benchmark.shifted(*benchmark.photograph(benchmark.SIZE))
    assert len(batch[0]) == benchmark.BATCH and not torch.equal(batch[1][0], batch[1][1])
