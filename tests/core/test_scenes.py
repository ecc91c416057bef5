"""Scenes: the same bytes everywhere, classes told by outlines alone, and what they are for."""

import csv
import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import field_size
from deeplab_lite import scenes
from deeplab_lite.receptive_field import receptive_fields
from deeplab_lite.scenes import (
    CLASSES,
    COMPANIES,
    SMALL,
    Difficulty,
    Scenes,
    full_scene,
    outline_distance,
    scene,
)

FLAT = replace(SMALL, texture=0, thin=0)


DIGEST = """
import hashlib
from deeplab_lite.scenes import SMALL, scene
small, wide = hashlib.sha256(), hashlib.sha256()
for seed in range(40):
    for array in scene(seed, 64 + seed, SMALL):
        small.update(array.tobytes())
    for array in scene(seed):
        wide.update(array.tobytes())
print(small.hexdigest(), wide.hexdigest())
"""
CHECKSUMS = [
    "79a2ada749fcc012196e83864f8064b79cfee6b447d50828f3b6f9f2ac5f02b3",
    "5d1862705ee136a1c4d6151c876de1eb684c5648211843ac009667c37f7c7e04",
]


@pytest.mark.parametrize("features", ["", "AVX2 FMA3 AVX512F X86_V3 X86_V4 AVX512_ICL"])
def test_a_seed_gives_the_same_bytes_everywhere(features):
    """Also where NumPy has to do without this processor's wide registers and fused products."""
    where = os.environ | {"NPY_DISABLE_CPU_FEATURES": features}
    command = [sys.executable, "-W", "ignore", "-c", DIGEST]
    found = subprocess.run(command, env=where, capture_output=True, text=True, check=True)
    assert found.stdout.split() == CHECKSUMS


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(32, 160), st.floats(0, 3))
def test_image_label_and_owner_belong_together(seed, size, outline):
    drawn = full_scene(seed, size, outline=outline)
    assert drawn.image.shape == (size, size, 3) and drawn.image.dtype == np.uint8
    assert drawn.label.shape == drawn.owner.shape == (size, size)
    counted = drawn.label != 255
    classes = np.array([*(shape.label for shape in drawn.shapes), 0])  # owner -1 is the last
    assert (drawn.label[counted] == classes[drawn.owner][counted]).all()
    assert counted.all() or outline > 0


def test_labels_without_outlines_differ_only_on_outlines():
    banded, whole = scene(5)[1], scene(5, outline=0)[1]
    changed = banded != whole
    assert (banded[changed] == 255).all() and 0.005 < changed.mean() < 0.1
    assert (scene(5)[0] == scene(5, outline=0)[0]).all()


def test_every_class_comes_about_as_often_as_the_others():
    counts = np.zeros(len(CLASSES), int)
    for seed in range(300):
        for shape in full_scene(seed, 64, SMALL).shapes:
            counts[shape.label] += 1
    share = counts[1:] / counts[1:].mean()
    assert counts[0] == 0 and share.min() > 0.75 and share.max() < 1.25


def test_radii_of_small_scenes_span_a_factor_of_five():
    drawn = [full_scene(seed, difficulty=SMALL) for seed in range(200)]
    radii = [shape.radius for each in drawn for shape in each.shapes]
    assert 8 <= min(radii) < 9 and 36 < max(radii) <= 40


def test_scenes_have_shapes_of_all_sizes_that_keep_together():
    """Radii of 20 to 140 pixels; of two companies, nine shapes in ten are of one."""
    drawn = [full_scene(seed).shapes for seed in range(200)]
    radii = [shape.radius for shapes in drawn for shape in shapes]
    assert 20 <= min(radii) < 21 and 125 < max(radii) <= 140
    assert max(len(shapes) for shapes in drawn) <= 8
    first = [sum(shape.label in COMPANIES[0] for shape in shapes) for shapes in drawn]
    together = sum(max(n, len(shapes) - n) for n, shapes in zip(first, drawn, strict=True))
    assert 0.9 < together / len(radii) < 0.99
    assert 0.35 < np.mean([n > len(s) / 2 for n, s in zip(first, drawn, strict=True)]) < 0.65


