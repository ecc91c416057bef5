"""Mean-field replay: its frames are the trace's, the twin is right, every state is drawn."""

import base64
import io
import itertools
import json
import re

import numpy as np
import pytest
import torch
from ipywidgets.embed import dependency_state
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from node import call, call_many
from PIL import Image

from deeplab_lite import metrics, scenes
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.draw import crf_steps as pictures
from deeplab_lite.classroom.widgets import (
    MeanFieldReplay,
    _twin,
    mean_field_replay,
)
from deeplab_lite.classroom.widgets import (
    mean_field_steps as mean_field,
)
from deeplab_lite.crf import dense_crf

SCRIPT = _twin.script("mean_field_replay")
CLASSES = ("ground", "leaf", "stone")
SETTINGS = {"iterations": 4, "sigma_xy": 8.0, "sigma_rgb": 20.0, "backend": "exact"}


def problem(height=20, width=24):
    """Two blocks of colour on a grey ground, and probabilities that miss their edges by a bit."""
    random = np.random.default_rng(0)
    label = np.zeros((height, width), np.uint8)
    label[4:12, 3:11], label[8:17, 14:22] = 1, 2
    image = np.array([[128, 128, 128], [40, 160, 60], [190, 120, 60]])[label]
    image = np.clip(image + random.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
    logits = 2.2 * np.eye(3)[np.roll(label, 1, 1)] + random.normal(0, 1.2, (height, width, 3))
    probs = torch.from_numpy(logits).softmax(-1).permute(2, 0, 1).float().numpy()
    label[0] = 255
    return image, probs, label


IMAGE, PROBS, LABEL = problem()
TRACE = dense_crf(PROBS, IMAGE, trace=True, **SETTINGS)
MAPS = TRACE.marginals.numpy().argmax(1)


@pytest.fixture(scope="module")
def replay():
    return MeanFieldReplay(IMAGE, PROBS, label=LABEL, classes=CLASSES, **SETTINGS)


@pytest.fixture(scope="module")
def scene():
    return MeanFieldReplay()


def states(widget):
    steps = range(len(widget.numbers["free"]))
    names = [name for name, _ in widget.names]
    for view, step in itertools.product(mean_field.VIEWS, steps):
        for name in names if view in mean_field.OF_A_CLASS else names[:1]:
            yield view, name, step


def decoded(url):
    data = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


# ---- Pictures ----


@pytest.mark.parametrize(
    "before, after, label, kind",
    [
        (1, 1, 1, None),
        (1, 1, 2, None),
        (1, 2, 2, "fixed"),
        (2, 1, 2, "broken"),
        (1, 2, 0, "still wrong"),
        (1, 2, 255, "changed"),
        (1, 1, 255, None),
    ],
)
def test_a_change_is_judged_by_the_truth(before, after, label, kind):
    found = draw.change_kinds([[before]], [[after]], [[label]])
    assert found == (0 if kind is None else 1 + list(draw.CHANGES).index(kind))
    image = np.full((1, 1, 3), 90, np.uint8)
    shown = draw.changes(image, [[before]], [[after]], [[label]])
    assert np.array_equal(shown, draw.grey(image)) == (kind is None)


def test_without_truth_a_change_is_only_a_change():
    assert draw.change_kinds([[0, 1]], [[0, 2]]).tolist() == [[0, 4]]
    with pytest.raises(ValueError, match=r"shape \(1, 2\) before and \(2, 1\) after"):
        draw.change_kinds([[0, 1]], [[0], [2]])


def test_frames_are_drawn_as_overlay_draws_them():
    index = pictures.outlined(MAPS[-1], len(CLASSES))
    shown = pictures.tint(IMAGE, index, pictures.class_table(draw.SCENE_PALETTE[:3], 0.6))
    overlaid = draw.overlay(draw.grey(IMAGE), MAPS[-1], 0.6, draw.SCENE_PALETTE)
    assert np.abs(shown.astype(int) - overlaid).max() <= 1


def test_a_sheet_holds_each_frame_with_its_transparency():
    table = pictures.heat_table()
    frames = np.random.default_rng(0).integers(0, len(table), (3, 4, 5))
    sheet = np.asarray(Image.open(io.BytesIO(pictures.sheet(frames, table))).convert("RGBA"))
    assert np.array_equal(sheet, table[frames].reshape(12, 5, 4))
    assert table[0, 3] == 0 and (np.diff(table[:, 3].astype(int)) > 0).all()
    assert pictures.levels([-1, 0, 1, 1.2]).tolist() == [0, 0, len(table) - 1, len(table) - 1]


def test_energies_start_at_nought_and_add_up():
    curves = pictures.energy_curves(TRACE.energies)
    parts = curves["unary"] + curves["pairwise"] + curves["− entropy"]
    assert all(values[0] == 0 for values in curves.values())
    assert np.allclose(parts, curves["free energy"], atol=0.05)
    assert (np.diff(curves["free energy"]) < 0.01).all()  # all pairs: it never rises
    ax = draw.energy_chart(TRACE.energies, 2, _twin.figure(4, 3).subplots())
    assert [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1] == [2] * 4


@pytest.mark.parametrize("places", [[3.0, 1.0, 1.1, 9.0], [0.0], [5.0, 5.0, 5.0], [-2.0, 8.0]])
def test_names_at_the_ends_of_curves_keep_apart(places):
    moved = pictures.spread({str(i): place for i, place in enumerate(places)}, 1.5)
    found = [moved[str(i)] for i in range(len(places))]
    assert call(SCRIPT, "spread", places, 1.5) == found
    assert all(b - a >= 1.5 - 1e-9 for a, b in itertools.pairwise(sorted(found)))
    assert np.array_equal(np.argsort(found, kind="stable"), np.argsort(places, kind="stable"))


# ---- Frames, numbers, words ----


def test_every_frame_is_that_of_the_trace(replay):
    height, width = IMAGE.shape[:2]

    def frame(key, step):
        return decoded(replay.sheets[key])[step * height : (step + 1) * height]

    assert replay.size == [height, width] and np.array_equal(replay._start.image, IMAGE)
    for step, k in itertools.product(range(5), range(3)):
        name, clear = CLASSES[k], np.zeros((height, width, 4), np.uint8)
        heat = pictures.heat_table()[pictures.levels(TRACE.marginals[step, k])]
        assert np.array_equal(frame(f"marginal/{name}", step), heat)
        for message, sent in TRACE.messages.items():
            unit = sent[step - 1, k] / replay.tops[message]
            told = pictures.heat_table()[pictures.levels(unit)] if step else clear
            shown = frame(f"{message}/{name}", step)
            assert np.array_equal(shown[..., 3], told[..., 3])
            assert np.array_equal(shown[told[..., 3] > 0], told[told[..., 3] > 0])
        classes = frame("labels", step)[..., 3] > 0
        assert np.array_equal(classes, MAPS[step] > 0)
        changed = frame("changes", step)[..., 3] > 0
        assert np.array_equal(changed, MAPS[step] != MAPS[step - 1] if step else clear[..., 0] > 0)


def test_numbers_are_counted_from_the_label_maps(replay):
    for step in range(5):
        changed = MAPS[step] != MAPS[max(0, step - 1)]
        counted = changed & (LABEL != 255)
        right = counted & (MAPS[step] == LABEL)
        broken = counted & (MAPS[step - 1] == LABEL)
        assert replay.numbers["changed"][step] == changed.sum()
        assert (replay.numbers["fixed"][step], replay.numbers["broken"][step]) == (
            right.sum(),
            broken.sum() if step else 0,
        )
        score = metrics.miou(metrics.confusion_matrices(MAPS[step], LABEL, 3)[0])
        assert replay.numbers["miou"][step] == pytest.approx(float(score), abs=6e-4)
    assert sum(replay.numbers["fixed"]) > 10 and replay.numbers["miou"][-1] > 0.9


def test_the_script_says_what_a_step_did(replay):
    numbers = {"changed": [0, 1, 1200], "free": [-100.0, -99.5, -120.0], "miou": []}
    numbers = {**numbers, "fixed": [], "broken": []}
    assert call_many(SCRIPT, "describe", [[numbers, step] for step in range(3)]) == [
        "Step 0, the start: what the network says. Free energy −100 nats.",
        "Step 1 of 2 gives 1 pixel another class. Free energy −100 nats, 0.5 nats more than "
        "before.",
        "Step 2 of 2 gives 1,200 pixels another class. Free energy −120 nats, 21 nats less than "
        "before.",
    ]
    scored = {**numbers, "fixed": [0, 1, 900], "broken": [0, 0, 7], "miou": [0.5, 0.51, 0.9]}
    assert call(SCRIPT, "describe", scored, 2).startswith(
        "Step 2 of 2 gives 1,200 pixels another class (900 fixed, 7 broken). Free energy −120 nats"
    )
    assert call(SCRIPT, "describe", dict(replay.numbers), 4).endswith(
        f"; mIoU {replay.numbers['miou'][4]:.3f}."
    )
    assert call(SCRIPT, "views") == [list(pair) for pair in mean_field.VIEWS.items()]


@pytest.mark.parametrize(
    "view, first, later",
    [
        ("labels", "The likeliest class of each pixel at first.", "of each pixel after step 2."),
        ("changes", "Nothing is sent and nothing changes", "to which step 2 gave another class."),
        ("marginal", "The probability of “leaf” at first.", "of “leaf” after step 2."),
        ("appearance", "Nothing is sent", "near pixels of like colour spoke for “leaf” in step 2,"),
        ("smoothness", "Nothing is sent", "near pixels of any colour spoke for “leaf” in step 2,"),
    ],
)
def test_the_script_says_what_a_frame_shows(view, first, later):
    captions = call_many(SCRIPT, "caption", [[view, "leaf", step] for step in (0, 2)])
    assert captions[0].startswith(first) and later in captions[1]


def test_energies_are_whole_from_10_on():
    values = [0, 0.04, 0.05, 0.95, 9.94, 9.96, 10, 10.5, 999.5, -3.25, -63092.6, 1234567.0]
    assert call_many(SCRIPT, "nats", [[value] for value in values]) == [
        f"{text} nats"
        for text in ("0", "0", "0.1", "1", "9.9", "10", "10", "11", "1,000", "−3.3", "−63,093",
                     "1,234,567")
    ]  # fmt: skip


@pytest.mark.parametrize("low, high", [(-3.1e3, 1.4e3), (-0.02, 0.5), (0, 1), (-7, -7)])
def test_axis_numbers_are_few_and_inside(low, high):
    found = call(SCRIPT, "ticks", low, high)
    assert len(found) <= 7 and all(low <= value <= high for value in found)
    assert low == high or len(found) >= 2


@pytest.mark.parametrize(
    "numbers",
    [
        [0, 2, 4, 6, 8, 10],
        [-1000, -500, 0, 500],
        [-0.6, -0.4, -0.2, 0, 0.2, 0.4],  # 3 * 0.2 is not 0.6 in floats
        [-0.4, -0.2, 0, 0.2, 0.4, 0.6],
    ],
)
def test_an_axis_with_round_ends_has_a_number_at_both(numbers):
    assert call(SCRIPT, "ticks", numbers[0], numbers[-1]) == numbers


def test_every_state_has_its_picture_and_its_words(replay):
    seen, alts = set(), set()
    for view, name, step in states(replay):
        replay.view, replay.class_name, replay.step = view, name, step
        frame = replay.shown()
        assert frame.dtype == np.uint8 and frame.shape == IMAGE.shape
        alts.add(replay.alt())
        if step in (0, 3):
            picture = replay.picture()
            assert picture.dtype == np.uint8 and picture.shape[1] == 860
            seen.add(picture.tobytes())
    assert len(alts) == len(list(states(replay))) == 55
    assert len(seen) == 22 and plt.get_fignums() == []


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("view", ["labels", "marginal"])
def test_the_twin_shows_the_frame_and_the_energies_of_its_step(replay, twin_figure, view, step):
    replay.view, replay.class_name, replay.step = view, "leaf", step
    fig = twin_figure(replay)
    image, frame, chart = fig.axes
    assert np.array_equal(image.images[0].get_array(), IMAGE)
    assert np.array_equal(frame.images[0].get_array(), replay.shown())
    dots = [line.get_xydata()[0].tolist() for line in chart.lines if len(line.get_xdata()) == 1]
    curves = pictures.energy_curves(TRACE.energies).values()
    places = sorted([step, float(curve[step])] for curve in curves)
    assert np.allclose(sorted(dots), places)
    names = [text.get_text() for text in fig.legends[0].get_texts()]
    assert names == (list(CLASSES) if view == "labels" else ["marginal 0", "1"])


def test_the_twin_names_its_classes_in_one_line_and_paints_no_curve_in_their_colours(twin_figure):
    label = np.resize(np.arange(8), IMAGE.shape[:2])
    fig = twin_figure(MeanFieldReplay(IMAGE, np.full((9, *label.shape), 1 / 9), label=label))
    assert [text.get_text() for text in fig.legends[0].get_texts()] == list(scenes.CLASSES[:8])
    assert len({text.get_window_extent().y0 // 5 for text in fig.legends[0].get_texts()}) == 1
    curves = {to_hex(line.get_color()) for line in fig.axes[2].lines}
    assert not curves & {draw.hex_color(color) for color in draw.SCENE_PALETTE}


@pytest.mark.parametrize("message", ["appearance", "smoothness"])
def test_the_scale_of_a_message_ends_just_above_the_largest(scene, message):
    largest, top = float(scene._trace.messages[message].max()), scene.tops[message]
    assert 1 < largest <= top < largest + 0.1  # above 1, which a probability never is
    with scene.hold_trait_notifications():
        scene.view, scene.step = message, 2
    assert [name for name, _ in mean_field_replay.legend(scene)][1] == f"{top:g}"
    scene.view = "marginal"
    assert [name for name, _ in mean_field_replay.legend(scene)][1] == "1"


def test_a_small_message_keeps_a_scale_up_to_1(replay):
    weak = replay._trace._replace(messages={"appearance": 0.3 * TRACE.messages["appearance"]})
    assert mean_field.tops(weak) == {"appearance": 1.0}


def test_the_first_step_of_a_scene_mends_more_than_it_breaks(scene):
    assert scene.numbers["fixed"][1] > 10 * scene.numbers["broken"][1]
    assert scene.numbers["miou"][-1] > scene.numbers["miou"][0] + 0.02
    assert [name for name, _ in scene.names] == ["background", "triangle", "cross", "crescent"]


def test_state_and_twin_stay_small(scene):
    assert len(json.dumps(dependency_state([scene]))) < 150_000
    data, metadata = scene._repr_mimebundle_()
    assert data["text/plain"] == metadata["image/png"]["alt"] == scene.alt()
    assert len(data["image/png"]) < 90_000


# ---- Arguments ----


def test_a_trace_that_is_there_is_taken_as_it_is(replay):
    taken = MeanFieldReplay(IMAGE, TRACE, label=LABEL, classes=CLASSES, step=4)
    assert taken.sheets == replay.sheets and taken.numbers == replay.numbers
    assert taken.settings == "" and "sigma_xy 8, sigma_rgb 20" in replay.settings


def test_without_labels_there_is_no_score():
    plain = MeanFieldReplay(IMAGE, TRACE, classes=CLASSES)
    assert plain.truth == "" and plain.numbers["miou"] == []
    assert "mIoU" not in plain.alt() and "fixed" not in plain.alt()


def test_of_two_classes_the_second_is_shown():
    two = np.stack([PROBS[0], PROBS[1:].sum(0)])
    widget = MeanFieldReplay(IMAGE, two, classes=("rest", "thing"), **SETTINGS)
    assert [key for key in widget.sheets if key.startswith("marginal")] == ["marginal/thing"]
    assert widget.class_name == "thing" and len(widget.names) == 2


def test_large_images_are_thinned_and_computed_in_full():
    image, probs = (array.repeat(9, -2).repeat(9, -1) for array in (IMAGE[..., 0], PROBS))
    image = np.repeat(image[..., None], 3, 2)
    widget = MeanFieldReplay(image, probs, classes=CLASSES, iterations=1)
    assert widget.size == [90, 108] and widget.numbers["changed"][1] <= 180 * 216
    assert decoded(widget.sheets["labels"]).shape == (180, 108, 4)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"probs": PROBS}, "image and probs belong together"),
        ({"image": IMAGE, "probs": PROBS[:, :9]}, r"probs of shape \(3, 9, 24\) for an image"),
        ({"image": IMAGE / 255, "probs": PROBS}, "expected uint8"),
        ({"image": IMAGE, "probs": PROBS, "label": LABEL[:5]}, r"labels of shape \(5, 24\)"),
        ({"image": IMAGE, "probs": PROBS, "classes": "ab"}, "2 names and 9 colours for 3 classes"),
        ({"image": IMAGE, "probs": TRACE, "iterations": 3}, "iterations: this trace was made"),
        ({"image": IMAGE, "probs": TRACE, "step": 5}, "step 5: this inference has steps 0 to 4"),
        ({"image": IMAGE, "probs": TRACE, "view": "label"}, "view 'label': expected one of labels"),
        (
            {"image": IMAGE, "probs": TRACE, "classes": CLASSES, "class_name": "tree"},
            "class_name 'tree': expected one of ground, leaf, stone",
        ),
    ],
)
def test_what_does_not_fit_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        MeanFieldReplay(**arguments)


