"""ASPP explorer: its sums are the network's, and its script agrees with Python."""

import base64
import json
import random

import numpy as np
import pytest
import torch
from ipywidgets.embed import dependency_state
from matplotlib import pyplot as plt
from node import call, call_many
from torch.nn import functional as F

from deeplab_lite import checkpoints, metrics, models, scenes
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets import (
    ASPPExplorer,
    _live,
    _twin,
    aspp_explorer,
)
from deeplab_lite.classroom.widgets import (
    branch_scores as aspp,
)

SCRIPT = _live.script("aspp_explorer")


@pytest.fixture(scope="module")
def widget():
    return ASPPExplorer()


@pytest.fixture(autouse=True)
def start_anew(widget):
    widget.seed, widget.on = 2_000_037, [True] * 4
    widget.unit, widget.view = [33, 14], "labels"


def states(count, seed=0):
    """Switches and units by lot."""
    rng = random.Random(seed)
    for _ in range(count):
        on = [rng.random() < 0.7 for _ in range(4)]
        yield on, [rng.randrange(41), rng.randrange(41)]


# ---- The network's own answer ----


@pytest.mark.parametrize("on", [(1, 1, 1, 1), (0, 1, 1, 1), (1, 0, 0, 1), (0, 0, 1, 0)])
def test_the_sum_is_what_the_network_says(widget, on):
    network = checkpoints.load("v2-scenes")
    for branch, lights in zip(network.branches, on, strict=True):
        if not lights:
            branch.fc8.weight.data.zero_()
            branch.fc8.bias.data.zero_()
    image, label = scenes.scene(2_000_037)
    with torch.inference_mode():
        expected = network(scenes.normalize(image)[None])[0].argmax(0).numpy()
    widget.on = [bool(lights) for lights in on]
    answer = widget.result
    assert (answer.labels != expected).mean() <= 1e-3  # near ties that 14 bits decide
    matrix = metrics.confusion_matrices(expected, label, 9)[0]
    assert answer.miou == pytest.approx(float(metrics.miou(matrix)), abs=1e-3)
    assert f"mIoU {answer.miou:.3f}" in widget.alt()


@pytest.mark.parametrize("factor", [1, 2, 8])
def test_maps_are_enlarged_as_torch_does(factor):
    scores = np.random.default_rng(0).integers(-4095, 4096, (3, 5, 7))
    size = [(n - 1) * factor + 1 for n in (5, 7)]
    truth = F.interpolate(torch.tensor(scores)[None].double(), size, None, "bilinear", True)[0]
    assert np.allclose(aspp.enlarge(scores, factor), truth.numpy() * factor**2)


def test_shares_are_counted_over_the_pixels_of_a_shape(widget):
    found, scene = widget.result, widget._scene
    assert [shape.radius for shape in widget._shapes] == sorted(s.radius for s in widget._shapes)
    for shape, share in zip(widget._shapes, found.shares, strict=True):
        mine = (scene.owner == shape.place) & (scene.label != 255)
        assert share == (found.labels[mine] == shape.label).sum() / mine.sum()
        y, x = (8 * at for at in shape.unit)
        near = scene.owner[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5]
        assert shape.place in near


# ---- Script and Python ----


def test_script_and_python_count_alike(widget):
    for seed in (2_000_037, 7):
        widget.seed = seed
        chosen = list(states(8, seed))
        data, rates = dict(widget.data), list(widget.rates)
        answers = call_many(SCRIPT, "analyse", [[data, rates, on, unit] for on, unit in chosen])
        for (on, unit), answer in zip(chosen, answers, strict=True):
            widget.on, widget.unit = on, unit
            mine = widget.result
            assert answer["labels"] == mine.labels.ravel().tolist()
            assert answer["shares"] == pytest.approx(mine.shares, abs=1e-12)
            assert answer["miou"] == pytest.approx(mine.miou, abs=1e-12)
            assert f"mIoU {mine.miou:.3f}" in answer["text"] or not any(on)


def sentences(widget):
    """What the script says of the state, and of its position."""
    state = dict(widget.data), list(widget.rates), list(widget.on), list(widget.unit)
    answer = call(SCRIPT, "analyse", *state)
    return answer["text"], answer["at"]


