"""Explorers: script and Python count alike in every state; pictures, errors, pointer and keys."""

import base64
import io
import itertools
import json
import random
import re

import ipywidgets
import numpy as np
import pytest
import torch
import torchvision
from matplotlib import pyplot as plt
from node import call, call_many
from PIL import Image

from deeplab_lite.atrous import effective_kernel, tap_counts
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets import (
    ArchitectureExplorer,
    DilationExplorer,
    FieldOnPhoto,
    ReceptiveFieldExplorer,
    _twin,
    dilation_explorer,
    field_on_photo,
    receptive_field_explorer,
)
from deeplab_lite.receptive_field import receptive_fields, trace

RF = _twin.script("receptive_field_explorer")
DI = _twin.script("dilation_explorer")
FP = _twin.script("field_on_photo")
GREY = np.full((96, 128, 3), 128, np.uint8)
EXPLORERS = [ReceptiveFieldExplorer, DilationExplorer, FieldOnPhoto, ArchitectureExplorer]


def decoded(bundle):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(bundle[0]["image/png"]))))


# ---- the twin ----


class Box(_twin.Twin, ipywidgets.VBox):
    def picture(self):
        return GREY

    def alt(self):
        return "a grey field"


@pytest.mark.parametrize(
    "make",
    [
        Box,
        ReceptiveFieldExplorer,
        DilationExplorer,
        lambda: FieldOnPhoto(GREY, ["alexnet"]),
        ArchitectureExplorer,
    ],
    ids=["VBox", "receptive field", "dilation", "field on photo", "architecture"],
)
def test_a_widget_carries_a_picture_of_its_state_beside_the_live_view(make):
    widget = make()
    data, metadata = bundle = widget._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert data["text/plain"] == metadata["image/png"]["alt"] == widget.alt()
    height, width = decoded(bundle).shape[:2]
    assert (metadata["image/png"]["width"], metadata["image/png"]["height"]) == (width, height)
    assert len(data["image/png"]) < 100_000 and plt.get_fignums() == []
    assert data == widget._repr_mimebundle_()[0]  # nothing in it depends on time or chance


def test_the_picture_follows_the_state():
    widget = DilationExplorer([2, 2, 2])
    before = decoded(widget._repr_mimebundle_())
    widget.rates = [1, 2, 3]
    assert not np.array_equal(before, decoded(widget._repr_mimebundle_()))
    assert widget.alt().startswith("Dilation rates 1, 2, 3, kernel 3×3: field 13×13 pixels, 169")


def test_a_widget_ships_as_one_module(tmp_path, monkeypatch):
    for text in (RF, DI, FP):
        assert (
            "import " not in text.replace("import.meta", "") and text.count("export default") == 1
        )
    (tmp_path / "odd.js").write_text("const x = 1;")
    monkeypatch.setattr(_twin, "HERE", tmp_path)
    with pytest.raises(ValueError, match=r"odd.js: expected an import from './common.js'"):
        _twin.script("odd")


def test_states_stay_small():
    for make in EXPLORERS:
        widget = make()
        assert len(json.dumps(widget.get_state())) < 60_000


def test_an_unknown_widget_names_those_there_are():
    from deeplab_lite.classroom import widgets

    with pytest.raises(AttributeError, match=r"no widget is called 'Explorer'.*DilationExplorer"):
        _ = widgets.Explorer


# ---- receptive-field explorer ----


def random_stack(rng):
    layers = [
        {
            "kernel": rng.randint(1, 7),
            "stride": rng.choice([1, 1, 2, 3]),
            "dilation": rng.randint(1, 6),
            "padding": rng.choice(["same", "same", 0, 1, 2, 9]),
        }
        for _ in range(rng.randint(1, 6))
    ]
    unit = rng.choice([None, 0, 3, 99])
    return [layers, rng.randint(1, 64), unit, rng.choice([None, None, 0, 1, 2, 9])]


def rows(layers):
    return [(x["kernel"], x["stride"], x["padding"], x["dilation"]) for x in layers]


