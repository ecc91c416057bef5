"""Pictures: numbers go in and the right pixels come out."""

import io
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.figure import Figure
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from deeplab_lite import scenes
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.draw.differences import DIFFERENCES
from deeplab_lite.colors import voc_palette
from deeplab_lite.receptive_field import trace
from deeplab_lite.workshop.datasets import camvid

LABEL = np.zeros((40, 60), int)
PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def axes():
    return Figure(figsize=(4, 3)).add_subplot()


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


# ---- arrays ----


def test_palette_keeps_eight_classes_apart():
    lab = rgb2lab(draw.PALETTE / 255)
    assert min(deltaE_ciede2000(a, b) for a, b in combinations(lab, 2)) > 20


def test_paint_gives_each_class_of_the_scenes_its_own_colour_and_void_white():
    label = np.arange(9).reshape(3, 3)
    assert len(np.unique(draw.paint(label).reshape(-1, 3), axis=0)) == 9
    lab = rgb2lab(draw.SCENE_PALETTE / 255)
    assert min(deltaE_ciede2000(a, b) for a, b in combinations(lab, 2)) > 18
    assert draw.paint(np.full((1, 1), 255)).tolist() == [[[255, 255, 255]]]
    assert (draw.paint(label, draw.PALETTE[[2] * 9]) == draw.PALETTE[2]).all()
    with pytest.raises(ValueError, match=r"label 9 at \(0, 0\): the palette has colours for 0..8"):
        draw.paint([[9]])
    with pytest.raises(ValueError, match=r"dtype float64 and shape \(2,\): expected integers"):
        draw.paint([0.5, 1])


MACHADO = {  # sRGB as other eyes see it, by Machado, Oliveira and Fernandes (2009)
    "normal": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("eyes", MACHADO)
def test_a_colour_that_means_wrong_is_far_from_classes_and_greys_and_its_like(eyes):
    def lab(colors):
        unit = np.asarray(colors, float) / 255
        linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
        linear = np.clip(linear @ np.transpose(MACHADO[eyes]), 0, 1)
        unit = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        return rgb2lab(unit)

    def least(others):
        return deltaE_ciede2000(marks[:, None], lab(others)[None]).min()

    kinds = [*draw.ERRORS.values(), *draw.CHANGES.values(), *draw.DISAGREEMENT.values()]
    used = sorted({tuple(color.tolist()) for _, color in kinds})
    marks = lab(used)
    assert min(deltaE_ciede2000(a, b) for a, b in combinations(marks, 2)) > 22
    assert least(draw.grey(np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, -1, 3))[0]) > 12
    assert least(draw.SCENE_PALETTE) > (18 if eyes == "normal" else 8)
    assert least([*voc_palette(21), *camvid.PALETTE]) > (16 if eyes == "normal" else 8)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
def test_png_keeps_every_pixel(shape):
    array = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    for level in (1, 9):
        back = np.asarray(Image.open(io.BytesIO(draw.png(array, level=level))))
        assert np.array_equal(back, array)


def test_png_of_few_colors_is_smaller_and_keeps_white_the_palette_and_differences():
    array = np.repeat(np.repeat(PHOTO, 4, 0), 4, 1)
    array[:8], array[8, :8], array[9, :4] = 255, draw.PALETTE, DIFFERENCES
    back = decoded(draw.png(array, level=9, colors=32))
    assert len(draw.png(array, level=9, colors=32)) < len(draw.png(array, level=9)) / 2
    assert (back[:8] == 255).all() and np.array_equal(back[8, :8], draw.PALETTE)
    assert np.array_equal(back[9, :4], DIFFERENCES)
    assert np.abs(back.astype(int) - array).mean() < 25
    assert len(np.unique(back.reshape(-1, 3), axis=0)) <= 32 + 13


def test_png_of_few_colors_is_near_the_rare_colors_as_well():
    image = scenes.scene(8)[0]  # orange, with some violet bricks and their light joints
    array = np.hstack([image, draw.grey(image)])
    far = np.abs(decoded(draw.png(array, colors=96)).astype(int) - array).max(-1) > 40
    assert far.mean() < 0.001


