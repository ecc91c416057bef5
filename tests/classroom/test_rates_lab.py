"""Rates lab: its table is what the benchmark measures, its script agrees with Python."""

import json
import random

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from node import call_many

from benchmarks import ladder
from benchmarks import rates as bench
from deeplab_lite import atrous, checkpoints
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets import RatesLab, _twin, rates_lab
from deeplab_lite.models.zoo import build

SCRIPT = _twin.script("rates_lab")
ALL = [*rates_lab.settings()]
SOME = [
    bench.TRAINED,
    (8, (6, 12, 18), (1, 2, 4)),
    (16, (12, 24, 36), (1, 1, 1)),
    (32, (1, 2, 3), (1, 2, 1)),
]


def lab_of(key, place=(160, 160)):
    return RatesLab(*key, place)


def sentences(*keys):
    """What the script says of these settings."""
    data = RatesLab().data
    return call_many(SCRIPT, "describe", [[data, s, list(r), list(g)] for s, r, g in keys])


# ---- The table ----


def test_the_table_has_every_setting_of_the_benchmark():
    assert rates_lab.options() == (
        list(bench.OUTPUT_STRIDES),
        list(bench.RATES),
        list(bench.MULTI_GRIDS),
    )
    assert len(ALL) == 36 and rates_lab.TRAINED == bench.TRAINED and rates_lab.SCENES == bench.COUNT
    assert rates_lab.SIDE == ladder.SIDE
    assert rates_lab.RADII[:-1] == ladder.RADII[:-1]  # the ladder's last includes 140
    options = checkpoints.card("v3-scenes")["model"]["options"]
    trained = build("v3")
    assert (options["output_stride"], tuple(options["rates"])) == bench.TRAINED[:2]
    assert trained.backbone.multi_grid == bench.TRAINED[2]


@pytest.mark.parametrize("key", SOME)
def test_fields_and_cost_are_those_of_the_network(key):
    setting = rates_lab.settings()[key]
    assert list(setting.fields) == bench.fields(key)
    assert setting.multiply_adds == bench.cost(key)


def test_scores_are_those_of_the_shipped_weights():
    model = checkpoints.load("v3-scenes").to(memory_format=torch.channels_last)
    setting = rates_lab.settings()[bench.TRAINED]
    miou, _, _, *recall = bench.scores(bench.TRAINED, model).values()
    assert miou == pytest.approx(setting.miou, abs=5e-4)
    assert recall == pytest.approx(setting.recall, abs=1e-3)


def test_arranging_leaves_the_weights_and_comes_back():
    model = checkpoints.load("v3-scenes")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for key in [*random.Random(0).sample(ALL, 6), bench.TRAINED]:
        bench.arrange(model, *key)
        assert (model.output_stride, model.classifier.rates) == key[:2]
        lost = 2 if key[0] == 8 else 1
        convs = [c for c in model.backbone.features if hasattr(c, "kernel_size") and c._parameters]
        assert [c.dilation[0] for c in convs[-3:]] == [lost * m for m in key[2]]
    assert all(before[name].equal(value) for name, value in model.state_dict().items())
    fresh = checkpoints.load("v3-scenes")
    assert str(fresh) == str(model)


@pytest.mark.parametrize("side", [11, 21, 41])
def test_shares_are_those_of_valid_taps(side):
    rates = range(1, 2 * side)
    percents = call_many(SCRIPT, "percentOnMap", [[side, rate] for rate in rates])
    counted = [100 * atrous.valid_taps(side, rate).share for rate in rates]
    assert np.abs(np.subtract(percents, counted)).max() <= 0.5 + 1e-6


# ---- Script and Python ----


def test_the_script_finds_the_row_of_every_setting():
    data = RatesLab().data
    calls = [[data, stride, list(rates), list(grid)] for stride, rates, grid in ALL]
    for key, found in zip(ALL, call_many(SCRIPT, "find", calls), strict=True):
        setting = rates_lab.settings()[key]
        assert found["miou"] == setting.miou and found["fields"] == list(setting.fields)
        assert found["side"] == setting.map_side


def test_script_finds_the_unit_that_python_finds():
    calls = [
        [[y, x], stride] for stride in (32, 16, 8) for y in range(0, 321, 13) for x in (0, 320)
    ]
    for (place, stride), unit in zip(calls, call_many(SCRIPT, "unitAt", calls), strict=True):
        assert tuple(unit) == RatesLab(stride, place=place).unit


def test_taps_meet_the_map_as_often_as_counted():
    for side, rate in ((21, 3), (21, 12), (41, 36), (11, 12)):
        calls = [[[i, j], rate, side] for i in range(side) for j in range(side)]
        met = sum(tap[2] for taps in call_many(SCRIPT, "taps", calls) for tap in taps)
        assert met / (9 * side**2) == pytest.approx(atrous.valid_taps(side, rate).share)


# ---- What it says and shows ----


