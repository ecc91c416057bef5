"""Widgets and lessons in a real browser: what moves there must move the picture."""

import re
import time
from functools import cache

import anywidget
import lab
import pytest
from browser import DRAWN, public_state
from hygiene import Notebook, is_picture, is_widget

from deeplab_lite.classroom import widgets
from tools import notebooks

CONTROLS = "input, select, button, [role=slider]"
NAMED = "input, select, button:not([aria-hidden=true]), [tabindex='0']"


def move(control):
    """Operate a control as a reader would; False if it has nowhere to go."""
    if not control.is_visible() or control.is_disabled():
        return False
    tag = control.evaluate("(node) => node.tagName.toLowerCase()")
    kind = control.get_attribute("type") or "text"
    if tag == "select":
        values = control.evaluate("(node) => [...node.options].map((o) => o.value)")
        other = [value for value in values if value != control.input_value()]
        if other:
            control.select_option(other[-1])
        return bool(other)
    if tag == "input" and kind in ("range", "number"):
        value, low, high = (
            float(control.evaluate(f"(node) => node.{name}")) for name in ("value", "min", "max")
        )
        if low == high:
            return False
        up = {"range": "ArrowRight", "number": "ArrowUp"}[kind]
        down = {"range": "ArrowLeft", "number": "ArrowDown"}[kind]
        control.focus()
        control.press(up if value < high else down)
        return True
    if control.get_attribute("role") == "slider":
        control.focus()
        control.press("ArrowLeft")
        return True
    if control.get_attribute("aria-pressed") == "true" and "dl-pill" in (
        control.get_attribute("class") or ""
    ):
        return False
    control.click()
    return True


@cache
def made(name):
    return getattr(widgets, name)()


IN_THE_PAGE = [
    name for name in widgets.__all__ if issubclass(getattr(widgets, name), anywidget.AnyWidget)
]  # the others are drawn by the kernel: test_asked.py


@pytest.mark.parametrize("name", IN_THE_PAGE)
def test_every_control_moves_the_picture_with_no_kernel(name, widget_page):
    mounted = widget_page(made(name))
    traits = {name: mounted.get(name) for name in public_state(made(name))}
    first, moved = mounted.drawn(), 0
    for index in range(mounted.page.locator(CONTROLS).count()):
        control = mounted.page.locator(CONTROLS).nth(index)
        label = control.evaluate("(n) => n.ariaLabel || n.title || n.textContent || n.outerHTML")
        if move(control):
            moved += 1
            assert mounted.drawn() != first, f"{label!r} was moved and the picture stayed"
            mounted.set(**traits)
            assert mounted.drawn() == first, f"the picture did not go back after {label!r}"
    assert moved and mounted.errors == []


@pytest.mark.parametrize("name", IN_THE_PAGE)
def test_nothing_sticks_out(name, widget_page):
    """One page made narrower: widgets lay themselves out anew when their width changes."""
    mounted = widget_page(made(name))
    for width in (1000, 800, 700, 600, 420):
        mounted.page.set_viewport_size({"width": width, "height": 900})
        mounted.drawn()
        assert mounted.page.evaluate("window.innerWidth") == width
        assert mounted.page.evaluate("document.documentElement.scrollWidth") <= width, width


@pytest.mark.parametrize("width", [420, 600, 900, 1300])
def test_the_button_that_adds_a_layer_stands_above_the_layers(width, widget_page):
    page = widget_page(made("ReceptiveFieldExplorer"), width).page
    button, below = page.locator(".dl-add"), page.get_by_label("layer 3 kernel")
    assert button.bounding_box()["height"] + button.bounding_box()["y"] < below.bounding_box()["y"]


@pytest.mark.parametrize("name", IN_THE_PAGE)
def test_every_control_has_a_name_and_keeps_its_keys_from_jupyterlab(name, widget_page):
    page = widget_page(made(name)).page
    for control in page.locator(NAMED).all():
        html = control.evaluate("(node) => node.outerHTML")
        assert control.get_attribute("aria-label") or control.inner_text(), html
        assert control.get_attribute("data-lm-suppress-shortcuts") == "true", html
    assert page.locator("[aria-live=polite]").count() >= 1


# ---- JupyterLab ----

SLIDER = "input[type=range], input[type=number], [role=slider]"
COLOURS = """(area) => [
  getComputedStyle(area.querySelector("[role=group], .jupyter-widgets") ?? area).color,
  getComputedStyle(area.closest(".jp-Notebook")).backgroundColor,
]"""


def lessons_with_a_widget():
    for path in notebooks.all_notebooks():
        if any(is_widget(output) for _, _, output in Notebook.open(path).outputs()):
            yield path


