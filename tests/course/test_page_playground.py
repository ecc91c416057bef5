"""The playground as a page: from a disk, with the network cut, beside Python's answers."""

import base64
import functools
import hashlib
import http.server
import re
import shutil
import threading

import numpy as np
import onnx
import pytest
import torch
from browser import out_of_reach
from PIL import Image

from deeplab_lite import ask, checkpoints, metrics, models, scenes
from deeplab_lite.classroom.draw.differences import DISAGREEMENT
from deeplab_lite.classroom.own_scene import Background, Placed, compose
from deeplab_lite.classroom.widgets.shape_canvas import START
from deeplab_lite.colors import SCENE_PALETTE
from tools import notebooks, playground
from tools.site import pages, tries

SEEDS = 10
NAMES = checkpoints.names(scenes.CLASSES)
READY = "main[aria-busy=false]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page as it is built, all networks included."""
    if not playground.MODULES.is_dir():
        out_of_reach("not built: `npm ci --prefix site/playground` fetches what the page needs")
    scratch = tmp_path_factory.mktemp("site")
    return playground.build(scratch / "playground", [*checkpoints.names(), other_network(scratch)])


def other_network(folder):
    """The path of a network for the small scenes: untrained, for no score."""
    options = {"num_classes": 9, "backbone": "vgg16", "width": 0.125, "rates": [3, 6, 9]}
    torch.manual_seed(0)
    network = models.DeepLabV3(**options)
    words = dict.fromkeys(("seed", "command", "commit", "hardware", "time"), "none")
    card = words | {
        "model": {"class": "DeepLabV3", "options": options},
        "classes": list(scenes.CLASSES),
        "data": {"name": "small-scenes", "size": scenes.SMALL.side},
        "metrics": {"val": {"miou": 0.5}},
    }
    return str(checkpoints.save(network, folder / "v3-small", card))


class Opened:
    """The page in a browser whose network is cut; what it asks for, and what goes wrong in it."""

    def __init__(self, browser, **options):
        self.errors, self.requests = [], []
        self.context = browser.new_context(**({"offline": True} | options))
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda m: m.type in ("error", "warning") and self.errors.append(m.text)
        )
        self.page.on("request", lambda request: self.requests.append(request.url))

    def goto(self, address, hash=""):
        self.page.goto(f"{address}{hash}")
        return self.settle()

    def settle(self):
        """Until the networks have answered for what the controls say now."""
        self.page.evaluate("() => new Promise((then) => setTimeout(then, 50))")
        self.page.wait_for_selector(READY)
        return self.page

    def text(self, selector):
        return self.page.locator(selector).inner_text()

    def describes(self, panel):
        return self.page.locator(f"#{panel} canvas").get_attribute("aria-label")


@pytest.fixture(scope="module")
def site(chromium, folder):
    """One page for the tests that change nothing of its state."""
    opened = Opened(chromium)
    opened.goto((folder / "index.html").as_uri())
    yield opened
    assert opened.errors == []
    opened.context.close()


@pytest.fixture
def fresh(chromium, folder):
    """A page of its own, not opened yet, and where it is."""
    made = []

    def make(**options):
        made.append(Opened(chromium, **options))
        return made[-1]

    yield make, (folder / "index.html").as_uri()
    for opened in made:
        assert opened.errors == []
        opened.context.close()


def pixels(text, *shape):
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape)


# ---- The same scenes -----------------------------------------------------------------------------

DIGESTS = """async ([world, seeds]) => {
  const { scene, worldOf, textures } = window.playground, { size, difficulty } = worldOf(world);
  await textures;
  const digests = [];
  for (const seed of seeds) {
    const { pixels, label } = scene(seed, size, difficulty);
    const both = new Uint8Array([...pixels, ...label]);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", both));
    digests.push([...digest].map((byte) => byte.toString(16).padStart(2, "0")).join(""));
  }
  return digests;
}"""


@pytest.mark.parametrize("world", playground.WORLDS)
def test_a_seed_gives_pythons_bytes(site, world):
    _, difficulty = playground.WORLDS[world]
    seeds = [*range(SEEDS - 3), 2_000_000, 1_000_000_007, 2**32 - 1]
    expected = []
    for seed in seeds:
        image, label = scenes.scene(seed, difficulty.side, difficulty)
        expected.append(hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest())
    assert site.page.evaluate(DIGESTS, [world, seeds]) == expected


