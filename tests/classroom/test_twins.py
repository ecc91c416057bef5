"""A twin shows what its widget's state says, and a legend names its colours; and so do canvases."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from deeplab_lite import metrics
from deeplab_lite.atrous import tap_counts
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets import (
    ASPPExplorer,
    BoundaryMicroscope,
    CRFPlayground,
    DilationExplorer,
    FieldOnPhoto,
    RatesLab,
    ReceptiveFieldExplorer,
    rates_lab,
)
from deeplab_lite.receptive_field import trace

GREY = np.full((96, 128, 3), 128, np.uint8)


def shown(ax):
    return np.asarray(ax.images[0].get_array())


def test_the_dilation_twin_writes_how_often_each_pixel_is_read(twin_figure):
    fig = twin_figure(DilationExplorer([1, 2]))
    (whole,) = (ax for ax in fig.axes if ax.texts)
    numbers = {tuple(map(int, text.get_position())): int(text.get_text()) for text in whole.texts}
    counts = tap_counts([1, 2], 3)
    assert numbers == {(x, y): count for (y, x), count in np.ndenumerate(counts) if count}
    names = [ax.get_title() for ax in fig.axes if ax.get_title().startswith("layer")]
    assert names == ["layer 1, rate 1:\nacts as 3×3", "layer 2, rate 2:\nacts as 5×5"]


def test_the_field_twin_names_units_and_fields_of_each_layer(twin_figure):
    widget = ReceptiveFieldExplorer([(3, 2, "same"), (3, 1, 0, 2)], n=21, unit=1)
    texts = [text.get_text() for text in twin_figure(widget).axes[0].texts]
    cone = trace([(3, 2, "same", 1), (3, 1, 0, 2)], 21, 1, 2)
    assert f"k3 s2: {cone.sizes[1]} units, field {cone.fields[1].size}" in texts
    assert f"k3 s1 d2: {cone.sizes[2]} units, field {cone.fields[2].size}" in texts
    low, high = cone.spans[0]
    assert widget.alt().startswith("Receptive field of unit 1 of layer 2: ")
    assert f" {high - low + 1} pixels, {low} to {high}, " in widget.alt().replace("−", "-")


def test_the_photo_twin_is_cut_to_the_field(twin_figure):
    widget = FieldOnPhoto(GREY, ["alexnet"], layer="features.5", unit=(2, 3))
    field = next(row for row in widget.fields["alexnet"] if row[0] == "features.5")
    _, right = twin_figure(widget).axes
    low = [u * step - pad for u, step, pad in zip((2, 3), field[3], field[4], strict=True)]
    assert right.get_ylim() == (low[0] + field[2][0] - 0.5, low[0] - 0.5)
    assert right.get_xlim() == (low[1] - 0.5, low[1] + field[2][1] - 0.5)


def test_the_rates_twin_frames_the_score_of_its_setting(twin_figure):
    key = (8, (6, 12, 18), (1, 2, 1))
    left, right = twin_figure(RatesLab(*key)).axes
    for frame, setting in zip(right.patches[-2:], (rates_lab.TRAINED, key), strict=True):
        at = frame.get_x() + 0.5, frame.get_y() + 0.5
        (score,) = (text.get_text() for text in right.texts if text.get_position() == at)
        assert score == f"{rates_lab.settings()[setting].miou:.2f}"
    assert left.get_title("left").startswith("map of 41×41; taps of rates ● 6, ■ 12, ▲ 18")


@pytest.fixture(scope="module")
def aspp():
    return ASPPExplorer(on=[True, False, True, True])


def overlaid(widget, labels):
    return draw.overlay(draw.grey(widget._scene.image), labels, 0.75, draw.SCENE_PALETTE)


@pytest.mark.parametrize("view", ["labels", "errors"])
def test_the_aspp_twin_shows_the_sum_and_each_branch(aspp, twin_figure, view):
    aspp.view = view
    fig = twin_figure(aspp)
    image, truth, together, *branches = fig.axes
    scene, labels = aspp._scene, aspp.result.labels
    assert np.array_equal(shown(image), scene.image)
    assert np.array_equal(shown(truth), overlaid(aspp, scene.label))
    wrong = draw.errors(scene.image, labels, scene.label)
    assert np.array_equal(shown(together), overlaid(aspp, labels) if view == "labels" else wrong)
    for n, ax in enumerate(branches):
        alone = ASPPExplorer.result.fget  # of one branch at a time
        on = list(aspp.on)
        aspp.on = [n == other for other in range(4)]
        assert np.array_equal(shown(ax), overlaid(aspp, alone(aspp).labels))
        aspp.on = on
        assert (ax.images[0].get_alpha() == 0.35) == (not on[n])


def test_the_boundary_twin_shows_the_band_and_its_errors(twin_figure):
    widget = BoundaryMicroscope(seeds=[23], models=("v1", "v3"), width=3, view="errors")
    fig = twin_figure(widget)
    known, (top, left, side) = widget._known[23], widget.shown
    cut = np.s_[top : top + side, left : left + side]
    band = metrics.trimap(known.truth, 3).numpy()
    assert np.array_equal(shown(fig.axes[1]), known.image[cut])
    assert np.array_equal(shown(fig.axes[2]), draw.banded(known.image, known.truth, band)[cut])
    for ax, labels in zip(fig.axes[3:], known.maps.values(), strict=True):
        picture = draw.band_errors(known.image, labels, known.truth, band)
        assert np.array_equal(shown(ax), picture[cut])


@pytest.mark.parametrize(
    "widget, names",
    [
        (lambda: CRFPlayground("small scene", 7, "changes"), list(draw.CHANGES)),
        (lambda: BoundaryMicroscope(seeds=[7], models=["v1"], view="errors"), list(draw.ERRORS)),
    ],
)
def test_a_legend_names_each_kind_in_its_colour(twin_figure, widget, names):
    (legend,) = twin_figure(widget()).legends
    kinds = {**draw.CHANGES, **draw.ERRORS}
    assert [text.get_text().partition(":")[0] for text in legend.get_texts()] == names
    for patch, name in zip(legend.get_patches(), names, strict=True):
        assert np.allclose(to_rgb(patch.get_facecolor()), kinds[name][1] / 255)


def test_a_legend_without_rows_is_none_and_html_is_escaped():
    fig = Figure(layout="constrained")
    draw.legend(fig, [])
    assert fig.legends == []
    text = draw.legend_html([("a < b", (1, 2, 255)), ("c", "#abcdef")], "classes", "(IoU)")
    assert "a &lt; b" in text and "background:#0102ff" in text and "background:#abcdef" in text
    assert text.index("classes") < text.index("a &lt; b") < text.index("(IoU)")


ALPHA = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [...data].filter((_, n) => n % 4 === 3);
}"""


def test_the_aspp_canvases_are_painted_where_the_labels_are(aspp, widget_page):
    aspp.view = "labels"
    mounted = widget_page(aspp)
    mounted.drawn()
    truth, together = (mounted.page.locator("canvas").nth(place) for place in (0, 1))

    label, labels = aspp._scene.label, aspp.result.labels

    def alpha(canvas):
        return np.array(canvas.evaluate(ALPHA)).reshape(label.shape)

    expected = np.where(label == 255, 150, np.where(label > 0, 191, 0))
    assert np.array_equal(alpha(truth), expected)
    mounted.set(view="errors")
    mounted.drawn()
    kinds = draw.error_kinds(labels, label)
    wrong = (label != 255) & (labels != label)
    assert wrong.any() and np.array_equal(wrong, (kinds > 0) & (kinds < 4))
    assert np.array_equal(alpha(together) == 217, wrong)
    assert mounted.errors == []