def test_the_script_says_what_is_lost_and_what_each_branch_says(widget):
    widget.on = [False, False, False, True]
    text, at = sentences(widget)
    shares = widget.result.shares
    lost = [
        f"the {scenes.CLASSES[shape.label]} of radius {shape.radius:.1f} "
        f"({100 * share:.0f} % right)"
        for shape, share in zip(widget._shapes, shares, strict=True)
        if share < 0.5
    ]
    kept = len(shares) - len(lost)
    assert len(lost) == 2 and text == (
        f"Only branch 4, rate 24: mIoU {widget.result.miou:.3f}. Of {len(shares)} shapes {kept} "
        f"have at least half of their pixels right; lost: {' and '.join(lost)}."
    )
    scores = widget._scores.codes[:, :, 33, 14]
    alone = [scenes.CLASSES[k] for k in scores.argmax(1)]
    assert at == (
        f"At row 264, column 112 the true class is {scenes.CLASSES[widget._scene.label[264, 112]]}."
        f" The branches that are on say {alone[3]}; alone they say {', '.join(alone[:-1])} and "
        f"{alone[-1]}."
    )


def test_script_reads_where_python_does():
    calls = [[unit, rate, 41] for unit in range(41) for rate in (1, 6, 24, 41)]
    assert call_many(SCRIPT, "taps", calls) == [aspp.taps(*call) for call in calls]


@pytest.mark.parametrize("length", [1, 254, 255, 256, 700])
def test_runs_and_packed_numbers_are_read_back(length):
    rng = np.random.default_rng(length)
    values = rng.integers(0, 256, length).repeat(rng.integers(1, 400, length))[:5000]
    assert call(SCRIPT, "unrun", _live.runs(values)) == values.tolist()
    codes = rng.integers(0, 2**14, (2, length))
    lows = [-7, 90]
    told = call(SCRIPT, "unpack", _live.text(aspp_explorer.packed(codes)), lows, length)
    assert told == (codes + np.array(lows)[:, None]).ravel().tolist()


# ---- States ----


def test_every_state_has_its_picture_and_its_words(widget):
    seen, alts = set(), set()
    for on, unit in states(6):
        widget.on, widget.unit = on, unit
        widget.view = "errors" if unit[0] % 2 else "labels"
        picture = widget.picture()
        assert picture.dtype == np.uint8 and picture.shape == (610, 880, 3)
        seen.add(picture.tobytes())
        alts.add(widget.alt())
    assert len(seen) == len(alts) == 6 and plt.get_fignums() == []


def test_with_no_branch_on_nothing_is_said(widget):
    widget.on = [False] * 4
    assert widget.result.labels.max() == 0 and widget.taps() == []
    text, at = sentences(widget)
    assert text.startswith("No branch is on") and "on say nothing;" in at
    assert "branches on none; mIoU" in widget.alt()
    assert widget.picture().shape[1] == 880


def test_taps_are_those_that_meet_the_map(widget):
    widget.unit, widget.on = [0, 16], [True, False, False, True]
    near, far = widget.taps()
    assert (near.name, far.name) == ("6", "24")
    assert near.taps == [(y, x) for y in (0.0, 48.0) for x in (80.0, 128.0, 176.0)]
    assert far.taps == [(y, x) for y in (0.0, 192.0) for x in (128.0, 320.0)]


def test_another_scene_is_read_when_it_is_asked_for(widget):
    before = widget.data
    widget.seed = 7
    assert widget.data["seed"] == 7 and widget.data["codes"] != before["codes"]
    assert widget.alt().startswith("ASPP on scene 7, rates 6, 12, 18, 24: branches on 1, 2, 3, 4; ")
    shape = next(shape for shape in widget._shapes if list(shape.unit) == widget.unit)
    assert f"the true class is {scenes.CLASSES[shape.label]}. The branches" in sentences(widget)[1]
    widget.ask = 41  # as the script does
    assert widget.get_state()["answer"] == 41


def test_state_and_twin_stay_small(widget):
    assert len(json.dumps(dependency_state([widget]))) < 330_000
    data, metadata = widget._repr_mimebundle_()
    assert data["text/plain"] == metadata["image/png"]["alt"] == widget.alt()
    assert len(base64.b64decode(data["image/png"])) < 140_000


