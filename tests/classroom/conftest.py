"""Fixtures of the classroom's tests."""

import pytest

from deeplab_lite.classroom import draw


@pytest.fixture
def twin_figure(monkeypatch):
    """Call with a widget: the matplotlib figure that its picture is drawn from."""
    figures = []
    pixels = draw.pixels

    def keep(fig):
        figures.append(fig)
        return pixels(fig)

    monkeypatch.setattr(draw, "pixels", keep)

    def figure(widget):
        widget.picture()
        return figures[-1]

    return figure
