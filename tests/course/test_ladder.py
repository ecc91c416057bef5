"""The ladder of lesson 08: its table belongs to the networks, its picture to its table."""

import csv

import numpy as np
import pytest
import torch
from apart import assert_apart

from benchmarks import family, ladder
from deeplab_lite import metrics, scenes
from deeplab_lite.classroom import draw
from deeplab_lite.crf import dense_crf

ROWS = ladder.read()
BY_NAME = {row["rung"]: row for row in ROWS}
FAMILY = {
    "v1-small": "v1-small", "v1": "v1", "v2": "v2", "v3": "v3", "v3+": "v3plus",
    "v3+ Lite0": "v3plus-lite0", "v3, OS8": "v3 at OS8", "v3+, OS8": "v3plus at OS8",
}  # fmt: skip


def test_the_table_has_every_rung_once_in_order():
    fields = ("rung", "against", "idea")
    assert [tuple(row[f] for f in fields) for row in ROWS] == [rung[:3] for rung in ladder.LADDER]


def test_a_rung_stands_on_one_above_it_and_differs():
    rungs = {rung.name: rung for rung in ladder.LADDER}
    for place, rung in enumerate(ladder.LADDER[1:], 1):
        base = rungs[rung.against]
        assert base in ladder.LADDER[:place] and base[3:] != rung[3:]
        if base.model != rung.model:  # another network, asked alike
            assert base[4:] == rung[4:]


@pytest.mark.parametrize("rung, name", FAMILY.items())
def test_networks_as_they_are_score_what_the_family_scores(rung, name):
    with (family.ASSETS / "family.csv").open(newline="") as file:
        scored = {row["model"]: row for row in csv.DictReader(file)}[name]
    shared = [key for key in scored if key in BY_NAME[rung] and key != "model"]
    assert len(shared) == 13
    for key in shared:
        assert float(BY_NAME[rung][key]) == pytest.approx(float(scored[key]), abs=3e-4), key


@pytest.mark.parametrize("rung", ladder.LADDER, ids=lambda rung: rung.name)
def test_multiply_adds_and_steps(rung):
    row = BY_NAME[rung.name]
    assert int(row["multiply_adds"]) == ladder.multiply_adds(rung)
    if not rung.against:
        assert row["gain"] == row["near_gain"] == ""
        return
    for kind, column in (("gain", "miou"), ("near_gain", "trimap_2")):
        step = float(row[column]) - float(BY_NAME[rung.against][column])
        assert float(row[kind]) == pytest.approx(step, abs=2e-4)
        assert float(row[f"{kind}_low"]) < float(row[kind]) < float(row[f"{kind}_high"])


def test_more_passes_take_longer():
    spent = {name: float(row["ms"]) for name, row in BY_NAME.items()}
    assert spent["v3+"] < spent["v3+, flip"] < spent["v3+, sizes"] < spent["v3+, sizes + CRF*"]
    assert spent["v1"] < spent["v1 + CRF"] and spent["v2"] < spent["v2, max"]


def test_the_ways_of_asking_are_those_of_the_papers():
    images = np.stack([scenes.scene(2_000_000 + i)[0] for i in range(2)])
    x = scenes.normalize(images)
    rungs = {rung.name: rung for rung in ladder.LADDER}
    net = ladder.network(rungs["v3+"])

    def answer(name):
        return ladder.answer(rungs[name], ladder.network(rungs[name]), images)

    with torch.inference_mode():
        probs = net(x).softmax(1)
        mean = (probs + net(x.flip(-1)).softmax(1).flip(-1)) / 2
        crf = dense_crf(probs, images, w_appearance=20, sigma_xy=25, sigma_rgb=20)
    assert torch.equal(answer("v3+"), probs.argmax(1).byte())
    assert torch.equal(answer("v3+, flip"), mean.argmax(1).byte())
    assert torch.equal(answer("v3+ + CRF*"), crf.argmax(1).byte())


@pytest.mark.parametrize("name", ["v3+, flip", "v1 + CRF"])
def test_a_score_of_the_table_holds_for_some_of_its_scenes(name):
    """Forty of the thousand scenes: the paired interval holds the step of the table."""
    test = family.TestSet(40)
    rungs = {rung.name: rung for rung in ladder.LADDER}
    mine, base = (
        metrics.confusion_matrices(
            ladder.answer(rung, ladder.network(rung), test.images), test.banded, 9
        )
        for rung in (rungs[name], rungs[rungs[name].against])
    )
    _, low, high = metrics.paired_difference(mine, base, level=0.998)
    assert low < float(BY_NAME[name]["gain"]) < high


# ---- The picture ----


def drawn(rows):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.32 * len(rows) + 1.1), dpi=96, layout="constrained")
    draw.ladder(rows, figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return figure, canvas.get_renderer()


TIMED = [row | {"time": float(row["ms"]) / float(ROWS[0]["ms"])} for row in ROWS]


def test_no_two_labels_overlap_and_all_are_inside():
    with_style = {"font.size": 11, "axes.titlesize": 11.5}
    import matplotlib as mpl

    with mpl.rc_context(with_style):
        figure, renderer = drawn(TIMED)
    texts = [*figure.axes[0].get_yticklabels()]
    for ax in figure.axes:
        texts += [*ax.texts, ax.title]
    assert_apart(figure, renderer, texts)


def test_a_step_is_coloured_by_its_interval():
    made = {"miou": 0.5, "low": 0.4, "high": 0.6, "parameters": 1, "multiply_adds": 1, "time": 1}
    made |= {f"trimap_{width}": 0.3 for width in (1, 2, 4, 8)}
    steps = {"base": None, "up": (0.1, 0.2), "down": (-0.2, -0.1), "none": (-0.1, 0.1)}
    rows = [
        made | {"rung": name, "against": "base" if ends else "", "idea": "",
                "gain": 0.1 * place, "gain_low": ends[0] if ends else "",
                "gain_high": ends[1] if ends else ""}
        for place, (name, ends) in enumerate(steps.items())
    ]  # fmt: skip
    rows = [row | {"miou": 0.5 + 0.1 * place} for place, row in enumerate(rows)]
    figure, _ = drawn(rows)
    told = {t.get_text(): t.get_color() for t in figure.axes[0].texts if t.get_text()}
    colors = [draw.COLORS["green"], draw.COLORS["vermillion"], "#6B7280"]
    assert told == dict(zip(["+0.100", "+0.200", "+0.300"], colors, strict=True))


def test_a_rung_that_is_not_there_is_named():
    rows = [TIMED[0], TIMED[1] | {"against": "v0"}]
    with pytest.raises(ValueError, match="v1 is against 'v0', which is no rung"):
        drawn(rows)