def test_script_traces_cones_as_python_does():
    states = [random_stack(random.Random(seed)) for seed in range(300)]
    settled = call_many(RF, "settle", states)
    assert settled == [list(receptive_field_explorer.settle(*state)) for state in states]
    shown = [[state[0], state[1], u, at] for state, (at, u) in zip(states, settled, strict=True)]
    cones = [trace(rows(layers), n, u, at) for layers, n, u, at in shown]
    assert call_many(RF, "chain", [[s[0]] for s in shown]) == [
        [list(field) for field in cone.fields] for cone in cones
    ]
    assert call_many(RF, "sizes", [s[:2] for s in shown]) == [cone.sizes for cone in cones]
    for mine, cone in zip(call_many(RF, "trace", shown), cones, strict=True):
        assert mine["counts"] == cone.counts and mine["padded"] == cone.padded
        assert [tuple(span) for span in mine["spans"]] == cone.spans
        assert [sorted(map(tuple, e)) for e in mine["edges"]] == [sorted(e) for e in cone.edges]


def test_a_stack_without_output_is_explained():
    layers = [{"kernel": 3, "stride": 2, "dilation": 1, "padding": "same"}]
    layers += [{"kernel": 7, "stride": 1, "dilation": 6, "padding": 1}] * 2
    assert call(RF, "complaint", layers, 16) == (
        "Layer 2 has no output: its kernel spans 37 positions, "
        "and the map below it has 10 with padding."
    )
    assert call(RF, "complaint", layers[:1], 16) == ""


def test_every_preset_has_a_picture_and_a_title_of_its_own():
    widget, alts, pictures = ReceptiveFieldExplorer(), set(), set()
    for preset in call(RF, "presets"):
        widget.layers, widget.n = preset["layers"], preset["n"]
        alts.add(widget.alt())
        pictures.add(widget.picture().tobytes())
    assert len(alts) == len(pictures) == 7
    assert any(alt.endswith(": 13 pixels, 9 to 21, 7 read") for alt in alts)


@pytest.mark.parametrize(
    "layers, unit, level, sentence",
    [
        ([(3,)] * 3, None, 0, "Pixel 6 of the input."),
        ([(3,)] * 3, None, None, "Unit 3 of layer 3 sees 7 input pixels, 3 to 9, and reads all of "
         "them."),
        ([(1,)], 0, None, "Unit 0 of layer 1 sees 1 input pixel, 0 to 0, and reads all of them."),
        (
            [(3, 1, "same", 2)] * 2, 0, None,
            "Unit 0 of layer 2 sees 9 input pixels, −4 to 4, 4 of them off the edge, and reads 3 "
            "of the other 5: the rest are holes.",
        ),
        ([(3, 1, 9)], 0, None, "Unit 0 of layer 1 sees 3 input pixels, −9 to −7, 3 of them off the "
         "edge, and reads zeros only."),
    ],
)  # fmt: skip
def test_the_script_says_what_a_unit_sees(layers, unit, level, sentence):
    layers = [receptive_field_explorer.layer_dict(layer) for layer in layers]
    assert call(RF, "describe", layers, 13, unit, level) == sentence


def test_every_unit_of_every_level_has_a_picture():
    layers = ReceptiveFieldExplorer([(3, 2, "same"), (2, 1, 1, 3), (5, 3)], n=14).layers
    for level, size in enumerate(trace(rows(layers), 14, level=0).sizes):
        for unit in range(size):
            picture = receptive_field_explorer.picture(layers, 14, unit, level)
            assert picture.dtype == np.uint8 and (picture != 255).any()


def test_tuples_and_dicts_mean_the_same_layer():
    by_tuple = ReceptiveFieldExplorer([(3, 2, "same", 4), (5,)])
    first = {"kernel": 3, "stride": 2, "padding": "same", "dilation": 4}
    by_dict = ReceptiveFieldExplorer([first, {"kernel": 5, "padding": "none"}])
    assert by_tuple.layers == by_dict.layers


# ---- strided against dilated ----


def test_script_trades_strides_as_python_does():
    states = [random_stack(random.Random(seed))[:3] for seed in range(200)]
    twins = call_many(RF, "traded", [state[:1] for state in states])
    assert twins == [receptive_field_explorer.traded(state[0]) for state in states]
    expected = [list(receptive_field_explorer.settle_dense(*state)) for state in states]
    assert call_many(RF, "settleDense", states) == expected