def test_script_and_title_name_score_and_cost():
    score = "Output stride 16, rates 3, 6, 9, multi-grid 1, 1, 1: mIoU 0.819 [0.798, 0.834]"
    assert lab_of(bench.TRAINED).alt() == f"{score}, 602 million multiply-adds"
    (text,) = sentences(bench.TRAINED)
    cost = "on 100 scenes, 602 million multiply-adds"
    assert text.startswith(f"{score} {cost}. On the map of 21×21, ")


@pytest.mark.parametrize(
    "key, end",
    [
        (bench.TRAINED, "This is how it was trained."),
        ((8, (6, 12, 18), (1, 1, 1)), "Taps are 48, 96, 144 pixels apart, as in training."),
        ((8, (3, 6, 9), (1, 1, 1)), "Taps are 24, 48, 72 pixels apart, in training 48, 96, 144."),
    ],
)
def test_it_says_how_far_a_setting_is_from_training(key, end):
    assert sentences(key)[0].endswith(end)


def test_it_names_rates_that_are_a_1x1():
    two, one, none = sentences(SOME[2], (32, (6, 12, 18), (1, 2, 4)), (8, (12, 24, 36), (1, 2, 4)))
    assert "At rates 24, 36 only the centre tap is left" in two
    assert "At rates 12, 18 only the centre tap" in one and "centre tap" not in none


def test_settings_have_pictures_of_their_own():
    some = [*SOME, *random.Random(1).sample(sorted(set(ALL) - set(SOME)), 6)]
    pictures = {lab_of(key, (40, 280)).picture().tobytes() for key in some}
    assert len(pictures) == len(some) and plt.get_fignums() == []


def test_the_picture_follows_the_place():
    lab = RatesLab()
    before = lab.picture()
    lab.place = [0, 16]
    assert lab.unit == (0, 1) and not np.array_equal(before, lab.picture())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"output_stride": 4}, r"output_stride 4 was not measured: expected 32 or 16 or 8"),
        ({"rates": [1, 2, 5]}, r"rates \[1, 2, 5\] was not measured: expected 1, 2, 3 or 3, 6, 9"),
        ({"multi_grid": [1, 2]}, r"multi_grid \[1, 2\] was not measured"),
        ({"place": [0, 321]}, r"place \[0, 321\]: expected row and column from 0 to 320"),
        ({"place": [3]}, r"place \[3\]: expected row and column"),
    ],
)
def test_a_setting_that_was_not_measured_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        RatesLab(**change)


def test_state_and_twin_stay_small():
    lab = RatesLab()
    data, metadata = lab._repr_mimebundle_()
    assert data["text/plain"] == metadata["image/png"]["alt"] == lab.alt()
    assert len(json.dumps(lab.get_state())) < 40_000 and len(data["image/png"]) < 60_000


def test_scores_need_a_cell_each():
    with pytest.raises(ValueError, match=r"scores of shape \(2, 2\): expected 1 rows and 2 col"):
        draw.score_table(np.ones((2, 2)), ["a"], ["b", "c"], (0, 0), (0, 0))


# ---- In the browser ----


def test_a_click_on_the_table_chooses_a_setting(widget_page):
    page = widget_page(RatesLab())
    page.page.locator('.cell[data-at="2,3,0"]').click()
    assert page.get("output_stride") == 8
    assert page.get("rates") == [12, 24, 36] and page.get("multi_grid") == [1, 1, 1]
    assert page.page.locator(".dl-say").inner_text() == sentences((8, (12, 24, 36), (1, 1, 1)))[0]
    assert page.errors == []


def test_arrow_keys_and_a_click_move_the_position(widget_page):
    page = widget_page(RatesLab())
    chart = page.page.locator(".dl-rl-map")
    chart.focus()
    chart.press("ArrowUp")
    assert page.get("place") == [144, 160]
    for _ in range(11):
        chart.press("ArrowRight")
    assert page.get("place") == [144, 320]  # at the edge it stays
    page.drawn()
    assert "Row 9, column 20: " in page.page.locator(".dl-rl-left .dl-hint").inner_text()
    box = chart.bounding_box()
    chart.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    assert page.get("place") == [160, 160] and page.errors == []


RECALL = """(rows) => rows.map((row) => [
  row.querySelector("u").style.width, row.querySelector("s").style.left].map(parseFloat))"""


def test_recall_is_shown_beside_that_of_the_trained_setting(widget_page):
    chosen = (8, (3, 6, 9), (1, 1, 1))
    page = widget_page(RatesLab(*chosen))
    page.drawn()
    shown = page.page.locator(".dl-rl-recall > div").evaluate_all(RECALL)
    now, trained = (rates_lab.settings()[key].recall for key in (chosen, rates_lab.TRAINED))
    assert np.array(shown) == pytest.approx(100 * np.stack([now, trained], 1), abs=0.01)


def test_every_setting_is_drawn_in_the_browser(widget_page):
    page = widget_page(RatesLab())
    seen = set()
    for stride, rates, grid in ALL:
        page.set(output_stride=stride, rates=list(rates), multi_grid=list(grid))
        seen.add(page.drawn())
    assert len(seen) == len(ALL) and page.errors == []
