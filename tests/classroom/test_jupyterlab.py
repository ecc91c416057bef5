"""Widgets and a lesson in JupyterLab, widgets in Notebook 7 too: one server and few kernels."""

import re
import shutil
import time

import anywidget
import lab
import pytest
from browser import DRAWN, contrast, move
from hygiene import Notebook, is_picture, is_widget

from deeplab_lite.classroom import widgets
from tools import notebooks

# Those that the kernel draws, and those that draw in the page, where they ask it for other scenes.
PLAYGROUNDS = [
    f"{name}()"
    for name in widgets.__all__
    if not issubclass(getattr(widgets, name), anywidget.AnyWidget)
]
EXPLORERS = ["ASPPExplorer(7)", "BoundaryMicroscope(models=['v1'], seeds=[7])"]
SHOWN = [*PLAYGROUNDS, *EXPLORERS]
WINDOW = {"width": 1280, "height": 1000}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of a server that has all lessons; widgets.ipynb, whose cells are SHOWN; and saved.ipynb, with
    an explorer and a playground, saved as by `make notebooks` and trusted as by `make lab`.
    """
    scratch = tmp_path_factory.mktemp("lab")
    shutil.copytree(notebooks.ROOT / "notebooks", scratch / "notebooks")
    sources = (f"from deeplab_lite.classroom.widgets import *\n{each}" for each in SHOWN)
    lab.write(scratch / "notebooks" / "widgets.ipynb", sources)
    saved = scratch / "notebooks" / "saved.ipynb"
    sources = ("DilationExplorer()", "CRFPlayground('small scene')")
    lab.write(saved, (f"from deeplab_lite.classroom.widgets import *\n{each}" for each in sources))
    assert notebooks.main([str(saved)]) == 0
    lab.trust(scratch, saved)
    with lab.running(scratch) as address:
        yield address


@pytest.fixture(scope="module")
def output(chromium, address):
    """Call with one of SHOWN: where a page shows it, whose cells have run without a fault."""
    page = chromium.new_page(viewport=WINDOW)
    lab.show(page, address, "widgets.ipynb")
    lab.run_all(page)
    cells = page.locator(".jp-CodeCell")
    yield lambda shown: cells.nth(SHOWN.index(shown)).locator(".jp-OutputArea-output").first
    page.close()


def changed(area, before, seconds=20):
    """Wait until the picture in `area` is another one than `before`; False if it stays."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if area.evaluate(DRAWN) not in ("", before):
            return True
        time.sleep(0.05)
    return False


def test_the_kernel_draws_two_widgets_or_more():
    assert len(PLAYGROUNDS) >= 2


@pytest.mark.parametrize("playground", PLAYGROUNDS)
def test_a_playground_answers(output, playground):
    """Move its first slider, wait for another picture."""
    area = output(playground)
    slider = area.locator("[role=slider]").first
    slider.scroll_into_view_if_needed()
    area.locator("img").first.wait_for()
    before = area.evaluate(DRAWN)
    assert move(slider)
    assert changed(area, before), "the slider was moved and the picture stayed"
    assert area.locator("[role=alert]").count() == 0


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_an_explorer_gets_another_scene_from_the_kernel(output, explorer):
    """Its box for a seed is free."""
    area = output(explorer)
    box = area.locator("input[aria-label=scene]:enabled")
    box.wait_for()
    before = area.evaluate(DRAWN)
    box.fill("5")
    box.press("Enter")
    assert changed(area, before), "the scene stayed"
    area.get_by_text("computing").wait_for(state="hidden")


