"""Boundary microscope: bands and scores are those of metrics, the script agrees, edges are true."""

import base64
import json
import random
import re

import numpy as np
import pytest
import torch
from ipywidgets.embed import dependency_state
from matplotlib import pyplot as plt
from node import call, call_many
from torch import nn

from deeplab_lite import ask, checkpoints, metrics, scenes
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets import BoundaryMicroscope, _live
from deeplab_lite.classroom.widgets import edge_scores as boundary
from deeplab_lite.crf import dense_crf

SCRIPT = _live.script("boundary_microscope")
FEW = ("v1", "v3", "v3+")


class Truth(nn.Module):
    """Says what is true of one scene, or of the scene shifted by some pixels."""

    def __init__(self, seed=23, shift=0):
        super().__init__()
        _, truth = scenes.scene(seed, outline=0)
        self.labels = torch.from_numpy(np.roll(truth, shift, 1)).long()

    def forward(self, x):
        return 9.0 * nn.functional.one_hot(self.labels, 9).permute(2, 0, 1)[None].float()


@pytest.fixture(scope="module")
def widget():
    return BoundaryMicroscope(models=FEW, seeds=(23, 7))


@pytest.fixture(autouse=True)
def start_anew(widget):
    widget.seed, widget.window, widget.width, widget.view = 23, 65, 2, "labels"
    widget.at = widget._known[23].spots[0]


def states(count):
    rng = random.Random(0)
    for _ in range(count):
        yield (
            [rng.randrange(321), rng.randrange(321)],
            rng.randrange(17, 130),
            rng.randrange(1, 9),
        )


# ---- Label maps ----


def test_maps_are_what_the_networks_say():
    image, _ = scenes.scene(7, outline=0)
    with torch.inference_mode():
        v1 = checkpoints.load("v1-scenes")(scenes.normalize(image)[None])[0].softmax(0)
        plus = checkpoints.load("v3plus-scenes")
        plus.output_stride = 8
        dense = plus(scenes.normalize(image)[None])[0]
    names = ("v1", "v1 + CRF", "v3+", "v3+ at OS8")
    found = boundary.label_maps(image, boundary.chosen(names))
    assert list(found) == list(names)
    assert np.array_equal(found["v1"], v1.argmax(0))
    assert np.array_equal(found["v1 + CRF"], dense_crf(v1, image).argmax(0))
    assert np.array_equal(found["v3+ at OS8"], dense.argmax(0))
    assert not np.array_equal(found["v3+"], found["v3+ at OS8"])


def test_a_network_runs_once_for_a_scene(monkeypatch):
    runs = []
    passes = ask.probabilities
    monkeypatch.setattr(
        ask,
        "probabilities",
        lambda network, image, how, *rest: (
            runs.append((rest[-1], how.output_stride)) or passes(network, image, how, *rest)
        ),
    )
    boundary.label_maps(scenes.scene(7)[0], boundary.chosen(None))
    names = ["v1-scenes", "v2-scenes", "v3-scenes", "v3-scenes", "v3plus-scenes", "v3plus-scenes"]
    assert runs == [*zip(names, [None, None, None, 8, None, 8], strict=True)]


def test_a_network_of_ones_own_stands_beside_the_shipped_ones():
    mine = Truth().train()
    widget = BoundaryMicroscope(models={"mine": mine, "v3": None}, seeds=[23], width=1)
    assert widget.tallies["mine"].miou == 1 and mine.training
    assert "; right in the band: mine 100 %, v3 " in widget.alt()
    assert BoundaryMicroscope(models={"mine": mine}, seeds=[23]).picture().shape[1] == 940


# ---- Bands and scores ----


@pytest.mark.parametrize("width", [1, 2, 5, 8])
def test_tallies_are_those_of_metrics(widget, width):
    known = widget._known[23]
    widget.width, widget.at, widget.window = width, [160, 96], 64
    band = metrics.trimap(known.truth, width).numpy()
    for name, found in widget.tallies.items():
        right = band & (known.maps[name] == known.truth)
        assert (found.right, found.pixels) == (right.sum(), band.sum())
        cut = np.s_[128:192, 64:128]
        assert (found.here, found.pixels_here) == (right[cut].sum(), band[cut].sum())
        inside = np.where(band, known.truth, 255)
        matrix = metrics.confusion_matrices(known.maps[name], inside, 9)[0]
        assert found.miou == pytest.approx(float(metrics.miou(matrix)))


