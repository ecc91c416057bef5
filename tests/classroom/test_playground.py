"""Playground: every source, choice and view has its picture, every fault its sentence."""

import io
import itertools
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from deeplab_lite import checkpoints, metrics, photos, scenes
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.own_scene import Placed
from deeplab_lite.classroom.widgets import (
    Playground,
    _answers,
    _subjects,
    playground,
)
from deeplab_lite.classroom.widgets import (
    playground_view as comparison,
)
from deeplab_lite.classroom.widgets._answers import CRFS, Answers, Choice
from deeplab_lite.classroom.widgets._subjects import SOURCES, Subject
from deeplab_lite.classroom.widgets.playground_view import VIEWS, Compared
from deeplab_lite.classroom.widgets.segmentation_view import Result
from deeplab_lite.models.v2 import MultiScale

ANSWERS = Answers(dict.fromkeys(checkpoints.names(scenes.CLASSES)), 9)
SCENE = _subjects.scene(7)


def png(size=(40, 30), color=(200, 30, 30)):
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def widget():
    return Playground()


@pytest.fixture(autouse=True)
def as_it_was(request):
    if "widget" not in request.fixturenames:
        yield
        return
    made = request.getfixturevalue("widget")
    controls = [made.source, made.seed, made.photo, made.side, made.view, made.alpha]
    controls += [c for row in made.rows for c in row.children]
    before = [control.value for control in controls]
    yield
    for control, value in zip(controls, before, strict=True):
        control.value = value


class Always(nn.Module):
    """A network that names one class everywhere, the more surely the larger `sure`."""

    def __init__(self, index=0, classes=9, sure=5.0):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes))
        self.weight.data[index] = sure
        self.asked = 0

    def forward(self, x):
        self.asked += 1
        assert not self.training and x.shape[-1] % 16 == x.shape[-2] % 16 == 1
        return self.weight.view(1, -1, 1, 1).expand(len(x), -1, *x.shape[2:])


# ---- What networks are asked ----


def direct(name, stride=None, wrap=lambda network: network, flip=False):
    """The probabilities for SCENE, computed here."""
    network = checkpoints.load(name)
    if stride:
        network.output_stride = stride
    x = scenes.normalize(SCENE.image)[None]
    with torch.inference_mode():
        told = [wrap(network)(x).softmax(1)]
        if flip:
            told.append(wrap(network)(x.flip(-1)).softmax(1).flip(-1))
    return torch.stack(told).mean(0)[0].numpy()


@pytest.mark.parametrize(
    "choice, expected",
    [
        (Choice("v1-scenes"), {}),
        (Choice("v3plus-scenes", stride=8), {"stride": 8}),
        (Choice("v1-scenes", multi_scale=True), {"wrap": MultiScale}),
        (Choice("v3-scenes", flip=True), {"flip": True}),
        (Choice("v3-scenes", 8, True, True), {"stride": 8, "wrap": MultiScale, "flip": True}),
    ],
    ids=str,
)
def test_a_choice_does_what_it_says(choice, expected):
    probs, warned = ANSWERS.ask(choice, SCENE)
    assert probs == pytest.approx(direct(choice.model, **expected), abs=1e-5) and warned == ()


@pytest.mark.parametrize("crf", [name for name in CRFS if name != "off"])
def test_a_crf_starts_from_the_network(crf):
    from deeplab_lite.crf import dense_crf

    settings = {"w_appearance": 5, "sigma_xy": 50, "sigma_rgb": 3}
    if crf == "searched":
        settings = {"w_appearance": 20, "sigma_xy": 25, "sigma_rgb": 20}
    before, _ = ANSWERS.ask(Choice("v1-scenes"), SCENE)
    after, _ = ANSWERS.ask(Choice("v1-scenes", crf=crf), SCENE)
    expected = dense_crf(before, SCENE.image, w_smooth=3, sigma_smooth=3, **settings)
    assert after == pytest.approx(expected, abs=1e-5)


def test_the_weights_output_stride_and_mode_stay_as_they_were():
    network = checkpoints.load("v3plus-scenes").train()
    told = Answers({"mine": network}, 9)
    told.ask(Choice("mine", stride=8, multi_scale=True, flip=True), SCENE)
    assert network.output_stride == 16 and network.training


@pytest.mark.parametrize(
    "name, own, strides",
    [("v1-scenes", 8, (8, 16, 32)), ("v1-small-scenes", 8, (8,)), ("v2-scenes", 8, (8, 16)),
     ("v3-scenes", 16, (8, 16)), ("v3plus-scenes", 16, (8, 16))],
)  # fmt: skip
def test_the_output_strides_that_rates_allow(name, own, strides):
    assert ANSWERS.strides(name) == (own, strides)


