"""Architecture explorer: its numbers are the networks', its script counts as Python does."""

import itertools
import re

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from node import call, call_many
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets import ArchitectureExplorer, _twin, architecture_explorer
from deeplab_lite.classroom.widgets import architecture_steps as numbers
from deeplab_lite.classroom.widgets.architecture_steps import FC6, POOLS, State
from deeplab_lite.models.vgg import decimate
from deeplab_lite.receptive_field import receptive_fields

AE = _twin.script("architecture_explorer")
BOTH = (False, True)
CHANGES = list(itertools.product(BOTH, BOTH, FC6, POOLS))  # dense, atrous, fc6, pools
ALL = [
    State(size, convolutional, *changes)
    for convolutional, changes in itertools.product(BOTH, CHANGES)
    for size in (32, 56, 224, 306, 320, 321, 514, 1025)
]


def plain(**changes):
    """VGG-16 with convolutions for its fully connected layers, and some changes."""
    return State(321, True, False, False, "7x7", "torchvision")._replace(**changes)


def last(state):
    return numbers.rows(state)[-1]


# ---- the numbers ----


@pytest.mark.filterwarnings("ignore:Using padding='same' with even")
@pytest.mark.parametrize("size", [224, 321])
@pytest.mark.parametrize("dense, atrous, fc6, pools", CHANGES)
def test_every_combination_is_that_of_a_real_network(dense, atrous, fc6, pools, size):
    state = State(size, True, dense, atrous, fc6, pools)
    net = nn.Sequential()
    for name, module in numbers.named_layers(numbers.network(state)):
        net.add_module(name, module)
    exact = receptive_fields(net.eval(), size)
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        net(torch.empty(1, 3, size, size))
    rows = numbers.rows(state)
    assert [row.layer.name for row in rows] == [name for name, _ in net.named_children()]
    for row in rows:
        truth = exact[row.layer.name]
        assert truth.map_size == (row.size, row.size) and truth.stride == (row.stride, row.stride)
        assert truth.size == (row.field, row.field) and truth.padding == (row.start, row.start)
        counted = sum(counter.flop_counts[f"Sequential.{row.layer.name}"].values())
        assert counted == 2 * row.multiply_adds
        weights = net.get_submodule(row.layer.name).parameters()
        assert row.layer.parameters == sum(weight.numel() for weight in weights)


@pytest.mark.parametrize(
    "state, size, stride, field, parameters",
    [
        (plain(), 10, 32, 404, 134_346_581),
        (plain(fc6="4x4"), 10, 32, 308, 65_140_565),
        (plain(fc6="largefov"), 10, 32, 276, 20_505_429),
        (plain(dense=True), 40, 8, 220, 134_346_581),
        (State(), 41, 8, 435, 20_505_429),
        (State(513), 65, 8, 435, 20_505_429),
        (State(514, fc6="7x7", pools="notes"), 67, 8, 396, 134_346_581),
    ],
)
def test_figures_of_the_papers_and_of_the_notes(state, size, stride, field, parameters):
    row = last(state)
    assert (row.size, row.stride, row.field) == (size, stride, field)
    assert sum(row.layer.parameters for row in numbers.rows(state)) == parameters


def test_maps_of_the_notes_and_of_the_released_model():
    for state, sizes in (
        (State(514, fc6="7x7", pools="notes"), [257, 129, 65, 66, 67]),
        (State(321), [161, 81, 41, 41, 41]),
    ):
        rows = {row.layer.name: row.size for row in numbers.rows(state)}
        assert [rows[f"pool{stage}"] for stage in range(1, 6)] == sizes