PRESS = """(area, steps) => new Promise(async (done) => {
  const image = area.querySelector("img.widget-image"), times = [];
  const handle = [...area.querySelectorAll(".widget-slider")]
    .find((slider) => slider.textContent.includes("σ colour")).querySelector(".noUi-handle");
  handle.focus();
  for (let i = 0; i < steps; i++) {
    const before = image.src, start = performance.now();
    handle.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    while (image.src === before && performance.now() - start < 9000)
      await new Promise((wait) => setTimeout(wait, 1));
    await image.decode().catch(() => {});
    await new Promise(requestAnimationFrame);
    times.push(image.src === before ? null : performance.now() - start);
    await new Promise((wait) => setTimeout(wait, 100));
  }
  done(times);
})"""


def test_a_key_press_changes_the_picture_of_the_crf_playground(output):
    """Prints the time from key to picture: pytest -s; about 80 ms on two cores."""
    area = output("CRFPlayground()")
    area.locator("img.widget-image").wait_for()
    times = area.evaluate(PRESS, 9)
    assert None not in times, "a key was pressed and the picture stayed"
    print(f"key to picture: {sorted(times)[4]:.0f} ms, median of {len(times)}")
    before = area.evaluate(DRAWN)
    area.get_by_role("button", name="COCO").click()
    assert changed(area, before), "the button was pressed and the picture stayed"


# ---- A saved notebook ----

BROKEN = """() => [...document.querySelectorAll(".jupyter-widgets-disconnected")]
  .filter((node) => getComputedStyle(node, "::before").content !== "none").length"""


@pytest.mark.parametrize("front", [lab.LAB, lab.NOTEBOOK])
def test_a_trusted_playground_is_a_picture_until_it_is_run(chromium, address, front):
    page = chromium.new_page(viewport=WINDOW)
    lab.show(page, address, "saved.ipynb", front)
    explorer, playground = (page.locator(".jp-CodeCell").nth(place) for place in (0, 1))
    picture = playground.get_by_role("img", name="Dense CRF on scene 7")
    picture.wait_for()
    assert picture.evaluate("(image) => image.decode().then(() => image.width)") > 300
    line = playground.get_by_text("run the cells down to this one")
    assert line.is_visible() and playground.locator("select, [role=slider]").count() == 0
    area = explorer.locator(".jp-OutputArea-output")
    before = area.evaluate(DRAWN)
    assert move(area.locator("input[type=range]").first) and changed(area, before)
    assert page.evaluate(BROKEN) == 0
    lab.run_all(page)
    playground.locator("[role=slider]").first.wait_for()
    assert line.count() == 0 and page.evaluate(BROKEN) == 0
    page.close()


# ---- A lesson ----

SLIDER = "input[type=range], input[type=number], [role=slider]"
COLOURS = """(area) => [
  getComputedStyle(area.querySelector("[role=group], .jupyter-widgets") ?? area).color,
  getComputedStyle(area.closest(".jp-Notebook")).backgroundColor,
]"""


def lessons_with_a_widget():
    for path in notebooks.all_notebooks():
        if any(is_widget(output) for _, _, output in Notebook.open(path).outputs()):
            yield path


def test_contrast():
    assert contrast(["rgb(0, 0, 0)", "rgb(255, 255, 255)"]) == pytest.approx(21)
    assert contrast(["rgba(0, 0, 0, 0)", "rgb(9, 9, 9)"]) == pytest.approx(1)
    assert contrast(["rgb(118, 118, 118)", "rgb(255, 255, 255)"]) == pytest.approx(4.54, abs=0.01)


def test_a_lesson_runs_and_moves(chromium, address, tmp_path):
    """Open a lesson as a fresh clone shows it, run all, move a slider in both themes."""
    path = next(lessons_with_a_widget(), None)
    if path is None:
        pytest.skip("no lesson has a widget yet")
    saved = sum(is_picture(output) for _, _, output in Notebook.open(path).outputs())
    page = chromium.new_page(viewport=WINDOW)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    lab.show(page, address, path.name)
    page.wait_for_function(
        f"document.querySelectorAll('.jp-RenderedImage img').length >= {saved}",
        timeout=30_000,  # the twins of the widgets are among them: nothing is trusted yet
    )
    lab.run_all(page)
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