def test_edges_are_as_soft_and_the_light_as_uneven_as_asked():
    plain = replace(SMALL, shapes=(1, 1), thin=0, texture=0, radius=(20, 30))
    soft, lit = replace(plain, edge=(6, 6)), replace(plain, light=0.5)
    mixed = {}  # pixels that are neither the background's colour nor the shape's
    for what, difficulty in (("sharp", plain), ("soft", soft)):
        images = [full_scene(seed, 129, difficulty, outline=0) for seed in range(20)]
        mixed[what] = sum(len(np.unique(each.image.reshape(-1, 3), axis=0)) for each in images)
    assert mixed["soft"] > 1.5 * mixed["sharp"]
    flat, uneven = (scene(3, 129, difficulty)[0][:20].std(axis=(0, 1)).max()
                    for difficulty in (plain, lit))  # fmt: skip
    assert flat == 0 < 5 < uneven


@pytest.mark.parametrize("kind", CLASSES[1:])
def test_the_distance_is_that_to_the_outline(kind):
    """Against brute force over the pixels of both sides, at 60 pixels to a radius."""
    from scipy.ndimage import distance_transform_edt

    steps = ((np.arange(160) - 79.5) / 60).astype(np.float32)
    distance = 60 * outline_distance(kind, steps[None, :], steps[:, None])
    inside = distance < 0
    true = np.where(inside, -distance_transform_edt(inside), distance_transform_edt(~inside))
    near = np.abs(distance) < 4
    assert (np.abs(distance) <= np.abs(true) + 0.5).all()  # a lower bound everywhere
    assert np.median(np.abs(distance - true)[near]) < 0.55  # and right along edges
    assert inside[80, 80] == (kind not in ("ring", "crescent"))
    assert np.abs(np.argwhere(inside) - 79.5).max() < 60


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="no shape is called 'hexagon': there are disc, square"):
        outline_distance("hexagon", np.zeros((2, 2)), np.zeros((2, 2)))


def test_fills_tell_nothing_of_the_class():
    """The mean colour of shapes of a class, over many, is that of every other."""
    colors: dict[int, list] = {label: [] for label in range(1, 9)}
    for seed in range(400):
        drawn = full_scene(seed, difficulty=SMALL)
        for index, shape in enumerate(drawn.shapes):
            colors[shape.label].append(drawn.image[drawn.owner == index].mean(0))
    means = np.array([np.nanmean(c, 0) for c in colors.values()])
    assert np.abs(means - means.mean(0)).max() < 15  # of 255; one mean varies by some 4


def test_thin_adds_handles_that_belong_to_their_shape():
    with_handles = [
        full_scene(s, difficulty=replace(SMALL, thin=1, occlusion=0)) for s in range(20)
    ]
    assert all(shape.handle[0] > 0 for drawn in with_handles for shape in drawn.shapes)
    beyond = 0
    for drawn in with_handles:
        for index, shape in enumerate(drawn.shapes):
            at = np.argwhere(drawn.owner == index) + 0.5 - np.array(shape.center)
            beyond += (np.hypot(*at.T) > shape.radius + 1).sum()
    assert beyond > 1000
    without = [full_scene(s, difficulty=FLAT) for s in range(20)]
    assert all(shape.handle == (0, 0) for drawn in without for shape in drawn.shapes)


def test_occlusion_0_keeps_circles_apart_and_more_lets_them_overlap():
    def overlaps(occlusion):
        count = 0
        for seed in range(30):
            shapes = full_scene(seed, difficulty=replace(SMALL, occlusion=occlusion)).shapes
            for i, a in enumerate(shapes):
                for b in shapes[:i]:
                    distance = np.hypot(*np.subtract(a.center, b.center))
                    count += distance < a.radius + b.radius
        return count

    assert overlaps(0) == 0 < overlaps(0.3) < overlaps(0.6)


@pytest.mark.parametrize("contrast", [0.2, 0.5])
def test_contrast_is_the_distance_from_the_ground(contrast):
    difficulty = replace(FLAT, contrast=contrast)
    for seed in range(30):
        drawn = full_scene(seed, difficulty=difficulty)
        ground = drawn.image[drawn.owner < 0].astype(float)
        if not len(ground):
            continue
        for index in range(len(drawn.shapes)):
            inside = drawn.image[drawn.owner == index].astype(float)
            if len(inside) > 30:
                distance = np.linalg.norm(np.median(inside, 0) - np.median(ground, 0))
                assert distance > 255 * contrast - 4