@pytest.mark.parametrize("pools", POOLS)
@pytest.mark.parametrize("fc6", FC6)
def test_a_matrix_fits_exactly_the_images_that_the_table_says(fc6, pools):
    state = State(0, False, False, False, fc6, pools)
    model = numbers.network(state)
    conv = model.head.fc6
    flat = conv.in_channels * conv.kernel_size[0] ** 2
    with torch.device("meta"):
        net = nn.Sequential(model.backbone.features, nn.Flatten(), nn.Linear(flat, 8))
        fitting = []
        for size in range(64, 300, 4):
            try:
                net(torch.empty(1, 3, size, size))
                fitting.append(size)
            except RuntimeError:
                pass
    assert fitting == [n for n in range(64, 300, 4) if last(state._replace(input_size=n)).size]
    assert fitting and (224 in fitting) == (
        (fc6, pools) in {("7x7", "torchvision"), ("7x7", "notes")}
    )


@pytest.mark.parametrize("fc6, kernel", [("7x7", 7), ("4x4", 4), ("largefov", 3)])
def test_dilated_taps_stand_where_decimate_took_them(fc6, kernel):
    """Among 7 taps a side, 32 pixels apart, each kept one has a place; dilation goes back to it."""
    taps = torch.arange(7.0).expand(1, 1, 7, 7)
    kept = decimate(taps, (1, 1, kernel, kernel))[0, 0, 0]
    row = next(r for r in numbers.rows(State(fc6=fc6)) if r.layer.name == "fc6")
    assert (kept.diff() * 32 == row.spacing).all() and row.spacing == row.trained


# ---- the script ----


def js(name, states, names=None):
    """One answer of the script for each state, or for each state and layer."""
    table, more = numbers.table(), [[]] * len(states) if names is None else [[n] for n in names]
    asked = [[table, state._asdict(), *rest] for state, rest in zip(states, more, strict=True)]
    return call_many(AE, name, asked)


def test_script_counts_as_python_does_in_every_state():
    for state, found in zip(ALL, js("rows", ALL), strict=True):
        expected = [{**row._asdict(), "layer": row.layer._asdict()} for row in numbers.rows(state)]
        assert found == expected, state
    assert js("summary", ALL) == [[list(pair) for pair in numbers.summary(state)] for state in ALL]


def test_the_verdict_follows_the_taps():
    tones = {"fine": 0, "odd": 0, "wrong": 0}
    for state, (tone, text) in zip(ALL, js("verdict", ALL), strict=True):
        rows = numbers.rows(state)
        tones[tone] += 1
        assert (tone == "wrong") == (rows[-1].size == 0), state
        if tone != "wrong":
            assert (tone == "fine") == all(r.spacing == r.trained for r in rows), state
        if "instead of" in text and tone == "odd":
            field, was = rows[-1].field, last(state._replace(dense=False, atrous=False, fc6="7x7"))
            assert f"sees {field} pixels instead of {was.field}" in text and field != was.field
        assert text and "  " not in text
    assert min(tones.values()) > 10


@pytest.mark.parametrize(
    "state, words",
    [
        (plain(), "VGG-16 as trained, at every place: a score every 32 pixels"),
        (plain(dense=True), r"8 pixels apart \(trained: 16\) and fc6's 8 \(trained: 32\)"),
        (
            plain(atrous=True),
            "Dilation, but the strides are still there.*1076 pixels instead of 404",
        ),
        (plain(fc6="4x4"), r"fc6's taps are 32 pixels apart \(trained: 64\).*308 .* of 404"),
        (State(), "a score every 8 pixels instead of every 32"),
        (plain(convolutional=False), "a map of 7 × 7 positions and gets 10 × 10"),
        (plain(convolutional=False, input_size=224), "One answer for the whole image"),
        (State(56, False, True, True, "7x7", "torchvision"), "connected layers have no dilation"),
        (State(514, fc6="7x7", pools="notes"), "A map of 65 × 65 would cover the image"),
    ],
)
def test_odd_combinations_are_shown_for_what_they_are(state, words):
    assert re.search(words, js("verdict", [state])[0][1])


