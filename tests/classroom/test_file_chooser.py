"""File chooser: files of any size, in parts that a notebook server lets through."""

import pytest

from deeplab_lite.classroom.widgets.file_chooser import FileChooser

LIMIT = 10 * 2**20  # bytes of a message, of tornado, which serves JupyterLab and the app
RECORD = """() => {
  window.sent = [];
  window.model.send = (content, callbacks, buffers) =>
    window.sent.push({ ...content, bytes: buffers.map((b) => b.byteLength) });
}"""


@pytest.fixture
def mounted(widget_page):
    made = widget_page(FileChooser())
    made.page.evaluate(RECORD)
    return made


def choose(mounted, size, name="a.png"):
    with mounted.page.expect_file_chooser() as chooser:
        mounted.page.get_by_role("button", name="Choose a picture").click()
    chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": b"x" * size})


@pytest.mark.parametrize("size", [0, 5, 2**22, 9_000_000])
def test_a_file_is_sent_in_parts(mounted, size):
    choose(mounted, size)
    done = "(size) => window.sent.reduce((sum, { bytes }) => sum + bytes[0], 0) >= size"
    mounted.page.wait_for_function(done, arg=size)
    mounted.page.wait_for_function("window.sent.length > 0")
    sent, at = mounted.page.evaluate("window.sent"), 0
    for part in sent:
        assert (part["at"], part["size"]) == (at, size) and max(part["bytes"]) < LIMIT
        at += part["bytes"][0]
    assert at == size and mounted.page.get_by_text("reading …").count() == 1
    mounted.set(count=1)
    assert mounted.page.get_by_text("reading …").count() == 0 and mounted.errors == []


def test_a_file_that_is_too_large_is_told_and_not_sent(mounted):
    mounted.set(most=2_000_000)
    choose(mounted, 3_000_000, "<b>.png")
    told = "<b>.png has 3 MB: expected at most 2, so save it smaller first."
    mounted.page.get_by_text(told).wait_for()
    assert mounted.page.evaluate("window.sent") == []


def test_parts_become_the_file():
    chooser, data = FileChooser(), bytes(range(250))
    for at in range(0, 250, 100):
        assert chooser.count == 0
        chooser._handle_custom_msg(
            {"at": at, "size": 250}, [memoryview(data)[at : at + 100]]
        )  # fmt: skip
    assert chooser.file == data and chooser.count == 1 and "file" not in chooser.get_state()
