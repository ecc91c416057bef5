"""Shape canvas: what pointer, keys and controls do to a scene, with no kernel behind it."""

import math
import re

import numpy as np
import pytest
import traitlets
from node import call

from deeplab_lite.classroom.own_scene import BACKGROUND, MOST, PATTERNS, RADIUS, Placed, compose
from deeplab_lite.classroom.widgets import shape_canvas
from deeplab_lite.classroom.widgets.shape_canvas import START, ShapeCanvas
from deeplab_lite.scenes import CLASSES, outline_distance

JS = ShapeCanvas._esm
STAR = Placed("star", 60, 50, 20, 30)._asdict()


# ---- The logic of the script ----


@pytest.mark.parametrize("angle", [-170, -90, 0, 45, 90, 179])
@pytest.mark.parametrize("radius", [8, 20, 90])
def test_a_pulled_handle_comes_back_where_it_was_pulled_to(angle, radius):
    shape = {**STAR, "radius": radius, "angle": angle}
    x, y = call(JS, "handle", shape)
    assert math.hypot(x - 60, y - 50) == pytest.approx(radius)
    found = call(JS, "pulled", STAR, x, y, list(RADIUS))
    assert found["radius"] == pytest.approx(radius) and found["angle"] == pytest.approx(angle)


@pytest.mark.parametrize(
    "key, shift, change",
    [
        ("ArrowLeft", False, {"x": 59}), ("ArrowDown", True, {"y": 58}),
        ("+", False, {"radius": 21}), ("-", False, {"radius": 19}),
        ("[", False, {"angle": 25}), ("]", False, {"angle": 35}),
    ],
)  # fmt: skip
def test_keys(key, shift, change):
    assert call(JS, "keyed", STAR, key, shift, 129, list(RADIUS)) == {**STAR, **change}


def test_other_keys_do_nothing_and_nothing_leaves_the_canvas():
    assert call(JS, "keyed", STAR, "a", False, 129, list(RADIUS)) is None
    found = call(JS, "moved", STAR, -500, 500, 129)
    assert (found["x"], found["y"]) == (0, 129)
    small = {**STAR, "radius": RADIUS[0]}
    assert call(JS, "keyed", small, "-", False, 129, list(RADIUS)) == small


@pytest.mark.parametrize("angle, shown", [(0, 0), (190, -170), (-190, 170), (720, 0), (180, -180)])
def test_angles_fit_the_slider(angle, shown):
    assert call(JS, "turned", angle) == shown


# ---- Python's side ----


def test_the_scene_follows_the_shapes():
    canvas = ShapeCanvas()
    before = canvas.drawn
    canvas.shapes = [STAR]
    assert (
        canvas.drawn != before and (canvas.scene.image == compose([STAR], BACKGROUND).image).all()
    )
    assert canvas.alt() == "A scene with 1 shape: star of radius 20 at 60, 50."
    assert canvas.picture().shape == (642, 642, 3)
    canvas.shapes = []
    assert canvas.alt() == "A background with no shape on it."


@pytest.mark.parametrize("wrong", [[{"kind": "egg"}], [{**STAR, "x": -4}], [STAR] * (MOST + 1)])
def test_shapes_that_cannot_be_drawn_are_refused(wrong):
    canvas = ShapeCanvas()
    with pytest.raises((ValueError, traitlets.TraitError)):
        canvas.shapes = wrong
    assert len(canvas.shapes) == len(START)


@pytest.mark.parametrize("kind", CLASSES[1:])
def test_outlines_follow_the_signed_distances(kind):
    numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", shape_canvas.path(kind))]
    x, y = np.array(numbers).reshape(-1, 2).T
    assert len(x) >= 4 and np.abs(outline_distance(kind, x, y)).max() < 0.03


# ---- In a browser ----


OUTLINE = """(path) => {
  const { matrix } = path.transform.baseVal.consolidate(), all = path.getTotalLength();
  return [...Array(40).keys()].map((i) => path.getPointAtLength(all * i / 40))
    .map((point) => point.matrixTransform(matrix)).map(({ x, y }) => [x, y]);
}"""


def test_an_outline_lies_on_its_shape(widget_page):
    canvas = ShapeCanvas([STAR])
    mounted = widget_page(canvas)
    mounted.drawn()
    x, y = np.array(mounted.page.locator(".dl-sc-board path").evaluate(OUTLINE)).T
    (shape,) = canvas.scene.shapes
    (cos, sin), (dy, dx) = shape.turn, (y - shape.center[0], x - shape.center[1])
    u, v = (cos * dx + sin * dy) / shape.radius, (cos * dy - sin * dx) / shape.radius
    assert np.abs(outline_distance("star", u, v)).max() < 0.03


def test_shapes_are_dragged_resized_added_and_removed(widget_page):
    mounted = widget_page(ShapeCanvas())
    page = mounted.page

    def drag(locator, dx, dy):
        box = locator.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + dx, y + dy, steps=4)
        page.mouse.up()
        mounted.drawn()

    before = mounted.get("shapes")
    drag(page.locator("path").nth(3), 30, -60)  # 387 pixels of the page are 321 of the scene
    after = mounted.get("shapes")
    assert mounted.get("selected") == 3 and after[:3] == before[:3]
    assert after[3]["x"] == pytest.approx(before[3]["x"] + 30 * 321 / 387, abs=0.5)
    assert after[3]["y"] == pytest.approx(before[3]["y"] - 60 * 321 / 387, abs=0.5)
    drag(page.locator(".knob circle"), 60, 36)  # from straight above to the right
    turned = mounted.get("shapes")[3]
    assert turned["angle"] == pytest.approx(90, abs=2) and turned["radius"] == pytest.approx(
        60 * 321 / 387, abs=1
    )
    page.keyboard.press("Delete")
    assert mounted.get("shapes") == before[:3]
    page.get_by_role("button", name="Add a shape").click()
    assert len(mounted.get("shapes")) == 4 and mounted.get("selected") == 3
    compose(mounted.get("shapes"))
    assert mounted.errors == []


def test_every_control_changes_the_scene(widget_page):
    mounted = widget_page(ShapeCanvas())
    page = mounted.page
    for label, value, field in (
        ("class of the shape", "hourglass", "kind"),
        ("pattern of the shape", PATTERNS[0], "pattern"),
    ):  # fmt: skip
        page.get_by_label(label).select_option(value)
        assert mounted.get("shapes")[0][field] == value
    for label, field in (("radius", "radius"), ("angle", "angle")):
        before = mounted.get("shapes")[0][field]
        page.get_by_label(label, exact=True).press("ArrowRight")
        assert mounted.get("shapes")[0][field] == before + 1
    page.get_by_label("colour of the shape").fill("#112233")
    assert mounted.get("shapes")[0]["color"] == "#112233"
    page.get_by_label("colour of the background").fill("#445566")
    page.get_by_label("pattern of the background").select_option("brick")
    assert mounted.get("background") == {"color": "#445566", "pattern": "brick"}
    page.get_by_role("button", name="To the front").click()
    assert mounted.get("shapes")[-1]["kind"] == "hourglass" and mounted.get("selected") == 3
    page.get_by_role("button", name="Remove").click()
    assert [shape["kind"] for shape in mounted.get("shapes")] == ["star", "cross", "disc"]
    compose(mounted.get("shapes"), mounted.get("background"))
    assert mounted.errors == []
