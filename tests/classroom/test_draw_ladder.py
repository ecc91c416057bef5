"""The picture of the ladder: nothing overlaps, and a step has the colour of its interval."""

import csv

import matplotlib as mpl
import pytest
from apart import assert_apart
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deeplab_lite.classroom import draw
from tools.notebooks import ROOT

with (ROOT / "assets" / "ladder.csv").open(newline="") as file:
    ROWS = [row for row in csv.DictReader(file) if row["ms"]]  # as in lesson 08


def drawn(rows):
    figure = Figure(figsize=(10, 0.29 * len(rows) + 1.1), dpi=96, layout="constrained")
    draw.ladder(rows, figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return figure, canvas.get_renderer()


def test_no_two_labels_overlap_and_all_are_inside():
    with mpl.rc_context({"font.size": 11, "axes.titlelocation": "left"}):
        figure, renderer = drawn(ROWS)
    texts = [*figure.axes[0].get_yticklabels()]
    for ax in figure.axes:
        texts += ax.texts
    assert_apart(figure, renderer, [text for text in texts if text.get_text()])
    steps = figure.axes[1]
    diamonds = [line for line in steps.lines if line.get_marker() == "D" and len(line.get_xdata())]
    for diamond in diamonds:
        box = diamond.get_window_extent(renderer)  # its place, without the marker
        others = [t.get_window_extent(renderer) for t in steps.texts if t.get_text()]
        assert not any(o.overlaps(box.padded(5)) for o in others), diamond.get_xydata()


def test_a_step_has_the_colour_of_its_interval_and_the_papers_stands_beside_it():
    row = {"miou": 0.5, "parameters": 1, "multiply_adds": 1, "idea": "", "paper": ""}
    steps = {"base": ("", "", ""), "up": (0.02, 0.01, 0.03), "down": (-0.02, -0.03, -0.01)}
    steps |= {"none": (0.01, -0.01, 0.03), "far": (-0.5, -0.6, -0.4)}
    rows = [
        row | {"rung": name, "against": "base" if low else "", "step": step, "low": low, "high": up}
        for name, (step, low, up) in steps.items()
    ]
    rows[1]["paper"] = "+3.20 (v2, table 3)"
    figure, _ = drawn(rows)
    ax = figure.axes[1]
    green, orange, grey = draw.COLORS["green"], draw.COLORS["vermillion"], "#6B7280"
    texts = {text.get_text(): text.get_color() for text in ax.texts if text.get_text()}
    assert texts == {"+2.0": green, "−2.0": orange, "+1.0": grey, "−50.0": orange}
    (diamond,) = [line for line in ax.lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert (diamond.get_xdata()[0], diamond.get_ydata()[0]) == (3.2, 1)


def test_a_rung_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="v1 is against 'v0', which is no rung"):
        drawn([ROWS[0], ROWS[1] | {"against": "v0"}])