def test_spots_lie_on_boundaries_where_the_maps_differ():
    truth = np.zeros((60, 60), np.uint8)
    truth[10:50, 10:50] = 1
    other = truth.copy()
    other[8:14, 26:34] = 2  # they differ at the upper edge, a little at the right one
    other[30, 50] = 1
    first, *rest = boundary.spots(truth, [truth, other])
    assert 8 <= first[0] <= 12 and 24 <= first[1] <= 36
    band = metrics.trimap(truth, 1).numpy()
    assert all(band[y, x] for y, x in (first, *rest)) and 2 <= 1 + len(rest) <= 12
    points = np.array([first, *rest])
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert (gaps[~np.eye(len(points), dtype=bool)] >= 14).all()
    assert boundary.spots(np.zeros((20, 20), int), [np.ones((20, 20))] * 2) == []


@pytest.mark.parametrize(
    "center, side, expected",
    [((64, 64), 33, (48, 48, 33)), ((0, 128), 17, (0, 112, 17)), ((5, 60), 64, (0, 28, 64))],
)
def test_a_window_lies_in_the_scene(center, side, expected):
    assert draw.window(center, side, 129) == expected


# ---- Pictures ----


def test_lines_run_between_pixels_of_two_classes():
    label = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 2, 0], [0, 0, 0, 0]])
    found = {tuple(map(tuple, line)) for line in draw.boundary_segments(label).tolist()}
    assert found == {
        ((0.5, 0.5), (2.5, 0.5)),
        ((1.5, 1.5), (2.5, 1.5)),
        ((0.5, 2.5), (2.5, 2.5)),
        ((0.5, 0.5), (0.5, 2.5)),
        ((1.5, 1.5), (1.5, 2.5)),
        ((2.5, 0.5), (2.5, 2.5)),
    }
    path = call(SCRIPT, "outline", label.ravel().tolist(), 4)
    assert set(path.split("M")[1:]) == {"1 1H3", "2 2H3", "1 3H3", "1 1V3", "2 2V3", "3 1V3"}
    assert draw.boundary_segments(np.ones((3, 3))).shape == (0, 2, 2)


def test_labels_are_dense_in_the_band_and_thin_beyond():
    image, labels = np.full((2, 3, 3), 90, np.uint8), np.array([[0, 1, 1], [0, 1, 1]])
    band = np.array([[1, 1, 0], [0, 1, 0]], bool)
    shown, grey = draw.banded(image, labels, band).astype(int), draw.grey(image).astype(int)
    color = draw.SCENE_PALETTE.astype(int)
    away = np.abs(shown - color[labels]).sum(2)
    assert away[0, 1] < away[0, 2] and away[0, 0] < away[1, 0]
    assert np.array_equal(shown[1, 0], grey[1, 0])  # ground beyond the band


def test_errors_are_coloured_in_the_band_alone():
    image = np.full((1, 4, 3), 90, np.uint8)
    truth, said = np.array([[1, 1, 0, 1]]), np.array([[1, 0, 2, 0]])
    shown = draw.band_errors(image, said, truth, np.array([[True, True, True, False]]))
    right, missed, invented, beyond = shown[0].astype(int)
    assert np.ptp(right) == 0 == np.ptp(beyond) and right[0] > beyond[0]
    for pixel, name in ((missed, "missed"), (invented, "invented")):
        assert np.abs(pixel - draw.ERRORS[name][1]).max() < 25


