"""The pages of `make site`: built once, read as files, and in a browser with the network cut."""

import functools
import http.server
import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

import hygiene
import numpy as np
import pytest
from browser import DRAWN, TWO_FRAMES, out_of_reach

from deeplab_lite import atrous
from tools import notebooks
from tools.site import colab, front, pages, tries, widgets

pytest.importorskip("sphinx_book_theme", reason="the pages' theme needs Python 3.11")
from tools.site import glossary

ROOT = notebooks.ROOT
NO_NPM = ("There is no npm", "npm failed")  # tools/npm.py says so
LESSONS = [f"notebooks/{lesson.path.stem}.html" for lesson in pages.lessons()]
SOLUTIONS = [page.replace("/", "/solutions/") for page in LESSONS]
OTHERS = (
    "index",
    "search",
    "notebooks/glossary",
    "notebooks/appendix",
    "deeplab_lite/README",
    "deeplab_lite/atrous",
)
VISITED = [*LESSONS, *SOLUTIONS[:2], *(f"{name}.html" for name in OTHERS)]
OPTION = "button.dl-qz-option"  # of a quiz
MAX_WEIGHT = 3_000_000  # bytes of a lesson with all that it loads
AXE = """() => axe.run({exclude: EXCLUDED}, {resultTypes: ["violations"]}).then((found) =>
  found.violations.filter((v) => ["serious", "critical"].includes(v.impact))
    .map((v) => `${v.id}: ${v.nodes[0].html.slice(0, 200)}`))"""


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the pages. Without npm or its registry the tests skip, and fail in CI."""
    out = tmp_path_factory.mktemp("site") / "pages"
    command = [sys.executable, "-m", "tools.site", "--out", str(out)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if any(reason in run.stderr for reason in NO_NPM):
        out_of_reach(run.stderr.strip().splitlines()[-1])
    assert run.returncode == 0, run.stdout + run.stderr
    return out


# ---- as files ----


class Page(HTMLParser):
    """What a page links to and shows: addresses, ids, pictures without alt text, folded answers."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.no_alt: list[str] = []
        self.answers: list[bool] = []  # of each folded answer, whether it stands open
        self.next = ""
        self.text = path.read_text("utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.links += [values[key] for key in ("href", "src") if values.get(key)]
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "img" and "alt" not in values:
            self.no_alt.append(values.get("src", "?"))
        if tag == "details" and values.get("class") == "answer":
            self.answers.append("open" in values)
        if tag == "a" and values.get("class") == "right-next":
            self.next = values["href"]


@pytest.fixture(scope="session")
def read(site):
    """A page by its name, parsed once."""
    return functools.cache(lambda name: Page(site / name))


def names(site: Path) -> list[str]:
    found = [path.relative_to(site).as_posix() for path in site.rglob("*.html")]
    return sorted(name for name in found if not name.startswith("_static/"))


def test_every_lesson_solution_and_file_of_the_core_has_its_page(site):
    core = {f"deeplab_lite/{file.removesuffix('.py')}.html" for file in pages.core()}
    assert {*LESSONS, *SOLUTIONS, *core, "index.html", "search.html"} <= set(names(site))


def test_every_link_arrives(site, read):
    broken = []
    for name in names(site):
        for link in read(name).links:
            url = urlsplit(link)
            if url.scheme in ("https", "data"):
                continue
            target = (site / name).parent.joinpath(unquote(url.path)) if url.path else site / name
            target = target.resolve()
            if not target.is_file() or url.scheme:
                broken.append(f"{name}: {link}")
            elif url.fragment and "=" not in url.fragment and target.suffix == ".html":
                ids = read(target.relative_to(site).as_posix()).ids
                if unquote(url.fragment) not in ids:
                    broken.append(f"{name}: {link}")
    assert broken == []


def test_every_picture_has_alt_text(site, read):
    assert [name for name in names(site) if read(name).no_alt] == []


def test_next_leads_through_the_lessons_in_their_order(read):
    page, visited = "index.html", []
    for _ in LESSONS:
        page = urljoin(page, read(page).next)
        visited.append(page)
    assert visited == LESSONS


def test_a_widget_lives_or_is_a_picture_that_says_why(read):
    for lesson, page in zip(pages.lessons(), LESSONS, strict=True):
        outputs = [out for _, _, out in hygiene.Notebook.open(lesson.path).outputs()]
        text = read(page).text
        there = text.count('class="widget"') + text.count('class="needs-python"')
        assert there == sum(map(hygiene.is_widget, outputs)), page


def test_answers_are_folded_and_each_exercise_leads_to_its_own(read):
    for lesson, page, solution in zip(pages.lessons(), LESSONS, SOLUTIONS, strict=True):
        exercises = hygiene.EXERCISE.findall(hygiene.text(hygiene.Notebook.open(lesson.path)))
        assert read(solution).answers == [False] * len(exercises), solution
        text = re.sub(r"<details class=.answer.*?</details>", "", read(solution).text, flags=re.S)
        assert "check." not in re.sub(r"<[^>]+>", "", text), solution
        leading = [a for a in read(page).links if "solutions/" in a and "-answer-" in a]
        assert len(leading) == len(exercises), page


def test_a_page_of_code_has_its_docstrings_and_its_source(read):
    text = " ".join(re.sub(r"<[^>]+>", "", read("deeplab_lite/atrous.html").text).split())
    assert text.count("Width in pixels of a dilated kernel") == 2
    assert "return kernel + (kernel - 1) * (dilation - 1)" in text


def test_the_code_is_listed_in_the_order_of_the_lessons(read):
    table = read("deeplab_lite/README.html").text.partition("<article")[2]
    listed = re.findall(r'href="([\w/]+)\.html"><span class="std std-doc"><code', table)
    assert [f"{name}.py" for name in listed] == list(pages.core())


def test_a_label_map_leads_to_the_playground_with_its_scene(read):
    for lesson, page in zip(pages.lessons(), LESSONS, strict=True):
        cells = notebooks.read(lesson.path)["cells"]
        wanted = [f"{tries.PLAYGROUND}#{name}" for cell in cells for name in tries.addresses(cell)]
        assert [a for a in read(page).links if "playground/" in a] == wanted, page


def test_nothing_names_a_repository_that_was_not_named(site, read):
    for page in LESSONS:
        assert not any("colab" in link or "binder" in link for link in read(page).links)
    assert list(site.rglob("*.ipynb")) == []


# ---- in a browser ----


@dataclass
class Visit:
    """What a page did while it loaded, 390 pixels wide."""

    width: int = 0
    weight: int = 0
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browse(chromium, site):
    """Open a page from file:// with the network cut: browse(name, width=..., dark=...)."""
    contexts = []

    def go(name: str, width: int = 1280, dark: bool = False, visit: Visit | None = None):
        visit = visit or Visit()
        scheme = "dark" if dark else "light"
        size = {"width": width, "height": 900}
        context = chromium.new_context(viewport=size, color_scheme=scheme, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.visit = visit
        page.on("pageerror", lambda error: visit.errors.append(str(error)))
        page.on("console", lambda m: m.type == "error" and visit.errors.append(m.text))
        page.on("request", lambda request: count(request.url, visit, site))
        page.goto(f"{site.as_uri()}/{name}")
        page.wait_for_function(
            "() => [...document.querySelectorAll('.widget')].every((w) => w.querySelector('.dl'))"
        )
        page.evaluate(TWO_FRAMES)
        return page

    yield go
    for context in contexts:
        context.close()


def count(address: str, visit: Visit, site: Path) -> None:
    url = urlsplit(address)
    path = Path(url2pathname(url.path))
    if url.scheme in ("data", "blob"):
        return
    if url.scheme == "file" and path.is_relative_to(site):
        visit.weight += path.stat().st_size
    else:
        visit.outside.append(address)


@pytest.fixture(scope="module")
def visits(browse):
    found = {}
    for name in VISITED:
        page = browse(name, width=390)
        page.visit.width = page.evaluate("document.documentElement.scrollWidth")
        found[name] = page.visit
        page.context.close()
    return found


def test_no_page_reports_an_error(visits):
    assert {name: visit.errors for name, visit in visits.items() if visit.errors} == {}


def test_no_page_asks_for_anything_outside_its_folder(visits):
    assert {name: visit.outside for name, visit in visits.items() if visit.outside} == {}


def test_no_page_scrolls_sideways_on_a_phone(visits):
    assert {name: visit.width for name, visit in visits.items() if visit.width > 390} == {}


def test_a_lesson_with_all_that_it_loads_is_light(visits):
    weights = {name: visits[name].weight for name in ["index.html", *LESSONS]}
    assert {name: weight for name, weight in weights.items() if weight >= MAX_WEIGHT} == {}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_serious_fault(browse, dark):
    script = ROOT / "site" / "node_modules" / "axe-core" / "axe.min.js"
    found = {}
    for name in VISITED if not dark else VISITED[-len(OTHERS) - 1 :]:
        page = browse(name, dark=dark)
        page.add_script_tag(path=script)
        excluded = [] if name.startswith("deeplab_lite") else [".highlight"]  # alike everywhere
        if faults := page.evaluate(AXE.replace("EXCLUDED", json.dumps(excluded))):
            found[name] = faults
        page.context.close()
    assert found == {}


@pytest.mark.parametrize("name", LESSONS)
def test_a_key_moves_each_widget(browse, name):
    page = browse(name)
    for widget in page.locator(".widget").all():
        control = widget.locator(f"input[type=range]:enabled, [tabindex='0'], {OPTION}").first
        before = widget.evaluate(DRAWN)
        for key in ("ArrowRight", "ArrowLeft", "ArrowDown", "Enter"):  # one of them is free to go
            control.focus()
            page.keyboard.press(key)
            page.evaluate(TWO_FRAMES)
            if widget.evaluate(DRAWN) != before:
                break
        else:
            pytest.fail("no key changes the widget's picture")
    assert page.visit.errors == []


def test_the_explorer_moves_by_itself_until_somebody_takes_it(browse):
    page = browse("index.html")
    say = page.locator(".widget .dl-say")
    first = say.inner_text()
    page.wait_for_function("(t) => document.querySelector('.dl-say').textContent !== t", arg=first)
    page.get_by_role("button", name="pause").click()
    stopped = say.inner_text()
    page.wait_for_timeout(2500)
    assert say.inner_text() == stopped


def test_the_explorer_says_what_python_says(browse):
    page = browse("index.html")
    rates = [3, 1, 4]
    for layer, rate in enumerate(rates, 1):
        slider = page.get_by_label(f"rate of layer {layer},")
        slider.focus()
        page.keyboard.press("Home")
        for _ in range(rate):
            page.keyboard.press("ArrowRight")
    page.evaluate(TWO_FRAMES)
    table = atrous.tap_counts(rates)
    size, taps = len(table), np.count_nonzero(table)
    said = page.locator(".widget .dl-say").inner_text()
    assert f"sees {size}×{size} pixels and reads {taps} of them" in said or taps == size * size
    assert f"{size} × {size}" in page.locator(".widget .dl-figures").inner_text()


def test_the_mouse_moves_the_explorer_too(browse):
    page = browse("index.html")
    page.get_by_role("button", name="1-2-5 hybrid").click()
    page.evaluate(TWO_FRAMES)
    assert "Rates 1, 2, 5" in page.locator(".widget .dl-say").inner_text()


def test_the_networks_come_to_the_front_page_at_a_click(browse):
    page = browse("index.html")
    button = page.get_by_role("button", name="Drag a shape")
    (said,) = re.findall(r"(\d+) MB, once", button.inner_text())
    before = page.visit.weight
    button.click()
    frame = page.frame_locator("iframe.drag")
    ready = frame.locator("main[aria-busy=false]")
    ready.wait_for(timeout=120_000)
    assert (page.visit.weight - before) / 1e6 == pytest.approx(int(said), abs=1)
    answer = frame.locator("#a canvas")
    first = answer.get_attribute("aria-label")
    frame.locator("#board path").first.focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    ready.wait_for()
    page.frames[-1].wait_for_function(
        "(first) => document.querySelector('#a canvas').ariaLabel !== first", arg=first
    )
    assert page.visit.errors == [] and page.visit.outside == []


def test_a_quiz_remembers_its_answers(browse):
    page = browse(LESSONS[0])
    page.locator(OPTION).nth(1).click()
    page.evaluate(TWO_FRAMES)
    reply = page.locator(".dl-qz-reply").first.inner_text()
    assert reply
    page.reload()
    page.wait_for_function("document.querySelector('.dl-qz-reply')?.textContent")
    assert page.locator(".dl-qz-reply").first.inner_text() == reply
    assert page.visit.errors == []


def test_search_finds_a_word(browse):
    page = browse(LESSONS[0])
    page.keyboard.press("Control+k")
    page.keyboard.type("gridding")
    page.keyboard.press("Enter")
    results = page.locator("#search-results li a")
    page.get_by_text("Search finished").wait_for()
    found = {os.path.basename(urlsplit(a.get_attribute("href")).path) for a in results.all()}
    assert {"02_atrous_convolution.html", "glossary.html"} <= found
    assert page.visit.errors == []


def test_a_button_turns_the_page_and_its_widgets_dark(browse):
    page = browse(LESSONS[0])
    dark = page.get_by_role("button", name="Dark", exact=True)
    for _ in range(3):  # older themes go from mode to mode, newer ones have a menu
        page.locator(".theme-switch-button").first.click()
        if dark.is_visible():
            dark.click()
        if page.locator("html").get_attribute("data-theme") == "dark":
            break
    color = "(node) => getComputedStyle(node).color"
    inks = {page.locator(part).first.evaluate(color) for part in ("body", ".widget .dl")}
    assert len(inks) == 1
    assert min(map(int, re.findall(r"\d+", inks.pop()))) > 180


def test_a_term_says_what_the_glossary_says_and_leads_to_its_row(browse):
    page = browse(LESSONS[1])
    link = page.locator("a.term").first
    link.hover()
    bubble = page.get_by_role("tooltip")
    terms = {term.anchor: term for term in glossary.terms()}
    term = terms[urlsplit(link.get_attribute("href")).fragment]
    for part in (term.english, term.chinese, notebooks.plain(term.text)):
        assert part in bubble.inner_text()
    page.keyboard.press("Escape")
    assert not bubble.is_visible()
    link.click()
    assert term.english in page.locator("tr:target").inner_text()


def test_the_pages_work_from_a_server(chromium, site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *values):
            pass

    handler = functools.partial(Quiet, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    errors = []
    page = chromium.new_page()
    page.on("console", lambda m: m.type == "error" and errors.append(m.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    address = f"http://127.0.0.1:{server.server_port}"
    page.goto(f"{address}/{LESSONS[0]}")
    page.locator(".widget .dl").first.wait_for()
    page.goto(f"{address}/search.html?q=gridding")
    page.locator("#search-results li p.context").first.wait_for()  # excerpts, which file:// lacks
    page.close()
    server.shutdown()
    assert errors == []


# ---- its parts ----


def test_a_folder_that_holds_something_else_is_not_emptied(tmp_path, monkeypatch):
    (tmp_path / "thesis.txt").write_text("all of it")
    monkeypatch.setattr(sys, "argv", ["site", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"is not empty and holds no pages: choose another"):
        runpy.run_module("tools.site", run_name="__main__")
    assert (tmp_path / "thesis.txt").exists()


def test_a_notebook_opens_elsewhere_once_a_repository_is_named():
    lesson = pages.lessons()[0].path
    there = notebooks.source(pages.page(lesson, "ann/course")["cells"][0])
    assert f"/github/ann/course/blob/{colab.BRANCH}/notebooks/{lesson.name}" in there
    assert f"mybinder.org/v2/gh/ann/course/HEAD?urlpath=lab/tree/notebooks/{lesson.name}" in there


def test_a_link_leads_to_a_page_to_the_repository_or_nowhere():
    text = "[a](../deeplab_lite/atrous.py), [b](../README.md), [c](02.ipynb#2.-A-b), [d](https://x)"
    folder = ROOT / "notebooks"
    linked = "[a](../deeplab_lite/atrous.md), {}, [c](02.ipynb#2-a-b), [d](https://x)"
    assert pages.with_links(text, folder, "") == linked.format("b")
    github = "[b](https://github.com/ann/course/blob/main/README.md)"
    assert pages.with_links(text, folder, "ann/course") == linked.format(github)


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """The commands that the install cell would run in an empty folder; a clone makes its folder."""
    commands = []

    def run(command, check):
        commands.append(command)
        if "clone" in command:
            (tmp_path / "course" / "notebooks").mkdir(parents=True)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.chdir(tmp_path)
    return commands


def test_the_install_cell_does_nothing_where_the_course_is(calls, tmp_path):
    exec(colab.cell("ann/course")["source"], {})
    assert calls == [] and Path.cwd() == tmp_path


def test_the_install_cell_installs_the_course_where_it_is_missing(calls, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    exec(colab.cell("ann/course")["source"], {})
    clone, install = calls
    assert clone[:2] == ["git", "clone"]
    assert clone[-2:] == ["https://github.com/ann/course", "course"]
    assert "./course" in install and any(name.startswith("anywidget") for name in install)
    assert not any(name.startswith(("jupyterlab", "ipykernel")) for name in install)
    assert Path.cwd() == tmp_path / "course" / "notebooks"


def test_the_install_cell_goes_on_where_it_was_interrupted(calls, tmp_path, monkeypatch):
    (tmp_path / "course" / "notebooks").mkdir(parents=True)
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    exec(colab.cell("ann/course")["source"], {})
    assert [command[:2] for command in calls] == [[sys.executable, "-m"]]  # pip, and no clone
    monkeypatch.setattr("importlib.util.find_spec", find)
    monkeypatch.chdir(tmp_path)  # as a kernel that is started anew
    exec(colab.cell("ann/course")["source"], {})
    assert len(calls) == 1 and Path.cwd() == tmp_path / "course" / "notebooks"


def test_published_lessons_begin_with_the_install_cell(tmp_path):
    pages.write_notebooks(tmp_path, "ann/course")
    written = sorted(tmp_path.iterdir())
    assert [path.name for path in written] == [lesson.path.name for lesson in pages.lessons()]
    for path in written:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        assert cells[1]["id"] == "install" and cells[0]["cell_type"] == "markdown"
        assert len(cells) == len(notebooks.read(ROOT / "notebooks" / path.name)["cells"]) + 1


@pytest.mark.parametrize(
    "kind, tag, sentence",
    [
        ("markdown", "try:seed=7", "try:seed=7 belongs to the code that draws the label map"),
        ("code", "try:network=v1-scenes", "network=v1-scenes names no seed, photo or draw"),
    ],
)
def test_a_tag_that_leads_nowhere_is_refused(kind, tag, sentence):
    cell = {"cell_type": kind, "metadata": {"tags": [tag]}, "outputs": []}
    with pytest.raises(ValueError, match=sentence):
        tries.add_links(cell)


def test_widgets_tied_by_jslink_are_refused():
    view = {"data": {notebooks.WIDGET_VIEW: {"model_id": "a"}, "text/plain": "two sliders"}}
    models = {"a": {"model_name": "VBoxModel"}, "b": {"model_name": "LinkModel"}}
    with pytest.raises(ValueError, match="jslink: write an anywidget instead"):
        widgets.shown(view, models)


def test_bytes_of_a_widget_reach_the_page():
    state = {"_esm": "export default {}", "map": None, "rate": 3, "layout": "IPY_MODEL_b"}
    buffers = [{"path": ["map"], "encoding": "base64", "data": "AQI="}]
    html = widgets.element({"state": state, "buffers": buffers}, 'a "map"')
    stored = json.loads(re.search(r"<script[^>]*>(.*)</script>", html)[1])
    assert stored["state"] == {"map": {"base64": "AQI="}, "rate": 3}


def test_a_card_shows_whole_panels():
    image = np.full((100, 420, 3), 255, np.uint8)
    for left in (10, 150, 290):  # three panels of 120 x 80
        image[10:90, left : left + 120] = 0
    height, width, _ = front.crop(image).shape
    assert height == 80 and 120 <= width <= 140  # 2:1 would be 160, in the middle of a panel


@pytest.mark.parametrize(
    "gain, low, high, shown",
    [
        ("0.1", "0.05", "0.15", '<span class="better">+0.100</span>'),
        ("-0.1", "-0.15", "-0.05", '<span class="worse">−0.100</span>'),
        ("0.01", "-0.01", "0.03", '<span class="luck">+0.010</span>'),
        ("", "", "", ""),
    ],
)
def test_a_step_of_the_ladder_is_told_from_luck(gain, low, high, shown):
    assert front.step({"step": gain, "low": low, "high": high}) == shown