def test_overlay_tints_classes_and_leaves_the_background():
    label = np.zeros((40, 60), int)
    label[10:30, 10:30], label[32:38, :] = 2, 255
    out = draw.overlay(PHOTO, label, alpha=0.5)
    assert np.array_equal(out[label == 0], PHOTO[label == 0])
    middle = (slice(12, 28), slice(12, 28))
    assert np.abs(out[middle] - (PHOTO[middle] / 2 + draw.PALETTE[2] / 2)).max() <= 0.5
    assert np.abs(out[35] - (PHOTO[35] / 2 + 80)).max() <= 0.5  # void: grey
    assert np.abs(out[10, 20] - draw.PALETTE[2].astype(int)).max() <= 13  # the outline
    assert np.array_equal(draw.overlay(PHOTO, label, alpha=0), PHOTO)
    assert (draw.overlay(PHOTO, label, alpha=1)[middle] == draw.PALETTE[2]).all()


def test_heat_marks_the_highest_value_and_leaves_the_lowest_grey():
    values = np.zeros((4, 6))
    values[1, 2] = 1
    out = draw.heat(PHOTO, values).astype(int)
    hot = np.zeros((40, 60), bool)
    hot[10:20, 20:30] = True  # one cell of the map is ten pixels of the photo
    assert np.ptp(out[~hot], axis=1).max() == 0  # no colour at all
    assert (np.ptp(out[hot], axis=1) > 60).all()
    smooth = draw.heat(PHOTO, values, smooth=True).astype(int)
    assert 0 < np.ptp(smooth[15, 18]) < np.ptp(smooth[15, 25])


def test_a_heat_bar_has_the_colours_of_heat():
    figure = Figure()
    bar = draw.heat_bar(figure, figure.add_subplot(), "probability")
    ground = np.full((1, 3, 3), 128, np.uint8)
    expected = draw.heat(ground, np.array([[0, 0.5, 1]]), vmin=0, vmax=1)[0] / 255
    assert np.allclose(bar.cmap([0, 0.5, 1.0])[:, :3], expected, atol=0.02)
    assert (bar.vmin, bar.vmax, bar.ax.get_ylabel()) == (0, 1, "probability")


def test_heat_keeps_to_the_scale_it_is_given():
    flat = np.full((40, 60), 0.5)
    assert np.array_equal(draw.heat(PHOTO, flat, vmin=0.5, vmax=1), draw.heat(PHOTO, 0 * flat))
    bright = draw.heat(PHOTO, flat, vmin=0, vmax=0.5).astype(int)
    assert np.ptp(bright, axis=2).min() > 60


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: draw.png(PHOTO / 255), r"dtype float64 .* expected uint8"),
        (lambda: draw.png(PHOTO[..., :2]), r"shape \(40, 60, 2\)"),
        (lambda: draw.overlay(PHOTO / 255, LABEL), "a float image in 0..1"),
        (lambda: draw.overlay(PHOTO[..., 0], LABEL), r"expected uint8 \(H, W, 3\)"),
        (lambda: draw.overlay(PHOTO, LABEL[1:]), r"expected integers of shape \(40, 60\)"),
        (lambda: draw.overlay(PHOTO, np.zeros((40, 60))), "labels of dtype float64"),
        (lambda: draw.overlay(PHOTO, np.eye(40, 60, 3, int) * 8), r"label 8 at \(0, 3\).* 0..7"),
        (lambda: draw.overlay(PHOTO, np.full((40, 60), -1)), r"label -1 at \(0, 0\)"),
        (lambda: draw.overlay(PHOTO, LABEL, alpha=1.5), "alpha 1.5 is not between"),
        (lambda: draw.heat(PHOTO, np.full((2, 2), np.nan)), r"is nan at \(0, 0\)"),
        (lambda: draw.heat(PHOTO, np.zeros(3)), r"shape \(3,\): expected two dimensions"),
        (lambda: draw.heat(PHOTO, np.zeros((0, 3))), "expected two dimensions"),
        (lambda: draw.tap_grid(np.array([[1, -1]]), axes()), "negative or not whole"),
        (lambda: draw.tap_grid(np.array([[1, 0.5]]), axes()), "negative or not whole"),
        (lambda: draw.tap_grid(np.ones(3), axes()), "expected two dimensions"),
        (lambda: draw.box(((5, 4), (0, 9)), axes()), r"y0 <= y1 and x0 <= x1"),
        (lambda: draw.show(None, axes()), "an image of dtype object"),
    ],
)
def test_bad_input_gets_one_clear_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ---- axes ----