def test_every_state_has_its_picture_and_its_words(widget):
    seen, alts = set(), set()
    for number, (at, window, width) in enumerate(states(6)):
        widget.at, widget.window, widget.width = at, window, width
        widget.view = ("labels", "errors")[number % 2]
        widget.seed = (23, 7)[number // 3]
        picture = widget.picture()
        assert picture.dtype == np.uint8 and picture.shape[1] == 940
        seen.add(picture.tobytes())
        alts.add(widget.alt())
    assert len(seen) == len(alts) == 6 and plt.get_fignums() == []


def test_without_arguments_it_brings_all_networks_along():
    widget = BoundaryMicroscope()
    assert widget.models == list(boundary.MODELS) and list(widget.scenes) == ["23", "7", "11"]
    assert len(json.dumps(dependency_state([widget]))) < 400_000
    data, metadata = widget._repr_mimebundle_()
    assert data["text/plain"] == metadata["image/png"]["alt"] == widget.alt()
    assert len(base64.b64decode(data["image/png"])) < 90_000
    tallies = widget.tallies
    assert tallies["v3+"].right > max(tallies[name].right for name in ("v1", "v2", "v3"))


# ---- Script and Python ----


def test_script_and_python_count_alike(widget):
    chosen = [(seed, *state) for seed in (23, 7) for state in states(15)]
    calls = [
        [dict(widget.scenes[str(seed)]), list(FEW), 9, 321, seed, at, window, width]
        for seed, at, window, width in chosen
    ]
    for state, told in zip(chosen, call_many(SCRIPT, "analyse", calls), strict=True):
        widget.seed, widget.at, widget.window, widget.width = state
        assert tuple(told["corner"]) == widget.shown[:2]
        for found, mine in zip(told["tallies"], widget.tallies.values(), strict=True):
            assert found["miou"] == pytest.approx(mine.miou, abs=1e-12)
            assert {**found, "miou": 0} == {**mine._asdict(), "miou": 0}


def test_the_script_says_who_follows_the_edges_best():
    counts = {"right": 9, "pixels": 1200, "miou": 0.5, "here": 0, "pixels_here": 0}
    more = {**counts, "right": 600, "here": 33}
    assert call(SCRIPT, "describe", 23, 1, 33, ["one"], [counts]) == (
        "Scene 23: 1,200 pixels lie within 1 pixel of a boundary. one has 1 % of them right. In "
        "this window of 33 x 33 pixels there are 0."
    )
    here = [{**each, "pixels_here": 66} for each in (counts, more)]
    assert call(SCRIPT, "describe", 7, 2, 21, ["one", "two"], here) == (
        "Scene 7: 1,200 pixels lie within 2 pixels of a boundary. two has 50 % of them right, "
        "the most; one 1 %, the fewest. In this window of 21 x 21 pixels there are 66; right are "
        "one 0 %, two 50 %."
    )


def test_the_script_measures_distances_as_metrics_does():
    _, truth = scenes.scene(5, outline=0)
    found = np.array(call(SCRIPT, "distances", truth.ravel().tolist(), 321, 8))
    distance = metrics.boundary_distance(truth).numpy().ravel()
    capped = np.where(distance <= 8, np.rint(distance.astype(float) ** 2), 255)
    assert np.array_equal(found, capped)
    assert call(SCRIPT, "unrun", _live.runs(truth)) == truth.ravel().tolist()


# ---- Arguments ----


def test_another_scene_is_computed_when_it_is_asked_for(widget):
    for seed in (5, 6):
        widget.seed = seed
        assert list(widget.scenes) == ["23", "7", str(seed)]  # one guest at a time
        assert widget.at == widget._known[seed].spots[0]
        assert widget.alt().startswith(f"Boundary microscope on scene {seed}: ")
    widget.ask = 12  # as the script does
    assert widget.answer == 12


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"seed": -1}, "seed -1: expected a whole number"),
        ({"at": [321, 0]}, r"at \[321, 0\]: expected row and column of a scene of 321 x 321"),
        ({"window": 16}, "window 16: expected 17 to 129 pixels"),
        ({"width": 9}, "width 9: expected 1 to 8 pixels"),
        ({"view": "truth"}, "view 'truth': expected one of labels, errors"),
        ({"models": ["v4"]}, r"models \['v4'\]: expected some of v1, v1 \+ CRF, v2"),
        ({"models": []}, r"no models: give names"),
        ({"models": {"two": nn.Conv2d(3, 2, 1)}}, r"two gives \(1, 2, 321, 321\): expected logits"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        BoundaryMicroscope(**{"models": ["v1"], "seeds": [7], **arguments})


# ---- In a browser ----


def test_edges_are_visited_and_windows_moved(widget, widget_page):
    mounted = widget_page(widget)
    page, spots = mounted.page, widget._known[23].spots
    page.get_by_label("next edge").click()
    assert mounted.get("at") == spots[1]
    page.get_by_label("previous edge").click()
    page.get_by_label("previous edge").click()
    assert mounted.get("at") == spots[-1]
    box = page.locator(".dl-bm-whole").bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.25 * box["height"])
    assert np.abs(np.array(mounted.get("at")) - [80, 160]).max() <= 2
    middle = page.locator(".dl-bm-panels .dl-bm-plane").nth(2).bounding_box()
    before = mounted.get("at")
    page.mouse.click(middle["x"] + 0.25 * middle["width"], middle["y"] + 0.5 * middle["height"])
    moved = np.array(mounted.get("at")) - before
    assert abs(moved[0]) <= 1 and abs(moved[1] + 65 / 4) <= 1.5
    page.locator(".dl-bm-whole svg").press("ArrowDown")
    assert mounted.get("at")[0] == before[0] + moved[0] + 2
    mounted.set(window=21, width=5)
    mounted.drawn()
    widget.at, widget.window, widget.width = mounted.get("at"), 21, 5
    counts = next(iter(widget.tallies.values()))
    assert (
        page.locator(".dl-say")
        .text_content()
        .startswith(f"Scene 23: {counts.pixels:,} pixels lie within 5 pixels of a boundary. ")
    )
    assert (
        f"21 x 21 pixels there are {counts.pixels_here:,}" in page.locator(".dl-say").text_content()
    )
    assert mounted.errors == []