# ---- In a browser ----

SHOWN = """() => [...document.querySelectorAll(".dl-mf-frame")].map((svg) =>
  [...svg.children].filter((n) => n.getAttribute("display") !== "none").at(-1))
  .map((n) => [n.getAttribute("href"), Number(n.getAttribute("y") || 0)])"""


def test_the_frame_of_the_step_is_in_the_window(replay, widget_page):
    replay.view, replay.class_name, replay.step = "labels", "leaf", 1
    mounted = widget_page(replay)
    for view, name, step in states(replay):
        mounted.set(view=view, class_name=name, step=step)
        mounted.drawn()
        key = f"{view}/{name}" if view in mean_field.OF_A_CLASS else view
        (left, _), (right, y) = mounted.page.evaluate(SHOWN)
        assert (left, right, y) == (replay.photo, replay.sheets[key], -20 * step)
        if view in mean_field.OF_A_CLASS:
            key = mounted.page.locator(".dl-key").text_content().split()
            assert key == ["0", f"{replay.tops.get(view, 1):g}"]
    assert mounted.errors == []


def test_curves_rise_with_their_energies(replay, widget_page):
    mounted = widget_page(replay)
    mounted.drawn()
    paths = mounted.page.locator("path.curve").evaluate_all(
        "(paths) => paths.map((path) => path.getAttribute('d'))"
    )
    heights = [-float(y) for path in paths for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
    values = [value for curve in replay.curves.values() for value in curve]
    assert np.corrcoef(heights, values)[0, 1] > 0.999


@pytest.mark.parametrize("label", [LABEL, None], ids=["with truth", "without"])
def test_the_key_names_the_kinds_of_changes(label, widget_page):
    mounted = widget_page(
        MeanFieldReplay(IMAGE, TRACE, label=label, classes=CLASSES, view="changes")
    )
    mounted.drawn()
    kinds = [f"{name}: {meaning}" for name, (meaning, _) in draw.CHANGES.items()]
    assert mounted.page.locator(".dl-key > span").all_text_contents() == (
        kinds[3:] if label is None else kinds  # without truth a change is only a change
    )


def test_steps_are_walked_played_and_chosen_on_the_chart(replay, widget_page):
    replay.view, replay.step = "labels", 1
    mounted = widget_page(replay)
    page = mounted.page
    page.get_by_label("next step").click()
    assert mounted.get("step") == 2
    page.get_by_label("previous step").click()
    page.get_by_label("previous step").click()
    mounted.drawn()
    assert mounted.get("step") == 0 and page.get_by_label("previous step").is_disabled()
    page.get_by_label("play", exact=True).click()
    page.get_by_label("pause").wait_for()
    assert mounted.get("step") >= 1
    mounted.set(step=3)  # another hand on the slider stops it
    page.get_by_label("play", exact=True).wait_for()
    page.get_by_label("play", exact=True).click()
    page.get_by_label("play again").wait_for(timeout=5000)
    assert mounted.get("step") == 4
    box = page.locator(".dl-mf-chart").bounding_box()
    page.mouse.click(box["x"] + 52, box["y"] + 60)
    assert mounted.get("step") == 0 and mounted.errors == []


def test_who_wants_less_motion_gets_the_last_step_at_once(replay, widget_page):
    replay.view, replay.step = "labels", 1
    mounted = widget_page(replay)
    mounted.page.emulate_media(reduced_motion="reduce")
    mounted.page.get_by_label("to the last step").click()
    assert mounted.get("step") == 4
    mounted.page.get_by_label("to the start").click()
    assert mounted.get("step") == 0 and mounted.errors == []


def test_the_truth_takes_the_image_s_place(replay, widget_page):
    replay.view, replay.step = "marginal", 1
    mounted = widget_page(replay)
    mounted.page.get_by_label("show the truth").check()
    mounted.page.get_by_label("class", exact=True).select_option("stone")
    mounted.drawn()
    (left, _), (right, _) = mounted.page.evaluate(SHOWN)
    assert (left, right) == (replay.truth, replay.sheets["marginal/stone"])