def test_passes_are_kept():
    network = Always(3)
    told = Answers({"three": network}, 9)
    for crf in CRFS:
        told.ask(Choice("three", crf=crf), SCENE)
    assert network.asked == 1
    told.ask(Choice("three", flip=True), SCENE)  # the image and its mirror image
    told.ask(Choice("three"), _subjects.scene(8))
    assert network.asked == 4


@pytest.mark.parametrize("height, width", [(1, 1), (17, 40), (129, 97), (60, 129)])
def test_images_of_any_size(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for choice in (Choice("v1-scenes"), Choice("v3plus-scenes", None, True, True)):
        probs, _ = ANSWERS.ask(choice, Subject("noise", image))
        assert probs.shape == (9, height, width)
        assert probs.sum(0) == pytest.approx(np.ones((height, width)), abs=1e-4)


def test_what_a_network_warns_of_is_told():
    class Warner(Always):
        def forward(self, x):
            warnings.warn("rates are too large", stacklevel=1)
            return super().forward(x)

    made = Playground(models={"warner": Warner()}, second=None)
    assert "The network warns: rates are too large" in made.note.value


@pytest.mark.parametrize(
    "choice, words",
    [
        (Choice("v9"), "model 'v9': expected one of v1-scenes"),
        (Choice("v1-scenes", crf="on"), "crf 'on': expected one of off, DeepLab's, searched"),
        (Choice("v3-scenes", 32), "v3-scenes at output stride 32: there is 8, 16"),
    ],
)
def test_choices_that_there_are_not(choice, words):
    with pytest.raises(ValueError, match=words):
        ANSWERS.ask(choice, SCENE)
    with pytest.raises(ValueError, match=words):
        Playground(first=choice)


# ---- Pictures and words ----

LABEL = np.array([[0, 1, 1, 2, 255]] * 4)
FIRST = np.array([[0, 1, 0, 0, 1]] * 4)
SECOND = np.array([[0, 0, 1, 1, 2]] * 4)


def compared(label=LABEL, maps=(FIRST, SECOND)):
    image = np.full((4, 5, 3), 120, np.uint8)
    results = tuple(
        Result(image, label, np.eye(3, dtype=np.float32)[told].transpose(2, 0, 1),
               ("background", "disc", "ring"), draw.PALETTE)
        for told in maps
    )  # fmt: skip
    choices = tuple(map(Choice, ("one", "two")))[: len(maps)]
    return Compared(Subject("a test", image, label), choices, results)


def test_where_two_answers_differ():
    kinds = draw.disagreement_kinds(FIRST, SECOND, LABEL)
    names = ["same", *draw.DISAGREEMENT]
    assert [names[k] for k in kinds[0]] == ["same", "first", "second", "neither", "unknown"]
    assert (draw.disagreement_kinds(FIRST, SECOND)[0] == [0, 4, 4, 4, 4]).all()
    assert comparison.differ(compared()) == (
        "They differ at 16 pixels (80.0 %); 4: only the second is right, 4: only the first is "
        "right, 4: both wrong, in two ways, 4: no truth is given."
    )
    assert comparison.differ(compared(None)) == "They differ at 16 pixels (80.0 %)."
    assert comparison.differ(compared(maps=(FIRST,))) == ""


def test_the_map_of_differences_colours_these_pixels_only():
    image = np.full((4, 5, 3), 120, np.uint8)
    drawn = draw.disagreement(image, FIRST, SECOND, LABEL, 1.0)
    assert np.array_equal(drawn[0, 0], draw.grey(image)[0, 0])
    for column, kind in ((1, "first"), (2, "second"), (3, "neither"), (4, "unknown")):
        assert np.abs(drawn[0, column].astype(int) - draw.DISAGREEMENT[kind][1]).max() <= 14


def test_entropy_runs_from_certain_to_anything_goes():
    sure, even = np.zeros((4, 2, 2)), np.full((4, 2, 2), 0.25)
    sure[1] = 1
    two = np.zeros((4, 2, 2))
    two[:2] = 0.5
    for probs, value in ((sure, 0), (even, 1), (two, 0.5)):
        assert draw.entropy(probs) == pytest.approx(np.full((2, 2), value), abs=1e-6)
    with pytest.raises(ValueError, match=r"shape \(2, 2\): expected \(K, H, W\)"):
        draw.entropy(np.ones((2, 2)))


def test_the_scores_are_those_of_the_metrics():
    probs, _ = ANSWERS.ask(Choice("v1-scenes"), SCENE)
    result = Result(SCENE.image, SCENE.label, probs, scenes.CLASSES, draw.SCENE_PALETTE)
    matrix = metrics.confusion_matrices(torch.from_numpy(probs), SCENE.label, 9)[0]
    made = comparison.score(result)
    assert made.miou == pytest.approx(float(metrics.miou(matrix)))
    assert made.confidence == pytest.approx(probs.max(0).mean(), abs=1e-5)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("count", [1, 2])
def test_each_view_has_its_panels(view, known, count):
    found = compared(LABEL if known else None, (FIRST, SECOND)[:count])
    if view == "errors" and not known:
        with pytest.raises(ValueError, match=r"expected one of prediction, confidence.*need label"):
            comparison.panels(found, view, 0.7)
        return
    titles = ["image", *(["truth"] if known else [])]
    titles += ["one"] if count == 1 else ["1 · one", "2 · two", "where they differ"]
    shown = comparison.panels(found, view, 0.7)
    assert list(shown) == titles
    assert all(p.shape == (4, 5, 3) and p.dtype == np.uint8 for p in shown.values())
    assert comparison.picture(found, view, 0.7).ndim == 3
    text = comparison.text_below(found, view, 0.7, "a <note>")
    assert "a &lt;note&gt;" in text and ("mIoU" in text) == known


# ---- The widget ----


def test_it_starts_with_a_scene_and_two_networks(widget):
    assert [str(r) for r in widget.choices] == ["v3plus-scenes", "v1-scenes"]
    assert widget.alt().startswith("scene 7, prediction. v3plus-scenes: mIoU 0.")
    assert np.array_equal(widget.subject.image, scenes.scene(7)[0])
    assert [slot.layout.display for slot in widget._slots] == [""] * 5
    assert widget.time.value == ""


def shown_of(made):
    return [i.value for i, slot in zip(made.images, made._slots, strict=True)
            if slot.layout.display == ""]  # fmt: skip


@pytest.mark.parametrize("source, view", list(itertools.product(SOURCES, VIEWS)))
def test_every_source_and_view(widget, source, view):
    from matplotlib import pyplot as plt

    widget._file = png()
    widget.source.value = source
    truth = source in ("scene", "drawing")
    offered = [value for _, value in widget.view.options]
    assert offered == [v for v in VIEWS if truth or v != "errors"]
    if view not in offered:
        return
    widget.view.value = view
    assert "alert" not in widget.note.value
    pictures = shown_of(widget)
    assert len(pictures) == 4 if source != "scene" else 5  # the canvas shows a drawing's image
    sizes = {Image.open(io.BytesIO(data)).size for data in pictures}
    assert len(sizes) == 1 and max(sizes.pop()) <= 400
    assert ("never saw a photograph" in " ".join(widget.note.value.split())) == (not truth)
    data, _ = widget._repr_mimebundle_()
    assert data["text/plain"] == widget.alt() and VIEWS[view] in widget.alt()
    assert plt.get_fignums() == []
    hidden = {"seed": "scene", "photo": "photograph", "upload": "upload"}
    for name, shown in hidden.items():
        assert (getattr(widget, name).layout.display == "") == (source == shown)


@pytest.mark.parametrize("name", checkpoints.names(scenes.CLASSES))
@pytest.mark.parametrize("crf", CRFS)
def test_every_network_and_crf(widget, name, crf):
    row = widget.rows[0]
    row.model.value, row.crf.value = name, crf
    for stride in dict(row.stride.options).values():
        row.stride.value = stride
        assert "alert" not in widget.note.value
        assert widget.choices[0] == Choice(name, stride or None, crf=crf)
        assert widget.comparison.results[0].probabilities.shape == (9, 321, 321)


@pytest.mark.parametrize("control", ["multi_scale", "flip"])
@pytest.mark.parametrize("place", [0, 1])
def test_the_boxes_change_the_answer(widget, control, place):
    before = widget.comparison.results[place].probabilities
    getattr(widget.rows[place], control).value = True
    assert getattr(widget.choices[place], control)
    assert not np.allclose(before, widget.comparison.results[place].probabilities, atol=1e-3)


def test_one_network_alone(widget):
    widget.rows[1].model.value = "none"
    assert len(widget.choices) == 1 and len(shown_of(widget)) == 3
    assert all(control.disabled for control in widget.rows[1].children[1:])
    assert "differ" not in widget.alt()


def test_every_photograph_and_size(widget):
    widget.source.value = "photograph"
    for name, side in itertools.product(photos.photo_names(), playground.SIDES):
        widget.photo.value, widget.side.value = name, side
        assert max(widget.subject.image.shape) == side and "alert" not in widget.note.value
        height, width = photos.photo(name).shape[:2]
        assert abs(widget.subject.image.shape[0] / widget.subject.image.shape[1]
                   - height / width) < 0.01  # fmt: skip


def test_a_shape_that_is_moved_moves_the_truth(widget):
    widget.source.value = "drawing"
    before, pictures = widget.subject, shown_of(widget)
    first, *others = widget.canvas.shapes
    widget.canvas.shapes = [{**first, "x": first["x"] + 9}, *others]
    assert not np.array_equal(before.label, widget.subject.label)
    assert shown_of(widget) != pictures
    widget.canvas.shapes = [first, *others]
    assert widget.subject is before  # kept


def choose(widget, data, part=100):
    """What the page sends when a file is chosen."""
    for at in range(0, max(1, len(data)), part):
        content = {"at": at, "size": len(data)}
        widget.upload._handle_custom_msg(content, [memoryview(data)[at : at + part]])


def test_a_file_that_another_one_overtakes_is_dropped(widget):
    widget.source.value = "upload"
    first, second = png(), png((33, 44))
    widget.upload._handle_custom_msg({"at": 0, "size": len(first)}, [memoryview(first)[:60]])
    choose(widget, second)
    widget.upload._handle_custom_msg({"at": 60, "size": len(first)}, [memoryview(first)[60:]])
    assert widget.upload.file == second and "PNG, 33 x 44" in widget.note.value


def test_an_empty_file_is_told(widget):
    widget.source.value = "upload"
    choose(widget, b"")
    assert "this file is not an image that can be read here" in widget.note.value


def test_a_chosen_file_is_shown_and_not_kept_in_the_notebook(widget):
    widget._file = None
    widget.source.value = "upload"
    assert "Choose a picture" in widget.note.value and shown_of(widget) == []
    choose(widget, png())
    assert "file" not in widget.upload.get_state()
    assert "Your picture (PNG, 40 x 30)." in widget.note.value
    assert widget.subject.image.shape == (30, 40, 3) and len(shown_of(widget)) == 4


def test_a_file_that_is_no_picture_is_told_and_the_last_one_stays(widget):
    widget.source.value = "upload"
    widget._file = png()
    widget._draw()
    before = shown_of(widget)
    choose(widget, b"<svg>")
    assert 'role="alert"' in widget.note.value and "save it as JPEG" in widget.note.value
    assert shown_of(widget) == before
    widget.source.value = "scene"
    assert "alert" not in widget.note.value


def test_a_network_that_fails_is_told():
    made = Playground(models={"good": Always(0), "<b>": Always(0, 4)}, second=None)
    made.rows[0].model.value = "<b>"
    assert 'role="alert"' in made.note.value and "&lt;b&gt; gives (1, 4, 321" in made.note.value
    made.rows[0].model.value = "good"
    assert "alert" not in made.note.value and "never saw" not in made.note.value


def test_arguments():
    made = Playground(
        "drawing", shapes=[Placed("star", 60, 60, 30)], second=Choice("v1-scenes", crf="searched"),
        view="errors", alpha=0.5,
    )  # fmt: skip
    assert made.rows[1].crf.value == "searched" and set(np.unique(made.subject.label)) == {
        0,
        4,
        255,
    }
    assert Playground(file=png()).source.value == "upload"
    assert [r.model for r in Playground(models=["v2-scenes"]).choices] == ["v2-scenes"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"source": "film"}, "source 'film': expected one of scene, drawing, photograph, upload"),
        ({"source": "upload"}, "source 'upload' needs a file"),
        ({"photo": "dog"}, "photo 'dog': expected one of astronaut"),
        ({"side": 100}, "side 100: expected one of 321, 257, 193, 129"),
        ({"view": "truth"}, "view 'truth': expected one of prediction, errors, confidence"),
        (
            {"view": "errors", "source": "photograph"},
            "view 'errors': expected one of prediction, c",
        ),
        ({"first": "v1"}, "model 'v1': expected one of"),
        ({"seed": -1}, r"seed -1: expected a whole number"),
        ({"alpha": 2}, "alpha 2 is not between 0"),
        ({"models": []}, "no models"),
        ({"models": ["v1-scenes"], "classes": range(12)}, "9 colours for 12 classes: give a pal"),
        ({"file": b"text"}, "is not an image that can be read here"),
        ({"source": "drawing", "shapes": [Placed("egg", 1, 1, 9)]}, "shape 1 is a 'egg'"),
        ({"models": {"two": Always(1, 2)}}, r"two gives \(1, 2, 321, 321\): expected logits"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        Playground(**arguments)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        Playground(file=str(tmp_path / "none.png"))


def test_the_settings_of_the_searched_crf_are_those_of_lesson_04():
    """Its cell prints them; the grid's best corner."""
    assert _answers.SEARCHED == {"w_appearance": 20, "sigma_xy": 25, "sigma_rgb": 20}