@pytest.mark.parametrize("width", [1, 2, 5])
def test_the_canvas_is_dense_exactly_in_the_band(widget, widget_page, width):
    known = widget._known[23]
    band = metrics.trimap(known.truth, width).numpy()
    widget.width = width
    mounted = widget_page(widget)
    panels = mounted.page.locator("canvas")

    def alpha(panel):
        return mounted.painted(panels.nth(panel))[..., 3]

    assert not alpha(0).any()  # the image is not painted over
    for panel, labels in enumerate((known.truth, *known.maps.values()), 1):
        assert np.array_equal(alpha(panel), np.where(band, 204, np.where(labels > 0, 71, 0)))
    mounted.set(view="errors")
    for panel, labels in enumerate(known.maps.values(), 2):
        wrong = labels != known.truth
        assert np.array_equal(alpha(panel), np.where(band, np.where(wrong, 230, 128), 0))
    assert band.any() and not band.all() and mounted.errors == []


def test_dots_are_on_the_wrong_pixels_of_the_band(widget, widget_page):
    known = widget._known[23]
    mounted = widget_page(widget)
    mounted.drawn()
    wrong = metrics.trimap(known.truth, 2).numpy() & (known.maps["v1"] != known.truth)
    dots = mounted.page.locator("path.dots").first.get_attribute("d")
    places = [(int(y), int(x)) for x, y in re.findall(r"M(\d+)\.5 (\d+)\.5", dots)]
    assert places == [*map(tuple, np.argwhere(wrong))]


def test_the_lens_shows_the_window(widget, widget_page):
    widget.at, widget.window = [100, 20], 17
    mounted = widget_page(widget)
    mounted.drawn()
    box, lens = (
        mounted.page.locator(name).nth(1).bounding_box() for name in (".dl-bm-plane", ".dl-bm-lens")
    )
    pixel = lens["width"] / 321
    top, left, side = widget.shown
    assert (box["width"] - 2) / pixel == pytest.approx(side, rel=0.01)
    assert (box["x"] + 1 - lens["x"]) / pixel == pytest.approx(left, abs=0.3)
    assert (box["y"] + 1 - lens["y"]) / pixel == pytest.approx(top, abs=0.3)


def test_another_scene_needs_a_kernel_and_says_so(widget, widget_page):
    mounted = widget_page(widget)
    seed = mounted.page.get_by_label("scene", exact=True)
    mounted.drawn()
    assert seed.is_disabled() and "kernel" in seed.get_attribute("title")
    mounted.page.get_by_role("button", name="scene 7").click()
    assert mounted.get("at") == widget._known[7].spots[0]
    mounted.set(answer=mounted.get("ask"))
    mounted.drawn()
    seed.fill("5")
    seed.press("Enter")
    mounted.drawn()
    assert mounted.get("seed") == 5
    assert "computing" in mounted.page.locator(".dl-wait").text_content()
    widget.seed = 5
    mounted.set(scenes=dict(widget.scenes), at=widget.at)
    mounted.drawn()
    assert mounted.page.locator(".dl-wait").text_content() == ""
    assert mounted.page.locator(".dl-say").text_content().startswith("Scene 5: ")
    assert mounted.errors == []