def test_a_pyramid_of_ones_own_can_be_shown():
    torch.manual_seed(0)
    options = {"width": 0.05, "pools": "caffe", "dropout": 0.0}
    network = models.DeepLabV2(9, rates=(3, 5), **options).eval()
    widget = ASPPExplorer(7, model=network)
    assert sentences(widget)[0].startswith("All branches, rates 3 and 5: mIoU")
    assert widget.picture().shape[1] == 880


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"seed": -1}, "seed -1: expected a whole number"),
        ({"on": [True]}, r"on \[True\]: expected 4"),
        ({"unit": [41, 0]}, r"unit \[41, 0\]: expected row and column on a map of 41 x 41"),
        ({"view": "truth"}, "view 'truth': expected one of labels, errors"),
        ({"model": "v3-scenes"}, "a DeepLabV3: expected a DeepLabV2"),
        ({"model": "v2"}, "no checkpoint is called 'v2'"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        ASPPExplorer(**arguments)


def test_taps_are_drawn_once_and_the_middle_stays_dark():
    image = np.full((33, 33, 3), 90, np.uint8)
    one = draw.Branch("1", [(16, 16), (16, 24)])
    ax = draw.pyramid_taps(image, (16, 16), [one, one], _twin.figure(3, 3).subplots())
    assert len(ax.lines) == 2 and [text.get_text() for text in ax.texts] == ["1"]


# ---- In a browser ----


def test_branches_are_switched_and_positions_chosen(widget, widget_page):
    mounted = widget_page(widget)
    page = mounted.page
    page.get_by_label("branch 2 on").uncheck()
    mounted.drawn()
    assert mounted.get("on") == [True, False, True, True]
    widget.on = mounted.get("on")
    assert f"mIoU {widget.result.miou:.3f}" in page.locator(".dl-say").first.text_content()
    box = page.locator(".dl-as-plane svg").first.bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.25 * box["height"])
    assert mounted.get("unit") == [10, 20]
    page.locator(".dl-as-plane svg").first.press("ArrowLeft")
    assert mounted.get("unit") == [10, 19]
    page.locator(".dl-as-shapes button").last.click()
    assert mounted.get("unit") == list(widget._shapes[-1].unit) and mounted.errors == []


def test_taps_are_drawn_where_they_read(widget, widget_page):
    widget.unit = [3, 30]
    mounted = widget_page(widget)
    mounted.drawn()
    shown = mounted.page.locator("circle.tap").evaluate_all(
        "(taps) => taps.map((tap) => ['cy', 'cx'].map((name) => tap.getAttribute(name) - 0.5))"
    )
    read = {place for branch in widget.taps() for place in branch.taps}
    assert set(map(tuple, shown)) == read - {(24, 240)}  # the middle has a mark of its own


def test_kinds_of_errors_have_their_colours(widget, widget_page):
    widget.view = "errors"
    mounted = widget_page(widget)
    shown = mounted.painted(mounted.page.get_by_label("what the branches that are on say"))
    kinds = draw.error_kinds(widget.result.labels, widget._scene.label)
    assert {0, 1, 2, 3} < set(np.unique(kinds)) and not shown[kinds == 0].any()
    for kind, (_, color) in enumerate(draw.ERRORS.values(), 1):
        assert np.abs(shown[kinds == kind][:, :3] - color).max() <= 2  # of rounding with opacity


def test_another_scene_needs_a_kernel_and_says_so(widget, widget_page):
    mounted = widget_page(widget)
    seed = mounted.page.get_by_label("scene", exact=True)
    mounted.drawn()
    assert seed.is_disabled() and "kernel" in seed.get_attribute("title")
    mounted.set(answer=mounted.get("ask"))
    mounted.drawn()
    seed.fill("7")
    seed.press("Enter")
    mounted.drawn()
    assert mounted.get("seed") == 7
    assert "computing" in mounted.page.locator(".dl-wait").text_content()
    widget.seed = 7
    mounted.set(data=dict(widget.data))
    mounted.drawn()
    assert mounted.page.locator(".dl-wait").text_content() == "" and mounted.errors == []
    assert mounted.page.locator(".dl-as-shapes button").count() == len(widget._shapes)