def test_a_unit_of_the_strided_stack_reads_what_the_dense_one_reads():
    shared = 0
    for seed in range(200):
        layers, n, unit, _ = random_stack(random.Random(seed))
        for layer in layers:  # "same" puts an odd zero at the right of an even kernel
            layer["kernel"] |= 1
        at, u, own = receptive_field_explorer.settle_dense(layers, n, unit)
        if own is not None:
            dense = trace(rows(receptive_field_explorer.traded(layers)), n, u, at)
            assert dense.counts[0] == trace(rows(layers), n, own, at).counts[0]
            shared += at > 0
    assert shared > 50


@pytest.mark.parametrize(
    "unit, sentence",
    [
        (12, "Position 12: both stacks have a unit here. Both see 15 pixels, 5 to 19, and read the "
         "same of them with the same weights: one value."),
        (13, "Position 13: only the dilated stack has a unit here. It sees 15 pixels, 6 to 20."),
        (0, "Position 0: both stacks have a unit here. Both see 15 pixels, −7 to 7, and read the "
         "same of them with the same weights: one value."),
    ],
)  # fmt: skip
def test_the_script_compares_strided_and_dilated(unit, sentence):
    layers = [receptive_field_explorer.layer_dict(x) for x in [(3, 2, 1), (3, 2, 1), (3, 1, 1)]]
    assert call(RF, "compare", layers, 25, unit) == sentence


def test_the_twin_shows_both_stacks_on_one_scale(twin_figure):
    widget = ReceptiveFieldExplorer([(3, 2, 1), (3, 2, 1), (3, 1, 1)], n=25, unit=13, dense=True)
    assert widget.alt() == (
        "Position 13: only the dilated stack has a unit here, with a field of 15 pixels"
    )
    above, below = twin_figure(widget).axes
    assert above.get_xlim() == below.get_xlim()
    assert [bar.get_height() for bar in above.containers[0]] == [0] * 25  # no unit reads anything
    assert "k3 s1 d4: 25 units, field 15" in [text.get_text() for text in below.texts]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"layers": [(3,), (0,)]}, r"layer 2: kernel 0 is not in 1\.\.7"),
        ({"layers": [(3, 4)]}, r"layer 1: stride 4 is not in 1\.\.3"),
        ({"layers": [(3, 1, 0, 0)]}, r"layer 1: dilation 0 is not in 1\.\.6"),
        ({"layers": [(3, 1, "valid")]}, r"padding 'valid' is not in 0\.\.18, or 'none' or 'same'"),
        ({"layers": [{"rate": 2}]}, "'rate' is none of kernel, stride, dilation, padding"),
        ({"layers": [(3,)] * 7}, "7 layers: the explorer draws 1 to 6"),
        ({"layers": []}, "0 layers"),
        ({"n": 65}, "n 65: the explorer draws inputs of 1 to 64 pixels"),
    ],
)
def test_a_stack_out_of_bounds_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        ReceptiveFieldExplorer(**arguments)


# ---- dilation explorer ----

STACKS = [
    list(rates)
    for depth in range(5)
    for rates in itertools.combinations_with_replacement(range(1, 9), depth)
]


def test_script_counts_taps_as_atrous_does():
    stacks = [*random.Random(0).sample(STACKS, 60), [8] * 4]
    states = [[rates, kernel] for rates in stacks if rates for kernel in (3, 5)]
    for (rates, kernel), counts in zip(states, call_many(DI, "tapCounts", states), strict=True):
        assert np.array_equal(counts, tap_counts(rates, kernel))


def test_script_and_python_count_alike_on_every_stack():
    states = [[rates, kernel] for rates in STACKS for kernel in (2, 3, 4, 5)]
    lines = call_many(DI, "profile", states)
    for (rates, kernel), line in zip(states, lines, strict=True):
        counts = dilation_explorer.counts(rates, kernel)
        assert np.array_equal(counts, np.outer(line, line))
        assert len(line) == 1 + sum(effective_kernel(kernel, rate) - 1 for rate in rates)


def test_a_layer_that_is_off_is_absent_and_order_does_not_matter():
    for rates in ([0, 2, 0, 1], [1, 2]):
        assert call(DI, "profile", rates, 3) == [1, 1, 2, 1, 2, 1, 1]


