"""Tiles: they cover, their weights sum to 1, and blended they say what one pass says."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_lite import scenes
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
    found = spans(length, tile, overlap, margin, stride, extra)
    total = np.zeros(length)
    for span in found:
        assert span.first % stride == 0
        assert len(span.weights) == span.end - span.first and (span.weights >= 0).all()
        total[span.first : span.end] += span.weights
        if span.first:
            assert (span.weights[:margin] == 0).all()
        if span.end < length:
            assert (span.weights[len(span.weights) - margin :] == 0).all()
    assert found[0].first == 0 and found[-1].end == length
    assert np.allclose(total, 1, atol=1e-6)
    for one, other in pairwise(found):
        assert one.end - other.first >= overlap
    if len(found) > 1:
        assert all(span.end - span.first <= tile for span in found)
        assert len({span.end - span.first for span in found[:-1]}) == 1


def test_an_overlap_without_a_step_is_refused():
    with pytest.raises(ValueError, match=r"overlap 64: expected .* less than the tile of 65"):
        spans(500, 65, 64, 0, 16, 1)
    with pytest.raises(ValueError, match="overlap 10: expected 16 or more"):
        spans(500, 129, 10, 8, 16, 1)


def local(reach):
    """A "network" whose answer at a pixel is told by those up to `reach` away, 0 beyond the tile.

    Probabilities of 3 classes, from box means of the colours.
    """

    def ask(image):
        sums = np.pad(image.astype(float), ((reach + 1, reach), (reach + 1, reach), (0, 0)))
        sums = sums.cumsum(0).cumsum(1)
        side = 2 * reach + 1
        means = (
            sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        )
        means = means + 1
        return (means / means.sum(-1, keepdims=True)).transpose(2, 0, 1).astype(np.float32)

    return ask


def asked(image, ask, tile, overlap, margin, stride=8, extra=1):
    rows, columns = (spans(n, tile, overlap, margin, stride, extra) for n in image.shape[:2])
    parts = [(top, probs.astype(float) / ONE) for top, probs in blend(image, ask, rows, columns)]
    assert [top for top, _ in parts] == [row.first for row in rows]
    return np.concatenate([probs for _, probs in parts], 1), len(rows) * len(columns)


@pytest.mark.parametrize("size", [(200, 333), (97, 500), (401, 98), (96, 97)])
def test_an_overlap_of_twice_the_reach_gives_the_answer_of_one_pass(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    ask = local(16)
    found, tiles = asked(image, ask, 97, 32, 16)
    assert np.abs(found - ask(image)).max() < 3 / ONE
    assert tiles > 1 or max(size) <= 97
    if tiles > 1:  # and one that is smaller does not
        assert np.abs(asked(image, ask, 97, 24, 8)[0] - ask(image)).max() > 100 / ONE


def mosaic(rows, columns):
    """One picture of scenes side by side: uint8 (193 rows, 193 columns, 3)."""
    seeds = np.arange(rows * columns).reshape(rows, columns) + 70
    return np.vstack([np.hstack([scenes.scene(int(i), 193)[0] for i in row]) for row in seeds])


def same_labels(model, picture, **choices):
    """The share of pixels that tiles and one pass give the same class, and what it was one of."""
    by_tiles = Segmenter(Settings(model, **choices), "cpu")
    whole = by_tiles.probabilities(picture).argmax(0)
    assert len(np.unique(whole)) > 5
    return (by_tiles.labels(picture) == whole).mean(), by_tiles


def test_v1_by_tiles_is_v1_in_one_pass():
    """Its field is finite: 136 pixels to each side at most."""
    picture = mosaic(1, 4)
    share, by_tiles = same_labels("v1-small-scenes", picture, tile=545)
    assert by_tiles.reach == 136 and by_tiles.overlap() == (272, 136)
    assert share > 0.9999


def test_with_image_pooling_tiles_are_close():
    """v3+ takes the mean of a tile for that of the picture."""
    share, by_tiles = same_labels("v3plus-scenes", mosaic(2, 3), tile=257)
    assert by_tiles.reach is None and by_tiles.overlap() == (64, 16)
    assert 0.97 < share < 1


def test_mirror_images_keep_tiles_on_the_grid():
    share, _ = same_labels("v1-small-scenes", mosaic(1, 3), tile=561, overlap=280, flip=True)
    assert share > 0.9999


def test_the_reach_follows_the_scales():
    """At half the size, each unit sees twice as far."""
    one, half = (Segmenter(Settings("v1-small-scenes", s), "cpu").reach for s in ((1,), (1, 0.5)))
    assert one == 136 and 2 * one - 16 <= half <= 2 * one + 32


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
