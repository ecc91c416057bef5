"""CRF playground: sliders have their pictures, scores their pixels, wrong words their answers."""

import importlib.util
import io

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from deeplab_lite import metrics, scenes
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.draw.segmentation import GAP
from deeplab_lite.classroom.widgets import CRFPlayground, _unaries, crf_playground, refinement
from deeplab_lite.classroom.widgets.refinement import PAPERS, VIEWS, CRFSettings, Refined
from deeplab_lite.crf import dense_crf

SMALL = _unaries.of_scene(23, 65)


@pytest.fixture(scope="module")
def scene():
    return _unaries.of_scene(23)


@pytest.fixture(scope="module")
def refined(scene):
    return Refined(scene, CRFSettings())


@pytest.fixture(scope="module")
def made():
    return CRFPlayground("small scene", seed=3)


@pytest.fixture
def widget(made):
    made.source.value, made.seed.value, made.backend.value = "small scene", 3, "lattice"
    made._set(CRFSettings())
    made.view.value = "after"
    return made


# ---- What it starts from ----


def test_a_scene_comes_with_what_v1_says_of_it(scene):
    assert scene.image.shape == (321, 321, 3) and scene.probs.shape == (9, 321, 321)
    assert np.allclose(scene.probs.sum(0), 1, atol=1e-5)
    assert 255 in scene.label and 255 not in scene.edges


@pytest.mark.parametrize("name", _unaries.THINGS)
def test_a_photograph_comes_shrunk_with_two_classes(name):
    start = _unaries.of_photo(name)
    height, width = start.image.shape[:2]
    assert max(height, width) == _unaries.SIDE and start.probs.shape == (2, height, width)
    assert start.classes == (f"not {_unaries.THINGS[name][0]}", _unaries.THINGS[name][0])
    assert set(np.unique(start.label)) == {0, 1, 255} and set(np.unique(start.edges)) >= {0, 1}
    # The thing is likelier in its mask than outside of it: image, map and mask lie on each other.
    inside = start.probs[1][start.label == 1].mean()
    assert inside > 2 * start.probs[1][start.label == 0].mean()


# ---- One answer ----


def test_the_answer_is_that_of_dense_crf(scene, refined):
    expected = dense_crf(scene.probs, scene.image, backend="lattice")
    assert np.array_equal(refined.marginals, expected)
    assert np.array_equal(refined.before, scene.probs.argmax(0))
    assert np.array_equal(refined.after, expected.argmax(0))


def test_no_iteration_changes_nothing(scene):
    found = Refined(scene, CRFSettings(iterations=0))
    assert not found.kinds.any() and refinement.changed(found).startswith("The CRF gives 0 pixels")


def test_the_papers_settings():
    assert PAPERS["v1"][:5] == (5, 50, 3, 3, 3) and PAPERS["COCO"][:5] == (5, 67, 3, 3, 3)
    assert {(p.iterations, p.temperature, p.objects) for p in PAPERS.values()} == {(10, 1, 1)}


@pytest.mark.parametrize("temperature, surer", [(0.5, True), (2.0, False)])
def test_temperature_makes_the_network_surer_or_less(scene, temperature, surer):
    heated = refinement.heated(scene.probs, temperature)
    assert np.allclose(heated.sum(0), 1, atol=1e-5)
    assert ((heated.max(0) >= scene.probs.max(0) - 1e-6) == surer).mean() > 0.8
    assert (heated.argmax(0) == scene.probs.argmax(0)).mean() > 0.999
    assert refinement.heated(scene.probs, 1) is scene.probs
    with pytest.raises(ValueError, match="temperature 0: expected a number above 0"):
        refinement.heated(scene.probs, 0)