@pytest.mark.parametrize(
    "rates, sentence",
    [
        ([0, 0], "No layer: an output is one pixel."),
        ([2], "Rate 2 with 3×3 taps: an output sees 5×5 pixels and reads 9 of them (36 %): the "
         "other 16 are holes."),
        ([1, 2, 3], "Rates 1, 2, 3 with 3×3 taps: an output sees 13×13 pixels and reads all of "
         "them: no holes."),
    ],
)  # fmt: skip
def test_the_script_says_what_a_stack_reads(rates, sentence):
    assert call(DI, "describe", rates, 3) == sentence


def test_script_and_twin_share_their_colors():
    pairs = [[count, most] for most in (1, 9, 49, 2401) for count in range(1, most + 1, 7)]
    got = call_many(DI, "color", pairs)
    for (count, most), color in zip(pairs, got, strict=True):
        assert np.abs(draw.tap_colors(np.array([[count, most]]))[0, 0] - np.array(color)).max() <= 1


@pytest.mark.parametrize("rates", [[], [1], [8], [2, 2, 2], [1, 2, 5], [0, 3], [8] * 4])
@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_every_stack_has_a_picture(rates, kernel):
    picture = DilationExplorer(rates, kernel).picture()
    assert picture.shape == (400, 720, 3) and (picture != 255).any()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (([9],), r"rates \[9\]: expected at most four, each 1\.\.8"),
        (([-1],), r"rates \[-1\]"),
        (([1] * 5,), "expected at most four"),
        (([1], 6), "kernel 6: the explorer has kernels of 2 to 5 taps"),
    ],
)
def test_a_rate_out_of_bounds_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        DilationExplorer(*arguments)


# ---- field on photo ----


def test_script_places_fields_as_receptive_fields_does():
    size, rng = (96, 128), random.Random(0)
    for name, stops in (("alexnet", r"features\.\d+"), ("resnet18", r"conv1|layer\d\.\d")):
        model = torchvision.models.get_model(name, weights=None).eval()
        exact = receptive_fields(model, size)
        table = field_on_photo.fields_of(model, size, stops)
        states = [[f, [rng.randrange(n) for n in f[5]]] for f in table for _ in range(8)]
        centers = call_many(FP, "center", states)
        answers = zip(
            states,
            centers,
            call_many(FP, "region", states),
            call_many(FP, "nearest", [[f, c] for (f, _), c in zip(states, centers, strict=True)]),
            call_many(FP, "outside", [[field, unit, size] for field, unit in states]),
            strict=True,
        )
        for (field, unit), center, region, back, outside in answers:
            truth = exact[field[0]]
            assert tuple(map(tuple, region)) == truth.region(tuple(unit), clip=False)
            assert tuple(center) == truth.center(tuple(unit)) and back == unit
            clipped = truth.region(tuple(unit), clip=True)
            area = np.prod([high - low + 1 for low, high in clipped]) if clipped else 0
            assert outside == int(100 * (1 - area / np.prod(truth.size)) + 0.5)


def test_the_script_says_what_a_unit_of_a_photograph_sees():
    field = ["conv", "Conv2d", [9, 9], [4, 4], [4, 4], [24, 32]]
    calls = [["net", field, unit, [96, 128]] for unit in ([0, 2], [9, 9])]
    assert call_many(FP, "describe", calls) == [
        "Unit (0, 2) of net, conv, sees 9×9 pixels: rows −4 to 4, columns 4 to 12; 44 % of that is "
        "outside the picture.",
        "Unit (9, 9) of net, conv, sees 9×9 pixels: rows 32 to 40, columns 32 to 40.",
    ]  # fmt: skip


def test_known_fields_are_in_the_table():
    fields = FieldOnPhoto(np.zeros((512, 512, 3), np.uint8)).fields
    last = {
        name: [rows[-1][0], *(pair[0] for pair in rows[-1][2:])] for name, rows in fields.items()
    }
    assert last == {
        "alexnet": ["features.12", 195, 32, 66, 15],
        "vgg16": ["features.30", 212, 32, 90, 16],
        "resnet18": ["layer4.1", 435, 32, 217, 16],
        "resnet50": ["layer4.2", 427, 32, 213, 16],
        "mobilenet_v2": ["features.17", 491, 32, 245, 16],
    }