def contrast(colours):
    """WCAG contrast of two CSS colours, rgb(...) or rgba(...), the first drawn on the second."""
    parts = [[float(x) for x in c[c.index("(") + 1 : -1].split(",")] for c in colours]
    alpha = (parts[0] + [1.0])[3]
    ground = parts[1][:3]
    ink = [alpha * a + (1 - alpha) * b for a, b in zip(parts[0], ground, strict=False)]

    def luminance(rgb):
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in (value / 255 for value in rgb)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(ink), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def test_contrast():
    assert contrast(["rgb(0, 0, 0)", "rgb(255, 255, 255)"]) == pytest.approx(21)
    assert contrast(["rgba(0, 0, 0, 0)", "rgb(9, 9, 9)"]) == pytest.approx(1)
    assert contrast(["rgb(118, 118, 118)", "rgb(255, 255, 255)"]) == pytest.approx(4.54, abs=0.01)


def changed(area, before, seconds=20):
    """Wait until the picture in `area` is another one than `before`; False if it stays."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if area.evaluate(DRAWN) not in ("", before):
            return True
        time.sleep(0.05)
    return False


def of_widgets(*expressions):
    return [
        f"from deeplab_lite.classroom.widgets import *\n{expression}" for expression in expressions
    ]


def test_playgrounds_answer_in_jupyterlab(chromium, tmp_path):
    """Those that the kernel draws: run each, move its first slider, wait for another picture."""
    kinds = [getattr(widgets, name) for name in widgets.__all__]
    names = [kind.__name__ for kind in kinds if not issubclass(kind, anywidget.AnyWidget)]
    with lab.cells(chromium, tmp_path, *of_widgets(*(f"{name}()" for name in names))) as page:
        areas = page.locator(".jp-OutputArea-output").filter(has=page.locator("[role=slider]"))
        assert areas.count() == len(names) >= 2
        for name, area in zip(names, areas.all(), strict=True):
            slider = area.locator("[role=slider]").first
            slider.scroll_into_view_if_needed()
            area.locator("img").first.wait_for()
            before = area.evaluate(DRAWN)
            assert move(slider)
            assert changed(area, before), f"{name}: the slider was moved and the picture stayed"
            assert area.locator("[role=alert]").count() == 0, name


def test_explorers_get_other_scenes_from_the_kernel_in_jupyterlab(chromium, tmp_path):
    """Those that draw in the page: their box for a seed is free, and brings another scene."""
    wanted = ["ASPPExplorer(7)", "BoundaryMicroscope(models=['v1'], seeds=[7])"]
    with lab.cells(chromium, tmp_path, *of_widgets(*wanted)) as page:
        boxes = page.locator("input[aria-label=scene]:enabled")
        boxes.nth(len(wanted) - 1).wait_for()
        for number, name in enumerate(wanted):
            area = page.locator(".jp-OutputArea-output").filter(has=page.locator("[role=group]"))
            area = area.nth(number)
            before = area.evaluate(DRAWN)
            boxes.nth(number).fill("5")
            boxes.nth(number).press("Enter")
            assert changed(area, before), f"{name}: the scene stayed"
            area.get_by_text("computing").wait_for(state="hidden")


def test_a_lesson_in_jupyterlab(chromium, tmp_path):
    """Open a lesson as a fresh clone shows it, run all, move a slider in both themes."""
    path = next(lessons_with_a_widget(), None)
    if path is None:
        pytest.skip("no lesson has a widget yet")
    saved = sum(is_picture(output) for _, _, output in Notebook.open(path).outputs())
    with lab.running(path.parent, tmp_path) as address:
        page = chromium.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(300_000)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address.format(name=path.name))
        page.wait_for_function(lab.READY)
        page.wait_for_function(
            f"document.querySelectorAll('.jp-RenderedImage img').length >= {saved}",
            timeout=30_000,  # the twins of the widgets are among them: nothing is trusted yet
        )
        page.evaluate(lab.RUN_ALL)
        assert page.evaluate(lab.FAULTS) == []
        area = page.locator(".jp-OutputArea-output").filter(has=page.locator(SLIDER)).first
        slider = area.locator(SLIDER).first
        for theme, light in (("JupyterLab Light", "true"), ("JupyterLab Dark", "false")):
            page.evaluate(lab.THEME, theme)
            page.wait_for_function(f"document.body.dataset.jpThemeLight === '{light}'")
            slider.scroll_into_view_if_needed()
            before = area.evaluate(DRAWN)
            assert move(slider)
            assert changed(area, before), f"{theme}: the slider was moved and the picture stayed"
            page.screenshot(path=tmp_path / f"{theme.split()[1].lower()}.png")
            assert contrast(area.evaluate(COLOURS)) >= 4.5, theme
        page.close()
    beyond = [url for url in asked if not re.match(r"\w+://127\.0\.0\.1:|blob:|data:", url)]
    assert asked and beyond == [], "the page asks for something that is not on this machine"
