"""The map of the family: nothing overlaps, and every score in it is one that a paper published."""

from itertools import combinations

from facts import FACTS
from ledger import Paper
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deeplab_lite.classroom import draw


def drawn():
    """The map on a figure of its own, with its renderer."""
    fig = Figure(figsize=(1000 / 96, 664 / 96), dpi=96)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 1000), ylim=(664, 0))
    draw.family(ax)
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    return ax, canvas.get_renderer()


def boxes():
    ax, renderer = drawn()
    return {(t.get_text(), t.get_position()): t.get_window_extent(renderer) for t in ax.texts}


def test_no_two_labels_of_the_map_overlap():
    for (one, a), (other, b) in combinations(boxes().items(), 2):
        apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 + 2 or b.y1 <= a.y0 + 2
        assert apart, f"{one} and {other}"


def test_labels_stay_on_their_cards_and_in_the_picture():
    ax, renderer = drawn()
    whole = ax.get_window_extent(renderer)
    cards = [
        p.get_window_extent(renderer)
        for p in ax.patches
        if isinstance(p, Rectangle) and p.get_height() > 200
    ]
    assert len(cards) == len(draw.FAMILY) == 5
    for (text, place), box in boxes().items():
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1, text
        assert whole.y0 <= box.y0 and box.y1 <= whole.y1, text
        for card in cards:
            middle = (box.x0 + box.x1) / 2
            if card.x0 < middle < card.x1 and box.y0 > card.y0:
                assert card.x0 + 4 <= box.x0 and box.x1 <= card.x1 - 4, f"{text} at {place}"


def test_every_score_of_the_map_is_in_the_ledger():
    published = {fact.quote for fact in FACTS if isinstance(fact, Paper)}
    shown = {value for member in draw.FAMILY for value, _ in member.miou}
    assert len(shown) == 9
    assert shown <= published


def test_a_dot_stands_at_its_score():
    ax, _ = drawn()
    dots = {float(line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "o"}
    ticks = {int(t.get_text()): t.get_position()[1] for t in ax.texts if t.get_text().isdigit()}
    per_cent = (ticks[60] - ticks[80]) / 20
    heights = {
        ticks[60] - (float(value) - 60) * per_cent
        for member in draw.FAMILY
        for value, _ in member.miou
    }
    assert {round(y, 3) for y in dots} == {round(y, 3) for y in heights}