COMPOSED = """async ([shapes, background, size]) => {
  await window.playground.textures;
  const { pixels, label } = window.playground.compose(shapes, background, size);
  const text = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return [text(pixels), text(label)];
}"""


@pytest.mark.parametrize("size", [129, 321])
def test_shapes_placed_by_hand_give_pythons_bytes(site, size):
    patterns = ("plain", "noise", "brick", "grass", "gravel")
    shapes = [
        Placed(kind, size * (0.1 + 0.1 * i), size * (0.8 - 0.09 * i), 9 + 7 * i, 23 * i,
               f"#{(0x3F51B5 * (i + 1)) % 2**24:06x}", patterns[i % 5])
        for i, kind in enumerate(scenes.CLASSES[1:])
    ]  # fmt: skip
    start = START if size == 321 else ()  # they are for a canvas of that size
    for placed, below in ((shapes, Background()), (start, Background("#123456", "noise"))):
        own = compose(placed, below, size)
        fields = [[shape._asdict() for shape in placed], below._asdict(), size]
        image, label = site.page.evaluate(COMPOSED, fields)
        assert np.array_equal(pixels(image, size, size, 3), own.image)
        assert np.array_equal(pixels(label, size, size), own.label)


# ---- The same answers ----------------------------------------------------------------------------

ASKED = """async ([name, images]) => {
  const answers = [];
  for (const [width, height, bytes] of images) {
    const pixels = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
    const image = { width, height, pixels };
    const { label, confidence } = await window.playground.ask(name, image);
    const sum = confidence.reduce((a, b) => a + b, 0);
    const text = btoa(Array.from(label, (k) => String.fromCharCode(k)).join(""));
    answers.push([text, sum / label.length]);
  }
  return answers;
}"""


def asked(site, name, images):
    """(label, mean confidence) of each image, from the page."""
    fields = [[i.shape[1], i.shape[0], base64.b64encode(i.tobytes()).decode()] for i in images]
    answers = site.page.evaluate(ASKED, [name, fields])
    return [
        (pixels(text, *image.shape[:2]), mean)
        for (text, mean), image in zip(answers, images, strict=True)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_network_gives_pytorchs_labels_on_scenes(site, name):
    network = checkpoints.load(name).to(memory_format=torch.channels_last)
    images = [scenes.scene(2_000_000 + i)[0] for i in range(SEEDS)]
    images[0] = images[0][:100, :120]  # sides that fit no network
    same = total = 0
    for image, (label, confidence) in zip(images, asked(site, name, images), strict=True):
        expected = ask.probabilities(network, image)
        same, total = same + int((expected.argmax(0) == label).sum()), total + label.size
        assert confidence == pytest.approx(expected.max(0).mean(), abs=2e-3)
    assert same / total >= 0.999


@pytest.mark.parametrize("name", sorted(set(checkpoints.names()) - set(NAMES)))
def test_a_network_gives_pytorchs_labels_on_a_photograph(site, name):
    image = playground.shrunk(playground.photos.photo("motorcycle"), 200)
    ((label, _),) = asked(site, name, [image])
    same = ask.label(checkpoints.load(name), image) == label
    assert same.mean() >= 0.995  # it is no street: many pixels are close between two classes


def test_the_list_of_networks_says_what_their_cards_say(site):
    networks = site.page.evaluate("window.playground.data.networks")
    assert [network["name"] for network in networks] == [*checkpoints.names(), "v3-small"]
    for network in networks[:-1]:
        card = checkpoints.card(network["name"])
        assert network["classes"] == card["classes"]
        assert len(network["palette"]) >= len(card["classes"])
        world = playground.WORLDS.get(card["data"]["name"])
        assert network["size"] == (world[1].side if world else max(card["data"]["sides"]))


def test_a_network_for_other_scenes_brings_its_scenes_and_their_size(fresh):
    make, address = fresh
    opened = make()
    page = opened.goto(address, "#seed=7")
    page.get_by_label("Network A").select_option("v3-small")
    opened.settle()
    assert page.get_by_label("kind of scene").input_value() == "small-scenes"
    assert page.locator("#a canvas").evaluate("(canvas) => canvas.width") == scenes.SMALL.side
    assert "small-scenes" in opened.text("#a figcaption")
    page.get_by_role("radio", name="Photograph").check(force=True)
    opened.settle()
    assert page.locator("#a canvas").evaluate("(canvas) => canvas.width") == scenes.SMALL.side


def test_weights_that_half_precision_cannot_hold_are_refused(tmp_path):
    values = np.full(512, 1e5, np.float32)
    tensor = onnx.numpy_helper.from_array(values, "weight")
    graph = onnx.helper.make_graph([], "graph", [], [], [tensor])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "large.onnx")
    with pytest.raises(ValueError, match="large: weight is too large for half precision"):
        playground.halved(tmp_path / "large.onnx")


