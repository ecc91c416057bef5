"""Tiles cover an image, their weights sum to 1, and blended they give what one pass gives."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_lite import ask, checkpoints, scenes
from deeplab_lite.tiles import ONE, blend, spans
from deeplab_lite.workshop.segment.segmenter import Segmenter, Settings


@given(
    st.integers(1, 3000), st.integers(65, 700), st.integers(0, 350), st.integers(0, 175),
    st.sampled_from([1, 4, 8, 16, 32]), st.sampled_from([0, 1, 2]),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_tiles_cover_every_pixel_and_their_weights_sum_to_1(
    length, tile, overlap, margin, stride, extra
):
    overlap = min(overlap, tile // 2 - stride - extra)
    if overlap < 0:
        return
    margin = min(margin, overlap // 2)
    cover = spans(length, tile, overlap, margin, stride, extra)
    total = np.zeros(length)
    for span in cover:
        assert span.first % stride == 0
        assert len(span.weights) == span.end - span.first and (span.weights >= 0).all()
        total[span.first : span.end] += span.weights
        if span.first:
            assert (span.weights[:margin] == 0).all()
        if span.end < length:
            assert (span.weights[len(span.weights) - margin :] == 0).all()
    assert cover[0].first == 0 and cover[-1].end == length
    assert np.allclose(total, 1, atol=1e-6)
    for one, other in pairwise(cover):
        assert one.end - other.first >= overlap
    if len(cover) > 1:
        assert all(span.end - span.first <= tile for span in cover)
        assert len({span.end - span.first for span in cover[:-1]}) == 1


def test_an_overlap_without_a_step_is_refused():
    with pytest.raises(ValueError, match=r"overlap 64: expected .* less than the tile of 65"):
        spans(500, 65, 64, 0, 16, 1)
    with pytest.raises(ValueError, match="overlap 10: expected 16 or more"):
        spans(500, 129, 10, 8, 16, 1)


def local(reach):
    """A "network" whose probabilities at a pixel depend on those up to `reach` away, 0 beyond.

    Probabilities of 3 classes, from box means of the colours.
    """

    def predict(image):
        sums = np.pad(image.astype(float), ((reach + 1, reach), (reach + 1, reach), (0, 0)))
        sums = sums.cumsum(0).cumsum(1)
        side = 2 * reach + 1
        means = (
            sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        )
        means = means + 1
        return (means / means.sum(-1, keepdims=True)).transpose(2, 0, 1).astype(np.float32)

    return predict


def by_tiles(image, predict, tile, overlap, margin, stride=8, extra=1):
    rows, columns = (spans(n, tile, overlap, margin, stride, extra) for n in image.shape[:2])
    parts = [
        (top, probs.astype(float) / ONE) for top, probs in blend(image, predict, rows, columns)
    ]
    assert [top for top, _ in parts] == [row.first for row in rows]
    return np.concatenate([probs for _, probs in parts], 1), len(rows) * len(columns)


@pytest.mark.parametrize("size", [(200, 333), (97, 500), (401, 98), (96, 97)])
def test_an_overlap_of_twice_the_reach_gives_the_answer_of_one_pass(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    predict = local(16)
    probs, tiles = by_tiles(image, predict, 97, 32, 16)
    assert np.abs(probs - predict(image)).max() < 3 / ONE
    assert tiles > 1 or max(size) <= 97
    if tiles > 1:  # and one that is smaller does not
        assert np.abs(by_tiles(image, predict, 97, 24, 8)[0] - predict(image)).max() > 100 / ONE


def mosaic(rows, columns):
    """Small scenes of 193 pixels side by side, cut to sides of 16 k + 1: uint8 (H, W, 3)."""
    seeds = np.arange(rows * columns).reshape(rows, columns) + 70
    image = np.vstack(
        [np.hstack([scenes.scene(int(i), 193, scenes.SMALL)[0] for i in row]) for row in seeds]
    )
    height, width = (1 + (side - 1) // 16 * 16 for side in image.shape[:2])
    return image[:height, :width]


def same_labels(model, picture, **choices):
    """The share of pixels that tiles and one pass give the same class, and what it was one of."""
    segmenter = Segmenter(Settings(model, **choices), "cpu")
    whole = segmenter.probabilities(picture).argmax(0)
    assert len(np.unique(whole)) > 4
    return (segmenter.labels(picture) == whole).mean(), segmenter


def test_v1_by_tiles_is_v1_in_one_pass():
    """Its field is finite: 128 pixels to each side at most."""
    picture = mosaic(1, 4)
    share, segmenter = same_labels("v1-small-scenes", picture, tile=545)
    assert segmenter.overlap == (256, 128)
    assert share > 0.9999


def test_with_image_pooling_tiles_are_close():
    """v3+ takes the mean of a tile for that of the picture."""
    share, segmenter = same_labels("v3plus-scenes", mosaic(2, 3), tile=257)
    assert segmenter.overlap == (64, 16)
    assert 0.9 < share < 1


def test_mirror_images_keep_tiles_on_the_grid():
    share, _ = same_labels("v1-small-scenes", mosaic(1, 3), tile=561, overlap=280, flip=True)
    assert share > 0.9999


def test_the_reach_follows_the_scales():
    """At half the size, each unit sees twice as far."""
    network = checkpoints.load("v1-small-scenes")
    one, half = (ask.reach(network, ask.Inference(scales=s)) for s in ((1.0,), (1.0, 0.5)))
    assert one == 128 and 2 * one - 16 <= half <= 2 * one + 32


def test_memory_is_that_of_one_row_of_tiles():
    """Not of the picture: here a tenth of what its probabilities would take."""
    image = np.zeros((3000, 200, 3), np.uint8)
    rows, columns = (spans(n, 97, 32, 16, 8, 1) for n in image.shape[:2])
    tracemalloc.start()
    for _ in blend(image, lambda tile: np.zeros((9, *tile.shape[:2]), np.float32), rows, columns):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 9 * 3000 * 200 * 4 / 10
