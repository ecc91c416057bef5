"""A scene of one's own: what is placed is drawn there, and the truth is exact."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_lite import scenes
from deeplab_lite.classroom.own_scene import MOST, PATTERNS, RADIUS, Background, Placed, compose
from deeplab_lite.labels import IGNORE

KINDS = scenes.CLASSES[1:]
PLAIN = Background("#ffffff", "plain")


@pytest.mark.parametrize("kind", KINDS)
def test_a_shape_lies_where_it_was_put_and_within_its_radius(kind):
    found = compose([Placed(kind, 40, 80, 20, color="#ff0000")], PLAIN)
    y, x = np.nonzero(found.label == scenes.CLASSES.index(kind))
    assert len(y) > 100
    assert np.hypot(y + 0.5 - 80, x + 0.5 - 40).max() <= 20 * math.sqrt(1.28) + 0.5  # a square's
    inside = found.label == scenes.CLASSES.index(kind)
    assert (found.image[inside] == (255, 0, 0)).all()
    assert (found.image[found.label == 0] == 255).all()
    assert (found.owner[inside] == 0).all() and found.owner[0, 0] == -1


def test_the_outlines_are_those_of_the_scenes():
    """The same shape, drawn by scenes.py, has the same labels."""
    given_scene = scenes.full_scene(7, difficulty=scenes.Difficulty(thin=0))
    placed = [
        Placed(scenes.CLASSES[s.label], s.center[1], s.center[0], s.radius,
               math.degrees(math.atan2(s.turn[1], s.turn[0])))
        for s in given_scene.shapes
    ]  # fmt: skip
    found = compose(placed)
    assert (found.label != given_scene.label).mean() < 1e-3  # rounding of the angle
    assert (found.owner != given_scene.owner).mean() < 1e-3


def test_the_later_shape_covers_the_earlier():
    two = [Placed("disc", 60, 60, 20), Placed("square", 60, 60, 30)]
    assert set(np.unique(compose(two).label)) == {0, scenes.CLASSES.index("square"), IGNORE}
    assert scenes.CLASSES.index("disc") in compose(two[::-1]).label


def test_angles_turn_clockwise():
    """A crescent's bite is on its right; a quarter turn clockwise puts it below."""
    right, below = (
        compose([Placed("crescent", 160.5, 160.5, 40, angle)], outline=0).label for angle in (0, 90)
    )
    assert right[160, 190] == 0 and right[160, 130] != 0
    assert np.array_equal(below, np.rot90(right, -1))
    assert np.array_equal(compose([Placed("star", 64, 64, 30, 360)]).label,
                          compose([Placed("star", 64, 64, 30)]).label)  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_vary_around_the_colour(pattern):
    image = compose([], Background("#808080", pattern)).image.astype(float)
    assert np.abs(image.mean((0, 1)) - 128).max() < 16
    assert (image.std() == 0) == (pattern == "plain") and image.std() < 40


def test_moving_one_shape_leaves_the_others():
    first, second = Placed("disc", 30, 30, 15, pattern="noise"), Placed("ring", 90, 90, 15)
    here, there = (compose([first, second._replace(x=x)]).image for x in (90, 100))
    assert np.array_equal(here[:60, :60], there[:60, :60]) and not np.array_equal(here, there)


def test_dicts_are_shapes_too():
    own = Placed("star", 50, 40, 20, 30, "#123456", "grass")
    found = compose([own._asdict()], {"color": "#ffffff", "pattern": "plain"})
    assert np.array_equal(found.image, compose([own], PLAIN).image)


@given(
    st.lists(
        st.builds(
            Placed, st.sampled_from(KINDS), st.floats(0, 321), st.floats(0, 321),
            st.floats(*RADIUS), st.floats(-720, 720), st.just("#336699"), st.sampled_from(PATTERNS),
        ), max_size=5,
    )
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_whatever_is_placed_is_drawn(shapes):
    found = compose(shapes)
    assert found.image.shape == (321, 321, 3) and found.image.dtype == np.uint8
    assert set(np.unique(found.label)) <= {0, IGNORE} | {
        scenes.CLASSES.index(shape.kind) for shape in shapes
    }


@pytest.mark.parametrize(
    "shape, words",
    [
        ({"kind": "egg", "x": 1, "y": 1, "radius": 9}, "shape 1 is a 'egg': there are disc, squ"),
        ({"kind": "disc", "x": 1, "y": 1}, r"shape 1 is \{.*expected the fields kind, x, y, rad"),
        (Placed("disc", -1, 1, 9), "shape 1 has x -1: expected 0 to 321 pixels"),
        (Placed("disc", 1, math.nan, 9), "shape 1 has y nan"),
        (Placed("disc", 1, 1, 200), "shape 1 has radius 200: expected 8 to 160"),
        (Placed("disc", 1, 1, 9, math.inf), "shape 1 has angle inf: expected degrees"),
        (Placed("disc", 1, 1, 9, 0, "red"), "shape 1 has color 'red': expected one as"),
        (Placed("disc", 1, 1, 9, 0, "#ff0000", "wood"), "shape 1 has pattern 'wood': there are pl"),
    ],
)
def test_what_cannot_be_drawn_is_named(shape, words):
    with pytest.raises(ValueError, match=words):
        compose([shape])


def test_limits():
    with pytest.raises(ValueError, match=f"25 shapes: expected at most {MOST}"):
        compose([Placed("disc", 9, 9, 9)] * 25)
    with pytest.raises(ValueError, match="size 16: expected at least 32"):
        compose([], size=16)
    with pytest.raises(ValueError, match="the background has color 'x'"):
        compose([], Background("x"))
