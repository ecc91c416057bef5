"""Figures of lesson 08 beside the ladder: two networks on the same scenes, and the front."""

import matplotlib as mpl
import numpy as np
import pytest
from apart import assert_apart
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deeplab_lite.classroom import draw
from deeplab_lite.tables import measured

COSTS = {"a": 1.0, "b": 1.1, "b + CRF": 8.0, "c": 2.0, "slow": 4.0}
SCORES = {"a": 0.850, "b": 0.851, "b + CRF": 0.90, "c": 0.94, "slow": 0.8}


def axes():
    return Figure(figsize=(9, 4.2), dpi=96, layout="constrained").add_subplot()


def test_the_front_is_green_on_a_staircase_to_the_rim():
    ax = draw.front(COSTS, SCORES, ["a", "b", "c"], squares=["b + CRF"], ax=axes())
    *dots, stairs = ax.lines
    green = [dot.get_color() == draw.COLORS["green"] for dot in dots]
    assert green == [True, True, False, True, False]
    assert [dot.get_marker() for dot in dots] == ["o", "o", "s", "o", "o"]
    assert list(stairs.get_ydata()) == [0.850, 0.851, 0.94, 0.94]
    assert stairs.get_xdata()[-1] == ax.get_xlim()[1]


def test_names_of_the_front_do_not_overlap():
    ladder = {row["rung"]: row for row in measured("ladder.csv") if row["ms"]}
    names = ("v1", "v3, trained at OS8", "v2", "v2, ASPP-S", "v3+", "v3+ Lite0")
    costs, scores = ({n: float(ladder[n][key]) for n in names} for key in ("ms", "miou"))
    with mpl.rc_context({"font.size": 11}):
        ax = draw.front(costs, scores, sorted(names, key=scores.get), ax=axes())
        canvas = FigureCanvasAgg(ax.figure)
        canvas.draw()
    assert_apart(ax.figure, canvas.get_renderer(), ax.texts)


def test_a_difference_is_drawn_on_the_scale_of_the_scores():
    shares = {"one": np.linspace(0.9, 0.99, 5), "other": np.linspace(0.92, 0.99, 5)}
    scores = {"one": (0.89, 0.85, 0.92), "other": (0.92, 0.89, 0.94)}
    figure = draw.paired(shares, scores, (0.02, 0.01, 0.04), Figure(layout="constrained"))
    dots, rows, step = figure.axes
    assert np.array_equal(dots.lines[1].get_xydata().T, [*shares.values()])
    widths = [right - left for left, right in (rows.get_xlim(), step.get_xlim())]
    assert widths[0] == pytest.approx(widths[1])
    assert step.get_xlim()[0] < 0 < step.get_xlim()[1]
    assert [*step.lines[0].get_xdata()] == [0.01, 0.04]
