"""Widgets and lessons in a real browser: what moves there must move the picture."""

import anywidget
import pytest
from browser import public_state

from deeplab_lite import widgets

CONTROLS = "input, select, button, [role=slider]"


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


@pytest.mark.parametrize("name", widgets.__all__)
def test_every_control_moves_the_picture_with_no_kernel(name, widget_page):
    widget = getattr(widgets, name)()
    if not isinstance(widget, anywidget.AnyWidget):
        pytest.skip(f"{name} is drawn by the kernel: its own tests sweep its states")
    mounted = widget_page(widget)
    traits = {name: mounted.get(name) for name in public_state(widget)}
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
