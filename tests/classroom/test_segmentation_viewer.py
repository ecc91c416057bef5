"""Segmentation viewer: every scene, network and view has its picture, every fault its answer."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image
from torch import nn

from deeplab_lite import checkpoints, metrics, scenes
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets import SegmentationViewer
from deeplab_lite.classroom.widgets import segmentation_view as segmentation
from deeplab_lite.classroom.widgets.segmentation_view import VIEWS, Result

IMAGE = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
LABEL = np.array([[0, 0, 1, 1, 2, 255]] * 4)
TOLD = np.array([[0, 1, 0, 1, 1, 2]] * 4)  # right, invented, missed, right, confused, void
SURE = np.array([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4]] * 4)


def result(label=LABEL, told=TOLD, sure=SURE):
    """A result of three classes with the prediction TOLD, as sure of it as SURE says."""
    probabilities = np.repeat((1 - sure)[None] / 2, 3, 0)
    np.put_along_axis(probabilities, told[None], sure[None], 0)
    return Result(IMAGE, label, probabilities, ("ground", "disc", "ring"), draw.PALETTE)


class Always(nn.Module):
    """A network that names one class everywhere."""

    def __init__(self, index=0, classes=9):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes))
        self.weight.data[index] = 5

    def forward(self, x):
        assert not self.training
        return self.weight.view(1, -1, 1, 1).expand(len(x), -1, *x.shape[2:])


# ---- the pictures ----


def test_errors_are_told_apart():
    kinds = draw.error_kinds(TOLD, LABEL)
    names = ["right", *draw.ERRORS]
    assert [names[kind] for kind in kinds[0, :5]] == [
        "right", "invented", "missed", "right", "confused"
    ]  # fmt: skip
    assert (kinds[:, 5] == 255).all()
    with pytest.raises(ValueError, match=r"shape \(4, 6\) and labels of shape \(6, 4\)"):
        draw.error_kinds(TOLD, LABEL.T)


def test_an_error_map_colours_what_is_wrong_and_nothing_else():
    picture = draw.errors(IMAGE, TOLD, LABEL, 1.0)
    for column, name in ((1, "invented"), (2, "missed"), (4, "confused")):
        assert (picture[:, column] == draw.ERRORS[name][1]).all()
    right = picture[:, [0, 3]].astype(int)
    assert np.ptp(right, axis=2).max() == 0
    assert np.array_equal(draw.errors(IMAGE, TOLD, LABEL, 0.0), draw.grey(IMAGE))


def test_doubt_grows_brighter_to_the_least_that_there_can_be():
    even = np.full((3, 4, 6), 1 / 3)
    assert not np.ptp(draw.doubt(IMAGE, np.eye(3)[TOLD].transpose(2, 0, 1)).astype(int), 2).any()
    brightest = draw.doubt(IMAGE, even, 1.0)
    assert len(np.unique(brightest.reshape(-1, 3), axis=0)) == 1
    scale = draw.scale(1.0)
    assert scale.shape == (10, 160, 3) and (scale[0, -1] == brightest[0, 0]).all()
    grey = np.full_like(IMAGE, 128)
    light = draw.doubt(grey, result().probabilities, 1.0).sum(2)[0].astype(int)
    assert (np.diff(light) > 0).all()  # as SURE falls from left to right
    with pytest.raises(ValueError, match=r"expected \(K, H, W\)"):
        draw.doubt(IMAGE, even[:, :2])


def test_a_strip_keeps_every_pixel():
    strip = draw.strip([IMAGE, 255 - IMAGE], 3)
    assert strip.shape == (12, 36 + 4, 3)
    assert np.array_equal(strip[1::3, 1:18:3], IMAGE)
    assert np.array_equal(strip[2::3, 24::3], 255 - IMAGE)


@pytest.mark.parametrize("label", [LABEL, None])
def test_panels_are_image_truth_and_view(label):
    for view in segmentation.views(label):
        panels = segmentation.panels(result(label), view, 0.6)
        assert list(panels) == ["image", *["truth"] * (label is not None), VIEWS[view]]
        assert all(picture.shape == IMAGE.shape for picture in panels.values())
        assert segmentation.frame(result(label), view, 0.6).shape[1] <= segmentation.WIDTH + 12


def test_a_view_that_there_is_not_is_named():
    for label, view in ((LABEL, "truth"), (None, "errors")):
        with pytest.raises(ValueError, match=f"view '{view}': expected one of prediction"):
            segmentation.panels(result(label), view, 0.5)


# ---- the sentences ----


def test_the_sentence_gives_the_scores_and_the_commonest_mistake():
    told = TOLD.copy()
    told[0, 1] = 0
    matrix = metrics.confusion_matrices(told, LABEL, 3)[0]
    text = segmentation.describe(result(told=told))
    assert f"mIoU {float(metrics.miou(matrix)):.3f} over the 3 classes" in text
    assert f"{100 * 9 / 20:.1f} % of the pixels are right" in text
    assert "Commonest mistake: 4 pixels of disc taken for ground." in text
    perfect = segmentation.describe(result(told=np.where(LABEL == 255, 0, LABEL)))
    assert (
        perfect
        == "mIoU 1.000 over the 3 classes there or predicted; 100.0 % of the pixels are right."
    )


def test_without_labels_it_says_what_is_found():
    assert segmentation.describe(result(None)) == (
        "Without labels there is no score. Found: disc, ring; mean confidence 0.65."
    )


def test_legends_name_what_can_be_seen():
    scores = {name: number for name, _, number in segmentation.legend(result(), "prediction")}
    assert list(scores) == ["ground", "disc", "ring"] and scores["ring"] == "0.00"
    kinds = segmentation.legend(result(), "errors")
    assert [number for _, _, number in kinds] == ["4", "4", "4"]
    shares = segmentation.legend(result(None), "prediction")
    assert [number for _, _, number in shares] == ["33 %", "50 %", "17 %"]


def test_an_error_map_comes_with_the_colours_of_the_truth_beside_it(twin_figure):
    shown = SimpleNamespace(picture=lambda: segmentation.picture(result(), "errors", 0.7, "mine"))
    truth = twin_figure(shown).axes[1]
    rows = zip(truth.get_legend().get_texts(), truth.get_legend().get_patches(), strict=True)
    colors = {text.get_text(): to_hex(patch.get_facecolor()) for text, patch in rows}
    disc, ring = (draw.hex_color(draw.PALETTE[k]) for k in (1, 2))
    assert colors == {"disc": disc, "ring": ring}


# ---- the widget ----


@pytest.fixture(scope="module")
def widget():
    return SegmentationViewer()


@pytest.fixture(autouse=True)
def start_from_scene_7(widget):
    widget.seed.value, widget.model.value = 7, "v1-scenes"
    widget.view.value, widget.alpha.value = "prediction", 0.1
    widget.alpha.value = 0.7  # the first picture, which is saved, has fewer colours


def shown(widget):
    return np.asarray(Image.open(io.BytesIO(widget.image.value)).convert("RGB"))


@pytest.mark.parametrize("name", checkpoints.names(scenes.CLASSES))
def test_every_network_and_view_has_a_picture(widget, name):
    seen = set()
    for seed in (7, 8, 4_000_000_000):
        widget.seed.value, widget.model.value = seed, name
        for view in VIEWS:
            widget.view.value = view
            assert np.array_equal(
                shown(widget), segmentation.frame(widget.result, view, widget.alpha.value)
            )
            assert "alert" not in widget.note.value
            seen.add(widget.image.value)
    assert len(seen) == 9


def test_what_is_shown_is_what_the_network_says(widget):
    image, label = scenes.scene(7)
    with torch.inference_mode():
        logits = checkpoints.load("v1-scenes")(scenes.normalize(image)[None])
    assert np.array_equal(widget.result.prediction, logits[0].argmax(0))
    matrix = metrics.confusion_matrices(logits, label[None], 9)[0]
    assert f"mIoU {float(metrics.miou(matrix)):.3f}" in widget.note.value
    assert f"{100 * float(metrics.pixel_accuracy(matrix)):.1f} %" in widget.alt()


def test_every_control_changes_the_picture(widget):
    for control, value in (
        (widget.seed, 11),
        (widget.model, "v3plus-scenes"),
        (widget.alpha, 0.3),
        (widget.view, "errors"),
        (widget.view, "confidence"),
    ):
        before = widget.image.value, widget.note.value
        control.value = value
        assert widget.image.value != before[0], control
        # The strength changes no number, but the confidence view has its colours in the note.
        assert control is widget.alpha or widget.note.value != before[1], control


def test_a_network_that_was_just_trained_can_be_shown(widget):
    mine = Always(0).train()
    viewer = SegmentationViewer(7, models={"mine": mine, "v1-scenes": None})
    assert (
        viewer.model.value == "v1-scenes"
        and viewer.alt().split(".")[0] == widget.alt().split(".")[0]
    )
    viewer.model.value = "mine"
    assert viewer.result.prediction.max() == 0 and mine.training
    assert "taken for background" in viewer.note.value


def test_names_may_be_chosen(widget):
    viewer = SegmentationViewer(models=["v2-scenes", "v3-scenes"], view="errors")
    assert viewer.model.options == ("v2-scenes", "v3-scenes") and viewer.model.value == "v2-scenes"


def test_an_image_takes_the_place_of_the_scenes():
    image, label = scenes.scene(3, size=65)
    viewer = SegmentationViewer(image=image, label=label)
    assert np.array_equal(viewer.result.image, image) and viewer.alt().startswith(
        "v1-scenes on an image, prediction. mIoU"
    )
    assert viewer.seed not in viewer.children[0].children
    alone = SegmentationViewer(image=image)
    assert [value for _, value in alone.view.options] == ["prediction", "confidence"]
    assert "Without labels" in alone.note.value


def test_images_of_any_size_are_turned_over():
    """Networks take sides of 16 k + 1; others are padded, and the answer is cut again."""
    pairs = [scenes.scene(3, size=64)[:2], scenes.scene(4, size=97)[:2]]
    viewer = SegmentationViewer(images=pairs, view="errors")
    assert viewer.alt().startswith("v1-scenes on image 0, error map")
    assert viewer.result.prediction.shape == (64, 64)
    before = viewer.image.value
    viewer.seed.value = 1
    assert viewer.image.value != before and np.array_equal(viewer.result.image, pairs[1][0])
    assert viewer.seed in viewer.children[0].children and viewer.seed.max == 1
    half = SegmentationViewer(images=[pairs[0], (pairs[1][0], None)])
    assert [value for _, value in half.view.options] == ["prediction", "confidence"]


def test_classes_of_ones_own():
    viewer = SegmentationViewer(
        models={"two": Always(1, 2)}, image=IMAGE, label=np.ones((4, 6), int),
        classes=("ground", "cat"), palette=draw.PALETTE,
    )  # fmt: skip
    assert "mIoU 1.000 over the 1 class there" in viewer.alt()
    assert "cat 1.00" in viewer.note.value


def test_what_goes_wrong_is_said_in_the_widget(widget):
    other = SegmentationViewer(models={"<b>": Always(0, 4), "v1-scenes": None}, model="v1-scenes")
    before = other.image.value
    other.model.value = "<b>"
    assert 'role="alert"' in other.note.value and "&lt;b&gt; gives (1, 4, 321" in other.note.value
    assert other.image.value == before
    other.model.value = "v1-scenes"
    assert "alert" not in other.note.value


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_is_told(widget, view):
    widget.view.value = view
    assert widget.alt().startswith(f"v1-scenes on scene 7, {VIEWS[view]}. mIoU 0.")
    assert len(widget._repr_mimebundle_()[0]["image/png"]) < 120_000


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"model": "v1"}, "model 'v1': expected one of .*v1-scenes"),
        ({"view": "truth"}, "view 'truth': expected one of prediction, errors, confidence"),
        ({"view": "errors", "image": IMAGE}, "view 'errors': expected one of prediction, conf"),
        ({"models": ["v1-scenes"], "classes": range(12)}, "9 colours for 12 classes: give a pal"),
        ({"image": IMAGE / 255}, "expected uint8"),
        ({"models": []}, "no models"),
        ({"image": IMAGE, "images": [(IMAGE, None)]}, "image and images: give one"),
        ({"images": []}, "images is empty"),
        ({"images": [(IMAGE, None)] * 3, "seed": 3}, "seed 3: expected 0 to 2"),
        (
            {"models": {"two": Always(1, 2)}},
            r"two gives \(1, 2, 321, 321\): expected logits \(1, 9",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        SegmentationViewer(**arguments)
