"""A real browser for tests: where Chromium is, and a page that runs a widget with no kernel."""

import base64
import os
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# What a front end does around a widget: a model with its events, and a call of render().
PAGE = """<!doctype html><meta charset="utf-8">
<style>body { margin: 8px; background: white }</style><div id="root"></div>"""
MOUNT = """async ({ esm, css, state }) => {
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  for (const name in state) {
    if (state[name]?.base64 !== undefined) state[name] = bytes(state[name].base64);
  }
  const listeners = {}, emit = (event) => (listeners[event] ?? []).slice().forEach((f) => f());
  window.model = {
    state, saved: 0, get: (name) => state[name],
    set: (name, value) => {
      if (JSON.stringify(value) === JSON.stringify(state[name])) return;
      state[name] = value; emit(`change:${name}`); emit("change");
    },
    save_changes: () => { window.model.saved += 1; }, send: () => {},
    on: (event, then) => { (listeners[event] ??= []).push(then); },
    off: (event, then) => {
      listeners[event] = (listeners[event] ?? []).filter((f) => f !== then);
    },
  };
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
  const widget = (await import(url)).default, el = document.getElementById("root");
  const part = { model: window.model, el };
  await (typeof widget === "function" ? await widget() : widget).render(part);
}"""
# All that is drawn inside an element, as text: two pictures are the same if these are.
DRAWN = """(root) => {
  const parts = [...root.querySelectorAll("svg")].map((svg) => svg.outerHTML);
  parts.push(...[...root.querySelectorAll("img")].map((img) => img.src));
  parts.push(...[...root.querySelectorAll("canvas")].map((canvas) => canvas.toDataURL()));
  return parts.join("\\n");
}"""
PIXELS = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [canvas.width, btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(""))];
}"""
TWO_FRAMES = "() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))"


def out_of_reach(reason: str) -> None:
    """Skip the test; in CI, which installs all that tests need, fail it."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def find_chromium() -> str | None:
    """Path of a Chromium: $CHROMIUM, one on PATH, or Playwright's own."""
    names = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


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


def public_state(widget: Any) -> dict[str, Any]:
    """The traits that a widget shares with its script, bytes as {"base64": ...}."""
    state = {}
    for name in widget.keys:
        value = getattr(widget, name)
        if name.startswith("_") or name in ("layout", "tabbable", "tooltip"):
            continue
        if isinstance(value, (bytes, memoryview)):
            value = {"base64": base64.b64encode(value).decode()}
        state[name] = value
    return state


@dataclass
class Mounted:
    """A page that shows a widget; `model` in it stands for the kernel's side."""

    page: Any
    errors: list[str]

    def drawn(self) -> str:
        self.page.evaluate(TWO_FRAMES)
        return self.page.locator("#root").evaluate(DRAWN)

    def painted(self, canvas: Any) -> np.ndarray:
        """What a canvas shows, whole numbers (H, W, 4): red, green, blue, opacity."""
        self.page.evaluate(TWO_FRAMES)
        width, text = canvas.evaluate(PIXELS)
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, width, 4).astype(int)

    def get(self, name: str) -> Any:
        return self.page.evaluate("(name) => window.model.get(name)", name)

    def set(self, **traits: Any) -> None:
        """Change traits as the kernel would."""
        self.page.evaluate("(t) => Object.entries(t).forEach(([k, v]) => model.set(k, v))", traits)