def test_texture_0_is_flat():
    drawn = full_scene(3, difficulty=FLAT)
    ground = drawn.image[drawn.owner == -1]
    _, counts = np.unique(ground, axis=0, return_counts=True)
    assert counts.max() > 0.9 * len(ground)


@pytest.mark.parametrize("size, seeds", [(513, range(6)), (1041, range(2))])
def test_scenes_can_be_larger_than_the_photographs_of_their_textures(size, seeds):
    """Some of the seeds have a texture for a ground; mirrored, it goes on to the last row."""
    for seed in seeds:
        image, label = scene(seed, size)
        assert image.shape == (size, size, 3) and label.shape == (size, size)
        assert image[-32:].std() > 0


def test_splits_share_no_scene_and_items_are_scenes():
    ranges = [range(first, first + count) for first, count in scenes.SPLITS.values()]
    for i, a in enumerate(ranges):
        assert a[-1] < 2**32
        for b in ranges[:i]:
            assert a[-1] < b[0] or b[-1] < a[0]
    assert [len(Scenes(split)) for split in ("val", "test")] == [500, 1000]
    data = Scenes("val", size=48)
    image, label = data[7]
    raw, mask = scene(data.seed(7), 48)
    assert image.dtype == torch.float32 and label.dtype == torch.int64
    assert torch.equal(image, scenes.normalize(raw)) and (label.numpy() == mask).all()
    assert torch.equal(data[-1][0], data[499][0])
    with pytest.raises(IndexError):
        data[500]
    assert sum(1 for _ in Scenes("test", 3, size=32)) == 3


def test_normalize_centres_pixels_and_takes_batches():
    images = np.stack([scene(seed, 40)[0] for seed in range(3)])
    batch = scenes.normalize(images)
    assert batch.shape == (3, 3, 40, 40) and torch.equal(batch[1], scenes.normalize(images[1]))
    assert scenes.normalize(np.full((1, 1, 3), 255, np.uint8)).unique().tolist() == [1]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: scene(-1), r"seed -1: expected a whole number in \[0, 2\^32\)"),
        (lambda: scene(1.5), "seed 1.5: expected a whole number"),
        (lambda: scene(0, 16), "size 16: expected at least 32 pixels"),
        (lambda: scene(0, outline=-1), "outline -1: expected 0 or more"),
        (lambda: Difficulty(radius=(9, 4)), "expected 2 <= least <= largest"),
        (lambda: Difficulty(shapes=(0, 4)), "expected 1 <= least <= largest"),
        (lambda: Difficulty(thin=1.5), "thin 1.5: expected a share from 0 to 1"),
        (lambda: Difficulty(contrast=0.9), "contrast 0.9: expected a share from 0 to 0.6"),
        (lambda: Scenes("dev"), "split 'dev': expected train, val, test"),
        (lambda: Scenes("val", 501), "length 501: val has 1 to 500 scenes"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- What they are for ---------------------------------------------------------------------------


@pytest.mark.parametrize("field", field_size.FIELDS)
def test_the_networks_of_the_benchmark_have_the_field_they_are_named_for(field):
    found = receptive_fields(field_size.network(field).eval(), field)[""]
    assert found.size == (field, field)


def test_the_middle_of_a_shape_is_named_once_the_field_reaches_its_outline():
    """The benchmark's table, which is of today's scenes: it counts the same shapes by radius."""
    with (field_size.ASSETS / "field_size.csv").open() as file:
        rows = [[float(value) for value in row] for row in list(csv.reader(file))[1:]]
    right = {(field, low): accuracy for field, low, _, _, accuracy in rows}
    radii = field_size.middles(1500, 400_000_000)[2]
    for _, low, high, shapes, _ in rows:
        assert shapes == ((radii >= low) & (radii < high)).sum()
    assert all(right[7, low] < 0.25 for low in (11, 16, 22))  # chance is 0.2: 7 pixels see fill
    assert right[15, 8] > 0.9 and right[15, 22] < 0.25
    assert right[31, 16] > 0.9 and right[31, 22] < 0.8
    assert all(right[63, low] > 0.98 for low in (8, 11, 16, 22))


def test_a_scene_that_is_larger_than_its_textures_stays_the_same():
    """Their photographs are mirrored at the edge, from 512 pixels on."""
    image, _ = scene(7, 1041, SMALL)
    assert hashlib.sha256(image.tobytes()).hexdigest().startswith("33bebe862cd973e6")