def test_every_layer_has_a_picture_and_a_title_of_its_own():
    widget = FieldOnPhoto(GREY, ["resnet18"])
    alts = set()
    for field in widget.fields["resnet18"]:
        widget.layer, widget.unit = field[0], [0, 0]
        alts.add(widget.alt())
        assert widget.picture().shape == (410, 720, 3)
    assert len(alts) == len(widget.fields["resnet18"])
    widget.unit = [99, 99]  # kept on the map
    assert widget.shown()[1] == [n - 1 for n in widget.shown()[0][5]]


def test_your_own_network_can_be_shown():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    widget = FieldOnPhoto(GREY, {"mine": net})
    assert [field[:3] for field in widget.fields["mine"]] == [
        ["0", "Conv2d", [3, 3]],
        ["2", "MaxPool2d", [4, 4]],
    ]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((GREY / 255, ["alexnet"]), "expected uint8"),
        ((GREY, ["alexnett"]), "no torchvision network is called 'alexnett': did you mean alexnet"),
        ((GREY, ["alexnet"], "vgg16"), "no network is called 'vgg16': did you mean alexnet"),
        ((GREY, ["alexnet"], "alexnet", "features.99"), "no layer of alexnet .* did you mean feat"),
        ((GREY, []), "no networks"),
        ((GREY, {"mlp": torch.nn.AdaptiveAvgPool2d(1)}), "no layer of this network"),
    ],
)
def test_an_unknown_name_gets_the_nearest_ones(arguments, words):
    with pytest.raises(ValueError, match=words):
        FieldOnPhoto(*arguments)


# ---- in a browser ----

LATENCY = """([selector, key]) => new Promise((done) => {
  const target = document.querySelector(selector), times = [];
  target.focus();
  const press = () => {
    const start = performance.now();
    if (target.type === "range") {
      target.stepUp(times.length % 2 ? -1 : 1);
      target.dispatchEvent(new Event("input"));
    } else target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    requestAnimationFrame(() => setTimeout(() => {  // after the frame is painted
      times.push(performance.now() - start);
      times.length < 15 ? press() : done(times.sort((a, b) => a - b)[7]);
    }));
  };
  press();
})"""


@pytest.mark.parametrize(
    "make, selector, key",
    [
        (lambda: ReceptiveFieldExplorer([(7, 1, "same", 6)] * 6, 64), "[role=slider]", "ArrowLeft"),
        (lambda: DilationExplorer([8] * 4, 5), "input[type=range]", ""),
        (FieldOnPhoto, ".dl-fp-scene", "ArrowLeft"),
        (lambda: ArchitectureExplorer(layer="fc8"), ".dl-ar-chain", "ArrowLeft"),
    ],
    ids=["receptive field", "dilation", "field on photo", "architecture"],
)
def test_the_largest_state_is_redrawn_at_once(widget_page, make, selector, key):
    mounted = widget_page(make())
    mounted.drawn()
    median = mounted.page.evaluate(LATENCY, [selector, key])
    assert median < 100 and mounted.errors == []  # milliseconds; about 20 on two idle cores


