"""Figures of the README: each is the lesson's own picture, small, and shown with alt text."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from deeplab_lite.classroom.widgets import dilation_explorer
from tools import figures

ASSETS = figures.ROOT / "assets"
README = (figures.ROOT / "README.md").read_text(encoding="utf-8")


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float)


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_figure_is_the_picture_of_its_lesson(name):
    saved, now = pixels((ASSETS / name).read_bytes()), pixels(figures.figure(name))
    assert saved.shape == now.shape, f"{name} is not the lesson's picture: run `make figures`"
    far = np.abs(saved - now).mean()  # another Pillow may choose other colours
    assert far < 2, f"{name} differs from the lesson's picture by {far:.1f}: run `make figures`"


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_figure_is_small_and_the_readme_says_what_it_shows(name):
    assert (ASSETS / name).stat().st_size < 150_000
    (alt,) = re.findall(rf"!\[([^\]]+)\]\(assets/{re.escape(name)}\)", README)
    assert len(alt.split()) >= 8


def test_every_picture_of_the_readme_can_be_made_again():
    shown = re.findall(r"\]\(assets/([^)]+\.(?:png|gif))\)", README)
    benchmarks = "".join(path.read_text() for path in (figures.ROOT / "benchmarks").glob("*.py"))
    measured = re.findall(r'ASSETS / "([^"]+\.png)"', benchmarks)  # `make bench`
    assert sorted(shown) == sorted([*figures.FIGURES, figures.MOVING, *measured])


def test_the_moving_figure_goes_through_the_explorers_states_for_ever():
    saved = Image.open(ASSETS / figures.MOVING)
    assert (saved.n_frames, saved.info["loop"]) == (len(figures.RATES), 0)
    assert (ASSETS / figures.MOVING).stat().st_size < 500_000
    for frame, rates in enumerate(figures.RATES):
        saved.seek(frame)
        now = dilation_explorer.picture(rates, 3).astype(float)
        assert np.abs(np.asarray(saved.convert("RGB")) - now).mean() < 2, rates


def test_a_cell_without_a_picture_is_named(monkeypatch):
    monkeypatch.setitem(figures.FIGURES, "x.png", ("00_start_here", "setup", None))
    with pytest.raises(LookupError, match="no picture in a cell 'setup': run `make notebooks`"):
        figures.figure("x.png")