def test_penalties_are_potts_unless_objects_are_told_apart():
    assert refinement.penalties(3, 1).tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert refinement.penalties(3, 0.5).tolist() == [[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]
    free = Refined(SMALL, CRFSettings(objects=0.0)).marginals
    assert np.abs(free - Refined(SMALL, CRFSettings()).marginals).max() > 0.01


def test_scores_are_those_of_metrics(scene, refined):
    truth, near = refined.scores.values()
    exact = scenes.scene(23, outline=0)[1]
    band = metrics.trimap(exact, 2).numpy()
    for place, labels in enumerate((refined.before, refined.after)):
        whole = metrics.confusion_matrices(labels, scene.label, 9)[0]
        assert truth[place] == pytest.approx(float(metrics.miou(whole)))
        part = np.where(band, scene.label, 255)
        rim = metrics.confusion_matrices(labels, part, 9)[0]
        assert near[place] == pytest.approx(float(metrics.miou(rim)))
    assert truth[1] > truth[0] + 0.03 and near[1] > near[0] + 0.1


def test_every_view_is_made_of_three_pictures(scene, refined):
    seen = set()
    for view in VIEWS:
        panels = refinement.panels(refined, view, "disc")
        assert list(panels)[:2] == ["image", "before"] and len(panels) == 3
        frame = refinement.frame(refined, view, "disc")
        assert frame.dtype == np.uint8 and frame.shape == (321, 3 * 321 + 2 * GAP, 3)
        seen.add(frame.tobytes())
        picture = refinement.picture(refined, view, "disc")
        assert picture.dtype == np.uint8 and picture.shape[1] == 760
        seen.add(picture.tobytes())
        assert len(draw.png(picture, level=9, colors=CRFPlayground.colors)) < 90_000
    assert len(seen) == 2 * len(VIEWS) and plt.get_fignums() == []
    same = refinement.panels(refined, "marginal", "disc")["marginal of “disc”"]
    assert np.array_equal(same, draw.heat(scene.image, refined.marginals[1], 0.85, 0, 1))


def test_a_legend_names_the_classes_that_are_painted():
    refined = Refined(SMALL._replace(label=np.full_like(SMALL.label, 4)), CRFSettings())
    painted = {SMALL.classes[k] for k in np.union1d(refined.before, refined.after)}
    before = {SMALL.classes[k] for k in np.unique(refined.before)}
    assert {name for name, _ in refinement.legend(refined, "after")} == painted
    assert "star" not in painted
    assert {name for name, _ in refinement.legend(refined, "truth")} == before | {"star"}


def test_what_there_is_no_view_of_is_named(refined):
    with pytest.raises(ValueError, match="view 'before': expected one of after, changes"):
        refinement.panels(refined, "before", "disc")
    with pytest.raises(ValueError, match="class 'cat': the classes of this image are background"):
        refinement.panels(refined, "marginal", "cat")
    blind = Refined(SMALL._replace(label=None, edges=None), CRFSettings())
    assert blind.scores == {} and refinement.views(blind.start) == ["after", "changes", "marginal"]
    assert "nobody knows" in refinement.describe(blind)
    with pytest.raises(ValueError, match="truth needs labels"):
        refinement.panels(blind, "truth", "disc")


def test_the_sentences_count_pixels(refined):
    changed = (refined.before != refined.after).sum()
    fixed = ((refined.before != refined.start.label) & (refined.after == refined.start.label)).sum()
    text = refinement.describe(refined)
    assert f"gives {changed:,} pixels" in text and f"{fixed:,} fixed" in text
    assert "mIoU 0.607 before" in text and "within 2 pixels of an edge" in text


@pytest.mark.parametrize(
    "settings, words",
    [
        (CRFSettings(), "the settings of v1"),
        (CRFSettings(sigma_xy=67, backend="exact"), "the settings of COCO"),
        (
            CRFSettings(w_smooth=0, temperature=0.5),
            "w_appearance 5, sigma_xy 50, sigma_rgb 3, w_smooth 0, sigma_smooth 3, iterations 10, "
            "temperature 0.5",
        ),
    ],
)
def test_settings_are_told_by_name_where_they_have_one(settings, words):
    assert refinement.in_words(settings) == words


# ---- The widget ----


def shown(widget):
    return np.asarray(Image.open(io.BytesIO(widget.image.value)).convert("RGB"))


@pytest.mark.parametrize(
    "name, value",
    [
        ("w_appearance", 12.0),
        ("sigma_xy", 8.0),
        ("sigma_rgb", 30.0),
        ("w_smooth", 12.0),
        ("sigma_smooth", 9.0),
        ("iterations", 0),
        ("temperature", 3.0),
        ("objects", 0.0),
    ],
)
def test_every_slider_changes_the_marginals(widget, name, value):
    before = widget.result.marginals
    widget.view.value = "marginal"
    widget.sliders[name].value = value
    assert getattr(widget.settings, name) == value
    assert np.abs(widget.result.marginals - before).max() > 1e-4
    frame = refinement.frame(widget.result, "marginal", widget.class_name.value)
    assert np.array_equal(shown(widget), frame) and "alert" not in widget.note.value


@pytest.mark.parametrize("name", crf_playground.SLIDERS)
def test_both_ends_of_every_slider_have_an_answer(widget, name):
    slider = widget.sliders[name]
    for value in (slider.min, slider.max):
        slider.value = value
        assert "alert" not in widget.note.value and np.isfinite(widget.result.marginals).all()


def test_every_source_brings_its_classes_and_its_backends(widget):
    for source in widget.source.options:
        widget.source.value = source
        start = widget.result.start
        assert widget.class_name.options == start.classes and "alert" not in widget.note.value
        assert ("exact" in widget.backend.options) == (start.image[..., 0].size <= 9_216)
        reference = importlib.util.find_spec("pydensecrf") is not None
        assert ("pydensecrf" in widget.backend.options) == reference
        assert (widget.seed.layout.display == "none") == (source not in crf_playground.SIZES)
        assert np.array_equal(shown(widget), refinement.frame(widget.result, "after", ""))


def test_all_pairs_give_way_where_the_image_is_too_large(widget):
    widget.backend.value = "exact"
    assert widget.settings.backend == "exact" and "alert" not in widget.note.value
    exact = widget.result.after
    widget.backend.value = "lattice"
    assert (widget.result.after == exact).mean() > 0.97
    widget.backend.value = "exact"
    widget.source.value = "scene"
    assert widget.backend.value == "lattice" and "alert" not in widget.note.value


def test_a_paper_s_settings_come_back_with_a_click(widget):
    for name in widget.sliders:
        widget.sliders[name].value = widget.sliders[name].max
    for button in widget.papers:
        button.click()
        assert widget.settings == PAPERS[button.description]
        assert f"the settings of {button.description}" in widget.alt()


def test_views_and_classes_change_the_picture(widget):
    seen = {widget.image.value}
    for view in ("changes", "truth", "marginal"):
        widget.view.value = view
        seen.add(widget.image.value)
        assert widget.class_name.layout.visibility == (
            "visible" if view == "marginal" else "hidden"
        )
    for name in ("background", "star"):
        widget.class_name.value = name
        seen.add(widget.image.value)
    assert len(seen) == 6


def test_what_goes_wrong_is_said_in_the_widget(widget, monkeypatch):
    def broken(*args, **options):
        raise MemoryError("2 GiB are needed & <1> is free")

    before = widget.image.value
    with monkeypatch.context() as patch:
        patch.setattr(refinement, "dense_crf", broken)
        widget.sliders["sigma_xy"].value = 33.0
    assert 'role="alert"' in widget.note.value and "&amp; &lt;1&gt; is free" in widget.note.value
    assert widget.image.value == before
    widget.sliders["sigma_xy"].value = 34.0
    assert "alert" not in widget.note.value


def test_the_state_is_told(widget):
    assert widget.alt().startswith("Dense CRF on scene 3 with the settings of v1. The CRF gives")


def test_your_own_image_takes_the_scenes_place():
    two = np.stack([1 - SMALL.probs[1], SMALL.probs[1]])
    widget = CRFPlayground(
        image=SMALL.image, probs=two, classes=("rest", "disc"), view="marginal", sigma_rgb=12.0
    )
    assert widget.settings.sigma_rgb == 12 and widget.class_name.value == "disc"
    assert [name for _, name in widget.view.options] == ["after", "changes", "marginal"]
    assert "Dense CRF on an image with w_appearance 5" in widget.alt()
    widget.sliders["w_smooth"].value = 9.0
    assert "alert" not in widget.note.value


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"source": "lena"}, "source 'lena': expected one of scene, small scene, chelsea: cat"),
        ({"seed": -1}, "seed -1: expected a whole number"),
        ({"view": "before"}, "view 'before': expected one of after, changes, marginal, truth"),
        ({"class_name": "cat"}, "class_name 'cat': expected one of background, disc"),
        ({"backend": "exact"}, "backend 'exact': expected one of lattice"),
        ({"sigma": 3}, "sigma: expected some of w_appearance, sigma_xy"),
        ({"sigma_xy": 500}, "sigma_xy 500: the playground's slider has 1 to 120"),
        ({"probs": SMALL.probs}, "image and probs belong together"),
        (
            {"image": SMALL.image, "probs": SMALL.probs, "view": "truth"},
            "view 'truth': expected one of after, changes, marginal",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        CRFPlayground(**arguments)