def places(canvas, count):
    """Where the pixels of a dilation explorer's map begin, and the side of each, in CSS pixels."""
    side = canvas.evaluate("(node) => node.clientWidth")
    cell = min(36, (side - 12) // count)
    return round((side - cell * count) / 2) + cell * np.arange(count), cell


def test_the_map_of_taps_has_the_colour_of_each_count_in_its_place(widget_page):
    rates = [2, 2]
    mounted = widget_page(DilationExplorer(rates))
    canvas, counts = mounted.page.locator(".dl-di-map"), dilation_explorer.counts(rates, 3)
    shown, at = mounted.painted(canvas)[..., :3], places(canvas, len(counts))[0] + 2
    shown, read = shown[at[:, None], at], counts > 0
    assert np.abs(shown - draw.tap_colors(counts))[read].max() <= 1
    assert shown[~read].min() > 150 and 0 < read.sum() < read.size  # hatched


def test_the_taps_of_a_layer_are_a_grid(widget_page):
    mounted = widget_page(DilationExplorer([3]))
    shown = mounted.painted(mounted.page.locator(".dl-di-row canvas").first)
    blue = (shown == [0, 114, 178, 255]).all(2)
    lines = [np.flatnonzero(np.diff(blue.any(axis), prepend=False)) for axis in (0, 1)]
    assert np.array_equal(blue, np.outer(blue.any(1), blue.any(0)))
    assert [len(edges) for edges in lines] == [6, 6]  # three taps, each with two edges


def test_the_pixel_under_the_pointer_is_framed_and_named(widget_page):
    mounted = widget_page(DilationExplorer([1, 2]))  # 7 x 7 pixels
    canvas = mounted.page.locator(".dl-di-map")
    mounted.drawn()
    (box, (at, cell)), row, column = (canvas.bounding_box(), places(canvas, 7)), 1, 5
    mounted.page.mouse.move(box["x"] + at[column] + cell / 2, box["y"] + at[row] + cell / 2)
    mounted.drawn()
    assert mounted.page.get_by_text("Row −2, column +2 from the centre: read 1 time.").is_visible()
    frame = np.argwhere((mounted.painted(canvas) == [213, 94, 0, 255]).all(2))
    assert np.abs(frame.mean(0) - [at[row] + cell / 2, at[column] + cell / 2]).max() < 2


def test_pointing_previews_and_a_click_keeps(widget_page):
    mounted = widget_page(ReceptiveFieldExplorer())
    say = mounted.page.locator(".dl-say").last
    first = mounted.drawn()
    box = mounted.page.locator("svg[role=slider]").bounding_box()
    mounted.page.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + 53 + 46)  # layer 2
    assert mounted.drawn() != first and "layer 2 sees 5 input pixels" in say.text_content()
    assert mounted.get("unit") is None and mounted.get("level") is None
    mounted.page.mouse.down()
    mounted.page.mouse.up()
    mounted.page.mouse.move(0, 0)
    mounted.drawn()
    assert mounted.get("level") == 2 and "layer 2" in say.text_content()
    mounted.page.locator("svg[role=slider]").press("ArrowUp")
    mounted.drawn()
    assert mounted.get("level") is None and "layer 3 sees 7" in say.text_content()


def test_units_stride_and_field_stand_under_their_names(widget_page):
    widget = ReceptiveFieldExplorer([(3, 2), (5, 1, "same", 2)], n=20)
    cone = trace(rows(widget.layers), widget.n)
    mounted = widget_page(widget)
    mounted.drawn()
    table = mounted.page.locator("text.head, text.cell").all_text_contents()
    named = {name: table[at:-3:3] for at, name in enumerate(table[-3:])}
    expected = {
        "units": cone.sizes,
        "stride": [field.stride for field in cone.fields],
        "field": [field.size for field in cone.fields],
    }
    assert named == {name: [*map(str, values)] for name, values in expected.items()}


def test_bars_are_as_high_as_a_pixel_is_read_often(widget_page):
    mounted = widget_page(ReceptiveFieldExplorer())  # three 3x3
    mounted.drawn()
    bars = mounted.page.locator("path.bars").get_attribute("d")
    heights = [float(height) for height in re.findall(r"v([\d.]+)", bars)]
    counts = [1, 3, 6, 7, 6, 3, 1]
    assert heights == pytest.approx([26 * count / 7 for count in counts], abs=0.06)


@pytest.mark.parametrize("key", ["ArrowUp", "ArrowDown"])
def test_arrows_climb_to_the_unit_at_the_same_place(widget_page, key):
    vgg = next(preset for preset in call(RF, "presets") if preset["name"] == "VGG block")
    fields = trace(rows(vgg["layers"]), vgg["n"], level=0).fields
    up = key == "ArrowUp"
    mounted = widget_page(
        ReceptiveFieldExplorer(vgg["layers"], vgg["n"], unit=3, level=0 if up else 6)
    )
    drawing = mounted.page.locator("svg[role=slider]")

    def center(level, unit):
        field = fields[level]
        return unit * field.stride - field.padding + (field.size - 1) / 2

    level, unit = (0, 3) if up else (6, 3)
    for _ in range(6):
        drawing.press(key)
        mounted.drawn()
        after = mounted.get("level")
        after = 6 if after is None else after
        gap = abs(center(after, mounted.get("unit")) - center(level, unit))
        assert after == level + (1 if up else -1)
        assert gap <= fields[after].stride / 2
        level, unit = after, mounted.get("unit")
    assert mounted.errors == []