@pytest.mark.parametrize(
    "state, layer, sentence",
    [
        (State(), "image", "The image: 321 × 321 pixels of 3 channels."),
        (
            State(),
            "fc6",
            "fc6 is a 3 × 3 convolution at dilation 12, 512 to 1024 channels. Map 41 × 41; a unit "
            "sees 435 × 435 pixels. Its taps are 96 pixels apart, as they were trained. 4,719,616 "
            "parameters, 7.9 G multiply-adds.",
        ),
        (
            plain(dense=True),
            "pool4",
            "pool4 takes the maximum of 3 × 3 positions at stride 1.",
        ),
        (
            plain(convolutional=False),
            "fc6",
            "fc6 is fully connected to a 7 × 7 map of 512 channels; there is none here, so no "
            "output.",
        ),
    ],
)
def test_the_script_says_what_a_layer_does(state, layer, sentence):
    assert js("describe", [state], [layer])[0].startswith(sentence)


def test_counts_are_written_to_one_decimal():
    counts = [[n] for n in (0, 21, 999, 1000, 1049, 1050, 999_949, 4_250_000, 164_417_536_000)]
    assert call_many(AE, "amount", counts) == [numbers.amount(n) for [n] in counts]
    assert numbers.amount(134_346_581) == "134.3 M"


# ---- the widget ----


def test_presets_walk_from_vgg_to_deeplab():
    presets = call(AE, "presets")
    widget, pictures, fields = ArchitectureExplorer(), set(), []
    for preset in presets:
        for name, value in preset["state"].items():
            setattr(widget, name, value)
        fields.append(last(widget.state).field)
        picture = widget.picture()
        assert picture.dtype == np.uint8 and picture.shape == (460, 800, 3)
        pictures.add(picture.tobytes())
    assert len(pictures) == len(presets) == 6
    assert fields == [404, 404, 220, 412, 435, 396]


def test_every_combination_of_the_four_changes_has_a_picture_of_its_own():
    states = [State(224, *changes) for changes in itertools.product(BOTH, BOTH, BOTH, FC6)]
    pictures = {architecture_explorer.picture(state, "fc6").tobytes() for state in states}
    assert len(pictures) == len(states)


def test_bars_of_the_picture_are_to_scale():
    ax = Figure().add_subplot()
    columns = architecture_explorer.columns(State())
    draw.layer_chain(columns, "fc6", ax)
    up = {
        round(b.get_x() + b.get_width() / 2): b.get_height() for b in ax.patches if b.get_y() == 0
    }
    for x, column in enumerate(columns):
        assert up[x] / up[0] == pytest.approx(column.size / 321)
    down = [-b.get_height() for b in ax.patches if b.get_y() < -0.3]
    fields = [column.field for column in columns[1:]]
    assert np.allclose(np.array(down) / down[-1], np.array(fields) / 435)


def test_every_layer_has_a_title_of_its_own():
    widget, alts = ArchitectureExplorer(), set()
    for name in architecture_explorer.names():
        widget.layer = name
        alts.add(widget.alt())
    assert len(alts) == len(architecture_explorer.names()) == 23
    assert any("; fc6: map 41 × 41, field 435 pixels; score map 41 × 41;" in alt for alt in alts)


