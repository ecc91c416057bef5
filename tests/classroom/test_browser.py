"""Widgets in a real browser, with no kernel: what moves there must move the picture."""

from functools import cache

import anywidget
import pytest
from browser import contrast, move, public_state

from deeplab_lite.classroom import widgets

TEXT_ON_GROUND = """(node) => [node, document.body].map((each, i) =>
  getComputedStyle(each)[["color", "backgroundColor"][i]])"""
CONTROLS = "input, select, button, [role=slider]"
NAMED = "input, select, button:not([aria-hidden=true]), [tabindex='0']"


@cache
def made(name):
    return getattr(widgets, name)()


IN_THE_PAGE = [
    name for name in widgets.__all__ if issubclass(getattr(widgets, name), anywidget.AnyWidget)
]  # the others are drawn by the kernel: test_jupyterlab.py


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


@pytest.mark.parametrize("ground", ["white", "#111"])
def test_a_number_in_the_colour_of_taps_can_be_read(ground, widget_page):
    page = widget_page(made("DilationExplorer")).page
    theme = "light" if ground == "white" else "dark"
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    page.evaluate("(ground) => { document.body.style.background = ground; }", ground)
    # found and asked at once: a number that is drawn anew in between has no colour
    number = "document.querySelector('.dl-figure.tap b')"
    now = f"() => {number} && ({TEXT_ON_GROUND})({number})"
    assert contrast(page.wait_for_function(now).json_value()) >= 4.5