def test_style_is_white_and_readable():
    with mpl.rc_context():
        draw.style()
        assert mpl.rcParams["figure.facecolor"] == mpl.rcParams["savefig.facecolor"] == "white"
        assert mpl.rcParams["font.size"] >= 10 and mpl.rcParams["figure.constrained_layout.use"]
        cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
        assert set(cycle) <= set(draw.COLORS.values())


def test_show_puts_pixels_on_whole_numbers_with_a_margin_around():
    ax = draw.show(PHOTO, axes(), margin=10)
    assert ax.get_xlim() == (-10.5, 69.5) and ax.get_ylim() == (49.5, -10.5)
    assert np.array_equal(ax.images[0].get_array(), PHOTO)


def test_box_encloses_its_pixels_and_no_others():
    ax = draw.box(((2, 4), (-3, 6)), draw.show(PHOTO, axes()), label="field")
    assert ax.patches[0].get_bbox().extents.tolist() == [-3.5, 1.5, 6.5, 4.5]
    assert [text.get_text() for text in ax.texts] == ["field"]


def test_pixels_needs_no_pyplot():
    figure = Figure(figsize=(2, 1), dpi=50)
    assert draw.pixels(figure).shape == (50, 100, 3)


def test_a_tap_grid_names_every_count_and_hatches_every_hole():
    counts = np.outer([1, 0, 2, 0, 1], [1, 0, 2, 0, 1])
    ax = draw.tap_grid(counts, axes())
    named = {tuple(map(int, text.get_position())): int(text.get_text()) for text in ax.texts}
    assert named == {(x, y): counts[y, x] for y, x in np.argwhere(counts)}
    (holes,) = ax.patches
    assert len(holes.get_path().vertices) == 5 * np.count_nonzero(counts == 0) and holes.get_hatch()
    assert not draw.tap_grid(np.ones((40, 40), int), axes()).texts


def test_darker_means_read_more_often_and_only_holes_are_white():
    counts = np.array([[0, 1, 2, 3, 5, 9, 49, 1000]])
    shade, color = draw.tap_shade(counts)[0], draw.tap_colors(counts)[0].astype(int)
    assert (np.diff(shade) > 0).all() and shade[0] == 0 and shade[-1] == 1
    assert (color[0] == 255).all() and (np.diff(color.sum(1)) < 0).all()
    # the count that is written in a cell can be read: white on dark, dark on light
    for c, s in zip(color[1:], shade[1:], strict=True):
        ink = np.array([255] * 3 if s > 0.55 else [16, 24, 32])
        assert contrast(c, ink) > 3.5


def contrast(a, b):
    """WCAG contrast ratio of two colours."""
    linear = [
        np.where(c <= 10, c / 255 / 12.92, ((c / 255 + 0.055) / 1.055) ** 2.4) for c in (a, b)
    ]
    low, high = sorted(float(c @ (0.2126, 0.7152, 0.0722)) + 0.05 for c in linear)
    return high / low


def test_a_cone_shows_every_tap_and_how_often_pixels_are_read():
    layers = [(3, 2, "same"), (3, 1, 1, 2)]
    seen = trace(layers, 21, 3)
    ax = draw.cone(layers, 21, 3, ax=axes())
    lines = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert sum(len(c.get_segments()) for c in lines) == sum(map(len, seen.edges))
    dots = [c for c in ax.collections if isinstance(c, EllipseCollection)]
    at = {tuple(p) for c in dots for p in np.asarray(c.get_offsets())}
    assert {(float(x), 0.0) for x in range(21)} <= at
    bars = [p for p in ax.patches if hasattr(p, "get_height") and p.get_height()]
    tallest = -min(p.get_height() for p in bars)
    read = {round(p.get_x() + 0.28): -p.get_height() / tallest * max(seen.counts[0]) for p in bars}
    assert read == pytest.approx({x: count for x, count in enumerate(seen.counts[0]) if count})


def test_a_cone_without_output_says_so():
    ax = draw.cone([(7,), (7,)], 8, ax=axes())
    assert any("no output" in text.get_text() for text in ax.texts)


def test_new_figures_are_made_where_no_axes_are_given():
    from matplotlib import pyplot as plt

    backend = mpl.get_backend()
    plt.switch_backend("agg")
    try:
        assert draw.cone([(3,)], 9).figure is plt.gcf()
    finally:
        plt.close("all")
        plt.switch_backend(backend)