def test_titles_name_the_idea_and_not_the_data():
    names = {"v3plus-lite0-scenes": "v3+ lite0", "v1-small-scenes": "v1 small", "v2-scenes": "v2"}
    assert {name: playground.title(name, "scenes") for name in names} == names


# ---- The page ------------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A static server that says nothing."""

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(folder):
    """The address of the folder on a static server."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


def scores(opened):
    """The numbers of the table, by their row: one for each network."""
    rows = opened.page.locator("#scores tr").all()[1:]
    return {
        row.locator("th").inner_text(): [
            float(cell.split()[0]) for cell in row.locator("td").all_inner_texts()
        ]
        for row in rows
    }


def check_scores(opened, seed, names, world="scenes"):
    """The page shows the scores that Python has for these networks."""
    _, difficulty = playground.WORLDS[world]
    image, label = scenes.scene(seed, difficulty.side, difficulty)
    table = scores(opened)
    for place, name in enumerate(names):
        answer = ask.label(checkpoints.load(name), image)
        matrix = metrics.confusion_matrices(answer, label, len(scenes.CLASSES))[0]
        assert table["mIoU"][place] == pytest.approx(float(metrics.miou(matrix)), abs=2e-3)
        right = 100 * float(metrics.pixel_accuracy(matrix))
        assert table["right"][place] == pytest.approx(right, abs=0.1)


def test_from_a_disk_an_address_opens_a_scene_and_two_networks(fresh, folder):
    make, address = fresh
    opened = make()
    opened.goto(address, "#seed=11&network=v1-scenes&second=v3plus-scenes")
    check_scores(opened, 11, ("v1-scenes", "v3plus-scenes"))
    assert all(url.startswith((folder.as_uri(), "blob:", "data:")) for url in opened.requests)


def test_from_a_server_it_is_the_same_and_nothing_else_is_asked_for(fresh, server):
    make, _ = fresh
    opened = make(offline=False)
    opened.goto(server, "#seed=4&world=small-scenes&network=v3-scenes&second=none")
    check_scores(opened, 4, ("v3-scenes",), "small-scenes")
    base = server.removesuffix("index.html")
    assert all(url.startswith((base, "blob:", "data:")) for url in opened.requests)
    assert len(opened.requests) == len(set(opened.requests))  # nothing is loaded twice


def test_controls_change_the_scene_the_networks_and_the_address(fresh):
    make, address = fresh
    opened = make()
    page = opened.goto(address)
    first, second = page.evaluate("window.playground.data.first")
    page.get_by_role("button", name="Next seed").click()
    opened.settle()
    assert f"#seed=8&network={first}&second={second}" in page.url
    check_scores(opened, 8, (first, second))
    page.get_by_role("button", name="Swap A and B").click()
    opened.settle()
    check_scores(opened, 8, (second, first))
    page.get_by_label("Network B").select_option("none")
    opened.settle()
    assert page.url.endswith("second=none")
    assert not page.locator("#b").is_visible() and not page.locator("#differ").is_visible()
    page.get_by_role("radio", name="Confidence").check(force=True)
    assert "view=confidence" in page.url and "unsure" in opened.text("#legend")
    page.evaluate("location.hash = '#seed=3'")
    opened.settle()
    assert page.get_by_role("spinbutton", name="seed").input_value() == "3"
    check_scores(opened, 3, (first, second))


def test_networks_of_other_classes_are_not_compared_and_have_no_truth_here(fresh):
    make, address = fresh
    opened = make()
    page = opened.goto(address, "#seed=7&network=camvid-v3plus")
    assert page.get_by_label("Network B").input_value() == "none"
    enabled = page.locator("#second option:enabled").evaluate_all("all => all.map((o) => o.value)")
    assert enabled == ["none", "camvid-v3plus"]
    assert not page.locator("#truth").is_visible() and "mIoU" not in scores(opened)
    assert "Bicyclist" in opened.text("#legend") and "disc" not in opened.text("#legend")


@pytest.mark.parametrize(
    "named, words",
    [
        ("network=v9", "network “v9”"),
        ("seed=-1", "seed “-1”"),
        ("seed=7.5", "seed “7.5”"),
        ("seed=4294967296", "seed “4294967296”"),
        ("photo=toString", "photograph “toString”"),
        ("world=flat", "world “flat”"),
        ("second=camvid-v3plus", "second network “camvid-v3plus”"),
    ],
)
def test_what_an_address_names_in_vain_is_said(site, named, words):
    site.page.evaluate("(hash) => { location.hash = hash; }", named)
    page = site.settle()
    assert f"There is no {words} here." in page.get_by_role("alert").inner_text()
    assert scores(site)["mIoU"]
    page.evaluate("location.hash = ''")
    site.settle()
    assert not page.get_by_role("alert").is_visible()


def test_what_lessons_offer_to_try_is_here(site):
    lessons = {lesson.path.stem: notebooks.read(lesson.path)["cells"] for lesson in pages.lessons()}
    named = [
        (lesson, address)
        for lesson, cells in lessons.items()
        for cell in cells
        for address in tries.addresses(cell)
    ]
    assert named
    parse = "(addresses) => addresses.map((address) => window.playground.parse(address).problems)"
    problems = site.page.evaluate(parse, [address for _, address in named])
    assert [each for each in zip(named, problems, strict=True) if each[1]] == []


def test_a_pixel_is_read_out_under_the_pointer_and_by_keys(site):
    page = site.page
    page.evaluate("location.hash = '#seed=7&network=v1-scenes&second=v3-scenes'")
    site.settle()
    image, label = scenes.scene(7)
    answers = [ask.probabilities(checkpoints.load(n), image) for n in ("v1-scenes", "v3-scenes")]

    def expected(x, y):
        said = [
            f"{letter}: {scenes.CLASSES[answer[:, y, x].argmax()]} ({answer[:, y, x].max():.2f})"
            for letter, answer in zip("AB", answers, strict=True)
        ]
        truth = "outline, not counted" if label[y, x] == 255 else scenes.CLASSES[label[y, x]]
        return f"Column {x}, row {y} · truth: {truth} · {' · '.join(said)}"

    box = page.locator("#truth .frame").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 210.5 / 321, box["y"] + box["height"] * 150.5 / 321)
    assert site.text("#readout") == expected(210, 150)
    page.locator("#panels").focus()
    for key in ("ArrowLeft", "Shift+ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert site.text("#readout") == expected(210, 159)


def test_a_shape_is_dragged_by_mouse_and_by_keys_and_the_answers_follow(fresh):
    make, address = fresh
    opened = make()
    page = opened.goto(address, "#draw&network=v3plus-scenes&second=none")
    before = opened.describes("a")
    own = compose(START)
    answer = ask.label(checkpoints.load("v3plus-scenes"), own.image)
    matrix = metrics.confusion_matrices(answer, own.label, len(scenes.CLASSES))[0]
    assert scores(opened)["mIoU"][0] == pytest.approx(float(metrics.miou(matrix)), abs=2e-3)
    box = page.locator(".dl-sc-board").bounding_box()
    scale = box["width"] / 321

    def at(x, y):
        return box["x"] + scale * x, box["y"] + scale * y

    page.mouse.move(*at(100, 250))  # the disc
    page.mouse.down()
    page.mouse.move(*at(166, 166), steps=4)
    page.mouse.up()
    opened.settle()
    assert page.get_by_role("button", name="disc at 166, 166, radius 30").count() == 1
    dragged = opened.describes("a")
    assert dragged != before
    for _ in range(3):
        page.keyboard.press("Shift+ArrowLeft")
    opened.settle()
    assert page.get_by_role("button", name="disc at 142, 166, radius 30").count() == 1
    assert opened.describes("a") != dragged


def test_while_networks_compute_the_shapes_can_be_moved(fresh):
    """Twenty changes in a row: the picture follows each, and the last one is answered."""
    make, address = fresh
    opened = make()
    page = opened.goto(address, "#draw&world=small-scenes&network=v2-scenes&second=v1-scenes")
    frames = page.evaluate("""async () => {
      const slider = document.querySelector("#board input[type=range]"), drawn = new Set();
      for (let i = 0; i < 20; i++) {
        slider.value = 60 + i;
        slider.dispatchEvent(new Event("input"));
        await new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(then)));
        drawn.add(document.querySelector("#board image").getAttribute("href"));
      }
      return [drawn.size, document.querySelector("main").getAttribute("aria-busy")];
    }""")
    assert frames == [20, "true"]
    opened.settle()
    label = page.locator("#board path.chosen").get_attribute("aria-label")
    assert label.endswith("radius 79")
    last = opened.describes("a"), opened.text("#sentence")
    page.locator("#board input[type=range]").first.dispatch_event("input")  # the same scene again
    opened.settle()
    assert (opened.describes("a"), opened.text("#sentence")) == last


def test_a_photograph_and_a_file_of_ones_own(fresh, tmp_path):
    make, address = fresh
    opened = make()
    page = opened.goto(address, "#photo=coffee&side=193&network=v3plus-scenes&second=v3-scenes")
    size = "(canvas) => [canvas.width, canvas.height]"
    assert page.locator("#a canvas").evaluate(size) == [193, 129]
    assert "never saw a photograph" in opened.text("#note")
    assert "mIoU" not in scores(opened) and not page.locator("#truth").is_visible()
    assert "A and B differ at" in opened.text("#sentence")

    asked_for = len(opened.requests)
    image, _ = scenes.scene(9, difficulty=scenes.SMALL)
    Image.fromarray(image).save(tmp_path / "mine.png")
    page.get_by_role("radio", name="Your picture").check(force=True)
    page.locator("#file").set_input_files(tmp_path / "mine.png")
    opened.settle()
    assert "mine.png" in opened.text("[data-for=file]")
    answer = ask.label(checkpoints.load("v3plus-scenes"), image)
    shares = opened.describes("a")
    for k in np.unique(answer)[:3]:
        share = 100 * (answer == k).mean()
        assert any(
            f"{scenes.CLASSES[k]} {near:.1f} %" in shares
            for near in (share - 0.1, share, share + 0.1)
        )
    assert opened.requests[asked_for:] == []  # it went nowhere

    page.evaluate("""async () => {
      const canvas = document.querySelector("#differ canvas"), files = new DataTransfer();
      const blob = await new Promise((then) => canvas.toBlob(then));
      files.items.add(new File([blob], "dropped.png", { type: "image/png" }));
      dispatchEvent(new DragEvent("drop", { dataTransfer: files }));
    }""")
    opened.settle()
    assert "dropped.png" in opened.text("[data-for=file]") and opened.describes("a") != shares

    (tmp_path / "mine.txt").write_text("no picture")
    page.locator("#file").set_input_files(tmp_path / "mine.txt")
    opened.settle()
    assert "cannot read that file as a picture" in page.get_by_role("alert").inner_text()


def test_a_file_that_is_missing_is_named_and_asked_for_again(fresh, folder, tmp_path):
    make, _ = fresh
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    part = copy / "assets" / "v1-scenes.0.js"
    part.rename(tmp_path / part.name)
    opened = make()
    opened.goto((copy / "index.html").as_uri(), "#seed=7&network=v1-scenes&second=none")
    alert = opened.page.get_by_role("alert").inner_text()
    assert alert == "assets/v1-scenes.0.js could not be read: is the folder of this page complete?"
    opened.errors.clear()  # the browser says it, too
    (tmp_path / part.name).rename(part)
    opened.page.get_by_role("button", name="Next seed").click()
    opened.settle()
    check_scores(opened, 8, ("v1-scenes",))


def test_a_bar_shows_how_much_is_loaded(fresh, server):
    make, _ = fresh
    opened, held = make(offline=False), []
    opened.page.route("**/runtime.2.js", lambda route: held.append(route))
    opened.page.goto(server)
    opened.page.wait_for_function(
        "document.querySelector('progress').value > 0.5 * document.querySelector('progress').max"
    )
    assert opened.page.locator("#loading").is_visible()
    words = opened.text("#loading-text")
    loaded, total = map(float, re.findall(r"[\d.]+", words))
    assert words.startswith("Loading the networks and their runtime, once:")
    assert total / 2 < loaded < total < 11
    while not held:
        opened.page.wait_for_timeout(20)
    held[0].continue_()
    opened.settle()
    assert not opened.page.locator("#loading").is_visible()


def test_bare_an_image_and_its_answers_fit_a_frame(fresh):
    make, address = fresh
    opened = make(viewport={"width": 760, "height": 470})
    page = opened.goto(address, "#draw&bare&network=v3plus-scenes&second=none")
    assert not page.locator("header").is_visible() and not page.locator("#scores").is_visible()
    assert page.evaluate("document.documentElement.scrollHeight") <= 470
    before = opened.describes("a")
    page.locator("#board path").first.focus()
    page.keyboard.press("Shift+ArrowRight")
    opened.settle()
    assert opened.describes("a") != before and "bare" in page.url


# ---- Colours, sizes, accessibility ---------------------------------------------------------------

LEGEND = """(group) => [...document.querySelectorAll("#legend p")]
  .find((row) => row.textContent.startsWith(group)).querySelectorAll("i").values()
  .map((swatch) => getComputedStyle(swatch).backgroundColor.match(/\\d+/g).map(Number)).toArray()"""


def test_differences_and_classes_have_the_colours_of_the_lessons(site):
    names = ("first", "second", "neither", "unknown")
    kinds = [DISAGREEMENT[name][1].tolist() for name in names]
    assert site.page.evaluate(LEGEND, "differ") == kinds
    assert site.page.evaluate(LEGEND, "classes")[1:] == SCENE_PALETTE[1:].tolist()


@pytest.mark.parametrize("width, height", [(1280, 800), (390, 844)])
@pytest.mark.parametrize("source", ["seed=7", "draw", "photo=coffee"])
def test_the_legend_is_in_view_wherever_one_scrolls_and_nothing_is_cut(
    fresh, width, height, source
):
    make, address = fresh
    opened = make(viewport={"width": width, "height": height})
    page = opened.goto(address, f"#{source}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for share in (0, 0.5, 1):
        page.evaluate("(share) => scrollTo(0, share * document.body.scrollHeight)", share)
        box = page.locator("#legend").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= height + 1
        assert box["height"] < 0.15 * height


def test_a_finger_drags_a_shape_on_a_phone(fresh):
    make, address = fresh
    opened = make(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = opened.goto(address, "#draw&network=v3plus-scenes&second=none")
    box, before = page.locator(".dl-sc-board").bounding_box(), opened.describes("a")
    scale, session = box["width"] / 321, opened.context.new_cdp_session(page)
    path = [(100, 250), (120, 230), (140, 190), (166, 166)]
    for kind, (x, y) in zip(
        ("touchStart", "touchMove", "touchMove", "touchMove"), path, strict=True
    ):
        point = {"x": box["x"] + scale * x, "y": box["y"] + scale * y}
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        page.wait_for_timeout(50)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    opened.settle()
    place = re.compile("disc at 16[5-7], 16[5-7], radius 30")  # a phone pixel is 0.9 of them
    assert page.get_by_role("button", name=place).count() == 1
    assert opened.describes("a") != before and page.evaluate("scrollY") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_serious_fault(fresh, scheme, width):
    make, address = fresh
    opened = make(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = opened.goto(address, "#seed=7")
    page.add_script_tag(path=playground.MODULES / "axe-core" / "axe.min.js")
    for source in ("seed=7", "draw", "photo=coffee&view=confidence"):
        page.evaluate("(hash) => { location.hash = hash; }", source)
        opened.settle()
        page.locator("summary").click()
        faults = page.evaluate("axe.run({ preload: false }).then((found) => found.violations)")
        serious = [
            (fault["id"], [node["html"][:120] for node in fault["nodes"]])
            for fault in faults
            if fault["impact"] in ("serious", "critical")
        ]
        assert serious == []


def test_everything_can_be_reached_and_set_by_keys(fresh):
    make, address = fresh
    opened = make()
    page = opened.goto(address, "#seed=7&network=v3plus-scenes&second=none")
    reached = []
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.value"))
    wanted = ["seed", "before", "seed", "after", "random", "world", "network", "second", "classes"]
    assert [each for each in reached if each in wanted][: len(wanted)] == wanted
    assert "panels" in reached and "strength" in reached
    page.locator("#random").focus()
    page.keyboard.press("Enter")
    opened.settle()
    assert "seed=7&" not in page.url
    page.locator("[name=source][value=seed]").focus()
    page.keyboard.press("ArrowRight")
    opened.settle()
    assert page.url.endswith("#draw=&network=v3plus-scenes&second=none")
