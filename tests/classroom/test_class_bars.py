"""Bars of the classes: the right lengths in the right order, and every number to be read."""

import itertools
import math

import matplotlib as mpl
import pytest
from apart import assert_apart
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from skimage.color import rgb2lab

from deeplab_lite.classroom import draw
from deeplab_lite.classroom.draw.classes import BARS
from deeplab_lite.workshop.datasets.camvid import CLASSES

FIRST = {name: 0.95 - 0.07 * ((3 * place) % 11) for place, name in enumerate(CLASSES)}
SECOND = {name: value - 0.02 * (place % 3) for place, (name, value) in enumerate(FIRST.items())}
NOTHING = float("nan")


def drawn(scores):
    """Axes of the size that a lesson gets, and their renderer."""
    figure = Figure(figsize=(7.5, 0.8 + 0.13 * 12 * (1 + len(scores))), dpi=96)
    figure.set_layout_engine("constrained")
    ax = draw.class_bars(scores, figure.add_subplot())
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return ax, canvas.get_renderer()


def lengths(ax):
    return [[bar.get_width() for bar in network] for network in ax.containers]


def test_classes_are_sorted_by_the_first_network_and_the_mean_stands_last():
    ax, _ = drawn({"v3+": FIRST, "LargeFOV": SECOND})
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [*sorted(FIRST, key=FIRST.get, reverse=True), "mIoU"]
    for found, given in zip(lengths(ax), (FIRST, SECOND), strict=True):
        wanted = [given[name] for name in names[:-1]]
        assert found == pytest.approx([*wanted, sum(given.values()) / 11])
    tops = [min(bar.get_y(), bar.get_y() + bar.get_height()) for bar in ax.containers[0]]
    assert tops == sorted(tops) and ax.yaxis_inverted()  # the best class is on top


def test_every_value_is_printed_beside_its_bar():
    ax, _ = drawn({"v3+": FIRST, "LargeFOV": SECOND})
    bars = [bar for network in ax.containers for bar in network]
    assert [text.get_text() for text in ax.texts] == [f"{bar.get_width():.2f}" for bar in bars]
    for text, bar in zip(ax.texts, bars, strict=True):
        assert text.xy == pytest.approx((bar.get_width(), bar.get_y() + bar.get_height() / 2))


def test_the_order_of_a_network_s_own_dict_does_not_matter():
    scores = {"one": FIRST, "other": SECOND}
    turned = {"one": FIRST, "other": dict(reversed(SECOND.items()))}
    assert lengths(drawn(scores)[0]) == lengths(drawn(turned)[0])


def test_a_class_that_nothing_has_gets_a_dash_and_counts_nothing():
    some = FIRST | {"Fence": NOTHING}
    ax, _ = drawn({"v3+": some})
    assert [label.get_text() for label in ax.get_yticklabels()][-2:] == ["Fence", "mIoU"]
    assert [text.get_text() for text in ax.texts][-2] == "-"
    kept = [value for value in some.values() if not math.isnan(value)]
    assert lengths(ax)[0][-1] == pytest.approx(sum(kept) / 10)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_no_two_labels_overlap_and_all_are_inside(count):
    with mpl.rc_context({"font.size": 11, "axes.labelsize": 10.5, "ytick.labelsize": 9.5}):
        ax, renderer = drawn(dict(list(zip("abcd", [FIRST, SECOND] * 2, strict=True))[:count]))
    texts = [*ax.texts, *ax.get_yticklabels(), ax.xaxis.label]
    texts += ax.get_legend().get_texts() if ax.get_legend() else []
    assert_apart(ax.figure, renderer, texts)


def test_neighbouring_bars_differ_in_grey_too():
    lightness = [rgb2lab([[to_rgb(draw.COLORS[name])]])[0, 0, 0] for name in BARS]
    assert all(abs(a - b) > 8 for a, b in itertools.pairwise(lightness))


WRONG = {
    "none": ({}, "0 networks: expected 1 to 4 side by side"),
    "five": (dict.fromkeys("abcde", FIRST), "5 networks"),
    "classes": ({"a": FIRST, "b": {"Sky": 0.5}}, "a class of only one of a and b"),
    "per cent": ({"a": {"Sky": 0.5}, "b": {"Sky": 66.9}}, "Sky of b is 66.9: expected an IoU"),
    "no classes": ({"a": {}}, "no score of any class"),
    "nothing": ({"a": {"Sky": NOTHING}}, "no score of any class"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_scores_get_a_sentence(name):
    scores, sentence = WRONG[name]
    with pytest.raises(ValueError, match=sentence):
        draw.class_bars(scores, Figure().add_subplot())