def test_a_layer_that_is_not_there_gives_way_to_pool5():
    widget = ArchitectureExplorer(layer="pool5a")
    assert widget.shown() == "pool5a" and "; pool5a: map 41 × 41" in widget.alt()
    widget.fc6 = "7x7"
    assert widget.shown() == "pool5" and "; pool5: map 41 × 41" in widget.alt()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"input_size": 31}, "input_size 31: expected 32 to 1025 pixels"),
        ({"fc6": "5x5"}, "fc6 '5x5': expected one of 7x7, 4x4, largefov"),
        ({"pools": "mean"}, "pools 'mean': expected one of torchvision, caffe, notes"),
        ({"layer": "fc9"}, "layer 'fc9': expected one of image, conv1_1"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        ArchitectureExplorer(**arguments)


# ---- in a browser ----


def test_a_click_and_the_arrow_keys_choose_a_layer(widget_page):
    mounted = widget_page(ArchitectureExplorer())
    mounted.drawn()
    chain = mounted.page.locator("svg[role=slider]")
    box, say = chain.bounding_box(), mounted.page.locator(".dl-ar-detail .dl-say")
    mounted.page.mouse.click(box["x"] + box["width"] - 8, box["y"] + 60)
    mounted.page.mouse.move(0, 0)
    mounted.drawn()
    assert mounted.get("layer") == "fc8" and "fc8 is a 1" in say.text_content()
    chain.press("ArrowLeft")
    assert mounted.get("layer") == "fc7"
    chain.press("Home")
    mounted.drawn()
    assert mounted.get("layer") == "image" and chain.get_attribute("aria-valuenow") == "0"
    chain.press("ArrowRight")
    mounted.drawn()
    assert mounted.get("layer") == "conv1_1" and "sees 3\xa0×\xa03" in say.text_content()
    assert mounted.errors == []


def test_taps_stand_beside_where_they_were_trained(widget_page):
    state = plain(dense=True)
    mounted = widget_page(ArchitectureExplorer(*state, layer="conv5_1"))
    mounted.drawn()
    steps = []
    for kind in ("taps", "was"):
        path = mounted.page.locator(f".dl-ar-image path.{kind}").get_attribute("d")
        columns = sorted({float(x) for x in re.findall(r"M([\d.]+) ", path)})
        steps.append(np.diff(columns).mean())
    row = next(row for row in numbers.rows(state) if row.layer.name == "conv5_1")
    assert (row.spacing, row.trained) == (8, 16)
    assert steps[1] / steps[0] == pytest.approx(2, rel=0.05)


def test_the_keys_go_on_from_pool5_where_pool5a_is_gone(widget_page):
    mounted = widget_page(ArchitectureExplorer(layer="pool5a"))
    mounted.page.get_by_text("7 × 7", exact=True).click()
    mounted.drawn()
    mounted.page.locator("svg[role=slider]").press("ArrowRight")
    assert mounted.get("layer") == "fc6"


def test_every_preset_shows_its_totals_and_its_verdict(widget_page):
    mounted = widget_page(ArchitectureExplorer())
    for preset in call(AE, "presets"):
        mounted.page.get_by_text(preset["name"], exact=True).click()
        mounted.drawn()
        state = State(**preset["state"])
        shown = mounted.page.locator(".dl-ar-totals b").all_text_contents()
        assert shown == [value for value, _ in numbers.summary(state)]
        said = mounted.page.locator(".dl-say").first.text_content().replace("\xa0", " ")
        assert said == js("verdict", [state])[0][1]
    assert mounted.errors == []


def test_switches_work_alone_and_a_size_can_be_typed(widget_page):
    mounted = widget_page(ArchitectureExplorer(321, True, False, False, "7x7", "torchvision"))
    page, totals = mounted.page, mounted.page.locator(".dl-ar-totals b")
    page.get_by_label("pool4, pool5 at stride 1").check()
    mounted.drawn()
    assert totals.nth(2).text_content() == "220"
    page.get_by_label("conv5 and fc6 dilated").check()
    page.get_by_text("3 × 3 · 1024").click()
    page.get_by_label("pools").select_option("caffe")
    size = page.get_by_label("input size in pixels")
    size.fill("")
    size.press_sequentially("513")
    mounted.drawn()
    assert mounted.get("input_size") == 513
    assert totals.all_text_contents()[:4] == ["65 × 65", "8", "435", "20.5 M"]
    size.fill("7")
    size.blur()
    assert mounted.get("input_size") == 513 and size.input_value() == "513"
    page.get_by_label("fc6 to fc8 as convolutions").uncheck()
    mounted.drawn()
    assert totals.first.text_content() == "none" and mounted.errors == []