@pytest.mark.parametrize("share", [-0.3, 0.3])
def test_a_click_beside_a_disc_chooses_it(widget_page, share):
    mounted = widget_page(ReceptiveFieldExplorer(unit=5, level=2))
    drawing, disc = mounted.page.locator("svg[role=slider]"), mounted.page.locator("path.unit")
    boxes = []
    for unit in (5, 6):
        mounted.set(unit=unit)
        mounted.drawn()
        box = disc.bounding_box()
        boxes.append((box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))
    gap = boxes[1][0] - boxes[0][0]
    assert gap > 5
    mounted.page.mouse.click(boxes[0][0] + share * gap, boxes[0][1])
    mounted.drawn()
    assert (mounted.get("level"), mounted.get("unit")) == (2, 5)
    drawing.press("ArrowLeft")
    assert mounted.get("unit") == 4 and mounted.errors == []


def test_playing_walks_over_the_positions(widget_page):
    layers = [(3, 2, 1), (3, 2, 1), (3, 1, 1)]
    mounted = widget_page(ReceptiveFieldExplorer(layers, n=25, unit=24, dense=True))
    say = mounted.page.locator(".dl-say").last
    mounted.page.get_by_text("Play", exact=True).click()  # from the last position to the first
    mounted.page.get_by_text("Pause", exact=True).click()
    mounted.drawn()
    assert mounted.get("unit") == 0 and "both stacks" in say.text_content()
    mounted.page.locator("svg[role=slider]").press("ArrowRight")
    mounted.drawn()
    assert mounted.get("unit") == 1 and "only the dilated stack" in say.text_content()
    assert mounted.page.locator(".dl-rf-drawings svg").count() == 2 and mounted.errors == []


def test_layers_are_added_and_removed(widget_page):
    mounted = widget_page(ReceptiveFieldExplorer())
    for count in (4, 5, 6):
        mounted.page.get_by_text("+ layer").click()
        mounted.drawn()
        assert len(mounted.get("layers")) == count
    assert mounted.page.get_by_text("+ layer").is_disabled()
    mounted.page.get_by_label("remove layer 1").click()
    mounted.drawn()
    assert len(mounted.get("layers")) == 5
    mounted.page.get_by_label("layer 5 kernel").fill("5")
    mounted.page.get_by_label("layer 5 padding").select_option("2")
    mounted.drawn()
    expected = {"kernel": 5, "stride": 1, "dilation": 1, "padding": 2}
    assert mounted.get("layers")[-1] == expected and mounted.errors == []


def test_the_crop_shows_what_the_unit_sees(widget_page):
    widget = FieldOnPhoto(GREY, ["alexnet"], layer="features.3", unit=(1, 4))
    mounted = widget_page(widget)
    mounted.drawn()
    image = mounted.page.locator(".dl-fp-crop image")
    x, y, width = (float(image.get_attribute(name)) for name in ("x", "y", "width"))
    (top, _), (left, _) = field_on_photo.region(*widget.shown())
    assert [-y * 128 / width, -x * 128 / width] == pytest.approx([top, left]) and top != left


@pytest.mark.parametrize(
    "move, network, layer",
    [
        (lambda page: page.get_by_text("resnet50").click(), "resnet50", "layer4.2"),
        (lambda page: page.get_by_label("layer").press("ArrowLeft"), "vgg16", "features.28"),
    ],
    ids=["network", "layer"],
)
def test_another_network_or_layer_looks_at_the_same_place(widget_page, move, network, layer):
    widget = FieldOnPhoto(unit=(3, 12))
    mounted = widget_page(widget)
    before = widget.fields["vgg16"][-1]
    move(mounted.page)
    mounted.drawn()
    assert (mounted.get("network"), mounted.get("layer")) == (network, layer)
    after = next(field for field in widget.fields[network] if field[0] == layer)
    gap = np.subtract(
        np.mean(field_on_photo.region(before, [3, 12]), 1),
        np.mean(field_on_photo.region(after, mounted.get("unit")), 1),
    )
    assert np.abs(gap).max() <= after[3][0] / 2  # half a stride
